package ohttp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// Media types of RFC 9292 and RFC 9458.
const (
	MediaTypeBinary   = "message/bhttp"
	MediaTypeRequest  = "message/ohttp-req"
	MediaTypeResponse = "message/ohttp-res"
	MediaTypeKeys     = "application/ohttp-keys"
)

// ErrMalformed is wrapped by every error about octets that are not what they should be.
var ErrMalformed = errors.New("mimi/ohttp: malformed")

// maxFields bounds the fields of a section, and the interim responses of a message.
const maxFields = 256

// A Field is a header or trailer field. Names are in lower case.
type Field struct{ Name, Value string }

// A Request is an HTTP request (RFC 9292 §3.4). Authority may be empty if a host field
// names the server.
type Request struct {
	Method, Scheme, Authority, Path string
	Header                          []Field
	Body                            []byte
	Trailer                         []Field
}

// A Response is an HTTP response (RFC 9292 §3.5). Interim responses are read and dropped.
type Response struct {
	Status  int // 200 to 599
	Header  []Field
	Body    []byte
	Trailer []Field
}

// Get gives the first value of a field, "" if there is none.
func Get(fields []Field, name string) string {
	for _, f := range fields {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

// Framing indicators (RFC 9292 §3.3).
const (
	knownRequest = iota
	knownResponse
	indefiniteRequest
	indefiniteResponse
)

// Marshal gives the known-length form of the request. The error wraps [ErrMalformed] if it
// has fields no message may have.
func (q *Request) Marshal() ([]byte, error) {
	b := []byte{knownRequest}
	for _, s := range []string{q.Method, q.Scheme, q.Authority, q.Path} {
		b = appendString(b, s)
	}
	if err := q.check(); err != nil {
		return nil, err
	}
	return appendRest(b, q.Header, q.Body, q.Trailer)
}

// Marshal gives the known-length form of the response. The error wraps [ErrMalformed].
func (p *Response) Marshal() ([]byte, error) {
	if p.Status < 200 || p.Status > 599 {
		return nil, fmt.Errorf("%w: status %d", ErrMalformed, p.Status)
	}
	return appendRest(appendVarint([]byte{knownResponse}, uint64(p.Status)), p.Header, p.Body, p.Trailer)
}

func appendRest(b []byte, header []Field, body []byte, trailer []Field) ([]byte, error) {
	b, err := appendFields(b, header)
	if err != nil {
		return nil, err
	}
	return appendFields(appendString(b, string(body)), trailer)
}

func appendFields(b []byte, fields []Field) ([]byte, error) {
	if err := checkFields(fields); err != nil {
		return nil, err
	}
	var section []byte
	for _, f := range fields {
		section = appendString(appendString(section, f.Name), f.Value)
	}
	return appendString(b, string(section)), nil
}

// appendVarint writes a variable-length integer (RFC 9000 §16) in its shortest form.
func appendVarint(b []byte, v uint64) []byte {
	switch {
	case v < 1<<6:
		return append(b, byte(v))
	case v < 1<<14:
		return binary.BigEndian.AppendUint16(b, uint16(v)|1<<14)
	case v < 1<<30:
		return binary.BigEndian.AppendUint32(b, uint32(v)|2<<30)
	}
	return binary.BigEndian.AppendUint64(b, v|3<<62)
}

func appendString(b []byte, s string) []byte { return append(appendVarint(b, uint64(len(s))), s...) }

// ParseRequest reads a request in either form; what follows it must be zeros. The error
// wraps [ErrMalformed]. The body aliases b, unless it came in pieces.
func ParseRequest(b []byte) (*Request, error) {
	r := &reader{b: b}
	form := r.varint()
	if form != knownRequest && form != indefiniteRequest {
		r.fail("not a request")
	}
	q := &Request{Method: r.string(), Scheme: r.string(), Authority: r.string(), Path: r.string()}
	q.Header, q.Body, q.Trailer = r.rest(form == indefiniteRequest)
	if r.err == nil {
		r.err = q.check()
	}
	if r.err != nil {
		return nil, r.err
	}
	return q, nil
}

// check refuses what could be taken for another request on its way.
func (q *Request) check() error {
	if q.Method == "" || strings.ContainsFunc(q.Method, func(c rune) bool { return !isToken(c) }) {
		return fmt.Errorf("%w: no method", ErrMalformed)
	}
	for _, s := range []string{q.Scheme, q.Authority, q.Path} {
		if strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
			return fmt.Errorf("%w: a character that may not be in an address", ErrMalformed)
		}
	}
	return nil
}

// ParseResponse reads a response in either form; what follows it must be zeros. The error
// wraps [ErrMalformed]. The body aliases b, unless it came in pieces.
func ParseResponse(b []byte) (*Response, error) {
	r := &reader{b: b}
	form := r.varint()
	if form != knownResponse && form != indefiniteResponse {
		r.fail("not a response")
	}
	p := new(Response)
	for n := 0; r.err == nil; n++ {
		status := r.varint()
		if status < 100 || status > 599 || n > maxFields {
			r.fail("no such status")
			break
		}
		if status >= 200 {
			p.Status = int(status)
			break
		}
		r.fields(form == indefiniteResponse)
	}
	p.Header, p.Body, p.Trailer = r.rest(form == indefiniteResponse)
	if r.err != nil {
		return nil, r.err
	}
	return p, nil
}

// reader keeps the first error; after it everything is empty.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(why string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", ErrMalformed, why)
	}
	r.b = nil
}

