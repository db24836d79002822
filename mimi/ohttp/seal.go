package ohttp

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"

	"golang.org/x/crypto/chacha20poly1305"
)

var (
	// ErrUnknownKey means a request for a key or algorithms this gateway does not have: its
	// client has to fetch the key configuration anew.
	ErrUnknownKey = errors.New("mimi/ohttp: unknown key or algorithm")
	// ErrSealed means that a message does not open: it was changed, or is not for us.
	ErrSealed = errors.New("mimi/ohttp: message does not open")
)

const (
	requestLabel  = "message/bhttp request"
	responseLabel = "message/bhttp response"
	headerBytes   = 7
)

// KEMs of a key configuration.
const (
	KEMX25519      uint16 = 0x0020 // DHKEM(X25519, HKDF-SHA256)
	KEMP256        uint16 = 0x0010 // DHKEM(P-256, HKDF-SHA256)
	KEMX25519MLKEM uint16 = 0x647a // X25519 with ML-KEM-768
)

// kemLengths gives the octets of a public key and of an encapsulated secret.
var kemLengths = map[uint16]struct{ key, enc int }{KEMX25519: {32, 32}, KEMP256: {65, 65}, KEMX25519MLKEM: {1216, 1120}}

// An Algorithm is a KDF with an AEAD, by their HPKE numbers.
type Algorithm struct{ KDF, AEAD uint16 }

// algorithms are those offered by [NewKey]: HKDF-SHA256 with AES-128-GCM and
// ChaCha20-Poly1305.
var algorithms = []Algorithm{{1, 1}, {1, 3}}

// A KeyConfig is a gateway's public key and what it may be used with (RFC 9458 §3.1).
type KeyConfig struct {
	ID         uint8
	KEM        uint16
	PublicKey  []byte
	Algorithms []Algorithm // at least one
}

// Marshal gives one configuration. See [MarshalKeyConfigs] for what a gateway serves.
func (c *KeyConfig) Marshal() []byte {
	b := binary.BigEndian.AppendUint16([]byte{c.ID}, c.KEM)
	b = append(b, c.PublicKey...)
	b = binary.BigEndian.AppendUint16(b, uint16(4*len(c.Algorithms)))
	for _, a := range c.Algorithms {
		b = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, a.KDF), a.AEAD)
	}
	return b
}

// MarshalKeyConfigs gives the content of [MediaTypeKeys]: each configuration behind its
// length (RFC 9458 §3.2).
func MarshalKeyConfigs(list ...*KeyConfig) []byte {
	var out []byte
	for _, c := range list {
		b := c.Marshal()
		out = append(binary.BigEndian.AppendUint16(out, uint16(len(b))), b...)
	}
	return out
}

// ParseKeyConfig reads one configuration. The error wraps [ErrMalformed], or
// [ErrUnknownKey] if the KEM is not known here, so that the key's length is not either.
func ParseKeyConfig(b []byte) (*KeyConfig, error) {
	if len(b) < 3 {
		return nil, fmt.Errorf("%w: key configuration cut short", ErrMalformed)
	}
	c := &KeyConfig{ID: b[0], KEM: binary.BigEndian.Uint16(b[1:])}
	lengths, ok := kemLengths[c.KEM]
	if !ok {
		return nil, fmt.Errorf("%w: KEM %#04x", ErrUnknownKey, c.KEM)
	}
	b = b[3:]
	if len(b) < lengths.key+2 {
		return nil, fmt.Errorf("%w: key configuration cut short", ErrMalformed)
	}
	c.PublicKey, b = b[:lengths.key], b[lengths.key:]
	n := int(binary.BigEndian.Uint16(b))
	if b = b[2:]; n != len(b) || n == 0 || n%4 != 0 {
		return nil, fmt.Errorf("%w: list of algorithms", ErrMalformed)
	}
	for ; len(b) > 0; b = b[4:] {
		c.Algorithms = append(c.Algorithms, Algorithm{binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])})
	}
	return c, nil
}

// ParseKeyConfigs reads the content of [MediaTypeKeys] and gives the configurations that
// can be used here, in order of the gateway's preference. The error wraps [ErrMalformed],
// or [ErrUnknownKey] if there is none.
func ParseKeyConfigs(b []byte) ([]*KeyConfig, error) {
	var list []*KeyConfig
	for len(b) > 0 {
		if len(b) < 2 || int(binary.BigEndian.Uint16(b)) > len(b)-2 {
			return nil, fmt.Errorf("%w: key configurations cut short", ErrMalformed)
		}
		n := int(binary.BigEndian.Uint16(b))
		c, err := ParseKeyConfig(b[2 : 2+n])
		switch {
		case err == nil:
			list = append(list, c)
		case !errors.Is(err, ErrUnknownKey):
			return nil, err
		}
		b = b[2+n:]
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%w: no configuration that can be used", ErrUnknownKey)
	}
	return list, nil
}

