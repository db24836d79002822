package profile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"hubbub/internal/store"
	"hubbub/internal/store/sqlstore"
	"hubbub/mimi"
)

const (
	us    mimi.Domain = "a.localhost"
	them  mimi.Domain = "b.localhost"
	alice             = "mimi://a.localhost/u/alice"
	bob               = "mimi://b.localhost/u/bob"
)

type world struct {
	*testing.T
	*Service
	store store.Store

	asked  []mimi.Domain // providers that were asked
	answer *mimi.IdentifierResponse
}

func newWorld(t *testing.T, allowed Allowed) *world {
	st, err := sqlstore.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	w := &world{T: t, store: st}
	w.Service = New(Config{Domain: us, Store: st, Remote: w, Allowed: allowed})
	return w
}

func (w *world) IdentifierQuery(_ context.Context, to mimi.Domain, _ []byte) ([]byte, error) {
	w.asked = append(w.asked, to)
	return w.answer.Marshal()
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// user makes a user with a profile.
func (w *world) user(name string, fields ...store.ProfileField) {
	w.Helper()
	uri := mimi.UserURI("mimi://a.localhost/u/" + name)
	w.must(w.store.Update(w.Context(), func(tx store.Tx) error { return tx.CreateUser(uri, time.UnixMilli(1)) }))
	w.must(w.Set(w.Context(), uri, fields))
}

func handle(s store.Searchable) store.ProfileField {
	return store.ProfileField{Source: mimi.SearchHandle, Search: s}
}

func claim(name, value string, s store.Searchable) store.ProfileField {
	return store.ProfileField{Source: mimi.SearchOIDCClaim, Name: name, Value: value, Search: s}
}

func property(name, value string, s store.Searchable) store.ProfileField {
	return store.ProfileField{Source: mimi.SearchVCardField, Name: name, Value: value, Search: s}
}

func of(t mimi.SearchType, value string) mimi.QueryElement {
	return mimi.QueryElement{Type: t, Value: value}
}

func named(t mimi.SearchType, name, value string) mimi.QueryElement {
	return mimi.QueryElement{Type: t, Field: name, Value: value}
}

// ask is a query of a peer.
func (w *world) ask(elements ...mimi.QueryElement) *mimi.IdentifierResponse {
	w.Helper()
	body, err := (&mimi.IdentifierRequest{Elements: elements}).Marshal()
	w.must(err)
	answer, err := w.Service.IdentifierQuery(w.Context(), them, body)
	w.must(err)
	r, err := mimi.ParseIdentifierResponse(answer)
	w.must(err)
	return r
}

func (w *world) people() {
	const off, exact, part = store.SearchOff, store.SearchExact, store.SearchPartial
	w.user("matthew", handle(part), claim("given_name", "Matthew", part), claim("nickname", "matt", exact), property("ORG", "XYZ", part),
		claim("email", "Matthew@A.localhost", exact), property("TEL", "+4912345", exact))
	w.user("mather", handle(exact), claim("name", "Mather Jones", part), property("ORG", "ABC", part), property("NICKNAME", "matt", exact))
	w.user("middle", claim("middle_name", "Formatter", part), claim("phone_number", "+4912345", off))
	w.user("hidden", handle(off), claim("given_name", "Matthew", off), property("ORG", "XYZ", off))
	w.user("shy", handle(exact), claim("given_name", "Zo\u0065\u0308 Matt", exact))
	w.user("zoe", claim("given_name", "ZO\u00cb Ma\u017feratI", part))
}

// IDQ-2 to IDQ-7, H80: who is found by what.
func TestQueries(t *testing.T) {
	w := newWorld(t, AllowPartial)
	w.people()
	for name, c := range map[string]struct {
		q    []mimi.QueryElement
		want []string // users found
		code mimi.IdentifierCode
	}{
		"handle":                 {q: []mimi.QueryElement{of(mimi.SearchHandle, "im:matthew@A.LOCALHOST")}, want: []string{"matthew"}},
		"handle as URI":          {q: []mimi.QueryElement{of(mimi.SearchHandle, "mimi://A.localhost/u/shy")}, want: []string{"shy"}},
		"handle nearly":          {q: []mimi.QueryElement{of(mimi.SearchHandle, "im:Matthew@a.localhost")}, code: mimi.IdentifierNotFound},
		"handle, not searchable": {q: []mimi.QueryElement{of(mimi.SearchHandle, "im:hidden@a.localhost")}, code: mimi.IdentifierNotFound},
		"handle, nobody's":       {q: []mimi.QueryElement{of(mimi.SearchHandle, "im:nobody@a.localhost")}, code: mimi.IdentifierNotFound},
		"nick of several":        {q: []mimi.QueryElement{of(mimi.SearchNick, "matt")}, want: []string{"mather", "matthew"}},
		"nick is the user part":  {q: []mimi.QueryElement{of(mimi.SearchNick, "mather")}, want: []string{"mather"}},
		"nick nearly":            {q: []mimi.QueryElement{of(mimi.SearchNick, "Matt")}, code: mimi.IdentifierNotFound},
		"email":                  {q: []mimi.QueryElement{of(mimi.SearchEmail, "Matthew@a.localhost")}, want: []string{"matthew"}},
		"email nearly":           {q: []mimi.QueryElement{of(mimi.SearchEmail, "matthew@a.localhost")}, code: mimi.IdentifierNotFound},
		"phone":                  {q: []mimi.QueryElement{of(mimi.SearchPhone, "+4912345")}, want: []string{"matthew"}},
		"phone nearly":           {q: []mimi.QueryElement{of(mimi.SearchPhone, "4912345")}, code: mimi.IdentifierNotFound},
		"part of a name":         {q: []mimi.QueryElement{of(mimi.SearchPartialName, "mat")}, want: []string{"mather", "matthew", "middle"}},
		"part, folded":           {q: []mimi.QueryElement{of(mimi.SearchPartialName, "zo\u0065\u0308 maSE")}, want: []string{"zoe"}},
		"part of anything":       {q: []mimi.QueryElement{of(mimi.SearchWholeProfile, "xyz")}, want: []string{"matthew"}},
		"part of the handle":     {q: []mimi.QueryElement{of(mimi.SearchWholeProfile, "thew@a.local")}, want: []string{"matthew"}},
		"part of no name":        {q: []mimi.QueryElement{of(mimi.SearchPartialName, "XYZ")}, code: mimi.IdentifierNotFound},
		"wildcards":              {q: []mimi.QueryElement{of(mimi.SearchPartialName, "m%_"), of(mimi.SearchPartialName, "%%%")}, code: mimi.IdentifierNotFound},
		"one letter":             {q: []mimi.QueryElement{of(mimi.SearchWholeProfile, "m")}, code: mimi.IdentifierAmbiguous},
		"part too short":         {q: []mimi.QueryElement{of(mimi.SearchPartialName, "ma")}, code: mimi.IdentifierAmbiguous},
		"claim":                  {q: []mimi.QueryElement{named(mimi.SearchOIDCClaim, "given_name", "Matthew")}, want: []string{"matthew"}},
		"property":               {q: []mimi.QueryElement{named(mimi.SearchVCardField, "ORG", "ABC")}, want: []string{"mather"}},
		"claim, nearly":          {q: []mimi.QueryElement{named(mimi.SearchOIDCClaim, "given_name", "matthew")}, code: mimi.IdentifierNotFound},
		"claim nobody knows":     {q: []mimi.QueryElement{named(mimi.SearchOIDCClaim, "shoe_size", "9")}, code: mimi.IdentifierUnsupportedField},
		"claim as property":      {q: []mimi.QueryElement{named(mimi.SearchVCardField, "given_name", "Matthew")}, code: mimi.IdentifierUnsupportedField},
		"both":                   {q: []mimi.QueryElement{named(mimi.SearchOIDCClaim, "given_name", "Matthew"), named(mimi.SearchVCardField, "ORG", "XYZ")}, want: []string{"matthew"}},
		"only one of both":       {q: []mimi.QueryElement{named(mimi.SearchOIDCClaim, "given_name", "Matthew"), named(mimi.SearchVCardField, "ORG", "ABC")}, code: mimi.IdentifierNotFound},
		"too many conditions":    {q: slices.Repeat([]mimi.QueryElement{of(mimi.SearchNick, "matt")}, maxElements+1), code: mimi.IdentifierForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			var before string
			read := func(tx store.ReadTx) (err error) { before, err = tx.Dump(); return err }
			w.must(w.store.View(t.Context(), read))
			old := before
			got := w.ask(c.q...)
			var users []string
			for _, u := range got.Users {
				users = append(users, u.Name())
			}
			if got.Code != c.code || !slices.Equal(users, c.want) {
				t.Errorf("code %d, users %q, want %d, %q", got.Code, users, c.code, c.want)
			}
			w.must(w.store.View(t.Context(), read))
			if old != before {
				t.Error("the query changed the database (IDQ-8)")
			}
		})
	}
}

