package content

import (
	"bytes"
	"encoding/binary"
	"math"
	"unicode/utf8"
)

// CBOR major types (RFC 8949 §3.1).
const (
	majorUint = iota
	majorNegative
	majorBytes
	majorText
	majorArray
	majorMap
	majorTag
	majorSimple
)

const (
	// maxNesting bounds recursion over one message: array, four levels of parts
	// with their lists, and room for an error message that is more specific.
	maxNesting = 32
	// maxExtensionDepth counts maps, arrays and tags, the extensions map being
	// level 1 (CNT-7, D-65).
	maxExtensionDepth = 4
)

// scanner walks well-formed deterministic CBOR (RFC 8949 §4.2.1) and refuses all
// else. It exists beside the CBOR library because that decodes values, and a value
// no longer tells whether it came in the one permitted form.
type scanner struct {
	b    []byte
	off  int
	most int // deepest nesting allowed
}

// keyRule limits the keys of maps.
type keyRule int

const (
	anyKey       keyRule = iota // only well-formedness
	extensionKey                // integer or text: the extensions map itself
	nestedKey                   // integer, text or byte string: below it (CNT-4)
)

// scanMessage checks that b is exactly one message-shaped array of seven elements
// in deterministic encoding.
func scanMessage(b []byte) error {
	if len(b) > MaxBytes {
		return invalid("CNT-8", "message is longer than %d octets", MaxBytes)
	}
	s := scanner{b: b}
	major, count, err := s.head()
	if err != nil {
		return err
	}
	if major != majorArray || count != 7 {
		return invalid("CNT-10", "not an array of seven elements")
	}
	for i := range 7 {
		if i == 5 {
			err = s.extensions()
		} else {
			s.most = maxNesting
			err = s.item(1, anyKey)
		}
		if err != nil {
			return err
		}
	}
	if s.off != len(b) {
		return invalid("CNT-10", "octets after the message")
	}
	return nil
}

func (s *scanner) extensions() error {
	if s.off < len(s.b) && s.b[s.off]>>5 != majorMap {
		return invalid("CNT-10", "extensions are not a map")
	}
	s.most = maxExtensionDepth
	return s.item(0, extensionKey)
}

// item consumes one item; depth counts the containers and tags around it.
func (s *scanner) item(depth int, keys keyRule) error {
	start := s.off
	major, v, err := s.head()
	if err != nil {
		return err
	}
	switch major {
	case majorBytes, majorText:
		return s.str(major, v)
	case majorArray, majorMap, majorTag:
		if depth++; s.most != 0 && depth > s.most {
			return invalid("CNT-7", "nested deeper than %d", s.most)
		}
		return s.container(major, v, depth, keys)
	case majorSimple:
		return checkSimple(s.b[start:s.off])
	}
	return nil
}

func (s *scanner) container(major int, v uint64, depth int, keys keyRule) error {
	switch major {
	case majorTag:
		start := s.off
		if err := s.item(depth, below(keys)); err != nil {
			return err
		}
		return checkBignum(v, s.b[start:s.off])
	case majorMap:
		return s.pairs(v, depth, keys)
	}
	// An array of n elements has at least n octets.
	if v > uint64(len(s.b)-s.off) {
		return invalid("CNT-8", "truncated")
	}
	for range v {
		if err := s.item(depth, below(keys)); err != nil {
			return err
		}
	}
	return nil
}

func below(keys keyRule) keyRule {
	if keys == extensionKey {
		return nestedKey
	}
	return keys
}

func (s *scanner) pairs(n uint64, depth int, keys keyRule) error {
	if n > uint64(len(s.b)-s.off)/2 {
		return invalid("CNT-8", "truncated")
	}
	var last []byte
	for range n {
		start := s.off
		if err := s.item(depth, below(keys)); err != nil {
			return err
		}
		key := s.b[start:s.off]
		if err := checkKey(key, keys); err != nil {
			return err
		}
		switch c := bytes.Compare(last, key); {
		case last != nil && c == 0:
			return invalid("CNT-3", "repeated map key")
		case last != nil && c > 0:
			return invalid("CNT-2", "map keys out of order")
		}
		last = key
		if err := s.item(depth, below(keys)); err != nil {
			return err
		}
	}
	return nil
}