// suite is what a header names.
type suite struct {
	header [headerBytes]byte // key id, KEM, KDF, AEAD
	kdf    hpke.KDF
	aead   hpke.AEAD
	hash   func() hash.Hash
	key    int // octets of a key of the AEAD
	open   func(key []byte) (cipher.AEAD, error)
}

const responseNonceBytes = 12 // of every AEAD here

func newSuite(id uint8, kem uint16, a Algorithm) (*suite, error) {
	s := new(suite)
	s.header[0] = id
	binary.BigEndian.PutUint16(s.header[1:], kem)
	binary.BigEndian.PutUint16(s.header[3:], a.KDF)
	binary.BigEndian.PutUint16(s.header[5:], a.AEAD)
	switch a.KDF {
	case 1:
		s.hash = sha256.New
	case 2:
		s.hash = sha512.New384
	case 3:
		s.hash = sha512.New
	}
	switch a.AEAD {
	case 1:
		s.key, s.open = 16, newGCM
	case 2:
		s.key, s.open = 32, newGCM
	case 3:
		s.key, s.open = chacha20poly1305.KeySize, chacha20poly1305.New
	}
	if s.hash == nil || s.open == nil {
		return nil, fmt.Errorf("%w: KDF %d with AEAD %d", ErrUnknownKey, a.KDF, a.AEAD)
	}
	var err1, err2 error
	s.kdf, err1 = hpke.NewKDF(a.KDF)
	s.aead, err2 = hpke.NewAEAD(a.AEAD)
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnknownKey, err)
	}
	return s, nil
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func (s *suite) info() []byte { return append([]byte(requestLabel+"\x00"), s.header[:]...) }

// nonceBytes is how long the secret and the nonce of a response are.
func (s *suite) nonceBytes() int { return max(s.key, responseNonceBytes) }

// An Exchange is one request, for its response: at the client to open it, at the gateway to
// seal it. It is used once.
type Exchange struct {
	suite  *suite
	enc    []byte
	secret []byte
}

// Seal seals a request for the gateway with the first of its algorithms known here. The
// error wraps [ErrUnknownKey] if there is none or the key is no key, or [ErrMalformed].
func (c *KeyConfig) Seal(q *Request) (sealed []byte, x *Exchange, err error) {
	plain, err := q.Marshal()
	if err != nil {
		return nil, nil, err
	}
	err = fmt.Errorf("%w: no algorithms", ErrUnknownKey)
	for _, a := range c.Algorithms {
		var s *suite
		if s, err = newSuite(c.ID, c.KEM, a); err == nil {
			return c.seal(s, plain)
		}
	}
	return nil, nil, err
}

func (c *KeyConfig) seal(s *suite, plain []byte) ([]byte, *Exchange, error) {
	kem, err := hpke.NewKEM(c.KEM)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrUnknownKey, err)
	}
	public, err := kem.NewPublicKey(c.PublicKey)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrUnknownKey, err)
	}
	enc, sender, err := hpke.NewSender(public, s.kdf, s.aead, s.info())
	if err != nil {
		return nil, nil, fmt.Errorf("mimi/ohttp: sealing: %w", err)
	}
	ciphertext, err := sender.Seal(nil, plain)
	if err != nil {
		return nil, nil, fmt.Errorf("mimi/ohttp: sealing: %w", err)
	}
	secret, err := sender.Export(responseLabel, s.nonceBytes())
	if err != nil {
		return nil, nil, fmt.Errorf("mimi/ohttp: sealing: %w", err)
	}
	sealed := append(append(s.header[:], enc...), ciphertext...)
	return sealed, &Exchange{s, enc, secret}, nil
}

// A Key is a gateway's private key. It is safe for concurrent use.
type Key struct {
	config  KeyConfig
	private hpke.PrivateKey
}

// NewKey makes a key for a KEM such as [KEMX25519]. The error wraps [ErrUnknownKey].
func NewKey(id uint8, kem uint16) (*Key, error) {
	k, err := knownKEM(kem)
	if err != nil {
		return nil, err
	}
	private, err := k.GenerateKey()
	if err != nil {
		return nil, fmt.Errorf("mimi/ohttp: making a key: %w", err)
	}
	return newKey(id, kem, private), nil
}

