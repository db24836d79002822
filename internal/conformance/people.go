package conformance

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"hubbub/internal/fakepeer"
	"hubbub/internal/room/roomtest"
	"hubbub/mimi"
	"hubbub/mls"
)

var consentChecks = []check{
	{id: "CON-1", what: "consent is asked for at the other provider itself", needs: needsUser, run: askedDirectly},
	{id: "DIR-6", what: "names of variables", needs: needsUser, run: variableNames},
	{id: "CON-2", what: "requestConsent asks, updateConsent decides", needs: needsConsent, run: otherOperation},
	{id: "CON-3", what: "a provider speaks for its own users", needs: needsConsent, run: consentOfOthers},
	{id: "CON-5", what: "201, or 404 if there is no such user", needs: needsConsent, run: consentTaken},
	{id: "CON-6", what: "taking back what was not asked", needs: needsConsent, run: cancelNothing},
	{id: "CON-7", what: "the answer says nothing about the decision", needs: needsScoped, run: sameAnswer},
	{id: "CON-8", what: "a grant that nobody asked for", needs: needsConsent, run: unasked},
	{id: "CON-9", what: "a grant for one room is for that room", needs: needsScoped, run: oneRoom},
	{id: "CON-10", what: "a grant may bring KeyPackages, of its own users", needs: needsConsent, run: broughtPackages},
	{id: "CON-13", what: "the latest decision that covers the question counts", needs: needsScoped, run: latestDecision},
	{id: "CON-14", what: "a revocation before any request", needs: needsScoped, run: preemptive},
	{id: "CON-15", what: "consent is looked at on every claim", needs: needsScoped, run: everyClaim},
	{id: "CON-16", what: "extensions are there, and unknown ones ignored", needs: needsConsent, run: consentExtensions},
	{id: "CON-17", what: "a repeat is taken and changes nothing", needs: needsConsent, run: consentRepeated},
}

var (
	needsConsent = []string{needDirectory, offersConsent, needUser}
	needsScoped  = []string{needDirectory, offersConsent, needUser, needScoped}
	needsQuery   = []string{needDirectory, offersQuery, needUser}
)

var queryChecks = []check{
	{id: "IDQ-1", what: "users are looked for at the other provider itself", needs: needsUser, run: searchedDirectly},
	{id: "IDQ-2", what: "conditions are combined", needs: needsQuery, run: combined},
	{id: "IDQ-3", what: "handles and nicknames are compared exactly", needs: needsQuery, run: exactly},
	{id: "IDQ-4", what: "parts of names", needs: []string{needDirectory, offersQuery}, run: parts},
	{id: "IDQ-5", what: "claims and properties by name", needs: needsQuery, run: byName},
	{id: "IDQ-6", what: "what its user does not show is not found", needs: needsQuery, run: notShown},
	{id: "IDQ-7", what: "codes, and empty lists with all but success", needs: []string{needDirectory, offersQuery}, run: queryCodes},
	{id: "IDQ-8", what: "a query may be repeated", needs: []string{needDirectory, offersQuery}, run: queryRepeated},
	{id: "IDQ-9", what: "matches are listed, details are of those", needs: needsQuery, run: listed},
	{id: "IDQ-10", what: "no conditions is malformed", needs: []string{needDirectory, offersQuery}, run: noConditions},
}

// consent sends an entry to one of the two endpoints.
func (s *session) consent(ctx context.Context, e mimi.Endpoint, entry *mimi.ConsentEntry) (*fakepeer.Reply, error) {
	return s.ask(ctx, e, string(s.target), marshal(entry))
}

// request is a good request for consent of the test user by a user of ours.
func (s *session) request(name string) *mimi.ConsentEntry {
	return &mimi.ConsentEntry{Operation: mimi.ConsentRequest, Requester: s.userOf(name), Target: s.cfg.User}
}

// decision is one of a user of ours about the test user.
func (s *session) decision(op mimi.ConsentOperation, name string) *mimi.ConsentEntry {
	return &mimi.ConsentEntry{Operation: op, Requester: s.cfg.User, Target: s.userOf(name)}
}

