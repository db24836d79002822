package mls

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha512"
	"encoding/binary"

	"github.com/cloudflare/circl/dh/x448"
)

// x448HPKE is HPKE in base mode with DHKEM(X448, HKDF-SHA512) and HKDF-SHA512
// (RFC 9180 §4.1 and §5.1). The standard library has this mode but not the
// curve.
type x448HPKE struct {
	aeadID  uint16
	keySize int
	newAEAD func([]byte) (cipher.AEAD, error)
}

const (
	x448KEMID    = 0x0021
	hkdf512KDFID = 0x0003
	x448Mode     = 0 // base
)

// labelledHKDF is LabeledExtract and LabeledExpand of RFC 9180 §4 for one
// suite_id.
type labelledHKDF string

func suiteID(prefix string, ids ...uint16) labelledHKDF {
	b := []byte(prefix)
	for _, id := range ids {
		b = binary.BigEndian.AppendUint16(b, id)
	}
	return labelledHKDF(b)
}

func (id labelledHKDF) extract(salt []byte, label string, ikm []byte) ([]byte, error) {
	in := append([]byte("HPKE-v1"+string(id)+label), ikm...)
	return hkdf.Extract(sha512.New, in, salt)
}

func (id labelledHKDF) expand(prk []byte, label string, info []byte, length int) ([]byte, error) {
	in := binary.BigEndian.AppendUint16(nil, uint16(length))
	in = append(in, "HPKE-v1"+string(id)+label...)
	return hkdf.Expand(sha512.New, prk, string(append(in, info...)), length)
}

var x448KEM = suiteID("KEM", x448KEMID)

// x448Key parses a key of either kind.
func x448Key(b []byte) (k x448.Key, err error) {
	if len(b) != x448.Size {
		return k, ErrBadKey
	}
	copy(k[:], b)
	return k, nil
}

// x448Shared is the KEM's shared secret of a Diffie-Hellman exchange, which
// fails for a public key of low order.
func x448Shared(secret, public *x448.Key, enc, pub []byte) ([]byte, error) {
	var dh x448.Key
	if !x448.Shared(&dh, secret, public) {
		return nil, ErrBadKey
	}
	prk, err := x448KEM.extract(nil, "eae_prk", dh[:])
	if err != nil {
		return nil, err
	}
	context := append(append([]byte(nil), enc...), pub...)
	return x448KEM.expand(prk, "shared_secret", context, sha512.Size)
}

func (h *x448HPKE) encapsulate(pub []byte) (enc, shared []byte, err error) {
	public, err := x448Key(pub)
	if err != nil {
		return nil, nil, err
	}
	ikm := make([]byte, x448.Size)
	if _, err := rand.Read(ikm); err != nil {
		return nil, nil, err
	}
	priv, enc, err := h.derive(ikm)
	if err != nil {
		return nil, nil, err
	}
	secret := x448.Key(priv)
	shared, err = x448Shared(&secret, &public, enc, pub)
	return enc, shared, err
}

func (h *x448HPKE) decapsulate(priv, enc []byte) (shared []byte, err error) {
	secret, err := x448Key(priv)
	if err != nil {
		return nil, err
	}
	public, err := x448Key(enc)
	if err != nil {
		return nil, ErrDecrypt
	}
	var own x448.Key
	x448.KeyGen(&own, &secret)
	if shared, err = x448Shared(&secret, &public, enc, own[:]); err != nil {
		return nil, ErrDecrypt
	}
	return shared, nil
}

// x448Context is what the key schedule of RFC 9180 §5.1 gives.
type x448Context struct {
	id       labelledHKDF
	aead     cipher.AEAD
	nonce    []byte
	exporter []byte
}

func (h *x448HPKE) schedule(shared, info []byte) (*x448Context, error) {
	id := suiteID("HPKE", x448KEMID, hkdf512KDFID, h.aeadID)
	pskIDHash, err := id.extract(nil, "psk_id_hash", nil)
	if err != nil {
		return nil, err
	}
	infoHash, err := id.extract(nil, "info_hash", info)
	if err != nil {
		return nil, err
	}
	context := append(append([]byte{x448Mode}, pskIDHash...), infoHash...)
	secret, err := id.extract(shared, "secret", nil)
	if err != nil {
		return nil, err
	}
	key, err := id.expand(secret, "key", context, h.keySize)
	if err != nil {
		return nil, err
	}
	c := &x448Context{id: id}
	if c.aead, err = h.newAEAD(key); err != nil {
		return nil, err
	}
	if c.nonce, err = id.expand(secret, "base_nonce", context, nonceSize); err != nil {
		return nil, err
	}
	c.exporter, err = id.expand(secret, "exp", context, sha512.Size)
	return c, err
}

func (c *x448Context) export(context string, length int) ([]byte, error) {
	return c.id.expand(c.exporter, "sec", []byte(context), length)
}

func (h *x448HPKE) send(pub, info []byte) (enc []byte, c *x448Context, err error) {
	enc, shared, err := h.encapsulate(pub)
	if err != nil {
		return nil, nil, err
	}
	c, err = h.schedule(shared, info)
	return enc, c, err
}

func (h *x448HPKE) receive(priv, enc, info []byte) (*x448Context, error) {
	shared, err := h.decapsulate(priv, enc)
	if err != nil {
		return nil, err
	}
	return h.schedule(shared, info)
}

func (h *x448HPKE) seal(pub, info, plaintext []byte) (enc, ciphertext []byte, err error) {
	enc, c, err := h.send(pub, info)
	if err != nil {
		return nil, nil, err
	}
	return enc, c.aead.Seal(nil, c.nonce, plaintext, nil), nil
}

func (h *x448HPKE) open(priv, enc, info, ciphertext []byte) ([]byte, error) {
	c, err := h.receive(priv, enc, info)
	if err != nil {
		return nil, err
	}
	plaintext, err := c.aead.Open(nil, c.nonce, ciphertext, nil)
	if err != nil {
		return nil, ErrDecrypt
	}
	return plaintext, nil
}

func (h *x448HPKE) exportTo(pub []byte, context string, length int) (enc, secret []byte, err error) {
	enc, c, err := h.send(pub, nil)
	if err != nil {
		return nil, nil, err
	}
	secret, err = c.export(context, length)
	return enc, secret, err
}

func (h *x448HPKE) exportFrom(priv, enc []byte, context string, length int) ([]byte, error) {
	c, err := h.receive(priv, enc, nil)
	if err != nil {
		return nil, err
	}
	return c.export(context, length)
}

func (h *x448HPKE) derive(ikm []byte) (priv, pub []byte, err error) {
	prk, err := x448KEM.extract(nil, "dkp_prk", ikm)
	if err != nil {
		return nil, nil, err
	}
	if priv, err = x448KEM.expand(prk, "sk", nil, x448.Size); err != nil {
		return nil, nil, err
	}
	pub, err = h.public(priv)
	return priv, pub, err
}

func (h *x448HPKE) public(priv []byte) ([]byte, error) {
	secret, err := x448Key(priv)
	if err != nil {
		return nil, err
	}
	var public x448.Key
	x448.KeyGen(&public, &secret)
	return public[:], nil
}

func (h *x448HPKE) check(pub []byte) error {
	_, err := x448Key(pub)
	return err
}
