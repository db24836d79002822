package policy

import (
	"fmt"
	"slices"

	"hubbub/mimi"
	"hubbub/mls"
)

// StateOf reads the policy and the members of a room from its group. Leaves are taken
// at their word: their credentials were checked when they entered. The cost is linear
// in the members. The error wraps [ErrMalformed], [mimi.ErrMalformed] or
// [mimi.ErrBadCredential].
func StateOf(room mimi.RoomURI, g *mls.PublicGroup) (*State, error) {
	members, err := membersOf(g, nil)
	if err != nil {
		return nil, err
	}
	return NewState(room, g.Dictionary(), members)
}

// EffectiveState is the room as it will be once everything pending in its group is
// committed, except that clients about to be added do not count yet (D-26, RS-3). The
// error wraps [mimi.ErrBadUpdate] if what is pending cannot be committed together.
func EffectiveState(room mimi.RoomURI, g *mls.PublicGroup) (*State, error) {
	d, leaving, err := pendingData(g)
	if err != nil {
		return nil, err
	}
	members, err := membersOf(g, leaving)
	if err != nil {
		return nil, err
	}
	return NewState(room, d, members)
}

// prospectiveState is EffectiveState with the clients about to be added.
func prospectiveState(room mimi.RoomURI, g *mls.PublicGroup) (*State, error) {
	s, err := EffectiveState(room, g)
	if err != nil {
		return nil, err
	}
	for _, c := range g.Cached() {
		if c.Proposal.Type != mls.ProposalTypeAdd {
			continue
		}
		id, err := mimi.ClaimedIdentity(&c.Proposal.Add.KeyPackage.LeafNode.Credential)
		if err != nil {
			return nil, err
		}
		s.Members = append(s.Members, id)
	}
	return s.indexed(), nil
}

// membersOf names the clients in a group, without those at the leaves given.
func membersOf(g *mls.PublicGroup, leaving map[mls.LeafIndex]bool) ([]mimi.Identity, error) {
	var members []mimi.Identity
	for _, m := range g.Members() {
		id, err := mimi.ClaimedIdentity(&m.Leaf.Credential)
		if err != nil {
			return nil, fmt.Errorf("mimi/policy: leaf %d: %w", m.Index, err)
		}
		if !leaving[m.Index] {
			members = append(members, id)
		}
	}
	return members, nil
}

// pendingData applies what is pending to the application data, and says which leaves
// are about to be removed. Like a commit, it takes either one removal of a component or
// updates of it (EXT-6).
func pendingData(g *mls.PublicGroup) (*mls.AppDataDictionary, map[mls.LeafIndex]bool, error) {
	d, leaving := g.Dictionary(), make(map[mls.LeafIndex]bool)
	updates, removed := make(map[mls.ComponentID][][]byte), make(map[mls.ComponentID]bool)
	for _, c := range g.Cached() {
		switch p := c.Proposal; p.Type {
		case mls.ProposalTypeAppDataUpdate:
			u := p.AppDataUpdate
			remove := u.Op == mls.AppDataUpdateOpRemove
			if removed[u.Component] || remove && updates[u.Component] != nil {
				return nil, nil, fmt.Errorf("%w: component %v is to be removed and changed", mimi.ErrBadUpdate, u.Component)
			}
			if removed[u.Component] = remove; !remove {
				updates[u.Component] = append(updates[u.Component], u.Data)
			}
		case mls.ProposalTypeRemove:
			leaving[p.Remove.Removed] = true
		case mls.ProposalTypeSelfRemove:
			leaving[c.Sender.LeafIndex] = true
		}
	}
	return d, leaving, applyPending(d, updates, removed)
}

// applyPending changes d. Components do not depend on each other, so the order does not
// matter.
func applyPending(d *mls.AppDataDictionary, updates map[mls.ComponentID][][]byte, removed map[mls.ComponentID]bool) error {
	logic := Components()
	for id, list := range updates {
		old, exists := d.Get(id)
		data, err := logic.Update(id, old, exists, list)
		if err != nil {
			return fmt.Errorf("mimi/policy: pending proposals: %w", err)
		}
		d.Set(id, data)
	}
	for id, gone := range removed {
		if !gone {
			continue
		}
		old, exists := d.Get(id)
		if !exists {
			return fmt.Errorf("%w: component %v is not there to be removed", mimi.ErrBadUpdate, id)
		}
		if err := logic.Remove(id, old); err != nil {
			return fmt.Errorf("mimi/policy: pending proposals: %w", err)
		}
		d.Delete(id)
	}
	return nil
}

