package hub

import (
	"context"
	"crypto/sha256"
	"errors"
	"time"

	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
	"hubbub/mimi/policy"
)

// Join links live in the room itself, in component JoinLinks (POL-22): every member sees
// which there are, any provider's user who may makes and revokes them by a commit, and
// they come to every replica. What a room cannot hold is kept in a table of the hub: since
// when a link is there, who has shown its code, whether somebody joined by it.

// Tries counts how often users show codes.
type Tries interface {
	// Take counts one more, or says when the next may be made.
	Take(user mimi.UserURI, n int) *mimi.Problem
	// Return takes back what turned out not to count.
	Return(user mimi.UserURI, n int)
}

// keepLinks records which links come and go, in the transaction that changes the room at a
// time in Unix ms.
func keepLinks(tx store.Tx, before, after *room.State, at uint64) error {
	came, gone, err := room.LinksBetween(before, after)
	if err != nil {
		return err
	}
	for _, l := range gone {
		if err := tx.DeleteJoinLink(after.Room, sha256.Sum256(l)); err != nil {
			return err
		}
	}
	for _, l := range came {
		if err := tx.PutJoinLink(store.JoinLink{Room: after.Room, Link: sha256.Sum256(l), Created: at}); err != nil {
			return err
		}
	}
	return nil
}

// admits judges a link by what is remembered of it.
func (h *Hub) admits(p *policy.JoinLinkPolicy, link []byte, user mimi.UserURI, rec *store.JoinLink) bool {
	use := policy.CodeUse{Created: time.UnixMilli(int64(rec.Created)), By: rec.By, Joined: rec.Joined}
	return p.Admits(link, user, use, h.cfg.Now()) == nil
}

// claim is a user showing a code to be given what joining takes. If the code is good, it
// is from then on this user's, and what it joins by (GI-4); else the error is notJoinable,
// and nothing is stored.
func (h *Hub) claim(ctx context.Context, s *room.State, user mimi.UserURI, code []byte) error {
	p, links, err := s.LinkPolicy()
	if err != nil {
		return err
	}
	link := p.Find(s.Room, links, code)
	if link == nil {
		return &notJoinable{}
	}
	return h.cfg.Store.Update(context.WithoutCancel(ctx), func(tx store.Tx) error {
		rec, err := tx.JoinLink(s.Room, sha256.Sum256(link))
		if errors.Is(err, store.ErrNotFound) || err == nil && !h.admits(p, link, user, rec) {
			return &notJoinable{}
		}
		if err != nil {
			return err
		}
		if rec.By == "" {
			rec.By = user
			if err := tx.PutJoinLink(*rec); err != nil {
				return err
			}
		}
		return tx.PutJoinClaim(s.Room, user, rec.Link)
	})
}

// claimed finds the link by which a user may join now, of the one whose code it showed.
func (h *Hub) claimed(tx store.ReadTx, s *room.State, user mimi.UserURI) (rec *store.JoinLink, err error) {
	id, err := tx.JoinClaim(s.Room, user)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err == nil {
		rec, err = tx.JoinLink(s.Room, id)
	}
	if err != nil {
		return nil, err
	}
	p, links, err := s.LinkPolicy()
	if err != nil {
		return nil, err
	}
	for _, link := range p.Links(links) {
		if sha256.Sum256(link) == id && h.admits(p, link, user, rec) {
			return rec, nil
		}
	}
	return nil, nil
}

// newcomer is somebody not listed in the room who joins by the handshake; false if it is
// none.
func (w *write) newcomer() (*room.Handshake, policy.Actor, bool) {
	in, ok := w.in.(*room.Handshake)
	if !ok {
		return nil, policy.Actor{}, false
	}
	who, ok := in.Newcomer()
	return in, who, ok && who.User.Domain() == w.peer && !w.room.state.Listed(who.User)
}

// showCode looks up whether somebody who joins by the handshake has shown a code that is
// good, and tells the rules so.
func (w *write) showCode(ctx context.Context) error {
	in, who, ok := w.newcomer()
	if !ok {
		return nil
	}
	err := w.hub.cfg.Store.View(ctx, func(tx store.ReadTx) (err error) {
		w.link, err = w.hub.claimed(tx, w.room.state, who.User)
		return err
	})
	in.Code = w.link != nil
	return err
}

// useCode records, in the transaction that stores the join, that a link has been used.
func (w *write) useCode(tx store.Tx) error {
	if w.link == nil {
		return nil
	}
	_, who, ok := w.newcomer()
	if !ok {
		return nil
	}
	used := *w.link
	used.Joined = true
	if err := tx.PutJoinLink(used); err != nil {
		return err
	}
	return tx.DeleteJoinClaim(w.uri, who.User)
}

// invited says whether a write comes from somebody whose provider has no part in the room
// yet, and whom the room lets in: by a code, or preauthorised. Everybody else is told that
// there is no such room.
func (w *write) invited(ctx context.Context) (bool, error) {
	_, who, ok := w.newcomer()
	if !ok {
		return false, nil
	}
	if w.room.state.MayEnter(who) {
		return true, nil
	}
	err := w.showCode(ctx)
	return w.link != nil, err
}
