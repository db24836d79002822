package mls

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"

	"github.com/cloudflare/circl/sign/ed448"
)

// signatureScheme is the signature algorithm of a suite, on the serialized
// keys of RFC 9420 §5.1.1. Errors are ErrBadKey and ErrBadSignature.
type signatureScheme interface {
	// seed turns as many random octets as seedSize asks for into a private
	// key, which public may still refuse.
	seed(random []byte) SignaturePrivateKey
	seedSize() int
	public(priv SignaturePrivateKey) ([]byte, error)
	sign(priv SignaturePrivateKey, content []byte) ([]byte, error)
	verify(pub, content, sig []byte) error
	// certified returns the signature key that a certificate vouches for, in
	// the form it has in a leaf; ok is false if it is of another algorithm.
	certified(cert *x509.Certificate) (pub []byte, ok bool)
}

type ed25519Scheme struct{}

func (ed25519Scheme) seedSize() int                          { return ed25519.SeedSize }
func (ed25519Scheme) seed(random []byte) SignaturePrivateKey { return random }

func (ed25519Scheme) public(priv SignaturePrivateKey) ([]byte, error) {
	if len(priv) != ed25519.SeedSize {
		return nil, ErrBadKey
	}
	return ed25519.NewKeyFromSeed(priv).Public().(ed25519.PublicKey), nil
}

func (ed25519Scheme) sign(priv SignaturePrivateKey, content []byte) ([]byte, error) {
	if len(priv) != ed25519.SeedSize {
		return nil, ErrBadKey
	}
	return ed25519.Sign(ed25519.NewKeyFromSeed(priv), content), nil
}

func (ed25519Scheme) verify(pub, content, sig []byte) error {
	if len(pub) != ed25519.PublicKeySize {
		return ErrBadKey
	}
	if !ed25519.Verify(pub, content, sig) {
		return ErrBadSignature
	}
	return nil
}

func (ed25519Scheme) certified(cert *x509.Certificate) ([]byte, bool) {
	pub, ok := cert.PublicKey.(ed25519.PublicKey)
	return pub, ok
}

type ed448Scheme struct{}

func (ed448Scheme) seedSize() int                          { return ed448.SeedSize }
func (ed448Scheme) seed(random []byte) SignaturePrivateKey { return random }

func (ed448Scheme) key(priv SignaturePrivateKey) (ed448.PrivateKey, error) {
	if len(priv) != ed448.SeedSize {
		return nil, ErrBadKey
	}
	return ed448.NewKeyFromSeed(priv), nil
}

func (s ed448Scheme) public(priv SignaturePrivateKey) ([]byte, error) {
	key, err := s.key(priv)
	if err != nil {
		return nil, err
	}
	return key.Public().(ed448.PublicKey), nil
}

func (s ed448Scheme) sign(priv SignaturePrivateKey, content []byte) ([]byte, error) {
	key, err := s.key(priv)
	if err != nil {
		return nil, err
	}
	return ed448.Sign(key, content, ""), nil
}

func (ed448Scheme) verify(pub, content, sig []byte) error {
	if len(pub) != ed448.PublicKeySize {
		return ErrBadKey
	}
	if !ed448.Verify(pub, content, sig, "") {
		return ErrBadSignature
	}
	return nil
}

// certified reads the SubjectPublicKeyInfo, which the standard library leaves
// undecoded for Ed448 (RFC 8410 §4): an algorithm without parameters and a bit
// string of whole octets.
func (ed448Scheme) certified(cert *x509.Certificate) ([]byte, bool) {
	const prefix = "\x30\x43\x30\x05\x06\x03\x2b\x65\x71\x03\x3a\x00"
	info := cert.RawSubjectPublicKeyInfo
	if len(info) != len(prefix)+ed448.PublicKeySize || string(info[:len(prefix)]) != prefix {
		return nil, false
	}
	return info[len(prefix):], true
}

type ecdsaScheme struct {
	curve elliptic.Curve
	hash  crypto.Hash
}

func (s ecdsaScheme) seedSize() int { return (s.curve.Params().BitSize + 7) / 8 }

// seed clears the excess bits of a scalar.
func (s ecdsaScheme) seed(random []byte) SignaturePrivateKey {
	random[0] &= 0xff >> (len(random)*8 - s.curve.Params().BitSize)
	return random
}

// key parses a scalar. Leading zeros may be missing: other stacks store private
// keys so.
func (s ecdsaScheme) key(priv SignaturePrivateKey) (*ecdsa.PrivateKey, error) {
	size := s.seedSize()
	if len(priv) > size {
		return nil, ErrBadKey
	}
	scalar := make([]byte, size)
	copy(scalar[size-len(priv):], priv)
	key, err := ecdsa.ParseRawPrivateKey(s.curve, scalar)
	if err != nil {
		return nil, ErrBadKey
	}
	return key, nil
}

func (s ecdsaScheme) public(priv SignaturePrivateKey) ([]byte, error) {
	key, err := s.key(priv)
	if err != nil {
		return nil, err
	}
	return key.PublicKey.Bytes()
}

func (s ecdsaScheme) digest(content []byte) []byte {
	h := s.hash.New()
	h.Write(content)
	return h.Sum(nil)
}

func (s ecdsaScheme) sign(priv SignaturePrivateKey, content []byte) ([]byte, error) {
	key, err := s.key(priv)
	if err != nil {
		return nil, err
	}
	return ecdsa.SignASN1(rand.Reader, key, s.digest(content))
}

func (s ecdsaScheme) verify(pub, content, sig []byte) error {
	key, err := ecdsa.ParseUncompressedPublicKey(s.curve, pub)
	if err != nil {
		return ErrBadKey
	}
	if !ecdsa.VerifyASN1(key, s.digest(content), sig) {
		return ErrBadSignature
	}
	return nil
}

func (s ecdsaScheme) certified(cert *x509.Certificate) ([]byte, bool) {
	key, ok := cert.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != s.curve {
		return nil, false
	}
	pub, err := key.Bytes()
	return pub, err == nil
}