// asks has the test user ask users of ours for consent, each provider played once.
func (p *probe) asks(ctx context.Context) (heard []fakepeer.Request, ok bool) {
	s := p.s
	if s.cfg.Ask == nil {
		p.Outcome, p.Reason = Skipped, "the test user cannot be made to ask"
		return nil, false
	}
	for _, to := range []*session{s, s.third} {
		if to == nil {
			continue
		}
		before := len(to.peer.Received(mimi.EndpointRequestConsent))
		if before == 0 {
			to.peer.On(mimi.EndpointRequestConsent, nil)
			if err := s.cfg.Ask(ctx, to.userOf("asked")); err != nil {
				p.failed("asking", "no error", err.Error())
				return nil, false
			}
			s.until(ctx, func() bool { return len(to.peer.Received(mimi.EndpointRequestConsent)) > 0 })
		}
		heard = append(heard, to.peer.Received(mimi.EndpointRequestConsent)...)
	}
	return heard, true
}

func askedDirectly(ctx context.Context, p *probe) {
	heard, ok := p.asks(ctx)
	if !ok {
		return
	}
	p.that("requests that reached us", len(heard) > 0, "one for each provider asked", "none")
	for _, r := range heard {
		p.equal("who sends it", "mimi@"+string(p.s.target), r.From)
		e, err := mimi.ParseConsentEntry(bytes.Clone(r.Body))
		if p.that("its body", err == nil, "a ConsentEntry", fmt.Sprint(err)); err == nil {
			p.equal("what it asks, and in whose name", fmt.Sprint(mimi.ConsentRequest, p.s.cfg.User), fmt.Sprint(e.Operation, e.Requester))
		}
	}
}

// variableNames: one of the providers played has {targetUser} where the other one has
// {targetDomain}.
func variableNames(ctx context.Context, p *probe) {
	heard, ok := p.asks(ctx)
	if !ok {
		return
	}
	want := 1
	if p.s.third != nil {
		want = 2
	}
	p.equal("providers reached, one with {targetUser}, one with {targetDomain}", want, len(heard))
	for _, r := range heard {
		p.that("the path", !strings.Contains(r.Path, "{") && !strings.HasSuffix(r.Path, "/"), "the variable replaced by its value", r.Path)
	}
}

func otherOperation(ctx context.Context, p *probe) {
	s := p.s
	for what, try := range map[string]struct {
		e     mimi.Endpoint
		entry *mimi.ConsentEntry
	}{
		"a grant to requestConsent":  {mimi.EndpointRequestConsent, s.decision(mimi.ConsentGrant, "swapped")},
		"a revoke to requestConsent": {mimi.EndpointRequestConsent, s.decision(mimi.ConsentRevoke, "swapped")},
		"a request to updateConsent": {mimi.EndpointUpdateConsent, s.request("swapped")},
		"a cancel to updateConsent":  {mimi.EndpointUpdateConsent, &mimi.ConsentEntry{Operation: mimi.ConsentCancel, Requester: s.userOf("swapped"), Target: s.cfg.User}},
	} {
		r, err := s.consent(ctx, try.e, try.entry)
		p.answered(what, r, err, 400)
	}
}

func consentOfOthers(ctx context.Context, p *probe) {
	s := p.s
	foreign := mimi.UserURI("mimi://elsewhere.example/u/x")
	request, grant := func(from, to mimi.UserURI) *mimi.ConsentEntry {
		return &mimi.ConsentEntry{Operation: mimi.ConsentRequest, Requester: from, Target: to}
	}, func(from, to mimi.UserURI) *mimi.ConsentEntry {
		return &mimi.ConsentEntry{Operation: mimi.ConsentGrant, Requester: to, Target: from}
	}
	for what, try := range map[string]struct {
		e     mimi.Endpoint
		entry *mimi.ConsentEntry
	}{
		"a request by another provider's user":  {mimi.EndpointRequestConsent, request(foreign, s.cfg.User)},
		"a request by the target's own user":    {mimi.EndpointRequestConsent, request(s.userURI("x"), s.cfg.User)},
		"a request to another provider's user":  {mimi.EndpointRequestConsent, request(s.userOf("x"), foreign)},
		"a decision of another provider's user": {mimi.EndpointUpdateConsent, grant(foreign, s.cfg.User)},
		"a decision of the target's own user":   {mimi.EndpointUpdateConsent, grant(s.userURI("x"), s.cfg.User)},
		"a decision about another's user":       {mimi.EndpointUpdateConsent, grant(s.userOf("x"), foreign)},
	} {
		r, err := s.consent(ctx, try.e, try.entry)
		p.answered(what, r, err, 400, 403)
	}
	r, err := s.ask(ctx, mimi.EndpointRequestConsent, "elsewhere.example", marshal(s.request("x")))
	p.answered("a path that ends in another domain", r, err, 400, 403, 404)
}

