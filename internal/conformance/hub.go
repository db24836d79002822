package conformance

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"hubbub/internal/fakepeer"
	"hubbub/mimi"
	"hubbub/mimi/policy"
	"hubbub/mls"
)

var needsGuest = []string{needDirectory, needGuest}

// In these the target is the hub, and we are a follower. Their order is that of a
// room's life: what ends our part in it comes last.
var hubChecks = slices.Concat([]check{
	{id: "FAN-4", what: "the Welcome, with what it takes to join", needs: needsGuest, run: joined},
	{id: "FAN-15", what: "a new provider hears the Welcome first, not the commit", needs: needsGuest, run: welcomeFirst},
	{id: "KM-2", what: "key material is asked for by the hub, signed by its client", needs: needsGuest, run: claimsOfTarget},
	{id: "SUB-1", what: "only application messages are submitted", needs: needsGuest, run: otherFormats},
	{id: "SUB-2", what: "of the room's group", needs: needsGuest, run: otherGroup},
	{id: "SUB-3", what: "by a participant", needs: needsGuest, run: notParticipant},
	{id: "SUB-5", what: "of the submitting provider", needs: needsGuest, run: foreignSender},
	{id: "SUB-7", what: "what is accepted says when", needs: needsGuest, run: accepted},
	{id: "SUB-9", what: "the octets are forwarded unchanged", needs: needsGuest, run: unchanged},
	{id: "SUB-12", what: "a repeat gets the first answer", needs: needsGuest, run: submittedTwice},
	{id: "FAN-2", what: "the submitting provider is told, too", needs: needsGuest, run: unchanged},
	{id: "FAN-16", what: "the time announced is the time answered", needs: needsGuest, run: sameTime},
	{id: "FAN-7", what: "what is not taken is announced again, not before Retry-After", needs: needsGuest, run: retryAfter},
	{id: "FAN-9", what: "with the same octets", needs: needsGuest, run: sameOctets},
	{id: "TRN-10", what: "Retry-After is honoured, and failures are tried again", needs: needsGuest, run: retryAfter},
	{id: "FAN-14", what: "in one order, commits before messages of their epoch", needs: needsGuest, run: inOrder},
}, groupInfoChecks, updateChecks)

func joined(_ context.Context, p *probe) {
	g := p.s.guest
	p.that("the Welcome", g.client.Group != nil, "a group that our client can join", "none")
	p.that("the participant list", g.client.Participants().Index(g.client.User) >= 0, "our user in it", "not in it")
}

func welcomeFirst(_ context.Context, p *probe) {
	g := p.s.guest
	for _, n := range g.seen() {
		for i := range n.list {
			f := &n.list[i]
			if f.Kind() == mimi.FanoutCommit && f.Message.Public.Content.Epoch < g.client.Group.Epoch() && n.at.Before(g.seen()[0].at) {
				p.failed("before the Welcome", "nothing", "a commit")
			}
		}
	}
	first := g.seen()[0]
	p.that("the first announcement", isWelcome(&first.list[0]), "a Welcome", first.list[0].Kind().String())
}

func claimsOfTarget(_ context.Context, p *probe) {
	p.that("requests for key material", len(p.s.guest.claims) > 0, "at least one", "none")
	for _, c := range p.s.guest.claims {
		p.that("a request for key material", c.err == nil, "a valid signature, in the name of a user of the target", fmt.Sprint(c.err))
	}
}

func otherFormats(ctx context.Context, p *probe) {
	g := p.s.guest
	body := append([]byte{1}, commitIn(p.s.sample(mimi.EndpointUpdate).body)...)
	body = append(append(body, byte(len(g.client.User))), g.client.User...)
	r, err := p.s.ask(ctx, mimi.EndpointSubmitMessage, string(g.uri), body)
	p.answered("a commit as a message", r, err, 400)
	r, err = p.s.ask(ctx, mimi.EndpointUpdate, string(g.uri), message(g.client.Post("x")))
	p.answered("a message as an update", r, err, 400)
}

