package mls

import (
	"errors"
	"slices"

	"hubbub/mls/wire"
)

// CommitOptions says what a commit contains. The zero value commits all pending
// proposals; without any it renews the committer's keys.
type CommitOptions struct {
	// Proposals are committed by value, in this order, before the pending ones.
	Proposals []Proposal
	// SkipPending leaves the pending proposals out. They are void afterwards.
	SkipPending bool
	// ForcePath renews the committer's keys even if no proposal asks for it.
	ForcePath bool
	// AAD is authenticated and visible. In a group with component safe_aad it
	// must be an encoded SafeAAD; nil then stands for an empty one.
	AAD []byte
	// Private sends the commit as PrivateMessage, which a hub cannot follow.
	Private bool
	// SemiPrivate sends the commit as SemiPrivateMessage, which of those outside
	// only the group's external receivers can read. The group must require that
	// wire format.
	SemiPrivate bool
	// PadTo pads an encrypted commit; see EncryptOptions.
	PadTo int
	// TreeInWelcome puts the ratchet tree into the Welcome.
	TreeInWelcome bool
	// Leaf changes the committer's leaf beyond its encryption key. It implies
	// ForcePath.
	Leaf *LeafChange
}

// LeafChange replaces parts of a member's own leaf, such as a certificate that
// is about to expire. Nil fields stay as they are.
type LeafChange struct {
	Signer       *SignatureKey // from the new epoch on
	Credential   *Credential
	Capabilities *Capabilities
	Extensions   Extensions // all extensions of the leaf
}

// apply changes a leaf that has not been signed yet and returns who signs it.
func (c *LeafChange) apply(l *LeafNode, signer *SignatureKey) *SignatureKey {
	if c == nil {
		return signer
	}
	if c.Credential != nil {
		l.Credential = *c.Credential
	}
	if c.Capabilities != nil {
		l.Capabilities = *c.Capabilities
	}
	if c.Extensions != nil {
		l.Extensions = c.Extensions
	}
	if c.Signer != nil {
		l.SignatureKey, signer = c.Signer.Public, c.Signer
	}
	return signer
}

// Commit makes a commit of this epoch (RFC 9420 §12.4.1). Nothing changes until
// the caller merges the result, which it must do if and only if the Delivery
// Service accepts the message.
//
// Pending proposals that cannot be committed are left out: those of the
// committer that it may not commit itself, and those that conflict with
// another (RFC 9420 §12.2). PendingCommit.Proposals tells what was taken. A
// fault of o.Proposals is a *ValidationError; further errors are
// ErrReInitialized, ErrMissingPSK, and ErrRemoved for a nil Group.
func (g *Group) Commit(o CommitOptions) (*PendingCommit, error) {
	switch {
	case g == nil:
		return nil, ErrRemoved
	case g.public.reInit != nil:
		return nil, ErrReInitialized
	}
	aad, err := g.Context().completeAAD(o.AAD)
	if err != nil {
		return nil, err
	}
	s, err := g.stageCommit(o)
	if err != nil {
		return nil, err
	}
	psk, err := g.pskSecret(s.psks)
	if err != nil {
		return nil, err
	}
	b := &commitBuilder{
		staged: s, signer: g.signer, leafSigner: g.signer, init: g.secrets.init, psk: psk, aad: aad,
		treeInWelcome: o.TreeInWelcome,
	}
	if b.format, err = handshakeFormat(o.Private, o.SemiPrivate); err != nil {
		return nil, err
	}
	if s.pathRequired || o.ForcePath || o.Leaf != nil {
		leaf := *s.proposed.leaf(g.own)
		b.leaf, b.leafSigner = &leaf, o.Leaf.apply(&leaf, g.signer)
	} else if b.private, err = g.private.follow(s.proposed, nil); err != nil {
		return nil, err
	}
	next, err := b.build()
	if err != nil {
		return nil, err
	}
	base, message, err := g.protect(b.content, o.PadTo)
	if err != nil {
		return nil, err
	}
	next.psks = g.psks
	if next.past, err = base.retire(changedLeaves(s)); err != nil {
		return nil, err
	}
	return b.finish(base, next, message)
}

// handshakeFormat is the wire format that options ask for.
func handshakeFormat(private, semiPrivate bool) (WireFormat, error) {
	switch {
	case private && semiPrivate:
		return 0, invalid(semiPrivateClause, "message cannot be both private and semi-private")
	case private:
		return WireFormatPrivateMessage, nil
	case semiPrivate:
		return WireFormatSemiPrivateMessage, nil
	}
	return WireFormatPublicMessage, nil
}

