package conformance

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"time"

	"hubbub/internal/fakepeer"
	"hubbub/internal/room/roomtest"
	"hubbub/mimi"
	"hubbub/mls"
)

var needsUser = []string{needDirectory, needUser}

var keyMaterialChecks = []check{
	{id: "KM-3", what: "a request without a room", needs: needsUser, run: claimWithoutRoom},
	{id: "KM-4", what: "no acceptable cipher suite is malformed", needs: []string{needDirectory}, run: noSuites},
	{id: "KM-5", what: "the request's signature counts", needs: needsUser, run: badClaimSignatures},
	{id: "KM-6", what: "the credential is the requester's", needs: needsUser, run: foreignCredential},
	{id: "KM-8", what: "the user's code sums up the clients'", needs: needsUser, run: claimedCodes},
	{id: "KM-9", what: "success carries a KeyPackage", needs: needsUser, run: claimedPackages},
	{id: "KM-10", what: "clients are listed for the right codes", needs: []string{needDirectory}, run: emptyLists},
	{id: "KM-12", what: "no KeyPackage is handed out twice", needs: needsUser, run: neverTwice},
	{id: "KM-13", what: "KeyPackages are within their lifetime", needs: needsUser, run: lifetimes},
	{id: "KM-14", what: "suites and capabilities are honoured", needs: needsUser, run: capabilities},
	{id: "KM-15", what: "who has no consent gets nothing", needs: []string{needDirectory}, run: unknownUser},
	{id: "KM-16", what: "an unknown protocol is answered, not refused", needs: []string{needDirectory}, run: otherProtocol},
	{id: "KM-21", what: "what is handed out can be used", needs: needsUser, run: usablePackages},
}

// claimed asks for key material of the user.
func (p *probe) claimed(ctx context.Context, what string, target mimi.UserURI, body []byte) *mimi.KeyMaterialResponse {
	r, err := p.s.ask(ctx, mimi.EndpointKeyMaterial, string(target), body)
	if err == nil && r.Status == http.StatusTooManyRequests {
		p.Outcome, p.Reason = Skipped, "the target limits how much is claimed; try again later"
		return nil
	}
	if !p.answered(what, r, err, 200) {
		return nil
	}
	k, err := mimi.ParseKeyMaterialResponse(r.Body)
	if err != nil {
		p.failed(what, "a KeyMaterialResponse", err.Error())
		return nil
	}
	p.equal(what+": userUri", target, k.User)
	return k
}

// refusedClaim records a claim that has to give nothing, in whichever way.
func (p *probe) refusedClaim(what string, r *fakepeer.Reply, err error) {
	if !p.answered(what, r, err, 200, 403) || r.Status == 403 {
		return
	}
	k, err := mimi.ParseKeyMaterialResponse(r.Body)
	if err != nil {
		p.failed(what, "a KeyMaterialResponse", err.Error())
		return
	}
	p.that(what, k.Status == mimi.KeyMaterialNoConsent, "noConsent (5)", fmt.Sprint(k.Status))
}

// requester is the user of ours whose claims should succeed: always the same, so
// that the test user can allow it once.
func (s *session) requester() *roomtest.Client {
	if s.claimant == nil {
		s.claimant = s.rooms.Client("conformance@"+string(s.cfg.As), s.run)
		s.vouch(s.claimant)
	}
	return s.claimant
}

// claimOnce claims in good order and expects success.
func (p *probe) claimOnce(ctx context.Context, change func(*mimi.KeyMaterialRequest)) *mimi.KeyMaterialResponse {
	s := p.s
	k := p.claimed(ctx, "a claim", s.cfg.User, s.claim(s.requester(), s.cfg.User, s.roomURI(s.cfg.As, "claims"), change))
	if k != nil {
		p.that("a claim", k.Status <= mimi.KeyMaterialPartialSuccess, "success (0) or partialSuccess (1)", fmt.Sprint(k.Status))
	}
	return k
}

// asked is one answer to a claim in good order; others look at the same one, as
// providers count what somebody claims.
func (p *probe) asked(ctx context.Context) *mimi.KeyMaterialResponse {
	if p.s.claims == nil {
		if k := p.claimOnce(ctx, nil); k != nil {
			p.s.claims = append(p.s.claims, k)
		}
	}
	if p.s.claims == nil {
		return nil
	}
	return p.s.claims[0]
}