func (p *probe) notAllowed(ctx context.Context, what string, body []byte) {
	if a, _ := p.s.guest.submit(ctx, p, what, body); a != nil {
		p.that(what, a.Code == mimi.SubmitNotAllowed, "notAllowed (1)", fmt.Sprint(a.Code))
	}
}

func otherGroup(ctx context.Context, p *probe) {
	g := p.s.guest
	req, err := mimi.ParseSubmitMessageRequest(bytes.Clone(p.s.sample(mimi.EndpointSubmitMessage).body))
	must(err)
	req.Sender = g.client.User
	p.notAllowed(ctx, "a message of another group", marshal(req))
}

// from is a message of ours with another name on it.
func (g *guest) from(sender mimi.UserURI) []byte {
	req, err := mimi.ParseSubmitMessageRequest(g.client.Post("in whose name?"))
	must(err)
	req.Sender = sender
	return marshal(req)
}

func notParticipant(ctx context.Context, p *probe) {
	p.notAllowed(ctx, "by a user of ours who is not in the room", p.s.guest.from(p.s.client("stranger", "phone").User))
}

func foreignSender(ctx context.Context, p *probe) {
	g := p.s.guest
	host := g.client.Participants().Participants[0].User
	p.notAllowed(ctx, "by the user who invited us", g.from(host))
	p.notAllowed(ctx, "by a user of nobody here", g.from("mimi://elsewhere.example/u/x"))
	p.betweenOthers(ctx)
}

// posted submits a message and expects it to be accepted.
func (g *guest) posted(ctx context.Context, p *probe, text string) (body []byte, a *mimi.SubmitMessageResponse, r *fakepeer.Reply) {
	g.catchUp()
	body = g.client.Post(text)
	a, r = g.submit(ctx, p, text, body)
	if a != nil {
		p.that(text, a.Code == mimi.SubmitAccepted, "accepted (0)", fmt.Sprint(a.Code))
	}
	return body, a, r
}

func accepted(ctx context.Context, p *probe) {
	_, a, r := p.s.guest.posted(ctx, p, "a message")
	if a == nil {
		return
	}
	distance := time.Since(time.UnixMilli(int64(a.Timestamp))).Abs()
	p.that("its time", distance < 24*time.Hour, "about now, in ms since 1970", fmt.Sprint(a.Timestamp))
	if a.Frank == nil {
		p.equal("octets of the answer without a frank", 11, len(r.Body))
	}
}

func unchanged(ctx context.Context, p *probe) {
	g := p.s.guest
	body, a, _ := g.posted(ctx, p, "a message that comes back")
	if a != nil {
		g.told(ctx, p, "our own message", message(body))
	}
}

func submittedTwice(ctx context.Context, p *probe) {
	g := p.s.guest
	body, a, first := g.posted(ctx, p, "a message sent twice")
	if a == nil {
		return
	}
	for range 2 {
		if _, again := g.submit(ctx, p, "the same again", body); again != nil {
			p.equal("the answer", fmt.Sprintf("%x", first.Body), fmt.Sprintf("%x", again.Body))
		}
	}
	marker, a, _ := g.posted(ctx, p, "what comes after it")
	if a == nil || g.told(ctx, p, "what comes after it", message(marker)) == nil {
		return
	}
	count := 0
	for _, n := range g.seen() {
		for i := range n.list {
			if n.ok && bytes.Equal(n.list[i].Message.Raw, message(body)) {
				count++
			}
		}
	}
	p.equal("how often it was announced", 1, count)
}

func sameTime(ctx context.Context, p *probe) {
	g := p.s.guest
	body, a, _ := g.posted(ctx, p, "a message with a time")
	if a == nil {
		return
	}
	if f := g.told(ctx, p, "the message", message(body)); f != nil {
		p.equal("its time", a.Timestamp, f.Timestamp)
	}
}

