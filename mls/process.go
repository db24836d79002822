package mls

import (
	"slices"

	"hubbub/mls/wire"
)

// Processed is what a message turned out to be: *Application,
// *ProposalReceived, *CommitReceived or *OwnMessage.
type Processed interface{ processed() }

// Application is a decrypted application message.
type Application struct {
	Next         *Group // without the key of this message; store it
	Sender       LeafIndex
	Credential   Credential // of the sender, in the epoch of the message
	SignatureKey []byte     // of the sender, in the epoch of the message
	Epoch        uint64
	Generation   uint32
	AAD          []byte
	Data         []byte
}

// ProposalReceived is a valid proposal. Next has it among its pending
// proposals; it should be committed before application data is sent.
type ProposalReceived struct {
	Next     *Group
	Sender   Sender
	Ref      []byte
	Proposal *Proposal
}

// CommitReceived is a valid commit of another member. It takes effect with
// Merge, so the caller can inspect it and refuse.
type CommitReceived struct {
	Sender    Sender
	Proposals []ResolvedProposal
	// Removed says that the caller is no longer a member. It must delete the
	// group and send no more (RFC 9420 §12.4.2).
	Removed bool
	// Public describes the changes in full.
	Public *PublicCommit

	next *Group
}

// Merge returns the group in the new epoch; nil if the caller was removed.
func (c *CommitReceived) Merge() *Group { return c.next }

// OwnMessage is the echo of a message the caller sent itself. For a commit,
// the caller merges its PendingCommit. The signature of a private message can
// no longer be checked, and every member could have made one in the caller's
// name: compare the octets with those sent before relying on the echo.
type OwnMessage struct {
	Epoch       uint64
	ContentType ContentType
}

func (*Application) processed()      {}
func (*ProposalReceived) processed() {}
func (*CommitReceived) processed()   {}
func (*OwnMessage) processed()       {}

// Process opens a message to the group: it decrypts, authenticates and
// validates, and leaves g as it is (RFC 9420 §6 and §12.4.2). Handshake
// messages must be of the current epoch, application messages may be of recent
// ones.
//
// Errors: of package wire for malformed input; ErrWrongGroup, ErrWrongEpoch,
// ErrFutureEpoch, ErrTooOld, ErrReplay, ErrTooFarAhead, ErrDecrypt, ErrBadMAC,
// ErrBadSignature, ErrNotMember, ErrMissingPSK, ErrReInitialized, ErrRemoved
// for a nil Group, *UnknownProposalError, *ValidationError.
func (g *Group) Process(msg []byte) (Processed, error) {
	if g == nil {
		return nil, ErrRemoved
	}
	m, err := ParseMessage(msg)
	if err != nil {
		return nil, err
	}
	switch {
	case m.Public != nil:
		return g.processPublic(m.Public)
	case m.Private != nil:
		return g.processPrivate(m.Private)
	case m.SemiPrivate != nil:
		return g.processSemiPrivate(m.SemiPrivate)
	}
	return nil, invalid("RFC 9420 §6", "%v is not a message to a group", m.WireFormat)
}

// checkEpoch compares a message's place with the group's.
func (g *Group) checkEpoch(groupID []byte, epoch uint64) error {
	return g.public.checkPlace(groupID, epoch)
}

func (g *Group) processPublic(m *PublicMessage) (Processed, error) {
	c := &m.Content
	if err := g.checkEpoch(c.GroupID, c.Epoch); err != nil {
		return nil, err
	}
	if c.ContentType == ContentTypeApplication {
		return nil, invalid("RFC 9420 §6", "application data in a public message")
	}
	if c.Sender.Type == SenderTypeMember {
		context, err := g.public.encodedContext()
		if err != nil {
			return nil, err
		}
		if err := verifyMembershipTag(g.Suite(), g.secrets.membership, m, context); err != nil {
			return nil, err
		}
	}
	return g.handshake(m.Authenticated())
}

