package mls

import (
	"bytes"

	"hubbub/mls/wire"
)

// checkAlone verifies a proposal as far as that is possible without the rest
// of a proposal list, and that its sender may send it at all.
func (p *PublicGroup) checkAlone(c *CachedProposal) error {
	t := c.Proposal.Type
	switch {
	case c.Sender.Type == SenderTypeExternal && !mayBeExternal(t):
		return invalid("RFC 9420 §12.1.8", "%v from an external sender", t)
	case c.Sender.Type == SenderTypeNewMemberProposal && t != ProposalTypeAdd:
		return invalid("RFC 9420 §12.1.8", "%v from a new member", t)
	case t == ProposalTypeExternalInit:
		return invalid("RFC 9420 §12.4.3.2", "external_init outside of an external commit")
	}
	if !t.IsDefault() && !contains(p.tree.root.capabilities().proposals, t) {
		return invalid("RFC 9420 §12.2", "%v is not supported by all members", t)
	}
	rules, err := p.leafRules(p.context.Extensions)
	if err != nil {
		return err
	}
	r := c.resolved()
	r.verified = false
	if err := p.checkOne(&r, rules); err != nil {
		return err
	}
	if u := c.Proposal.AppDataUpdate; u != nil {
		_, err := p.applyUpdates(p.context.Extensions, []ResolvedProposal{r})
		return err
	}
	return nil
}

// checkOne verifies the rules that RFC 9420 §12.1 has for a single proposal.
// rules are those of the epoch that the proposal would lead to.
func (p *PublicGroup) checkOne(r *ResolvedProposal, rules *leafRules) error {
	if r.Proposal.body() == nil {
		return invalid("RFC 9420 §12.1", "proposal without content")
	}
	switch q := r.Proposal; q.Type {
	case ProposalTypeAdd:
		return rules.checkKeyPackage(&q.Add.KeyPackage, r.verified)
	case ProposalTypeUpdate:
		return p.checkUpdate(r, rules)
	case ProposalTypeRemove:
		if p.tree.leaf(q.Remove.Removed) == nil {
			return invalid("RFC 9420 §12.1.3", "remove of a blank leaf")
		}
	case ProposalTypePSK:
		return p.checkPSK(q.PSK)
	case ProposalTypeReInit:
		if q.ReInit.Version < p.context.Version {
			return invalid("RFC 9420 §12.1.5", "reinit to an older version")
		}
		return checkUniqueExtensions(q.ReInit.Extensions)
	case ProposalTypeExternalInit:
	case ProposalTypeGroupContextExtensions:
		return p.checkNewExtensions(q.GroupContextExtensions.Extensions)
	case ProposalTypeAppDataUpdate:
		if op := q.AppDataUpdate.Op; op != AppDataUpdateOpUpdate && op != AppDataUpdateOpRemove {
			return invalid(appDataClause, "unknown operation")
		}
	case ProposalTypeAppEphemeral:
	case ProposalTypeSelfRemove:
		if r.Sender.Type != SenderTypeMember || r.ByValue {
			return invalid(selfRemoveClause, "self_remove by value or from outside the group")
		}
	default:
		return invalid("RFC 9420 §12.2", "proposal type %v is not supported", q.Type)
	}
	return nil
}

// checkUpdate verifies an Update of its sender's leaf (RFC 9420 §12.1.2).
func (p *PublicGroup) checkUpdate(r *ResolvedProposal, rules *leafRules) error {
	const clause = "RFC 9420 §12.1.2"
	l := &r.Proposal.Update.LeafNode
	if r.Sender.Type != SenderTypeMember {
		return invalid(clause, "update from outside the group")
	}
	old := p.tree.leaf(r.Sender.LeafIndex)
	switch {
	case old == nil:
		return invalid(clause, "update of a blank leaf")
	case l.Source != LeafNodeSourceUpdate:
		return invalid(leafClause, "leaf of the update has another source")
	}
	if err := p.checkReplacement(old, l); err != nil {
		return err
	}
	if r.verified {
		return rules.check(l)
	}
	return rules.checkSigned(l, r.Sender.LeafIndex)
}

// checkPSK verifies a PreSharedKey proposal (RFC 9420 §12.1.4). The usages
// reinit and branch belong to the first commit of the group that such an
// operation creates.
func (p *PublicGroup) checkPSK(id *PreSharedKeyID) error {
	const clause = "RFC 9420 §12.1.4"
	switch {
	case len(id.Nonce) != p.Suite().HashSize():
		return invalid(clause, "psk nonce has the wrong length")
	case id.Type == PSKTypeResumption && id.Usage != ResumptionPSKUsageApplication && p.context.Epoch != 0:
		return invalid(clause, "psk of reinitialization or branching in a running group")
	}
	return nil
}

// checkNewExtensions verifies a GroupContextExtensions proposal as far as it
// does not concern other members (RFC 9420 §12.1.7). In a group that requires
// AppDataUpdate it must leave the dictionary alone
// (draft-ietf-mls-extensions §4.7).
func (p *PublicGroup) checkNewExtensions(x Extensions) error {
	if err := p.checkContextExtensions(x); err != nil {
		return err
	}
	required, err := p.context.Extensions.RequiredCapabilities()
	if err != nil || required == nil || !containsUnsorted(required.Proposals, ProposalTypeAppDataUpdate) {
		return err
	}
	was, had := p.context.Extensions.Find(ExtensionTypeAppDataDictionary)
	is, has := x.Find(ExtensionTypeAppDataDictionary)
	if had != has || !bytes.Equal(was, is) {
		return invalid(appDataClause, "group_context_extensions changes the application data")
	}
	return nil
}