// refusedOnce has the next announcement refused and gives both attempts.
func (g *guest) refusedOnce(ctx context.Context, p *probe, with http.HandlerFunc, text string) (first, again note) {
	g.fail(with)
	before := len(g.seen())
	body, a, _ := g.posted(ctx, p, text)
	if a == nil {
		return
	}
	if g.told(ctx, p, text, message(body)) == nil {
		return
	}
	list := g.seen()[before:]
	p.that("attempts", len(list) >= 2, "two", fmt.Sprint(len(list)))
	if len(list) < 2 {
		return
	}
	return list[0], list[1]
}

func later(seconds string) http.HandlerFunc {
	return fakepeer.Answer(http.StatusServiceUnavailable, map[string]string{"Retry-After": seconds}, nil)
}

func retryAfter(ctx context.Context, p *probe) {
	first, again := p.s.guest.refusedOnce(ctx, p, later("1"), "a message that we cannot take for a second")
	if again.body != nil {
		wait := again.at.Sub(first.at)
		p.that("the next attempt", wait >= 990*time.Millisecond, "after a second or more", wait.String())
	}
}

func sameOctets(ctx context.Context, p *probe) {
	first, again := p.s.guest.refusedOnce(ctx, p, fakepeer.Status(http.StatusInternalServerError), "a message that we fail to take")
	p.that("the second attempt", bytes.Equal(first.body, again.body), fmt.Sprintf("the %d octets of the first", len(first.body)), fmt.Sprintf("%d octets", len(again.body)))
}

func inOrder(_ context.Context, p *probe) {
	last := uint64(0)
	for _, n := range p.s.guest.seen() {
		for i := range n.list {
			if f := &n.list[i]; n.ok && !isWelcome(f) {
				p.that("times of the log", f.Timestamp >= last, fmt.Sprint("at least ", last), fmt.Sprint(f.Timestamp))
				last = f.Timestamp
			}
		}
	}
}

var updateChecks = []check{
	{id: "UPD-2", what: "an update is a handshake that the hub can read", needs: needsGuest, run: notHandshakes},
	{id: "UPD-3", what: "a commit comes with its three parts", needs: needsGuest, run: missingParts},
	{id: "UPD-4", what: "the tree is not in the GroupInfo", needs: needsGuest, run: embeddedTree},
	{id: "UPD-6", what: "components are not changed through extensions", needs: needsGuest, run: editedExtensions},
	{id: "UPD-7", what: "a user is listed before its clients are added", needs: needsGuest, run: unlisted},
	{id: "UPD-21", what: "the Welcome is for those who are added", needs: needsGuest, run: wrongWelcome},
	{id: "UPD-22", what: "the GroupInfo is that of the commit", needs: needsGuest, run: wrongGroupInfo},
	{id: "UPD-12", what: "what policy forbids is notAllowed", needs: needsGuest, run: forbidden},
	{id: "UPD-14", what: "what is accepted says when, and is announced so", needs: needsGuest, run: committed},
	{id: "UPD-11", what: "a commit of a past epoch is told the current one", needs: needsGuest, run: pastEpoch},
	{id: "UPD-27", what: "a repeat gets the first answer", needs: needsGuest, run: updatedTwice},
	{id: "SUB-6", what: "messages of other epochs", needs: needsGuest, run: otherEpochs},
	{id: "UPD-5", what: "a bundle of proposals is taken whole or not at all", needs: needsGuest, run: badBundle},
	{id: "UPD-8", what: "removal from list and group together", needs: needsGuest, run: listAlone},
	{id: "UPD-13", what: "offending proposals are named", needs: needsGuest, run: unknownReference},
	{id: "UPD-16", what: "the order of the checks", needs: needsGuest, run: orderOfChecks},
	{id: "UPD-23", what: "partial GroupInfo", needs: needsGuest, run: partialGroupInfo},
	{id: "UPD-28", what: "the first state of a room has what it needs", needs: needsGuest, run: firstState},
}

// lastChecks end our part in the room.
var lastChecks = []check{
	{id: "UPD-18", what: "leaving", needs: needsGuest, run: leaving},
	{id: "UPD-9", what: "who has left posts nothing more", needs: needsGuest, run: afterLeaving},
}

