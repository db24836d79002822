package mls

import "slices"

// EncryptOptions says how an application message travels.
type EncryptOptions struct {
	// AAD is authenticated and visible; see CommitOptions.
	AAD []byte
	// PadTo pads the plaintext to a multiple of so many octets, to hide its
	// length. 0 means no padding.
	PadTo int
}

// Encrypt makes an application message (RFC 9420 §15). The group returned has
// used up the message's key: store it before the message leaves. It returns
// ErrPendingProposals while a commit is due, ErrReInitialized in a closed
// group, ErrRemoved for the nil Group that a removed member is left with, or a
// *ValidationError for AAD that does not suit the group.
func (g *Group) Encrypt(plaintext []byte, o EncryptOptions) (next *Group, msg []byte, err error) {
	switch {
	case g == nil:
		return nil, nil, ErrRemoved
	case g.public.reInit != nil:
		return nil, nil, ErrReInitialized
	case len(g.public.Cached()) > 0:
		return nil, nil, ErrPendingProposals
	}
	a := &AuthenticatedContent{WireFormat: WireFormatPrivateMessage, Content: FramedContent{
		ContentType: ContentTypeApplication, ApplicationData: plaintext}}
	if err := g.frame(a, o.AAD); err != nil {
		return nil, nil, err
	}
	return g.protect(a, o.PadTo)
}

// frame completes and signs content of this member in the current epoch.
func (g *Group) frame(a *AuthenticatedContent, aad []byte) error {
	aad, err := g.Context().completeAAD(aad)
	if err != nil {
		return err
	}
	c := &a.Content
	c.GroupID, c.Epoch, c.AuthenticatedData = g.GroupID(), g.Epoch(), aad
	c.Sender = Sender{Type: SenderTypeMember, LeafIndex: g.own}
	return a.Sign(g.Suite(), g.signer.Private, g.Context())
}

// ProposeOptions says how a proposal travels.
type ProposeOptions struct {
	// AAD is authenticated and visible; see CommitOptions.
	AAD []byte
	// Private sends the proposal as PrivateMessage, which a hub cannot read. A
	// SelfRemove must be public.
	Private bool
	// SemiPrivate sends the proposal as SemiPrivateMessage; see CommitOptions. A
	// SelfRemove must be public.
	SemiPrivate bool
	// PadTo pads an encrypted proposal; see EncryptOptions.
	PadTo int
	// Leaf changes more of the leaf than its encryption key. Only an Update may
	// have it. A new signer counts once a commit covers the Update.
	Leaf *LeafChange
}

// Propose makes a proposal message (RFC 9420 §12.1). The group returned has the
// proposal among its pending ones; store it before the message leaves. For an
// Update, p.Update may be nil: then the caller's leaf gets a fresh encryption
// key and stays as it is otherwise. An Update with a leaf is refused, for its
// private key would be unknown. It returns ErrReInitialized, ErrRemoved for a
// nil Group, or a *ValidationError.
func (g *Group) Propose(p Proposal, o ProposeOptions) (next *Group, msg []byte, err error) {
	switch {
	case g == nil:
		return nil, nil, ErrRemoved
	case g.public.reInit != nil:
		return nil, nil, ErrReInitialized
	}
	next = g
	if p.Type == ProposalTypeUpdate {
		if p.Update != nil {
			return nil, nil, invalid("RFC 9420 §12.1.2", "leaf of an update must be made by Propose")
		}
		if next, p.Update, err = g.freshLeaf(o.Leaf); err != nil {
			return nil, nil, err
		}
	}
	if p.Type != ProposalTypeUpdate && o.Leaf != nil {
		return nil, nil, invalid("RFC 9420 §12.1", "change of the own leaf in a proposal that is no update")
	}
	a := &AuthenticatedContent{Content: FramedContent{ContentType: ContentTypeProposal, Proposal: &p}}
	if a.WireFormat, err = handshakeFormat(o.Private, o.SemiPrivate); err != nil {
		return nil, nil, err
	}
	if err := next.frame(a, o.AAD); err != nil {
		return nil, nil, err
	}
	c, err := next.public.checkProposal(a)
	if err != nil {
		return nil, nil, err
	}
	next, msg, err = next.protect(a, o.PadTo)
	if err != nil {
		return nil, nil, err
	}
	return next.with(func(n *Group) { n.public = n.public.WithProposal(c) }), msg, nil
}

// freshLeaf makes a new leaf for an Update of the caller and returns the group
// that knows its private key.
func (g *Group) freshLeaf(change *LeafChange) (*Group, *Update, error) {
	private, public, err := g.Suite().GenerateHPKEKey(g.rand())
	if err != nil {
		return nil, nil, err
	}
	leaf := *g.public.Leaf(g.own)
	leaf.EncryptionKey, leaf.Source = public, LeafNodeSourceUpdate
	leaf.Lifetime, leaf.ParentHash = Lifetime{}, nil
	signer := change.apply(&leaf, g.signer)
	if err := leaf.sign(g.Suite(), signer.Private, g.GroupID(), g.own); err != nil {
		return nil, nil, err
	}
	next := g.with(func(n *Group) {
		n.updates = append(slices.Clone(g.updates), ownUpdate{encryptionKey: public, private: private, signer: signer})
	})
	return next, &Update{LeafNode: leaf}, nil
}
