package mls

import (
	"bytes"

	"hubbub/mls/wire"
)

// PublicCommit is a verified commit and the epoch it leads to. It must not be
// changed.
type PublicCommit struct {
	Sender            Sender
	External          bool      // the committer joins by this commit
	CommitterLeaf     LeafIndex // in the new epoch, also for an external commit
	CommitterLeafNode *LeafNode // the committer's leaf in the new epoch
	Proposals         []ResolvedProposal
	Adds              []AddedMember
	Removed           []RemovedMember // by Remove and SelfRemove
	HasPath           bool
	ReInit            *ReInit // not nil if the commit closes the group
	ConfirmationTag   []byte
	AuthenticatedData []byte
	Next              *PublicGroup // the new epoch, without pending proposals

	staged *staged
}

// Commit verifies a commit and computes the epoch it leads to: group, epoch,
// sender, signature, proposal list, path, capabilities, uniqueness of keys
// (RFC 9420 §12.4.2). The group itself does not change; dropping the result is
// the rollback. Neither the membership tag nor the confirmation tag is checked.
//
// Errors are ErrWrongGroup, ErrWrongEpoch, ErrFutureEpoch, ErrReInitialized,
// ErrNotMember, ErrBadSignature, an *UnknownProposalError, or a
// *ValidationError that lists the proposals at fault where it can.
func (p *PublicGroup) Commit(m *PublicMessage) (*PublicCommit, error) {
	return p.checkCommit(m.Authenticated())
}

// checkCommit is Commit for content that came over any wire format.
func (p *PublicGroup) checkCommit(a *AuthenticatedContent) (*PublicCommit, error) {
	c := &a.Content
	if c.ContentType != ContentTypeCommit || c.Commit == nil {
		return nil, invalid("RFC 9420 §12.4", "not a commit")
	}
	if err := p.checkContent(a); err != nil {
		return nil, err
	}
	if len(a.Auth.ConfirmationTag) != p.Suite().HashSize() {
		return nil, invalid("RFC 9420 §6.1", "confirmation tag has the wrong length")
	}
	list, err := p.resolve(c.Commit.Proposals, c.Sender)
	if err != nil {
		return nil, err
	}
	s, err := p.stage(c.Sender, list)
	if err != nil {
		return nil, err
	}
	if c.Commit.Path != nil {
		if err := s.mergePath(c.Commit.Path); err != nil {
			return nil, err
		}
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	context, err := s.context(a)
	if err != nil {
		return nil, err
	}
	next, err := s.next(context, a.Auth.ConfirmationTag)
	if err != nil {
		return nil, err
	}
	return s.commit(c, next), nil
}

// commit describes the staged epoch to the caller.
func (s *staged) commit(c *FramedContent, next *PublicGroup) *PublicCommit {
	return &PublicCommit{
		Sender: s.sender, External: s.external(), CommitterLeaf: s.committer,
		CommitterLeafNode: s.tree.leaf(s.committer), Proposals: s.proposals,
		Adds: s.added, Removed: s.removed, HasPath: s.path != nil, ReInit: s.reInit,
		ConfirmationTag: next.confirmationTag, AuthenticatedData: c.AuthenticatedData,
		Next: next, staged: s,
	}
}

// VerifyGroupInfo checks a GroupInfo that the committer supplies for the new
// epoch: same GroupContext and confirmation tag, signed by the committer, and
// no ratchet_tree extension, since the tree travels apart. Whether the
// external_pub it may carry is the right key only members can tell.
func (c *PublicCommit) VerifyGroupInfo(gi *GroupInfo) error {
	const clause = "RFC 9420 §12.4.3"
	want, err := c.Next.encodedContext()
	if err != nil {
		return err
	}
	have, err := wire.Marshal(&gi.GroupContext)
	if err != nil {
		return err
	}
	switch _, tree := gi.Extensions.Find(ExtensionTypeRatchetTree); {
	case !bytes.Equal(want, have):
		return invalid(clause, "GroupInfo is for another state of the group")
	case !bytes.Equal(gi.ConfirmationTag, c.ConfirmationTag):
		return invalid(clause, "GroupInfo has another confirmation tag")
	case gi.Signer != c.CommitterLeaf:
		return invalid(clause, "GroupInfo is not signed by the committer")
	case tree:
		return invalid(clause, "GroupInfo carries the ratchet tree")
	}
	if err := checkUniqueExtensions(gi.Extensions); err != nil {
		return err
	}
	return gi.VerifySignature(c.CommitterLeafNode.SignatureKey)
}