func claimWithoutRoom(ctx context.Context, p *probe) {
	p.claimOnce(ctx, func(k *mimi.KeyMaterialRequest) { k.Room = "" })
}

func noSuites(ctx context.Context, p *probe) {
	s := p.s
	nobody := s.userURI(s.run + "-nobody")
	good := s.claim(s.client("suites", "phone"), nobody, "", nil)
	one := []byte{2, 0, byte(roomtest.Suite)}
	at := bytes.Index(good, one)
	r, err := s.ask(ctx, mimi.EndpointKeyMaterial, string(nobody), append(append(bytes.Clone(good[:at]), 0), good[at+3:]...))
	p.answered("an empty list of suites", r, err, 400)
}

func badClaimSignatures(ctx context.Context, p *probe) {
	s := p.s
	c := s.client("signs", "phone")
	for name, change := range map[string]func(*mimi.KeyMaterialRequest){
		"the requester":    func(k *mimi.KeyMaterialRequest) { k.RequestingUser += "x" },
		"the room":         func(k *mimi.KeyMaterialRequest) { k.Room = s.roomURI(s.cfg.As, "y") },
		"the suites":       func(k *mimi.KeyMaterialRequest) { k.CipherSuites = append(k.CipherSuites, 2) },
		"the capabilities": func(k *mimi.KeyMaterialRequest) { k.RequiredCapabilities.Extensions = []mls.ExtensionType{7} },
		"the key":          func(k *mimi.KeyMaterialRequest) { k.SignatureKey = s.rooms.NewKey().Public },
		"the signature":    func(k *mimi.KeyMaterialRequest) { k.Signature[3] ^= 1 },
	} {
		req, err := mimi.ParseKeyMaterialRequest(s.claim(c, s.cfg.User, s.roomURI(s.cfg.As, "x"), nil))
		must(err)
		change(req)
		r, err := s.ask(ctx, mimi.EndpointKeyMaterial, string(s.cfg.User), marshal(req))
		p.answered("changed after signing: "+name, r, err, 403)
	}
}

func foreignCredential(ctx context.Context, p *probe) {
	s := p.s
	c, other := s.client("one", "phone"), s.client("other", "phone")
	for name, change := range map[string]func(*mimi.KeyMaterialRequest){
		"of another user of ours": func(k *mimi.KeyMaterialRequest) { k.Credential = other.Credential() },
		"basic, of the target's user": func(k *mimi.KeyMaterialRequest) {
			k.Credential = mls.BasicCredential([]byte(string(s.cfg.User)))
		},
	} {
		r, err := s.ask(ctx, mimi.EndpointKeyMaterial, string(s.cfg.User), s.claim(c, s.cfg.User, "", change))
		p.refusedClaim("a credential "+name, r, err)
	}
}

func claimedCodes(ctx context.Context, p *probe) {
	k := p.asked(ctx)
	if k == nil {
		return
	}
	got := 0
	for _, c := range k.Clients {
		if c.Status == mimi.ClientKeyMaterialSuccess {
			got++
		}
	}
	switch k.Status {
	case mimi.KeyMaterialSuccess:
		p.equal("clients with material, of "+fmt.Sprint(len(k.Clients)), len(k.Clients), got)
	case mimi.KeyMaterialPartialSuccess:
		p.that("clients with material", got > 0 && got < len(k.Clients), "some, not all", fmt.Sprint(got))
	}
}

func claimedPackages(ctx context.Context, p *probe) {
	if k := p.asked(ctx); k != nil { // the layout is what parsing has checked
		for _, c := range k.Clients {
			p.that(string(c.Client), c.Client.Domain() == p.s.target, "a client of the target", string(c.Client))
			p.that(string(c.Client), (c.KeyPackage != nil) == (c.Status == mimi.ClientKeyMaterialSuccess), "a KeyPackage with success alone", fmt.Sprint(c.Status))
		}
	}
}