func consentTaken(ctx context.Context, p *probe) {
	s := p.s
	r, err := s.consent(ctx, mimi.EndpointRequestConsent, s.request("five"))
	p.taken("a request", r, err)
	nobody := s.request("five")
	nobody.Target = s.userURI(s.run + "-nobody")
	r, err = s.consent(ctx, mimi.EndpointRequestConsent, nobody)
	p.answered("a request to nobody", r, err, 201, 404)
}

func cancelNothing(ctx context.Context, p *probe) {
	s := p.s
	entry := s.request("six")
	entry.Operation = mimi.ConsentCancel
	r, err := s.consent(ctx, mimi.EndpointRequestConsent, entry)
	p.taken("a cancel without a request", r, err)
}

func unasked(ctx context.Context, p *probe) {
	s := p.s
	for what, op := range map[string]mimi.ConsentOperation{"a grant": mimi.ConsentGrant, "a revoke": mimi.ConsentRevoke} {
		r, err := s.consent(ctx, mimi.EndpointUpdateConsent, s.decision(op, "eight"))
		p.taken(what+" that nobody asked for", r, err)
	}
}

func broughtPackages(ctx context.Context, p *probe) {
	s := p.s
	c := s.client("brings", "phone")
	grant := &mimi.ConsentEntry{Operation: mimi.ConsentGrant, Requester: s.cfg.User, Target: c.User, KeyPackages: []mls.KeyPackage{*c.KeyPackage()}}
	r, err := s.consent(ctx, mimi.EndpointUpdateConsent, grant)
	p.taken("a grant with a KeyPackage", r, err)
	grant.KeyPackages = []mls.KeyPackage{*s.client("other", "phone").KeyPackage()}
	r, err = s.consent(ctx, mimi.EndpointUpdateConsent, grant)
	p.answered("a grant with a KeyPackage of somebody else", r, err, 400)
}

func consentExtensions(ctx context.Context, p *probe) {
	s := p.s
	entry := s.request("sixteen")
	entry.Extensions.Set(0xf123, []byte("unknown"))
	r, err := s.consent(ctx, mimi.EndpointRequestConsent, entry)
	p.taken("an unknown extension", r, err)
	body := marshal(s.request("sixteen"))
	r, err = s.ask(ctx, mimi.EndpointRequestConsent, string(s.target), body[:len(body)-1])
	p.answered("no list of extensions", r, err, 400)
	r, err = s.ask(ctx, mimi.EndpointRequestConsent, string(s.target), append([]byte{9}, body[1:]...))
	p.answered("an unknown operation", r, err, 400)
}

func consentRepeated(ctx context.Context, p *probe) {
	for range 5 {
		r, err := p.s.consent(ctx, mimi.EndpointRequestConsent, p.s.request("seventeen"))
		p.taken("the same request", r, err)
	}
}

// scoped is a user of ours whom the test user allows this and that, and what its claims
// were answered with at each step.
type scoped struct {
	client   *roomtest.Client
	one, two mimi.RoomURI
	codes    map[string]mimi.KeyMaterialUserCode
	requests []*fakepeer.Reply
}