// JudgeProposals says whether a bundle of verified proposals, all of one sender, is
// allowed in the room: its sender may ask for it, and it can be committed together with
// all that is pending. The latter matters because the next commit has to cover all of it
// (UPD-17): proposals that exclude each other would close the room. G is the group before
// they are cached. A refusal is a *[Denied]; any other error means that they make no
// sense, one that wraps [mimi.ErrBadUpdate] that they contradict each other or what is
// pending.
func JudgeProposals(room mimi.RoomURI, g *mls.PublicGroup, bundle ...*mls.CachedProposal) error {
	if len(bundle) == 0 {
		return nil
	}
	effective, err := EffectiveState(room, g)
	if err != nil {
		return err
	}
	list, err := component(g.Dictionary(), mimi.ComponentParticipantList, mimi.ParseParticipantList)
	if err != nil {
		return err
	}
	by, err := proposer(g, bundle[0])
	if err != nil {
		return err
	}
	if o := effective.Operational; o != nil && !o.ExternalProposalAllowed && by.Provider != room.Domain() &&
		bundle[0].Sender.Type != mls.SenderTypeMember {
		return denyAction(by.String(), "propose anything", "the room takes no external proposals")
	}
	var changes []Change
	for _, p := range bundle {
		if p.Sender != bundle[0].Sender {
			return deny("the proposals of one bundle are not all of one sender")
		}
		more, err := ChangesOf(p.Proposal, p.Sender, list, leavesOf(g))
		if err != nil {
			return err
		}
		changes = append(changes, more...)
	}
	if err := AuthorizeProposals(effective, by, changes); err != nil {
		return err
	}
	return checkCommittable(room, g, bundle)
}

// checkCommittable judges the room that committing everything pending would lead to.
func checkCommittable(room mimi.RoomURI, g *mls.PublicGroup, bundle []*mls.CachedProposal) error {
	was, err := StateOf(room, g)
	if err != nil {
		return err
	}
	for _, p := range bundle {
		g = g.WithProposal(p)
	}
	is, err := prospectiveState(room, g)
	if err != nil {
		return err
	}
	return Transition(was, is)
}

// JudgeCommit says whether a verified commit is allowed in the room. Before is the group
// it was made in, with the proposals it may refer to; those are not judged again. A
// refusal is a *[Denied]; any other error means that the commit makes no sense.
//
// Of an external commit by a join code only the hub knows that the code is good: it says
// so with [WithCode], and so do those who take its word.
func JudgeCommit(room mimi.RoomURI, before *mls.PublicGroup, c *mls.PublicCommit, options ...CommitOption) error {
	was, err := StateOf(room, before)
	if err != nil {
		return err
	}
	effective, err := EffectiveState(room, before)
	if err != nil {
		return err
	}
	is, err := StateOf(room, c.Next)
	if err != nil {
		return err
	}
	committer, err := mimi.ClaimedIdentity(&c.CommitterLeafNode.Credential)
	if err != nil {
		return err
	}
	changes, err := byValue(before, was.Participants, c, committer)
	if err != nil {
		return err
	}
	if err := checkIdentities(was, is, c, committer); err != nil {
		return err
	}
	if err := checkExtensions(room, c.Next); err != nil {
		return err
	}
	by := Actor{User: committer.User, Credential: c.CommitterLeafNode.Credential.Type}
	for _, o := range options {
		o(&by)
	}
	if o := effective.Operational; o != nil && c.External && !o.ExternalCommitAllowed {
		return denyAction(by.String(), "join", "the room takes no external commits")
	}
	commit := Commit{Before: was, Effective: effective, After: is, Committer: by, ByValue: changes}
	return commit.Authorize()
}

// A CommitOption tells [JudgeCommit] what a commit does not show.
type CommitOption func(*Actor)

// WithCode says that the committer has shown a join code that [JoinLinkPolicy.Admits].
func WithCode() CommitOption { return func(a *Actor) { a.Code = true } }