func containsUnsorted[T comparable](list []T, v T) bool {
	for _, e := range list {
		if e == v {
			return true
		}
	}
	return false
}

// checkList verifies the rules about a proposal list as a whole that need no
// tree (RFC 9420 §12.2).
func (p *PublicGroup) checkList(sender Sender, list []ResolvedProposal) error {
	if sender.Type == SenderTypeNewMemberCommit {
		return p.checkExternalList(list)
	}
	c := listCheck{sender: sender, leaves: map[LeafIndex]bool{}, psks: map[string]bool{}, refs: map[string]bool{}}
	for k := range list {
		if err := c.add(&list[k], len(list)); err != nil {
			err.ProposalRefs = list[k].refs()
			return err
		}
	}
	return nil
}

const listClause = "RFC 9420 §12.2"

// listCheck is what has been seen so far of a regular commit's list.
type listCheck struct {
	sender     Sender
	leaves     map[LeafIndex]bool // updated or removed
	psks       map[string]bool
	refs       map[string]bool
	extensions bool // a GroupContextExtensions
}

func (c *listCheck) add(r *ResolvedProposal, total int) *ValidationError {
	if !r.ByValue {
		if c.refs[string(r.Ref)] {
			return invalid(listClause, "proposal referred to twice")
		}
		c.refs[string(r.Ref)] = true
	}
	switch q := r.Proposal; q.Type {
	case ProposalTypeUpdate:
		if r.ByValue || r.Sender == c.sender {
			return invalid(listClause, "update of the committer")
		}
		return c.touch(r.Sender.LeafIndex)
	case ProposalTypeSelfRemove:
		if r.ByValue || r.Sender == c.sender {
			return invalid(selfRemoveClause, "self_remove by value or of the committer")
		}
		return c.touch(r.Sender.LeafIndex)
	case ProposalTypeRemove:
		if q.Remove != nil && c.sender.LeafIndex == q.Remove.Removed {
			return invalid(listClause, "removal of the committer")
		}
		return c.touch(q.Remove.Removed)
	case ProposalTypePSK:
		return checkRepeatedPSK(c.psks, q.PSK)
	case ProposalTypeGroupContextExtensions:
		if c.extensions {
			return invalid(listClause, "several group_context_extensions")
		}
		c.extensions = true
	case ProposalTypeReInit:
		if total != 1 {
			return invalid(listClause, "reinit together with other proposals")
		}
	case ProposalTypeExternalInit:
		return invalid(listClause, "external_init in a regular commit")
	}
	return nil
}

// touch notes that a leaf is updated or removed, which may happen once.
func (c *listCheck) touch(i LeafIndex) *ValidationError {
	if c.leaves[i] {
		return invalid(listClause, "several updates or removals of leaf %d", i)
	}
	c.leaves[i] = true
	return nil
}

func checkRepeatedPSK(seen map[string]bool, id *PreSharedKeyID) *ValidationError {
	b, err := wire.Marshal(id)
	if err != nil {
		return &ValidationError{Clause: listClause, Reason: "psk id", Err: err}
	}
	if seen[string(b)] {
		return invalid(listClause, "pre-shared key referred to twice")
	}
	seen[string(b)] = true
	return nil
}

// checkExternalList verifies the list of an external commit
// (RFC 9420 §12.2; draft-ietf-mls-extensions §4.7, §4.8 and §6.3).
func (p *PublicGroup) checkExternalList(list []ResolvedProposal) error {
	inits, removes := 0, 0
	psks, left := map[string]bool{}, map[LeafIndex]bool{}
	for k := range list {
		r := &list[k]
		if r.ByValue == (r.Proposal.Type == ProposalTypeSelfRemove) {
			return refuse(r, "%v by the wrong means in an external commit", r.Proposal.Type)
		}
		switch r.Proposal.Type {
		case ProposalTypeExternalInit:
			inits++
		case ProposalTypeRemove:
			removes++
		case ProposalTypePSK:
			if err := checkRepeatedPSK(psks, r.Proposal.PSK); err != nil {
				return err
			}
		case ProposalTypeSelfRemove:
			if left[r.Sender.LeafIndex] {
				return refuse(r, "several self_removes of leaf %d", r.Sender.LeafIndex)
			}
			left[r.Sender.LeafIndex] = true
		case ProposalTypeAppDataUpdate, ProposalTypeAppEphemeral:
		default:
			return refuse(r, "%v in an external commit", r.Proposal.Type)
		}
	}
	switch {
	case inits != 1:
		return invalid(listClause, "external commit with %d external_inits", inits)
	case removes > 1:
		return invalid(listClause, "external commit with several removals")
	}
	return nil
}

// refuse is a list rule broken by one proposal.
func refuse(r *ResolvedProposal, reason string, args ...any) error {
	err := invalid(listClause, reason, args...)
	err.ProposalRefs = r.refs()
	return err
}
