package mls

import (
	"bytes"
	"slices"
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
		if !p.config.handles(q.Type) {
			return invalid("RFC 9420 §12.2", "proposal type %v is not supported", q.Type)
		}
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
	if err != nil || required == nil || !slices.Contains(required.Proposals, ProposalTypeAppDataUpdate) {
		return err
	}
	was, had := p.context.Extensions.Find(ExtensionTypeAppDataDictionary)
	is, has := x.Find(ExtensionTypeAppDataDictionary)
	if had != has || !bytes.Equal(was, is) {
		return invalid(appDataClause, "group_context_extensions changes the application data")
	}
	return nil
}
