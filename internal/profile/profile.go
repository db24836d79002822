// Package profile keeps what users say of themselves and finds users by it.
//
// A user is found only by fields that the user has made searchable, and only in
// the ways that the provider allows at all (IDQ-6). Nobody is searchable who has
// not asked for it. A user that is absent and one that may not be found give the
// same answer after the same work: every query reads everything that is searchable
// here, so that time tells no more than the answer. Whoever calls counts queries.
package profile

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"hubbub/internal/store"
	"hubbub/mimi"
)

// Bounds.
const (
	MaxResults  = 20  // users in one answer (D-46)
	MinPartial  = 3   // characters of a search by a part (D-46)
	MaxFields   = 64  // of one profile
	MaxValue    = 512 // octets of a value
	maxElements = 16  // conditions of one query
)

// Allowed is what a provider lets its users be found by.
type Allowed uint8

// The settings of a provider.
const (
	AllowNothing Allowed = iota // every query is forbidden
	AllowExact                  // whole values
	AllowPartial                // also parts
)

// Remote asks another provider, directly (IDQ-1).
type Remote interface {
	IdentifierQuery(ctx context.Context, to mimi.Domain, body []byte) ([]byte, error)
}

// Config is what a Service needs.
type Config struct {
	Domain  mimi.Domain // ours
	Store   store.Store
	Remote  Remote
	Allowed Allowed
	// Limit counts the queries of one user of ours; nil = no limit.
	Limit func(mimi.UserURI) error
	// LimitPeer counts those of one peer; nil = no limit.
	LimitPeer func(mimi.Domain) error
}

// Service is safe for concurrent use.
type Service struct{ cfg Config }

// New makes a Service.
func New(cfg Config) *Service {
	if cfg.Limit == nil {
		cfg.Limit = func(mimi.UserURI) error { return nil }
	}
	if cfg.LimitPeer == nil {
		cfg.LimitPeer = func(mimi.Domain) error { return nil }
	}
	return &Service{cfg}
}

// Get gives a user's own profile.
func (s *Service) Get(ctx context.Context, user mimi.UserURI) (fields []store.ProfileField, err error) {
	err = s.cfg.Store.View(ctx, func(tx store.ReadTx) (err error) {
		fields, err = tx.Profile(user)
		return err
	})
	return fields, err
}

// Set replaces a user's profile. It refuses, with a *mimi.Problem that names the
// field, what no search could ask for.
func (s *Service) Set(ctx context.Context, user mimi.UserURI, fields []store.ProfileField) error {
	if len(fields) > MaxFields {
		return refused("more than %d fields", MaxFields)
	}
	for _, f := range fields {
		if err := check(f); err != nil {
			return err
		}
	}
	err := s.cfg.Store.Update(ctx, func(tx store.Tx) error { return tx.PutProfile(user, fields) })
	if errors.Is(err, store.ErrExists) {
		return refused("a field is there twice")
	}
	return err
}

func refused(format string, args ...any) *mimi.Problem {
	return mimi.NewProblem(http.StatusBadRequest, mimi.CodeMalformed, format, args...)
}

func check(f store.ProfileField) error {
	known, ok := names[f.Source]
	switch {
	case !ok || f.Search > store.SearchPartial:
		return refused("a field of an unknown kind")
	case f.Source == mimi.SearchHandle && (f.Name != "" || f.Value != ""):
		return refused("the handle is what it is: only its searchability can be set")
	case f.Source == mimi.SearchHandle:
		return nil
	case !slices.Contains(known, f.Name):
		return refused("no claim of OpenID Connect or property of vCard that is known here has that name")
	case f.Value == "" || len(f.Value) > MaxValue:
		return refused("%s must have 1 to %d octets", f.Name, MaxValue)
	case slices.Contains(phoneNames, f.Name) && !isPhone(f.Value):
		return refused("%s must be in international form, such as +4930123456", f.Name)
	case slices.Contains(emailNames, f.Name) && !strings.Contains(f.Value, "@"):
		return refused("%s must be an address such as bob@b.example", f.Name)
	}
	return nil
}

func isPhone(s string) bool {
	if len(s) < 4 || s[0] != '+' {
		return false
	}
	return strings.Trim(s[1:], "0123456789") == ""
}

// The names that can be set and searched. Others are unsupported (IDQ-5).
var names = map[mimi.SearchType][]string{
	mimi.SearchHandle: nil,
	mimi.SearchOIDCClaim: {"name", "given_name", "family_name", "middle_name", "nickname", "preferred_username", "profile",
		"picture", "website", "email", "gender", "birthdate", "zoneinfo", "locale", "phone_number"},
	mimi.SearchVCardField: {"FN", "N", "NICKNAME", "EMAIL", "TEL", "ADR", "ORG", "TITLE", "ROLE", "NOTE", "URL", "IMPP",
		"LANG", "TZ", "BDAY", "GENDER", "CATEGORIES"},
}

// What the searches of the protocol compare with.
var (
	nameNames  = []string{"name", "given_name", "family_name", "middle_name", "nickname", "preferred_username", "FN", "N", "NICKNAME"}
	nickNames  = []string{"nickname", "preferred_username", "NICKNAME"}
	emailNames = []string{"email", "EMAIL"}
	phoneNames = []string{"phone_number", "TEL"}
)
