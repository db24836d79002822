package wire

import (
	"encoding/binary"
	"fmt"
)

// Writer builds an encoding. The zero value is ready for use. After an error
// every further call is a no-op and Bytes reports that error.
type Writer struct {
	buf []byte
	err error
}

// Uint8 appends one octet.
func (w *Writer) Uint8(v uint8) { w.buf = append(w.buf, v) }

// Uint16 appends v in two octets, big-endian.
func (w *Writer) Uint16(v uint16) { w.buf = binary.BigEndian.AppendUint16(w.buf, v) }

// Uint32 appends v in four octets, big-endian.
func (w *Writer) Uint32(v uint32) { w.buf = binary.BigEndian.AppendUint32(w.buf, v) }

// Uint64 appends v in eight octets, big-endian.
func (w *Writer) Uint64(v uint64) { w.buf = binary.BigEndian.AppendUint64(w.buf, v) }

// Raw appends b without a length.
func (w *Writer) Raw(b []byte) { w.buf = append(w.buf, b...) }

// Opaque appends b as opaque<V>: its length, then its octets. b may be nil.
func (w *Writer) Opaque(b []byte) {
	w.length(len(b))
	w.Raw(b)
}

// Optional appends the presence octet of an optional<T>; the caller appends
// the value when it is present.
func (w *Writer) Optional(present bool) {
	if present {
		w.Uint8(1)
	} else {
		w.Uint8(0)
	}
}

// Vector appends a vector: the byte length of what fn writes, then that.
// fn must write to the Writer it is given.
func (w *Writer) Vector(fn func(w *Writer)) {
	start := len(w.buf)
	// Most vectors are short: guess a one-octet length and move the content
	// aside when it turns out longer.
	w.buf = append(w.buf, 0)
	fn(w)
	n := len(w.buf) - start - 1
	if n < 1<<6 {
		w.buf[start] = byte(n)
		return
	}
	var head Writer
	head.length(n)
	if head.err != nil {
		w.Fail(head.err)
		return
	}
	w.buf = append(w.buf, head.buf[1:]...)
	copy(w.buf[start+len(head.buf):], w.buf[start+1:start+1+n])
	copy(w.buf[start:], head.buf)
}

// length appends a vector length in its shortest form (RFC 9420 §2.1.2).
func (w *Writer) length(n int) {
	switch {
	case n < 1<<6:
		w.Uint8(uint8(n))
	case n < 1<<14:
		w.Uint16(uint16(n) | 1<<14)
	case n <= MaxVector:
		w.Uint32(uint32(n) | 2<<30)
	default:
		w.Fail(fmt.Errorf("%w: %d octets", ErrTooLong, n))
	}
}

// Fail records err unless an earlier error is already recorded. Encoders use
// it for values that have no encoding.
func (w *Writer) Fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

// Err returns the first error, if any.
func (w *Writer) Err() error { return w.err }

// Bytes returns the octets written so far, or the first error. The slice
// belongs to the Writer until the caller stops using the Writer.
func (w *Writer) Bytes() ([]byte, error) {
	if w.err != nil {
		return nil, w.err
	}
	return w.buf, nil
}
