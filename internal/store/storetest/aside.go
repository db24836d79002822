package storetest

import (
	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

const former mimi.RoomURI = "mimi://a.localhost/r/lobby-before"

// crowded is a room with a row of each kind.
func crowded(f *suite) *log {
	l := newLog(lobby)
	f.update(func(tx store.Tx) error {
		return tx.CreateRoom(record(lobby), []room.Change{{Actor: bob, Action: room.Created}},
			[]room.Participant{{User: alice, Role: 2}}, []store.Membership{{Room: lobby, Client: phone, User: alice}})
	})
	f.append(l, nil)
	f.append(l, nil)
	f.update(func(tx store.Tx) error {
		if err := tx.PutInWelcome(store.InWelcome{Client: phone, Room: lobby, Seq: 2}); err != nil {
			return err
		}
		return tx.PutFanout(store.FanoutState{Room: lobby, Peer: peerB})
	})
	return l
}

func freeze(f *suite) {
	f.Helper()
	f.update(func(tx store.Tx) error { return tx.Freeze(lobby, "forked") })
}

func testSetAside(f *suite) {
	crowded(f)
	freeze(f)
	before := get(f, func(tx store.ReadTx) (*store.RoomRecord, error) { return tx.Room(lobby) })
	entries, spans := entriesOf(f, lobby, 0), get(f, func(tx store.ReadTx) ([]store.Membership, error) { return tx.RoomMemberships(lobby) })
	f.refused(errTest, func(tx store.Tx) error {
		if err := tx.SetAside(lobby, former); err != nil {
			return err
		}
		return errTest
	})
	f.equal("after it was undone", entries, entriesOf(f, lobby, 0))

	f.update(func(tx store.Tx) error { return tx.SetAside(lobby, former) })
	check := func() {
		f.Helper()
		before.URI, before.Former = former, lobby
		f.equal("the evidence", before, get(f, func(tx store.ReadTx) (*store.RoomRecord, error) { return tx.Room(former) }))
		f.equal("its entries", entries, entriesOf(f, former, 0))
		kept := get(f, func(tx store.ReadTx) ([]store.Membership, error) { return tx.RoomMemberships(former) })
		for i := range kept {
			kept[i].Room = lobby
		}
		f.equal("its spans", spans, kept)
		f.equal("a message in it", &entries[0], get(f, func(tx store.ReadTx) (*store.Entry, error) {
			return tx.EntryByMessage(former, entries[0].MessageHash)
		}))
	}
	check()
	missing(f, func(tx store.ReadTx) (*store.RoomRecord, error) { return tx.Room(lobby) })
	f.equal("the old name", false, get(f, func(tx store.ReadTx) (bool, error) { return tx.HasRoom(lobby) }))
	f.equal("entries under the old name", 0, len(entriesOf(f, lobby, 0)))
	f.equal("the client's spans", 0, len(get(f, func(tx store.ReadTx) ([]store.Membership, error) { return tx.Memberships(phone) })))
	f.equal("the user's rooms", 0, len(get(f, func(tx store.ReadTx) ([]store.RoomRecord, error) { return tx.RoomsOfUser(alice) })))
	f.equal("the client's Welcomes", 0, len(get(f, func(tx store.ReadTx) ([]store.InWelcome, error) { return tx.InWelcomes(phone) })))
	f.equal("fanouts", 0, len(get(f, func(tx store.ReadTx) ([]store.FanoutState, error) { return tx.Fanouts() })))

	// A fresh copy takes the old name, with the same messages.
	l := f.newLog(lobby)
	a := f.append(l, nil)
	f.equal("the fresh copy", []store.Entry{a.Entry}, entriesOf(f, lobby, 0))
	check()
	f.reopen()
	f.equal("the fresh copy", []store.Entry{a.Entry}, entriesOf(f, lobby, 0))
	check()
}

// In one transaction, and under the eyes of a snapshot that began before.
func testSetAsideAtOnce(f *suite) {
	crowded(f)
	freeze(f)
	f.reopen() // nobody knows the room yet
	f.view(func(old store.ReadTx) error {
		if _, err := old.Rooms(); err != nil {
			return err
		}
		fresh := newLog(lobby)
		f.update(func(tx store.Tx) error {
			if err := tx.SetAside(lobby, former); err != nil {
				return err
			}
			if known, err := tx.HasRoom(lobby); known || err != nil {
				f.Errorf("the old name in the same transaction: %v, %v", known, err)
			}
			return tx.CreateRoom(record(lobby), nil, nil, nil)
		})
		_, err := old.Entries(lobby, 0, 10, 1000)
		f.append(fresh, nil)
		return err
	})
	f.equal("entries of the fresh copy", 1, len(entriesOf(f, lobby, 0)))
	f.equal("entries of the evidence", 2, len(entriesOf(f, former, 0)))
}

func testSetAsideRefused(f *suite) {
	crowded(f)
	f.refused(store.ErrNotFound, func(tx store.Tx) error { return tx.SetAside(attic, former) })
	f.refused(store.ErrConflict, func(tx store.Tx) error { return tx.SetAside(lobby, former) })
	freeze(f)
	f.newLog(attic)
	f.refused(store.ErrExists, func(tx store.Tx) error { return tx.SetAside(lobby, attic) })
	f.refused(store.ErrExists, func(tx store.Tx) error { return tx.SetAside(lobby, lobby) })
	f.update(func(tx store.Tx) error { return tx.SetAside(lobby, former) })
	f.refused(store.ErrConflict, func(tx store.Tx) error { return tx.SetAside(former, lobby) })
	f.refused(store.ErrConflict, func(tx store.Tx) error { return tx.Freeze(former, "") })
}
