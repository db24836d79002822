package mls

import "hubbub/mls/wire"

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
