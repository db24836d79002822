// Package keymaterial publishes the KeyPackages of our users and obtains those
// of others.
//
// One call, Claim, serves the three roles a provider can have in a fetch: as the
// target's provider it hands packages out, each at most once for ever; as the
// hub of the room they are meant for it passes the request on, unchanged, and
// remembers who supplied which package; as the requester's provider it asks the
// hub of the room (mimi-protocol-06 §5.2, KM-2).
package keymaterial

import (
	"context"
	"log/slog"
	"time"

	"hubbub/internal/store"
	"hubbub/mimi"
)

// Remote asks another provider, in its role as hub or as the target's.
type Remote interface {
	KeyMaterial(ctx context.Context, provider mimi.Domain, target mimi.UserURI, body []byte) ([]byte, error)
}

// Consent is a user's standing decision on who may fetch its key material.
type Consent uint8

// The decisions.
const (
	Granted Consent = iota
	Denied
	DeniedForThisRoom // consent exists, but for another room only
)

// ConsentPolicy decides whether requester may have target's key material for a
// room; the room is empty when the purpose is not an add.
type ConsentPolicy interface {
	Consent(ctx context.Context, requester, target mimi.UserURI, uri mimi.RoomURI) (Consent, error)
}

// Open is the policy of a provider whose users accept everybody.
type Open struct{}

// Consent grants.
func (Open) Consent(context.Context, mimi.UserURI, mimi.UserURI, mimi.RoomURI) (Consent, error) {
	return Granted, nil
}

// Config is what a Service needs.
type Config struct {
	Domain   mimi.Domain // ours
	Store    store.Store
	Verifier *mimi.Verifier
	Consent  ConsentPolicy
	Remote   Remote
	Now      func() time.Time // nil = time.Now
	Log      *slog.Logger     // nil = discard
	// HideUsers makes an unknown user indistinguishable from one that does not
	// consent (KM-15).
	HideUsers bool
}

// Service is safe for concurrent use.
type Service struct{ cfg Config }

// New makes a Service.
func New(cfg Config) *Service {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Consent == nil {
		cfg.Consent = Open{}
	}
	return &Service{cfg: cfg}
}
