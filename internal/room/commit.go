package room

import (
	"bytes"
	"slices"

	"hubbub/mimi"
	"hubbub/mimi/policy"
	"hubbub/mls"
	"hubbub/mls/wire"
)

// submitCommit is the hub's decision on a commit with its bundle.
func (s State) submitCommit(env *Env, in *Handshake, timestamp uint64) (State, Effects, error) {
	c, next, eff, err := s.commit(env, &in.bundle.Message, in.Peer, in.Code)
	if err != nil {
		return s, Effects{}, err
	}
	if err := env.checkEnvelope(s.view.now, next.view.now); err != nil {
		return s, Effects{}, err
	}
	if next.groupInfo, err = c.groupInfo(&in.bundle.GroupInfo); err != nil {
		return s, Effects{}, err
	}
	if err := c.checkTree(&in.bundle.RatchetTree); err != nil {
		return s, Effects{}, err
	}
	if eff.Welcome, err = c.welcome(in.bundle.Welcome, timestamp); err != nil {
		return s, Effects{}, err
	}
	f := mimi.FanoutMessage{Timestamp: timestamp, Message: in.bundle.Message}
	if f.ExternalProposals, err = c.renewals(env, &next); err != nil {
		return s, Effects{}, err
	}
	if next, err = c.renew(next, f.Proposals(), timestamp); err != nil {
		return s, Effects{}, err
	}
	body, err := f.Marshal()
	if err != nil {
		return s, Effects{}, err
	}
	next = next.append(&eff, Entry{Timestamp: timestamp, Kind: KindCommit, Body: body, MessageHash: in.hash})
	return next, eff, nil
}

// announceCommit takes a commit from the hub's log, with the proposals the hub
// renewed for the new epoch (FAN-13).
func (s State) announceCommit(env *Env, in *Announcement) (State, Effects, error) {
	c, next, eff, err := s.commit(env, &in.message.Message, "", true) // of codes the hub alone knows
	if err != nil {
		return s, Effects{}, err
	}
	next.groupInfo = nil // it travels to the hub only
	if next, err = c.renew(next, in.message.Proposals(), in.message.Timestamp); err != nil {
		return s, Effects{}, err
	}
	next = next.append(&eff, in.entry(KindCommit))
	return next, eff, nil
}

// commit is one commit on its way through the rules.
type commit struct {
	*mls.PublicCommit
	before *State
	by     actor
	code   bool // who joins has shown a good code, or may have
	list   []proposed
}

// commit applies a commit to the State: what hub and follower check alike.
func (s State) commit(env *Env, m *mls.Message, peer mimi.Domain, code bool) (*commit, State, Effects, error) {
	by, err := s.checkHandshake(env, m, peer)
	if err != nil {
		return nil, s, Effects{}, err
	}
	if s.onTheWayOut(by) {
		return nil, s, Effects{}, refuse(NotAllowed, "the sender is about to leave")
	}
	public, err := s.group.Commit(m.Public)
	if err != nil {
		return nil, s, Effects{}, classify(err)
	}
	c := &commit{PublicCommit: public, before: &s, by: by, code: code, list: resolvedProposals(public)}
	if err := c.check(env); err != nil {
		return nil, s, Effects{}, err
	}
	next, eff, err := c.next(env, env.limits(peer == ""))
	return c, next, eff, err
}

// check is the policy half: rights, completeness and identities.
func (c *commit) check(env *Env) error {
	if err := c.checkComplete(); err != nil {
		return err
	}
	if c.External {
		if err := c.checkExternal(); err != nil {
			return err
		}
	} else if c.HasPath {
		if err := c.before.checkSameIdentity(env, c.by, c.CommitterLeafNode); err != nil {
			return err
		}
	}
	for i := range c.list {
		if p := &c.list[i]; p.ref == nil { // the others were judged when they were accepted
			if err := c.before.checkProposal(env, p.Proposal, c.by); err != nil {
				return err
			}
		}
	}
	return nil
}