// completeAAD checks authenticated data against the group's rules and supplies
// an empty SafeAAD where one is required.
func (c *GroupContext) completeAAD(aad []byte) ([]byte, error) {
	if !c.RequiresSafeAAD() {
		return aad, nil
	}
	if aad == nil {
		return wire.Marshal(new(SafeAAD))
	}
	return aad, checkSafeAAD(aad)
}

func checkSafeAAD(aad []byte) error {
	if err := wire.Unmarshal(aad, new(SafeAAD)); err != nil {
		return &ValidationError{Clause: "draft-ietf-mls-extensions §4.9", Reason: "authenticated data is not a SafeAAD", Err: err}
	}
	return nil
}

// stageCommit chooses and stages the proposals. Pending proposals that turn out
// to be in the way of those by value are dropped one after the other.
func (g *Group) stageCommit(o CommitOptions) (*staged, error) {
	sender := Sender{Type: SenderTypeMember, LeafIndex: g.own}
	var byValue []ResolvedProposal
	for i := range o.Proposals {
		byValue = append(byValue, ResolvedProposal{Proposal: &o.Proposals[i], Sender: sender, ByValue: true})
	}
	var pending []ResolvedProposal
	if !o.SkipPending {
		for _, c := range g.public.Committable(sender) {
			// A ReInit must be alone (RFC 9420 §12.2).
			if len(byValue) == 0 || !isReInit(c) {
				pending = append(pending, c.resolved())
			}
		}
	}
	for {
		s, err := g.public.stage(sender, slices.Concat(byValue, pending))
		if err == nil {
			return s, nil
		}
		var invalid *ValidationError
		if !errors.As(err, &invalid) || len(invalid.ProposalRefs) == 0 {
			return nil, err
		}
		left := slices.DeleteFunc(slices.Clone(pending), func(r ResolvedProposal) bool {
			return slices.ContainsFunc(invalid.ProposalRefs, func(ref []byte) bool { return equalKey(ref, r.Ref) })
		})
		if len(left) == len(pending) {
			return nil, err
		}
		pending = left
	}
}

// changedLeaves lists the leaves whose occupant a commit changes.
func changedLeaves(s *staged) []LeafIndex {
	list := slices.Concat(s.updated, s.addedLeaves)
	for _, r := range s.removed {
		list = append(list, r.Index)
	}
	if s.path != nil {
		list = append(list, s.committer)
	}
	return list
}

// protect turns signed content of this member into an MLSMessage. A private
// message takes a key, which the Group returned no longer has.
func (g *Group) protect(a *AuthenticatedContent, pad int) (*Group, []byte, error) {
	if a.WireFormat == WireFormatPublicMessage {
		context, err := g.public.encodedContext()
		if err != nil {
			return nil, nil, err
		}
		m := &PublicMessage{Content: a.Content, Auth: a.Auth}
		if m.MembershipTag, err = membershipTag(g.Suite(), g.secrets.membership, m, context); err != nil {
			return nil, nil, err
		}
		b, err := wire.Marshal(NewMessage(m))
		return g, b, err
	}
	if a.WireFormat == WireFormatSemiPrivateMessage {
		next, m, err := g.protectSemiPrivate(a, pad)
		if err != nil {
			return nil, nil, err
		}
		b, err := wire.Marshal(NewMessage(m))
		return next, b, err
	}
	keys, key, err := g.keys.next(g.own, a.Content.ContentType)
	if err != nil {
		return nil, nil, err
	}
	m, err := sealPrivate(g.Suite(), g.secrets.senderData, a, key, pad, g.rand())
	if err != nil {
		return nil, nil, err
	}
	b, err := wire.Marshal(NewMessage(m))
	return g.with(func(next *Group) { next.keys = keys }), b, err
}

// commitBuilder makes a commit from staged proposals, for members and external
// joiners alike (RFC 9420 §12.4.1).
type commitBuilder struct {
	staged        *staged
	signer        *SignatureKey // of the commit
	leafSigner    *SignatureKey // of the new leaf and from then on
	leaf          *LeafNode     // the committer's new leaf; nil for a commit without path
	private       *treePrivate
	init          []byte
	psk           []byte
	aad           []byte
	format        WireFormat
	treeInWelcome bool

	path    *ownPath
	joiner  []byte
	content *AuthenticatedContent
}

