package content

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"hubbub/mimi"
)

// MediaType is the type of an encoded [Message].
const MediaType = "application/mimi-content"

// Content types every client can show (CNT-60).
const (
	PlainText   = "text/plain;charset=utf-8"
	GFMMarkdown = "text/markdown;variant=GFM-MIMI"
)

// Limits of the format; the length in octets of a whole message is ours (CNT-8).
const (
	SaltBytes    = 16
	MaxBytes     = 1 << 20 // longest message accepted, in octets
	MaxTopic     = 4096    // longest topic id, in octets (CNT-14)
	MaxParts     = 1024    // most parts of a message, multiparts included (CNT-22)
	MaxPartDepth = 4       // deepest nesting of parts, the body being level 1 (CNT-6)
)

// An ID identifies a message: one octet naming the hash, 01 for SHA-256, and the
// first 31 octets of the hash (CNT-30).
type ID [32]byte

// String gives the id in hexadecimal.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// MarshalCBOR encodes the id as a byte string.
func (id ID) MarshalCBOR() ([]byte, error) { return encMode.Marshal(id[:]) }

// UnmarshalCBOR accepts a byte string of 32 octets.
func (id *ID) UnmarshalCBOR(b []byte) error { return fixedBytes(id[:], b) }

// A Salt is 16 random octets, new for each message.
type Salt [SaltBytes]byte

// MarshalCBOR encodes the salt as a byte string.
func (s Salt) MarshalCBOR() ([]byte, error) { return encMode.Marshal(s[:]) }

// UnmarshalCBOR accepts a byte string of 16 octets.
func (s *Salt) UnmarshalCBOR(b []byte) error { return fixedBytes(s[:], b) }

// Expires says when a message is to vanish: Seconds after it was read if Relative,
// else at that Unix time in seconds (CNT-15).
type Expires struct {
	_        struct{} `cbor:",toarray"`
	Relative bool
	Seconds  uint32
}

// A Message is one content message (mimi-content-08, Message Behavior Fields). The zero Salt is refused
// on Encode: make messages with [NewText] or [New].
type Message struct {
	Salt       Salt
	Replaces   *ID    // first version of what this edits or deletes; nil for none
	Topic      []byte // at most 4096 octets; empty for none
	Expires    *Expires
	InReplyTo  *ID
	Extensions Extensions
	Body       Part
}

// wireMessage is Message as the seven-element array of the format.
type wireMessage struct {
	_          struct{} `cbor:",toarray"`
	Salt       Salt
	Replaces   *ID
	Topic      []byte
	Expires    *Expires
	InReplyTo  *ID
	Extensions Extensions
	Body       cbor.RawMessage
}

// New makes a message with a random salt that names its sender and room in
// extensions 1 and 2 (D-66).
func New(sender mimi.UserURI, room mimi.RoomURI, body Part) *Message {
	m := &Message{Body: body, Extensions: Extensions{}}
	rand.Read(m.Salt[:]) // never fails: crypto/rand ends the process instead
	m.Extensions.setText(KeySender, string(sender))
	m.Extensions.setText(KeyRoom, string(room))
	return m
}

// NewText makes a plain text message, see [New]. Text must be UTF-8, else Encode
// refuses.
func NewText(sender mimi.UserURI, room mimi.RoomURI, text string) *Message {
	return New(sender, room, &SinglePart{
		Disposition: Render, ContentType: PlainText, Content: []byte(text),
	})
}

// Encode gives the one encoding of m, or an error wrapping [ErrInvalid] if m breaks
// a rule.
func (m *Message) Encode() ([]byte, error) {
	if m.Salt == (Salt{}) {
		return nil, invalid("CNT-11", "salt is not random")
	}
	return m.encode(true)
}

// Reencode gives the octets [Decode] made m from. It writes what may be read but not be
// sent: extension 0 and a salt of zeros. The error wraps [ErrInvalid].
func (m *Message) Reencode() ([]byte, error) { return m.encode(false) }

