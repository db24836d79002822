package mls

import (
	"errors"
	"slices"
)

// AddedMember is a member that a commit adds.
type AddedMember struct {
	Index      LeafIndex
	KeyPackage *KeyPackage
	Ref        []byte // KeyPackageRef
}

// RemovedMember is a member that a commit removes, with its last leaf.
type RemovedMember struct {
	Index LeafIndex
	Leaf  *LeafNode
}

// staged is an epoch in the making: the effects of a commit's proposals, then
// of its path. Creating and processing commits share it.
//
// The order is stage, then mergePath or createPath if there is a path, then
// check, then next. A staged value belongs to one goroutine.
type staged struct {
	base      *PublicGroup
	sender    Sender
	committer LeafIndex // for an external commit, the leaf it will take
	proposals []ResolvedProposal

	proposed   *tree // after the proposals
	tree       *tree // after the path too
	extensions Extensions

	added       []AddedMember
	addedLeaves []LeafIndex // sorted: those a path is not encrypted to
	removed     []RemovedMember
	updated     []LeafIndex // leaves replaced by Update proposals

	psks         []PreSharedKeyID // in commit order
	externalInit []byte           // KEM output of an external commit
	reInit       *ReInit

	pathRequired bool
	path         *UpdatePath // nil if the commit has none
}

// external reports whether the committer joins by this commit.
func (s *staged) external() bool { return s.sender.Type == SenderTypeNewMemberCommit }

// resolve finds the proposals of a commit. Those it cannot find are reported
// together in an UnknownProposalError.
func (p *PublicGroup) resolve(list []ProposalOrRef, sender Sender) ([]ResolvedProposal, error) {
	cached := make(map[string]*CachedProposal, len(p.proposals))
	for _, c := range p.proposals {
		cached[string(c.Ref)] = c
	}
	out := make([]ResolvedProposal, 0, len(list))
	var unknown [][]byte
	for _, e := range list {
		if e.Proposal != nil {
			out = append(out, ResolvedProposal{Proposal: e.Proposal, Sender: sender, ByValue: true})
		} else if c := cached[string(e.Ref)]; c != nil {
			out = append(out, c.resolved())
		} else {
			unknown = append(unknown, e.Ref)
		}
	}
	if unknown != nil {
		return nil, &UnknownProposalError{Refs: unknown}
	}
	return out, nil
}

// stage validates a proposal list for a committer and applies it in the order
// of RFC 9420 §12.3: GroupContextExtensions, Update, SelfRemove, Remove, Add,
// then AppEphemeral and AppDataUpdate.
func (p *PublicGroup) stage(sender Sender, list []ResolvedProposal) (*staged, error) {
	s := &staged{base: p, sender: sender, committer: sender.LeafIndex, proposals: list, extensions: p.context.Extensions}
	if err := s.checkSender(); err != nil {
		return nil, err
	}
	for k := range list {
		if list[k].Proposal.body() == nil {
			return nil, refuse(&list[k], "proposal without content")
		}
	}
	if err := p.checkList(sender, list); err != nil {
		return nil, err
	}
	s.pathRequired = pathRequired(list)
	if err := s.setExtensions(); err != nil {
		return nil, err
	}
	if err := s.applyTree(); err != nil {
		return nil, err
	}
	if s.external() {
		s.proposed, s.committer = s.proposed.reserve()
	}
	s.tree = s.proposed
	return s, s.applyComponents()
}

func (s *staged) checkSender() error {
	switch s.sender.Type {
	case SenderTypeMember:
		if s.base.tree.leaf(s.sender.LeafIndex) == nil {
			return ErrNotMember
		}
		return nil
	case SenderTypeNewMemberCommit:
		return nil
	}
	return invalid("RFC 9420 §12.4", "commit from a sender of type %v", s.sender.Type)
}

// pathRequired reports whether a commit of the list needs a path
// (RFC 9420 §12.4; draft-ietf-mls-extensions, IANA considerations).
func pathRequired(list []ResolvedProposal) bool {
	return len(list) == 0 || slices.ContainsFunc(list, func(r ResolvedProposal) bool {
		switch r.Proposal.Type {
		case ProposalTypeUpdate, ProposalTypeRemove, ProposalTypeExternalInit,
			ProposalTypeGroupContextExtensions, ProposalTypeSelfRemove:
			return true
		}
		return false
	})
}

// each calls fn for the proposals of one type, in commit order, and adds the
// reference to the error.
func (s *staged) each(t ProposalType, fn func(r *ResolvedProposal) error) error {
	for k := range s.proposals {
		r := &s.proposals[k]
		if r.Proposal.Type != t {
			continue
		}
		if err := fn(r); err != nil {
			return withRefs(err, r.refs())
		}
	}
	return nil
}