// build computes the commit's signed content and the committer's next state.
func (b *commitBuilder) build() (*Group, error) {
	s := b.staged
	suite := s.base.Suite()
	commit, commitSecret, err := b.commit()
	if err != nil {
		return nil, err
	}
	b.content = &AuthenticatedContent{WireFormat: b.format, Content: FramedContent{
		GroupID: s.base.GroupID(), Epoch: s.base.Epoch(), Sender: s.sender, AuthenticatedData: b.aad,
		ContentType: ContentTypeCommit, Commit: commit,
	}}
	if err := b.content.Sign(suite, b.signer.Private, s.base.context); err != nil {
		return nil, err
	}
	context, err := s.context(b.content)
	if err != nil {
		return nil, err
	}
	next := &Group{own: s.committer, signer: b.leafSigner, private: b.private}
	// The public state needs the confirmation tag, which needs the secrets,
	// which need the context alone.
	next.public = &PublicGroup{config: s.base.config, context: context, tree: s.tree}
	if b.joiner, err = next.advance(b.init, commitSecret, b.psk); err != nil {
		return nil, err
	}
	tag, err := suite.MAC(next.secrets.confirmation, context.ConfirmedTranscriptHash)
	if err != nil {
		return nil, err
	}
	b.content.Auth.ConfirmationTag = tag
	next.public, err = s.next(context, tag)
	return next, err
}

// advance derives the secrets of the epoch g.public describes from those of the
// one before, and returns the joiner secret.
func (g *Group) advance(init, commitSecret, psk []byte) ([]byte, error) {
	context, err := g.public.encodedContext()
	if err != nil {
		return nil, err
	}
	joiner, err := joinerSecret(g.Suite(), init, commitSecret, context)
	if err != nil {
		return nil, err
	}
	return joiner, g.setEpoch(joiner, psk)
}

// commit makes the Commit struct and the commit secret.
func (b *commitBuilder) commit() (*Commit, []byte, error) {
	s := b.staged
	suite := s.base.Suite()
	commit := &Commit{}
	for _, r := range s.proposals {
		if r.ByValue {
			commit.Proposals = append(commit.Proposals, ProposalOrRef{Proposal: r.Proposal})
		} else {
			commit.Proposals = append(commit.Proposals, ProposalOrRef{Ref: r.Ref})
		}
	}
	if b.leaf == nil {
		return commit, make([]byte, suite.HashSize()), s.check()
	}
	var err error
	b.leaf.Lifetime = Lifetime{}
	if b.path, err = s.createPath(*b.leaf, b.leafSigner.Private, s.base.config.rand()); err != nil {
		return nil, nil, err
	}
	if err := s.check(); err != nil {
		return nil, nil, err
	}
	provisional, err := s.provisionalContext()
	if err != nil {
		return nil, nil, err
	}
	context, err := wire.Marshal(provisional)
	if err != nil {
		return nil, nil, err
	}
	b.private = b.path.private
	commit.Path, err = b.path.encrypt(suite, context)
	return commit, b.path.commitSecret, err
}

// finish makes the GroupInfo and the Welcome that go with a commit.
func (b *commitBuilder) finish(base, next *Group, message []byte) (*PendingCommit, error) {
	p := &PendingCommit{message: message, base: base, next: next, proposals: b.staged.proposals, changed: changedLeaves(b.staged)}
	var err error
	if p.groupInfo, err = next.GroupInfo(); err != nil {
		return nil, err
	}
	if len(b.staged.added) > 0 {
		p.welcome, err = b.welcome(next, p.groupInfo)
	}
	return p, err
}

// welcome makes the Welcome for all new members (RFC 9420 §12.4.3.1).
func (b *commitBuilder) welcome(next *Group, gi *GroupInfo) (*Welcome, error) {
	if b.treeInWelcome {
		tree, err := next.treeExtension()
		if err != nil {
			return nil, err
		}
		if gi, err = next.groupInfo(Extensions{tree}); err != nil {
			return nil, err
		}
	}
	w := &Welcome{CipherSuite: next.Suite()}
	var err error
	if w.EncryptedGroupInfo, err = sealGroupInfo(gi, b.joiner, b.psk); err != nil {
		return nil, err
	}
	for _, added := range b.staged.added {
		secrets := &GroupSecrets{JoinerSecret: b.joiner, PSKs: b.staged.psks}
		if b.path != nil {
			if secret, ok := b.path.secretFor(added.Index); ok {
				secrets.PathSecret = secret
			}
		}
		s, err := sealGroupSecrets(added.KeyPackage, secrets, w.EncryptedGroupInfo)
		if err != nil {
			return nil, err
		}
		w.Secrets = append(w.Secrets, s)
	}
	return w, nil
}
