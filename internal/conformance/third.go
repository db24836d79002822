package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"hubbub/internal/fakepeer"
	"hubbub/internal/room/roomtest"
	"hubbub/mimi"
	"hubbub/mls"
)

var needsThird = []string{needDirectory, needGuest, needThird}

// In these a provider c takes part in the room beside b, whose user brought c's in. The
// order is that of the room's life; from needAway on nobody at the target commits.
var thirdChecks = []check{
	{id: "KM-7", what: "the hub relays a request unchanged", needs: needsThird, run: relayed},
	{id: "FAN-1", what: "every provider of a room is told everything", needs: needsThird, run: everybodyTold},
	{id: "KM-22", what: "a claim without an answer is not repeated", needs: needsThird, run: claimedOnce},
	{id: "UPD-20", what: "the Welcome of a refused commit goes nowhere", needs: needsThird, run: lostWelcome},
	{id: "UPD-25", what: "of two commits of one epoch one is taken", needs: needsThird, run: twoCommits},
	{id: "FAN-21", what: "a provider that is away holds up no other", needs: needsThird, run: oneAway},
	{id: "GI-14", what: "a request is bound to the provider it is of", needs: needsThird, run: replayed},
	{id: "FAN-12", what: "a bundle is announced as it was sent", needs: append(slices.Clone(needsThird), needAway), run: bundleAsSent},
	{id: "UPD-17", what: "a commit carries what is pending", needs: append(slices.Clone(needsThird), needAway), run: pendingLeftOut},
	{id: "UPD-10", what: "who leaves may still send what makes it leave", needs: append(slices.Clone(needsThird), needAway), run: whileLeaving},
	{id: "UPD-19", what: "an external commit carries pending SelfRemoves", needs: append(slices.Clone(needsThird), needAway), run: joinWhilePending},
	{id: "FAN-13", what: "proposals that it drops are made anew beside it", needs: append(slices.Clone(needsThird), needAway), run: madeAnew},
	{id: "FAN-5", what: "what the hub says itself is announced", needs: append(slices.Clone(needsThird), needAway), run: ofTheHub},
	{id: "FAN-11", what: "who is removed is told so", needs: append(slices.Clone(needsThird), needAway), run: toldOfRemoval},
	{id: "FAN-10", what: "and is told nothing more", needs: append(slices.Clone(needsThird), needAway), run: nothingMore},
}

// adding is how the third provider's user came into the room.
type adding struct {
	guest    *guest
	request  []byte          // for its key material, as we sent it to the hub
	done     map[string]bool // steps of its leaving that were taken
	leaving  []byte          // the update by which its user leaves
	early    []byte          // a message of ours of the same epoch
	commit   []byte          // a commit of ours that leaves that out
	external []byte          // the commit that removes it
	ext      *mimi.FanoutMessage
}

// bring has our user in the target's room add one of the third provider's (FLOW-3): its
// key material comes by way of the hub.
func (s *session) bring(ctx context.Context) error {
	if s.third == nil {
		return errNotGiven
	}
	if s.guest == nil {
		return errors.New("nobody invited us")
	}
	t, g := s.third, s.guest
	o := &guest{s: t, client: t.client("third", "phone"), asks: s.cfg.As}
	t.peer.On(mimi.EndpointKeyMaterial, o.supply)
	t.peer.On(mimi.EndpointNotify, o.notify)
	add := &adding{guest: o, done: map[string]bool{}, request: s.claim(g.client, o.client.User, g.uri, nil)}
	r, err := s.ask(ctx, mimi.EndpointKeyMaterial, string(o.client.User), add.request)
	if err != nil {
		return err
	}
	k, err := mimi.ParseKeyMaterialResponse(r.Body)
	if err != nil || len(k.Clients) != 1 || k.Clients[0].KeyPackage == nil {
		return fmt.Errorf("no key material of %s by way of the hub: status %d %s (%v)", o.client.User, r.Status, r.Code, err)
	}
	g.catchUp()
	body := g.client.Add(k.Clients[0].KeyPackage)
	if r, err = s.ask(ctx, mimi.EndpointUpdate, string(g.uri), body); err != nil {
		return err
	}
	a, err := mimi.ParseUpdateRoomResponse(r.Body)
	if err != nil || a.Code != mimi.UpdateSuccess {
		g.client.Drop()
		return fmt.Errorf("our user's commit that adds %s: status %d: %+v (%v)", o.client.User, r.Status, a, err)
	}
	if !s.until(ctx, func() bool { return len(o.seen()) > 0 && g.announced(commitIn(body)) != nil }) {
		return errors.New("no Welcome reached the third provider, or no commit us")
	}
	g.catchUp()
	o.uri = o.seen()[0].uri
	o.catchUp()
	if o.client.Group == nil {
		return errors.New("what reached the third provider first is not a Welcome that its client can join with")
	}
	s.adding = add
	return nil
}

