package conformance

import (
	"context"
	"crypto/rand"
	"fmt"

	"hubbub/internal/room/roomtest"
	"hubbub/mimi"
	"hubbub/mls"
)

var groupInfoChecks = []check{
	{id: "GI-2", what: "the request's signature and suite count", needs: []string{needDirectory}, run: badInfoRequests},
	{id: "GI-3", what: "who has no part in a room learns nothing of it", needs: needsGuest, run: strangersInfo},
	{id: "GI-5", what: "a room that is not there", needs: []string{needDirectory}, run: noSuchRoom},
	{id: "GI-10", what: "a refusal ends after its status", needs: []string{needDirectory}, run: bareRefusal},
	{id: "GI-1", what: "a participant's new client can join with it", needs: needsGuest, run: newClient},
	{id: "GI-6", what: "the tree and what is pending come beside the GroupInfo", needs: needsGuest, run: infoParts},
	{id: "GI-7", what: "it is encrypted to the client", needs: needsGuest, run: infoParts},
	{id: "GI-8", what: "and signed by the hub", needs: needsGuest, run: infoParts},
	{id: "UPD-24", what: "with external_pub, or nobody could join", needs: needsGuest, run: infoParts},
	{id: "GI-9", what: "which is an external sender of the group", needs: needsGuest, run: infoParts},
}

// groupInfoRequest is a signed request and the key to the answer.
func (s *session) groupInfoRequest(c *roomtest.Client, change func(*mimi.GroupInfoRequest)) (body, private []byte) {
	private, public, err := roomtest.Suite.GenerateHPKEKey(rand.Reader)
	must(err)
	req := &mimi.GroupInfoRequest{Credential: c.Credential(), PublicKey: public}
	must(req.Sign(c.Key()))
	if change != nil {
		change(req)
	}
	return marshal(req), private
}

// info asks for a room's GroupInfo.
func (p *probe) info(ctx context.Context, what string, uri mimi.RoomURI, body []byte) *mimi.GroupInfoResponse {
	r, err := p.s.ask(ctx, mimi.EndpointGroupInfo, string(uri), body)
	if !p.answered(what, r, err, 200) {
		return nil
	}
	a, err := mimi.ParseGroupInfoResponse(r.Body)
	if err != nil {
		p.failed(what, "a GroupInfoResponse", err.Error())
		return nil
	}
	p.equal(what+": its room", uri, a.Room)
	return a
}

func (p *probe) noInfo(ctx context.Context, what string, uri mimi.RoomURI, body []byte, codes ...mimi.GroupInfoCode) {
	a := p.info(ctx, what, uri, body)
	if a == nil {
		return
	}
	ok := false
	for _, c := range codes {
		ok = ok || a.Status == c
	}
	p.that(what, ok, fmt.Sprintf("status %d", codes), fmt.Sprint(a.Status))
}

func (s *session) anyRoom() mimi.RoomURI {
	switch {
	case s.guest != nil:
		return s.guest.uri
	case s.cfg.Room != "":
		return s.cfg.Room
	}
	return s.roomURI(s.target, "none")
}

func badInfoRequests(ctx context.Context, p *probe) {
	s := p.s
	c := s.client("info", "phone")
	uri := s.anyRoom()
	for what, change := range map[string]func(*mimi.GroupInfoRequest){
		"another signature":   func(g *mimi.GroupInfoRequest) { g.Signature[0] ^= 1 },
		"another key":         func(g *mimi.GroupInfoRequest) { g.SignatureKey = s.rooms.NewKey().Public },
		"an unknown suite":    func(g *mimi.GroupInfoRequest) { g.Suite = 0xf7f7 },
		"another HPKE key":    func(g *mimi.GroupInfoRequest) { g.PublicKey[0] ^= 1 },
		"a joining code more": func(g *mimi.GroupInfoRequest) { g.JoiningCode = []byte("code") },
	} {
		body, _ := s.groupInfoRequest(c, change)
		p.noInfo(ctx, what, uri, body, mimi.GroupInfoNotAuthorized, mimi.GroupInfoNoSuchRoom)
	}
}