func emptyLists(ctx context.Context, p *probe) {
	s := p.s
	nobody := s.userURI(s.run + "-nobody")
	if k := p.claimed(ctx, "a user who is not there", nobody, s.claim(s.client("lists", "phone"), nobody, "", nil)); k != nil {
		p.equal("clients listed with a refusal", 0, len(k.Clients))
	}
}

func neverTwice(ctx context.Context, p *probe) {
	seen := map[string]bool{}
	p.asked(ctx)
	for range 2 {
		k := p.claimOnce(ctx, nil)
		if k == nil {
			return
		}
		p.s.claims = append(p.s.claims, k)
	}
	for _, k := range p.s.claims {
		for _, c := range k.Clients {
			if c.KeyPackage == nil {
				continue
			}
			ref, err := c.KeyPackage.Ref()
			must(err)
			p.that("a KeyPackage of "+string(c.Client), !seen[string(ref)], "one that was not handed out yet", "the same again")
			seen[string(ref)] = true
		}
	}
}

func (p *probe) packages(ctx context.Context, each func(c mimi.ClientKeyMaterial)) {
	k := p.asked(ctx)
	if k == nil {
		return
	}
	for _, c := range k.Clients {
		if c.KeyPackage != nil {
			each(c)
		}
	}
}

func lifetimes(ctx context.Context, p *probe) {
	p.packages(ctx, func(c mimi.ClientKeyMaterial) {
		l, now := c.KeyPackage.LeafNode.Lifetime, uint64(time.Now().Unix())
		p.that("lifetime", l.NotBefore <= now && now < l.NotAfter, "valid now", fmt.Sprintf("%+v", l))
	})
}

func capabilities(ctx context.Context, p *probe) {
	s := p.s
	k := p.claimed(ctx, "an extension that nobody has", s.cfg.User, s.claim(s.requester(), s.cfg.User, "", func(k *mimi.KeyMaterialRequest) {
		k.RequiredCapabilities.Extensions = []mls.ExtensionType{0xf7f7}
	}))
	if k != nil {
		p.that("an extension that nobody has", k.Status == mimi.KeyMaterialNoCompatible, "noCompatibleMaterial (3)", fmt.Sprint(k.Status))
	}
	p.packages(ctx, func(c mimi.ClientKeyMaterial) {
		p.equal("its suite", roomtest.Suite, c.KeyPackage.CipherSuite)
	})
}

func unknownUser(ctx context.Context, p *probe) {
	s := p.s
	nobody := s.userURI(s.run + "-nobody")
	k := p.claimed(ctx, "a user who is not there", nobody, s.claim(s.client("asks", "phone"), nobody, "", nil))
	if k == nil {
		return
	}
	p.that("a user who is not there", k.Status == mimi.KeyMaterialUserUnknown || k.Status == mimi.KeyMaterialNoConsent,
		"userUnknown (4) or noConsent (5)", fmt.Sprint(k.Status))
}

func otherProtocol(ctx context.Context, p *probe) {
	s := p.s
	target := s.userURI(s.run + "-nobody")
	if s.cfg.User != "" {
		target = s.cfg.User
	}
	body := marshal(&mimi.KeyMaterialRequest{Protocol: 2, RequestingUser: s.client("other", "phone").User, TargetUser: target})
	if k := p.claimed(ctx, "protocol 2", target, append(body, 1, 2, 3)); k != nil {
		p.that("protocol 2", k.Status == mimi.KeyMaterialIncompatibleProtocol, "incompatibleProtocol (2)", fmt.Sprint(k.Status))
		p.equal("clients listed", 0, len(k.Clients))
	}
}

func usablePackages(ctx context.Context, p *probe) {
	p.packages(ctx, func(c mimi.ClientKeyMaterial) {
		id, err := mimi.ClaimedIdentity(&c.KeyPackage.LeafNode.Credential)
		p.that("the credential", err == nil && id.User == p.s.cfg.User && id.Client == c.Client, string(c.Client), fmt.Sprint(id, err))
		g := p.s.client("adds", "phone")
		g.Create(p.s.roomURI(p.s.cfg.As, "adds"), p.s.rooms.NewKey())
		g.Add(c.KeyPackage) // ends the check if the package does not verify
		p.Probes++
	})
}
