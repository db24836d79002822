package content

import (
	"bytes"
	"slices"

	"github.com/fxamacker/cbor/v2"

	"hubbub/mimi"
)

// An ExtensionKey is an integer between -(2^53-1) and 2^53-1, or, if Name is not
// empty, a text of 1 to 255 octets (CNT-4). Zero is reserved.
type ExtensionKey struct {
	Number int64
	Name   string
}

// The extensions of mimi-content-08 every franked message carries.
var (
	KeySender = ExtensionKey{Number: 1} // text: URI of the sending user
	KeyRoom   = ExtensionKey{Number: 2} // text: URI of the room
)

const maxSafeInteger = 1<<53 - 1

// MarshalCBOR encodes the integer or text.
func (k ExtensionKey) MarshalCBOR() ([]byte, error) {
	if k.Name != "" {
		return encMode.Marshal(k.Name)
	}
	return encMode.Marshal(k.Number)
}

// UnmarshalCBOR accepts an integer or a text.
func (k *ExtensionKey) UnmarshalCBOR(b []byte) error {
	*k = ExtensionKey{}
	if len(b) > 0 && b[0]>>5 == majorText {
		return decMode.Unmarshal(b, &k.Name)
	}
	return decMode.Unmarshal(b, &k.Number)
}

// Extensions holds values by key, each one encoded CBOR item.
type Extensions map[ExtensionKey]cbor.RawMessage

// MarshalCBOR encodes the map with its keys in the bytewise order of their
// encodings (CNT-2).
func (e Extensions) MarshalCBOR() ([]byte, error) {
	type entry struct{ key, value []byte }
	entries := make([]entry, 0, len(e))
	for k, v := range e {
		key, err := k.MarshalCBOR()
		if err != nil {
			return nil, err
		}
		entries = append(entries, entry{key, v})
	}
	slices.SortFunc(entries, func(a, b entry) int { return bytes.Compare(a.key, b.key) })
	b := appendHead(nil, majorMap, uint64(len(entries)))
	for _, e := range entries {
		b = append(append(b, e.key...), e.value...)
	}
	return b, nil
}

// Text gives the value of a key that holds text.
func (e Extensions) Text(k ExtensionKey) (string, bool) {
	var s string
	v, ok := e[k]
	if !ok || len(v) == 0 || v[0]>>5 != majorText || decMode.Unmarshal(v, &s) != nil {
		return "", false
	}
	return s, true
}

// Sender is the user named by extension 1, or "" if there is none. It is only a
// claim until [Message.Check] has compared it.
func (e Extensions) Sender() mimi.UserURI {
	s, _ := e.Text(KeySender)
	return mimi.UserURI(s)
}

// Room is the room named by extension 2, or "" if there is none. It is only a claim
// until [Message.Check] has compared it.
func (e Extensions) Room() mimi.RoomURI {
	s, _ := e.Text(KeyRoom)
	return mimi.RoomURI(s)
}

func (e Extensions) setText(k ExtensionKey, s string) {
	if s != "" {
		e[k] = append(appendHead(nil, majorText, uint64(len(s))), s...)
	}
}

// check applies the rules about keys; writing is stricter than reading (D-64).
func (e Extensions) check(writing bool) error {
	for k, v := range e {
		switch {
		case k.Name != "" && (len(k.Name) > 255 || k.Number != 0):
			return invalid("CNT-4", "extension name is not 1 to 255 octets long")
		case k.Number > maxSafeInteger || k.Number < -maxSafeInteger:
			return invalid("CNT-4", "extension number out of range")
		case writing && k == ExtensionKey{}:
			return invalid("CNT-4", "extension 0 is reserved")
		case (k == KeySender || k == KeyRoom) && (len(v) == 0 || v[0]>>5 != majorText):
			return invalid("CNT-10", "extension %d is not text", k.Number)
		}
	}
	return nil
}
