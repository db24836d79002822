package profile

import (
	"bytes"
	"context"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"hubbub/internal/store"
	"hubbub/mimi"
)

// IdentifierQuery answers a peer (IDQ-1 to IDQ-10). It changes nothing (IDQ-8).
// Errors are *mimi.Problem or failures of our own.
func (s *Service) IdentifierQuery(ctx context.Context, peer mimi.Domain, body []byte) ([]byte, error) {
	if err := s.cfg.LimitPeer(peer); err != nil {
		return nil, err
	}
	q, err := mimi.ParseIdentifierRequest(bytes.Clone(body))
	if err != nil {
		return nil, mimi.NewProblem(http.StatusBadRequest, mimi.CodeMalformed, "the body does not decode")
	}
	answer, err := s.search(ctx, q)
	if err != nil {
		return nil, err
	}
	return answer.Marshal()
}

// Find asks, for a user of ours, the provider named: ours or another one.
func (s *Service) Find(ctx context.Context, user mimi.UserURI, at mimi.Domain, q *mimi.IdentifierRequest) (*mimi.IdentifierResponse, error) {
	if err := s.cfg.Limit(user); err != nil {
		return nil, err
	}
	body, err := q.Marshal()
	if err == nil {
		_, err = mimi.ParseIdentifierRequest(body)
	}
	if err != nil {
		return nil, mimi.NewProblem(http.StatusBadRequest, mimi.CodeMalformed, "the query cannot be written down")
	}
	if at == s.cfg.Domain {
		return s.search(ctx, q)
	}
	answer, err := s.cfg.Remote.IdentifierQuery(ctx, at, body)
	if err != nil {
		return nil, err
	}
	r, err := mimi.ParseIdentifierResponse(bytes.Clone(answer))
	if err != nil {
		return nil, mimi.NewProblem(http.StatusBadGateway, "bad-answer", "the provider answered something else")
	}
	// A provider speaks for its own users only, and tells of nobody it did not name.
	r.Users = slices.DeleteFunc(r.Users, func(u mimi.UserURI) bool { return u.Domain() != at })
	r.Users = r.Users[:min(len(r.Users), MaxResults)]
	r.Profiles = slices.DeleteFunc(r.Profiles, func(p mimi.UserProfile) bool { return !slices.Contains(r.Users, p.User) })
	if r.Code == mimi.IdentifierSuccess && len(r.Users) == 0 {
		r.Code = mimi.IdentifierNotFound
	}
	return r, nil
}

// search looks through everything that is searchable here.
func (s *Service) search(ctx context.Context, q *mimi.IdentifierRequest) (*mimi.IdentifierResponse, error) {
	if code := s.acceptable(q); code != mimi.IdentifierSuccess {
		return &mimi.IdentifierResponse{Code: code}, nil
	}
	conditions := make([]condition, len(q.Elements))
	for i, e := range q.Elements {
		conditions[i] = newCondition(e)
	}
	out := &mimi.IdentifierResponse{Code: mimi.IdentifierNotFound}
	err := s.cfg.Store.View(ctx, func(tx store.ReadTx) error {
		return tx.EachProfile(func(user mimi.UserURI, fields []store.ProfileField) error {
			hits, ok := match(conditions, user, fields)
			if ok && len(out.Users) < MaxResults {
				out.Code = mimi.IdentifierSuccess
				out.Users = append(out.Users, user)
				if p := shown(user, fields, hits); len(p.Fields) > 0 {
					out.Profiles = append(out.Profiles, p)
				}
			}
			return nil
		})
	})
	return out, err
}

// acceptable judges a query by itself, without a look at any user (IDQ-7).
func (s *Service) acceptable(q *mimi.IdentifierRequest) mimi.IdentifierCode {
	if s.cfg.Allowed == AllowNothing || len(q.Elements) > maxElements {
		return mimi.IdentifierForbidden
	}
	for _, e := range q.Elements {
		switch known, named := names[e.Type]; {
		case named && e.Type != mimi.SearchHandle && !slices.Contains(known, e.Field):
			return mimi.IdentifierUnsupportedField
		case partial(e.Type) && s.cfg.Allowed < AllowPartial:
			return mimi.IdentifierForbidden
		}
	}
	for _, e := range q.Elements {
		if partial(e.Type) && utf8.RuneCountInString(fold(e.Value)) < MinPartial {
			return mimi.IdentifierAmbiguous
		}
	}
	return mimi.IdentifierSuccess
}

