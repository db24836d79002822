package hub

import (
	"context"

	"hubbub/internal/record"
	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// Thaw lets a room of ours that is frozen for the reason given go on from what is
// stored. Followers that hold another history will say so and freeze their side.
func (h *Hub) Thaw(ctx context.Context, uri mimi.RoomURI, reason string) (room.Pos, error) {
	r, err := h.lock(ctx, uri)
	if err != nil {
		return room.Pos{}, err
	}
	defer r.mu.Unlock()
	next := *r.state
	next.Frozen = ""
	err = h.commit(context.WithoutCancel(ctx), r, next, func(tx store.Tx) error { return record.Thaw(tx, uri, reason, h.cfg.Now()) })
	if err != nil {
		return room.Pos{}, err
	}
	h.cfg.Wake(uri)
	return next.Pos, nil
}
