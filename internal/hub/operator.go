package hub

import (
	"context"
	"errors"
	"strconv"

	"hubbub/internal/record"
	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// thawedKey is where the end of our log is kept from when the operator last decided
// for it against what followers held.
func thawedKey(uri mimi.RoomURI) string { return "thawed/" + string(uri) }

// Thaw lets a room of ours that is frozen for the reason given go on from what is
// stored. Followers that hold another history will say so and freeze their side;
// until they hold ours, what they hold does not freeze it again.
func (h *Hub) Thaw(ctx context.Context, uri mimi.RoomURI, reason string) (room.Pos, error) {
	r, err := h.lock(ctx, uri)
	if err != nil {
		return room.Pos{}, err
	}
	defer r.mu.Unlock()
	next := *r.state
	next.Frozen = ""
	err = h.commit(context.WithoutCancel(ctx), r, next, func(tx store.Tx) error {
		if reason == codeMismatch {
			if err := tx.PutMeta(thawedKey(uri), strconv.AppendUint(nil, next.Pos.Seq, 10)); err != nil {
				return err
			}
		}
		return record.Thaw(tx, uri, reason, h.cfg.Now())
	})
	if err != nil {
		return room.Pos{}, err
	}
	h.cfg.Wake(uri)
	return next.Pos, nil
}

// overruled says whether the operator has decided against what a follower holds: it
// has not stored yet what our log ended with then.
func (h *Hub) overruled(ctx context.Context, uri mimi.RoomURI, peer mimi.Domain) (yes bool, err error) {
	err = h.cfg.Store.View(ctx, func(tx store.ReadTx) error {
		b, err := tx.Meta(thawedKey(uri))
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		seq, err := strconv.ParseUint(string(b), 10, 64)
		if err != nil {
			return err
		}
		f, err := tx.Fanout(uri, peer)
		yes = err == nil && f.Acked < seq
		return err
	})
	return yes, err
}
