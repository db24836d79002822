package mimi

import (
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"

	"hubbub/mls/wire"
)

// maxMetadataBytes bounds component 0x0023 as a whole (SEC-1).
const maxMetadataBytes = 64 << 10

// RoomMetaData is the content of component 0x0023 and equally an update of it, which
// replaces everything (mimi-protocol-06, Room Metadata, META-2). Every field but Room may be
// empty.
type RoomMetaData struct {
	Room         RoomURI // the room's own identifier; cannot change (META-6)
	Name         string
	Descriptions []RichDescription
	Avatar       string // https URL
	Subject      string
	Mood         string
}

// A RichDescription describes a room in one language and format. An empty MediaType
// means text/plain;charset=utf-8.
type RichDescription struct {
	MediaType   string
	LanguageTag string
	Content     []byte
}

// ParseRoomMetaData reads the component, checking META-5. The error wraps
// [ErrMalformed].
func ParseRoomMetaData(b []byte) (*RoomMetaData, error) {
	m := new(RoomMetaData)
	if err := parseBody(b, m); err != nil {
		return nil, err
	}
	return m, nil
}

// Marshal gives the component's octets, or an error wrapping [ErrMalformed] if a field
// breaks META-5.
func (m *RoomMetaData) Marshal() ([]byte, error) { return wire.Marshal(m) }

// Encode writes the metadata to w.
func (m *RoomMetaData) Encode(w *wire.Writer) {
	if err := m.check(); err != nil {
		w.Fail(err)
	}
	encodeString(w, m.Room)
	encodeString(w, m.Name)
	encodeList(w, m.Descriptions, func(w *wire.Writer, d *RichDescription) {
		encodeText(w, d.MediaType)
		encodeText(w, d.LanguageTag)
		w.Opaque(d.Content)
	})
	encodeString(w, m.Avatar)
	encodeString(w, m.Subject)
	encodeString(w, m.Mood)
}

// Decode reads the metadata from r.
func (m *RoomMetaData) Decode(r *wire.Reader) {
	if len(r.Remaining()) > maxMetadataBytes {
		r.FailValue()
	}
	*m = RoomMetaData{Room: decodeURI(r, ParseRoom), Name: decodeText(r)}
	m.Descriptions = decodeList(r, func(r *wire.Reader, d *RichDescription) {
		d.MediaType, d.LanguageTag, d.Content = decodeText(r), decodeText(r), r.Opaque()
	})
	m.Avatar, m.Subject, m.Mood = decodeText(r), decodeText(r), decodeText(r)
	if err := m.check(); r.Err() == nil && err != nil {
		r.Fail(err)
	}
}

// check is META-5.
func (m *RoomMetaData) check() error {
	if _, err := ParseRoom(string(m.Room)); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	for _, s := range []string{m.Name, m.Subject, m.Mood} {
		if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
			return fmt.Errorf("%w: room metadata text is not UTF-8 or holds NUL", ErrMalformed)
		}
	}
	if m.Avatar == "" {
		return nil
	}
	u, err := url.Parse(m.Avatar)
	if err != nil || u.Scheme != "https" || u.Host == "" || len(m.Avatar) > MaxURIBytes {
		return fmt.Errorf("%w: avatar is not an https URL", ErrMalformed)
	}
	return nil
}
