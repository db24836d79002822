package mls

import (
	"bytes"
	"io"

	"hubbub/mls/wire"
)

// ExtensionTypeExternalReceivers names, in a GroupContext, who outside the group
// can read its SemiPrivateMessages (draft-mahy-mls-semiprivatemessage §3). The
// draft suggests a number that is taken; this one is from the private range.
const ExtensionTypeExternalReceivers ExtensionType = 0xF008

const semiPrivateClause = "draft-mahy-mls-semiprivatemessage §3"

// ExternalReceiver is a party outside the group, such as its hub, that reads
// handshake messages (draft-mahy-mls-semiprivatemessage §3).
type ExternalReceiver struct {
	PublicKey  []byte // HPKE public key of the group's suite
	Credential Credential
}

// Encode appends the receiver.
func (e *ExternalReceiver) Encode(w *wire.Writer) {
	w.Opaque(e.PublicKey)
	e.Credential.Encode(w)
}

// Decode reads a receiver.
func (e *ExternalReceiver) Decode(r *wire.Reader) {
	e.PublicKey = r.Opaque()
	e.Credential.Decode(r)
}

// Ref returns the reference under which messages name the receiver: the suite's
// hash of its encoding (draft-mahy-mls-semiprivatemessage §3.1).
func (e *ExternalReceiver) Ref(suite CipherSuite) ([]byte, error) {
	b, err := wire.Marshal(e)
	if err != nil {
		return nil, err
	}
	return suite.Hash(b)
}

// ExternalReceivers is the content of extension external_receivers. The draft
// gives its element only; the list is taken to be a vector, like that of
// external_senders (draft-mahy-mls-semiprivatemessage §3).
type ExternalReceivers []ExternalReceiver

// Encode appends the extension content.
func (l ExternalReceivers) Encode(w *wire.Writer) { encodeVector(w, l) }

// Decode reads the extension content.
func (l *ExternalReceivers) Decode(r *wire.Reader) { *l = decodeVector[ExternalReceiver](r) }

// ExternalReceivers returns the decoded external_receivers extension, nil if
// the list has none.
func (x Extensions) ExternalReceivers() (ExternalReceivers, error) {
	data, ok := x.Find(ExtensionTypeExternalReceivers)
	if !ok {
		return nil, nil
	}
	var l ExternalReceivers
	return l, wire.Unmarshal(data, &l)
}

// KeyForExternalReceiver is the message key encrypted to one receiver
// (draft-mahy-mls-semiprivatemessage §3.1).
type KeyForExternalReceiver struct {
	Receiver               []byte // ExternalReceiver.Ref
	EncryptedKeysAndNonces HPKECiphertext
}

// Encode appends the entry.
func (k *KeyForExternalReceiver) Encode(w *wire.Writer) {
	w.Opaque(k.Receiver)
	k.EncryptedKeysAndNonces.Encode(w)
}

// Decode reads an entry.
func (k *KeyForExternalReceiver) Decode(r *wire.Reader) {
	k.Receiver = r.Opaque()
	k.EncryptedKeysAndNonces.Decode(r)
}

// SemiPrivateMessage is a handshake message encrypted to the members and to the
// external receivers of the group (draft-mahy-mls-semiprivatemessage §3.1). Its
// content is a proposal or a commit, never application data.
type SemiPrivateMessage struct {
	GroupID              []byte
	Epoch                uint64
	ContentType          ContentType
	AuthenticatedData    []byte
	PartialContextHash   []byte // of sender and nonce, see partialContextHash
	Keys                 []KeyForExternalReceiver
	FramedContentTBSHash []byte // binds members and receivers to one content
	EncryptedSenderData  []byte
	Ciphertext           []byte
}

// Encode appends the message (not wrapped in an MLSMessage).
func (m *SemiPrivateMessage) Encode(w *wire.Writer) {
	m.encodeAAD(w)
	w.Opaque(m.EncryptedSenderData)
	w.Opaque(m.Ciphertext)
}

// encodeAAD appends SemiPrivateContentAAD: all but the last two fields.
func (m *SemiPrivateMessage) encodeAAD(w *wire.Writer) {
	w.Opaque(m.GroupID)
	w.Uint64(m.Epoch)
	w.Uint8(uint8(m.ContentType))
	w.Opaque(m.AuthenticatedData)
	w.Opaque(m.PartialContextHash)
	encodeVector(w, m.Keys)
	w.Opaque(m.FramedContentTBSHash)
}

