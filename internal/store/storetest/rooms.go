package storetest

import (
	"fmt"
	"math"

	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

var roomChecks = []check{
	{"RoomRoundTrip", testRoom},
	{"RoomTwice", testRoomTwice},
	{"RoomUnknown", testRoomUnknown},
	{"RoomsByURI", testRooms},
	{"RoomStateAndFreeze", testState},
	{"SetAside", testSetAside},
	{"SetAsideAtOnce", testSetAsideAtOnce},
	{"SetAsideRefused", testSetAsideRefused},
	{"Participants", testParticipants},
	{"RoomsOfUser", testRoomsOfUser},
	{"History", testHistory},
}

// full is a room record with every field set.
func full(uri mimi.RoomURI) store.RoomRecord {
	start := newLog(uri)
	for range 7 {
		start.took(start.next(10))
	}
	return store.RoomRecord{URI: uri, Hub: peerB, Head: start.head, Start: start.head,
		LastTimestamp: 1_700_000_000_007, Epoch: math.MaxUint64 - 1, State: []byte("state"), Frozen: "a reason"}
}

func testRoom(f *suite) {
	changes := []room.Change{
		{Seq: 0, Timestamp: 1, Actor: bob, Action: room.Created, User: bob, Role: 3},
		{Seq: 0, Timestamp: 1, Actor: bob, Action: room.ClientJoined, User: bob, Client: "mimi://b.localhost/d/bob/x"},
		{Seq: 7, Timestamp: 5, Actor: bob, Action: room.Added, User: alice, Role: math.MaxUint32},
	}
	participants := []room.Participant{{User: bob, Role: 3}, {User: alice, Role: math.MaxUint32}}
	span := store.Membership{Room: lobby, Client: phone, User: alice, After: 7, Acked: 7}
	f.update(func(tx store.Tx) error {
		return tx.CreateRoom(full(lobby), changes, participants, []store.Membership{span})
	})
	f.reopen()
	want := full(lobby)
	f.equal("room", &want, get(f, func(tx store.ReadTx) (*store.RoomRecord, error) { return tx.Room(lobby) }))
	f.equal("history", changes, history(f, lobby, 0))
	f.equal("participants", participants, participantsOf(f, lobby))
	f.equal("spans", []store.Membership{span}, spansOf(f, phone))
}

func testRoomTwice(f *suite) {
	f.newLog(lobby)
	f.refused(store.ErrExists, func(tx store.Tx) error {
		return tx.CreateRoom(full(lobby), []room.Change{{Actor: bob, Action: room.Created}}, []room.Participant{{User: bob}}, nil)
	})
}

func testRoomUnknown(f *suite) {
	f.newLog(lobby)
	missing(f, func(tx store.ReadTx) (*store.RoomRecord, error) { return tx.Room(attic) })
	missing(f, func(tx store.ReadTx) (*store.Entry, error) { return tx.EntryByMessage(attic, [32]byte{}) })
	f.view(func(tx store.ReadTx) error {
		entries, err1 := tx.Entries(attic, 0, 10, 1000)
		changes, err2 := tx.History(attic, 0)
		spans, err3 := tx.RoomMemberships(attic)
		if len(entries)+len(changes)+len(spans) > 0 || err1 != nil || err2 != nil || err3 != nil {
			return fmt.Errorf("lists of an unknown room: %v %v %v", err1, err2, err3)
		}
		return nil
	})
	for name, fn := range map[string]func(store.Tx) error{
		"Append":            func(tx store.Tx) error { return tx.Append(newLog(attic).next(5)) },
		"PutState":          func(tx store.Tx) error { return tx.PutState(attic, nil) },
		"SetAside":          func(tx store.Tx) error { return tx.SetAside(attic, lobby) },
		"Freeze":            func(tx store.Tx) error { return tx.Freeze(attic, "x") },
		"Ack":               func(tx store.Tx) error { return tx.Ack(phone, attic, 1) },
		"PutInWelcome":      func(tx store.Tx) error { return tx.PutInWelcome(store.InWelcome{Client: phone, Room: attic}) },
		"PutFanout":         func(tx store.Tx) error { return tx.PutFanout(store.FanoutState{Room: attic, Peer: peerB}) },
		"PutOutWelcome":     func(tx store.Tx) error { return tx.PutOutWelcome(store.OutWelcome{Room: attic, Peer: peerB}) },
		"DeleteOutWelcomes": func(tx store.Tx) error { return tx.DeleteOutWelcomes(attic, peerB, 1) },
	} {
		f.Log(name)
		f.refused(store.ErrNotFound, fn)
	}
}

func testRooms(f *suite) {
	f.newLog(lobby)
	f.newLog(attic)
	rooms := get(f, func(tx store.ReadTx) ([]store.RoomRecord, error) { return tx.Rooms() })
	want := []store.RoomRecord{record(attic), record(lobby)}
	for i := range want {
		want[i].State = nil
	}
	f.equal("rooms", want, rooms)
	f.equal("one", &want[1], get(f, func(tx store.ReadTx) (*store.RoomRecord, error) { return tx.RoomHead(lobby) }))
	missing(f, func(tx store.ReadTx) (*store.RoomRecord, error) { return tx.RoomHead("mimi://a.localhost/r/none") })
}

func testState(f *suite) {
	l := f.newLog(lobby)
	f.append(l, func(a *store.Append) { a.Epoch = 99 }) // without State, Epoch means nothing
	want := record(lobby)
	want.Head, want.LastTimestamp = l.head, 1_700_000_000_001
	check := func(what string) {
		f.Helper()
		f.equal(what, &want, get(f, func(tx store.ReadTx) (*store.RoomRecord, error) { return tx.Room(lobby) }))
	}
	check("after a message")
	f.append(l, func(a *store.Append) { a.State, a.Epoch = []byte("state 2"), math.MaxUint64 })
	want.Head, want.LastTimestamp, want.State, want.Epoch = l.head, 1_700_000_000_002, []byte("state 2"), math.MaxUint64
	check("after a handshake")
	f.update(func(tx store.Tx) error { return tx.PutState(lobby, []byte("state 3")) })
	want.State = []byte("state 3")
	check("after PutState")
	f.update(func(tx store.Tx) error { return tx.Freeze(lobby, "forked") })
	want.Frozen = "forked"
	check("frozen")
	f.update(func(tx store.Tx) error { return tx.Freeze(lobby, "") })
	want.Frozen = ""
	check("thawed")
}

func testParticipants(f *suite) {
	l := f.newLog(lobby)
	lists := [][]room.Participant{
		{{User: bob, Role: 3}},
		{{User: bob, Role: 3}, {User: alice, Role: 2}, {User: cathy, Role: 2}},
		{{User: bob, Role: 3}, {User: cathy, Role: 2}},
		{{User: cathy, Role: 3}, {User: bob, Role: 2}},
		{{User: alice, Role: 1}, {User: cathy, Role: 3}, {User: bob, Role: 2}},
		{},
		{{User: bob, Role: 2}, {User: alice, Role: 2}},
	}
	for i, want := range lists {
		f.append(l, func(a *store.Append) { a.Participants = want })
		f.equal(fmt.Sprint("list ", i), want, participantsOf(f, lobby))
		f.append(l, nil) // nil leaves it alone
		f.equal(fmt.Sprint("list ", i, " after a message"), want, participantsOf(f, lobby))
	}
	twice := l.next(5)
	twice.Participants = []room.Participant{{User: bob}, {User: bob}}
	before := f.dump()
	if err := f.s.Update(f.Context(), func(tx store.Tx) error { return tx.Append(twice) }); err == nil {
		f.Error("a list that names a user twice was stored")
	}
	f.equal("database", before, f.dump())
}

func testRoomsOfUser(f *suite) {
	in, out := f.newLog(lobby), f.newLog(attic)
	f.newLog("mimi://a.localhost/r/other")
	f.append(in, func(a *store.Append) { a.Participants = []room.Participant{{User: alice}} })
	f.append(out, func(a *store.Append) { a.Participants = []room.Participant{{User: alice}, {User: bob}} })
	f.append(out, func(a *store.Append) { a.Participants = []room.Participant{{User: bob}} })
	f.equal("rooms", []mimi.RoomURI{attic, lobby}, roomsOf(f, alice))
	f.equal("rooms of bob", []mimi.RoomURI{attic}, roomsOf(f, bob))
	f.equal("rooms of a stranger", []mimi.RoomURI{}, roomsOf(f, cathy))
	for user, rooms := range map[mimi.UserURI][2]bool{alice: {true, false}, bob: {false, true}, cathy: {}} {
		for i, uri := range []mimi.RoomURI{lobby, attic} {
			f.view(func(tx store.ReadTx) error {
				in, err := tx.IsParticipant(uri, user)
				f.equal(fmt.Sprint(user, " in ", uri), rooms[i], in)
				return err
			})
		}
	}
}

func roomsOf(f *suite, user mimi.UserURI) []mimi.RoomURI {
	f.Helper()
	uris := []mimi.RoomURI{}
	for _, r := range get(f, func(tx store.ReadTx) ([]store.RoomRecord, error) { return tx.RoomsOfUser(user) }) {
		uris = append(uris, r.URI)
	}
	return uris
}

func testHistory(f *suite) {
	l := f.newLog(lobby)
	var all []room.Change
	for range 4 {
		f.append(l, func(a *store.Append) {
			if a.Entry.Seq == 2 {
				return // an entry that changed nothing
			}
			for _, user := range []mimi.UserURI{cathy, alice, bob} { // in no order of their own
				a.Changes = append(a.Changes, room.Change{Seq: a.Entry.Seq, Timestamp: a.Entry.Timestamp,
					Actor: bob, Action: room.RoleChanged, User: user, Role: uint32(a.Entry.Seq)})
			}
			all = append(all, a.Changes...)
		})
	}
	f.equal("all", all, history(f, lobby, 0))
	f.equal("from 3", all[3:], history(f, lobby, 3))
	f.equal("from 5", []room.Change{}, history(f, lobby, 5))
	f.equal("from the end of time", []room.Change{}, history(f, lobby, math.MaxUint64))
}

func history(f *suite, uri mimi.RoomURI, from uint64) []room.Change {
	f.Helper()
	return get(f, func(tx store.ReadTx) ([]room.Change, error) { return tx.History(uri, from) })
}

func participantsOf(f *suite, uri mimi.RoomURI) []room.Participant {
	f.Helper()
	return get(f, func(tx store.ReadTx) ([]room.Participant, error) { return tx.Participants(uri) })
}
