package mls

import (
	"bytes"
	"slices"
)

// Committable selects the pending proposals that a commit by sender should
// refer to: all but those the sender may not commit, and of proposals that
// exclude each other the one RFC 9420 §12.2 prefers (SelfRemove before Remove
// before the latest Update of a leaf; the first Add of a client; ReInit only
// alone). A sender of type new_member_commit gets the SelfRemoves only
// (draft-ietf-mls-extensions §6.3). The order is that of arrival.
func (p *PublicGroup) Committable(sender Sender) []*CachedProposal {
	sel := selection{group: p, sender: sender}
	for _, c := range p.proposals {
		sel.offer(c)
	}
	if len(sel.chosen) > 1 {
		sel.chosen = slices.DeleteFunc(sel.chosen, isReInit)
	}
	return slices.DeleteFunc(sel.chosen, func(c *CachedProposal) bool { return !sel.addable(c) })
}

func isReInit(c *CachedProposal) bool { return c.Proposal.Type == ProposalTypeReInit }

type selection struct {
	group  *PublicGroup
	sender Sender
	chosen []*CachedProposal
}

// offer takes a proposal, in place of those it outranks, unless one already
// taken outranks it.
func (s *selection) offer(c *CachedProposal) {
	t := c.Proposal.Type
	if s.sender.Type != SenderTypeMember && t != ProposalTypeSelfRemove {
		return
	}
	if leaf, ok := c.target(); ok && s.sender.Type == SenderTypeMember && leaf == s.sender.LeafIndex {
		return
	}
	for _, o := range s.chosen {
		if conflict(o, c) && (rank(o) > rank(c) || rank(o) == rank(c) && rank(c) > 0) {
			return
		}
	}
	s.chosen = slices.DeleteFunc(s.chosen, func(o *CachedProposal) bool { return conflict(o, c) })
	s.chosen = append(s.chosen, c)
}

// target is the leaf that a proposal updates or removes.
func (c *CachedProposal) target() (LeafIndex, bool) {
	switch c.Proposal.Type {
	case ProposalTypeUpdate, ProposalTypeSelfRemove:
		return c.Sender.LeafIndex, true
	case ProposalTypeRemove:
		return c.Proposal.Remove.Removed, true
	}
	return 0, false
}

// conflict reports whether two proposals cannot be in one list.
func conflict(a, b *CachedProposal) bool {
	if x, ok := a.target(); ok {
		y, ok := b.target()
		return ok && x == y
	}
	if a.Proposal.Type != b.Proposal.Type {
		return false
	}
	switch a.Proposal.Type {
	case ProposalTypeAdd:
		return bytes.Equal(a.Proposal.Add.KeyPackage.LeafNode.SignatureKey, b.Proposal.Add.KeyPackage.LeafNode.SignatureKey)
	case ProposalTypeGroupContextExtensions, ProposalTypeReInit:
		return true
	case ProposalTypePSK:
		x, y := a.Proposal.PSK, b.Proposal.PSK
		return x.sameKey(y) && bytes.Equal(encoded(x), encoded(y))
	case ProposalTypeAppDataUpdate:
		x, y := a.Proposal.AppDataUpdate, b.Proposal.AppDataUpdate
		return x.Component == y.Component && (x.Op == AppDataUpdateOpRemove || y.Op == AppDataUpdateOpRemove)
	}
	return false
}

// rank orders proposals that conflict. Of equal ones the first counts, except
// that a later Update replaces an earlier one.
func rank(c *CachedProposal) int {
	switch c.Proposal.Type {
	case ProposalTypeUpdate:
		return 0
	case ProposalTypeRemove:
		return 2
	case ProposalTypeSelfRemove:
		return 3
	}
	return 1
}

// addable is false for an Add of a client that stays a member.
func (s *selection) addable(c *CachedProposal) bool {
	if c.Proposal.Type != ProposalTypeAdd {
		return true
	}
	key := c.Proposal.Add.KeyPackage.LeafNode.SignatureKey
	if !s.group.tree.signature.has(key) {
		return true
	}
	return slices.ContainsFunc(s.chosen, func(o *CachedProposal) bool {
		i, ok := o.target()
		leaf := s.group.tree.leaf(i)
		return ok && o.Proposal.Type != ProposalTypeUpdate && leaf != nil && bytes.Equal(leaf.SignatureKey, key)
	})
}