// handshake processes a proposal or a commit of the current epoch whose
// origin in the group has been established; its signature has not.
func (g *Group) handshake(a *AuthenticatedContent) (Processed, error) {
	own := a.Content.Sender == Sender{Type: SenderTypeMember, LeafIndex: g.own}
	if a.Content.ContentType == ContentTypeCommit {
		if own {
			return g.ownEcho(a)
		}
		return g.processCommit(a)
	}
	if own && g.isPending(a) {
		return g.ownEcho(a)
	}
	c, err := g.public.checkProposal(a)
	if err != nil {
		return nil, err
	}
	next := g.with(func(next *Group) { next.public = g.public.WithProposal(c) })
	return &ProposalReceived{Next: next, Sender: c.Sender, Ref: c.Ref, Proposal: c.Proposal}, nil
}

// ownEcho recognises a message of the caller, whose signature proves it.
func (g *Group) ownEcho(a *AuthenticatedContent) (Processed, error) {
	if err := g.public.checkContent(a); err != nil {
		return nil, err
	}
	return &OwnMessage{Epoch: a.Content.Epoch, ContentType: a.Content.ContentType}, nil
}

// isPending reports whether a proposal is among the pending ones.
func (g *Group) isPending(a *AuthenticatedContent) bool {
	ref, err := a.ProposalRef(g.Suite())
	return err == nil && g.public.cached(ref) != nil
}

func (g *Group) processPrivate(m *PrivateMessage) (Processed, error) {
	err := g.checkEpoch(m.GroupID, m.Epoch)
	if err == ErrWrongEpoch && m.ContentType == ContentTypeApplication {
		return g.processLate(m)
	}
	if err != nil {
		return nil, err
	}
	keys, a, generation, err := g.config().openMessage(g.Suite(), g.keys, g.secrets.senderData, m, g.own)
	if err != nil {
		return nil, err
	}
	if a == nil {
		return &OwnMessage{Epoch: m.Epoch, ContentType: m.ContentType}, nil
	}
	next := g.with(func(next *Group) { next.keys = keys })
	if m.ContentType != ContentTypeApplication {
		return next.handshake(a)
	}
	return next.authenticate(m, a, generation)
}

// authenticate checks the signature of a decrypted application message. g no longer
// has its key.
func (g *Group) authenticate(m *PrivateMessage, a *AuthenticatedContent, generation uint32) (Processed, error) {
	leaf := g.public.Leaf(a.Content.Sender.LeafIndex)
	if leaf == nil {
		return nil, ErrNotMember
	}
	if err := a.VerifySignature(g.Suite(), leaf.SignatureKey, g.Context()); err != nil {
		return nil, err
	}
	if err := g.public.checkAAD(m.AuthenticatedData); err != nil {
		return nil, err
	}
	return application(g, a, &pastMember{signatureKey: leaf.SignatureKey, credential: leaf.Credential}, generation), nil
}

// openMessage decrypts a private message with keys, and returns the keys that
// are left. It returns no content for the echo of a message of member own,
// whose key is gone.
func (c *Config) openMessage(suite CipherSuite, keys *secretTree, senderData []byte, m *PrivateMessage, own LeafIndex) (*secretTree, *AuthenticatedContent, uint32, error) {
	sd, err := openSenderData(suite, senderData, m)
	if err != nil {
		return nil, nil, 0, err
	}
	if sd.leaf == own {
		return keys, nil, sd.generation, nil
	}
	keys, key, err := keys.take(sd.leaf, m.ContentType, sd.generation, c.forward(), c.skippedKeys())
	if err != nil {
		return nil, nil, 0, err
	}
	a, err := openPrivate(suite, m, sd, key)
	return keys, a, sd.generation, err
}

