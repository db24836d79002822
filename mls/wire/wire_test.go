package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The examples and boundaries of RFC 9420 §2.1.2.
func TestLength(t *testing.T) {
	for _, c := range []struct {
		header string
		n      int
	}{
		{"00", 0}, {"25", 37}, {"3f", 63}, {"4040", 64}, {"7bbd", 15293}, {"7fff", 16383}, {"80004000", 16384}, {"9d7f3e7d", 494878333},
	} {
		r := NewReader(unhex(t, c.header))
		if n := r.length(); n != c.n || r.Done() != nil {
			t.Errorf("%s = %d, %v", c.header, n, r.Err())
		}
		var w Writer
		w.length(c.n)
		if b, err := w.Bytes(); err != nil || hex.EncodeToString(b) != c.header {
			t.Errorf("%d = %x, %v", c.n, b, err)
		}
	}
}

func TestMalformedLength(t *testing.T) {
	for _, s := range []string{"4025", "403f", "80000000", "80003fff", "c0", "ff", "ffffffffffffffff"} {
		r := NewReader(append(unhex(t, s), make([]byte, 100)...))
		if r.Opaque(); !errors.Is(r.Err(), ErrBadLength) {
			t.Errorf("%s: %v", s, r.Err())
		}
	}
	var w Writer
	w.length(MaxVector + 1)
	if _, err := w.Bytes(); !errors.Is(err, ErrTooLong) {
		t.Errorf("too long: %v", err)
	}
}

func TestOptional(t *testing.T) {
	for i := range 256 {
		r := NewReader([]byte{byte(i)})
		got := r.Optional()
		if i < 2 && (got != (i == 1) || r.Done() != nil) || i >= 2 && !errors.Is(r.Err(), ErrBadOptional) {
			t.Errorf("%d: %v, %v", i, got, r.Err())
		}
	}
}

func TestVectorBounds(t *testing.T) {
	// A uint16 vector of three octets ends inside an element.
	r := NewReader([]byte{3, 0, 1, 0, 9})
	n := 0
	for v := r.Vector(); !v.Empty(); n++ {
		v.Uint16()
	}
	if !errors.Is(r.Err(), ErrTruncated) || n != 2 {
		t.Errorf("%d elements, %v", n, r.Err())
	}
	// An error outside ends loops inside.
	r = NewReader([]byte{2, 0, 1, 7})
	v := r.Vector()
	if v.Uint16() != 1 || !v.Empty() || r.Uint8() != 7 || r.Done() != nil || v.Done() != nil {
		t.Error("vector and rest are not read")
	}
	if r.Uint8(); !errors.Is(r.Err(), ErrTruncated) {
		t.Error(r.Err())
	}
	if err := Unmarshal([]byte{1, 2}, octet{}); !errors.Is(err, ErrTrailingData) {
		t.Error(err)
	}
}

type octet struct{}

func (octet) Decode(r *Reader) { r.Uint8() }

func TestWriter(t *testing.T) {
	for _, n := range []int{0, 1, 63, 64, 16383, 16384} {
		content := bytes.Repeat([]byte{7}, n)
		var a, b Writer
		a.Uint8(1)
		b.Uint8(1)
		a.Opaque(content)
		b.Vector(func(w *Writer) { w.Raw(content) })
		a.Uint64(5)
		b.Uint64(5)
		if x, y := a.buf, b.buf; !bytes.Equal(x, y) {
			t.Errorf("%d octets: %x… and %x…", n, x[:8], y[:8])
		}
	}
}

func TestConsumed(t *testing.T) {
	r := NewReader([]byte{9, 3, 1, 2, 3, 4})
	r.Uint8()
	v := r.Vector()
	v.Uint8()
	from := v.Offset()
	v.Uint16()
	if got := v.Consumed(from, v.Offset()); !bytes.Equal(got, []byte{2, 3}) || from != 3 {
		t.Errorf("%x from %d", got, from)
	}
	if v.Consumed(0, 99) != nil || v.Consumed(5, 4) != nil {
		t.Error("range outside of what was read")
	}
	if got := r.Remaining(); !bytes.Equal(got, []byte{4}) {
		t.Errorf("%x", got)
	}
}

// FuzzReader: a script of reads never panics, never reads past the end, and
// nothing is returned after an error.
func FuzzReader(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5}, []byte{4, 1, 2, 3, 4, 0x40, 0x40})
	f.Fuzz(func(t *testing.T, script, input []byte) {
		r := NewReader(input)
		stack := []*Reader{r}
		for _, op := range script {
			top := stack[len(stack)-1]
			failed := top.Err() != nil
			var got []byte
			switch op % 8 {
			case 0:
				top.Uint16()
			case 1:
				got = top.Opaque()
			case 2:
				stack = append(stack, top.Vector())
			case 3:
				top.Optional()
			case 4:
				got = top.Raw(int(op))
			case 5:
				top.Uint64()
			case 6:
				if len(stack) > 1 {
					stack = stack[:len(stack)-1]
				}
			case 7:
				got = top.Remaining()
			}
			if failed && got != nil {
				t.Fatal("octets after an error")
			}
			if top.Offset() > len(input) {
				t.Fatal("read past the end")
			}
		}
	})
}