// Decode reads a message. A content type other than proposal and commit is
// wire.ErrBadValue.
func (m *SemiPrivateMessage) Decode(r *wire.Reader) {
	*m = SemiPrivateMessage{GroupID: r.Opaque(), Epoch: r.Uint64(), ContentType: ContentType(r.Uint8())}
	if m.ContentType != ContentTypeProposal && m.ContentType != ContentTypeCommit {
		r.FailValue()
	}
	m.AuthenticatedData = r.Opaque()
	m.PartialContextHash = r.Opaque()
	m.Keys = decodeVector[KeyForExternalReceiver](r)
	m.FramedContentTBSHash = r.Opaque()
	m.EncryptedSenderData = r.Opaque()
	m.Ciphertext = r.Opaque()
}

// private is the message as far as sender data is concerned, which travels as
// in a PrivateMessage.
func (m *SemiPrivateMessage) private() *PrivateMessage {
	return &PrivateMessage{GroupID: m.GroupID, Epoch: m.Epoch, ContentType: m.ContentType,
		AuthenticatedData: m.AuthenticatedData, EncryptedSenderData: m.EncryptedSenderData, Ciphertext: m.Ciphertext}
}

// partialContextHash is hash(sender_leaf_index || nonce). The draft does not
// say how the nonce is written; here it stands bare, without a length.
func partialContextHash(suite CipherSuite, leaf LeafIndex, nonce []byte) ([]byte, error) {
	var w wire.Writer
	w.Uint32(uint32(leaf))
	w.Raw(nonce)
	b, err := w.Bytes()
	if err != nil {
		return nil, err
	}
	return suite.Hash(b)
}

// receiverKeys is PerMessageKeyAndNonces.
type receiverKeys struct {
	key, nonce []byte
	guard      [4]byte
	leaf       LeafIndex
}

func (k *receiverKeys) Encode(w *wire.Writer) {
	w.Opaque(k.key)
	w.Opaque(k.nonce)
	w.Raw(k.guard[:])
	w.Uint32(uint32(k.leaf))
}

func (k *receiverKeys) Decode(r *wire.Reader) {
	k.key, k.nonce = r.Opaque(), r.Opaque()
	copy(k.guard[:], r.Raw(4))
	k.leaf = LeafIndex(r.Uint32())
	if len(k.nonce) != nonceSize {
		r.FailValue() // an AEAD panics on any other length
	}
}

const receiverLabel = "SemiPrivateMessageReceiver"

// receiverContext is SemiPrivateMessageContext.
func (m *SemiPrivateMessage) receiverContext() ([]byte, error) {
	var w wire.Writer
	w.Opaque(m.GroupID)
	w.Uint64(m.Epoch)
	w.Opaque(m.PartialContextHash)
	return w.Bytes()
}

// sealSemiPrivate encrypts signed content of a member to the group and its
// receivers. context is the encoded GroupContext.
func sealSemiPrivate(suite CipherSuite, senderDataSecret []byte, a *AuthenticatedContent, context []byte, to ExternalReceivers, key messageKey, pad int, rand io.Reader) (*SemiPrivateMessage, error) {
	c := &a.Content
	m := &SemiPrivateMessage{GroupID: c.GroupID, Epoch: c.Epoch, ContentType: c.ContentType, AuthenticatedData: c.AuthenticatedData}
	keys := receiverKeys{key: key.key, nonce: key.nonce, leaf: c.Sender.LeafIndex}
	if _, err := io.ReadFull(rand, keys.guard[:]); err != nil {
		return nil, err
	}
	var err error
	if m.PartialContextHash, err = partialContextHash(suite, keys.leaf, key.nonce); err != nil {
		return nil, err
	}
	if m.FramedContentTBSHash, err = tbsHash(suite, c, context); err != nil {
		return nil, err
	}
	if m.Keys, err = m.sealKeys(suite, &keys, to); err != nil {
		return nil, err
	}
	plaintext, err := paddedContent(a, pad)
	if err != nil {
		return nil, err
	}
	var aad wire.Writer
	m.encodeAAD(&aad)
	b, err := aad.Bytes()
	if err != nil {
		return nil, err
	}
	if m.Ciphertext, err = suite.seal(key.key, guardNonce(key.nonce, keys.guard), b, plaintext); err != nil {
		return nil, err
	}
	senderAAD, _, err := m.private().aads()
	if err != nil {
		return nil, err
	}
	sd := senderData{leaf: keys.leaf, generation: key.generation, reuseGuard: keys.guard}
	m.EncryptedSenderData, err = sealSenderData(suite, senderDataSecret, &sd, senderAAD, m.Ciphertext)
	return m, err
}