// An answer about a user who may not be found is that about one who is not there,
// octet for octet.
func TestNoEnumeration(t *testing.T) {
	w := newWorld(t, AllowPartial)
	w.people()
	answers := map[string][]byte{}
	for _, name := range []string{"hidden", "nobody"} {
		body, err := (&mimi.IdentifierRequest{Elements: []mimi.QueryElement{of(mimi.SearchHandle, "im:"+name+"@a.localhost")}}).Marshal()
		w.must(err)
		answers[name], err = w.Service.IdentifierQuery(t.Context(), them, body)
		w.must(err)
	}
	if !bytes.Equal(answers["hidden"], answers["nobody"]) {
		t.Errorf("%x and %x", answers["hidden"], answers["nobody"])
	}
}

// What is told of a user is what the query named and what anybody may search.
func TestWhatIsTold(t *testing.T) {
	w := newWorld(t, AllowPartial)
	w.people()
	got := w.ask(of(mimi.SearchEmail, "Matthew@a.localhost"))
	if len(got.Profiles) != 1 || got.Profiles[0].User != "mimi://a.localhost/u/matthew" {
		t.Fatalf("profiles %+v", got.Profiles)
	}
	want := []mimi.ProfileField{
		{Source: mimi.SearchOIDCClaim, Name: "email", Value: "Matthew@A.localhost"},
		{Source: mimi.SearchOIDCClaim, Name: "given_name", Value: "Matthew"},
		{Source: mimi.SearchVCardField, Name: "ORG", Value: "XYZ"},
	}
	if !slices.Equal(got.Profiles[0].Fields, want) {
		t.Errorf("told %+v, want %+v", got.Profiles[0].Fields, want)
	}
}

