package mls

import (
	"bytes"
	"fmt"

	"hubbub/mls/wire"
)

// Message is an MLSMessage, the unit in which MLS objects travel
// (RFC 9420 §6). WireFormat selects one of the pointer fields.
type Message struct {
	Version     ProtocolVersion
	WireFormat  WireFormat
	Public      *PublicMessage
	Private     *PrivateMessage
	SemiPrivate *SemiPrivateMessage
	Welcome     *Welcome
	GroupInfo   *GroupInfo
	KeyPackage  *KeyPackage
	Raw         []byte // the octets received; nil in a Message the caller built
}

// ParseMessage decodes an MLSMessage. It copies b first, so the result does
// not alias the caller's slice. Errors wrap those of package wire; an unknown
// version or wire format is wire.ErrBadValue.
func ParseMessage(b []byte) (*Message, error) {
	raw := bytes.Clone(b)
	m := &Message{Raw: raw}
	if err := wire.Unmarshal(raw, m); err != nil {
		return nil, fmt.Errorf("mls: parse message: %w", err)
	}
	return m, nil
}

// Marshal returns the octets of the message: those received, or a fresh
// encoding for a Message the caller built.
func (m *Message) Marshal() ([]byte, error) {
	if m.Raw != nil {
		return m.Raw, nil
	}
	return wire.Marshal(m)
}

// Encode appends the message.
func (m *Message) Encode(w *wire.Writer) {
	w.Uint16(uint16(m.Version))
	w.Uint16(uint16(m.WireFormat))
	switch {
	case m.WireFormat == WireFormatPublicMessage && m.Public != nil:
		m.Public.Encode(w)
	case m.WireFormat == WireFormatPrivateMessage && m.Private != nil:
		m.Private.Encode(w)
	case m.WireFormat == WireFormatSemiPrivateMessage && m.SemiPrivate != nil:
		m.SemiPrivate.Encode(w)
	case m.WireFormat == WireFormatWelcome && m.Welcome != nil:
		m.Welcome.Encode(w)
	case m.WireFormat == WireFormatGroupInfo && m.GroupInfo != nil:
		m.GroupInfo.Encode(w)
	case m.WireFormat == WireFormatKeyPackage && m.KeyPackage != nil:
		m.KeyPackage.Encode(w)
	default:
		w.Fail(wire.ErrBadValue)
	}
}

// Decode reads a message. Raw is set to the octets read.
func (m *Message) Decode(r *wire.Reader) {
	from := r.Offset()
	*m = Message{Version: ProtocolVersion(r.Uint16()), WireFormat: WireFormat(r.Uint16())}
	if m.Version != MLS10 {
		r.FailValue()
	}
	switch m.WireFormat {
	case WireFormatPublicMessage:
		m.Public = new(PublicMessage)
		m.Public.Decode(r)
	case WireFormatPrivateMessage:
		m.Private = new(PrivateMessage)
		m.Private.Decode(r)
	case WireFormatSemiPrivateMessage:
		m.SemiPrivate = new(SemiPrivateMessage)
		m.SemiPrivate.Decode(r)
	case WireFormatWelcome:
		m.Welcome = new(Welcome)
		m.Welcome.Decode(r)
	case WireFormatGroupInfo:
		m.GroupInfo = new(GroupInfo)
		m.GroupInfo.Decode(r)
	case WireFormatKeyPackage:
		m.KeyPackage = new(KeyPackage)
		m.KeyPackage.Decode(r)
	default:
		r.FailValue()
	}
	m.Raw = r.Consumed(from, r.Offset())
}

// NewMessage wraps one of *PublicMessage, *PrivateMessage, *SemiPrivateMessage,
// *Welcome, *GroupInfo and *KeyPackage.
func NewMessage[T PublicMessage | PrivateMessage | SemiPrivateMessage | Welcome | GroupInfo | KeyPackage](content *T) *Message {
	m := &Message{Version: MLS10}
	switch c := any(content).(type) {
	case *PublicMessage:
		m.WireFormat, m.Public = WireFormatPublicMessage, c
	case *PrivateMessage:
		m.WireFormat, m.Private = WireFormatPrivateMessage, c
	case *SemiPrivateMessage:
		m.WireFormat, m.SemiPrivate = WireFormatSemiPrivateMessage, c
	case *Welcome:
		m.WireFormat, m.Welcome = WireFormatWelcome, c
	case *GroupInfo:
		m.WireFormat, m.GroupInfo = WireFormatGroupInfo, c
	case *KeyPackage:
		m.WireFormat, m.KeyPackage = WireFormatKeyPackage, c
	}
	return m
}

// Header is what an MLSMessage shows without its group's state. GroupID, Epoch
// and ContentType are set for public, private and semi-private messages, GroupID and Epoch
// for a GroupInfo, Sender for public messages only.
type Header struct {
	WireFormat  WireFormat
	GroupID     []byte
	Epoch       uint64
	ContentType ContentType
	Sender      Sender
}

// Peek decodes an MLSMessage and returns its header. Use ParseMessage when the
// content is needed as well.
func Peek(b []byte) (Header, error) {
	m, err := ParseMessage(b)
	if err != nil {
		return Header{}, err
	}
	return m.Header(), nil
}

// Header returns the message's header.
func (m *Message) Header() Header {
	h := Header{WireFormat: m.WireFormat}
	switch {
	case m.Public != nil:
		c := &m.Public.Content
		h.GroupID, h.Epoch, h.ContentType, h.Sender = c.GroupID, c.Epoch, c.ContentType, c.Sender
	case m.Private != nil:
		h.GroupID, h.Epoch, h.ContentType = m.Private.GroupID, m.Private.Epoch, m.Private.ContentType
	case m.SemiPrivate != nil:
		h.GroupID, h.Epoch, h.ContentType = m.SemiPrivate.GroupID, m.SemiPrivate.Epoch, m.SemiPrivate.ContentType
	case m.GroupInfo != nil:
		h.GroupID, h.Epoch = m.GroupInfo.GroupContext.GroupID, m.GroupInfo.GroupContext.Epoch
	}
	return h
}
