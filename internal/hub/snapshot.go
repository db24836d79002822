package hub

import (
	"context"
	"errors"
	"net/http"

	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// Snapshot returns the room as it stood at seq, for a follower whose replica
// starts there: the octets stored with its Welcome. With seq 0 it is the newest
// Welcome waiting for that peer or, if none is, the room as it stood where the
// peer's replica once began: a follower that lost it begins anew. Nobody else's
// snapshot can be had. It carries our checkpoint of its position.
//
// A follower that has left and asks for 0 has nothing of the room and will not get
// it back: its queue ends, or it would wait for ever.
func (h *Hub) Snapshot(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI, seq uint64) ([]byte, error) {
	if uri.Domain() != h.cfg.Domain {
		return nil, errNoRoom()
	}
	var body []byte
	err := h.cfg.Store.View(ctx, func(tx store.ReadTx) error {
		list, err := tx.OutWelcomes(uri, peer, 0)
		for _, w := range list {
			if w.Snapshot != nil && (seq == 0 || w.Seq == seq) {
				body = w.Snapshot
			}
		}
		return err
	})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	if body == nil && seq == 0 {
		if body, err = h.restart(ctx, peer, uri); err == nil && body == nil {
			err = h.endQueue(ctx, peer, uri)
		}
		if err != nil {
			return nil, err
		}
	}
	if body == nil {
		return nil, errNoRoom()
	}
	return h.sign(body)
}

// sign adds our checkpoint to a snapshot.
func (h *Hub) sign(body []byte) ([]byte, error) {
	s, err := room.ParseSnapshot(body)
	if err != nil {
		return nil, err
	}
	if s.Signed, err = h.CheckpointAt(s.Room, s.Pos); err != nil {
		return nil, err
	}
	return s.Encode()
}

// endQueue takes what waits for a follower that has left for delivered.
func (h *Hub) endQueue(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI) error {
	err := h.cfg.Store.Update(context.WithoutCancel(ctx), func(tx store.Tx) error {
		f, err := tx.Fanout(uri, peer)
		if err != nil || f.Until == 0 || f.Acked == f.Until && f.Parked == "" {
			return err
		}
		f.Acked, f.Sent, f.Parked = f.Until, f.Until, ""
		return errors.Join(tx.PutFanout(*f),
			tx.Audit(h.cfg.Now(), string(peer), "end-queue", string(uri)+" it has left and holds nothing of the room"))
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// malformed is the answer to a body that does not decode.
func malformed(err error) error {
	code := mimi.CodeMalformed
	if errors.Is(err, mimi.ErrUnsupportedProtocol) {
		code = mimi.CodeUnsupported
	}
	return mimi.NewProblem(http.StatusBadRequest, code, "the body does not decode")
}