// IDQ-9: many matches give a capped list.
func TestCap(t *testing.T) {
	w := newWorld(t, AllowPartial)
	for i := range 50 {
		w.user(fmt.Sprintf("user%d", i), claim("name", "Jones", store.SearchPartial))
	}
	if got := w.ask(of(mimi.SearchPartialName, "jones")); got.Code != mimi.IdentifierSuccess || len(got.Users) != MaxResults {
		t.Errorf("code %d, %d users", got.Code, len(got.Users))
	}
}

// IDQ-6: the provider's settings count, too.
func TestProviderSettings(t *testing.T) {
	for allowed, want := range map[Allowed][2]mimi.IdentifierCode{
		AllowNothing: {mimi.IdentifierForbidden, mimi.IdentifierForbidden},
		AllowExact:   {mimi.IdentifierSuccess, mimi.IdentifierForbidden},
		AllowPartial: {mimi.IdentifierSuccess, mimi.IdentifierSuccess},
	} {
		w := newWorld(t, allowed)
		w.people()
		got := [2]mimi.IdentifierCode{w.ask(of(mimi.SearchNick, "matt")).Code, w.ask(of(mimi.SearchPartialName, "matt")).Code}
		if got != want {
			t.Errorf("%d: codes %v, want %v", allowed, got, want)
		}
	}
}