// authorise asks the room's policy about what the committer does by itself, and
// about the room that results.
func (c *commit) authorise(after *State) error {
	var changes []policy.Change
	committer := mimi.Identity{User: c.by.user, Client: c.by.client}
	if c.External {
		changes = append(changes, policy.AddClient{Identity: committer, External: true})
	}
	for i := range c.list {
		p := &c.list[i]
		if p.ref != nil {
			continue
		}
		more, err := policy.ChangesOf(p.Proposal, p.sender, c.before.view.now.Participants, c.before.identityAt)
		if err != nil {
			return classify(err)
		}
		changes = append(changes, more...)
	}
	judged := policy.Commit{
		Before: c.before.view.now, Effective: c.before.view.effective, After: after.view.now,
		Committer: policy.Actor{User: c.by.user, Credential: c.CommitterLeafNode.Credential.Type}, ByValue: changes,
	}
	err := judged.Authorize()
	if err != nil && c.External && c.code {
		judged.Committer.Code = true
		err = judged.Authorize()
	}
	if err != nil {
		return classify(err)
	}
	return nil
}

func (s *State) identityAt(leaf mls.LeafIndex) (mimi.Identity, error) {
	m, ok := s.member(leaf)
	if !ok {
		return mimi.Identity{}, refuse(NotAllowed, "a proposal names an empty leaf")
	}
	return mimi.Identity{User: m.User, Client: m.Client}, nil
}

// checkComplete demands that the commit covers what is pending (UPD-17, UPD-19).
func (c *commit) checkComplete() error {
	covered := map[string]bool{}
	for i := range c.list {
		covered[string(c.list[i].ref)] = true
	}
	for _, p := range c.before.group.Committable(c.Sender) {
		if !covered[string(p.Ref)] {
			return refuse(NotAllowed, "the commit leaves out pending proposals")
		}
	}
	return nil
}

// checkExternal holds a joiner to what joining takes (MLSD-7, POL-41, H45).
func (c *commit) checkExternal() error {
	s := c.before
	if o := s.view.effective.Operational; o != nil && !o.ExternalCommitAllowed {
		return refuse(NotAllowed, "the room takes no external commits")
	}
	// One who is not listed may bring himself: the policy says whether.
	if s.view.now.Participants.Role(c.by.user) != policy.Outside && !s.MayJoin(c.by.user) {
		return refuse(NotAllowed, "the joiner is not a participant who may add clients")
	}
	replaced := false
	for _, r := range c.Removed {
		m, ok := s.member(r.Index)
		if !ok {
			continue
		}
		if bySelf := slices.ContainsFunc(c.list, func(p proposed) bool {
			return p.Type == mls.ProposalTypeSelfRemove && p.sender.LeafIndex == r.Index
		}); bySelf {
			continue
		}
		if m.Client != c.by.client {
			return refuse(NotAllowed, "a joiner may remove nothing but its own old leaf")
		}
		replaced = true
	}
	for _, m := range s.members {
		if m.Client == c.by.client && !replaced {
			return refuse(NotAllowed, "the client is in the group; it must remove its old leaf")
		}
	}
	return nil
}

// next is the State after the commit, and what changed, once the result has
// been found consistent.
func (c *commit) next(env *Env, l Limits) (State, Effects, error) {
	s := *c.before
	s.group, s.pending = c.Next, nil
	var err error
	if s.members, err = c.members(env); err != nil {
		return s, Effects{}, err
	}
	if s, err = s.derive(); err != nil {
		return s, Effects{}, refuse(NotAllowed, "the commit leaves a room that is not well formed")
	}
	if err := c.authorise(&s); err != nil {
		return s, Effects{}, err
	}
	if err := s.checkConsistent(l, c.before); err != nil {
		return s, Effects{}, err
	}
	eff := Effects{StateChanged: true}
	if !slices.Equal(c.before.view.committed, s.view.committed) {
		eff.Participants = s.view.committed
	}
	if eff.Changes, err = c.changes(env, &s, &eff); err != nil {
		return s, Effects{}, err
	}
	return s, eff, nil
}

