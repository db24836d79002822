package hub

import (
	"bytes"
	"context"
	"errors"
	"net/http"

	"hubbub/internal/record"
	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
	"hubbub/mls"
)

// CreateRequest is the first state of a room, as a client of ours made it.
type CreateRequest struct {
	Room      mimi.RoomURI // of our domain
	GroupInfo []byte       // bare GroupInfo without tree
	Tree      []byte       // content of a ratchet_tree extension
}

// Create makes a room. The creator must be its only member and participant, and
// the group must hold what our rooms hold: the hub as external sender, and the
// components 0x0022, 0x0025 and 0x0027 (UPD-28, EXT-28). A repeat with the same
// GroupInfo succeeds. Refusals are *mimi.Problem.
func (h *Hub) Create(ctx context.Context, client mimi.ClientURI, req CreateRequest) error {
	if req.Room.Domain() != h.cfg.Domain {
		return mimi.NewProblem(http.StatusForbidden, mimi.CodeForbidden, "a room is created at the provider that hosts it")
	}
	s, eff, err := room.Create(h.cfg.Env, room.Creation{
		Room: req.Room, Creator: client, GroupInfo: req.GroupInfo, Tree: req.Tree,
	}, h.nowMS())
	if err != nil {
		return err
	}
	if eff.Refusal != nil {
		return mimi.NewProblem(http.StatusForbidden, string(eff.Refusal.Code), "%s", eff.Refusal.Description)
	}
	if err := h.checkKey(&s); err != nil {
		return err
	}
	rec, err := record.Room(&s)
	if err != nil {
		return err
	}
	err = h.cfg.Store.Update(context.WithoutCancel(ctx), func(tx store.Tx) error {
		return create(tx, rec, &s, &eff, record.Joined(h.cfg.Domain, &s, eff.Joined))
	})
	if errors.Is(err, store.ErrExists) {
		return h.createdBefore(ctx, req)
	}
	if err == nil {
		h.cfg.Wake(req.Room)
	}
	return err
}

// checkKey demands that the external sender in our name, and the franking agent if
// there is one, has our key: otherwise nobody could believe what we sign.
func (h *Hub) checkKey(s *room.State) error {
	if _, ok := h.ownSender(s); !ok {
		return mimi.NewProblem(http.StatusForbidden, string(room.NotAllowed), "the hub's external sender has another key")
	}
	if a := s.FrankingAgent(); a != nil && !bytes.Equal(a.SignatureKey, h.cfg.SignatureKey.Public) {
		return mimi.NewProblem(http.StatusForbidden, string(room.NotAllowed), "the room's franking agent has another key than the hub")
	}
	return nil
}

// ownSender finds our entry in a room's external senders.
func (h *Hub) ownSender(s *room.State) (sender mls.ExternalSender, ok bool) {
	for _, e := range s.Group().ExternalSenders() {
		d, err := mimi.ProviderIdentity(&e.Credential)
		if err == nil && d == h.cfg.Domain && bytes.Equal(e.SignatureKey, h.cfg.SignatureKey.Public) {
			return e, true
		}
	}
	return sender, false
}

// create writes the rows of a new room. A group id belongs to one room for ever
// (MLSD-23).
func create(tx store.Tx, rec store.RoomRecord, s *room.State, eff *room.Effects, joined []store.Membership) error {
	if err := record.Create(tx, s, rec, eff.Changes, eff.Participants, joined); err != nil {
		return err
	}
	key := record.GroupKey(s.Group().GroupID())
	switch _, err := tx.Meta(key); {
	case err == nil:
		return mimi.NewProblem(http.StatusConflict, mimi.CodeConflict, "the group id is in use")
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	if err := tx.PutMeta(key, []byte(rec.URI)); err != nil {
		return err
	}
	return keepLinks(tx, nil, s, eff.Changes[0].Timestamp)
}

// createdBefore tells a repeat, whatever has happened in the room since, from an attempt
// to take a name that is in use.
func (h *Hub) createdBefore(ctx context.Context, req CreateRequest) error {
	var start []byte
	err := h.cfg.Store.View(ctx, func(tx store.ReadTx) (err error) {
		start, err = tx.Meta(record.StartKey(req.Room))
		return err
	})
	if err != nil {
		return err
	}
	s, err := room.ParseSnapshot(start)
	if err != nil {
		return err
	}
	if !bytes.Equal(s.GroupInfo, req.GroupInfo) {
		return mimi.NewProblem(http.StatusConflict, mimi.CodeConflict, "the room exists")
	}
	return nil
}
