package mimi

import (
	"fmt"

	"hubbub/mls"
	"hubbub/mls/wire"
)

// A SubmitMessageRequest asks a hub to accept an application message
// (mimi-protocol-06, Submit a Message).
type SubmitMessageRequest struct {
	Message mls.Message // a PrivateMessage with application content; Raw holds its octets
	Sender  UserURI     // of the submitting provider's domain (TRN-6)
}

// ParseSubmitMessageRequest reads a request. The error wraps [ErrMalformed];
// [ErrUnsupportedProtocol] and [ErrWrongWireFormat] (SUB-1) say what is wrong.
func ParseSubmitMessageRequest(b []byte) (*SubmitMessageRequest, error) {
	s := new(SubmitMessageRequest)
	if err := parseBody(b, s); err != nil {
		return nil, err
	}
	return s, nil
}

// Marshal gives the body.
func (s *SubmitMessageRequest) Marshal() ([]byte, error) { return wire.Marshal(s) }

// Encode writes the body to w.
func (s *SubmitMessageRequest) Encode(w *wire.Writer) {
	w.Uint8(uint8(ProtocolMLS10))
	if !isApplication(&s.Message) {
		w.Fail(ErrWrongWireFormat)
		return
	}
	encodeMessage(w, &s.Message)
	encodeString(w, s.Sender)
}

// Decode reads the body from r.
func (s *SubmitMessageRequest) Decode(r *wire.Reader) {
	decodeProtocol(r)
	s.Message.Decode(r)
	if r.Err() == nil && !isApplication(&s.Message) {
		r.Fail(ErrWrongWireFormat)
	}
	s.Sender = decodeURI(r, ParseUser)
}

func isApplication(m *mls.Message) bool {
	return m.Private != nil && m.Private.ContentType == mls.ContentTypeApplication
}

// A SubmitCode is the outcome of a submission.
type SubmitCode uint8

// Outcomes of a submission (mimi-protocol-06, Submit a Message; D-9 on the first name).
const (
	SubmitAccepted SubmitCode = iota // a promise to distribute it (SUB-8)
	SubmitNotAllowed
	SubmitEpochTooOld // CurrentEpoch says which is right
)

// A SubmitMessageResponse answers a [SubmitMessageRequest].
type SubmitMessageResponse struct {
	Code         SubmitCode
	Timestamp    uint64 // accepted: acceptance time in Unix ms
	Frank        *Frank // accepted: nil if not franked
	CurrentEpoch uint64 // epochTooOld
}

// ParseSubmitMessageResponse reads an answer. The error wraps [ErrMalformed].
func ParseSubmitMessageResponse(b []byte) (*SubmitMessageResponse, error) {
	s := new(SubmitMessageResponse)
	if err := parseBody(b, s); err != nil {
		return nil, err
	}
	return s, nil
}

// Marshal gives the body.
func (s *SubmitMessageResponse) Marshal() ([]byte, error) { return wire.Marshal(s) }

// Encode writes the body to w.
func (s *SubmitMessageResponse) Encode(w *wire.Writer) {
	w.Uint8(uint8(ProtocolMLS10))
	w.Uint8(uint8(s.Code))
	switch s.Code {
	case SubmitAccepted:
		w.Uint64(s.Timestamp)
		encodeFrank(w, s.Frank)
	case SubmitNotAllowed:
	case SubmitEpochTooOld:
		w.Uint64(s.CurrentEpoch)
	default:
		w.Fail(fmt.Errorf("%w: unknown submit code", ErrMalformed))
	}
}

// Decode reads the body from r.
func (s *SubmitMessageResponse) Decode(r *wire.Reader) {
	decodeProtocol(r)
	*s = SubmitMessageResponse{Code: inRange(r, SubmitCode(r.Uint8()), 0, SubmitEpochTooOld)}
	switch s.Code {
	case SubmitAccepted:
		s.Timestamp = r.Uint64()
		s.Frank = decodeFrank(r)
	case SubmitEpochTooOld:
		s.CurrentEpoch = r.Uint64()
	}
}

// A Frank is a hub's proof that it accepted a message from a sender at a time
// (mimi-protocol-06, Hub processing), see [FrankKeys.Frank].
type Frank struct {
	ServerFrank [32]byte
	Suite       mls.CipherSuite // whose signature scheme made Signature
	Signature   []byte
}

// Encode writes the frank to w.
func (f *Frank) Encode(w *wire.Writer) {
	w.Raw(f.ServerFrank[:])
	w.Uint16(uint16(f.Suite))
	w.Opaque(f.Signature)
}

// Decode reads the frank from r.
func (f *Frank) Decode(r *wire.Reader) {
	copy(f.ServerFrank[:], r.Raw(len(f.ServerFrank)))
	f.Suite = mls.CipherSuite(r.Uint16())
	f.Signature = r.Opaque()
}

func encodeFrank(w *wire.Writer, f *Frank) {
	w.Optional(f != nil)
	if f != nil {
		f.Encode(w)
	}
}

func decodeFrank(r *wire.Reader) *Frank {
	if !r.Optional() {
		return nil
	}
	f := new(Frank)
	f.Decode(r)
	return f
}
