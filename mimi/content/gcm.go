package content

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"errors"
)

const (
	gcmNonceBytes = 12
	gcmTagBytes   = 16
	gcmMaxBytes   = 1<<36 - 32 // longest plaintext of one key and nonce
)

var errTooLong = errors.New("longer than AES-GCM can encrypt")

// gcmStream is AES-GCM (NIST SP 800-38D) of one message in pieces of any length. The
// library has it for whole messages only, and an attachment need not fit into memory. It
// is checked against the library in the tests.
type gcmStream struct {
	ctr       cipher.Stream
	mask      [gcmTagBytes]byte // encrypts the tag
	table     [16]gcmElement    // multiples of the hash key by four bits
	y         gcmElement        // the hash so far
	rest      [gcmTagBytes]byte // ciphertext that does not fill a block yet
	n         int               // octets in rest
	aad, text uint64            // lengths in octets
}

// gcmElement is an element of GF(2^128) with the bit order of GCM: the top bit of high is
// the coefficient of x^0.
type gcmElement struct{ high, low uint64 }

// newGCMStream takes a key of 16 or 32 octets and a nonce of 12, never used together
// before if it is to encrypt.
func newGCMStream(key, nonce, aad []byte) (*gcmStream, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	if len(nonce) != gcmNonceBytes {
		return nil, errors.New("nonce is not 12 octets long")
	}
	g := new(gcmStream)
	var h, counter [aes.BlockSize]byte
	block.Encrypt(h[:], h[:])
	g.fill(gcmElement{binary.BigEndian.Uint64(h[:8]), binary.BigEndian.Uint64(h[8:])})
	copy(counter[:], nonce)
	counter[15] = 1
	block.Encrypt(g.mask[:], counter[:])
	counter[15] = 2
	g.ctr = cipher.NewCTR(block, counter[:])
	g.absorb(aad)
	g.flush()
	g.aad = uint64(len(aad))
	return g, nil
}

// fill prepares the table: entry i is h times the polynomial of the four bits of i.
func (g *gcmStream) fill(h gcmElement) {
	g.table[8] = h
	for i := 4; i > 0; i /= 2 {
		g.table[i] = g.table[2*i].timesX()
	}
	for i := 2; i < 16; i *= 2 {
		for j := 1; j < i; j++ {
			g.table[i+j] = gcmElement{g.table[i].high ^ g.table[j].high, g.table[i].low ^ g.table[j].low}
		}
	}
}

func (e gcmElement) timesX() gcmElement {
	carry := e.low & 1
	e.low = e.low>>1 | e.high<<63
	e.high = e.high>>1 ^ -carry&(0xe1<<56)
	return e
}

// gcmReduction folds the four bits that fall out when an element is multiplied by x^4.
var gcmReduction = func() (t [16]uint64) {
	for i := range t {
		e := gcmElement{0, uint64(i)}
		for range 4 {
			e = e.timesX()
		}
		t[i] = e.high
	}
	return t
}()

// times multiplies the hash by the hash key.
func (g *gcmStream) times(y gcmElement) gcmElement {
	var z gcmElement
	for _, word := range [2]uint64{y.low, y.high} {
		for range 16 {
			out := z.low & 15
			z.low = z.low>>4 | z.high<<60
			z.high = z.high>>4 ^ gcmReduction[out]
			t := &g.table[word&15]
			z.high ^= t.high
			z.low ^= t.low
			word >>= 4
		}
	}
	return z
}

func (g *gcmStream) block(b []byte) {
	g.y.high ^= binary.BigEndian.Uint64(b)
	g.y.low ^= binary.BigEndian.Uint64(b[8:])
	g.y = g.times(g.y)
}

// absorb adds to the hash.
func (g *gcmStream) absorb(b []byte) {
	if g.n > 0 {
		n := copy(g.rest[g.n:], b)
		g.n, b = g.n+n, b[n:]
		if g.n < len(g.rest) {
			return
		}
		g.block(g.rest[:])
		g.n = 0
	}
	for ; len(b) >= gcmTagBytes; b = b[gcmTagBytes:] {
		g.block(b)
	}
	g.n = copy(g.rest[:], b)
}

// flush pads what is left with zeros.
func (g *gcmStream) flush() {
	if g.n > 0 {
		clear(g.rest[g.n:])
		g.block(g.rest[:])
		g.n = 0
	}
}

// seal encrypts the next piece in place.
func (g *gcmStream) seal(b []byte) error {
	if err := g.grow(b); err != nil {
		return err
	}
	g.ctr.XORKeyStream(b, b)
	g.absorb(b)
	return nil
}

// open decrypts the next piece in place. It must not be used before the tag was checked.
func (g *gcmStream) open(b []byte) error {
	if err := g.grow(b); err != nil {
		return err
	}
	g.absorb(b)
	g.ctr.XORKeyStream(b, b)
	return nil
}

func (g *gcmStream) grow(b []byte) error {
	if g.text += uint64(len(b)); g.text > gcmMaxBytes {
		return errTooLong
	}
	return nil
}

// tag ends the message.
func (g *gcmStream) tag() [gcmTagBytes]byte {
	g.flush()
	var lengths [gcmTagBytes]byte
	binary.BigEndian.PutUint64(lengths[:8], 8*g.aad)
	binary.BigEndian.PutUint64(lengths[8:], 8*g.text)
	g.block(lengths[:])
	var out [gcmTagBytes]byte
	binary.BigEndian.PutUint64(out[:8], g.y.high)
	binary.BigEndian.PutUint64(out[8:], g.y.low)
	subtle.XORBytes(out[:], out[:], g.mask[:])
	return out
}
