package provider

import (
	"context"
	"time"

	"hubbub/internal/api"
	"hubbub/internal/consent"
	"hubbub/internal/federation"
	"hubbub/internal/keymaterial"
	"hubbub/internal/peer"
	"hubbub/internal/profile"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// people is what users have to do with each other outside of rooms.
type people struct {
	*consent.Service
	profiles *profile.Service
}

var (
	_ federation.People = (*people)(nil)
	_ api.People        = (*people)(nil)
)

// IdentifierQuery answers a peer.
func (p *people) IdentifierQuery(ctx context.Context, from mimi.Domain, body []byte) ([]byte, error) {
	return p.profiles.IdentifierQuery(ctx, from, body)
}

// Find asks a provider for users.
func (p *people) Find(ctx context.Context, user mimi.UserURI, at mimi.Domain, q *mimi.IdentifierRequest) (*mimi.IdentifierResponse, error) {
	answer, err := p.profiles.Find(ctx, user, at, q)
	return answer, unreachable(at, err)
}

// Profile gives a user's own profile.
func (p *people) Profile(ctx context.Context, user mimi.UserURI) ([]store.ProfileField, error) {
	return p.profiles.Get(ctx, user)
}

// SetProfile replaces it.
func (p *people) SetProfile(ctx context.Context, user mimi.UserURI, fields []store.ProfileField) error {
	return p.profiles.Set(ctx, user, fields)
}

// Values of Config.Consent, HideUsers and Search.
const (
	consentAsk  = "ask"
	consentOpen = "open"
	hideYes     = "yes"
	hideNo      = "no"
)

var searches = map[string]profile.Allowed{
	"off": profile.AllowNothing, "exact": profile.AllowExact, "partial": profile.AllowPartial,
}

func (p *Provider) wirePeople(verifier *mimi.Verifier) {
	limitUser := func(rate, what string) func(mimi.UserURI) error { return takes[mimi.UserURI](rate, what) }
	limitPeer := func(rate, what string) func(mimi.Domain) error { return takes[mimi.Domain](rate, what) }
	l := p.cfg.Limits
	p.people = &people{
		Service: consent.New(consent.Config{
			Domain: p.cfg.domain(), Store: p.store, Verifier: verifier, Remote: p.remote,
			Open: p.cfg.Consent == consentOpen, HideUsers: p.cfg.HideUsers == hideYes, Fits: keymaterial.Fits,
			Limit:     limitUser(l.ConsentsPerUser, "requests and decisions about consent of this user"),
			LimitPeer: limitPeer(l.ConsentsPerPeer, "requests and decisions about consent"),
			Log:       p.log.With("part", "consent"),
		}),
		profiles: profile.New(profile.Config{
			Domain: p.cfg.domain(), Store: p.store, Remote: p.remote, Allowed: searches[p.cfg.Search],
			Limit:     limitUser(l.SearchesPerUser, "searches of this user"),
			LimitPeer: limitPeer(l.SearchesPerPeer, "searches"),
		}),
	}
}

// takes makes a limit of a rate in the configuration.
func takes[K comparable](rate, what string) func(K) error {
	limit, _ := parseLimit(rate) // checked with the rest of the configuration
	l := peer.NewLimits[K](what, limit, time.Now)
	return func(key K) error {
		if p := l.Take(key, 1); p != nil {
			return p
		}
		return nil
	}
}

// consents is what decides on fetches of KeyPackages.
type consents struct{ *consent.Service }

func (c consents) Consent(ctx context.Context, requester, target mimi.UserURI, room mimi.RoomURI) (keymaterial.Consent, error) {
	switch v, err := c.Allowed(ctx, requester, target, room); {
	case err != nil:
		return keymaterial.Denied, err
	case v == consent.Granted:
		return keymaterial.Granted, nil
	case v == consent.DeniedForThisRoom:
		return keymaterial.DeniedForThisRoom, nil
	}
	return keymaterial.Denied, nil
}
