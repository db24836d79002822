package mls

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/elliptic"
	"crypto/hpke"
	_ "crypto/sha256" // registers SHA-256
	_ "crypto/sha512" // registers SHA-384 and SHA-512
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"
)

// CipherSuite names a set of algorithms (RFC 9420 §17.1). Its methods perform
// the cryptography of that suite and return ErrUnsupportedSuite for a suite
// this package does not implement.
type CipherSuite uint16

// Registered cipher suites, all of which are implemented.
const (
	SuiteX25519AES128SHA256Ed25519 CipherSuite = 1
	SuiteP256AES128SHA256P256      CipherSuite = 2
	SuiteX25519ChaChaSHA256Ed25519 CipherSuite = 3
	SuiteX448AES256SHA512Ed448     CipherSuite = 4
	SuiteP521AES256SHA512P521      CipherSuite = 5
	SuiteX448ChaChaSHA512Ed448     CipherSuite = 6
	SuiteP384AES256SHA384P384      CipherSuite = 7
)

// String returns the registered name, or the number in hexadecimal.
func (s CipherSuite) String() string {
	if a := s.lookup(); a != nil {
		return a.name
	}
	return name(uint16(s), nil)
}

// Supported reports whether this package implements the suite.
func (s CipherSuite) Supported() bool { return s.lookup() != nil }

// lookup returns the parts of the suite, nil if it is not implemented.
func (s CipherSuite) lookup() *algorithms {
	if a := suites[s]; a != nil {
		return a
	}
	return aliases.lookup(s)
}

// SupportedSuites returns the implemented suites of RFC 9420 in ascending
// order. PostQuantumSuites has the others.
func SupportedSuites() []CipherSuite { return []CipherSuite{1, 2, 3, 4, 5, 6, 7} }

// algorithms is what a suite is made of.
type algorithms struct {
	name      string
	hash      crypto.Hash
	hpke      hpkeScheme
	signature signatureScheme
	keySize   int                               // of the AEAD, in octets
	newAEAD   func([]byte) (cipher.AEAD, error) // the AEAD outside HPKE
}

// nonceSize is the nonce length of every AEAD in use, in octets.
const nonceSize = 12

