package mls

import (
	"hubbub/mls/wire"
)

// Sender says who sent a message (RFC 9420 §6).
type Sender struct {
	Type        SenderType
	LeafIndex   LeafIndex // member
	SenderIndex uint32    // external: place in the external_senders extension
}

// Encode appends the sender.
func (s *Sender) Encode(w *wire.Writer) {
	w.Uint8(uint8(s.Type))
	switch s.Type {
	case SenderTypeMember:
		w.Uint32(uint32(s.LeafIndex))
	case SenderTypeExternal:
		w.Uint32(s.SenderIndex)
	case SenderTypeNewMemberProposal, SenderTypeNewMemberCommit:
	default:
		w.Fail(wire.ErrBadValue)
	}
}

// Decode reads a sender.
func (s *Sender) Decode(r *wire.Reader) {
	*s = Sender{Type: SenderType(r.Uint8())}
	switch s.Type {
	case SenderTypeMember:
		s.LeafIndex = LeafIndex(r.Uint32())
	case SenderTypeExternal:
		s.SenderIndex = r.Uint32()
	case SenderTypeNewMemberProposal, SenderTypeNewMemberCommit:
	default:
		r.FailValue()
	}
}

// FramedContent is what a message says, and where and who said it
// (RFC 9420 §6). ContentType selects one of the last three fields.
type FramedContent struct {
	GroupID           []byte
	Epoch             uint64
	Sender            Sender
	AuthenticatedData []byte
	ContentType       ContentType
	ApplicationData   []byte
	Proposal          *Proposal
	Commit            *Commit
}

// Encode appends the content.
func (c *FramedContent) Encode(w *wire.Writer) {
	w.Opaque(c.GroupID)
	w.Uint64(c.Epoch)
	c.Sender.Encode(w)
	w.Opaque(c.AuthenticatedData)
	w.Uint8(uint8(c.ContentType))
	c.encodeBody(w)
}

func (c *FramedContent) encodeBody(w *wire.Writer) {
	switch {
	case c.ContentType == ContentTypeApplication:
		w.Opaque(c.ApplicationData)
	case c.ContentType == ContentTypeProposal && c.Proposal != nil:
		c.Proposal.Encode(w)
	case c.ContentType == ContentTypeCommit && c.Commit != nil:
		c.Commit.Encode(w)
	default:
		w.Fail(wire.ErrBadValue)
	}
}

// Decode reads a content.
func (c *FramedContent) Decode(r *wire.Reader) {
	*c = FramedContent{GroupID: r.Opaque(), Epoch: r.Uint64()}
	c.Sender.Decode(r)
	c.AuthenticatedData = r.Opaque()
	c.ContentType = ContentType(r.Uint8())
	c.decodeBody(r)
}

func (c *FramedContent) decodeBody(r *wire.Reader) {
	switch c.ContentType {
	case ContentTypeApplication:
		c.ApplicationData = r.Opaque()
	case ContentTypeProposal:
		c.Proposal = new(Proposal)
		c.Proposal.Decode(r)
	case ContentTypeCommit:
		c.Commit = new(Commit)
		c.Commit.Decode(r)
	default:
		r.FailValue()
	}
}

// FramedContentAuthData authenticates a FramedContent (RFC 9420 §6.1).
type FramedContentAuthData struct {
	Signature       []byte
	ConfirmationTag []byte // commits only
}

// encode appends the data; its layout depends on the content type.
func (a *FramedContentAuthData) encode(w *wire.Writer, t ContentType) {
	w.Opaque(a.Signature)
	if t == ContentTypeCommit {
		w.Opaque(a.ConfirmationTag)
	}
}

func (a *FramedContentAuthData) decode(r *wire.Reader, t ContentType) {
	*a = FramedContentAuthData{Signature: r.Opaque()}
	if t == ContentTypeCommit {
		a.ConfirmationTag = r.Opaque()
	}
}

// AuthenticatedContent is a content with its signature, however it travelled
// (RFC 9420 §6).
type AuthenticatedContent struct {
	WireFormat WireFormat
	Content    FramedContent
	Auth       FramedContentAuthData
}

// Encode appends the content.
func (a *AuthenticatedContent) Encode(w *wire.Writer) {
	w.Uint16(uint16(a.WireFormat))
	a.Content.Encode(w)
	a.Auth.encode(w, a.Content.ContentType)
}

// Decode reads a content.
func (a *AuthenticatedContent) Decode(r *wire.Reader) {
	a.WireFormat = WireFormat(r.Uint16())
	a.Content.Decode(r)
	a.Auth.decode(r, a.Content.ContentType)
}

