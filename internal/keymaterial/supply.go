package keymaterial

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"hubbub/internal/store"
	"hubbub/mimi"
	"hubbub/mls"
	"hubbub/mls/wire"
)

// supply hands out one KeyPackage of each client of one of our users.
func (s *Service) supply(ctx context.Context, peer mimi.Domain, req *mimi.KeyMaterialRequest) ([]byte, error) {
	if req.Protocol != mimi.ProtocolMLS10 {
		return refusal(req, mimi.KeyMaterialIncompatibleProtocol)
	}
	if req.Verify() != nil {
		return nil, mimi.NewProblem(http.StatusForbidden, mimi.CodeBadSignature, "the request's signature does not verify")
	}
	code, err := s.admit(ctx, peer, req)
	if err != nil {
		return nil, err
	}
	if code != mimi.KeyMaterialSuccess {
		return refusal(req, code)
	}
	answer := &mimi.KeyMaterialResponse{User: req.TargetUser}
	err = s.cfg.Store.Update(context.WithoutCancel(ctx), func(tx store.Tx) error {
		answer.Clients = nil // should the transaction run twice
		return s.claim(tx, req, answer)
	})
	if errors.Is(err, store.ErrNotFound) {
		code = mimi.KeyMaterialUserUnknown
		if s.cfg.HideUsers {
			code = mimi.KeyMaterialNoConsent
		}
		return refusal(req, code)
	}
	if err != nil {
		return nil, err
	}
	answer.Status = outcome(answer.Clients)
	return answer.Marshal()
}

// admit decides whether the requester may have anything at all.
func (s *Service) admit(ctx context.Context, peer mimi.Domain, req *mimi.KeyMaterialRequest) (mimi.KeyMaterialUserCode, error) {
	relayed := req.Room != "" && req.Room.Domain() == peer
	if req.RequestingUser.Domain() != peer && !relayed {
		return mimi.KeyMaterialNoConsent, nil
	}
	id, err := s.cfg.Verifier.Identify(&req.Credential, req.SignatureKey, s.cfg.Now())
	if err != nil || id.User != req.RequestingUser {
		return mimi.KeyMaterialNoConsent, nil
	}
	switch c, err := s.cfg.Consent.Consent(ctx, req.RequestingUser, req.TargetUser, req.Room); {
	case err != nil:
		return 0, err
	case c == Denied:
		return mimi.KeyMaterialNoConsent, nil
	case c == DeniedForThisRoom && s.cfg.HideUsers:
		return mimi.KeyMaterialNoConsent, nil
	case c == DeniedForThisRoom:
		return mimi.KeyMaterialNoConsentForRoom, nil
	}
	return mimi.KeyMaterialSuccess, nil
}

// claim takes the packages out of stock. ErrNotFound if the user is unknown.
func (s *Service) claim(tx store.Tx, req *mimi.KeyMaterialRequest, answer *mimi.KeyMaterialResponse) error {
	clients, err := tx.ClientsOfUser(req.TargetUser)
	if err != nil {
		return err
	}
	now := s.cfg.Now()
	by := string(req.RequestingUser) + " " + string(req.Room)
	for _, c := range clients {
		kp, any, err := tx.ClaimKeyPackage(c.URI, now, by, func(kp store.KeyPackage) bool { return fits(req, kp.Body) })
		if errors.Is(err, store.ErrNotFound) {
			status := mimi.ClientKeyMaterialExhausted
			if any {
				status = mimi.ClientKeyMaterialNothingCompatible
			}
			answer.Clients = append(answer.Clients, mimi.ClientKeyMaterial{Status: status, Client: c.URI})
			continue
		}
		if err != nil {
			return err
		}
		got := mimi.ClientKeyMaterial{Client: c.URI, KeyPackage: new(mls.KeyPackage)}
		if err := wire.Unmarshal(kp.Body, got.KeyPackage); err != nil {
			return err
		}
		answer.Clients = append(answer.Clients, got)
	}
	return tx.Audit(now, string(req.RequestingUser), "claim-key-packages", string(req.TargetUser))
}

// outcome sums up what the clients gave (KM-8).
func outcome(clients []mimi.ClientKeyMaterial) mimi.KeyMaterialUserCode {
	got := 0
	for _, c := range clients {
		if c.KeyPackage != nil {
			got++
		}
	}
	switch {
	case got == 0:
		return mimi.KeyMaterialNoCompatible
	case got < len(clients):
		return mimi.KeyMaterialPartialSuccess
	}
	return mimi.KeyMaterialSuccess
}

// fits says whether a package is what the requester can use (KM-14). What every
// client supports need not be listed.
func fits(req *mimi.KeyMaterialRequest, body []byte) bool {
	var kp mls.KeyPackage
	if wire.Unmarshal(body, &kp) != nil || !slices.Contains(req.CipherSuites, kp.CipherSuite) {
		return false
	}
	have, want := &kp.LeafNode.Capabilities, &req.RequiredCapabilities
	for _, t := range want.Extensions {
		if !t.IsDefault() && !slices.Contains(have.Extensions, t) {
			return false
		}
	}
	for _, t := range want.Proposals {
		if !t.IsDefault() && !slices.Contains(have.Proposals, t) {
			return false
		}
	}
	for _, t := range want.Credentials {
		if !slices.Contains(have.Credentials, t) {
			return false
		}
	}
	return true
}
