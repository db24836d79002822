package api

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"hubbub/client/clientpb"
	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/internal/tail"
	"hubbub/mimi"
)

// follow is a stream without a connection: a test says when it looks.
type follow struct {
	h      *harness
	phone  mimi.ClientURI
	s      *Server
	seen   map[mimi.RoomURI]uint64
	st     *stream
	frames map[string][]string // what was sent, by room
	quick  int                 // looks that needed no store
}

func (h *harness) follow(phone mimi.ClientURI, tails *tail.Tails, protocol string) *follow {
	s := New(Config{Domain: domain, Store: h.store, Notifier: NewNotifier(), Tails: tails, Now: h.s.Now, Log: h.s.Log})
	f := &follow{h: h, s: s, phone: phone, seen: map[mimi.RoomURI]uint64{}, frames: map[string][]string{}}
	f.begin(protocol)
	return f
}

// begin opens the stream, anew.
func (f *follow) begin(protocol string) {
	if f.st != nil {
		f.s.Notifier.unsubscribe(f.st.bell)
	}
	f.st = newStream(f.s, &store.Client{URI: f.phone, User: alice}, nil, protocol)
	f.st.bell = &wakeup{client: f.phone, user: alice, pump: func() {}, end: func(error) {}}
	f.s.Notifier.subscribe(f.st.bell)
	f.st.bell.addAll()
}

// look sends what is new.
func (f *follow) look() {
	f.h.Helper()
	for {
		r, rang := f.st.bell.take()
		if !rang {
			return
		}
		for !r.empty() {
			wanted := !r.all && !r.mine
			p, err := f.st.next(r)
			f.h.ok(err)
			f.h.ok(p.err)
			if wanted && len(r.dirty) == 0 {
				f.quick++
			}
			for _, m := range p.messages {
				f.take(m)
			}
			r = ring{dirty: p.more}
		}
	}
}

func (f *follow) take(message []byte) {
	f.h.Helper()
	one := func(data []byte) error {
		var frame clientpb.ServerFrame
		if err := proto.Unmarshal(data, &frame); err != nil {
			return err
		}
		text := describe(&frame)
		words := strings.Fields(text)
		switch words[0] {
		case "entry", "welcome", "removed":
			f.frames[words[1]] = append(f.frames[words[1]], text)
		case "submission":
			if strings.Contains(text, "POSTED") {
				f.frames["submissions"] = append(f.frames["submissions"], text)
			}
		}
		return nil
	}
	if !f.st.many {
		f.h.ok(one(message))
		return
	}
	f.h.ok(clientpb.EachFrame(message, one))
}

// wake tells of a change as a provider does.
func (f *follow) wake(uri mimi.RoomURI) {
	f.s.Notifier.Wake(uri)
	for _, uri := range f.s.Notifier.takeWatched() {
		f.s.look(f.h.ctx, uri, f.seen)
	}
}

// Whatever happens in a room, and whenever a stream looks: what it sends from memory
// is what it would have sent from the store.
func TestMemoryTellsWhatTheStoreTells(t *testing.T) {
	quick := 0
	for seed := range uint64(15) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { quick += compareHistories(t, seed) })
	}
	if quick < 50 {
		t.Errorf("only %d looks did without the store: this compares nothing", quick)
	}
}

func compareHistories(t *testing.T, seed uint64) int {
	rnd := rand.New(rand.NewPCG(seed, 4))
	h := newHarness(t)
	tails := tail.New([]int{2 << 10, 1 << 20}[rnd.IntN(2)]) // little memory: there are gaps
	h.store = tail.Watch(h.store, tails)
	phone, laptop := h.client(alice, "phone"), h.client(alice, "laptop")
	rooms := []mimi.RoomURI{lobby, attic}
	member := map[mimi.RoomURI]bool{lobby: true}
	h.room(lobby, 1, []mimi.UserURI{alice}, phone)
	h.room(attic, 1, []mimi.UserURI{alice}, laptop)
	fast, slow := h.follow(phone, tails, []string{clientpb.SyncBatch, clientpb.SyncProtocol}[rnd.IntN(2)]), h.follow(phone, nil, clientpb.SyncProtocol)
	both := []*follow{fast, slow}
	wake := func(uri mimi.RoomURI) {
		for _, f := range both {
			f.wake(uri)
		}
	}
	mine := func() {
		for _, f := range both {
			f.s.Notifier.WakeClient(phone)
		}
	}
	text := 0
	post := func(uri mimi.RoomURI, more ...func(*store.Append)) uint64 {
		text++
		seq := h.post(uri, fmt.Sprint("text ", text), more...)
		wake(uri)
		return seq
	}
	enter := func(uri mimi.RoomURI, also ...func(*store.Append)) {
		next := h.heads[uri].Seq + 1
		if member[uri] = true; rnd.IntN(2) == 0 { // by its own commit, which it must see
			post(uri, append(also, joins(phone, next-1))...)
			return
		}
		h.ok(h.store.Update(h.ctx, func(tx store.Tx) error { // the Welcome is there when the entry is, as at a hub
			return tx.PutInWelcome(store.InWelcome{Client: phone, Room: uri, Seq: next, Body: fmt.Append(nil, "hi ", next)})
		}))
		post(uri, append(also, joins(phone, next))...)
		mine()
	}
	for range 100 {
		uri := rooms[rnd.IntN(2)]
		switch n := rnd.IntN(20); {
		case n < 12:
			for range 1 + rnd.IntN(4) {
				post(uri)
			}
		case n == 12:
			text++
			body := fmt.Sprint("text ", text)
			h.ok(h.store.Update(h.ctx, func(tx store.Tx) error {
				_, err := tx.Enqueue(store.Submission{Client: phone, Txn: body, Room: uri, Hub: domain, Kind: store.SubmitMessage,
					Body: []byte(body), MessageHash: sha256.Sum256([]byte(body)), State: store.Queued})
				return err
			}))
			mine()
			if rnd.IntN(2) == 0 {
				fast.look()
			}
			h.post(uri, body)
			wake(uri)
			mine()
		case n == 13:
			post(uri, func(a *store.Append) {
				a.Participants = []room.Participant{{User: alice, Role: 2}, {User: bob, Role: 2}}
			})
		case n == 14 && member[uri]:
			post(uri, leaves(phone))
			member[uri] = false
		case n == 15 && !member[uri]:
			enter(uri)
		case n == 16 && member[uri]:
			enter(uri, leaves(phone)) // out and in again by one commit
		case n == 17:
			fast.look()
			slow.look()
			for _, uri := range rooms {
				if a, b := fast.st.rooms[uri], slow.st.rooms[uri]; a != nil && b != nil {
					h.ok(h.store.Update(h.ctx, func(tx store.Tx) error { return tx.Ack(phone, uri, min(a.sent, b.sent)) }))
				}
			}
			if rnd.IntN(2) == 0 {
				fast.begin([]string{clientpb.SyncBatch, clientpb.SyncProtocol}[rnd.IntN(2)])
				slow.begin(clientpb.SyncProtocol)
			}
		}
		for _, f := range both {
			if rnd.IntN(2) == 0 {
				f.look()
			}
		}
	}
	fast.look()
	slow.look()
	for _, uri := range append(rooms, "submissions") {
		if a, b := fast.frames[string(uri)], slow.frames[string(uri)]; !slices.Equal(a, b) {
			t.Errorf("%s: from memory:\n%s\nfrom the store:\n%s", uri, strings.Join(a, "\n"), strings.Join(b, "\n"))
		}
	}
	return fast.quick
}
