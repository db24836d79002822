package hub

import (
	"context"
	"errors"
	"net/http"

	"hubbub/internal/catchup"
	"hubbub/internal/record"
	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// CatchUp finds what follows from in the log of a room of ours, for a follower
// that lacks it. A provider gets what it was sent or would be: from the commit
// that first brought a client of its own into the group, to the one that removed
// the last, and nothing else. Errors are *mimi.Problem or failures of our own.
func (h *Hub) CatchUp(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI, from room.Pos) (*catchup.Part, error) {
	if uri.Domain() != h.cfg.Domain {
		return nil, errNoRoom()
	}
	var f *store.FanoutState
	var first uint64
	err := h.cfg.Store.View(ctx, func(tx store.ReadTx) (err error) {
		if f, err = tx.Fanout(uri, peer); err != nil {
			return err
		}
		first, err = firstJoin(tx, uri, peer)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, errNoRoom()
	}
	if err != nil {
		return nil, err
	}
	if from.Seq < first {
		return nil, mimi.NewProblem(http.StatusForbidden, mimi.CodeForbidden, "your part of the log begins at %d", first)
	}
	part, err := catchup.Open(ctx, h.cfg.Store, uri, from, f.Until)
	switch {
	case err != nil:
		return nil, err
	case from.Seq > part.Head.Seq && f.Until == 0:
		h.ahead(uri, peer, from)
	case from.Seq <= part.Head.Seq && f.Parked != "" && h.cfg.Shipper != nil:
		if err := h.cfg.Shipper.Confirmed(ctx, uri, peer, from.Seq); err != nil {
			return nil, err
		}
	}
	return part, nil
}

// firstJoin is where the replica of a provider starts: at the commit that brought
// its first client into the room's group, or before it if that was the client's own
// doing.
func firstJoin(tx store.ReadTx, uri mimi.RoomURI, peer mimi.Domain) (uint64, error) {
	history, err := tx.History(uri, 0)
	if err != nil {
		return 0, err
	}
	for _, c := range history {
		if c.Action == room.ClientJoined && c.Client.Domain() == peer {
			if c.Actor.Domain() == peer { // nobody of that provider was there to add it
				return c.Seq - 1, nil
			}
			return c.Seq, nil
		}
	}
	return 0, store.ErrNotFound
}

// restart is the snapshot from which a follower that has lost its replica begins
// again: the one it began with, so that by catching up from there it ends with
// what it had. If that was not kept it is the room as it stands now, and what went
// before is lost to that follower. nil = the peer does not follow the room now.
func (h *Hub) restart(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI) (body []byte, err error) {
	err = h.cfg.Store.View(ctx, func(tx store.ReadTx) error {
		f, err := tx.Fanout(uri, peer)
		if err == nil && f.Until != 0 {
			err = store.ErrNotFound
		}
		if err != nil {
			return err
		}
		kept, err := tx.Meta(record.JoinKey(uri, peer))
		if err == nil {
			if snap, ok := record.Unseal(kept); ok {
				body = snap
				return nil
			}
		} else if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		body, err = h.present(tx, uri)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return body, err
}

// present is a snapshot of the room as it stands.
func (h *Hub) present(tx store.ReadTx, uri mimi.RoomURI) ([]byte, error) {
	rec, err := tx.Room(uri)
	if err != nil {
		return nil, err
	}
	s, err := room.Decode(h.cfg.Env, rec.State)
	if err != nil {
		return nil, err
	}
	s = s.At(rec.Head, rec.LastTimestamp, rec.Frozen)
	return snapshot(tx, &s)
}
