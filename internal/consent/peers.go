package consent

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"hubbub/internal/store"
	"hubbub/mimi"
	"hubbub/mls"
	"hubbub/mls/wire"
)

// RequestConsent takes what a peer's user asks of one of ours, or takes back
// (CON-2, CON-3). Errors are *mimi.Problem or failures of our own; without one it
// is durable. Success says nothing about what our user knows or decides (CON-7).
func (s *Service) RequestConsent(ctx context.Context, peer mimi.Domain, body []byte) error {
	e, err := s.read(peer, body, mimi.ConsentCancel, mimi.ConsentRequest)
	if err != nil {
		return err
	}
	switch {
	case e.Requester.Domain() != peer:
		return foreignActor()
	case e.Target.Domain() != s.cfg.Domain:
		return foreignUser()
	}
	if err := s.cfg.Limit(e.Requester); err != nil {
		return err
	}
	scope := store.ConsentScope{Requester: e.Requester, Target: e.Target, Room: e.Room}
	return s.cfg.Store.Update(context.WithoutCancel(ctx), func(tx store.Tx) error {
		if ok, err := s.reached(tx, e.Target, e); err != nil || !ok {
			return err
		}
		if e.Operation == mimi.ConsentRequest {
			if tooMany, err := full(tx, e.Target); err != nil || tooMany {
				return err
			}
			return ask(tx, store.Consent{ConsentScope: scope, State: store.ConsentAsked, At: s.now()})
		}
		list, err := tx.Consents(e.Requester, e.Target)
		if err != nil {
			return err
		}
		if old := find(list, e.Room, false); old == nil || old.State != store.ConsentAsked {
			return nil // CON-6, D-73
		}
		return tx.DeleteConsent(scope, false)
	})
}

// UpdateConsent takes what a peer's user has decided about one of ours. What a
// grant brings is kept for the next time our user adds that one (CON-10).
func (s *Service) UpdateConsent(ctx context.Context, peer mimi.Domain, body []byte) error {
	e, err := s.read(peer, body, mimi.ConsentGrant, mimi.ConsentRevoke)
	if err != nil {
		return err
	}
	switch {
	case e.Target.Domain() != peer:
		return foreignActor()
	case e.Requester.Domain() != s.cfg.Domain:
		return foreignUser()
	}
	if err := s.cfg.Limit(e.Target); err != nil {
		return err
	}
	brought, err := s.usable(e)
	if err != nil {
		return err
	}
	scope := store.ConsentScope{Requester: e.Requester, Target: e.Target, Room: e.Room}
	return s.cfg.Store.Update(context.WithoutCancel(ctx), func(tx store.Tx) error {
		if ok, err := s.reached(tx, e.Requester, e); err != nil || !ok {
			return err
		}
		list, err := tx.Consents(e.Requester, e.Target)
		if err != nil {
			return err
		}
		if find(list, e.Room, true) == nil {
			if tooMany, err := full(tx, e.Requester); err != nil || tooMany {
				return err
			}
		}
		d := store.Consent{ConsentScope: scope, State: store.ConsentGranted, At: s.now()}
		if e.Operation == mimi.ConsentRevoke {
			d.State = store.ConsentRevoked
			if err := dropPackages(tx, scope); err != nil {
				return err
			}
		}
		for _, p := range brought {
			if err := tx.PutGrantedPackage(p); err != nil {
				return err
			}
		}
		return decide(tx, list, d)
	})
}

// read decodes a body that must hold one of two operations.
func (s *Service) read(peer mimi.Domain, body []byte, allowed ...mimi.ConsentOperation) (*mimi.ConsentEntry, error) {
	if err := s.cfg.LimitPeer(peer); err != nil {
		return nil, err
	}
	e, err := mimi.ParseConsentEntry(bytes.Clone(body))
	if err != nil {
		return nil, mimi.NewProblem(http.StatusBadRequest, mimi.CodeMalformed, "the body does not decode")
	}
	if !slices.Contains(allowed, e.Operation) {
		return nil, mimi.NewProblem(http.StatusBadRequest, "wrong-operation", "the other consent endpoint is for that")
	}
	return e, nil
}

func foreignActor() error {
	return mimi.NewProblem(http.StatusForbidden, mimi.CodeForbidden, "a provider speaks for its own users only")
}

func foreignUser() error {
	return mimi.NewProblem(http.StatusForbidden, mimi.CodeForbidden, "the user concerned is of another provider")
}

// reached says whether a user of ours is there. If not, the answer is that of
// success, unless this provider tells who its users are (CON-5). The line in the
// audit log, which is written either way, also makes both take a durable commit.
func (s *Service) reached(tx store.Tx, user mimi.UserURI, e *mimi.ConsentEntry) (bool, error) {
	ok, err := known(tx, user)
	if err != nil {
		return false, err
	}
	if !ok && !s.cfg.HideUsers {
		return false, unknownUser()
	}
	return ok, tx.Audit(s.cfg.Now(), string(e.Requester), operations[e.Operation], string(e.Target))
}