// LoadKey reads a key that [Key.Private] gave. The error wraps [ErrUnknownKey].
func LoadKey(id uint8, kem uint16, private []byte) (*Key, error) {
	k, err := knownKEM(kem)
	if err != nil {
		return nil, err
	}
	p, err := k.NewPrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnknownKey, err)
	}
	return newKey(id, kem, p), nil
}

func knownKEM(id uint16) (hpke.KEM, error) {
	if _, ok := kemLengths[id]; !ok {
		return nil, fmt.Errorf("%w: KEM %#04x", ErrUnknownKey, id)
	}
	k, err := hpke.NewKEM(id)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnknownKey, err)
	}
	return k, nil
}

func newKey(id uint8, kem uint16, private hpke.PrivateKey) *Key {
	return &Key{KeyConfig{id, kem, private.PublicKey().Bytes(), algorithms}, private}
}

// Config gives what clients need to know of the key.
func (k *Key) Config() *KeyConfig { c := k.config; return &c }

// Private gives the key for [LoadKey]; it is a secret.
func (k *Key) Private() ([]byte, error) { return k.private.Bytes() }

// Open opens a request with the one of several keys that it names. The error wraps
// [ErrMalformed], [ErrUnknownKey] or [ErrSealed].
func Open(sealed []byte, keys ...*Key) (*Request, *Exchange, error) {
	if len(sealed) < headerBytes {
		return nil, nil, fmt.Errorf("%w: request cut short", ErrMalformed)
	}
	u16 := func(i int) uint16 { return binary.BigEndian.Uint16(sealed[i:]) }
	for _, k := range keys {
		if k.config.ID == sealed[0] && k.config.KEM == u16(1) {
			return k.open(Algorithm{u16(3), u16(5)}, sealed[headerBytes:])
		}
	}
	return nil, nil, fmt.Errorf("%w: key %d", ErrUnknownKey, sealed[0])
}

func (k *Key) open(a Algorithm, rest []byte) (*Request, *Exchange, error) {
	offered := false
	for _, o := range k.config.Algorithms {
		offered = offered || o == a
	}
	s, err := newSuite(k.config.ID, k.config.KEM, a)
	if err != nil || !offered {
		return nil, nil, fmt.Errorf("%w: algorithms are not offered", ErrUnknownKey)
	}
	n := kemLengths[k.config.KEM].enc
	if len(rest) < n {
		return nil, nil, fmt.Errorf("%w: request cut short", ErrMalformed)
	}
	recipient, err := hpke.NewRecipient(rest[:n], k.private, s.kdf, s.aead, s.info())
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrSealed, err)
	}
	plain, err := recipient.Open(nil, rest[n:])
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrSealed, err)
	}
	q, err := ParseRequest(plain)
	if err != nil {
		return nil, nil, err
	}
	secret, err := recipient.Export(responseLabel, s.nonceBytes())
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrSealed, err)
	}
	return q, &Exchange{s, rest[:n], secret}, nil
}

// Seal seals the response for the client of the exchange. The error wraps [ErrMalformed].
func (x *Exchange) Seal(p *Response) ([]byte, error) {
	plain, err := p.Marshal()
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, x.suite.nonceBytes())
	rand.Read(nonce) // never fails: crypto/rand ends the process instead
	return x.sealWith(nonce, plain)
}

func (x *Exchange) sealWith(nonce, plain []byte) ([]byte, error) {
	aead, iv, err := x.responseKey(nonce)
	if err != nil {
		return nil, err
	}
	return append(nonce[:len(nonce):len(nonce)], aead.Seal(nil, iv, plain, nil)...), nil
}

// Open opens the response. The error wraps [ErrMalformed] or [ErrSealed].
func (x *Exchange) Open(sealed []byte) (*Response, error) {
	n := x.suite.nonceBytes()
	if len(sealed) < n {
		return nil, fmt.Errorf("%w: response cut short", ErrMalformed)
	}
	aead, iv, err := x.responseKey(sealed[:n])
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, iv, sealed[n:], nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSealed, err)
	}
	return ParseResponse(plain)
}

// responseKey derives key and nonce of a response (RFC 9458 §4.4).
func (x *Exchange) responseKey(nonce []byte) (cipher.AEAD, []byte, error) {
	salt := append(x.enc[:len(x.enc):len(x.enc)], nonce...)
	prk, err1 := hkdf.Extract(x.suite.hash, x.secret, salt)
	key, err2 := hkdf.Expand(x.suite.hash, prk, "key", x.suite.key)
	iv, err3 := hkdf.Expand(x.suite.hash, prk, "nonce", responseNonceBytes)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, nil, fmt.Errorf("mimi/ohttp: response key: %w", err)
	}
	aead, err := x.suite.open(key)
	return aead, iv, err
}