// byValue collects what the committer asks for itself.
func byValue(before *mls.PublicGroup, list *mimi.ParticipantListData, c *mls.PublicCommit, committer mimi.Identity) ([]Change, error) {
	var changes []Change
	if c.External {
		changes = append(changes, AddClient{Identity: committer, External: true})
	}
	for i := range c.Proposals {
		p := &c.Proposals[i]
		if !p.ByValue {
			continue
		}
		more, err := ChangesOf(p.Proposal, p.Sender, list, leavesOf(before))
		if err != nil {
			return nil, err
		}
		for _, x := range more {
			if r, ok := x.(RemoveClient); ok && c.External && r.Identity != committer {
				return nil, deny("%s may not remove any client but its own old one by joining", committer.User.Handle())
			}
		}
		changes = append(changes, more...)
	}
	return changes, nil
}

// checkExtensions demands that the hub can still propose (RS-6) and that the members
// still have to understand the room's own data and how it changes (H53): without that,
// a new set of extensions could rewrite the data unseen (EXT-9).
func checkExtensions(room mimi.RoomURI, next *mls.PublicGroup) error {
	required, err := next.Context().Extensions.RequiredCapabilities()
	if err != nil {
		return err
	}
	if required == nil || !slices.Contains(required.Extensions, mls.ExtensionTypeAppDataDictionary) ||
		!slices.Contains(required.Proposals, mls.ProposalTypeAppDataUpdate) {
		return deny("the group would no longer require what the room is made of")
	}
	for _, s := range next.ExternalSenders() {
		if d, err := mimi.ProviderIdentity(&s.Credential); err == nil && d == room.Domain() {
			return nil
		}
	}
	return deny("the hub would no longer be an external sender")
}

// checkIdentities demands that the members afterwards are those before, without the
// removed and with the added: no leaf has become somebody else's (ID-5, H43).
func checkIdentities(was, is *State, c *mls.PublicCommit, committer mimi.Identity) error {
	count := make(map[mimi.Identity]int)
	for _, m := range was.Members {
		count[m]++
	}
	for _, r := range c.Removed {
		id, err := mimi.ClaimedIdentity(&r.Leaf.Credential)
		if err != nil {
			return err
		}
		count[id]--
	}
	for _, a := range c.Adds {
		id, err := mimi.ClaimedIdentity(&a.KeyPackage.LeafNode.Credential)
		if err != nil {
			return err
		}
		count[id]++
	}
	if c.External {
		count[committer]++
	}
	for _, m := range is.Members {
		if count[m]--; count[m] < 0 {
			return deny("a client of %s would take over another's place", m.User.Handle())
		}
	}
	return nil
}

// proposer is who stands behind a proposal.
func proposer(g *mls.PublicGroup, p *mls.CachedProposal) (Actor, error) {
	switch p.Sender.Type {
	case mls.SenderTypeMember:
		id, err := leavesOf(g)(p.Sender.LeafIndex)
		if err != nil {
			return Actor{}, err
		}
		return Actor{User: id.User, Credential: g.Leaf(p.Sender.LeafIndex).Credential.Type}, nil
	case mls.SenderTypeExternal:
		senders := g.ExternalSenders()
		if uint64(p.Sender.SenderIndex) >= uint64(len(senders)) {
			return Actor{}, fmt.Errorf("%w: no such external sender", mimi.ErrMalformed)
		}
		credential := &senders[p.Sender.SenderIndex].Credential
		d, err := mimi.ProviderIdentity(credential)
		return Actor{Provider: d, Credential: credential.Type}, err
	case mls.SenderTypeNewMemberProposal:
		if p.Proposal.Add != nil {
			credential := &p.Proposal.Add.KeyPackage.LeafNode.Credential
			id, err := mimi.ClaimedIdentity(credential)
			return Actor{User: id.User, Credential: credential.Type}, err
		}
	}
	return Actor{}, fmt.Errorf("%w: a proposal nobody may send", mimi.ErrMalformed)
}

// leavesOf names the client at each leaf of a group.
func leavesOf(g *mls.PublicGroup) func(mls.LeafIndex) (mimi.Identity, error) {
	return func(i mls.LeafIndex) (mimi.Identity, error) {
		leaf := g.Leaf(i)
		if leaf == nil {
			return mimi.Identity{}, fmt.Errorf("%w: no client at leaf %d", mimi.ErrMalformed, i)
		}
		return mimi.ClaimedIdentity(&leaf.Credential)
	}
}