// processLate opens an application message of a past epoch.
func (g *Group) processLate(m *PrivateMessage) (Processed, error) {
	i := slices.IndexFunc(g.past, func(p *pastEpoch) bool { return p.epoch == m.Epoch })
	if i < 0 || g.config().expired(g.past[i].ended) {
		return nil, ErrTooOld
	}
	p := g.past[i]
	keys, a, generation, err := g.config().openMessage(g.Suite(), p.keys, p.senderData, m, g.own)
	if err != nil {
		return nil, err
	}
	if a == nil {
		return &OwnMessage{Epoch: m.Epoch, ContentType: m.ContentType}, nil
	}
	sender, err := p.member(a.Content.Sender.LeafIndex, g.public)
	if err != nil {
		return nil, err
	}
	tbs, err := contentTBS(a.WireFormat, &a.Content, p.context)
	if err != nil {
		return nil, err
	}
	if err := g.Suite().VerifyWithLabel(sender.signatureKey, "FramedContentTBS", tbs, a.Auth.Signature); err != nil {
		return nil, err
	}
	if p.safeAAD {
		if err := checkSafeAAD(m.AuthenticatedData); err != nil {
			return nil, err
		}
	}
	next := g.with(func(next *Group) {
		late := *p
		late.keys = keys
		next.past = slices.Clone(g.past)
		next.past[i] = &late
	})
	return application(next, a, sender, generation), nil
}

func application(next *Group, a *AuthenticatedContent, sender *pastMember, generation uint32) *Application {
	c := &a.Content
	return &Application{
		Next: next, Sender: c.Sender.LeafIndex, Credential: sender.credential, SignatureKey: sender.signatureKey,
		Epoch: c.Epoch, Generation: generation, AAD: c.AuthenticatedData, Data: c.ApplicationData,
	}
}

// processCommit validates a commit of somebody else and computes the caller's
// next state (RFC 9420 §12.4.2).
func (g *Group) processCommit(a *AuthenticatedContent) (Processed, error) {
	commit, err := g.public.checkCommit(a)
	if err != nil {
		return nil, err
	}
	r := &CommitReceived{Sender: commit.Sender, Proposals: commit.Proposals, Public: commit}
	r.Removed = slices.ContainsFunc(commit.Removed, func(m RemovedMember) bool { return m.Index == g.own })
	if r.Removed {
		return r, nil
	}
	s := commit.staged
	psk, err := g.pskSecret(s.psks)
	if err != nil {
		return nil, err
	}
	init := g.secrets.init
	if s.external() {
		if init, err = externalInitReceive(g.Suite(), g.secrets.external, s.externalInit); err != nil {
			return nil, err
		}
	}
	private, commitSecret, err := g.followPath(s)
	if err != nil {
		return nil, err
	}
	next := &Group{public: commit.Next, own: g.own, signer: g.signer, private: private, psks: g.psks}
	if u := g.ownUpdate(s); u != nil && u.signer != nil {
		next.signer = u.signer
	}
	if _, err := next.advance(init, commitSecret, psk); err != nil {
		return nil, err
	}
	if err := next.checkConfirmation(commit.ConfirmationTag); err != nil {
		return nil, err
	}
	next.past, err = g.retire(changedLeaves(s))
	r.next = next
	return r, err
}

// followPath updates the caller's keys in the tree and finds the commit secret.
func (g *Group) followPath(s *staged) (*treePrivate, []byte, error) {
	var updated []byte
	if u := g.ownUpdate(s); u != nil {
		updated = u.private
	}
	private, err := g.private.follow(s.proposed, updated)
	if err != nil {
		return nil, nil, &ValidationError{Clause: pathClause, Reason: "own leaf", Err: err}
	}
	if s.path == nil {
		return private, make([]byte, g.Suite().HashSize()), nil
	}
	provisional, err := s.provisionalContext()
	if err != nil {
		return nil, nil, err
	}
	context, err := wire.Marshal(provisional)
	if err != nil {
		return nil, nil, err
	}
	private, secret, err := private.decryptPath(s.tree, s.committer, s.path, s.addedLeaves, context)
	if err != nil {
		return nil, nil, &ValidationError{Clause: pathClause, Reason: "path secret", Err: err}
	}
	return private, secret, nil
}

// ownUpdate returns what the caller knows of its own Update that the commit
// covers, nil if it covers none.
func (g *Group) ownUpdate(s *staged) *ownUpdate {
	if !slices.Contains(s.updated, g.own) {
		return nil
	}
	key := s.proposed.leaf(g.own).EncryptionKey
	for i := range g.updates {
		if equalKey(g.updates[i].encryptionKey, key) {
			return &g.updates[i]
		}
	}
	return nil
}
