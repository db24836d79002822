package mls

import (
	"encoding/binary"
	"io"

	"hubbub/mls/wire"
)

// membershipTag computes the tag over a PublicMessage of a member
// (RFC 9420 §6.2). context is the encoded GroupContext.
func membershipTag(suite CipherSuite, key []byte, m *PublicMessage, context []byte) ([]byte, error) {
	tbm, err := membershipTBM(m, context)
	if err != nil {
		return nil, err
	}
	return suite.MAC(key, tbm)
}

// verifyMembershipTag returns ErrBadMAC if the tag does not match.
func verifyMembershipTag(suite CipherSuite, key []byte, m *PublicMessage, context []byte) error {
	tbm, err := membershipTBM(m, context)
	if err != nil {
		return err
	}
	ok, err := suite.verifyMAC(key, tbm, m.MembershipTag)
	if err == nil && !ok {
		err = ErrBadMAC
	}
	return err
}

func membershipTBM(m *PublicMessage, context []byte) ([]byte, error) {
	var w wire.Writer
	encodeTBS(&w, WireFormatPublicMessage, &m.Content, context)
	m.Auth.encode(&w, m.Content.ContentType)
	return w.Bytes()
}

// senderData says which key protects a PrivateMessage (RFC 9420 §6.3.2).
type senderData struct {
	leaf       LeafIndex
	generation uint32
	reuseGuard [4]byte
}

func (d *senderData) Encode(w *wire.Writer) {
	w.Uint32(uint32(d.leaf))
	w.Uint32(d.generation)
	w.Raw(d.reuseGuard[:])
}

func (d *senderData) Decode(r *wire.Reader) {
	d.leaf = LeafIndex(r.Uint32())
	d.generation = r.Uint32()
	copy(d.reuseGuard[:], r.Raw(4))
}

// senderDataKey derives the key from a sample of the ciphertext
// (RFC 9420 §6.3.2).
func senderDataKey(suite CipherSuite, secret, ciphertext []byte) (key, nonce []byte, err error) {
	a, err := suite.algorithms()
	if err != nil {
		return nil, nil, err
	}
	sample := ciphertext[:min(len(ciphertext), suite.HashSize())]
	if key, err = suite.ExpandWithLabel(secret, "key", sample, a.keySize); err != nil {
		return nil, nil, err
	}
	nonce, err = suite.ExpandWithLabel(secret, "nonce", sample, nonceSize)
	return key, nonce, err
}

// aads returns the additional data of the sender data and of the content:
// the latter extends the former (RFC 9420 §6.3.1, §6.3.2).
func (m *PrivateMessage) aads() (sender, content []byte, err error) {
	var w wire.Writer
	w.Opaque(m.GroupID)
	w.Uint64(m.Epoch)
	w.Uint8(uint8(m.ContentType))
	b, err := w.Bytes()
	if err != nil {
		return nil, nil, err
	}
	n := len(b)
	w.Opaque(m.AuthenticatedData)
	content, err = w.Bytes()
	return content[:min(n, len(content))], content, err
}

// guardNonce applies the reuse guard (RFC 9420 §6.3.1).
func guardNonce(nonce []byte, guard [4]byte) []byte {
	out := append([]byte(nil), nonce...)
	binary.BigEndian.PutUint32(out, binary.BigEndian.Uint32(out)^binary.BigEndian.Uint32(guard[:]))
	return out
}

// sealPrivate encrypts signed content of a member under key (RFC 9420 §6.3).
// The plaintext is padded with zeros to a multiple of pad octets.
func sealPrivate(suite CipherSuite, senderDataSecret []byte, a *AuthenticatedContent, key messageKey, pad int, rand io.Reader) (*PrivateMessage, error) {
	c := &a.Content
	m := &PrivateMessage{GroupID: c.GroupID, Epoch: c.Epoch, ContentType: c.ContentType, AuthenticatedData: c.AuthenticatedData}
	plaintext, err := paddedContent(a, pad)
	if err != nil {
		return nil, err
	}
	sd := senderData{leaf: c.Sender.LeafIndex, generation: key.generation}
	if _, err := io.ReadFull(rand, sd.reuseGuard[:]); err != nil {
		return nil, err
	}
	senderAAD, contentAAD, err := m.aads()
	if err != nil {
		return nil, err
	}
	m.Ciphertext, err = suite.seal(key.key, guardNonce(key.nonce, sd.reuseGuard), contentAAD, plaintext)
	if err != nil {
		return nil, err
	}
	m.EncryptedSenderData, err = sealSenderData(suite, senderDataSecret, &sd, senderAAD, m.Ciphertext)
	return m, err
}

// paddedContent is PrivateMessageContent: what is encrypted, with zeros up to a
// multiple of pad octets.
func paddedContent(a *AuthenticatedContent, pad int) ([]byte, error) {
	var w wire.Writer
	a.Content.encodeBody(&w)
	a.Auth.encode(&w, a.Content.ContentType)
	b, err := w.Bytes()
	if err != nil {
		return nil, err
	}
	if pad > 1 {
		b = append(b, make([]byte, (pad-len(b)%pad)%pad)...)
	}
	return b, nil
}

func sealSenderData(suite CipherSuite, secret []byte, sd *senderData, aad, ciphertext []byte) ([]byte, error) {
	key, nonce, err := senderDataKey(suite, secret, ciphertext)
	if err != nil {
		return nil, err
	}
	plaintext, err := wire.Marshal(sd)
	if err != nil {
		return nil, err
	}
	return suite.seal(key, nonce, aad, plaintext)
}

// openSenderData reads who sent m and with which key. It returns ErrDecrypt if
// m is not of this epoch or damaged.
func openSenderData(suite CipherSuite, secret []byte, m *PrivateMessage) (*senderData, error) {
	aad, _, err := m.aads()
	if err != nil {
		return nil, err
	}
	key, nonce, err := senderDataKey(suite, secret, m.Ciphertext)
	if err != nil {
		return nil, err
	}
	plaintext, err := suite.open(key, nonce, aad, m.EncryptedSenderData)
	if err != nil {
		return nil, err
	}
	sd := new(senderData)
	return sd, wire.Unmarshal(plaintext, sd)
}

// openPrivate decrypts m with the key its sender data names. The signature is
// left to the caller.
func openPrivate(suite CipherSuite, m *PrivateMessage, sd *senderData, key messageKey) (*AuthenticatedContent, error) {
	_, aad, err := m.aads()
	if err != nil {
		return nil, err
	}
	plaintext, err := suite.open(key.key, guardNonce(key.nonce, sd.reuseGuard), aad, m.Ciphertext)
	if err != nil {
		return nil, err
	}
	return parseContent(WireFormatPrivateMessage, m, sd.leaf, plaintext)
}

// parseContent reads decrypted content of a member and checks the padding.
func parseContent(format WireFormat, m *PrivateMessage, sender LeafIndex, plaintext []byte) (*AuthenticatedContent, error) {
	a := &AuthenticatedContent{WireFormat: format, Content: FramedContent{
		GroupID: m.GroupID, Epoch: m.Epoch, AuthenticatedData: m.AuthenticatedData, ContentType: m.ContentType,
		Sender: Sender{Type: SenderTypeMember, LeafIndex: sender},
	}}
	r := wire.NewReader(plaintext)
	a.Content.decodeBody(r)
	a.Auth.decode(r, m.ContentType)
	for _, b := range r.Remaining() {
		if b != 0 {
			return nil, invalid("RFC 9420 §6.3.1", "padding is not zero")
		}
	}
	return a, r.Err()
}