func tbsHash(suite CipherSuite, c *FramedContent, context []byte) ([]byte, error) {
	b, err := contentTBS(WireFormatSemiPrivateMessage, c, context)
	if err != nil {
		return nil, err
	}
	return suite.Hash(b)
}

func (m *SemiPrivateMessage) sealKeys(suite CipherSuite, keys *receiverKeys, to ExternalReceivers) ([]KeyForExternalReceiver, error) {
	plaintext, err := wire.Marshal(keys)
	if err != nil {
		return nil, err
	}
	context, err := m.receiverContext()
	if err != nil {
		return nil, err
	}
	out := make([]KeyForExternalReceiver, len(to))
	for i := range to {
		if out[i].Receiver, err = to[i].Ref(suite); err != nil {
			return nil, err
		}
		if out[i].EncryptedKeysAndNonces, err = suite.EncryptWithLabel(to[i].PublicKey, receiverLabel, context, plaintext); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// openSemiPrivate decrypts m and checks both hashes. The signature is left to
// the caller. context is the encoded GroupContext.
func openSemiPrivate(suite CipherSuite, m *SemiPrivateMessage, keys *receiverKeys, context []byte) (*AuthenticatedContent, error) {
	want, err := partialContextHash(suite, keys.leaf, keys.nonce)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(want, m.PartialContextHash) {
		return nil, invalid(semiPrivateClause, "partial context hash does not match")
	}
	var aad wire.Writer
	m.encodeAAD(&aad)
	b, err := aad.Bytes()
	if err != nil {
		return nil, err
	}
	plaintext, err := suite.open(keys.key, guardNonce(keys.nonce, keys.guard), b, m.Ciphertext)
	if err != nil {
		return nil, err
	}
	a, err := parseContent(WireFormatSemiPrivateMessage, m.private(), keys.leaf, plaintext)
	if err != nil {
		return nil, err
	}
	if want, err = tbsHash(suite, &a.Content, context); err != nil {
		return nil, err
	}
	if !bytes.Equal(want, m.FramedContentTBSHash) {
		return nil, invalid(semiPrivateClause, "content differs from what the sender committed to")
	}
	return a, nil
}

// checkSemiPrivate verifies that the group uses semi-private messages: it
// requires the wire format and names receivers.
func (p *PublicGroup) checkSemiPrivate() (ExternalReceivers, error) {
	if !p.context.AllowsWireFormat(WireFormatSemiPrivateMessage) {
		return nil, invalid(wireFormatClause, "group does not use %v", WireFormatSemiPrivateMessage)
	}
	list, err := p.context.Extensions.ExternalReceivers()
	if err != nil {
		return nil, malformed(ExtensionTypeExternalReceivers, err)
	}
	if len(list) == 0 {
		return nil, invalid(semiPrivateClause, "group has no external receivers")
	}
	return list, nil
}

// OpenSemiPrivate decrypts a handshake message as an external receiver of the
// group: self is its entry in the external_receivers extension and private the
// HPKE private key that belongs to it. Group, epoch, both hashes, padding,
// sender and signature are verified (draft-mahy-mls-semiprivatemessage §3.3).
// Give the result to CommitContent or ProposalContent.
//
// Errors are ErrWrongGroup, ErrWrongEpoch, ErrFutureEpoch, ErrDecrypt,
// ErrBadKey, ErrBadSignature, ErrNotMember, or a *ValidationError, also for a
// group without semi-private messages and for a message that self is no
// receiver of.
func (p *PublicGroup) OpenSemiPrivate(m *SemiPrivateMessage, self *ExternalReceiver, private []byte) (*AuthenticatedContent, error) {
	list, err := p.checkSemiPrivate()
	if err != nil {
		return nil, err
	}
	if err := p.checkPlace(m.GroupID, m.Epoch); err != nil {
		return nil, err
	}
	ref, err := self.Ref(p.Suite())
	if err != nil {
		return nil, err
	}
	if err := m.checkReceivers(p.Suite(), list); err != nil {
		return nil, err
	}
	for i := range m.Keys {
		if !bytes.Equal(m.Keys[i].Receiver, ref) {
			continue
		}
		keys, err := m.openKeys(p.Suite(), private, &m.Keys[i].EncryptedKeysAndNonces)
		if err != nil {
			return nil, err
		}
		context, err := p.encodedContext()
		if err != nil {
			return nil, err
		}
		a, err := openSemiPrivate(p.Suite(), m, keys, context)
		if err != nil {
			return nil, err
		}
		return a, p.checkContent(a)
	}
	return nil, invalid(semiPrivateClause, "message is not for this receiver")
}

// checkReceivers verifies that a message is for exactly the receivers of the
// group, so that none is left out and none added.
func (m *SemiPrivateMessage) checkReceivers(suite CipherSuite, list ExternalReceivers) error {
	named := make(map[string]bool, len(list))
	for i := range list {
		ref, err := list[i].Ref(suite)
		if err != nil {
			return err
		}
		named[string(ref)] = true
	}
	for i := range m.Keys {
		if ref := string(m.Keys[i].Receiver); named[ref] {
			delete(named, ref)
		} else {
			return invalid(semiPrivateClause, "message is for a receiver the group does not have")
		}
	}
	if len(named) > 0 {
		return invalid(semiPrivateClause, "message leaves out a receiver of the group")
	}
	return nil
}

func (m *SemiPrivateMessage) openKeys(suite CipherSuite, private []byte, c *HPKECiphertext) (*receiverKeys, error) {
	context, err := m.receiverContext()
	if err != nil {
		return nil, err
	}
	plaintext, err := suite.DecryptWithLabel(private, receiverLabel, context, *c)
	if err != nil {
		return nil, err
	}
	keys := new(receiverKeys)
	return keys, wire.Unmarshal(plaintext, keys)
}

// CommitContent is Commit for signed content however it travelled, such as what
// OpenSemiPrivate returns. Its errors are those of Commit.
func (p *PublicGroup) CommitContent(a *AuthenticatedContent) (*PublicCommit, error) {
	return p.checkCommit(a)
}

// ProposalContent is Proposal for signed content however it travelled, such as
// what OpenSemiPrivate returns. Its errors are those of Proposal.
func (p *PublicGroup) ProposalContent(a *AuthenticatedContent) (*CachedProposal, error) {
	return p.checkProposal(a)
}

// protectSemiPrivate is protect for a SemiPrivateMessage.
func (g *Group) protectSemiPrivate(a *AuthenticatedContent, pad int) (*Group, *SemiPrivateMessage, error) {
	to, err := g.public.checkSemiPrivate()
	if err != nil {
		return nil, nil, err
	}
	context, err := g.public.encodedContext()
	if err != nil {
		return nil, nil, err
	}
	keys, key, err := g.keys.next(g.own, a.Content.ContentType)
	if err != nil {
		return nil, nil, err
	}
	m, err := sealSemiPrivate(g.Suite(), g.secrets.senderData, a, context, to, key, pad, g.rand())
	return g.with(func(next *Group) { next.keys = keys }), m, err
}

// processSemiPrivate opens a handshake message as a member
// (draft-mahy-mls-semiprivatemessage §3.2).
func (g *Group) processSemiPrivate(m *SemiPrivateMessage) (Processed, error) {
	if err := g.checkEpoch(m.GroupID, m.Epoch); err != nil {
		return nil, err
	}
	to, err := g.public.checkSemiPrivate()
	if err != nil {
		return nil, err
	}
	if err := m.checkReceivers(g.Suite(), to); err != nil {
		return nil, err
	}
	sd, err := openSenderData(g.Suite(), g.secrets.senderData, m.private())
	if err != nil {
		return nil, err
	}
	if sd.leaf == g.own {
		return &OwnMessage{Epoch: m.Epoch, ContentType: m.ContentType}, nil
	}
	keys, key, err := g.keys.take(sd.leaf, m.ContentType, sd.generation, g.config().forward(), g.config().skippedKeys())
	if err != nil {
		return nil, err
	}
	context, err := g.public.encodedContext()
	if err != nil {
		return nil, err
	}
	a, err := openSemiPrivate(g.Suite(), m, &receiverKeys{key: key.key, nonce: key.nonce, guard: sd.reuseGuard, leaf: sd.leaf}, context)
	if err != nil {
		return nil, err
	}
	return g.with(func(next *Group) { next.keys = keys }).handshake(a)
}
