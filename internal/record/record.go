// Package record turns what a room's step made true into the rows a store
// keeps of it. Hub and follower store the same log, so they share it.
package record

import (
	"crypto/sha256"
	"fmt"

	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// Append is the row of an accepted entry: next is the State after it, prev the
// position before it. Of the clients that came and went only those of self, the
// provider that keeps the store, are listed: it keeps what they may read.
func Append(self mimi.Domain, prev room.Pos, next *room.State, eff *room.Effects) (store.Append, error) {
	a := store.Append{
		Room: next.Room, Prev: prev, Epoch: next.Epoch(),
		Entry: store.Entry{
			Seq: next.Pos.Seq, Hash: next.Pos.Hash, Timestamp: eff.Entry.Timestamp,
			Kind: eff.Entry.Kind, Body: eff.Entry.Body, MessageHash: eff.Entry.MessageHash,
		},
		Changes: eff.Changes, Participants: eff.Participants,
		Joined: Joined(self, next, eff.Joined),
	}
	for _, c := range eff.Left {
		if c.Domain() == self {
			a.Left = append(a.Left, c)
		}
	}
	if !eff.StateChanged {
		return a, nil
	}
	var err error
	a.State, err = next.Encode()
	return a, err
}

// Joined are the spans that begin for clients of self at the position of next.
// One that joined by its own commit sees that commit; one that was added starts
// after it, with the Welcome.
func Joined(self mimi.Domain, next *room.State, list []room.Joined) []store.Membership {
	var out []store.Membership
	for _, j := range list {
		if j.Client.Domain() != self {
			continue
		}
		m := store.Membership{Room: next.Room, Client: j.Client, User: j.User, After: next.Pos.Seq}
		if j.External {
			m.After--
		}
		out = append(out, m)
	}
	return out
}

// Room is the row of a room that begins at the position of s: at a hub before
// its first entry, at a follower where its snapshot stands.
func Room(s *room.State) (store.RoomRecord, error) {
	encoded, err := s.Encode()
	return store.RoomRecord{
		URI: s.Room, Hub: s.Hub, Head: s.Pos, Start: s.Pos,
		LastTimestamp: s.LastTimestamp, Epoch: s.Epoch(), State: encoded,
	}, err
}

// Keys of what is kept beside a room's rows, by Meta.
const (
	startKey      = "start/"      // the room where its log here begins: an encoded room.Snapshot
	checkpointKey = "checkpoint/" // the newest signed checkpoint of its hub
)

// StartKey is where the room is kept as it stood at the start of its log here, so
// that everything that follows from the log can be rebuilt.
func StartKey(uri mimi.RoomURI) string { return startKey + string(uri) }

// CheckpointKey is where the newest signed checkpoint of a room is kept.
func CheckpointKey(uri mimi.RoomURI) string { return checkpointKey + string(uri) }

// JoinKey is where a hub keeps the snapshot with which a provider began to follow
// a room, sealed.
func JoinKey(uri mimi.RoomURI, peer mimi.Domain) string {
	return "joined/" + string(uri) + "/" + string(peer)
}

// Seal puts the hash of b before it, so that damage shows.
func Seal(b []byte) []byte {
	sum := sha256.Sum256(b)
	return append(sum[:], b...)
}

// Unseal gives what was sealed; false if it was damaged.
func Unseal(b []byte) ([]byte, bool) {
	if len(b) < sha256.Size {
		return nil, false
	}
	sum := sha256.Sum256(b[sha256.Size:])
	return b[sha256.Size:], [sha256.Size]byte(b[:sha256.Size]) == sum
}

// GroupKey is where a hub keeps which of its rooms a group id belongs to.
func GroupKey(groupID []byte) string { return fmt.Sprintf("group/%x", sha256.Sum256(groupID)) }

// Create stores a new room: rec with its first projections, and the state and
// history that its log here starts from.
func Create(tx store.Tx, s *room.State, rec store.RoomRecord, history []room.Change, participants []room.Participant, joined []store.Membership) error {
	if err := tx.CreateRoom(rec, history, participants, joined); err != nil {
		return err
	}
	snap, err := room.NewSnapshot(s, history)
	if err != nil {
		return err
	}
	encoded, err := snap.Encode()
	if err != nil {
		return err
	}
	return tx.PutMeta(StartKey(rec.URI), encoded)
}
