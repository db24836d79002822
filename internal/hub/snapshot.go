package hub

import (
	"context"
	"errors"
	"net/http"

	"hubbub/internal/store"
	"hubbub/mimi"
)

// Snapshot returns the room as it stood at seq, for a follower whose replica
// starts there: the octets stored with its Welcome. With seq 0 it is the newest
// Welcome waiting for that peer or, if none is, the room as it stood where the
// peer's replica once began: a follower that lost it begins anew. Nobody else's
// snapshot can be had.
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
		if body, err = h.restart(ctx, peer, uri); err != nil {
			return nil, err
		}
	}
	if body == nil {
		return nil, errNoRoom()
	}
	return body, nil
}

// malformed is the answer to a body that does not decode.
func malformed(err error) error {
	code := mimi.CodeMalformed
	if errors.Is(err, mimi.ErrUnsupportedProtocol) {
		code = mimi.CodeUnsupported
	}
	return mimi.NewProblem(http.StatusBadRequest, code, "the body does not decode")
}
