package storetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

var entryChecks = []check{
	{"AppendRoundTrip", testAppend},
	{"AppendComparesHead", testConflict},
	{"AppendRefusesBrokenChain", testBrokenChain},
	{"AppendRefusesRepeats", testRepeat},
	{"AppendOneWinnerPerPlace", testRace},
	{"EntriesLimits", testEntries},
	{"EntryByMessage", testByMessage},
}

func testAppend(f *suite) {
	l := f.newLog(lobby)
	want := []store.Entry{}
	for _, kind := range []room.Kind{room.KindCommit, room.KindApplication, room.KindProposal} {
		a := f.append(l, func(a *store.Append) { a.Entry.Kind = kind })
		want = append(want, a.Entry)
	}
	f.reopen()
	f.equal("entries", want, entriesOf(f, lobby, 0))
	r := get(f, func(tx store.ReadTx) (*store.RoomRecord, error) { return tx.Room(lobby) })
	f.equal("head", l.head, r.Head)
	f.equal("start", room.StartPos(lobby), r.Start)
}

func testConflict(f *suite) {
	l := f.newLog(lobby)
	f.append(l, nil)
	f.append(l, nil)
	fresh := messageHash(lobby, 99)
	behind := newLog(lobby).next(10)
	behind.Entry.MessageHash = fresh
	ahead := &log{uri: lobby, head: l.head.Next([]byte("not there"))}
	fork := &log{uri: lobby, head: room.Pos{Seq: l.head.Seq, Hash: [32]byte{1}}}
	shifted := &log{uri: lobby, head: room.Pos{Seq: l.head.Seq + 1, Hash: l.head.Hash}}
	for name, a := range map[string]store.Append{"behind": behind, "ahead": ahead.next(10), "fork": fork.next(10), "shifted": shifted.next(10)} {
		f.Log(name)
		a.State, a.Epoch = []byte("wrong"), 9
		a.Participants = []room.Participant{{User: bob}}
		f.refused(store.ErrConflict, func(tx store.Tx) error { return tx.Append(a) })
	}
}

func testBrokenChain(f *suite) {
	l := f.newLog(lobby)
	for name, spoil := range map[string]func(*store.Append){
		"gap":    func(a *store.Append) { a.Entry.Seq++ },
		"hash":   func(a *store.Append) { a.Entry.Hash[0] ^= 1 },
		"body":   func(a *store.Append) { a.Entry.Body[0] ^= 1 },
		"change": func(a *store.Append) { a.Changes = []room.Change{{Seq: 7}} },
	} {
		a := l.next(10)
		spoil(&a)
		before := f.dump()
		if err := f.s.Update(context.Background(), func(tx store.Tx) error { return tx.Append(a) }); err == nil {
			f.Errorf("%s: stored", name)
		}
		f.equal(name, before, f.dump())
	}
}

func testRepeat(f *suite) {
	l, other := f.newLog(lobby), f.newLog(attic)
	first := f.append(l, nil)
	f.append(l, nil)
	repeat := l.next(10)
	repeat.Entry.MessageHash = first.Entry.MessageHash
	f.refused(store.ErrExists, func(tx store.Tx) error { return tx.Append(repeat) })
	// The same at a head that moved because of it: known is the better answer.
	f.refused(store.ErrExists, func(tx store.Tx) error { return tx.Append(first) })
	// Another room is another key.
	f.append(other, func(a *store.Append) { a.Entry.MessageHash = first.Entry.MessageHash })
}