func notHandshakes(ctx context.Context, p *probe) {
	g := p.s.guest
	kp := marshal(&mls.Message{Version: mls.MLS10, WireFormat: mls.WireFormatKeyPackage, KeyPackage: g.client.KeyPackage()})
	for what, body := range map[string][]byte{"an application message": message(g.client.Post("x")), "a KeyPackage": kp} {
		r, err := p.s.ask(ctx, mimi.EndpointUpdate, string(g.uri), append(bytes.Clone(body), 0))
		p.answered(what, r, err, 400)
	}
}

func wrongGroupInfo(ctx context.Context, p *probe) {
	g := p.s.guest
	g.catchUp()
	defer g.client.Drop()
	for what, change := range map[string]func(*mls.GroupInfo){
		"another confirmation tag": func(gi *mls.GroupInfo) { gi.ConfirmationTag[0] ^= 1 },
		"another signer":           func(gi *mls.GroupInfo) { gi.Signer++ },
		"another signature":        func(gi *mls.GroupInfo) { gi.Signature[0] ^= 1 },
		"another epoch":            func(gi *mls.GroupInfo) { gi.GroupContext.Epoch++ },
	} {
		bundle, err := mimi.ParseHandshakeBundle(g.client.Commit())
		must(err)
		change(bundle.GroupInfo.Full)
		r, err := p.s.ask(ctx, mimi.EndpointUpdate, string(g.uri), marshal(bundle))
		if !p.answered(what, r, err, 200, 400) || r.Status == 400 {
			continue
		}
		a, err := mimi.ParseUpdateRoomResponse(r.Body)
		p.that(what, err == nil && a.Code == mimi.UpdateNotAllowed, "notAllowed (2)", fmt.Sprint(a, err))
	}
}

func missingParts(ctx context.Context, p *probe) {
	g := p.s.guest
	g.catchUp()
	defer g.client.Drop()
	body := g.client.Commit()
	n := len(commitIn(body))
	for what, b := range map[string][]byte{"the commit alone": body[:n], "no GroupInfo": body[:n+1], "no tree option": body[:len(body)-1]} {
		r, err := p.s.ask(ctx, mimi.EndpointUpdate, string(g.uri), b)
		p.answered(what, r, err, 400)
	}
}

// refused sends a commit that has to be turned down, in whichever way.
func (p *probe) refused(ctx context.Context, what string, body []byte) {
	r, err := p.s.ask(ctx, mimi.EndpointUpdate, string(p.s.guest.uri), body)
	if !p.answered(what, r, err, 200, 400) || r.Status == 400 {
		return
	}
	a, err := mimi.ParseUpdateRoomResponse(r.Body)
	p.that(what, err == nil && (a.Code == mimi.UpdateNotAllowed || a.Code == mimi.UpdateInvalidProposal),
		"notAllowed (2) or invalidProposal (3)", fmt.Sprint(a, err))
}

// changed is a commit of our client whose bundle was changed afterwards.
func (g *guest) changed(body []byte, change func(*mimi.HandshakeBundle)) []byte {
	bundle, err := mimi.ParseHandshakeBundle(bytes.Clone(body))
	must(err)
	change(bundle)
	return marshal(bundle)
}

func embeddedTree(ctx context.Context, p *probe) {
	g := p.s.guest
	g.catchUp()
	defer g.client.Drop()
	p.refused(ctx, "a GroupInfo with a tree in it", g.changed(g.client.Commit(), func(b *mimi.HandshakeBundle) {
		b.GroupInfo.Full.Extensions = b.GroupInfo.Full.Extensions.Set(mls.ExtensionTypeRatchetTree, marshal(g.client.Group.Tree()))
	}))
}