// operations are their names in the audit log.
var operations = map[mimi.ConsentOperation]string{mimi.ConsentCancel: "cancel-consent", mimi.ConsentRequest: "request-consent",
	mimi.ConsentGrant: "grant-consent", mimi.ConsentRevoke: "revoke-consent"}

// usable are the KeyPackages of a grant that could be added to a room here. One that
// is not the target's spoils the grant (H79); one that has expired, or of a suite
// that no room here has, is passed over.
func (s *Service) usable(e *mimi.ConsentEntry) (out []store.GrantedPackage, err error) {
	if len(e.KeyPackages) > maxPackages {
		return nil, mimi.NewProblem(http.StatusBadRequest, "bad-key-package", "a grant may bring %d key packages", maxPackages)
	}
	now := s.cfg.Now()
	for i := range e.KeyPackages {
		kp := &e.KeyPackages[i]
		leaf := &kp.LeafNode
		if !kp.CipherSuite.Supported() {
			continue
		}
		id, err := s.cfg.Verifier.Identify(&leaf.Credential, leaf.SignatureKey, now)
		if err != nil || id.User != e.Target || leaf.Source != mls.LeafNodeSourceKeyPackage ||
			kp.VerifySignature() != nil || leaf.VerifySignature(kp.CipherSuite, nil, 0) != nil {
			return nil, mimi.NewProblem(http.StatusBadRequest, "bad-key-package", "key package %d is not one of the user who grants", i+1)
		}
		until := time.Unix(int64(min(leaf.Lifetime.NotAfter, 1<<40)), 0).UTC()
		if !until.After(now) {
			continue
		}
		ref, err := kp.Ref()
		if err != nil {
			return nil, err
		}
		body, err := wire.Marshal(kp)
		if err != nil {
			return nil, err
		}
		out = append(out, store.GrantedPackage{Ref: ref, Client: id.Client, NotAfter: until, Body: body,
			ConsentScope: store.ConsentScope{Requester: e.Requester, Target: e.Target, Room: e.Room}})
	}
	return out, nil
}

// dropPackages forgets what grants within a revoked scope have brought.
func dropPackages(tx store.Tx, scope store.ConsentScope) error {
	list, err := tx.GrantedPackages(scope.Requester, scope.Target)
	if err != nil {
		return err
	}
	for _, p := range list {
		if scope.Room == "" || scope.Room == p.Room {
			if err := tx.SpendGrantedPackage(p.Ref); err != nil {
				return err
			}
		}
	}
	return nil
}

// Brought answers a request for key material of a user of ours from what a grant
// has brought, each KeyPackage once; ok is false if there is nothing that fits.
func (s *Service) Brought(ctx context.Context, req *mimi.KeyMaterialRequest) (answer []byte, ok bool, err error) {
	if req.Room == "" || req.Protocol != mimi.ProtocolMLS10 || req.RequestingUser.Domain() != s.cfg.Domain {
		return nil, false, nil
	}
	some := false
	err = s.cfg.Store.View(ctx, func(tx store.ReadTx) error {
		list, err := tx.GrantedPackages(req.RequestingUser, req.TargetUser)
		some = len(list) > 0
		return err
	})
	if err != nil || !some {
		return nil, false, err
	}
	out := &mimi.KeyMaterialResponse{User: req.TargetUser}
	err = s.cfg.Store.Update(context.WithoutCancel(ctx), func(tx store.Tx) error {
		out.Clients = nil
		return s.spend(tx, req, out)
	})
	if err != nil || len(out.Clients) == 0 {
		return nil, false, err
	}
	answer, err = out.Marshal()
	return answer, err == nil, err
}

// spend takes one KeyPackage per device.
func (s *Service) spend(tx store.Tx, req *mimi.KeyMaterialRequest, out *mimi.KeyMaterialResponse) error {
	decisions, err := tx.Consents(req.RequestingUser, req.TargetUser)
	if err != nil || judge(decisions, req.Room, false) != Granted {
		return err
	}
	list, err := tx.GrantedPackages(req.RequestingUser, req.TargetUser)
	if err != nil {
		return err
	}
	now := s.cfg.Now()
	taken := map[mimi.ClientURI]bool{}
	for _, p := range list {
		if p.Room != "" && p.Room != req.Room || taken[p.Client] || !p.NotAfter.After(now) || !s.cfg.Fits(req, p.Body) {
			continue
		}
		kp := new(mls.KeyPackage)
		if err := wire.Unmarshal(p.Body, kp); err != nil {
			return err
		}
		if err := tx.SpendGrantedPackage(p.Ref); err != nil {
			return err
		}
		taken[p.Client] = true
		out.Clients = append(out.Clients, mimi.ClientKeyMaterial{Client: p.Client, KeyPackage: kp})
	}
	return nil
}

func isMissing(err error) bool { return errors.Is(err, store.ErrNotFound) }