// withRefs names the proposals at fault in a ValidationError that has none.
func withRefs(err error, refs [][]byte) error {
	var v *ValidationError
	if !errors.As(err, &v) || v.ProposalRefs != nil {
		return err
	}
	c := *v
	c.ProposalRefs = refs
	return &c
}

// setExtensions applies a GroupContextExtensions proposal; all other proposals
// are judged by its result.
func (s *staged) setExtensions() error {
	return s.each(ProposalTypeGroupContextExtensions, func(r *ResolvedProposal) error {
		if err := s.base.checkNewExtensions(r.Proposal.GroupContextExtensions.Extensions); err != nil {
			return err
		}
		s.extensions = r.Proposal.GroupContextExtensions.Extensions
		return nil
	})
}

// applyTree checks every proposal on its own and applies those that change the
// tree.
func (s *staged) applyTree() error {
	rules, err := s.base.leafRules(s.extensions)
	if err != nil {
		return err
	}
	for k := range s.proposals {
		r := &s.proposals[k]
		if err := s.base.checkOne(r, rules); err != nil {
			return withRefs(err, r.refs())
		}
	}
	s.proposed = s.base.tree
	steps := []struct {
		t  ProposalType
		fn func(*ResolvedProposal) error
	}{
		{ProposalTypeUpdate, s.applyUpdate},
		{ProposalTypeSelfRemove, func(r *ResolvedProposal) error { return s.applyRemove(r.Sender.LeafIndex) }},
		{ProposalTypeRemove, func(r *ResolvedProposal) error { return s.applyRemove(r.Proposal.Remove.Removed) }},
	}
	for _, step := range steps {
		if err := s.each(step.t, step.fn); err != nil {
			return err
		}
	}
	s.proposed = s.proposed.truncate()
	if err := s.checkSupport(); err != nil {
		return err
	}
	if err := s.each(ProposalTypeAdd, s.applyAdd); err != nil {
		return err
	}
	return s.noteSecrets()
}

func (s *staged) applyUpdate(r *ResolvedProposal) error {
	i := r.Sender.LeafIndex
	s.proposed = s.proposed.update(i, cloneLeaf(&r.Proposal.Update.LeafNode))
	s.updated = append(s.updated, i)
	return nil
}

// applyRemove leaves truncation for when all removals are done, so that leaf
// indices stay in range.
func (s *staged) applyRemove(i LeafIndex) error {
	leaf := s.proposed.leaf(i)
	if leaf == nil {
		return invalid("RFC 9420 §12.1.3", "removal of a blank leaf")
	}
	s.removed = append(s.removed, RemovedMember{Index: i, Leaf: leaf})
	s.proposed = s.proposed.set(i, nil, blankAbove)
	return nil
}

// checkSupport verifies that the members who stay know every proposal type of
// the list (RFC 9420 §12.2).
func (s *staged) checkSupport() error {
	c := s.proposed.root.capabilities()
	if c == nil {
		return nil // an external joiner replaces the last member
	}
	for k := range s.proposals {
		r := &s.proposals[k]
		if t := r.Proposal.Type; !t.IsDefault() && !contains(c.proposals, t) {
			return refuse(r, "%v is not supported by all members", t)
		}
	}
	return nil
}

func (s *staged) applyAdd(r *ResolvedProposal) error {
	k := &r.Proposal.Add.KeyPackage
	switch {
	case s.proposed.signature.has(k.LeafNode.SignatureKey):
		return invalid(listClause, "added client is a member already")
	case s.proposed.encryption.has(k.LeafNode.EncryptionKey):
		return invalid(leafClause, "encryption key of the added client is in use")
	case s.proposed.root.leaves >= maxLeaves:
		return invalid(listClause, "the group is full")
	}
	ref, err := k.Ref()
	if err != nil {
		return err
	}
	t, i := s.proposed.add(cloneLeaf(&k.LeafNode))
	s.proposed = t
	s.added = append(s.added, AddedMember{Index: i, KeyPackage: k, Ref: ref})
	at, _ := slices.BinarySearch(s.addedLeaves, i)
	s.addedLeaves = slices.Insert(s.addedLeaves, at, i)
	return nil
}

// noteSecrets collects what the key schedule will need.
func (s *staged) noteSecrets() error {
	for k := range s.proposals {
		switch q := s.proposals[k].Proposal; q.Type {
		case ProposalTypePSK:
			s.psks = append(s.psks, *q.PSK)
		case ProposalTypeExternalInit:
			s.externalInit = q.ExternalInit.KEMOutput
		case ProposalTypeReInit:
			s.reInit = q.ReInit
		}
	}
	return nil
}
