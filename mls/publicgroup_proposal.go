package mls

import (
	"bytes"
	"slices"

	"hubbub/mls/wire"
)

// CachedProposal is a verified proposal that a commit of the same epoch may
// refer to. It must not be changed.
type CachedProposal struct {
	Ref      []byte // ProposalRef (RFC 9420 §5.2)
	Proposal *Proposal
	Sender   Sender
	Content  *AuthenticatedContent // the message that carried it
}

// ResolvedProposal is a proposal of a commit with its origin.
type ResolvedProposal struct {
	Ref      []byte // nil if ByValue
	Proposal *Proposal
	Sender   Sender // of the proposal; the committer if ByValue
	ByValue  bool

	verified bool // its own signatures were checked when it was cached
}

func (c *CachedProposal) resolved() ResolvedProposal {
	return ResolvedProposal{Ref: c.Ref, Proposal: c.Proposal, Sender: c.Sender, verified: true}
}

// refs lists the proposal in an error; one by value has no reference.
func (r *ResolvedProposal) refs() [][]byte {
	if r.ByValue {
		return nil
	}
	return [][]byte{r.Ref}
}

// Proposal verifies a proposal message: group, epoch, sender, signature,
// authenticated data, and the rules for its type that do not depend on what it
// is committed with (RFC 9420 §12.1). It is not cached yet; see WithProposal.
// The membership tag is not checked.
//
// Errors are ErrWrongGroup, ErrWrongEpoch, ErrFutureEpoch, ErrReInitialized,
// ErrNotMember, ErrBadSignature, or a *ValidationError.
func (p *PublicGroup) Proposal(m *PublicMessage) (*CachedProposal, error) {
	return p.checkProposal(m.Authenticated())
}

// checkProposal is Proposal for content that came over any wire format.
func (p *PublicGroup) checkProposal(a *AuthenticatedContent) (*CachedProposal, error) {
	if a.Content.ContentType != ContentTypeProposal || a.Content.Proposal == nil {
		return nil, invalid("RFC 9420 §12.1", "not a proposal")
	}
	if err := p.checkContent(a); err != nil {
		return nil, err
	}
	if a.Content.Proposal.Type == ProposalTypeSelfRemove && a.WireFormat != WireFormatPublicMessage {
		return nil, invalid(selfRemoveClause, "self_remove in a message that is not public")
	}
	ref, err := a.ProposalRef(p.Suite())
	if err != nil {
		return nil, err
	}
	c := &CachedProposal{Ref: ref, Proposal: a.Content.Proposal, Sender: a.Content.Sender, Content: a}
	if err := p.checkAlone(c); err != nil {
		return nil, err
	}
	return c, nil
}

// WithProposal returns the group with a proposal added to those pending. A
// proposal already pending is not added again.
func (p *PublicGroup) WithProposal(c *CachedProposal) *PublicGroup {
	if p.cached(c.Ref) != nil {
		return p
	}
	next := *p
	next.proposals = append(slices.Clone(p.proposals), c)
	return &next
}

// cached returns the pending proposal with a reference, or nil.
func (p *PublicGroup) cached(ref []byte) *CachedProposal {
	for _, c := range p.proposals {
		if bytes.Equal(c.Ref, ref) {
			return c
		}
	}
	return nil
}

// checkPlace compares a message's place with this epoch.
func (p *PublicGroup) checkPlace(groupID []byte, epoch uint64) error {
	switch {
	case !bytes.Equal(groupID, p.context.GroupID):
		return ErrWrongGroup
	case epoch < p.context.Epoch:
		return ErrWrongEpoch
	case epoch > p.context.Epoch:
		return ErrFutureEpoch
	}
	return nil
}

// checkContent verifies that a handshake message belongs to this epoch and
// comes from who it says.
func (p *PublicGroup) checkContent(a *AuthenticatedContent) error {
	c := &a.Content
	if err := p.checkPlace(c.GroupID, c.Epoch); err != nil {
		return err
	}
	switch {
	case p.reInit != nil:
		return ErrReInitialized
	case !p.context.AllowsWireFormat(a.WireFormat):
		return invalid(wireFormatClause, "group does not use %v", a.WireFormat)
	case a.WireFormat != WireFormatPublicMessage && c.Sender.Type != SenderTypeMember:
		return invalid("RFC 9420 §12.1.8", "message from outside the group is not public")
	}
	key, err := p.senderKey(c)
	if err != nil {
		return err
	}
	if err := a.VerifySignature(p.Suite(), key, p.context); err != nil {
		return err
	}
	return p.checkAAD(c.AuthenticatedData)
}

