package mls

import (
	"bytes"
	"fmt"

	"hubbub/mls/wire"
)

// maxVectorLeaves bounds the trees that a vector asks to be computed.
const maxVectorLeaves = 1 << 16

// labelledVector is a derivation under a label.
type labelledVector struct {
	Secret, Context, Out octets
	Label                string
	Length               int
	Generation           uint32
}

type cryptoVector struct {
	Suite   CipherSuite `json:"cipher_suite"`
	RefHash struct {
		Label      string
		Value, Out octets
	} `json:"ref_hash"`
	Expand labelledVector `json:"expand_with_label"`
	Derive labelledVector `json:"derive_secret"`
	Tree   labelledVector `json:"derive_tree_secret"`
	Sign   struct {
		Priv, Pub, Content, Signature octets
		Label                         string
	} `json:"sign_with_label"`
	Encrypt struct {
		Priv, Pub, Context, Plaintext, Ciphertext octets
		KEMOutput                                 octets `json:"kem_output"`
		Label                                     string
	} `json:"encrypt_with_label"`
}

func (v *cryptoVector) run() error {
	var c comparison
	s := v.Suite
	c.equal("ref_hash", v.RefHash.Out)(s.RefHash(v.RefHash.Label, v.RefHash.Value))
	c.equal("expand_with_label", v.Expand.Out)(s.ExpandWithLabel(v.Expand.Secret, v.Expand.Label, v.Expand.Context, v.Expand.Length))
	c.equal("derive_secret", v.Derive.Out)(s.DeriveSecret(v.Derive.Secret, v.Derive.Label))
	c.equal("derive_tree_secret", v.Tree.Out)(s.deriveTreeSecret(v.Tree.Secret, v.Tree.Label, v.Tree.Generation, v.Tree.Length))

	x := &v.Sign
	c.ok("signature", s.VerifyWithLabel(x.Pub, x.Label, x.Content, x.Signature))
	sig, err := s.SignWithLabel(vectorSigner(s, x.Priv, x.Pub), x.Label, x.Content)
	c.ok("signing", err)
	c.ok("own signature", s.VerifyWithLabel(x.Pub, x.Label, x.Content, sig))
	c.that("a signature verifies under another label", s.VerifyWithLabel(x.Pub, x.Label+"x", x.Content, sig) != nil)

	e := &v.Encrypt
	ct := HPKECiphertext{KEMOutput: e.KEMOutput, Ciphertext: e.Ciphertext}
	c.equal("decrypted plaintext", e.Plaintext)(s.DecryptWithLabel(e.Priv, e.Label, e.Context, ct))
	ct, err = s.EncryptWithLabel(e.Pub, e.Label, e.Context, e.Plaintext)
	c.ok("encrypting", err)
	c.equal("plaintext of an own ciphertext", e.Plaintext)(s.DecryptWithLabel(e.Priv, e.Label, e.Context, ct))
	return c.err
}

// vectorSigner returns the private key of a vector as this package wants it.
// Vectors of some implementations append the public key to that of an EdDSA
// key, or leave out leading zeros of an ECDSA scalar.
func vectorSigner(suite CipherSuite, priv, pub []byte) SignaturePrivateKey {
	if n := len(priv) - len(pub); n > 0 && bytes.Equal(priv[n:], pub) {
		return bytes.Clone(priv[:n])
	}
	size := 0
	switch suite {
	case SuiteP256AES128SHA256P256:
		size = 32
	case SuiteP384AES256SHA384P384:
		size = 48
	case SuiteP521AES256SHA512P521:
		size = 66
	}
	if missing := size - len(priv); missing > 0 {
		return append(make([]byte, missing), priv...)
	}
	return bytes.Clone(priv)
}

type headerVector struct {
	Header octets `json:"vlbytes_header"`
	Length int
}

func (v *headerVector) run() error {
	var c comparison
	if v.Length < 0 || v.Length >= maxVectorLeaves {
		// The content is not made for the test: that it is absent must be
		// noticed before anything is allocated.
		r := wire.NewReader(v.Header)
		r.Opaque()
		c.that("absent content is accepted", r.Err() != nil)
		c.that("length in the header differs", headerLength(v.Header) == v.Length)
		return c.err
	}
	b := append(bytes.Clone(v.Header), make([]byte, v.Length)...)
	r := wire.NewReader(b)
	content := r.Opaque()
	c.ok("header", r.Done())
	c.that("length in the header differs", len(content) == v.Length)
	var w wire.Writer
	w.Opaque(make([]byte, v.Length))
	c.equal("own encoding", b)(w.Bytes())
	return c.err
}

// headerLength reads the length in a vector header of RFC 9420 §2.1.2, -1 if
// there is none.
func headerLength(b []byte) int {
	if len(b) == 0 || b[0]>>6 == 3 || len(b) != 1<<(b[0]>>6) {
		return -1
	}
	n := int(b[0] & 0x3f)
	for _, x := range b[1:] {
		n = n<<8 | int(x)
	}
	return n
}

type treeMathVector struct {
	Leaves                       uint32 `json:"n_leaves"`
	Nodes                        uint32 `json:"n_nodes"`
	Root                         NodeIndex
	Left, Right, Parent, Sibling []*NodeIndex
}

func (v *treeMathVector) run() error {
	if v.Leaves == 0 || v.Leaves > maxVectorLeaves || v.Leaves&(v.Leaves-1) != 0 {
		return fmt.Errorf("%d is not the width of a tree within 2^16 leaves", v.Leaves)
	}
	if nodeWidth(v.Leaves) != v.Nodes || rootOf(v.Leaves) != v.Root {
		return fmt.Errorf("%d leaves make %d nodes with root %d", v.Leaves, nodeWidth(v.Leaves), rootOf(v.Leaves))
	}
	for _, relation := range []struct {
		name string
		want []*NodeIndex
		of   func(NodeIndex) (NodeIndex, bool)
	}{
		{"left", v.Left, NodeIndex.left},
		{"right", v.Right, NodeIndex.right},
		{"parent", v.Parent, func(x NodeIndex) (NodeIndex, bool) { return x.parent(v.Leaves) }},
		{"sibling", v.Sibling, func(x NodeIndex) (NodeIndex, bool) { return x.sibling(v.Leaves) }},
	} {
		if len(relation.want) != int(v.Nodes) {
			return fmt.Errorf("%s has %d entries for %d nodes", relation.name, len(relation.want), v.Nodes)
		}
		for x, want := range relation.want {
			got, ok := relation.of(NodeIndex(x))
			if ok != (want != nil) || ok && got != *want {
				return fmt.Errorf("%s of node %d differs from the vector", relation.name, x)
			}
		}
	}
	return nil
}

type pskVector struct {
	Suite CipherSuite `json:"cipher_suite"`
	PSKs  []struct {
		ID    octets `json:"psk_id"`
		PSK   octets
		Nonce octets `json:"psk_nonce"`
	}
	Secret octets `json:"psk_secret"`
}

func (v *pskVector) run() error {
	var c comparison
	var psks []PSK
	for _, p := range v.PSKs {
		psks = append(psks, PSK{PreSharedKeyID{Type: PSKTypeExternal, ID: p.ID, Nonce: p.Nonce}, []byte(p.PSK)})
	}
	c.equal("psk_secret", v.Secret)(pskSecret(v.Suite, psks))
	return c.err
}