func (m *Message) encode(writing bool) ([]byte, error) {
	if err := m.validate(writing); err != nil {
		return nil, err
	}
	body, err := encodePart(m.Body, 1)
	if err != nil {
		return nil, err
	}
	w := wireMessage{Salt: m.Salt, Replaces: m.Replaces, Topic: m.Topic, Expires: m.Expires,
		InReplyTo: m.InReplyTo, Extensions: m.Extensions, Body: body}
	if w.Topic == nil {
		w.Topic = []byte{}
	}
	if w.Extensions == nil {
		w.Extensions = Extensions{}
	}
	b, err := encMode.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	// The caller may have put anything into an extension value.
	if err := scanMessage(b); err != nil {
		return nil, err
	}
	return b, nil
}

// Decode reads a message and checks everything that can be seen from its octets:
// deterministic encoding, types, limits and depths (CNT-1 to CNT-22). The error
// wraps [ErrInvalid]. The message does not alias b.
func Decode(b []byte) (*Message, error) {
	if err := scanMessage(b); err != nil {
		return nil, err
	}
	var w wireMessage
	if err := decMode.Unmarshal(b, &w); err != nil {
		return nil, decodeError("CNT-10", err)
	}
	parts := 0
	body, err := decodePart(w.Body, 1, &parts)
	if err != nil {
		return nil, err
	}
	m := &Message{Salt: w.Salt, Replaces: w.Replaces, Topic: w.Topic, Expires: w.Expires,
		InReplyTo: w.InReplyTo, Extensions: w.Extensions, Body: body}
	if err := m.validate(false); err != nil {
		return nil, err
	}
	return m, nil
}

// MessageID computes the identifier of an encoded message: 01, then the first 31
// octets of SHA-256 over both URIs, each behind its length in two octets, the
// encoding, and its salt (CNT-30). Sender and room must be the authenticated ones
// (D-66). The error wraps [ErrInvalid].
func MessageID(sender mimi.UserURI, room mimi.RoomURI, encoded []byte) (ID, error) {
	const head = 2 // array of 7, byte string of 16
	if len(encoded) < head+SaltBytes || encoded[0] != 0x87 || encoded[1] != 0x50 {
		return ID{}, invalid("CNT-10", "not a message")
	}
	if len(sender) > 0xffff || len(room) > 0xffff {
		return ID{}, invalid("CNT-30", "identifier too long")
	}
	h := sha256.New()
	for _, uri := range []string{string(sender), string(room)} {
		h.Write([]byte{byte(len(uri) >> 8), byte(len(uri))})
		h.Write([]byte(uri))
	}
	h.Write(encoded)
	h.Write(encoded[head : head+SaltBytes])
	id := ID{1}
	copy(id[1:], h.Sum(nil))
	return id, nil
}

// ErrInvalid is wrapped by every [InvalidError].
var ErrInvalid = errors.New("mimi/content: invalid message")

// An InvalidError says which rule a message breaks.
type InvalidError struct {
	Rule   string // entry of the requirements checklist, such as "CNT-14"
	Reason string // for people; holds nothing of the message
}

func (e *InvalidError) Error() string {
	return ErrInvalid.Error() + ": " + e.Reason + " (" + e.Rule + ")"
}

// Unwrap gives [ErrInvalid].
func (e *InvalidError) Unwrap() error { return ErrInvalid }

func invalid(rule, reason string, args ...any) error {
	if len(args) > 0 {
		reason = fmt.Sprintf(reason, args...)
	}
	return &InvalidError{Rule: rule, Reason: reason}
}

// decodeError keeps a rule found deeper down and hides the library's words, which
// could repeat content.
func decodeError(rule string, err error) error {
	var inner *InvalidError
	if errors.As(err, &inner) {
		return inner
	}
	return invalid(rule, "element of the wrong type or number")
}

func fixedBytes(to, b []byte) error {
	var v []byte
	if err := decMode.Unmarshal(b, &v); err != nil || len(v) != len(to) {
		return invalid("CNT-13", "byte string is not %d octets long", len(to))
	}
	copy(to, v)
	return nil
}

var (
	encMode = must(cbor.CoreDetEncOptions().EncMode())
	decMode = must(cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField, MaxNestedLevels: maxNesting,
	}.DecMode())
)

// must is for options fixed at build time.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