// senderKey returns the key that must have signed a handshake message
// (RFC 9420 §6.1).
func (p *PublicGroup) senderKey(c *FramedContent) ([]byte, error) {
	switch c.Sender.Type {
	case SenderTypeMember:
		if leaf := p.tree.leaf(c.Sender.LeafIndex); leaf != nil {
			return leaf.SignatureKey, nil
		}
		return nil, ErrNotMember
	case SenderTypeExternal:
		senders := p.ExternalSenders()
		if c.ContentType == ContentTypeProposal && uint64(c.Sender.SenderIndex) < uint64(len(senders)) {
			return senders[c.Sender.SenderIndex].SignatureKey, nil
		}
		return nil, invalid("RFC 9420 §12.1.8.1", "unknown external sender")
	case SenderTypeNewMemberProposal:
		if c.ContentType == ContentTypeProposal && c.Proposal.Add != nil {
			return c.Proposal.Add.KeyPackage.LeafNode.SignatureKey, nil
		}
		return nil, invalid("RFC 9420 §12.1.8", "a new member may propose its own addition only")
	case SenderTypeNewMemberCommit:
		if c.ContentType == ContentTypeCommit && c.Commit.Path != nil {
			return c.Commit.Path.LeafNode.SignatureKey, nil
		}
	}
	return nil, invalid("RFC 9420 §12.4.3.2", "external commit without a path")
}

// RequiresSafeAAD reports whether the authenticated data of every message of
// the epoch must be a SafeAAD, which holds if the GroupContext has component
// safe_aad (draft-ietf-mls-extensions §4.9).
func (c *GroupContext) RequiresSafeAAD() bool {
	d, err := c.Extensions.Dictionary()
	if err != nil {
		return false
	}
	_, ok := d.Get(ComponentSafeAAD)
	return ok
}

// checkAAD verifies the framing of authenticated data.
func (p *PublicGroup) checkAAD(aad []byte) error {
	if !p.context.RequiresSafeAAD() {
		return nil
	}
	return checkSafeAAD(aad)
}

// ExternalProposal makes a proposal from an external sender: a signed
// MLSMessage with a PublicMessage (RFC 9420 §12.1.8). ctx is the GroupContext
// of the epoch it is for and senderIndex the signer's place in the
// external_senders extension. The authenticated data is empty, or an empty
// SafeAAD where the group wants one. Types that an external sender may not
// propose give a *ValidationError.
func ExternalProposal(ctx *GroupContext, senderIndex uint32, signer *SignatureKey, p Proposal) ([]byte, error) {
	if !mayBeExternal(p.Type) {
		return nil, invalid("RFC 9420 §12.1.8", "%v from an external sender", p.Type)
	}
	return outsideProposal(ctx, Sender{Type: SenderTypeExternal, SenderIndex: senderIndex}, signer, p)
}

// NewMemberProposal makes a client's own request to be added: a signed
// MLSMessage with a PublicMessage (RFC 9420 §12.1.8). ctx is the GroupContext
// of the epoch it is for; nothing of it is secret. The client joins by the
// Welcome of the commit that covers the proposal. The authenticated data is as
// that of ExternalProposal. A KeyPackage of another cipher suite is a
// *ValidationError.
func NewMemberProposal(ctx *GroupContext, kp *KeyPackageSecret) ([]byte, error) {
	if kp.KeyPackage.CipherSuite != ctx.CipherSuite {
		return nil, invalid(keyPackageClause, "key package is for another cipher suite")
	}
	p := Proposal{Type: ProposalTypeAdd, Add: &Add{KeyPackage: *kp.KeyPackage}}
	return outsideProposal(ctx, Sender{Type: SenderTypeNewMemberProposal}, kp.Signer, p)
}

// outsideProposal frames and signs a proposal of somebody outside the group.
func outsideProposal(ctx *GroupContext, sender Sender, signer *SignatureKey, p Proposal) ([]byte, error) {
	a := &AuthenticatedContent{WireFormat: WireFormatPublicMessage, Content: FramedContent{
		GroupID: ctx.GroupID, Epoch: ctx.Epoch, ContentType: ContentTypeProposal, Proposal: &p, Sender: sender,
	}}
	if ctx.RequiresSafeAAD() {
		var err error
		if a.Content.AuthenticatedData, err = wire.Marshal(new(SafeAAD)); err != nil {
			return nil, err
		}
	}
	if err := a.Sign(ctx.CipherSuite, signer.Private, nil); err != nil {
		return nil, err
	}
	m := &Message{Version: MLS10, WireFormat: WireFormatPublicMessage,
		Public: &PublicMessage{Content: a.Content, Auth: a.Auth}}
	return m.Marshal()
}

// mayBeExternal reports whether an external sender may propose the type
// (RFC 9420 §12.1.8; draft-ietf-mls-extensions, IANA considerations).
func mayBeExternal(t ProposalType) bool {
	switch t {
	case ProposalTypeAdd, ProposalTypeRemove, ProposalTypePSK, ProposalTypeReInit,
		ProposalTypeGroupContextExtensions, ProposalTypeAppDataUpdate, ProposalTypeAppEphemeral:
		return true
	}
	return false
}