// scope goes through it once; checks look at what came.
func (s *session) scope(ctx context.Context) error {
	if s.cfg.Allow == nil || s.cfg.Revoke == nil {
		return errNotGiven
	}
	c := s.client("scoped", "phone")
	sc := &scoped{client: c, one: s.roomURI(s.cfg.As, "one"), two: s.roomURI(s.cfg.As, "two"), codes: map[string]mimi.KeyMaterialUserCode{}}
	claims := func(step string, uri mimi.RoomURI) error {
		r, err := s.ask(ctx, mimi.EndpointKeyMaterial, string(s.cfg.User), s.claim(c, s.cfg.User, uri, nil))
		if err != nil {
			return err
		}
		k, err := mimi.ParseKeyMaterialResponse(r.Body)
		if err != nil {
			return fmt.Errorf("%s: status %d: %w", step, r.Status, err)
		}
		sc.codes[step] = k.Status
		return nil
	}
	asks := func() error {
		r, err := s.consent(ctx, mimi.EndpointRequestConsent, &mimi.ConsentEntry{Operation: mimi.ConsentRequest, Requester: c.User, Target: s.cfg.User})
		sc.requests = append(sc.requests, r)
		return err
	}
	allow := func(uri mimi.RoomURI) error { return s.cfg.Allow(ctx, c.User, uri) }
	revoke := func(uri mimi.RoomURI) error { return s.cfg.Revoke(ctx, c.User, uri) }
	for _, step := range []func() error{
		func() error { return claims("before", sc.one) },
		func() error { return revoke("") },
		asks,
		func() error { return claims("revoked before it was asked", sc.one) },
		func() error { return allow(sc.one) },
		asks,
		func() error { return claims("granted for it", sc.one) },
		func() error { return claims("granted for another", sc.two) },
		func() error { return allow("") },
		func() error { return revoke(sc.one) },
		func() error { return claims("granted for all but it", sc.one) },
		func() error { return claims("granted for all but another", sc.two) },
		func() error { return revoke("") },
		func() error { return claims("revoked", sc.two) },
		asks,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	s.scoped = sc
	return nil
}

// codes are how a claim must have been answered at some steps.
func (p *probe) claimsAt(want string, steps ...string) {
	for _, step := range steps {
		got := p.s.scoped.codes[step]
		ok := got == mimi.KeyMaterialNoConsent || got == mimi.KeyMaterialNoConsentForRoom
		if want == "success" {
			ok = got <= mimi.KeyMaterialPartialSuccess
		}
		p.that("a claim for a room, "+step, ok, want, fmt.Sprint("code ", got))
	}
}

const nothing = "noConsent (5) or noConsentForThisRoom (6)"

func oneRoom(_ context.Context, p *probe) {
	p.claimsAt("success", "granted for it")
	p.claimsAt(nothing, "granted for another")
}

func latestDecision(_ context.Context, p *probe) {
	p.claimsAt(nothing, "granted for all but it")
	p.claimsAt("success", "granted for all but another")
}

func preemptive(_ context.Context, p *probe) {
	p.claimsAt(nothing, "before", "revoked before it was asked")
}

func everyClaim(_ context.Context, p *probe) {
	p.claimsAt("success", "granted for all but another")
	p.claimsAt(nothing, "revoked")
}

func sameAnswer(_ context.Context, p *probe) {
	for i, r := range p.s.scoped.requests {
		what := []string{"a request after a revocation", "a request after a grant", "a request after that was revoked"}[i]
		p.taken(what, r, nil)
	}
}

// query asks the target for users.
func (p *probe) query(ctx context.Context, what string, elements ...mimi.QueryElement) *mimi.IdentifierResponse {
	r, err := p.s.ask(ctx, mimi.EndpointIdentifierQuery, string(p.s.target), marshal(&mimi.IdentifierRequest{Elements: elements}))
	if !p.answered(what, r, err, 200) {
		return nil
	}
	a, err := mimi.ParseIdentifierResponse(bytes.Clone(r.Body)) // refuses lists beside a failure
	if p.that(what, err == nil, "an IdentifierResponse", fmt.Sprint(err)); err != nil {
		return nil
	}
	p.that(what+": its lists", (len(a.Users) > 0) == (a.Code == mimi.IdentifierSuccess), "matches with success alone", fmt.Sprintf("code %d, %d matches", a.Code, len(a.Users)))
	for _, u := range a.Users {
		p.equal(what+": domain of a match", p.s.target, u.Domain())
	}
	return a
}

// finds says whether a query finds the test user, or nobody.
func (p *probe) finds(ctx context.Context, what string, found bool, elements ...mimi.QueryElement) {
	a := p.query(ctx, what, elements...)
	switch {
	case a == nil:
	case found:
		p.that(what, len(a.Users) == 1 && a.Users[0] == p.s.cfg.User, string(p.s.cfg.User), fmt.Sprint(a.Code, a.Users))
	default:
		p.that(what, len(a.Users) == 0, "nobody", fmt.Sprint(a.Users))
	}
}

// nick is what the test user can be found by.
func (p *probe) nick(ctx context.Context) string {
	s := p.s
	nick := "nick-" + s.run
	if s.cfg.Findable == nil {
		p.Outcome, p.Reason = Skipped, "the test user cannot be made to be found"
		return ""
	}
	if !s.findable {
		if err := s.cfg.Findable(ctx, nick); err != nil {
			p.failed("the profile", "no error", err.Error())
			return ""
		}
		s.findable = true
	}
	return nick
}

func searchedDirectly(ctx context.Context, p *probe) {
	s := p.s
	if s.cfg.Find == nil {
		p.Outcome, p.Reason = Skipped, "the test user cannot be made to search"
		return
	}
	none := marshal(&mimi.IdentifierResponse{Code: mimi.IdentifierNotFound})
	bodies := make(chan []byte, 10)
	s.peer.On(mimi.EndpointIdentifierQuery, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		select {
		case bodies <- body:
		default:
		}
		w.Write(none)
	})
	err := s.cfg.Find(ctx, s.cfg.As, "nobody")
	p.that("what the test user is told", err == nil, "that nobody was found", fmt.Sprint(err))
	heard := s.peer.Received(mimi.EndpointIdentifierQuery)
	p.equal("requests that reached us", 1, len(heard))
	for _, r := range heard {
		p.equal("who sends it", "mimi@"+string(s.target), r.From)
	}
	for len(bodies) > 0 {
		q, err := mimi.ParseIdentifierRequest(<-bodies)
		p.that("its body", err == nil && len(q.Elements) == 1 && q.Elements[0].Value == "nobody", "an IdentifierRequest with one condition", fmt.Sprint(q, err))
	}
}

