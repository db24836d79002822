package follower

import (
	"bytes"
	"context"
	"errors"
	"net/http"

	"hubbub/internal/record"
	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
	"hubbub/mimi/checkpoint"
)

// Checkpoint takes a hub's signed word about a log that we follow. What verifies
// and agrees with our copy is kept if it is the newest. What verifies and
// contradicts it freezes the room: the hub has signed two histories, or lost one,
// and both signed versions are kept as proof. The error is then a *mimi.Problem.
//
// What does not verify proves nothing and is ignored, but logged.
func (f *Follower) Checkpoint(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI, signed []byte) error {
	if peer != uri.Domain() || peer == f.cfg.Domain {
		return mimi.NewProblem(http.StatusForbidden, mimi.CodeForbidden, "only the hub of a room signs its log")
	}
	r, err := f.lock(ctx, uri)
	if err != nil {
		return err
	}
	defer r.mu.Unlock()
	if r.state == nil || r.own(uri) {
		return nil // no copy to compare with
	}
	c, err := checkpoint.Open(signed, uri, r.state.Group().ExternalSenders())
	if err != nil {
		f.cfg.Log.Warn("follower: a checkpoint does not verify", "hub", peer, "cause", err)
		return nil
	}
	claimed := room.Pos{Seq: c.Seq, Hash: c.Hash}
	held, newest, err := f.held(ctx, r, c.Seq)
	switch {
	case err != nil:
		return err
	case held == nil && r.state.Frozen == "":
		return nil // of entries we do not have: they bring another one
	case held != nil && *held == claimed:
		return f.keepNewest(ctx, uri, c.Seq, signed, newest)
	}
	return f.contradicted(ctx, r, claimed, held, signed, newest)
}

// held is our position at seq, nil if our copy does not hold it, and the newest
// checkpoint we keep, nil if there is none.
func (f *Follower) held(ctx context.Context, r *replica, seq uint64) (pos *room.Pos, newest []byte, err error) {
	err = f.cfg.Store.View(ctx, func(tx store.ReadTx) error {
		newest, err = tx.Meta(record.CheckpointKey(r.state.Room))
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		switch {
		case seq == r.state.Pos.Seq:
			pos = &r.state.Pos
			return nil
		case seq == r.start.Seq:
			pos = &r.start
			return nil
		case seq < r.start.Seq || seq > r.state.Pos.Seq:
			return nil
		}
		list, err := tx.Entries(r.state.Room, seq-1, 1, 0)
		if err == nil && len(list) == 1 && list[0].Seq == seq {
			pos = &room.Pos{Seq: seq, Hash: list[0].Hash}
		}
		return err
	})
	return pos, newest, err
}

// keepNewest stores a checkpoint that agrees with us, unless we have a newer one.
func (f *Follower) keepNewest(ctx context.Context, uri mimi.RoomURI, seq uint64, signed, newest []byte) error {
	if old, err := checkpoint.Claimed(newest); err == nil && old.Seq >= seq {
		return nil
	}
	return f.cfg.Store.Update(context.WithoutCancel(ctx), func(tx store.Tx) error {
		return tx.PutMeta(record.CheckpointKey(uri), signed)
	})
}

// contradicted keeps both signed versions, once, and freezes the room. In a room
// that is frozen already, whatever else its hub signs belongs to the evidence.
func (f *Follower) contradicted(ctx context.Context, r *replica, claimed room.Pos, held *room.Pos, signed, newest []byte) error {
	uri := r.state.Room
	notes := bytes.Join([][]byte{newest, signed}, []byte("\n"))
	err := f.cfg.Store.Update(context.WithoutCancel(ctx), func(tx store.Tx) error {
		if _, err := tx.Meta(record.NotesKey(uri)); !errors.Is(err, store.ErrNotFound) {
			return err
		}
		return tx.PutMeta(record.NotesKey(uri), notes)
	})
	if err != nil || r.state.Frozen != "" || held == nil {
		return err
	}
	mismatch := &room.MismatchError{Room: uri, Have: *held, Want: claimed}
	return f.freeze(ctx, r, http.StatusConflict, codeMismatch, mismatch, notes)
}

// Report says how far our copy of a room reaches, with the newest checkpoint of
// its hub that agrees with it. It is for providers that have a part in the room;
// for others there is no such room.
func (f *Follower) Report(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI) (*checkpoint.Report, error) {
	none := mimi.NewProblem(http.StatusNotFound, mimi.CodeNoSuchRoom, "no such room")
	r, err := f.lock(ctx, uri)
	if err != nil {
		return nil, err
	}
	defer r.mu.Unlock()
	if r.state == nil || peer != f.cfg.Domain && peer != uri.Domain() && !r.state.Participates(peer) {
		return nil, none
	}
	if r.own(uri) && peer != f.cfg.Domain { // our places are nobody else's
		return nil, none
	}
	_, newest, err := f.held(ctx, r, r.state.Pos.Seq)
	return &checkpoint.Report{Seq: r.state.Pos.Seq, Hash: r.state.Pos.Hash, Signed: newest}, err
}

// Evidence gives both signed versions of a log that was found to be forked; nil
// if there are none.
func (f *Follower) Evidence(ctx context.Context, uri mimi.RoomURI) (notes []byte, err error) {
	err = f.cfg.Store.View(ctx, func(tx store.ReadTx) error {
		notes, err = tx.Meta(record.NotesKey(uri))
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		return err
	})
	return notes, err
}

// Freeze stops a replica for a reason found outside it, such as damage on the
// disk. One that is frozen already stays as it is.
func (f *Follower) Freeze(ctx context.Context, uri mimi.RoomURI, reason string) error {
	r, err := f.lock(ctx, uri)
	if err != nil {
		return err
	}
	defer r.mu.Unlock()
	if r.state == nil || r.state.Frozen != "" {
		return nil
	}
	next := *r.state
	next.Frozen = reason
	err = f.update(ctx, r, next, func(tx store.Tx) error {
		return errors.Join(tx.Freeze(uri, reason), tx.Audit(f.cfg.Now(), string(f.cfg.Domain), "freeze", string(uri)+" "+reason))
	})
	if err == nil {
		f.cfg.Wake(uri)
	}
	return err
}
