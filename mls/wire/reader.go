package wire

import "encoding/binary"

// Reader consumes an encoding from a byte slice. After an error every further
// call returns a zero value. Slices it returns alias the input.
type Reader struct {
	buf    []byte
	off    int // octets consumed of buf
	base   int // offset of buf[0] in the outermost input
	err    error
	parent *Reader // whom a sub-reader reports its errors to
}

// NewReader returns a Reader over b. The Reader and everything decoded from it
// alias b.
func NewReader(b []byte) *Reader { return &Reader{buf: b} }

// take consumes n octets, or records ErrTruncated.
func (r *Reader) take(n int) []byte {
	if r.err != nil {
		return nil
	}
	if n < 0 || n > len(r.buf)-r.off {
		r.Fail(fieldError(ErrTruncated, r.Offset()))
		return nil
	}
	b := r.buf[r.off : r.off+n : r.off+n]
	r.off += n
	return b
}

// Uint8 reads one octet.
func (r *Reader) Uint8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

// Uint16 reads two octets, big-endian.
func (r *Reader) Uint16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

// Uint32 reads four octets, big-endian.
func (r *Reader) Uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// Uint64 reads eight octets, big-endian.
func (r *Reader) Uint64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// Raw reads n octets that carry no length of their own.
func (r *Reader) Raw(n int) []byte { return r.take(n) }

// Opaque reads an opaque<V>.
func (r *Reader) Opaque() []byte { return r.take(r.length()) }

// Vector reads the length of a vector and returns a Reader bounded to its
// content. An error in it is also an error of r. Loop with
//
//	for v := r.Vector(); !v.Empty(); { … }
//
// which ends at the end of the vector or at the first error.
func (r *Reader) Vector() *Reader {
	n := r.length()
	base := r.Offset()
	return &Reader{buf: r.take(n), base: base, err: r.err, parent: r}
}

// Optional reads the presence octet of an optional<T>.
func (r *Reader) Optional() bool {
	at := r.Offset()
	switch r.Uint8() {
	case 0:
		return false
	case 1:
		return true
	default:
		r.Fail(fieldError(ErrBadOptional, at))
		return false
	}
}

// length reads a vector length and insists on the shortest form.
func (r *Reader) length() int {
	at := r.Offset()
	first := r.Uint8()
	width := 1 << (first >> 6)
	if width == 8 {
		r.Fail(fieldError(ErrBadLength, at))
		return 0
	}
	n := int(first & 0x3f)
	for _, b := range r.take(width - 1) {
		n = n<<8 | int(b)
	}
	if r.err == nil && (width == 2 && n < 1<<6 || width == 4 && n < 1<<14) {
		r.Fail(fieldError(ErrBadLength, at))
	}
	if r.err != nil {
		return 0
	}
	return n
}

// Empty reports whether nothing is left to read, which is also the case after
// an error.
func (r *Reader) Empty() bool { return r.err != nil || r.off == len(r.buf) }

// Remaining returns the octets not yet read, without consuming them; nil after
// an error.
func (r *Reader) Remaining() []byte {
	if r.err != nil {
		return nil
	}
	return r.buf[r.off:]
}

// Offset returns the position of the next octet, counted from the start of the
// outermost input.
func (r *Reader) Offset() int { return r.base + r.off }

// Consumed returns the octets of this Reader's input that lie between two
// values of Offset; a codec uses it to keep an element exactly as received.
// It returns nil when the range is not part of what has been read.
func (r *Reader) Consumed(from, to int) []byte {
	from, to = from-r.base, to-r.base
	if from < 0 || to > r.off || from > to {
		return nil
	}
	return r.buf[from:to:to]
}

// Fail records err unless an earlier error is recorded, here and in the
// readers this one was taken from.
func (r *Reader) Fail(err error) {
	for ; r != nil; r = r.parent {
		if r.err == nil {
			r.err = err
		}
	}
}

// FailValue records ErrBadValue with the current position.
func (r *Reader) FailValue() { r.Fail(fieldError(ErrBadValue, r.Offset())) }

// Err returns the first error, if any.
func (r *Reader) Err() error { return r.err }

// Done returns the first error, or ErrTrailingData if octets are left.
func (r *Reader) Done() error {
	if r.err == nil && r.off != len(r.buf) {
		r.Fail(fieldError(ErrTrailingData, r.Offset()))
	}
	return r.err
}