func editedExtensions(ctx context.Context, p *probe) {
	g := p.s.guest
	g.catchUp()
	defer g.client.Drop()
	ext := g.client.Group.Context().Extensions.Without(mls.ExtensionTypeExternalSenders)
	p.refused(ctx, "extensions without the hub as external sender", g.client.Commit(mls.Proposal{
		Type: mls.ProposalTypeGroupContextExtensions, GroupContextExtensions: &mls.GroupContextExtensions{Extensions: ext}}))
}

func unlisted(ctx context.Context, p *probe) {
	g := p.s.guest
	g.catchUp()
	defer g.client.Drop()
	kp := p.s.client("unlisted", "phone").KeyPackage()
	p.refused(ctx, "an Add of a client whose user is not listed", g.client.Commit(mls.Proposal{Type: mls.ProposalTypeAdd, Add: &mls.Add{KeyPackage: *kp}}))
}

func wrongWelcome(ctx context.Context, p *probe) {
	g := p.s.guest
	g.catchUp()
	defer g.client.Drop()
	add := g.client.Add(p.s.client("unwelcome", "phone").KeyPackage())
	p.refused(ctx, "an Add without a Welcome", g.changed(add, func(b *mimi.HandshakeBundle) { b.Welcome = nil }))
	other, err := mimi.ParseHandshakeBundle(bytes.Clone(g.client.Add(p.s.client("another", "phone").KeyPackage())))
	must(err)
	p.refused(ctx, "the Welcome of somebody else", g.changed(add, func(b *mimi.HandshakeBundle) { b.Welcome = other.Welcome }))
	p.refused(ctx, "a Welcome without an Add", g.changed(g.client.Commit(), func(b *mimi.HandshakeBundle) { b.Welcome = other.Welcome }))
}

func forbidden(ctx context.Context, p *probe) {
	g := p.s.guest
	g.catchUp()
	defer g.client.Drop()
	list := g.client.Participants().Participants
	host := list[0].User
	for what, proposals := range map[string][]mls.Proposal{
		"the guest removes the host": g.client.Removal(host),
		"the guest makes itself an owner": {listUpdate(&mimi.ParticipantListUpdate{ChangedRoles: []mimi.RoleChange{
			{UserIndex: uint32(g.client.Participants().Index(g.client.User)), Role: policy.Admin}}})},
	} {
		a, _ := g.update(ctx, p, what, g.client.Commit(proposals...))
		if a != nil {
			p.that(what, a.Code == mimi.UpdateNotAllowed, "notAllowed (2)", fmt.Sprint(a.Code))
		}
	}
}

func listUpdate(u *mimi.ParticipantListUpdate) mls.Proposal {
	b, err := u.Marshal()
	must(err)
	return mls.Proposal{Type: mls.ProposalTypeAppDataUpdate, AppDataUpdate: &mls.AppDataUpdate{
		Component: mimi.ComponentParticipantList, Op: mls.AppDataUpdateOpUpdate, Data: b}}
}

// commits posts a commit without proposals, which is everybody's right.
func (g *guest) commits(ctx context.Context, p *probe) (body []byte, a *mimi.UpdateRoomResponse, r *fakepeer.Reply) {
	g.catchUp()
	body = g.client.Commit()
	if a, r = g.update(ctx, p, "a commit", body); a != nil {
		p.that("a commit", a.Code == mimi.UpdateSuccess, "success (0)", fmt.Sprintf("%d: %s", a.Code, a.Description))
		if a.Code != mimi.UpdateSuccess {
			g.client.Drop()
			return body, nil, nil
		}
	}
	return body, a, r
}

func commitIn(body []byte) []byte {
	bundle, err := mimi.ParseHandshakeBundle(bytes.Clone(body))
	must(err)
	return bundle.Message.Raw
}

func committed(ctx context.Context, p *probe) {
	g := p.s.guest
	body, a, _ := g.commits(ctx, p)
	if a == nil {
		return
	}
	if f := g.told(ctx, p, "the commit", commitIn(body)); f != nil {
		p.equal("its time", a.Timestamp, f.Timestamp)
		p.equal("proposals made anew beside it", 0, len(f.ExternalProposals))
	}
}