func element(t mimi.SearchType, field, value string) mimi.QueryElement {
	return mimi.QueryElement{Type: t, Field: field, Value: value}
}

func combined(ctx context.Context, p *probe) {
	nick := p.nick(ctx)
	if nick == "" {
		return
	}
	handle := element(mimi.SearchHandle, "", string(p.s.cfg.User))
	p.finds(ctx, "handle and nickname", true, handle, element(mimi.SearchNick, "", nick))
	p.finds(ctx, "handle and another nickname", false, handle, element(mimi.SearchNick, "", nick+"x"))
}

func exactly(ctx context.Context, p *probe) {
	nick := p.nick(ctx)
	if nick == "" {
		return
	}
	handle := string(p.s.cfg.User)
	p.finds(ctx, "the whole handle", true, element(mimi.SearchHandle, "", handle))
	p.finds(ctx, "a handle but for its last letter", false, element(mimi.SearchHandle, "", handle[:len(handle)-1]))
	p.finds(ctx, "the nickname", true, element(mimi.SearchNick, "", nick))
	p.finds(ctx, "a part of the nickname", false, element(mimi.SearchNick, "", nick[:len(nick)-1]))
	p.finds(ctx, "the nickname in upper case", false, element(mimi.SearchNick, "", strings.ToUpper(nick)))
	p.finds(ctx, "the nickname as an e-mail address", false, element(mimi.SearchEmail, "", nick))
	p.finds(ctx, "the nickname as a telephone number", false, element(mimi.SearchPhone, "", nick))
}

