package mimi

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"hubbub/mls"
	"hubbub/mls/wire"
)

var (
	// ErrMalformed is wrapped by every error of a Parse function: the octets are
	// not one body of the kind asked for. A peer sees 400.
	ErrMalformed = errors.New("mimi: malformed")
	// ErrUnsupportedProtocol means a protocol octet other than mls10 where the
	// body has no answer of its own for that. It wraps [ErrMalformed].
	ErrUnsupportedProtocol = fmt.Errorf("%w: unsupported protocol", ErrMalformed)
	// ErrWrongWireFormat means an MLSMessage of a kind that this body may not
	// carry, such as a PrivateMessage handshake (D-5). It wraps [ErrMalformed].
	ErrWrongWireFormat = fmt.Errorf("%w: wrong wire format", ErrMalformed)
	// ErrBadSignature means that the signature of a request or response does not
	// verify. A peer sees 403.
	ErrBadSignature = errors.New("mimi: bad signature")
)

// maxCodePoints bounds lists of cipher suites and the like in a request: no
// registry has nearly as many (H27).
const maxCodePoints = 256

// A Protocol is the first octet of the bodies that have one (D-4).
type Protocol uint8

// ProtocolMLS10 is the only protocol defined.
const ProtocolMLS10 Protocol = 1

// parse reads exactly one d from b.
func parseBody(b []byte, d wire.Decoder) error {
	if err := wire.Unmarshal(b, d); err != nil {
		if errors.Is(err, ErrMalformed) {
			return err
		}
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}

func decodeProtocol(r *wire.Reader) Protocol {
	p := Protocol(r.Uint8())
	if p != ProtocolMLS10 {
		r.Fail(ErrUnsupportedProtocol)
	}
	return p
}

// decodeURI reads an identifier and has it checked by parse.
func decodeURI[T ~string](r *wire.Reader, parse func(string) (T, error)) T {
	b := r.Opaque()
	if r.Err() != nil {
		return ""
	}
	v, err := parse(string(b))
	if err != nil {
		r.Fail(fmt.Errorf("%w: %w", ErrMalformed, err))
	}
	return v
}

// decodeOptionalURI is decodeURI where the empty identifier means none.
func decodeOptionalURI[T ~string](r *wire.Reader, parse func(string) (T, error)) T {
	return decodeURI(r, func(s string) (T, error) {
		if s == "" {
			return "", nil
		}
		return parse(s)
	})
}

// decodeText reads UTF-8 (WIRE-9).
func decodeText(r *wire.Reader) string {
	b := r.Opaque()
	if !utf8.Valid(b) {
		r.FailValue()
	}
	return string(b)
}

// encodeText refuses to write what decodeText refuses to read.
func encodeText(w *wire.Writer, s string) {
	if !utf8.ValidString(s) {
		w.Fail(fmt.Errorf("%w: text is not UTF-8", ErrMalformed))
	}
	w.Opaque([]byte(s))
}

func encodeString[T ~string](w *wire.Writer, s T) { w.Opaque([]byte(s)) }

func encodeList[T any](w *wire.Writer, list []T, encode func(w *wire.Writer, v *T)) {
	w.Vector(func(w *wire.Writer) {
		for i := range list {
			encode(w, &list[i])
		}
	})
}

func decodeList[T any](r *wire.Reader, decode func(r *wire.Reader, v *T)) []T {
	var list []T
	for v := r.Vector(); !v.Empty(); {
		var e T
		decode(v, &e)
		list = append(list, e)
	}
	return list
}

func encodeSuites(w *wire.Writer, list []mls.CipherSuite) {
	encodeList(w, list, func(w *wire.Writer, s *mls.CipherSuite) { w.Uint16(uint16(*s)) })
}

func decodeSuites(r *wire.Reader) []mls.CipherSuite {
	list := decodeList(r, func(r *wire.Reader, s *mls.CipherSuite) { *s = mls.CipherSuite(r.Uint16()) })
	if len(list) > maxCodePoints {
		r.FailValue()
	}
	return list
}

// encodeMessage writes an MLSMessage with the octets it was received in, since
// hashes and references are over those (WIRE-10).
func encodeMessage(w *wire.Writer, m *mls.Message) {
	if m.Raw != nil {
		w.Raw(m.Raw)
		return
	}
	m.Encode(w)
}

// isHandshake says whether m is a PublicMessage of the given content type.
func isHandshake(m *mls.Message, t mls.ContentType) bool {
	return m.Public != nil && m.Public.Content.ContentType == t
}

// decodeProposals reads a vector of MLSMessages that must all be public proposals.
func decodeProposals(r *wire.Reader) []mls.Message {
	return decodeList(r, func(r *wire.Reader, m *mls.Message) {
		m.Decode(r)
		if r.Err() == nil && !isHandshake(m, mls.ContentTypeProposal) {
			r.Fail(ErrWrongWireFormat)
		}
	})
}

// inRange fails r when a code is not one of first to last (WIRE-8).
func inRange[T ~uint8](r *wire.Reader, v, first, last T) T {
	if v < first || v > last {
		r.FailValue()
	}
	return v
}