func strangersInfo(ctx context.Context, p *probe) {
	s := p.s
	body, _ := s.groupInfoRequest(s.client("stranger", "phone"), nil)
	p.noInfo(ctx, "a user of ours who is not in the room", s.guest.uri, body, mimi.GroupInfoNotAuthorized, mimi.GroupInfoNoSuchRoom)
	host := s.guest.client.Participants().Participants[0].User
	body, _ = s.groupInfoRequest(s.client("stranger", "phone"), func(g *mimi.GroupInfoRequest) {
		g.Credential = mls.BasicCredential([]byte("mimi://" + string(host.Domain()) + "/d/x/y"))
	})
	p.noInfo(ctx, "with a credential of the target's", s.guest.uri, body, mimi.GroupInfoNotAuthorized, mimi.GroupInfoNoSuchRoom)
}

func noSuchRoom(ctx context.Context, p *probe) {
	body, _ := p.s.groupInfoRequest(p.s.client("info", "phone"), nil)
	p.noInfo(ctx, "a room that is not there", p.s.roomURI(p.s.target, "none"), body, mimi.GroupInfoNotAuthorized, mimi.GroupInfoNoSuchRoom)
}

func bareRefusal(ctx context.Context, p *probe) {
	s := p.s
	uri := s.roomURI(s.target, "none")
	body, _ := s.groupInfoRequest(s.client("info", "phone"), nil)
	r, err := s.ask(ctx, mimi.EndpointGroupInfo, string(uri), body)
	if p.answered("a refusal", r, err, 200) {
		prefix := 1
		if len(uri) > 63 {
			prefix = 2
		}
		p.equal("octets of a refusal", 1+prefix+len(uri)+1, len(r.Body))
	}
}

// opened is what a second client of our user is told.
func (p *probe) opened(ctx context.Context) (*roomtest.Client, *mimi.GroupInfoResponse, *mimi.GroupInfoRatchetTree) {
	g := p.s.guest
	g.catchUp()
	c := p.s.client("guest", fmt.Sprint("laptop-", p.ID))
	body, private := p.s.groupInfoRequest(c, nil)
	a := p.info(ctx, "a new client of our user", g.uri, body)
	if a == nil {
		return nil, nil, nil
	}
	p.that("a new client of our user", a.Status == mimi.GroupInfoSuccess, "success (1)", fmt.Sprint(a.Status))
	if a.Status != mimi.GroupInfoSuccess {
		return nil, nil, nil
	}
	content, err := a.Open(private) // checks the signature, and whose it is
	if err != nil {
		p.failed("opening the answer", "a signature by an external sender of the group, and octets for our key", err.Error())
		return nil, nil, nil
	}
	return c, a, content
}

func infoParts(ctx context.Context, p *probe) {
	_, _, content := p.opened(ctx)
	if content == nil {
		return
	}
	g := p.s.guest.client.Group
	p.equal("the epoch", g.Epoch(), content.GroupInfo.GroupContext.Epoch)
	_, embedded := content.GroupInfo.Extensions.Find(mls.ExtensionTypeRatchetTree)
	p.that("the GroupInfo", !embedded, "without a tree in it", "with one")
	_, key := content.GroupInfo.Extensions.Find(mls.ExtensionTypeExternalPub)
	p.that("external_pub", key, "there", "not there")
	p.that("the tree", content.RatchetTree.Representation == mimi.TreeFull, "full (1)", fmt.Sprint(content.RatchetTree.Representation))
}

func newClient(ctx context.Context, p *probe) {
	c, _, content := p.opened(ctx)
	if content == nil {
		return
	}
	var pending []*mls.PublicMessage
	for i := range content.PendingProposals {
		pending = append(pending, content.PendingProposals[i].Proposal.Public)
	}
	g := p.s.guest
	body := c.JoinExternal(&content.GroupInfo, content.RatchetTree.Tree, pending...)
	if a, _ := g.update(ctx, p, "its external commit", body); a != nil {
		p.that("its external commit", a.Code == mimi.UpdateSuccess, "success (0)", fmt.Sprintf("%d: %s", a.Code, a.Description))
		if a.Code == mimi.UpdateSuccess {
			g.told(ctx, p, "the external commit", commitIn(body))
		}
	}
}