// thirdOf is the third provider's part in the room, nil without one.
func (p *probe) thirdOf(ctx context.Context) *guest {
	if p.s.lacks(ctx, needsThird) != "" {
		return nil
	}
	return p.s.adding.guest
}

func relayed(_ context.Context, p *probe) {
	o := p.s.adding.guest
	p.equal("requests that the third provider got", 1, len(o.claims))
	for _, c := range o.claims {
		p.that("its octets", bytes.Equal(c.body, p.s.adding.request), fmt.Sprintf("the %d sent to the hub", len(p.s.adding.request)), fmt.Sprintf("%d others", len(c.body)))
		p.that("its signature", c.err == nil, "valid, of the user who asked", fmt.Sprint(c.err))
	}
	for _, r := range p.s.third.peer.Received(mimi.EndpointKeyMaterial) {
		p.equal("who passes it on", "mimi@"+string(p.s.target), r.From)
	}
}

// says posts by one and waits until both are told: with the same octets, time and frank.
func (p *probe) says(ctx context.Context, what string, by, other *guest) {
	body, a, _ := by.posted(ctx, p, what)
	if a == nil {
		return
	}
	one, two := by.told(ctx, p, what+": to its own provider", message(body)), other.told(ctx, p, what+": to the other one", message(body))
	if one != nil && two != nil {
		p.equal(what+": times", one.Timestamp, two.Timestamp)
		p.that(what+": franks", equalFranks(one.Frank, two.Frank), "the same", "others")
	}
}

func equalFranks(a, b *mimi.Frank) bool {
	if a == nil || b == nil {
		return a == b
	}
	return bytes.Equal(marshal(a), marshal(b))
}

func everybodyTold(ctx context.Context, p *probe) {
	g, o := p.s.guest, p.s.adding.guest
	p.says(ctx, "a message of b's user", g, o)
	p.says(ctx, "a message of c's user", o, g)
	body, a, _ := g.commits(ctx, p)
	if a != nil {
		g.told(ctx, p, "a commit: to b", commitIn(body))
		o.told(ctx, p, "a commit: to c", commitIn(body))
	}
	// Each gets its own user's Welcome alone (FAN-4).
	for name, who := range map[string]*guest{"b": g, "c": o} {
		p.equal("Welcomes announced to "+name, 1, who.welcomes())
	}
}

func (g *guest) welcomes() (count int) {
	for _, n := range g.seen() {
		for i := range n.list {
			if n.ok && isWelcome(&n.list[i]) {
				count++
			}
		}
	}
	return count
}

func claimedOnce(ctx context.Context, p *probe) {
	s, o := p.s, p.s.adding.guest
	before := len(s.third.peer.Received(mimi.EndpointKeyMaterial))
	s.third.peer.On(mimi.EndpointKeyMaterial, fakepeer.Abort())
	defer s.third.peer.On(mimi.EndpointKeyMaterial, o.supply)
	other := s.third.userOf("other")
	r, err := s.ask(ctx, mimi.EndpointKeyMaterial, string(other), s.claim(s.guest.client, other, s.guest.uri, nil))
	if err == nil && r.Status == http.StatusOK {
		k, err := mimi.ParseKeyMaterialResponse(r.Body)
		p.that("the answer", err == nil && k.Status != mimi.KeyMaterialSuccess, "no success", fmt.Sprint(k, err))
	}
	p.equal("requests that reached the third provider", 1, len(s.third.peer.Received(mimi.EndpointKeyMaterial))-before)
}

// userOf is a user of the provider played.
func (s *session) userOf(name string) mimi.UserURI {
	return mimi.UserURI("mimi://" + string(s.cfg.As) + "/u/" + s.run + "-" + name)
}

