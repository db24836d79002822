package consent

import (
	"context"
	"net/http"

	"hubbub/internal/store"
	"hubbub/mimi"
	"hubbub/mls"
	"hubbub/mls/wire"
)

// Request asks target for consent in the name of a user of ours: for one room or,
// if it is empty, for any. It is durable when it returns; the target's provider
// hears of it as soon as it answers. Repeats change nothing.
func (s *Service) Request(ctx context.Context, user, target mimi.UserURI, room mimi.RoomURI) error {
	if user == target {
		return mimi.NewProblem(http.StatusBadRequest, mimi.CodeMalformed, "nobody has to ask themselves")
	}
	if err := s.cfg.Limit(user); err != nil {
		return err
	}
	scope := store.ConsentScope{Requester: user, Target: target, Room: room}
	out, err := s.entryFor(target, mimi.ConsentEntry{Operation: mimi.ConsentRequest, Requester: user, Target: target, Room: room})
	if err != nil {
		return err
	}
	return s.change(ctx, func(tx store.Tx) error {
		if out == nil && !s.cfg.HideUsers {
			if ok, err := known(tx, target); err != nil || !ok {
				return firstOf(err, unknownUser())
			}
		}
		return ask(tx, store.Consent{ConsentScope: scope, State: store.ConsentAsked, At: s.now(), Out: out})
	})
}

// ask stores a request, unless it waits already or a grant covers it.
func ask(tx store.Tx, c store.Consent) error {
	list, err := tx.Consents(c.Requester, c.Target)
	if err != nil {
		return err
	}
	old := find(list, c.Room, false)
	if old != nil && old.State == store.ConsentAsked && old.Error == "" {
		return nil
	}
	if d := covering(list, c.Room); d != nil && d.State == store.ConsentGranted {
		if old == nil || old.State == store.ConsentAnswered {
			return nil
		}
		c.State, c.Out = store.ConsentAnswered, nil
	}
	if c.Serial = serial(list); old != nil {
		c.Serial = old.Serial
	}
	return tx.PutConsent(c)
}

// Cancel takes a request back. It needs the scope of the request, and has no
// effect on a decision (CON-4, D-73).
func (s *Service) Cancel(ctx context.Context, user, target mimi.UserURI, room mimi.RoomURI) error {
	if err := s.cfg.Limit(user); err != nil {
		return err
	}
	scope := store.ConsentScope{Requester: user, Target: target, Room: room}
	out, err := s.entryFor(target, mimi.ConsentEntry{Operation: mimi.ConsentCancel, Requester: user, Target: target, Room: room})
	if err != nil {
		return err
	}
	return s.change(ctx, func(tx store.Tx) error {
		list, err := tx.Consents(user, target)
		if err != nil {
			return err
		}
		old := find(list, room, false)
		switch {
		case old == nil || old.State != store.ConsentAsked:
			return nil
		case out == nil:
			return tx.DeleteConsent(scope, false)
		}
		old.State, old.Out, old.Error, old.At = store.ConsentCancelled, out, "", s.now()
		return tx.PutConsent(*old)
	})
}

// Decide grants or revokes consent in the name of a user of ours. Nothing need
// have been asked, and a decision may be narrower or wider than a request (CON-8).
//
// A grant that answers a request takes a KeyPackage of each device along, so that
// the requester's provider need not fetch them. A revocation is told only to a
// provider that was told of a grant: whoever merely asked learns nothing (CON-11,
// CON-14).
func (s *Service) Decide(ctx context.Context, user, requester mimi.UserURI, room mimi.RoomURI, grant bool) error {
	if user == requester {
		return mimi.NewProblem(http.StatusBadRequest, mimi.CodeMalformed, "nobody decides about themselves")
	}
	if err := s.cfg.Limit(user); err != nil {
		return err
	}
	return s.change(ctx, func(tx store.Tx) error {
		list, err := tx.Consents(requester, user)
		if err != nil {
			return err
		}
		d := store.Consent{ConsentScope: store.ConsentScope{Requester: requester, Target: user, Room: room},
			State: store.ConsentRevoked, At: s.now()}
		entry := mimi.ConsentEntry{Operation: mimi.ConsentRevoke, Requester: requester, Target: user, Room: room}
		old := find(list, room, true)
		tell := old != nil && old.State == store.ConsentGranted && old.Out == nil
		if grant {
			if old != nil && old.State == store.ConsentGranted && covering(list, room).Serial == old.Serial {
				return nil
			}
			d.State, entry.Operation, tell = store.ConsentGranted, mimi.ConsentGrant, true
			if entry.KeyPackages, err = s.packages(tx, list, entry); err != nil {
				return err
			}
		}
		if tell {
			if d.Out, err = s.entryFor(requester, entry); err != nil {
				return err
			}
		}
		return decide(tx, list, d)
	})
}