func pastEpoch(ctx context.Context, p *probe) {
	g := p.s.guest
	g.catchUp()
	late := g.client.Commit()
	body, a, _ := g.commits(ctx, p)
	if a == nil {
		return
	}
	if g.told(ctx, p, "the commit", commitIn(body)) == nil {
		return
	}
	if a, _ := g.update(ctx, p, "another commit of the same epoch", late); a != nil {
		p.that("another commit of the same epoch", a.Code == mimi.UpdateWrongEpoch, "wrongEpoch (1)", fmt.Sprint(a.Code))
		p.equal("the current epoch", g.client.Group.Epoch(), a.CurrentEpoch)
	}
}

func updatedTwice(ctx context.Context, p *probe) {
	g := p.s.guest
	body, a, first := g.commits(ctx, p)
	if a == nil {
		return
	}
	g.told(ctx, p, "the commit", commitIn(body))
	if _, again := g.update(ctx, p, "the same again", body); again != nil {
		p.equal("the answer", fmt.Sprintf("%x", first.Body), fmt.Sprintf("%x", again.Body))
	}
}

func otherEpochs(ctx context.Context, p *probe) {
	g := p.s.guest
	g.catchUp()
	epoch := g.client.Group.Epoch()
	of := func(e uint64) []byte {
		req, err := mimi.ParseSubmitMessageRequest(g.client.Post("of another epoch"))
		must(err)
		m := *req.Message.Private
		m.Epoch = e
		req.Message.Private, req.Message.Raw = &m, nil
		return marshal(req)
	}
	p.notAllowed(ctx, "a message of an epoch to come", of(epoch+1))
	if a, _ := g.submit(ctx, p, "a message of the first epoch", of(0)); a != nil {
		p.that("a message of the first epoch", a.Code == mimi.SubmitEpochTooOld, "epochTooOld (2)", fmt.Sprint(a.Code))
		p.equal("the current epoch", epoch, a.CurrentEpoch)
	}
}

func leaving(ctx context.Context, p *probe) {
	g := p.s.guest
	g.catchUp()
	body := g.client.Leave()
	a, _ := g.update(ctx, p, "the proposals to leave", body)
	if a != nil {
		p.that("the proposals to leave", a.Code == mimi.UpdateSuccess, "success (0)", fmt.Sprintf("%d: %s", a.Code, a.Description))
	}
}

func afterLeaving(ctx context.Context, p *probe) {
	p.notAllowed(ctx, "a message after leaving", p.s.guest.client.Post("I am gone"))
}

// badBundle: the last of three proposals has a signature that does not hold; nothing of
// them may be pending afterwards, or the commit that follows would have to have it.
func badBundle(ctx context.Context, p *probe) {
	g := p.s.guest
	g.catchUp()
	bundle, err := mimi.ParseHandshakeBundle(clone(g.client).Leave())
	must(err)
	bad := *bundle.MoreProposals[len(bundle.MoreProposals)-1].Public
	bad.Auth.Signature = bytes.Clone(bad.Auth.Signature)
	bad.Auth.Signature[0] ^= 1
	bundle.MoreProposals[len(bundle.MoreProposals)-1] = mls.Message{Version: mls.MLS10, WireFormat: mls.WireFormatPublicMessage, Public: &bad}
	p.refused(ctx, "proposals of which the last has another signature", marshal(bundle))
	if body, a, _ := g.commits(ctx, p); a != nil {
		g.told(ctx, p, "a commit without any of them", commitIn(body))
	}
}

func listAlone(ctx context.Context, p *probe) {
	g := p.s.guest
	g.catchUp()
	defer g.client.Drop()
	p.refused(ctx, "a user taken off the list whose client stays", g.client.Commit(listUpdate(&mimi.ParticipantListUpdate{
		Removed: []uint32{uint32(g.client.Participants().Index(g.client.User))}})))
}

