package heads

import (
	"context"
	"fmt"

	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// Guard gives a store that notes in f the head of every room that it moves, once
// it has moved for good.
func Guard(s store.Store, f *File) store.Store { return &guarded{s, f} }

type guarded struct {
	store.Store
	file *File
}

func (g *guarded) Update(ctx context.Context, fn func(store.Tx) error) error {
	var tx watched
	err := g.Store.Update(ctx, func(inner store.Tx) error {
		tx = watched{Tx: inner}
		return fn(&tx)
	})
	if err != nil {
		return err
	}
	for _, m := range tx.moved {
		if m.begins {
			g.file.Begin(m.uri, m.pos)
		} else {
			g.file.Note(m.uri, m.pos)
		}
	}
	return nil
}

// watched sees the verbs that move a head.
type watched struct {
	store.Tx
	moved []moved
}

type moved struct {
	uri    mimi.RoomURI
	pos    room.Pos
	begins bool
}

func (t *watched) CreateRoom(r store.RoomRecord, changes []room.Change, participants []room.Participant, joined []store.Membership) error {
	err := t.Tx.CreateRoom(r, changes, participants, joined)
	if err == nil {
		t.moved = append(t.moved, moved{r.URI, r.Head, true})
	}
	return err
}

func (t *watched) Append(a store.Append) error {
	err := t.Tx.Append(a)
	if err == nil {
		t.moved = append(t.moved, moved{uri: a.Room, pos: room.Pos{Seq: a.Entry.Seq, Hash: a.Entry.Hash}})
	}
	return err
}

func (t *watched) AppendAll(list []store.Append) error {
	err := t.Tx.AppendAll(list)
	if n := len(list); err == nil && n > 0 {
		a := &list[n-1]
		t.moved = append(t.moved, moved{uri: a.Room, pos: room.Pos{Seq: a.Entry.Seq, Hash: a.Entry.Hash}})
	}
	return err
}

// Freeze lets go of what was lost when a room is thawed: whoever thaws it has
// either brought it back or decided to go on without.
func (t *watched) Freeze(uri mimi.RoomURI, reason string) error {
	err := t.Tx.Freeze(uri, reason)
	if err != nil || reason != "" {
		return err
	}
	r, err := t.Tx.Room(uri)
	if err == nil {
		t.moved = append(t.moved, moved{uri, r.Head, true})
	}
	return err
}

// Frozen is the reason for which a room is frozen whose database is behind its
// head. It goes when the database has caught up, or when the operator accepts
// the loss.
const Frozen = "behind-head"

// Loss is a room of which the database lacks what it once held.
type Loss struct {
	Room    mimi.RoomURI
	Hub     mimi.Domain // ours if we host it
	Have    room.Pos    // what the database holds: its head, or its entry at Want.Seq if the two differ there
	Want    room.Pos    // what it once held
	Missing bool        // the database does not know the room at all
}

// Differs says that the database holds another history rather than less of it.
func (l Loss) Differs() bool { return !l.Missing && l.Have.Seq >= l.Want.Seq }

// String names the room and both positions.
func (l Loss) String() string {
	switch {
	case l.Missing:
		return fmt.Sprintf("room %s: the database does not know it, but its log stood at %s", l.Room, l.Want)
	case l.Differs():
		return fmt.Sprintf("room %s: the database holds %s where its log stood at %s", l.Room, l.Have, l.Want)
	}
	return fmt.Sprintf("room %s: the database ends at %s, but its log stood at %s", l.Room, l.Have, l.Want)
}

// Compare finds the rooms of which a database holds less, or something else,
// than known.
func Compare(tx store.ReadTx, known map[mimi.RoomURI]room.Pos) ([]Loss, error) {
	rooms, err := tx.Rooms()
	if err != nil {
		return nil, err
	}
	var losses []Loss
	seen := map[mimi.RoomURI]bool{}
	aside := map[mimi.RoomURI][]*store.RoomRecord{}
	for i := range rooms {
		if r := &rooms[i]; r.Former != "" {
			aside[r.Former] = append(aside[r.Former], r)
		}
	}
	for i := range rooms {
		r := &rooms[i]
		seen[r.URI] = true
		if r.Former != "" {
			continue // evidence: its name was never in the file
		}
		want, ok := known[r.URI]
		if !ok {
			continue
		}
		if want.Seq < r.Start.Seq {
			continue // a replica that was begun anew later on: nothing to compare with
		}
		have, err := at(tx, r, want.Seq)
		if err != nil {
			return nil, err
		}
		if have != want {
			kept, err := anyAt(tx, aside[r.URI], want)
			if err != nil {
				return nil, err
			}
			if kept {
				continue // the file had not yet heard that the copy was replaced
			}
			losses = append(losses, Loss{Room: r.URI, Hub: r.Hub, Have: have, Want: want})
		}
	}
	for uri, want := range known {
		if !seen[uri] {
			losses = append(losses, Loss{Room: uri, Hub: uri.Domain(), Want: want, Missing: true})
		}
	}
	return losses, nil
}

// anyAt says whether one of some logs holds a position.
func anyAt(tx store.ReadTx, logs []*store.RoomRecord, want room.Pos) (bool, error) {
	for _, r := range logs {
		have, err := at(tx, r, want.Seq)
		if err != nil || have == want {
			return err == nil, err
		}
	}
	return false, nil
}

// at is the position of a stored log at seq, or its head if it ends before.
func at(tx store.ReadTx, r *store.RoomRecord, seq uint64) (room.Pos, error) {
	switch {
	case seq >= r.Head.Seq:
		return r.Head, nil
	case seq == r.Start.Seq:
		return r.Start, nil
	}
	list, err := tx.Entries(r.URI, seq-1, 1, 0)
	if err != nil {
		return room.Pos{}, err
	}
	if len(list) == 0 {
		return room.Pos{}, nil
	}
	return room.Pos{Seq: list[0].Seq, Hash: list[0].Hash}, nil
}
