package mls

import (
	"fmt"

	"hubbub/mls/wire"
)

// GroupContext is the state all members of an epoch agree on
// (RFC 9420 §8.1).
type GroupContext struct {
	Version                 ProtocolVersion
	CipherSuite             CipherSuite
	GroupID                 []byte
	Epoch                   uint64
	TreeHash                []byte
	ConfirmedTranscriptHash []byte
	Extensions              Extensions
}

// Encode appends the context.
func (c *GroupContext) Encode(w *wire.Writer) {
	w.Uint16(uint16(c.Version))
	w.Uint16(uint16(c.CipherSuite))
	w.Opaque(c.GroupID)
	w.Uint64(c.Epoch)
	w.Opaque(c.TreeHash)
	w.Opaque(c.ConfirmedTranscriptHash)
	c.Extensions.Encode(w)
}

// Decode reads a context.
func (c *GroupContext) Decode(r *wire.Reader) {
	*c = GroupContext{
		Version:                 ProtocolVersion(r.Uint16()),
		CipherSuite:             CipherSuite(r.Uint16()),
		GroupID:                 r.Opaque(),
		Epoch:                   r.Uint64(),
		TreeHash:                r.Opaque(),
		ConfirmedTranscriptHash: r.Opaque(),
	}
	c.Extensions.Decode(r)
}

// GroupInfo tells a newcomer about a group (RFC 9420 §12.4.3).
type GroupInfo struct {
	GroupContext    GroupContext
	Extensions      Extensions
	ConfirmationTag []byte
	Signer          LeafIndex
	Signature       []byte
}

// Encode appends the GroupInfo (not wrapped in an MLSMessage).
func (g *GroupInfo) Encode(w *wire.Writer) {
	g.encodeUnsigned(w)
	w.Opaque(g.Signature)
}

func (g *GroupInfo) encodeUnsigned(w *wire.Writer) {
	g.GroupContext.Encode(w)
	g.Extensions.Encode(w)
	w.Opaque(g.ConfirmationTag)
	w.Uint32(uint32(g.Signer))
}

// Decode reads a GroupInfo.
func (g *GroupInfo) Decode(r *wire.Reader) {
	g.GroupContext.Decode(r)
	g.Extensions.Decode(r)
	g.ConfirmationTag = r.Opaque()
	g.Signer = LeafIndex(r.Uint32())
	g.Signature = r.Opaque()
}

// Sign sets the signature with the key of the member at Signer
// (RFC 9420 §12.4.3).
func (g *GroupInfo) Sign(priv SignaturePrivateKey) error {
	var w wire.Writer
	g.encodeUnsigned(&w)
	content, err := w.Bytes()
	if err != nil {
		return err
	}
	g.Signature, err = g.GroupContext.CipherSuite.SignWithLabel(priv, "GroupInfoTBS", content)
	return err
}

// VerifySignature checks the signature with the public key of the member at
// Signer. It returns ErrBadSignature.
func (g *GroupInfo) VerifySignature(pub []byte) error {
	var w wire.Writer
	g.encodeUnsigned(&w)
	content, err := w.Bytes()
	if err != nil {
		return err
	}
	return g.GroupContext.CipherSuite.VerifyWithLabel(pub, "GroupInfoTBS", content, g.Signature)
}

// RatchetTree returns the tree in the ratchet_tree extension, nil if there is
// none (RFC 9420 §12.4.3.3).
func (g *GroupInfo) RatchetTree() (RatchetTree, error) {
	data, ok := g.Extensions.Find(ExtensionTypeRatchetTree)
	if !ok {
		return nil, nil
	}
	var t RatchetTree
	if err := wire.Unmarshal(data, &t); err != nil {
		return nil, fmt.Errorf("mls: ratchet_tree extension: %w", err)
	}
	return t, nil
}

// EncryptedGroupSecrets is the part of a Welcome for one newcomer
// (RFC 9420 §12.4.3.1).
type EncryptedGroupSecrets struct {
	NewMember             []byte // KeyPackageRef
	EncryptedGroupSecrets HPKECiphertext
}

// Encode appends the entry.
func (s *EncryptedGroupSecrets) Encode(w *wire.Writer) {
	w.Opaque(s.NewMember)
	s.EncryptedGroupSecrets.Encode(w)
}

// Decode reads an entry.
func (s *EncryptedGroupSecrets) Decode(r *wire.Reader) {
	s.NewMember = r.Opaque()
	s.EncryptedGroupSecrets.Decode(r)
}

// Welcome brings newcomers into a group (RFC 9420 §12.4.3.1).
type Welcome struct {
	CipherSuite        CipherSuite
	Secrets            []EncryptedGroupSecrets
	EncryptedGroupInfo []byte
}

// Encode appends the Welcome (not wrapped in an MLSMessage).
func (m *Welcome) Encode(w *wire.Writer) {
	w.Uint16(uint16(m.CipherSuite))
	encodeVector(w, m.Secrets)
	w.Opaque(m.EncryptedGroupInfo)
}

// Decode reads a Welcome.
func (m *Welcome) Decode(r *wire.Reader) {
	m.CipherSuite = CipherSuite(r.Uint16())
	m.Secrets = decodeVector[EncryptedGroupSecrets](r)
	m.EncryptedGroupInfo = r.Opaque()
}

// GroupSecrets is what an EncryptedGroupSecrets holds (RFC 9420 §12.4.3.1).
type GroupSecrets struct {
	JoinerSecret []byte
	PathSecret   []byte // nil if absent
	PSKs         []PreSharedKeyID
}

// Encode appends the secrets.
func (s *GroupSecrets) Encode(w *wire.Writer) {
	w.Opaque(s.JoinerSecret)
	w.Optional(s.PathSecret != nil)
	if s.PathSecret != nil {
		w.Opaque(s.PathSecret)
	}
	encodeVector(w, s.PSKs)
}

// Decode reads secrets.
func (s *GroupSecrets) Decode(r *wire.Reader) {
	*s = GroupSecrets{JoinerSecret: r.Opaque()}
	if r.Optional() {
		s.PathSecret = append([]byte{}, r.Opaque()...)
	}
	s.PSKs = decodeVector[PreSharedKeyID](r)
}