var suites = map[CipherSuite]*algorithms{
	1: {"MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519",
		crypto.SHA256, &stdHPKE{hpke.DHKEM(ecdh.X25519()), hpke.HKDFSHA256(), hpke.AES128GCM(), 0}, ed25519Scheme{}, 16, newGCM},
	2: {"MLS_128_DHKEMP256_AES128GCM_SHA256_P256",
		crypto.SHA256, &stdHPKE{hpke.DHKEM(ecdh.P256()), hpke.HKDFSHA256(), hpke.AES128GCM(), 32}, ecdsaScheme{elliptic.P256(), crypto.SHA256}, 16, newGCM},
	3: {"MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519",
		crypto.SHA256, &stdHPKE{hpke.DHKEM(ecdh.X25519()), hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), 0}, ed25519Scheme{}, 32, chacha20poly1305.New},
	4: {"MLS_256_DHKEMX448_AES256GCM_SHA512_Ed448",
		crypto.SHA512, &x448HPKE{0x0002, 32, newGCM}, ed448Scheme{}, 32, newGCM},
	5: {"MLS_256_DHKEMP521_AES256GCM_SHA512_P521",
		crypto.SHA512, &stdHPKE{hpke.DHKEM(ecdh.P521()), hpke.HKDFSHA512(), hpke.AES256GCM(), 66}, ecdsaScheme{elliptic.P521(), crypto.SHA512}, 32, newGCM},
	6: {"MLS_256_DHKEMX448_CHACHA20POLY1305_SHA512_Ed448",
		crypto.SHA512, &x448HPKE{0x0003, 32, chacha20poly1305.New}, ed448Scheme{}, 32, chacha20poly1305.New},
	7: {"MLS_256_DHKEMP384_AES256GCM_SHA384_P384",
		crypto.SHA384, &stdHPKE{hpke.DHKEM(ecdh.P384()), hpke.HKDFSHA384(), hpke.AES256GCM(), 48}, ecdsaScheme{elliptic.P384(), crypto.SHA384}, 32, newGCM},

	SuiteMLKEM768X25519AES128SHA256Ed25519: {"MLS_128_MLKEM768X25519_AES128GCM_SHA256_Ed25519",
		crypto.SHA256, &stdHPKE{hpke.MLKEM768X25519(), hpke.HKDFSHA256(), hpke.AES128GCM(), 0}, ed25519Scheme{}, 16, newGCM},
	SuiteMLKEM768X25519AES256SHA384Ed25519: {"MLS_128_MLKEM768X25519_AES256GCM_SHA384_Ed25519",
		crypto.SHA384, &stdHPKE{hpke.MLKEM768X25519(), hpke.HKDFSHA384(), hpke.AES256GCM(), 0}, ed25519Scheme{}, 32, newGCM},
	SuiteMLKEM768P256AES128SHA256P256: {"MLS_128_MLKEM768P256_AES128GCM_SHA256_P256",
		crypto.SHA256, &stdHPKE{hpke.MLKEM768P256(), hpke.HKDFSHA256(), hpke.AES128GCM(), 0}, ecdsaScheme{elliptic.P256(), crypto.SHA256}, 16, newGCM},
	SuiteMLKEM768P256AES256SHA384P256: {"MLS_128_MLKEM768P256_AES256GCM_SHA384_P256",
		crypto.SHA384, &stdHPKE{hpke.MLKEM768P256(), hpke.HKDFSHA384(), hpke.AES256GCM(), 0}, ecdsaScheme{elliptic.P256(), crypto.SHA256}, 32, newGCM},
	SuiteMLKEM1024P384AES256SHA384P384: {"MLS_192_MLKEM1024P384_AES256GCM_SHA384_P384",
		crypto.SHA384, &stdHPKE{hpke.MLKEM1024P384(), hpke.HKDFSHA384(), hpke.AES256GCM(), 0}, ecdsaScheme{elliptic.P384(), crypto.SHA384}, 32, newGCM},
	SuiteMLKEM768AES256SHA384Ed25519: {"MLS_128_MLKEM768_AES256GCM_SHA384_Ed25519",
		crypto.SHA384, &stdHPKE{hpke.MLKEM768(), hpke.HKDFSHA384(), hpke.AES256GCM(), 0}, ed25519Scheme{}, 32, newGCM},
	SuiteMLKEM768AES256SHA384P256: {"MLS_128_MLKEM768_AES256GCM_SHA384_P256",
		crypto.SHA384, &stdHPKE{hpke.MLKEM768(), hpke.HKDFSHA384(), hpke.AES256GCM(), 0}, ecdsaScheme{elliptic.P256(), crypto.SHA256}, 32, newGCM},
	SuiteMLKEM1024AES256SHA384P384: {"MLS_192_MLKEM1024_AES256GCM_SHA384_P384",
		crypto.SHA384, &stdHPKE{hpke.MLKEM1024(), hpke.HKDFSHA384(), hpke.AES256GCM(), 0}, ecdsaScheme{elliptic.P384(), crypto.SHA384}, 32, newGCM},
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// algorithms returns the parts of the suite, or ErrUnsupportedSuite.
func (s CipherSuite) algorithms() (*algorithms, error) {
	if a := s.lookup(); a != nil {
		return a, nil
	}
	return nil, fmt.Errorf("%w: %s", ErrUnsupportedSuite, s)
}

// HashSize returns the length of the suite's hash in octets, 0 if the suite is
// not supported. Secrets of the key schedule have the same length.
func (s CipherSuite) HashSize() int {
	if a := s.lookup(); a != nil {
		return a.hash.Size()
	}
	return 0
}