func unknownReference(ctx context.Context, p *probe) {
	g := p.s.guest
	g.catchUp()
	c := clone(g.client)
	next, _, err := c.Group.Propose(listUpdate(&mimi.ParticipantListUpdate{Added: []mimi.Participant{{User: p.s.userOf("x"), Role: policy.Member}}}), mls.ProposeOptions{})
	must(err)
	c.Group = next
	ref := next.PendingProposals()[0].Ref
	a, _ := g.update(ctx, p, "a commit of a proposal that the hub never had", c.Commit())
	if a == nil {
		return
	}
	p.that("its answer", a.Code == mimi.UpdateInvalidProposal, "invalidProposal (3)", fmt.Sprintf("%d: %s", a.Code, a.Description))
	if a.Code == mimi.UpdateInvalidProposal {
		p.equal("the proposals named", fmt.Sprintf("[%x]", ref), fmt.Sprintf("%x", a.InvalidProposals))
	}
}

// orderOfChecks sends what offends against two rules at once.
func orderOfChecks(ctx context.Context, p *probe) {
	g := p.s.guest
	g.catchUp()
	defer g.client.Drop()
	none := p.s.roomURI(p.s.target, "none")
	good := g.client.Commit()
	r, err := p.s.ask(ctx, mimi.EndpointUpdate, string(none), good[:len(good)-1])
	p.answered("malformed, and for a room that is not there", r, err, 400)
	past := func(change func(*mls.PublicMessage)) []byte {
		return g.changed(good, func(b *mimi.HandshakeBundle) {
			m := *b.Message.Public
			m.Content.Epoch = 0
			change(&m)
			b.Message.Public, b.Message.Raw = &m, nil
		})
	}
	r, err = p.s.ask(ctx, mimi.EndpointUpdate, string(none), past(func(*mls.PublicMessage) {}))
	p.answered("of a past epoch, and for a room that is not there", r, err, 404)
	body := past(func(m *mls.PublicMessage) {
		m.Auth.Signature = bytes.Clone(m.Auth.Signature)
		m.Auth.Signature[0] ^= 1
	})
	if a, _ := g.update(ctx, p, "of a past epoch, with another signature", body); a != nil {
		p.that("of a past epoch, with another signature", a.Code == mimi.UpdateWrongEpoch, "wrongEpoch (1)", fmt.Sprint(a.Code))
	}
}

func partialGroupInfo(ctx context.Context, p *probe) {
	g := p.s.guest
	g.catchUp()
	body := g.changed(g.client.Commit(), func(b *mimi.HandshakeBundle) {
		full := b.GroupInfo.Full
		b.GroupInfo = mimi.GroupInfoOption{Partial: &mimi.PartialGroupInfo{Extensions: full.Extensions, Signature: full.Signature}}
	})
	a, _ := g.update(ctx, p, "a commit with a partial GroupInfo", body)
	if a == nil {
		return
	}
	if !p.that("a commit with a partial GroupInfo", a.Code == mimi.UpdateSuccess, "success (0)", fmt.Sprintf("%d: %s", a.Code, a.Description)) {
		g.client.Drop()
		return
	}
	if g.told(ctx, p, "the commit", commitIn(body)) != nil {
		p.opened(ctx) // the GroupInfo that the hub made of it
	}
}

func firstState(_ context.Context, p *probe) {
	d := p.s.guest.client.Group.Public().Dictionary()
	for _, c := range []mls.ComponentID{mimi.ComponentParticipantList, mimi.ComponentRoomMetadata, mimi.ComponentRolesList,
		mimi.ComponentPreauthList, mimi.ComponentBaseRoomPolicy} {
		_, ok := d.Get(c)
		p.that(fmt.Sprintf("component %#04x of the group", uint16(c)), ok, "there", "not there")
	}
	_, ok := p.s.guest.client.Group.Context().Extensions.Find(mls.ExtensionTypeExternalSenders)
	p.that("external_senders", ok, "with the hub in it", "none")
	p.equal("the group's id", strings.Replace(string(p.s.guest.uri), "/r/", "/g/", 1), string(p.s.guest.client.Group.GroupID()))
}
