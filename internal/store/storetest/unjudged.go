package storetest

import (
	"errors"

	"hubbub/internal/room"
	"hubbub/internal/store"
)

var unjudgedChecks = []check{{"Unjudged", testUnjudged}}

// A room is kept without being judged, and judged from some place on.
func testUnjudged(f *suite) {
	l := f.newLog(lobby)
	f.append(l, nil)
	missing(f, func(tx store.ReadTx) (uint64, error) { return tx.UnjudgedSince(lobby) })
	f.refused(store.ErrNotFound, func(tx store.Tx) error { return tx.StopJudging(attic, 1) })
	f.refused(store.ErrNotFound, func(tx store.Tx) error {
		return tx.OpenSpans(attic, []store.Membership{{Room: attic, Client: phone, User: alice}})
	})
	f.refused(store.ErrConflict, func(tx store.Tx) error { return tx.BeginJudging(store.Judged{Room: lobby, State: []byte("x")}) })

	early := store.EarlyWelcome{Room: lobby, Hash: [32]byte{1}, Seq: 1, Body: []byte("welcome")}
	brought := store.BroughtState{Client: phone, Room: attic, Body: []byte("of another room")}
	span := store.Membership{Room: lobby, Client: phone, User: alice, After: 1}
	f.update(func(tx store.Tx) error {
		return errors.Join(tx.StopJudging(lobby, 1), tx.PutEarlyWelcome(early), tx.PutBrought(brought), tx.OpenSpans(lobby, []store.Membership{span}))
	})
	f.reopen()
	f.equal("since", uint64(1), get(f, func(tx store.ReadTx) (uint64, error) { return tx.UnjudgedSince(lobby) }))
	f.equal("all", []store.Unjudged{{Room: lobby, Since: 1}}, get(f, store.ReadTx.Unjudged))
	if rec := get(f, func(tx store.ReadTx) (*store.RoomRecord, error) { return tx.Room(lobby) }); len(rec.State) != 0 {
		f.Errorf("the state is still %q", rec.State)
	}
	f.harmless(func(tx store.Tx) error {
		return errors.Join(tx.StopJudging(lobby, 9), tx.PutEarlyWelcome(store.EarlyWelcome{Room: lobby, Hash: [32]byte{1}, Seq: 7, Body: []byte("again")}),
			tx.OpenSpans(lobby, []store.Membership{{Room: lobby, Client: phone, User: alice, After: 0}}))
	})
	f.equal("welcomes", []store.EarlyWelcome{early}, get(f, func(tx store.ReadTx) ([]store.EarlyWelcome, error) { return tx.EarlyWelcomes(lobby) }))
	f.equal("spans", []store.Membership{span}, spansOf(f, phone))
	brought = store.BroughtState{Client: phone, Room: lobby, Body: []byte("of this one")}
	f.update(func(tx store.Tx) error { return tx.PutBrought(brought) })
	f.equal("brought", []store.BroughtState{brought}, get(f, func(tx store.ReadTx) ([]store.BroughtState, error) { return tx.BroughtFor(lobby) }))
	f.append(l, nil)

	other := store.Membership{Room: lobby, Client: "mimi://b.localhost/d/bob/x", User: bob, After: 1}
	changes := []room.Change{
		{Seq: 2, Timestamp: 5, Actor: bob, Action: room.Added, User: alice, Role: 2},
		{Seq: 2, Timestamp: 5, Actor: bob, Action: room.ClientJoined, User: bob, Client: other.Client},
	}
	f.update(func(tx store.Tx) error {
		return tx.BeginJudging(store.Judged{Room: lobby, State: []byte("state"), Epoch: 4, Participants: []room.Participant{{User: bob, Role: 3}},
			Changes: changes, Joined: []store.Membership{other}, Left: []store.Membership{{Client: phone, Until: 2}}})
	})
	f.reopen()
	missing(f, func(tx store.ReadTx) (uint64, error) { return tx.UnjudgedSince(lobby) })
	rec := get(f, func(tx store.ReadTx) (*store.RoomRecord, error) { return tx.Room(lobby) })
	f.equal("state", "state", string(rec.State))
	f.equal("epoch", uint64(4), rec.Epoch)
	f.equal("head", uint64(2), rec.Head.Seq)
	f.equal("history", changes, history(f, lobby, 2))
	f.equal("participants", []room.Participant{{User: bob, Role: 3}}, participantsOf(f, lobby))
	span.Until = 2
	f.equal("closed", []store.Membership{span}, spansOf(f, phone))
	f.equal("opened", []store.Membership{other}, spansOf(f, other.Client))
	if left := get(f, func(tx store.ReadTx) ([]store.BroughtState, error) { return tx.BroughtFor(lobby) }); len(left) != 0 {
		f.Errorf("still there: %v", left)
	}
	if left := get(f, func(tx store.ReadTx) ([]store.EarlyWelcome, error) { return tx.EarlyWelcomes(lobby) }); len(left) != 0 {
		f.Errorf("still there: %v", left)
	}
}
