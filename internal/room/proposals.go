package room

import (
	"bytes"
	"errors"
	"slices"

	"hubbub/mimi"
	"hubbub/mimi/policy"
	"hubbub/mls"
)

// handshake is the hub's decision on a commit or on a bundle of proposals.
func (s State) handshake(env *Env, in *Handshake, timestamp uint64) (State, Effects, error) {
	s.clock.set(timestamp)
	if err := s.checkOperational(in.bundle); err != nil {
		return s, Effects{}, err
	}
	if in.bundle.IsCommit() {
		return s.submitCommit(env, in, timestamp)
	}
	list := in.bundle.Proposals()
	if first, ok := s.allPending(list); ok {
		return s, Effects{Repeat: first}, nil
	}
	f := mimi.FanoutMessage{Timestamp: timestamp, Message: in.bundle.Message, MoreProposals: in.bundle.MoreProposals}
	body, err := f.Marshal()
	if err != nil {
		return s, Effects{}, err
	}
	next, err := s.propose(env, list, in.Peer, timestamp)
	if err == nil { // the next commit would have to carry it
		err = env.checkEnvelope(s.view.effective, next.view.effective)
	}
	if err != nil {
		return s, Effects{}, err
	}
	eff := Effects{StateChanged: true}
	next = next.append(&eff, Entry{Timestamp: timestamp, Kind: KindProposal, Body: body, MessageHash: in.hash})
	return next, eff, nil
}

// dayMS is how far ahead of our clock a hub's may be.
const dayMS = 24 * 60 * 60 * 1000

// announce takes an entry of the hub's log, by the same rules.
func (s State) announce(env *Env, in *Announcement, nowMS uint64) (State, Effects, error) {
	timestamp := in.message.Timestamp
	if timestamp == 0 || timestamp > nowMS+dayMS {
		return s, Effects{}, refuse(BadTimestamp, "the timestamp is out of range")
	}
	s.clock.set(timestamp)
	switch in.message.Kind() {
	case mimi.FanoutApplication:
		return s.announceMessage(in)
	case mimi.FanoutCommit:
		return s.announceCommit(env, in)
	case mimi.FanoutProposal:
		next, err := s.propose(env, in.message.Proposals(), "", timestamp)
		if err != nil {
			return s, Effects{}, err
		}
		eff := Effects{StateChanged: true}
		next = next.append(&eff, in.entry(KindProposal))
		return next, eff, nil
	}
	return s, Effects{}, refuse(NotAllowed, "a Welcome is not an entry")
}

// allPending says whether each of the messages is pending already, and since
// when the first is.
func (s *State) allPending(list []*mls.Message) (timestamp uint64, ok bool) {
	for i, m := range list {
		found := false
		for _, p := range s.pending {
			if bytes.Equal(p.Message, m.Raw) {
				found = true
				if i == 0 {
					timestamp = p.Timestamp
				}
				break
			}
		}
		if !found {
			return 0, false
		}
	}
	return timestamp, true
}

// propose caches a bundle of proposals, all or none (D-27). All are judged
// against the room as it was before the bundle: one that leaves it may do so
// in any order.
func (s State) propose(env *Env, list []*mls.Message, peer mimi.Domain, timestamp uint64) (State, error) {
	first, err := s.checkHandshake(env, list[0], peer)
	if err != nil {
		return s, err
	}
	if err := s.checkPending(env.limits(peer == ""), list, first); err != nil {
		return s, err
	}
	bundle := make([]*mls.CachedProposal, len(list))
	for i, m := range list {
		if err := sameOrigin(list[0], m); err != nil {
			return s, err
		}
		if bundle[i], err = s.group.Proposal(m.Public); err != nil {
			return s, classify(err)
		}
		if err := s.checkProposal(env, bundle[i].Proposal, first); err != nil {
			return s, blame(err, bundle[i].Ref)
		}
	}
	if !s.onTheWayOut(first) {
		if err := policy.JudgeProposals(s.Room, s.group, bundle...); err != nil {
			return s, blame(classify(err), bundle[0].Ref)
		}
	}
	return s.cache(list, bundle, timestamp)
}

// cache adds a bundle that has been found good to what is pending.
func (s State) cache(list []*mls.Message, bundle []*mls.CachedProposal, timestamp uint64) (State, error) {
	next := s
	next.pending = slices.Clone(s.pending)
	for i, c := range bundle {
		group := next.group.WithProposal(c)
		if group == next.group {
			return s, blame(refuse(InvalidProposal, "the proposal is pending already"), c.Ref)
		}
		next.group = group
		next.pending = append(next.pending, Pending{Ref: c.Ref, Message: list[i].Raw, Timestamp: timestamp})
	}
	next, err := next.derive()
	if err != nil { // the updates do not fit together
		return s, refuse(InvalidProposal, "the changes contradict each other or what is pending")
	}
	return next, nil
}