func checkKey(key []byte, rule keyRule) error {
	s := scanner{b: key}
	major, v, err := s.head()
	if err != nil || rule == anyKey {
		return err
	}
	switch {
	case major == majorUint || major == majorNegative:
		if rule == extensionKey && (v > maxSafeInteger || major == majorNegative && v > maxSafeInteger-1) {
			return invalid("CNT-4", "extension number out of range")
		}
	case major == majorText:
		if rule == extensionKey && (v < 1 || v > 255) {
			return invalid("CNT-4", "extension name is not 1 to 255 octets long")
		}
	case major == majorBytes && rule == nestedKey:
	default:
		return invalid("CNT-4", "map key of a kind not allowed")
	}
	return nil
}

func (s *scanner) str(major int, n uint64) error {
	if n > uint64(len(s.b)-s.off) {
		return invalid("CNT-8", "truncated")
	}
	text := s.b[s.off : s.off+int(n)]
	s.off += int(n)
	if major == majorText && !utf8.Valid(text) {
		return invalid("CNT-5", "text is not UTF-8")
	}
	return nil
}

// head reads the initial octet of an item and its argument in shortest form. For
// floats the argument is not restricted: they have their own rule.
func (s *scanner) head() (major int, v uint64, err error) {
	if s.off >= len(s.b) {
		return 0, 0, invalid("CNT-8", "truncated")
	}
	first := s.b[s.off]
	s.off++
	major, info := int(first>>5), first&0x1f
	if info < 24 {
		return major, uint64(info), nil
	}
	if info > 27 {
		return 0, 0, invalid("CNT-1", "indefinite length or reserved value")
	}
	width := 1 << (info - 24)
	if width > len(s.b)-s.off {
		return 0, 0, invalid("CNT-8", "truncated")
	}
	var buf [8]byte
	copy(buf[8-width:], s.b[s.off:s.off+width])
	s.off += width
	v = binary.BigEndian.Uint64(buf[:])
	if major != majorSimple && shortestWidth(v) != width {
		return 0, 0, invalid("CNT-1", "not in shortest form")
	}
	return major, v, nil
}

// shortestWidth is how many octets follow the initial one for v.
func shortestWidth(v uint64) int {
	switch {
	case v < 24:
		return 0
	case v <= math.MaxUint8:
		return 1
	case v <= math.MaxUint16:
		return 2
	case v <= math.MaxUint32:
		return 4
	}
	return 8
}

// checkBignum refuses bignums that fit an integer or start with zero (CNT-9).
func checkBignum(tag uint64, content []byte) error {
	if tag != 2 && tag != 3 {
		return nil
	}
	s := scanner{b: content}
	major, n, err := s.head()
	if err != nil || major != majorBytes || n <= 8 || content[s.off] == 0 {
		return invalid("CNT-9", "bignum is not in its deterministic form")
	}
	return nil
}

// checkSimple takes a whole item of major type 7.
func checkSimple(item []byte) error {
	switch item[0] & 0x1f {
	case 24:
		if item[1] < 32 {
			return invalid("CNT-1", "not in shortest form")
		}
	case 25:
		if h := binary.BigEndian.Uint16(item[1:]); h&0x7c00 == 0x7c00 && h&0x03ff != 0 && h != 0x7e00 {
			return invalid("CNT-5", "NaN with a payload")
		}
	case 26:
		return checkFloat(float64(math.Float32frombits(binary.BigEndian.Uint32(item[1:]))), fitsHalf)
	case 27:
		return checkFloat(math.Float64frombits(binary.BigEndian.Uint64(item[1:])), func(f float64) bool {
			return float64(float32(f)) == f
		})
	}
	return nil
}

func checkFloat(f float64, fitsShorter func(float64) bool) error {
	if math.IsNaN(f) {
		return invalid("CNT-5", "NaN in a form other than f97e00")
	}
	if fitsShorter(f) {
		return invalid("CNT-1", "float is not in shortest form")
	}
	return nil
}

// fitsHalf says whether f can be a half-precision float: a multiple of 2^-24 with
// at most eleven significant bits, no larger than 65504, or infinite.
func fitsHalf(f float64) bool {
	f = math.Abs(f)
	if math.IsInf(f, 0) || f == 0 {
		return true
	}
	_, exp := math.Frexp(f)
	scale := max(exp-11, -24)
	scaled := math.Ldexp(f, -scale)
	return f <= 65504 && scaled == math.Trunc(scaled)
}

func appendHead(b []byte, major int, v uint64) []byte {
	first := byte(major << 5)
	switch shortestWidth(v) {
	case 0:
		return append(b, first|byte(v))
	case 1:
		return append(b, first|24, byte(v))
	case 2:
		return binary.BigEndian.AppendUint16(append(b, first|25), uint16(v))
	case 4:
		return binary.BigEndian.AppendUint32(append(b, first|26), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(b, first|27), v)
}