func lostWelcome(ctx context.Context, p *probe) {
	g, o := p.s.guest, p.s.adding.guest
	before := o.welcomes()
	g.catchUp()
	late := g.client.Add(p.s.third.client("late", "phone").KeyPackage())
	body, a, _ := g.commits(ctx, p)
	if a == nil || g.told(ctx, p, "another commit", commitIn(body)) == nil {
		return
	}
	if a, _ := g.update(ctx, p, "an Add of a past epoch", late); a != nil {
		p.that("an Add of a past epoch", a.Code == mimi.UpdateWrongEpoch, "wrongEpoch (1)", fmt.Sprint(a.Code))
	}
	p.says(ctx, "a message after it", g, o)
	p.equal("Welcomes announced to c since", 0, o.welcomes()-before)
}

func twoCommits(ctx context.Context, p *probe) {
	g, o := p.s.guest, p.s.adding.guest
	g.catchUp()
	o.catchUp()
	type outcome struct {
		r   *fakepeer.Reply
		err error
	}
	bodies := map[*guest][]byte{g: g.client.Commit(), o: o.client.Commit()}
	answers := map[*guest]chan outcome{g: make(chan outcome, 1), o: make(chan outcome, 1)}
	for by, c := range answers {
		body := bodies[by]
		go func() {
			r, err := by.s.ask(ctx, mimi.EndpointUpdate, string(by.uri), body)
			c <- outcome{r, err}
		}()
	}
	var taken []byte
	codes := map[mimi.UpdateCode]int{}
	for by, c := range answers {
		got := <-c
		if !p.answered("one of two commits at once", got.r, got.err, 200) {
			return
		}
		a, err := mimi.ParseUpdateRoomResponse(got.r.Body)
		if err != nil {
			p.failed("one of two commits at once", "an UpdateRoomResponse", err.Error())
			return
		}
		if codes[a.Code]++; a.Code == mimi.UpdateSuccess {
			taken = commitIn(bodies[by])
		} else {
			by.client.Drop()
		}
	}
	p.that("their answers", codes[mimi.UpdateSuccess] == 1 && codes[mimi.UpdateWrongEpoch] == 1, "one success (0), one wrongEpoch (1)", fmt.Sprint(codes))
	if taken != nil {
		g.told(ctx, p, "the one taken: to b", taken)
		o.told(ctx, p, "the one taken: to c", taken)
		p.equal("epochs", g.client.Group.Epoch(), o.client.Group.Epoch())
	}
}

func oneAway(ctx context.Context, p *probe) {
	g, o := p.s.guest, p.s.adding.guest
	o.fail(later("1"))
	body, a, _ := g.posted(ctx, p, "a message while c is away")
	if a == nil {
		return
	}
	g.told(ctx, p, "to b meanwhile", message(body))
	p.that("to c", o.announced(message(body)) == nil, "not before a second is over", "already")
	o.told(ctx, p, "to c when it is back", message(body))
}

func replayed(ctx context.Context, p *probe) {
	s, g := p.s, p.s.guest
	body, _ := s.groupInfoRequest(s.client("guest", "captured"), nil)
	r, err := s.third.ask(ctx, mimi.EndpointGroupInfo, string(g.uri), body)
	if !p.answered("a request of b's user, sent by c", r, err, 200, 403) || r.Status == 403 {
		return
	}
	a, err := mimi.ParseGroupInfoResponse(r.Body)
	p.that("a request of b's user, sent by c", err == nil && a.Status != mimi.GroupInfoSuccess, "notAuthorized (2)", fmt.Sprint(a, err))
}

func bundleAsSent(ctx context.Context, p *probe) { p.step(ctx, "FAN-12", leaves) }

func leaves(ctx context.Context, p *probe) {
	g, add := p.s.guest, p.s.adding
	o := add.guest
	g.catchUp()
	o.catchUp()
	add.early, add.commit = g.client.Post("written before the leave was known"), g.client.Commit()
	g.client.Drop()
	body := o.client.Leave()
	if a, _ := o.update(ctx, p, "c's user leaves", body); a == nil || a.Code != mimi.UpdateSuccess {
		p.failed("c's user leaves", "success (0)", fmt.Sprint(a))
		return
	}
	add.leaving = body
	sent, err := mimi.ParseHandshakeBundle(bytes.Clone(body))
	must(err)
	f := g.told(ctx, p, "the proposals", sent.Message.Raw)
	if f == nil {
		return
	}
	p.equal("further proposals", len(sent.MoreProposals), len(f.MoreProposals))
	for i := range min(len(sent.MoreProposals), len(f.MoreProposals)) {
		p.that(fmt.Sprintf("further proposal %d", i+1), bytes.Equal(sent.MoreProposals[i].Raw, f.MoreProposals[i].Raw), "the octets sent", "others")
	}
}