func TestRefusals(t *testing.T) {
	w := newWorld(t, AllowPartial)
	w.user("alice")
	stop := mimi.NewProblem(429, mimi.CodeTooMany, "slow down")
	status := func(err error) int {
		var p *mimi.Problem
		errors.As(err, &p)
		if p == nil {
			return 0
		}
		return p.Status
	}
	// IDQ-10: no elements.
	if _, err := w.Service.IdentifierQuery(t.Context(), them, []byte{0, 0}); status(err) != 400 {
		t.Errorf("no elements: %v", err)
	}
	// H80: what does not decode.
	for name, body := range map[string][]byte{"bad UTF-8": {3, 2, 1, 0xff, 0}, "cut short": {3, 2, 1}, "unknown type": {3, 9, 1, 'x', 0},
		"1000 elements": append(append([]byte{0x4b, 0xb8}, bytes.Repeat([]byte{2, 1, 'x'}, 1000)...), 0)} {
		if _, err := w.Service.IdentifierQuery(t.Context(), them, body); status(err) != 400 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := w.Find(t.Context(), alice, us, &mimi.IdentifierRequest{}); status(err) != 400 {
		t.Errorf("no elements by our user: %v", err)
	}
	for name, f := range map[string]store.ProfileField{
		"no value": claim("name", "", 0), "unknown claim": claim("shoe_size", "9", 0), "unknown source": {Source: 3, Name: "email", Value: "x"},
		"national number": property("TEL", "0123", 0), "no address": claim("email", "bob", 0), "another handle": {Source: mimi.SearchHandle, Value: "x"},
		"setting": claim("name", "x", 3), "long": claim("name", string(make([]byte, MaxValue+1)), 0),
	} {
		if err := w.Set(t.Context(), alice, []store.ProfileField{f}); status(err) != 400 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := w.Set(t.Context(), alice, []store.ProfileField{claim("name", "x", 0), claim("name", "y", 0)}); status(err) != 400 {
		t.Errorf("twice: %v", err)
	}
	w.Service = New(Config{Domain: us, Store: w.store, Remote: w, Allowed: AllowPartial,
		Limit: func(mimi.UserURI) error { return stop }, LimitPeer: func(mimi.Domain) error { return stop }})
	q := &mimi.IdentifierRequest{Elements: []mimi.QueryElement{of(mimi.SearchNick, "x")}}
	if _, err := w.Find(t.Context(), alice, them, q); status(err) != 429 || len(w.asked) != 0 {
		t.Errorf("over the limit: %v, asked %v", err, w.asked)
	}
	body, _ := q.Marshal()
	if _, err := w.Service.IdentifierQuery(t.Context(), them, body); status(err) != 429 {
		t.Errorf("a peer over the limit: %v", err)
	}
}

// IDQ-1: the provider concerned is asked, and speaks for its own users only.
func TestFindElsewhere(t *testing.T) {
	w := newWorld(t, AllowPartial)
	w.answer = &mimi.IdentifierResponse{Users: []mimi.UserURI{alice, bob}, Profiles: []mimi.UserProfile{
		{User: alice, Fields: []mimi.ProfileField{{Source: 7, Name: "name", Value: "not hers"}}},
		{User: bob, Fields: []mimi.ProfileField{{Source: 7, Name: "name", Value: "Bob"}}}}}
	got, err := w.Find(t.Context(), alice, them, &mimi.IdentifierRequest{Elements: []mimi.QueryElement{of(mimi.SearchNick, "bob")}})
	w.must(err)
	if !slices.Equal(w.asked, []mimi.Domain{them}) || !slices.Equal(got.Users, []mimi.UserURI{bob}) || len(got.Profiles) != 1 {
		t.Errorf("asked %v, got %+v", w.asked, got)
	}
}
