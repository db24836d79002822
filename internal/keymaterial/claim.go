package keymaterial

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"hubbub/internal/store"
	"hubbub/mimi"
)

// Claim answers a request for a user's key material; the answer is the body that
// goes with 200. peer is authenticated; for our own clients it is our domain.
// Errors are *mimi.Problem or failures of our own. A claim is not repeated by
// anybody but the client: it uses up what it gets (KM-22).
func (s *Service) Claim(ctx context.Context, peer mimi.Domain, target mimi.UserURI, body []byte) ([]byte, error) {
	req, err := mimi.ParseKeyMaterialRequest(slices.Clone(body))
	if err != nil {
		return nil, mimi.NewProblem(http.StatusBadRequest, mimi.CodeMalformed, "the body does not decode")
	}
	if req.TargetUser != target {
		return nil, mimi.NewProblem(http.StatusBadRequest, mimi.CodeIDMismatch, "path and body name different users")
	}
	ours := peer == s.cfg.Domain
	switch hub := req.Room.Domain(); {
	case ours && req.RequestingUser.Domain() != s.cfg.Domain:
		return nil, mimi.NewProblem(http.StatusForbidden, mimi.CodeForbidden, "the request is in another user's name")
	case ours && req.Room != "" && hub != s.cfg.Domain:
		return s.cfg.Remote.KeyMaterial(ctx, hub, target, body) // KM-2
	case target.Domain() == s.cfg.Domain:
		return s.supply(ctx, peer, req)
	case ours && req.Room == "":
		return s.cfg.Remote.KeyMaterial(ctx, target.Domain(), target, body)
	}
	return s.relay(ctx, peer, req, body)
}

// relay passes a request of a room we host to the target's provider, octet for
// octet, and remembers what came from there.
func (s *Service) relay(ctx context.Context, peer mimi.Domain, req *mimi.KeyMaterialRequest, body []byte) ([]byte, error) {
	ok, err := s.participates(ctx, req.Room, req.RequestingUser)
	if err != nil {
		return nil, err
	}
	if !ok || req.RequestingUser.Domain() != peer {
		return refusal(req, mimi.KeyMaterialNoConsent)
	}
	provider := req.TargetUser.Domain()
	answer, err := s.cfg.Remote.KeyMaterial(ctx, provider, req.TargetUser, body)
	if err != nil {
		return nil, err
	}
	got, err := mimi.ParseKeyMaterialResponse(slices.Clone(answer))
	if err != nil || got.User != req.TargetUser {
		return nil, mimi.NewProblem(http.StatusBadGateway, "bad-answer", "the target's provider answered something else")
	}
	if err := s.remember(ctx, provider, got); err != nil {
		return nil, err
	}
	return answer, nil
}

// participates says whether a user is a participant of a room we host.
func (s *Service) participates(ctx context.Context, uri mimi.RoomURI, user mimi.UserURI) (bool, error) {
	if uri.Domain() != s.cfg.Domain {
		return false, nil
	}
	found := false
	err := s.cfg.Store.View(ctx, func(tx store.ReadTx) error {
		list, err := tx.Participants(uri)
		for _, p := range list {
			found = found || p.User == user
		}
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return found, err
}

// remember stores which provider handed out each KeyPackage, so that the
// Welcome that names it finds its way (KM-17).
func (s *Service) remember(ctx context.Context, provider mimi.Domain, got *mimi.KeyMaterialResponse) error {
	type route struct {
		ref      []byte
		notAfter uint64
	}
	var routes []route
	for _, c := range got.Clients {
		if c.KeyPackage == nil {
			continue
		}
		ref, err := c.KeyPackage.Ref()
		if err != nil {
			continue // of a suite we cannot host
		}
		routes = append(routes, route{ref, c.KeyPackage.LeafNode.Lifetime.NotAfter})
	}
	if len(routes) == 0 {
		return nil
	}
	return s.cfg.Store.Update(ctx, func(tx store.Tx) error {
		for _, r := range routes {
			if err := tx.PutRoute(r.ref, provider, unix(r.notAfter)); err != nil {
				return err
			}
		}
		return nil
	})
}

func refusal(req *mimi.KeyMaterialRequest, code mimi.KeyMaterialUserCode) ([]byte, error) {
	r := mimi.KeyMaterialResponse{Status: code, User: req.TargetUser}
	return r.Marshal()
}