// testRace has many writers append to one room at once from what they read:
// each place gets one entry, and every loser is told.
func testRace(f *suite) {
	f.newLog(lobby)
	var stored, lost atomic.Int64
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for i := range 10 {
				r := get(f, func(tx store.ReadTx) (*store.RoomRecord, error) { return tx.Room(lobby) })
				a := (&log{uri: lobby, head: r.Head}).next(10)
				a.Entry.MessageHash = messageHash(lobby, uint64(1000+g*100+i))
				switch err := f.s.Update(context.Background(), func(tx store.Tx) error { return tx.Append(a) }); {
				case err == nil:
					stored.Add(1)
				case errors.Is(err, store.ErrConflict):
					lost.Add(1)
				default:
					f.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := verifyLog(f, lobby); n != stored.Load() || n == 0 {
		f.Errorf("%d entries, %d appends succeeded, %d lost", n, stored.Load(), lost.Load())
	}
}

// verifyLog checks a log from its start to its head and returns its length.
func verifyLog(f *suite, uri mimi.RoomURI) int64 {
	f.Helper()
	r := get(f, func(tx store.ReadTx) (*store.RoomRecord, error) { return tx.Room(uri) })
	at := r.Start
	entries := entriesOf(f, uri, 0)
	for _, e := range entries {
		at = at.Next(e.Body)
		if (room.Pos{Seq: e.Seq, Hash: e.Hash}) != at {
			f.Fatalf("%s: entry %d breaks the chain", uri, e.Seq)
		}
	}
	if at != r.Head {
		f.Fatalf("%s: the log ends at %s, the head is %s", uri, at, r.Head)
	}
	return int64(len(entries))
}

func testEntries(f *suite) {
	l := f.newLog(lobby)
	f.newLog(attic)
	for range 10 {
		f.append(l, nil) // 20 octets each
	}
	for _, c := range []struct {
		after           uint64
		limit, maxBytes int
		first, last     uint64 // 0: none
	}{
		{0, 100, 1000, 1, 10},
		{0, 3, 1000, 1, 3},
		{4, 3, 1000, 5, 7},
		{9, 3, 1000, 10, 10},
		{10, 3, 1000, 0, 0},
		{math.MaxUint64, 3, 1000, 0, 0},
		{0, 0, 1000, 0, 0},
		{0, -1, 1000, 0, 0},
		{0, 100, 40, 1, 2},
		{0, 100, 59, 1, 2},
		{0, 100, 60, 1, 3},
		{2, 100, 1, 3, 3}, // the first always
		{2, 100, 0, 3, 3},
	} {
		got := get(f, func(tx store.ReadTx) ([]store.Entry, error) {
			return tx.Entries(lobby, c.after, c.limit, c.maxBytes)
		})
		var first, last uint64
		for i, e := range got {
			if last = e.Seq; i == 0 {
				first = e.Seq
			} else if e.Seq != first+uint64(i) {
				f.Errorf("%+v: entry %d at place %d", c, e.Seq, i)
			}
		}
		if first != c.first || last != c.last {
			f.Errorf("%+v: got %d to %d", c, first, last)
		}
	}
}

func testByMessage(f *suite) {
	l := f.newLog(lobby)
	f.newLog(attic)
	f.append(l, nil)
	a := f.append(l, nil)
	got := get(f, func(tx store.ReadTx) (*store.Entry, error) { return tx.EntryByMessage(lobby, a.Entry.MessageHash) })
	f.equal("entry", &a.Entry, got)
	missing(f, func(tx store.ReadTx) (*store.Entry, error) { return tx.EntryByMessage(attic, a.Entry.MessageHash) })
	missing(f, func(tx store.ReadTx) (*store.Entry, error) { return tx.EntryByMessage(lobby, messageHash(lobby, 3)) })
}

func entriesOf(f *suite, uri mimi.RoomURI, after uint64) []store.Entry {
	f.Helper()
	return get(f, func(tx store.ReadTx) ([]store.Entry, error) {
		return tx.Entries(uri, after, math.MaxInt32, math.MaxInt)
	})
}

var memberChecks = []check{
	{"MembershipSpans", testSpans},
	{"MembershipRejoin", testRejoin},
	{"Ack", testAck},
}

func testSpans(f *suite) {
	l, other := f.newLog(lobby), f.newLog(attic)
	join := func(l *log, client mimi.ClientURI) store.Membership {
		m := store.Membership{Room: l.uri, Client: client, User: alice, After: l.head.Seq + 1}
		f.append(l, func(a *store.Append) { a.Joined = []store.Membership{m} })
		return m
	}
	first := join(l, phone)
	second := join(other, phone)
	third := join(l, laptop)
	f.append(l, func(a *store.Append) { a.Left = []mimi.ClientURI{phone, "mimi://b.localhost/d/bob/x"} })
	first.Until = l.head.Seq
	f.append(l, func(a *store.Append) { a.Left = []mimi.ClientURI{phone} }) // again: the span stays closed where it was
	fourth := join(l, phone)
	f.equal("spans of the phone", []store.Membership{first, second, fourth}, spansOf(f, phone))
	f.equal("spans of the laptop", []store.Membership{third}, spansOf(f, laptop))
	f.equal("spans of the room", []store.Membership{first, third, fourth},
		get(f, func(tx store.ReadTx) ([]store.Membership, error) { return tx.RoomMemberships(lobby) }))
	f.harmless(func(tx store.Tx) error { return nil })
}

// testRejoin removes and adds a client in one entry, as an external commit
// does that replaces a leaf.
func testRejoin(f *suite) {
	l := f.newLog(lobby)
	m := store.Membership{Room: lobby, Client: phone, User: alice, After: 1}
	f.append(l, func(a *store.Append) { a.Joined = []store.Membership{m} })
	again := m
	again.After = 2
	f.append(l, func(a *store.Append) {
		a.Left = []mimi.ClientURI{phone}
		a.Joined = []store.Membership{again}
	})
	m.Until = 2
	f.equal("spans", []store.Membership{m, again}, spansOf(f, phone))
	// A client that is in already does not get a second open span.
	f.append(l, func(a *store.Append) { a.Joined = []store.Membership{{Client: phone, User: alice, After: 3}} })
	f.equal("spans", []store.Membership{m, again}, spansOf(f, phone))
}

func testAck(f *suite) {
	l := f.newLog(lobby)
	f.append(l, func(a *store.Append) {
		a.Joined = []store.Membership{{Client: phone, User: alice, After: 1}, {Client: laptop, User: alice, After: 1}}
	})
	for range 4 {
		f.append(l, nil)
	}
	f.update(func(tx store.Tx) error {
		for _, seq := range []uint64{1, 3, 5} {
			w := store.InWelcome{Client: phone, Room: lobby, Seq: seq, Body: fmt.Append(nil, seq)}
			if err := tx.PutInWelcome(w); err != nil {
				return err
			}
		}
		return tx.PutInWelcome(store.InWelcome{Client: laptop, Room: lobby, Seq: 1, Body: []byte("1")})
	})
	check := func(what string, acked uint64, welcomes ...uint64) {
		f.Helper()
		f.equal(what, acked, spansOf(f, phone)[0].Acked)
		var seqs []uint64
		for _, w := range inWelcomes(f, phone) {
			seqs = append(seqs, w.Seq)
		}
		f.equal(what+": welcomes", welcomes, seqs)
	}
	check("before", 0, 1, 3, 5)
	f.update(func(tx store.Tx) error { return tx.Ack(phone, lobby, 3) })
	check("acked 3", 3, 5)
	f.harmless(func(tx store.Tx) error { return tx.Ack(phone, lobby, 2) })
	f.update(func(tx store.Tx) error { return tx.Ack(phone, lobby, math.MaxUint64) })
	check("acked what does not exist yet", 5)
	f.equal("the other client", uint64(0), spansOf(f, laptop)[0].Acked)
	f.equal("its welcomes", 1, len(inWelcomes(f, laptop)))
}

func spansOf(f *suite, client mimi.ClientURI) []store.Membership {
	f.Helper()
	all := get(f, func(tx store.ReadTx) ([]store.Membership, error) { return tx.Memberships(client) })
	for _, uri := range []mimi.RoomURI{lobby, attic} {
		var want []store.Membership
		for _, m := range all {
			if m.Room == uri {
				want = append(want, m)
			}
		}
		in := get(f, func(tx store.ReadTx) ([]store.Membership, error) { return tx.MembershipsIn(client, uri) })
		f.equal("spans in one room", want, append([]store.Membership(nil), in...))
	}
	return all
}

func inWelcomes(f *suite, client mimi.ClientURI) []store.InWelcome {
	f.Helper()
	return get(f, func(tx store.ReadTx) ([]store.InWelcome, error) { return tx.InWelcomes(client) })
}
