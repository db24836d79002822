package hub

import (
	"context"
	"net/http"

	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// MayReport checks who reports abuse in a room of ours: a provider with a part in it
// and, unless the report is anonymous, a user of that provider who may report now or was
// in a role that may at one of the times, which are Unix ms (ABU-6, D-47). It gives the
// signature keys of the room's franking agents; none if nothing can be proved. Refusals
// are *mimi.Problem.
func (h *Hub) MayReport(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI, reporter mimi.UserURI, times []uint64) (agents [][]byte, err error) {
	r, err := h.lock(ctx, uri)
	if err != nil {
		return nil, err
	}
	defer r.mu.Unlock()
	if !r.knows(h.cfg.Domain, peer) {
		return nil, errNoRoom()
	}
	if a := r.state.FrankingAgent(); a != nil {
		agents = append(agents, a.SignatureKey)
	}
	if reporter == "" {
		return agents, nil
	}
	if reporter.Domain() != peer {
		return nil, mimi.NewProblem(http.StatusForbidden, mimi.CodeForbidden, "the reporting user belongs to another provider")
	}
	if r.state.MayReport(reporter) {
		return agents, nil
	}
	ok, err := h.couldReport(ctx, r.state, reporter, times)
	if err == nil && !ok {
		err = mimi.NewProblem(http.StatusForbidden, mimi.CodeForbidden, "the reporting user has no role that lets it report in this room")
	}
	return agents, err
}

// couldReport says whether a user was in a role that may report at one of the times.
func (h *Hub) couldReport(ctx context.Context, s *room.State, user mimi.UserURI, times []uint64) (ok bool, err error) {
	err = h.cfg.Store.View(ctx, func(tx store.ReadTx) error {
		history, err := tx.History(s.Room, 0)
		for _, at := range times {
			role, in := uint32(0), false
			for _, c := range history {
				if c.User != user || c.Timestamp > at {
					continue
				}
				switch c.Action {
				case room.Created, room.Added, room.RoleChanged:
					role, in = c.Role, true
				case room.Removed, room.Left:
					in = false
				}
			}
			ok = ok || in && s.RoleMayReport(role)
		}
		return err
	})
	return ok, err
}
