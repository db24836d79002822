package mls

import (
	"crypto/hpke"
	"fmt"
)

// hpkeScheme is HPKE in base mode with fixed algorithms (RFC 9180), as far as
// MLS uses it: one message per encapsulation, and the exporter. Keys are
// octets in their serialized form.
//
// Errors are ErrBadKey for a malformed key and ErrDecrypt for a ciphertext
// that does not fit; they leave out causes that could describe a private key.
type hpkeScheme interface {
	// seal encrypts one message to a public key.
	seal(pub, info, plaintext []byte) (enc, ciphertext []byte, err error)
	// open is the inverse of seal.
	open(priv, enc, info, ciphertext []byte) ([]byte, error)
	// exportTo makes a secret that the holder of the private key can export.
	exportTo(pub []byte, context string, length int) (enc, secret []byte, err error)
	// exportFrom recovers that secret.
	exportFrom(priv, enc []byte, context string, length int) ([]byte, error)
	// derive is DeriveKeyPair of the KEM.
	derive(ikm []byte) (priv, pub []byte, err error)
	// public returns the public key that belongs to a private key.
	public(priv []byte) ([]byte, error)
	// check verifies that octets are a public key.
	check(pub []byte) error
}

// stdHPKE is HPKE of the standard library.
type stdHPKE struct {
	kem  hpke.KEM
	kdf  hpke.KDF
	aead hpke.AEAD
	// scalarSize is the size to which short private keys are padded: other
	// stacks drop leading zeros of P-521 keys. 0 means no padding.
	scalarSize int
}

func (h *stdHPKE) publicKey(pub []byte) (hpke.PublicKey, error) {
	key, err := h.kem.NewPublicKey(pub)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadKey, err)
	}
	return key, nil
}

func (h *stdHPKE) privateKey(priv []byte) (hpke.PrivateKey, error) {
	if len(priv) < h.scalarSize {
		priv = append(make([]byte, h.scalarSize-len(priv)), priv...)
	}
	key, err := h.kem.NewPrivateKey(priv)
	if err != nil {
		return nil, ErrBadKey
	}
	return key, nil
}

func (h *stdHPKE) sender(pub, info []byte) ([]byte, *hpke.Sender, error) {
	key, err := h.publicKey(pub)
	if err != nil {
		return nil, nil, err
	}
	enc, s, err := hpke.NewSender(key, h.kdf, h.aead, info)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrBadKey, err)
	}
	return enc, s, nil
}

func (h *stdHPKE) recipient(priv, enc, info []byte) (*hpke.Recipient, error) {
	key, err := h.privateKey(priv)
	if err != nil {
		return nil, err
	}
	r, err := hpke.NewRecipient(enc, key, h.kdf, h.aead, info)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDecrypt, err)
	}
	return r, nil
}

func (h *stdHPKE) seal(pub, info, plaintext []byte) (enc, ciphertext []byte, err error) {
	enc, s, err := h.sender(pub, info)
	if err != nil {
		return nil, nil, err
	}
	ciphertext, err = s.Seal(nil, plaintext)
	return enc, ciphertext, err
}

func (h *stdHPKE) open(priv, enc, info, ciphertext []byte) ([]byte, error) {
	r, err := h.recipient(priv, enc, info)
	if err != nil {
		return nil, err
	}
	plaintext, err := r.Open(nil, ciphertext)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDecrypt, err)
	}
	return plaintext, nil
}

func (h *stdHPKE) exportTo(pub []byte, context string, length int) (enc, secret []byte, err error) {
	enc, s, err := h.sender(pub, nil)
	if err != nil {
		return nil, nil, err
	}
	secret, err = s.Export(context, length)
	return enc, secret, err
}

func (h *stdHPKE) exportFrom(priv, enc []byte, context string, length int) ([]byte, error) {
	r, err := h.recipient(priv, enc, nil)
	if err != nil {
		return nil, err
	}
	return r.Export(context, length)
}

func (h *stdHPKE) derive(ikm []byte) (priv, pub []byte, err error) {
	key, err := h.kem.DeriveKeyPair(ikm)
	if err != nil {
		return nil, nil, ErrBadKey
	}
	priv, err = key.Bytes()
	return priv, key.PublicKey().Bytes(), err
}

func (h *stdHPKE) public(priv []byte) ([]byte, error) {
	key, err := h.privateKey(priv)
	if err != nil {
		return nil, err
	}
	return key.PublicKey().Bytes(), nil
}

func (h *stdHPKE) check(pub []byte) error {
	_, err := h.publicKey(pub)
	return err
}
