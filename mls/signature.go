package mls

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"io"

	"hubbub/mls/wire"
)

// SignaturePrivateKey is a signature private key: an Ed25519 seed of 32
// octets, or an ECDSA scalar as long as the curve's order.
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

// UnmarshalBinary reads what MarshalBinary returned.
func (k *SignatureKey) UnmarshalBinary(b []byte) error {
	return wire.Unmarshal(append([]byte(nil), b...), k)
}

// GenerateSignatureKey makes a signature key pair from rand. Public keys are
// encoded as RFC 9420 §5.1.1 asks: 32 octets of Ed25519, or an uncompressed
// point.
func (s CipherSuite) GenerateSignatureKey(rand io.Reader) (priv SignaturePrivateKey, pub []byte, err error) {
	a, err := s.algorithms()
	if err != nil {
		return nil, nil, err
	}
	size := ed25519.SeedSize
	if a.curve != nil {
		size = (a.curve.Params().BitSize + 7) / 8
	}
	// A random scalar misses the range of a P-256 key once in 2^32 attempts
	// and that of the other curves even less often once the excess bits are
	// cleared; the bound only stops a broken source of randomness.
	for range 100 {
		seed := make([]byte, size)
		if _, err := io.ReadFull(rand, seed); err != nil {
			return nil, nil, fmt.Errorf("mls: read randomness: %w", err)
		}
		if a.curve != nil {
			seed[0] &= 0xff >> (size*8 - a.curve.Params().BitSize)
		}
		if pub, err = s.SignaturePublicKey(seed); err == nil {
			return seed, pub, nil
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
	if a.curve == nil {
		if len(priv) != ed25519.SeedSize {
			return nil, ErrBadKey
		}
		return ed25519.NewKeyFromSeed(priv).Public().(ed25519.PublicKey), nil
	}
	key, err := a.ecdsaKey(priv)
	if err != nil {
		return nil, err
	}
	return key.PublicKey.Bytes()
}

// ecdsaKey parses a scalar. Leading zeros may be missing: other stacks store
// private keys so.
func (a *algorithms) ecdsaKey(priv SignaturePrivateKey) (*ecdsa.PrivateKey, error) {
	size := (a.curve.Params().BitSize + 7) / 8
	if len(priv) > size {
		return nil, ErrBadKey
	}
	scalar := make([]byte, size)
	copy(scalar[size-len(priv):], priv)
	key, err := ecdsa.ParseRawPrivateKey(a.curve, scalar)
	if err != nil {
		return nil, ErrBadKey
	}
	return key, nil
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
	if a.curve == nil {
		if len(priv) != ed25519.SeedSize {
			return nil, ErrBadKey
		}
		return ed25519.Sign(ed25519.NewKeyFromSeed(priv), tbs), nil
	}
	key, err := a.ecdsaKey(priv)
	if err != nil {
		return nil, err
	}
	h := a.hash.New()
	h.Write(tbs)
	return ecdsa.SignASN1(rand.Reader, key, h.Sum(nil))
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
	if a.curve == nil {
		if len(pub) != ed25519.PublicKeySize {
			return ErrBadKey
		}
		if !ed25519.Verify(pub, tbs, sig) {
			return ErrBadSignature
		}
		return nil
	}
	key, err := ecdsa.ParseUncompressedPublicKey(a.curve, pub)
	if err != nil {
		return ErrBadKey
	}
	h := a.hash.New()
	h.Write(tbs)
	if !ecdsa.VerifyASN1(key, h.Sum(nil), sig) {
		return ErrBadSignature
	}
	return nil
}

// equalKey reports whether two keys or identifiers have the same octets.
func equalKey(a, b []byte) bool { return string(a) == string(b) }