// packages takes a KeyPackage of each device out of stock for a grant to another
// provider that was asked for.
func (s *Service) packages(tx store.Tx, list []store.Consent, e mimi.ConsentEntry) ([]mls.KeyPackage, error) {
	asked := false
	for _, c := range list {
		asked = asked || c.State == store.ConsentAsked && (e.Room == "" || c.Room == "" || c.Room == e.Room)
	}
	if !asked || e.Requester.Domain() == s.cfg.Domain {
		return nil, nil
	}
	clients, err := tx.ClientsOfUser(e.Target)
	if err != nil {
		return nil, err
	}
	var out []mls.KeyPackage
	for _, c := range clients {
		row, _, err := tx.ClaimKeyPackage(c.URI, s.cfg.Now(), string(e.Requester)+" "+string(e.Room), func(store.KeyPackage) bool { return true })
		if isMissing(err) {
			continue // none left: it is fetched when it is needed
		}
		if err != nil {
			return nil, err
		}
		var kp mls.KeyPackage
		if err := wire.Unmarshal(row.Body, &kp); err != nil {
			return nil, err
		}
		out = append(out, kp)
	}
	return out, nil
}

// List gives what a user may see: its own requests and decisions, requests made to
// it that it has not decided on, and what others have told about theirs.
func (s *Service) List(ctx context.Context, user mimi.UserURI) ([]store.Consent, error) {
	var out []store.Consent
	err := s.cfg.Store.View(ctx, func(tx store.ReadTx) error {
		all, err := tx.ConsentsOf(user)
		if err != nil {
			return err
		}
		for _, c := range all {
			show := c.State != store.ConsentCancelled
			if c.Target == user && c.State == store.ConsentAsked || c.Requester == user && c.State == store.ConsentRevoked {
				if show, err = s.shown(tx, c, user); err != nil {
					return err
				}
			}
			if c.Target == user && c.State == store.ConsentAnswered {
				show = false
			}
			if show {
				out = append(out, c)
			}
		}
		return nil
	})
	return out, err
}

// shown judges what may be kept from a user: a request that a revocation covers
// has been answered (CON-14), and a revocation by a user of this provider is not
// announced.
func (s *Service) shown(tx store.ReadTx, c store.Consent, user mimi.UserURI) (bool, error) {
	if c.Requester == user {
		return c.Target.Domain() != s.cfg.Domain, nil
	}
	list, err := tx.Consents(c.Requester, c.Target)
	if err != nil {
		return false, err
	}
	return covering(list, c.Room) == nil || judge(list, c.Room, false) == Granted, nil
}

// entryFor encodes what another provider is to be told; nil if the user is ours.
func (s *Service) entryFor(other mimi.UserURI, e mimi.ConsentEntry) ([]byte, error) {
	if other.Domain() == s.cfg.Domain {
		return nil, nil
	}
	return e.Marshal()
}

// change runs a transaction of a user of ours and sends what came of it.
func (s *Service) change(ctx context.Context, fn func(store.Tx) error) error {
	err := s.cfg.Store.Update(context.WithoutCancel(ctx), fn)
	if err == nil {
		s.ring()
	}
	return err
}

// firstOf is the failure, if there is one, and else the refusal.
func firstOf(err error, p *mimi.Problem) error {
	if err != nil {
		return err
	}
	return p
}