// members is who holds which leaf afterwards.
func (c *commit) members(env *Env) ([]Member, error) {
	gone := map[mls.LeafIndex]bool{}
	for _, r := range c.Removed {
		gone[r.Index] = true
	}
	var list []Member
	for _, m := range c.before.members {
		if !gone[m.Leaf] {
			list = append(list, m)
		}
	}
	for _, a := range c.Adds {
		if err := c.before.checkLifetime(a.KeyPackage); err != nil {
			return nil, err
		}
		id, err := env.identify(&a.KeyPackage.LeafNode, c.before.clock)
		if err != nil {
			return nil, err
		}
		list = append(list, Member{Leaf: a.Index, User: id.User, Client: id.Client})
	}
	if c.External {
		list = append(list, Member{Leaf: c.CommitterLeaf, User: c.by.user, Client: c.by.client})
	}
	slices.SortFunc(list, func(a, b Member) int { return int(int64(a.Leaf) - int64(b.Leaf)) })
	return list, nil
}

// groupInfo checks the GroupInfo that comes with the commit, completes a
// partial one, and returns its octets (UPD-22 to UPD-24).
func (c *commit) groupInfo(option *mimi.GroupInfoOption) ([]byte, error) {
	gi := option.Full
	if p := option.Partial; p != nil {
		gi = &mls.GroupInfo{
			GroupContext: *c.Next.Context(), Extensions: p.Extensions,
			ConfirmationTag: c.ConfirmationTag, Signer: c.CommitterLeaf, Signature: p.Signature,
		}
	}
	if err := c.VerifyGroupInfo(gi); err != nil {
		return nil, refuse(NotAllowed, "the GroupInfo does not match the commit")
	}
	if _, ok := gi.Extensions.Find(mls.ExtensionTypeExternalPub); !ok {
		return nil, refuse(NotAllowed, "the GroupInfo lacks external_pub")
	}
	return wire.Marshal(gi)
}

// checkTree checks the tree that comes with the commit against the one that
// follows from it. The hub can always rebuild it, so it need not be there.
func (c *commit) checkTree(option *mimi.RatchetTreeOption) error {
	switch option.Representation {
	case mimi.TreeDistributionService:
		return nil
	case mimi.TreeFull:
		want, err := wire.Marshal(c.Next.Tree())
		if err != nil {
			return err
		}
		have, err := wire.Marshal(option.Tree)
		if err == nil && bytes.Equal(want, have) {
			return nil
		}
		return refuse(NotAllowed, "the ratchet tree does not match the commit")
	}
	return refuse(NotAllowed, "the ratchet tree has to be in the bundle, or left to the hub")
}

// welcome checks that the Welcome is for exactly those the commit adds
// (UPD-21), and wraps it for them.
func (c *commit) welcome(w *mls.Welcome, timestamp uint64) (*Welcome, error) {
	if len(c.Adds) == 0 {
		if w != nil {
			return nil, refuse(NotAllowed, "a Welcome without anybody added")
		}
		return nil, nil
	}
	if w == nil {
		return nil, refuse(NotAllowed, "the Welcome is missing")
	}
	named := map[string]bool{}
	for _, s := range w.Secrets {
		named[string(s.NewMember)] = true
	}
	if len(named) != len(w.Secrets) || len(named) != len(c.Adds) || w.CipherSuite != c.Next.Suite() {
		return nil, refuse(NotAllowed, "the Welcome does not match those who are added")
	}
	out := &Welcome{}
	for _, a := range c.Adds {
		if !named[string(a.Ref)] {
			return nil, refuse(NotAllowed, "the Welcome does not match those who are added")
		}
		id, err := mimi.ClaimedIdentity(&a.KeyPackage.LeafNode.Credential) // verified above
		if err != nil {
			return nil, err
		}
		out.Recipients = append(out.Recipients, Recipient{Ref: a.Ref, User: id.User, Client: id.Client})
	}
	f := mimi.FanoutMessage{
		Timestamp: timestamp, Message: *mls.NewMessage(w),
		RatchetTree: mimi.RatchetTreeOption{Representation: mimi.TreeFull, Tree: c.Next.Tree()},
	}
	var err error
	out.Body, err = f.Marshal()
	return out, err
}
