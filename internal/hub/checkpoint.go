package hub

import (
	"context"
	"crypto/ed25519"
	"errors"
	"net/http"
	"sync"

	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
	"hubbub/mimi/checkpoint"
)

// maxSigned bounds how many signed checkpoints are held in memory.
const maxSigned = 10_000

// signed are the newest checkpoints that were signed, by room: all followers of a
// room get the same octets, and nothing is signed twice.
type signed struct {
	mu     sync.Mutex
	byRoom map[mimi.RoomURI]signedAt
}

type signedAt struct {
	pos  room.Pos
	note []byte
}

// CheckpointAt signs a position of the log of a room of ours. pos must be durable.
func (h *Hub) CheckpointAt(uri mimi.RoomURI, pos room.Pos) ([]byte, error) {
	h.signed.mu.Lock()
	defer h.signed.mu.Unlock()
	if s, ok := h.signed.byRoom[uri]; ok && s.pos == pos {
		return s.note, nil
	}
	c := checkpoint.Checkpoint{Room: uri, Seq: pos.Seq, Hash: pos.Hash}
	note, err := c.Sign(h.cfg.Domain, ed25519.NewKeyFromSeed(h.cfg.SignatureKey.Private))
	if err != nil {
		return nil, err
	}
	if h.signed.byRoom == nil || len(h.signed.byRoom) >= maxSigned {
		h.signed.byRoom = map[mimi.RoomURI]signedAt{}
	}
	h.signed.byRoom[uri] = signedAt{pos, note}
	return note, nil
}

// Report says where the log of a room of ours stands, signed. It is for providers
// that have a part in the room; for others there is no such room.
func (h *Hub) Report(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI) (*checkpoint.Report, error) {
	r, err := h.lock(ctx, uri)
	if err != nil {
		return nil, err
	}
	knows := r.knows(h.cfg.Domain, peer)
	r.mu.Unlock()
	if !knows {
		return nil, errNoRoom()
	}
	// Only what is in the store is durable, and only that may be signed.
	var rec *store.RoomRecord
	err = h.cfg.Store.View(ctx, func(tx store.ReadTx) (err error) {
		rec, err = tx.RoomHead(uri)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, mimi.NewProblem(http.StatusNotFound, mimi.CodeNoSuchRoom, "no such room")
	}
	if err != nil {
		return nil, err
	}
	note, err := h.CheckpointAt(uri, rec.Head)
	if err != nil {
		return nil, err
	}
	return &checkpoint.Report{Seq: rec.Head.Seq, Hash: rec.Head.Hash, Signed: note}, nil
}

// Freeze stops a room of ours for a reason found outside it, such as damage on the
// disk. A room that is frozen already stays as it is.
func (h *Hub) Freeze(ctx context.Context, uri mimi.RoomURI, reason string) error {
	r, err := h.lock(ctx, uri)
	if err != nil {
		return err
	}
	defer r.mu.Unlock()
	if r.state.Frozen != "" {
		return nil
	}
	next := *r.state
	next.Frozen = reason
	err = h.commit(context.WithoutCancel(ctx), r, next, func(tx store.Tx) error {
		return errors.Join(tx.Freeze(uri, reason), tx.Audit(h.cfg.Now(), string(h.cfg.Domain), "freeze", string(uri)+" "+reason))
	})
	if err == nil {
		h.cfg.Wake(uri)
	}
	return err
}
