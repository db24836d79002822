// Package wire is the TLS presentation language as RFC 9420 §2.1 uses it:
// big-endian integers, vectors prefixed by a variable-size byte length, and
// optional values behind a presence octet.
//
// A Writer appends, a Reader consumes. Both keep the first error they meet, so
// a codec is a straight list of fields followed by one check. The encoding is
// canonical: a value has exactly one accepted form, hence decoding and
// encoding again yields the octets received. No decoder allocates by a length
// the input merely claims: a vector is a window on octets that are present.
//
// Neither type is safe for concurrent use.
package wire

import (
	"errors"
	"fmt"
)

// Errors a Reader or Writer reports. They are wrapped with the position or the
// field where that is known; compare with errors.Is.
var (
	// ErrTruncated: the input ends inside a value.
	ErrTruncated = errors.New("wire: truncated")
	// ErrTrailingData: octets remain after the last field of a struct or vector.
	ErrTrailingData = errors.New("wire: trailing data")
	// ErrBadLength: a vector length is not in its shortest form, or starts
	// with the bits 11 (RFC 9420 §2.1.2).
	ErrBadLength = errors.New("wire: malformed vector length")
	// ErrBadOptional: a presence octet is neither 0 nor 1 (RFC 9420 §2.1.1).
	ErrBadOptional = errors.New("wire: malformed presence octet")
	// ErrTooLong: a vector exceeds 2^30-1 octets and cannot be encoded.
	ErrTooLong = errors.New("wire: vector too long")
	// ErrBadValue: an enumeration or a constrained field holds a value its
	// definition does not allow.
	ErrBadValue = errors.New("wire: value not allowed")
)

// MaxVector is the largest vector length in octets (RFC 9420 §2.1.2).
const MaxVector = 1<<30 - 1

// Encoder is a value that can append its encoding to a Writer.
type Encoder interface{ Encode(w *Writer) }

// Decoder is a value that can read itself from a Reader. Failures are recorded
// in the Reader; the value is meaningless once Reader.Err is not nil.
type Decoder interface{ Decode(r *Reader) }

// Marshal returns the encoding of e in a fresh slice.
// It returns ErrTooLong if some vector is too large, or what e reported.
func Marshal(e Encoder) ([]byte, error) {
	return MarshalSized(e, 128) // most encodings grow no more than once
}

// MarshalSized is Marshal for an encoding of about size octets, which it does not
// have to make place for step by step. A wrong guess costs only time.
func MarshalSized(e Encoder, size int) ([]byte, error) {
	w := Writer{buf: make([]byte, 0, max(size, 0))}
	e.Encode(&w)
	return w.Bytes()
}

// Unmarshal reads d from b and refuses trailing octets with ErrTrailingData.
// Byte slices inside d alias b: the caller must not change b afterwards.
func Unmarshal(b []byte, d Decoder) error {
	r := NewReader(b)
	d.Decode(r)
	return r.Done()
}

// fieldError adds the offset of the failing octet to a sentinel.
func fieldError(err error, offset int) error {
	return fmt.Errorf("%w at offset %d", err, offset)
}
