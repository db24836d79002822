package storetest

import (
	"errors"
	"fmt"
	"strings"

	"hubbub/internal/store"
	"hubbub/mimi"
)

var fanoutChecks = []check{
	{"Fanout", testFanout},
	{"OutWelcomes", testOutWelcomes},
	{"InWelcomes", testInWelcomes},
	{"SharedWelcomes", testSharedWelcomes},
}

func testFanout(f *suite) {
	f.newLog(lobby)
	f.newLog(attic)
	states := []store.FanoutState{
		{Room: attic, Peer: peerC, Acked: 1, Sent: 2, Until: 3, Parked: "refused"},
		{Room: lobby, Peer: peerB},
		{Room: lobby, Peer: peerC, Acked: 4, Sent: 9},
	}
	f.update(func(tx store.Tx) error {
		for i := range states {
			if err := tx.PutFanout(states[len(states)-1-i]); err != nil {
				return err
			}
		}
		return nil
	})
	f.equal("fanouts", states, get(f, func(tx store.ReadTx) ([]store.FanoutState, error) { return tx.Fanouts() }))
	states[1] = store.FanoutState{Room: lobby, Peer: peerB, Acked: 5, Sent: 6, Until: 7, Parked: "x"}
	f.update(func(tx store.Tx) error { return tx.PutFanout(states[1]) })
	f.equal("rewritten", &states[1], get(f, func(tx store.ReadTx) (*store.FanoutState, error) { return tx.Fanout(lobby, peerB) }))
	f.equal("fanouts", states, get(f, func(tx store.ReadTx) ([]store.FanoutState, error) { return tx.Fanouts() }))
	missing(f, func(tx store.ReadTx) (*store.FanoutState, error) { return tx.Fanout(attic, peerB) })
}

func testOutWelcomes(f *suite) {
	f.newLog(lobby)
	f.newLog(attic)
	first := store.OutWelcome{Room: lobby, Seq: 2, Peer: peerB, Body: []byte("w2"), Snapshot: []byte("room at 2")}
	second := store.OutWelcome{Room: lobby, Seq: 5, Peer: peerB, Body: []byte("w5")}
	f.update(func(tx store.Tx) error {
		for _, w := range []store.OutWelcome{second, first, {Room: lobby, Seq: 2, Peer: peerC, Body: []byte("c")},
			{Room: attic, Seq: 2, Peer: peerB, Body: []byte("a")}} {
			if err := tx.PutOutWelcome(w); err != nil {
				return err
			}
		}
		return nil
	})
	f.harmless(func(tx store.Tx) error {
		return tx.PutOutWelcome(store.OutWelcome{Room: lobby, Seq: 2, Peer: peerB, Body: []byte("something else")})
	})
	list := func(after uint64) []store.OutWelcome {
		return get(f, func(tx store.ReadTx) ([]store.OutWelcome, error) { return tx.OutWelcomes(lobby, peerB, after) })
	}
	f.equal("all", []store.OutWelcome{first, second}, list(0))
	f.equal("after 2", []store.OutWelcome{second}, list(2))
	f.equal("one", &first, get(f, func(tx store.ReadTx) (*store.OutWelcome, error) { return tx.OutWelcome(lobby, peerB, 2) }))
	missing(f, func(tx store.ReadTx) (*store.OutWelcome, error) { return tx.OutWelcome(lobby, peerB, 3) })
	f.harmless(func(tx store.Tx) error { return tx.DeleteOutWelcomes(lobby, peerB, 1) })
	f.update(func(tx store.Tx) error { return tx.DeleteOutWelcomes(lobby, peerB, 2) })
	f.equal("rest", []store.OutWelcome{second}, list(0))
	get(f, func(tx store.ReadTx) (*store.OutWelcome, error) { return tx.OutWelcome(lobby, peerC, 2) })
	get(f, func(tx store.ReadTx) (*store.OutWelcome, error) { return tx.OutWelcome(attic, peerB, 2) })
}

func testInWelcomes(f *suite) {
	f.newLog(lobby)
	f.newLog(attic)
	want := []store.InWelcome{
		{Client: phone, Room: lobby, Seq: 4, Body: []byte("first to arrive")},
		{Client: phone, Room: attic, Seq: 9, Body: []byte("second")},
		{Client: phone, Room: lobby, Seq: 2, Body: []byte("third")},
	}
	for _, w := range want {
		f.update(func(tx store.Tx) error { return tx.PutInWelcome(w) })
	}
	f.harmless(func(tx store.Tx) error { return tx.PutInWelcome(want[0]) })
	f.equal("welcomes", want, inWelcomes(f, phone))
	f.equal("none", []store.InWelcome{}, inWelcomes(f, laptop))
}

// testSharedWelcomes has one Welcome wait for two clients: it is stored once, and for
// as long as one of them has not acknowledged it.
func testSharedWelcomes(f *suite) {
	l := f.newLog(lobby)
	f.append(l, func(a *store.Append) {
		a.Joined = []store.Membership{{Client: phone, User: alice, After: 1}, {Client: laptop, User: alice, After: 1}}
	})
	const tablet mimi.ClientURI = "mimi://a.localhost/d/alice/tablet"
	shared, other := []byte("a large tree"), []byte("another one")
	f.update(func(tx store.Tx) error {
		for _, w := range []store.InWelcome{
			{Client: phone, Room: lobby, Seq: 1, Body: shared}, {Client: laptop, Room: lobby, Seq: 1, Body: shared},
			{Client: tablet, Room: lobby, Seq: 1, Body: other},
		} {
			if err := tx.PutInWelcome(w); err != nil {
				return err
			}
		}
		return nil
	})
	stored := func() int {
		dump := get(f, func(tx store.ReadTx) (*string, error) { d, err := tx.Dump(); return &d, err })
		return strings.Count(*dump, fmt.Sprintf("%x", shared))
	}
	f.equal("times stored", 1, stored())
	f.update(func(tx store.Tx) error { return tx.Ack(phone, lobby, 1) })
	f.equal("acknowledged", 0, len(inWelcomes(f, phone)))
	f.equal("for the other", shared, inWelcomes(f, laptop)[0].Body)
	// It comes again, for one who has it not any more.
	f.update(func(tx store.Tx) error {
		return tx.PutInWelcome(store.InWelcome{Client: phone, Room: lobby, Seq: 1, Body: shared})
	})
	f.equal("times stored", 1, stored())
	f.update(func(tx store.Tx) error { return errors.Join(tx.Ack(laptop, lobby, 1), tx.Ack(phone, lobby, 1)) })
	f.equal("times stored in the end", 0, stored())
	f.equal("another body", other, inWelcomes(f, tablet)[0].Body)
}
