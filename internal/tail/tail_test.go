package tail_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"

	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/internal/store/sqlstore"
	"hubbub/internal/tail"
	"hubbub/mimi"
)

const lobby mimi.RoomURI = "mimi://a.localhost/r/lobby"

// log is a room in a watched store.
type log struct {
	*testing.T
	uri   mimi.RoomURI
	store store.Store
	head  room.Pos
}

func newLog(t *testing.T, st store.Store, uri mimi.RoomURI) *log {
	l := &log{t, uri, st, room.StartPos(uri)}
	l.begin()
	return l
}

func (l *log) begin() {
	l.Helper()
	err := l.store.Update(l.Context(), func(tx store.Tx) error {
		return tx.CreateRoom(store.RoomRecord{URI: l.uri, Hub: "a.localhost", Head: l.head, Start: l.head, State: []byte("s")}, nil, nil, nil)
	})
	if err != nil {
		l.Fatal(err)
	}
}

// rows makes n entries after the head, and moves it.
func (l *log) rows(n int) (list []store.Append) {
	for range n {
		body := fmt.Appendf(nil, "%s %d", l.uri, l.head.Seq)
		next := l.head.Next(body)
		list = append(list, store.Append{Room: l.uri, Prev: l.head, Entry: store.Entry{Seq: next.Seq, Timestamp: next.Seq,
			Kind: room.KindApplication, Body: body, Hash: next.Hash, MessageHash: sha256.Sum256(body)}})
		l.head = next
	}
	return list
}

func (l *log) post(n int) {
	l.Helper()
	list := l.rows(n)
	if err := l.store.Update(l.Context(), func(tx store.Tx) error { return tx.AppendAll(list) }); err != nil {
		l.Fatal(err)
	}
}

// want expects the tail to hold exactly the entries in (after, upTo].
func (l *log) want(t *tail.Tails, after, upTo uint64) {
	l.Helper()
	list, ok := t.After(l.uri, after, 1<<20, 1<<30)
	if !ok || uint64(len(list)) != upTo-after {
		l.Fatalf("after %d: %d entries, %t; want up to %d", after, len(list), ok, upTo)
	}
	for i, e := range list {
		if e.Seq != after+uint64(i)+1 || string(e.Body) != fmt.Sprintf("%s %d", l.uri, e.Seq-1) {
			l.Fatalf("entry %d is %d %q", after+uint64(i)+1, e.Seq, e.Body)
		}
	}
}

func (l *log) unknown(t *tail.Tails, after uint64) {
	l.Helper()
	if list, ok := t.After(l.uri, after, 1, 1); ok {
		l.Fatalf("after %d: %d entries, and it is known", after, len(list))
	}
}

func open(t *testing.T, tails *tail.Tails) store.Store {
	st, err := sqlstore.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return tail.Watch(st, tails)
}

func TestTailHoldsWhatIsDurable(t *testing.T) {
	tails := tail.New(1 << 20)
	l := newLog(t, open(t, tails), lobby)
	l.unknown(tails, 0)
	l.post(3)
	l.post(1)
	l.want(tails, 0, 4)
	l.want(tails, 3, 4)
	l.want(tails, 4, 4)
	l.unknown(tails, 5) // a place that the log has not reached
	if list, ok := tails.After(lobby, 1, 2, 1<<20); !ok || len(list) != 2 {
		t.Errorf("limit 2: %d, %t", len(list), ok)
	}
	if list, ok := tails.After(lobby, 1, 9, 1); !ok || len(list) != 1 {
		t.Errorf("one octet: %d, %t", len(list), ok)
	}
	if tails.Last(lobby) != 4 || tails.Last("mimi://a.localhost/r/other") != 0 {
		t.Error("Last is wrong")
	}
	failed := errors.New("failed")
	head := l.head
	rows := l.rows(1)
	then := false
	err := l.store.Update(t.Context(), func(tx store.Tx) error {
		tail.Then(tx, func() { then = true })
		return errors.Join(tx.AppendAll(rows), failed)
	})
	if !errors.Is(err, failed) || then {
		t.Errorf("%v, %t", err, then)
	}
	l.head = head
	l.want(tails, 0, 4)
	rows = l.rows(1)
	err = l.store.Update(t.Context(), func(tx store.Tx) error {
		tail.Then(tx, func() { then = true; l.want(tails, 0, 5) })
		return tx.AppendAll(rows)
	})
	if err != nil || !then {
		t.Errorf("%v, %t", err, then)
	}
}

// Who is a member can change with some entries only.
func TestPlain(t *testing.T) {
	tails := tail.New(1 << 20)
	l := newLog(t, open(t, tails), lobby)
	for name, change := range map[string]func(*store.Append){
		"commit":       func(a *store.Append) { a.Entry.Kind = room.KindCommit },
		"state":        func(a *store.Append) { a.State = []byte("new") },
		"participants": func(a *store.Append) { a.Participants = []room.Participant{} },
		"joined": func(a *store.Append) {
			a.Joined = []store.Membership{{Room: lobby, Client: "mimi://a.localhost/d/alice/phone", User: "mimi://a.localhost/u/alice"}}
		},
		"left": func(a *store.Append) { a.Left = []mimi.ClientURI{"mimi://a.localhost/d/alice/phone"} },
	} {
		rows := l.rows(2)
		change(&rows[1])
		if err := l.store.Update(t.Context(), func(tx store.Tx) error { return tx.AppendAll(rows) }); err != nil {
			t.Fatal(name, err)
		}
		list, _ := tails.After(lobby, l.head.Seq-2, 2, 1<<20)
		if len(list) != 2 || !list[0].Plain || list[1].Plain {
			t.Errorf("%s: taken for plain, or the one before it not", name)
		}
	}
}

// Memory is bounded over all rooms and in each; the room that grew last stays.
func TestBounds(t *testing.T) {
	const each = 430 // about what one of these entries takes
	tails := tail.New(100 * each)
	st := open(t, tails)
	a, b := newLog(t, st, lobby), newLog(t, st, "mimi://a.localhost/r/attic")
	a.post(60)
	b.post(20)
	a.want(tails, 0, 60)
	b.post(30)
	a.unknown(tails, 59) // went as a whole
	b.want(tails, 0, 50)
	a.post(1)
	a.unknown(tails, 59)
	a.want(tails, 60, 61)
	for range 9 {
		b.post(500)
	}
	b.want(tails, b.head.Seq-100, b.head.Seq)
	b.unknown(tails, 0)
}

// A log that begins anew has nothing to do with what was there before.
func TestForgotten(t *testing.T) {
	tails := tail.New(1 << 20)
	l := newLog(t, open(t, tails), lobby)
	l.post(2)
	l.store = open(t, tails)
	l.begin()
	l.unknown(tails, 1)
	l.post(1)
	l.want(tails, 2, 3)
}

// Frames are made once.
func TestFrame(t *testing.T) {
	e := &tail.Entry{Entry: store.Entry{Body: []byte("b")}}
	made := 0
	encode := func(e *store.Entry) []byte { made++; return append([]byte("frame "), e.Body...) }
	if a, b := e.Frame(encode), e.Frame(encode); string(a) != "frame b" || &a[0] != &b[0] || made != 1 {
		t.Errorf("%q, made %d times", a, made)
	}
}