func partial(t mimi.SearchType) bool {
	return t == mimi.SearchPartialName || t == mimi.SearchWholeProfile
}

// condition is an element made ready for comparing.
type condition struct {
	mimi.QueryElement
	value string
}

func newCondition(e mimi.QueryElement) condition {
	c := condition{e, e.Value}
	switch e.Type {
	case mimi.SearchPartialName, mimi.SearchWholeProfile:
		c.value = fold(e.Value)
	case mimi.SearchHandle, mimi.SearchEmail:
		c.value = foldHost(e.Value)
	}
	return c
}

// match says whether one user meets all conditions (IDQ-2), and which fields do.
// All are compared whatever the first ones give.
func match(conditions []condition, user mimi.UserURI, fields []store.ProfileField) (hits []bool, all bool) {
	hits, all = make([]bool, len(fields)), true
	for _, c := range conditions {
		any := false
		for i, f := range fields {
			if c.meets(user, f) {
				any, hits[i] = true, true
			}
		}
		all = all && any
	}
	return hits, all
}

// meets compares one field (IDQ-3 to IDQ-5).
func (c condition) meets(user mimi.UserURI, f store.ProfileField) bool {
	handle := f.Source == mimi.SearchHandle
	switch c.Type {
	case mimi.SearchHandle:
		return handle && (c.value == "im:"+user.Handle() || c.value == string(user))
	case mimi.SearchNick:
		return handle && c.value == user.Name() || slices.Contains(nickNames, f.Name) && c.value == f.Value
	case mimi.SearchEmail:
		return slices.Contains(emailNames, f.Name) && c.value == foldHost(f.Value)
	case mimi.SearchPhone:
		return slices.Contains(phoneNames, f.Name) && c.value == f.Value
	case mimi.SearchPartialName:
		return f.Search == store.SearchPartial && slices.Contains(nameNames, f.Name) && strings.Contains(fold(f.Value), c.value)
	case mimi.SearchWholeProfile:
		value := f.Value
		if handle {
			value = user.Handle()
		}
		return f.Search == store.SearchPartial && strings.Contains(fold(value), c.value)
	case mimi.SearchOIDCClaim, mimi.SearchVCardField:
		return f.Source == c.Type && f.Name == c.Field && c.value == f.Value
	}
	return false
}

// shown is what an answer tells of a user that was found: what the query named
// itself, and what anybody may search by a part.
func shown(user mimi.UserURI, fields []store.ProfileField, hits []bool) mimi.UserProfile {
	p := mimi.UserProfile{User: user}
	for i, f := range fields {
		if f.Source != mimi.SearchHandle && (hits[i] || f.Search == store.SearchPartial) {
			p.Fields = append(p.Fields, mimi.ProfileField{Source: f.Source, Name: f.Name, Value: f.Value})
		}
	}
	return p
}

// fold brings text into the form in which parts are compared: NFC with simple case
// folding (D-46).
func fold(s string) string {
	return norm.NFC.String(strings.Map(func(r rune) rune {
		least := r
		for n := unicode.SimpleFold(r); n != r; n = unicode.SimpleFold(n) {
			least = min(least, n)
		}
		return least
	}, norm.NFC.String(s)))
}

// foldHost puts the host of an address or URI into lower case, and nothing else.
func foldHost(s string) string {
	if scheme, rest, ok := strings.Cut(s, "://"); ok {
		host, path, _ := strings.Cut(rest, "/")
		return scheme + "://" + strings.ToLower(host) + "/" + path
	}
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		return s[:i] + strings.ToLower(s[i:])
	}
	return s
}
