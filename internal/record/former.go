package record

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// Former is a copy of a room that was set aside: its operator has decided that the
// hub's log counts and not this one, which is kept as evidence.
type Former struct {
	Room   mimi.RoomURI `json:"room"` // the name it is kept under
	Head   room.Pos     `json:"head"`
	Agreed uint64       `json:"agreed"` // Seq of the last entry that both had; 0 = none that is known of
	At     uint64       `json:"at"`     // Unix ms
	Reason string       `json:"reason"` // the operator's
}

// formerKey is where the copies of a room are listed that were set aside.
func formerKey(uri mimi.RoomURI) string { return "former/" + string(uri) }

// EvidenceKey is where it is kept what froze a room.
func EvidenceKey(uri mimi.RoomURI) string { return "evidence/" + string(uri) }

// NotesKey is where both signed versions of a forked log are kept.
func NotesKey(uri mimi.RoomURI) string { return "evidence-checkpoints/" + string(uri) }

// Formers lists the copies of a room that were set aside, oldest first.
func Formers(tx store.ReadTx, uri mimi.RoomURI) (list []Former, err error) {
	b, err := tx.Meta(formerKey(uri))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &list)
	}
	if err != nil {
		return nil, fmt.Errorf("copies set aside of %s: %w", uri, err)
	}
	return list, nil
}

// Live gives the rooms of a list that are in use, without those set aside.
func Live(rooms []store.RoomRecord) []store.RoomRecord {
	out := make([]store.RoomRecord, 0, len(rooms))
	for _, r := range rooms {
		if r.Former == "" {
			out = append(out, r)
		}
	}
	return out
}

// SetAside gives the frozen copy of a room another name, with everything that is
// kept of it by name, so that a fresh one can begin. The audit log says so.
func SetAside(tx store.Tx, uri mimi.RoomURI, f Former) (Former, error) {
	var unique [6]byte
	rand.Read(unique[:])
	f.Room = mimi.RoomURI(fmt.Sprintf("%s.former-%s", uri, hex.EncodeToString(unique[:])))
	list, err := Formers(tx, uri)
	if err != nil {
		return f, err
	}
	kept, err := json.Marshal(append(list, f))
	if err != nil {
		return f, err
	}
	if err := tx.SetAside(uri, f.Room); err != nil {
		return f, err
	}
	for _, key := range []func(mimi.RoomURI) string{StartKey, CheckpointKey, EvidenceKey, NotesKey} {
		if err := moveMeta(tx, key(uri), key(f.Room)); err != nil {
			return f, err
		}
	}
	if err := tx.PutMeta(formerKey(uri), kept); err != nil {
		return f, err
	}
	return f, tx.Audit(time.UnixMilli(int64(f.At)), "operator", "replace-copy",
		fmt.Sprintf("%s kept as %s, which ends at %s; both logs have entries up to %d; reason: %s", uri, f.Room, f.Head, f.Agreed, f.Reason))
}

func moveMeta(tx store.Tx, from, to string) error {
	b, err := tx.Meta(from)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(tx.PutMeta(to, b), tx.DeleteMeta(from))
}