func parts(ctx context.Context, p *probe) {
	for what, value := range map[string]string{"%": "%", "_": "_", "a percent sign in place of letters": "a%e", "one letter": "a", "nothing": ""} {
		if a := p.query(ctx, "partialName: "+what, element(mimi.SearchPartialName, "", value)); a != nil {
			p.that("partialName: "+what, a.Code != mimi.IdentifierSuccess, "no success: what is short or odd is no wildcard", fmt.Sprint(a.Users))
		}
	}
}

func byName(ctx context.Context, p *probe) {
	nick := p.nick(ctx)
	if nick == "" {
		return
	}
	p.finds(ctx, "the claim nickname", true, element(mimi.SearchOIDCClaim, "nickname", nick))
	p.finds(ctx, "the same as a vCard property", false, element(mimi.SearchVCardField, "NICKNAME", nick))
	if a := p.query(ctx, "a claim that nobody has heard of", element(mimi.SearchOIDCClaim, "shoe_size_"+p.s.run, "42")); a != nil {
		p.that("a claim that nobody has heard of", a.Code == mimi.IdentifierUnsupportedField || a.Code == mimi.IdentifierNotFound, "unsupportedField (4)", fmt.Sprint(a.Code))
	}
}

func notShown(ctx context.Context, p *probe) {
	nick := p.nick(ctx)
	if nick == "" {
		return
	}
	p.finds(ctx, "a name that its user does not show", false, element(mimi.SearchOIDCClaim, "given_name", "Hidden "+nick))
	p.finds(ctx, "a part of a name that may be searched whole only", false, element(mimi.SearchPartialName, "", nick[:len(nick)-2]))
	p.finds(ctx, "what is shown and what is not", false, element(mimi.SearchNick, "", nick), element(mimi.SearchOIDCClaim, "given_name", "Hidden "+nick))
}

func queryCodes(ctx context.Context, p *probe) {
	if a := p.query(ctx, "a handle that nobody has", element(mimi.SearchHandle, "", string(p.s.userURI(p.s.run+"-nobody")))); a != nil {
		p.that("a handle that nobody has", a.Code == mimi.IdentifierNotFound || a.Code == mimi.IdentifierForbidden, "notFound (1) or forbidden (3)", fmt.Sprint(a.Code))
	}
}

func queryRepeated(ctx context.Context, p *probe) {
	e := element(mimi.SearchHandle, "", string(p.s.userURI(p.s.run+"-nobody")))
	first := p.query(ctx, "a query", e)
	for range 2 {
		if again := p.query(ctx, "the same query", e); first != nil && again != nil {
			p.equal("its code", first.Code, again.Code)
		}
	}
}

func listed(ctx context.Context, p *probe) {
	nick := p.nick(ctx)
	if nick == "" {
		return
	}
	a := p.query(ctx, "a nickname", element(mimi.SearchNick, "", nick))
	if a == nil {
		return
	}
	for _, profile := range a.Profiles {
		p.that("details of "+string(profile.User), strings.Contains(fmt.Sprint(a.Users), string(profile.User)), "of one of the matches", "not among them")
		for _, f := range profile.Fields {
			p.that("a detail", !strings.Contains(f.Value, "Hidden"), "nothing that its user does not show", f.Name)
		}
	}
}

func noConditions(ctx context.Context, p *probe) {
	s := p.s
	r, err := s.ask(ctx, mimi.EndpointIdentifierQuery, string(s.target), []byte{0, 0})
	p.answered("no conditions", r, err, 400)
	r, err = s.ask(ctx, mimi.EndpointIdentifierQuery, string(s.target), []byte{3, 9, 1, 'x', 0})
	p.answered("an unknown kind of search", r, err, 400)
	r, err = s.ask(ctx, mimi.EndpointIdentifierQuery, string(s.target), []byte{4, 2, 2, 0xff, 0xfe, 0})
	p.answered("a value that is not UTF-8", r, err, 400)
	r, err = s.ask(ctx, mimi.EndpointIdentifierQuery, "elsewhere.example", marshal(&mimi.IdentifierRequest{Elements: []mimi.QueryElement{element(mimi.SearchNick, "", "x")}}))
	p.answered("a path that ends in another domain", r, err, 400, 403, 404)
}
