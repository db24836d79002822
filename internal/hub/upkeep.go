package hub

import (
	"context"

	"hubbub/internal/room"
	"hubbub/mimi"
)

// upkeep proposes what we owe a room of ours after a commit. The members' next commit has
// to cover it. What goes wrong is made good after that one: nothing of it is remembered but
// the state of the room. r.mu is held.
func (h *Hub) upkeep(ctx context.Context, uri mimi.RoomURI, r *hosted) {
	if r.state == nil {
		return
	}
	body, err := room.Upkeep(h.cfg.Env, r.state)
	if err == nil && body == nil {
		return
	}
	var in *room.Handshake
	if err == nil {
		in, err = room.ParseHandshake(h.cfg.Domain, body)
	}
	if err == nil {
		own := newWrite(h, h.cfg.Domain, uri).handshake(in)
		own.room = r
		_, err = own.run(ctx)
		if err == nil && own.refused {
			h.cfg.Log.Warn("hub: a proposal of ours was refused by the rules")
		}
	}
	if err != nil {
		h.cfg.Log.Warn("hub: could not propose what a room needs", "cause", err)
	}
}