// sameOrigin holds the messages of a bundle together (UPD-5).
func sameOrigin(first, m *mls.Message) error {
	a, b := &first.Public.Content, &m.Public.Content
	if !bytes.Equal(a.GroupID, b.GroupID) || a.Epoch != b.Epoch || a.Sender != b.Sender {
		return refuse(InvalidProposal, "the proposals are not of one sender, group and epoch")
	}
	return nil
}

// checkProposal judges what policy does not: identities, and the last moves of
// one who is on the way out. It serves both the stand-alone proposal and the one
// a committer includes by value.
func (s *State) checkProposal(env *Env, p *mls.Proposal, by actor) error {
	if s.onTheWayOut(by) && !s.leavesOwn(p, by) {
		return refuse(NotAllowed, "the sender is about to leave")
	}
	switch p.Type {
	case mls.ProposalTypeUpdate:
		return s.checkSameIdentity(env, by, &p.Update.LeafNode)
	case mls.ProposalTypeAdd:
		if err := s.checkLifetime(&p.Add.KeyPackage); err != nil {
			return err
		}
		_, err := env.identify(&p.Add.KeyPackage.LeafNode, s.clock)
		return err
	case mls.ProposalTypeGroupContextExtensions:
		return s.checkContextExtensions(p.GroupContextExtensions)
	}
	return nil
}

// leavesOwn says whether a proposal takes one of its sender's own clients out.
func (s *State) leavesOwn(p *mls.Proposal, by actor) bool {
	switch p.Type {
	case mls.ProposalTypeSelfRemove:
		return true
	case mls.ProposalTypeRemove:
		m, ok := s.member(p.Remove.Removed)
		return ok && m.User == by.user
	}
	return false
}

// checkSameIdentity refuses a leaf that is somebody else's than the one it
// replaces (H43, MLSD-24).
func (s *State) checkSameIdentity(env *Env, by actor, leaf *mls.LeafNode) error {
	id, err := env.identify(leaf, s.clock)
	if err != nil {
		return err
	}
	if id.User != by.user || id.Client != by.client {
		return refuse(NotAllowed, "the leaf names another identity than before")
	}
	return nil
}

// classify turns an error of the MLS rules into a refusal. Errors of ours pass.
func classify(err error) error {
	var denied *policy.Denied
	var unknown *mls.UnknownProposalError
	var invalid *mls.ValidationError
	switch {
	case errors.As(err, &denied):
		return refuse(NotAllowed, "%s", denied.Reason)
	case errors.As(err, &unknown):
		return &Refusal{Code: InvalidProposal, Description: "the commit refers to unknown proposals", Refs: unknown.Refs}
	case errors.As(err, &invalid):
		var r *Refusal // of a callback of ours
		if errors.As(err, &r) {
			return r
		}
		return &Refusal{Code: InvalidProposal, Description: invalid.Clause + ": " + invalid.Reason, Refs: invalid.ProposalRefs}
	case errors.Is(err, mimi.ErrBadUpdate), errors.Is(err, mimi.ErrMalformed), errors.Is(err, policy.ErrMalformed):
		return refuse(InvalidProposal, "a proposal does not decode or cannot be applied")
	case errors.Is(err, mls.ErrBadSignature), errors.Is(err, mls.ErrBadKey):
		return refuse(NotAllowed, "a signature does not verify")
	case errors.Is(err, mls.ErrNotMember), errors.Is(err, mls.ErrWrongGroup), errors.Is(err, mls.ErrWrongEpoch),
		errors.Is(err, mls.ErrFutureEpoch), errors.Is(err, mls.ErrReInitialized), errors.Is(err, mls.ErrInvalidTree),
		errors.Is(err, mls.ErrUnsupportedSuite), errors.Is(err, mimi.ErrBadCredential):
		return refuse(NotAllowed, "the MLS rules do not allow it")
	}
	return err
}

// blame names the stand-alone proposal at fault, if the refusal names none.
func blame(err error, ref []byte) error {
	if r, ok := asRefusal(err); ok && r.Code == InvalidProposal && len(r.Refs) == 0 && ref != nil {
		named := *r
		named.Refs = [][]byte{ref}
		return &named
	}
	return err
}
