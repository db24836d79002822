package mls

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/subtle"
	"fmt"
	"io"

	"hubbub/mls/wire"
)

// labelPrefix starts every label of MLS 1.0.
const labelPrefix = "MLS 1.0 "

// Hash returns the suite's hash of data (RFC 9420 §5.1).
func (s CipherSuite) Hash(data []byte) ([]byte, error) {
	a, err := s.algorithms()
	if err != nil {
		return nil, err
	}
	h := a.hash.New()
	h.Write(data)
	return h.Sum(nil), nil
}

// RefHash hashes value under label, which is used whole (RFC 9420 §5.2).
func (s CipherSuite) RefHash(label string, value []byte) ([]byte, error) {
	b, err := labelled(label, value)
	if err != nil {
		return nil, err
	}
	return s.Hash(b)
}

// labelled encodes {label, content}, the form of RefHashInput, SignContent and
// EncryptContext.
func labelled(label string, content []byte) ([]byte, error) {
	var w wire.Writer
	w.Opaque([]byte(label))
	w.Opaque(content)
	return w.Bytes()
}

// MAC returns the HMAC of data with the suite's hash (RFC 9420 §5.1).
func (s CipherSuite) MAC(key, data []byte) ([]byte, error) {
	a, err := s.algorithms()
	if err != nil {
		return nil, err
	}
	h := hmac.New(a.hash.New, key)
	h.Write(data)
	return h.Sum(nil), nil
}

// verifyMAC compares the MAC of data with tag in constant time.
func (s CipherSuite) verifyMAC(key, data, tag []byte) (bool, error) {
	want, err := s.MAC(key, data)
	return err == nil && subtle.ConstantTimeCompare(want, tag) == 1, err
}

// extract is KDF.Extract.
func (s CipherSuite) extract(salt, ikm []byte) ([]byte, error) {
	a, err := s.algorithms()
	if err != nil {
		return nil, err
	}
	return hkdf.Extract(a.hash.New, ikm, salt)
}

// ExpandWithLabel derives length octets from secret (RFC 9420 §8).
func (s CipherSuite) ExpandWithLabel(secret []byte, label string, context []byte, length int) ([]byte, error) {
	a, err := s.algorithms()
	if err != nil {
		return nil, err
	}
	if length < 0 || length > 1<<16-1 {
		return nil, fmt.Errorf("mls: expand to %d octets: %w", length, wire.ErrTooLong)
	}
	var w wire.Writer
	w.Uint16(uint16(length))
	w.Opaque([]byte(labelPrefix + label))
	w.Opaque(context)
	info, err := w.Bytes()
	if err != nil {
		return nil, err
	}
	return hkdf.Expand(a.hash.New, secret, string(info), length)
}

// DeriveSecret derives a secret of the hash's length (RFC 9420 §8).
func (s CipherSuite) DeriveSecret(secret []byte, label string) ([]byte, error) {
	return s.ExpandWithLabel(secret, label, nil, s.HashSize())
}

// deriveTreeSecret derives with a generation as context (RFC 9420 §9.1).
func (s CipherSuite) deriveTreeSecret(secret []byte, label string, generation uint32, length int) ([]byte, error) {
	var w wire.Writer
	w.Uint32(generation)
	context, err := w.Bytes()
	if err != nil {
		return nil, err
	}
	return s.ExpandWithLabel(secret, label, context, length)
}

// EncryptWithLabel encrypts plaintext to the HPKE public key pub
// (RFC 9420 §5.1.3). For a component, pass a ComponentLabel. It returns
// ErrBadKey if pub is malformed.
func (s CipherSuite) EncryptWithLabel(pub []byte, label string, context, plaintext []byte) (HPKECiphertext, error) {
	a, err := s.algorithms()
	if err != nil {
		return HPKECiphertext{}, err
	}
	info, err := labelled(labelPrefix+label, context)
	if err != nil {
		return HPKECiphertext{}, err
	}
	enc, ct, err := a.hpke.seal(pub, info, plaintext)
	return HPKECiphertext{KEMOutput: enc, Ciphertext: ct}, err
}

// DecryptWithLabel is the inverse of EncryptWithLabel. It returns ErrDecrypt
// if the ciphertext does not fit, ErrBadKey if priv is malformed.
func (s CipherSuite) DecryptWithLabel(priv []byte, label string, context []byte, c HPKECiphertext) ([]byte, error) {
	a, err := s.algorithms()
	if err != nil {
		return nil, err
	}
	info, err := labelled(labelPrefix+label, context)
	if err != nil {
		return nil, err
	}
	return a.hpke.open(priv, c.KEMOutput, info, c.Ciphertext)
}

// GenerateHPKEKey makes an HPKE key pair from rand.
func (s CipherSuite) GenerateHPKEKey(rand io.Reader) (priv, pub []byte, err error) {
	ikm, err := s.random(rand)
	if err != nil {
		return nil, nil, err
	}
	return s.deriveKeyPair(ikm)
}

// random reads as many octets as the suite's hash has.
func (s CipherSuite) random(rand io.Reader) ([]byte, error) {
	if _, err := s.algorithms(); err != nil {
		return nil, err
	}
	b := make([]byte, s.HashSize())
	if _, err := io.ReadFull(rand, b); err != nil {
		return nil, fmt.Errorf("mls: read randomness: %w", err)
	}
	return b, nil
}

// deriveKeyPair is KEM.DeriveKeyPair.
func (s CipherSuite) deriveKeyPair(ikm []byte) (priv, pub []byte, err error) {
	a, err := s.algorithms()
	if err != nil {
		return nil, nil, err
	}
	return a.hpke.derive(ikm)
}

// hpkePublic returns the public key that belongs to priv.
func (s CipherSuite) hpkePublic(priv []byte) ([]byte, error) {
	a, err := s.algorithms()
	if err != nil {
		return nil, err
	}
	return a.hpke.public(priv)
}

// checkHPKEPublicKey reports ErrBadKey for an octet string that is not a
// public key of the suite's KEM (RFC 9420 §5.1.1).
func (s CipherSuite) checkHPKEPublicKey(pub []byte) error {
	a, err := s.algorithms()
	if err != nil {
		return err
	}
	return a.hpke.check(pub)
}

// seal encrypts with the suite's AEAD.
func (s CipherSuite) seal(key, nonce, aad, plaintext []byte) ([]byte, error) {
	a, err := s.algorithms()
	if err != nil {
		return nil, err
	}
	aead, err := a.newAEAD(key)
	if err != nil {
		return nil, ErrBadKey
	}
	return aead.Seal(nil, nonce, plaintext, aad), nil
}

// open decrypts with the suite's AEAD.
func (s CipherSuite) open(key, nonce, aad, ciphertext []byte) ([]byte, error) {
	a, err := s.algorithms()
	if err != nil {
		return nil, err
	}
	aead, err := a.newAEAD(key)
	if err != nil {
		return nil, ErrBadKey
	}
	plaintext, err := aead.Open(nil, nonce, ciphertext, aad)
	if err != nil {
		return nil, ErrDecrypt
	}
	return plaintext, nil
}