// step takes a step of the third user's leaving, once: in the check that it belongs to, or
// in one that builds on it.
func (p *probe) step(ctx context.Context, id string, take func(context.Context, *probe)) {
	if add := p.s.adding; !add.done[id] {
		add.done[id] = true
		if p.ID != id {
			p = &probe{s: p.s, Result: Result{ID: id}}
		}
		take(ctx, p)
	}
}

// left says whether the third's user has proposed to leave, which all that follows is about.
func (p *probe) left(ctx context.Context) bool {
	p.step(ctx, "FAN-12", leaves)
	if p.s.adding.leaving == nil {
		p.Outcome, p.Reason = Skipped, "c's user could not leave (FAN-12)"
	}
	return p.s.adding.leaving != nil
}

func pendingLeftOut(ctx context.Context, p *probe) {
	if p.left(ctx) {
		p.refused(ctx, "a commit that leaves out the pending removal", p.s.adding.commit)
	}
}

func whileLeaving(ctx context.Context, p *probe) {
	if !p.left(ctx) {
		return
	}
	o := p.s.adding.guest
	if a, _ := o.submit(ctx, p, "a message of who leaves", o.client.Post("I am going")); a != nil {
		p.that("a message of who leaves", a.Code == mimi.SubmitNotAllowed, "notAllowed (1)", fmt.Sprint(a.Code))
	}
	refused := func(what string, body []byte) {
		if a, _ := o.update(ctx, p, what, body); a != nil {
			p.that(what, a.Code == mimi.UpdateNotAllowed || a.Code == mimi.UpdateInvalidProposal, "notAllowed (2)", fmt.Sprint(a.Code))
		}
	}
	refused("an Update of who leaves", o.client.Propose(mls.Proposal{Type: mls.ProposalTypeUpdate}))
	refused("a commit of who leaves", o.client.Commit())
	o.client.Drop()
	if a, _ := o.update(ctx, p, "the same leave again", p.s.adding.leaving); a != nil {
		p.that("the same leave again", a.Code == mimi.UpdateSuccess, "success (0)", fmt.Sprint(a.Code))
	}
}

// joins makes the external commit of a new client of our user, with what is pending or
// without.
func (p *probe) joins(ctx context.Context, device string, with bool) []byte {
	s, g := p.s, p.s.guest
	c := s.client("guest", device)
	body, private := s.groupInfoRequest(c, nil)
	a := p.info(ctx, "a new client of our user", g.uri, body)
	if a == nil || a.Status != mimi.GroupInfoSuccess {
		return nil
	}
	content, err := a.Open(private)
	must(err)
	var selfRemoves []*mls.PublicMessage
	for i := range content.PendingProposals {
		if m := content.PendingProposals[i].Proposal.Public; with && m.Content.Proposal.Type == mls.ProposalTypeSelfRemove {
			selfRemoves = append(selfRemoves, m)
		}
	}
	p.that("proposals pending in the answer", len(content.PendingProposals) > 0, "those of who leaves", "none")
	return c.JoinExternal(&content.GroupInfo, content.RatchetTree.Tree, selfRemoves...)
}

func joinWhilePending(ctx context.Context, p *probe) { p.step(ctx, "UPD-19", removes) }

func removes(ctx context.Context, p *probe) {
	if !p.left(ctx) {
		return
	}
	if body := p.joins(ctx, "hasty", false); body != nil {
		p.refused(ctx, "an external commit without the pending SelfRemove", body)
	}
	g, add := p.s.guest, p.s.adding
	// A message of before, so that what c is told of it can be seen (FAN-10).
	if a, _ := g.submit(ctx, p, "a message of ours", add.early); a != nil && a.Code == mimi.SubmitAccepted {
		p.s.until(ctx, func() bool { return g.announced(message(add.early)) != nil })
	}
	body := p.joins(ctx, "careful", true)
	if body == nil {
		return
	}
	if a, _ := g.update(ctx, p, "an external commit with it", body); a != nil {
		if p.that("an external commit with it", a.Code == mimi.UpdateSuccess, "success (0)", fmt.Sprintf("%d: %s", a.Code, a.Description)); a.Code == mimi.UpdateSuccess {
			add.external = commitIn(body)
			add.ext = g.told(ctx, p, "the external commit", add.external)
		}
	}
}