// ProposalRef returns the reference of the proposal a carries
// (RFC 9420 §5.2).
func (a *AuthenticatedContent) ProposalRef(suite CipherSuite) ([]byte, error) {
	b, err := wire.Marshal(a)
	if err != nil {
		return nil, err
	}
	return suite.RefHash("MLS 1.0 Proposal Reference", b)
}

// encodeTBS appends FramedContentTBS, what the signature covers
// (RFC 9420 §6.1). context is the encoded GroupContext of the content's epoch.
func encodeTBS(w *wire.Writer, format WireFormat, c *FramedContent, context []byte) {
	w.Uint16(uint16(MLS10))
	w.Uint16(uint16(format))
	c.Encode(w)
	if c.Sender.Type == SenderTypeMember || c.Sender.Type == SenderTypeNewMemberCommit {
		w.Raw(context)
	}
}

// contentTBS returns FramedContentTBS.
func contentTBS(format WireFormat, c *FramedContent, context []byte) ([]byte, error) {
	var w wire.Writer
	encodeTBS(&w, format, c, context)
	return w.Bytes()
}

// Sign sets the signature over the content. context is the GroupContext of the
// content's epoch; senders outside the group do not need it and may pass nil
// (RFC 9420 §6.1).
func (a *AuthenticatedContent) Sign(suite CipherSuite, priv SignaturePrivateKey, context *GroupContext) error {
	content, err := a.tbs(context)
	if err != nil {
		return err
	}
	a.Auth.Signature, err = suite.SignWithLabel(priv, "FramedContentTBS", content)
	return err
}

// VerifySignature checks the signature with the sender's public key
// (RFC 9420 §6.1). It returns ErrBadSignature.
func (a *AuthenticatedContent) VerifySignature(suite CipherSuite, pub []byte, context *GroupContext) error {
	content, err := a.tbs(context)
	if err != nil {
		return err
	}
	return suite.VerifyWithLabel(pub, "FramedContentTBS", content, a.Auth.Signature)
}

func (a *AuthenticatedContent) tbs(context *GroupContext) ([]byte, error) {
	var encoded []byte
	if context != nil {
		var err error
		if encoded, err = wire.Marshal(context); err != nil {
			return nil, err
		}
	}
	return contentTBS(a.WireFormat, &a.Content, encoded)
}

// PublicMessage is a signed message everybody can read (RFC 9420 §6.2).
type PublicMessage struct {
	Content       FramedContent
	Auth          FramedContentAuthData
	MembershipTag []byte // sender type member only
}

// Encode appends the message.
func (m *PublicMessage) Encode(w *wire.Writer) {
	m.Content.Encode(w)
	m.Auth.encode(w, m.Content.ContentType)
	if m.Content.Sender.Type == SenderTypeMember {
		w.Opaque(m.MembershipTag)
	}
}

// Decode reads a message. Application data, which must not travel unencrypted
// (RFC 9420 §6), has an encoding that tools and the official vectors use, so it
// is read here; Group.Process and the methods of PublicGroup refuse it with a
// *ValidationError.
func (m *PublicMessage) Decode(r *wire.Reader) {
	*m = PublicMessage{}
	m.Content.Decode(r)
	m.Auth.decode(r, m.Content.ContentType)
	if m.Content.Sender.Type == SenderTypeMember {
		m.MembershipTag = r.Opaque()
	}
}

// Authenticated returns the message as signed content.
func (m *PublicMessage) Authenticated() *AuthenticatedContent {
	return &AuthenticatedContent{WireFormat: WireFormatPublicMessage, Content: m.Content, Auth: m.Auth}
}

// PrivateMessage is an encrypted message (RFC 9420 §6.3).
type PrivateMessage struct {
	GroupID             []byte
	Epoch               uint64
	ContentType         ContentType
	AuthenticatedData   []byte
	EncryptedSenderData []byte
	Ciphertext          []byte
}

// Encode appends the message.
func (m *PrivateMessage) Encode(w *wire.Writer) {
	w.Opaque(m.GroupID)
	w.Uint64(m.Epoch)
	w.Uint8(uint8(m.ContentType))
	w.Opaque(m.AuthenticatedData)
	w.Opaque(m.EncryptedSenderData)
	w.Opaque(m.Ciphertext)
}

// Decode reads a message.
func (m *PrivateMessage) Decode(r *wire.Reader) {
	*m = PrivateMessage{GroupID: r.Opaque(), Epoch: r.Uint64(), ContentType: ContentType(r.Uint8())}
	if m.ContentType < ContentTypeApplication || m.ContentType > ContentTypeCommit {
		r.FailValue()
	}
	m.AuthenticatedData = r.Opaque()
	m.EncryptedSenderData = r.Opaque()
	m.Ciphertext = r.Opaque()
}