func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.fail("cut short")
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) varint() uint64 {
	if len(r.b) == 0 {
		r.fail("cut short")
		return 0
	}
	b := r.take(1 << (r.b[0] >> 6))
	if b == nil {
		return 0
	}
	v := uint64(b[0] & 0x3f)
	for _, c := range b[1:] {
		v = v<<8 | uint64(c)
	}
	return v
}

func (r *reader) string() string { return string(r.take(r.varint())) }

// rest reads header, content, trailer and padding. A message may end before any of them if
// nothing but empty ones follow (RFC 9292 §3.8).
func (r *reader) rest(indefinite bool) (header []Field, body []byte, trailer []Field) {
	if r.err != nil || len(r.b) == 0 {
		return nil, nil, nil
	}
	header = r.fields(indefinite)
	if r.err == nil && len(r.b) > 0 {
		body = r.content(indefinite)
	}
	if r.err == nil && len(r.b) > 0 {
		trailer = r.fields(indefinite)
	}
	for _, c := range r.b {
		if c != 0 {
			r.fail("padding is not zero")
		}
	}
	return header, body, trailer
}

func (r *reader) content(indefinite bool) []byte {
	body := r.take(r.varint())
	if !indefinite || len(body) == 0 {
		return body
	}
	body = append([]byte(nil), body...)
	for r.err == nil {
		chunk := r.take(r.varint())
		if len(chunk) == 0 {
			break
		}
		body = append(body, chunk...)
	}
	return body
}

func (r *reader) fields(indefinite bool) []Field {
	section := r
	if !indefinite {
		section = &reader{b: r.take(r.varint())}
	}
	var list []Field
	for section.err == nil && (indefinite || len(section.b) > 0) {
		name := section.string()
		if name == "" && indefinite {
			break
		}
		list = append(list, Field{name, section.string()})
		if len(list) > maxFields {
			section.fail("too many fields")
		}
	}
	if section.err == nil {
		section.err = checkFields(list)
	}
	if r.err == nil && section.err != nil {
		r.err, r.b = section.err, nil
	}
	return list
}

// checkFields refuses what HTTP/2 refuses: names in upper case, pseudo-fields, and values
// that would end their line (RFC 9292 §4).
func checkFields(list []Field) error {
	for _, f := range list {
		bad := f.Name == "" || strings.ContainsFunc(f.Name, func(c rune) bool { return !isToken(c) || 'A' <= c && c <= 'Z' })
		if bad || strings.ContainsAny(f.Value, "\r\n\x00") || strings.Trim(f.Value, " \t") != f.Value {
			return fmt.Errorf("%w: a field that no message may have", ErrMalformed)
		}
	}
	return nil
}

// isToken says whether c may be in a token (RFC 9110 §5.6.2).
func isToken(c rune) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c < 0x80 && strings.ContainsRune("!#$%&'*+-.^_`|~", c)
}