func madeAnew(ctx context.Context, p *probe) { p.step(ctx, "FAN-13", commitsTheRest) }

func commitsTheRest(ctx context.Context, p *probe) {
	p.step(ctx, "UPD-19", removes)
	g, add := p.s.guest, p.s.adding
	if add.ext == nil {
		p.Outcome, p.Reason = Skipped, "there was no external commit (UPD-19)"
		return
	}
	epoch := g.client.Group.Epoch()
	if len(add.ext.ExternalProposals) == 0 {
		p.Outcome, p.Reason = NotApplicable, "the hub makes none anew, which the policy of its room may forbid (RS-11)"
		return
	}
	for i := range add.ext.ExternalProposals {
		m := add.ext.ExternalProposals[i].Public
		p.that("a proposal made anew", m != nil && m.Content.Epoch == epoch, fmt.Sprintf("public, of epoch %d", epoch), fmt.Sprintf("%+v", m))
	}
	// Our client has verified them by following, and commits them.
	body, a, _ := g.commits(ctx, p)
	if a != nil && g.told(ctx, p, "a commit of what is pending", commitIn(body)) != nil {
		p.that("the list of participants", g.client.Participants().Index(add.guest.client.User) < 0, "without who left", "with it")
	}
}

func ofTheHub(ctx context.Context, p *probe) {
	p.step(ctx, "FAN-13", commitsTheRest)
	add := p.s.adding
	if add.ext == nil || len(add.ext.ExternalProposals) == 0 {
		p.Outcome, p.Reason = NotApplicable, "the hub had nothing to say of its own (FAN-13)"
		return
	}
	for i := range add.ext.ExternalProposals {
		m := add.ext.ExternalProposals[i].Public
		p.that("a proposal of the hub's", m != nil && m.Content.Sender.Type == mls.SenderTypeExternal, "by an external sender", fmt.Sprintf("%+v", m))
	}
}

func toldOfRemoval(ctx context.Context, p *probe) {
	p.step(ctx, "FAN-13", commitsTheRest)
	o, add := p.s.adding.guest, p.s.adding
	if add.external == nil {
		p.Outcome, p.Reason = Skipped, "nobody removed it (UPD-19)"
		return
	}
	o.told(ctx, p, "the commit that removes it", add.external)
	p.that("c's client", o.client.Group == nil, "removed from the group", "a member still")
}

func nothingMore(ctx context.Context, p *probe) {
	p.step(ctx, "FAN-13", commitsTheRest)
	g, o, add := p.s.guest, p.s.adding.guest, p.s.adding
	if add.external == nil {
		p.Outcome, p.Reason = Skipped, "nobody removed it (UPD-19)"
		return
	}
	if o.announced(message(add.early)) != nil {
		p.Reason = "but until the commit it is told what is posted, which the draft does not want"
	}
	before := len(o.seen())
	body, a, _ := g.posted(ctx, p, "a message after the removal")
	if a == nil || g.told(ctx, p, "a message after the removal", message(body)) == nil {
		return
	}
	p.equal("announcements to c since", before, len(o.seen()))
}

// betweenOthers are identities of one provider in the mouth of another, both in the room
// (SUB-5, UPD-12): c sends what b's user wrote.
func (p *probe) betweenOthers(ctx context.Context) {
	o := p.thirdOf(ctx)
	if o == nil {
		return
	}
	g := p.s.guest
	g.catchUp()
	o.catchUp()
	if a, _ := o.submit(ctx, p, "a message of b's user, sent by c", g.client.Post("in whose name?")); a != nil {
		p.that("a message of b's user, sent by c", a.Code == mimi.SubmitNotAllowed, "notAllowed (1)", fmt.Sprint(a.Code))
	}
	body := g.client.Commit()
	g.client.Drop()
	r, err := o.s.ask(ctx, mimi.EndpointUpdate, string(o.uri), body)
	if p.answered("a commit of b's user, sent by c", r, err, 200, 403) && r.Status == 200 {
		a, err := mimi.ParseUpdateRoomResponse(r.Body)
		p.that("a commit of b's user, sent by c", err == nil && a.Code == mimi.UpdateNotAllowed, "notAllowed (2)", fmt.Sprint(a, err))
	}
}

// clone is a client that may try what shall leave no trace in the real one: groups are
// values.
func clone(c *roomtest.Client) *roomtest.Client {
	o := *c
	return &o
}
