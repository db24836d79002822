package mls

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"io"

	"hubbub/mls/wire"
)

// SignaturePrivateKey is a signature private key: a seed of 32 octets for
// Ed25519 or of 57 for Ed448, or an ECDSA scalar as long as the curve's order.
type SignaturePrivateKey []byte

// SignatureKey is a client's signature key pair for one suite.
type SignatureKey struct {
	Suite   CipherSuite
	Private SignaturePrivateKey
	Public  []byte
}

// NewSignatureKey makes a key pair for suite from random (nil means
// crypto/rand).
func NewSignatureKey(suite CipherSuite, random io.Reader) (*SignatureKey, error) {
	if random == nil {
		random = rand.Reader
	}
	priv, pub, err := suite.GenerateSignatureKey(random)
	if err != nil {
		return nil, err
	}
	return &SignatureKey{Suite: suite, Private: priv, Public: pub}, nil
}

// Encode appends the key pair in a form private to this package.
func (k *SignatureKey) Encode(w *wire.Writer) {
	w.Uint16(uint16(k.Suite))
	w.Opaque(k.Private)
	w.Opaque(k.Public)
}

// Decode reads what Encode wrote.
func (k *SignatureKey) Decode(r *wire.Reader) {
	*k = SignatureKey{Suite: CipherSuite(r.Uint16()), Private: r.Opaque(), Public: r.Opaque()}
}

// MarshalBinary returns an encoding for storage; it contains the private key.
func (k *SignatureKey) MarshalBinary() ([]byte, error) { return wire.Marshal(k) }

// UnmarshalBinary reads what MarshalBinary returned, or returns ErrBadState.
func (k *SignatureKey) UnmarshalBinary(b []byte) error {
	if err := wire.Unmarshal(append([]byte(nil), b...), k); err != nil {
		return fmt.Errorf("%w: %w", ErrBadState, err)
	}
	return nil
}

// GenerateSignatureKey makes a signature key pair from rand. Public keys are
// encoded as RFC 9420 §5.1.1 asks: the octets of an Ed25519 or Ed448 key, or an
// uncompressed point.
func (s CipherSuite) GenerateSignatureKey(rand io.Reader) (priv SignaturePrivateKey, pub []byte, err error) {
	a, err := s.algorithms()
	if err != nil {
		return nil, nil, err
	}
	// A random scalar misses the range of a P-256 key once in 2^32 attempts
	// and that of the other curves even less often; the bound only stops a
	// broken source of randomness.
	for range 100 {
		random := make([]byte, a.signature.seedSize())
		if _, err := io.ReadFull(rand, random); err != nil {
			return nil, nil, fmt.Errorf("mls: read randomness: %w", err)
		}
		priv := a.signature.seed(random)
		if pub, err = a.signature.public(priv); err == nil {
			return priv, pub, nil
		}
	}
	return nil, nil, ErrBadKey
}

// SignaturePublicKey returns the public key that belongs to priv. It returns
// ErrBadKey if priv is malformed.
func (s CipherSuite) SignaturePublicKey(priv SignaturePrivateKey) ([]byte, error) {
	a, err := s.algorithms()
	if err != nil {
		return nil, err
	}
	return a.signature.public(priv)
}

// SignWithLabel signs content under label (RFC 9420 §5.1.2). For a component,
// pass a ComponentLabel. It returns ErrBadKey if priv is malformed.
func (s CipherSuite) SignWithLabel(priv SignaturePrivateKey, label string, content []byte) ([]byte, error) {
	a, err := s.algorithms()
	if err != nil {
		return nil, err
	}
	tbs, err := labelled(labelPrefix+label, content)
	if err != nil {
		return nil, err
	}
	return a.signature.sign(priv, tbs)
}

// labelSigner is SignWithLabel with one key.
type labelSigner func(label string, content []byte) ([]byte, error)

// signer returns SignWithLabel with a key that is used more than once: what
// Ed25519 derives from the seed before each signature is derived once.
func (s CipherSuite) signer(priv SignaturePrivateKey) (labelSigner, error) {
	a, err := s.algorithms()
	if err != nil {
		return nil, err
	}
	if _, ok := a.signature.(ed25519Scheme); !ok || len(priv) != ed25519.SeedSize {
		return func(label string, content []byte) ([]byte, error) { return s.SignWithLabel(priv, label, content) }, nil
	}
	key := ed25519.NewKeyFromSeed(priv)
	return func(label string, content []byte) ([]byte, error) {
		tbs, err := labelled(labelPrefix+label, content)
		return ed25519.Sign(key, tbs), err
	}, nil
}

// VerifyWithLabel checks a signature made by SignWithLabel. It returns
// ErrBadSignature if it does not verify, ErrBadKey if pub is malformed; a
// compressed point is malformed (RFC 9420 §5.1.1).
func (s CipherSuite) VerifyWithLabel(pub []byte, label string, content, sig []byte) error {
	a, err := s.algorithms()
	if err != nil {
		return err
	}
	tbs, err := labelled(labelPrefix+label, content)
	if err != nil {
		return err
	}
	return a.signature.verify(pub, tbs, sig)
}

// equalKey reports whether two keys or identifiers have the same octets.
func equalKey(a, b []byte) bool { return string(a) == string(b) }
