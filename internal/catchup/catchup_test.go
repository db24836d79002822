package catchup

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"

	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/internal/store/sqlstore"
	"hubbub/mimi"
)

const chat mimi.RoomURI = "mimi://a.localhost/r/chat"

// newLog stores a room with n entries and returns all places of its log.
func newLog(t *testing.T, n int) (store.Store, []room.Pos) {
	t.Helper()
	s, err := sqlstore.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	places := []room.Pos{room.StartPos(chat)}
	var list []store.Append
	for i := range n {
		body := fmt.Appendf(nil, "entry %d;", i+1)
		prev := places[i]
		next := prev.Next(body)
		places = append(places, next)
		list = append(list, store.Append{Room: chat, Prev: prev, Entry: store.Entry{Seq: next.Seq, Hash: next.Hash,
			Timestamp: next.Seq, Kind: room.KindApplication, Body: body, MessageHash: next.Hash}})
	}
	err = s.Update(t.Context(), func(tx store.Tx) error {
		rec := store.RoomRecord{URI: chat, Hub: chat.Domain(), Head: places[0], Start: places[0], State: []byte{1}}
		return errors.Join(tx.CreateRoom(rec, nil, nil, nil), tx.AppendAll(list))
	})
	if err != nil {
		t.Fatal(err)
	}
	return s, places
}

// largest remembers the largest write.
type largest struct {
	bytes.Buffer
	most int
}

func (l *largest) Write(b []byte) (int, error) {
	l.most = max(l.most, len(b))
	return l.Buffer.Write(b)
}

func TestSendAndRead(t *testing.T) {
	const n = 2*blockEntries + 10
	s, places := newLog(t, n)
	for _, tc := range []struct{ from, until, end uint64 }{{0, 0, n}, {0, 3, 3}, {blockEntries, 0, n}, {n - 1, 0, n}, {n, 0, n}, {5, 5, 5}} {
		part, err := Open(t.Context(), s, chat, places[tc.from], tc.until)
		if err != nil {
			t.Fatal(err)
		}
		if part.Head != places[tc.end] {
			t.Errorf("%+v: head %v", tc, part.Head)
		}
		var stream largest
		if err := part.Send(t.Context(), &stream); err != nil {
			t.Fatal(err)
		}
		if stream.most > headerBytes+blockBytes {
			t.Errorf("%+v: a block of %d octets", tc, stream.most)
		}
		at := places[tc.from]
		for {
			b, err := Read(&stream)
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, body := range bytes.SplitAfter(b.Body, []byte(";")) {
				if len(body) > 0 {
					at = at.Next(body)
				}
			}
			if at != b.Pos {
				t.Fatalf("%+v: the block says %v, its entries lead to %v", tc, b.Pos, at)
			}
		}
		if at != places[tc.end] {
			t.Errorf("%+v: ended at %v", tc, at)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	s, places := newLog(t, 3)
	forked := places[2]
	forked.Hash[0] ^= 1
	var p *mimi.Problem
	if _, err := Open(t.Context(), s, chat, forked, 0); !errors.As(err, &p) || p.Code != CodeMismatch {
		t.Errorf("another log: %v", err)
	}
	if _, err := Open(t.Context(), s, "mimi://a.localhost/r/none", places[0], 0); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("no such room: %v", err)
	}
	part, err := Open(t.Context(), s, chat, room.Pos{Seq: 9}, 0)
	if err != nil || part.Head != places[3] {
		t.Fatalf("from beyond the head: %+v, %v", part, err)
	}
	var b bytes.Buffer
	if err := part.Send(t.Context(), &b); err != nil || b.Len() != 0 {
		t.Errorf("from beyond the head: %d octets, %v", b.Len(), err)
	}
}

func TestReadRefuses(t *testing.T) {
	good := encode([]store.Entry{{Seq: 1, Body: []byte("body")}})
	for name, b := range map[string][]byte{
		"half a header": good[:headerBytes-1],
		"cut off":       good[:len(good)-1],
		"empty block":   encode([]store.Entry{{Seq: 1}}),
		"too large":     append(bytes.Clone(good[:headerBytes-4]), 0xff, 0xff, 0xff, 0xff),
	} {
		if _, err := Read(bytes.NewReader(b)); !errors.Is(err, ErrBadBlock) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Read(bytes.NewReader(nil)); err != io.EOF {
		t.Errorf("nothing: %v", err)
	}
}
