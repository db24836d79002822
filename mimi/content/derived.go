package content

import (
	"time"

	"github.com/fxamacker/cbor/v2"

	"hubbub/mimi"
)

// Derived is what a receiver knows about a message besides its content, in the form of
// mimi-content-08, Derived Data Values: to hand a message on with it, for instance to a
// log or a bot (CNT-37).
type Derived struct {
	ID       ID
	Accepted time.Time // whole milliseconds, not before 1970
	Group    []byte    // MLS group id
	Leaf     uint32    // the sender's leaf index
	Client   mimi.ClientURI
	Sender   mimi.UserURI
	Room     mimi.RoomURI
}

type wireDerived struct {
	_        struct{} `cbor:",toarray"`
	ID       ID
	Accepted cbor.RawMessage
	Group    []byte
	Leaf     uint32
	Client   string
	Sender   string
	Room     string
}

// Keys of the map in an extended time (RFC 9581): whole seconds, and the milliseconds to
// add.
const (
	tagExtendedTime = 1001
	timeSeconds     = 1
	timeMillis      = -3
)

// Encode gives the deterministic encoding, the time in milliseconds, or an error wrapping
// [ErrInvalid].
func (d *Derived) Encode() ([]byte, error) {
	ms := d.Accepted.UnixMilli()
	if ms < 0 {
		return nil, invalid("CNT-37", "accepted before 1970")
	}
	b, err := encMode.Marshal(wireDerived{ID: d.ID, Accepted: appendHead(nil, majorUint, uint64(ms)), Group: filled(d.Group),
		Leaf: d.Leaf, Client: string(d.Client), Sender: string(d.Sender), Room: string(d.Room)})
	if err != nil {
		return nil, invalid("CNT-37", "not text")
	}
	_, err = DecodeDerived(b)
	return b, err
}

// DecodeDerived reads derived values in deterministic encoding; the time may also be an
// extended one (RFC 9581) of seconds and milliseconds. Identifiers are checked. The error
// wraps [ErrInvalid].
func DecodeDerived(b []byte) (*Derived, error) {
	s := scanner{b: b, most: 3}
	if err := s.item(0, nestedKey); err != nil {
		return nil, err
	}
	if s.off != len(b) {
		return nil, invalid("CNT-37", "octets after the values")
	}
	var w wireDerived
	if err := decMode.Unmarshal(b, &w); err != nil {
		return nil, decodeError("CNT-37", err)
	}
	d := &Derived{ID: w.ID, Group: w.Group, Leaf: w.Leaf}
	var err error
	if d.Accepted, err = decodeTime(w.Accepted); err != nil {
		return nil, err
	}
	var e1, e2, e3 error
	d.Client, e1 = mimi.ParseClient(w.Client)
	d.Sender, e2 = mimi.ParseUser(w.Sender)
	d.Room, e3 = mimi.ParseRoom(w.Room)
	if e1 != nil || e2 != nil || e3 != nil {
		return nil, invalid("CNT-37", "not an identifier")
	}
	return d, nil
}

func decodeTime(b []byte) (time.Time, error) {
	var ms int64
	if decMode.Unmarshal(b, &ms) == nil && ms >= 0 {
		return time.UnixMilli(ms), nil
	}
	var tag cbor.RawTag
	var parts map[int64]int64
	if decMode.Unmarshal(b, &tag) != nil || tag.Number != tagExtendedTime || decMode.Unmarshal(tag.Content, &parts) != nil {
		return time.Time{}, invalid("CNT-37", "not a time")
	}
	for k := range parts {
		if k != timeSeconds && k != timeMillis {
			return time.Time{}, invalid("CNT-37", "a time with more than seconds and milliseconds")
		}
	}
	seconds, ok := parts[timeSeconds]
	if millis := parts[timeMillis]; ok && seconds >= 0 && seconds < 1<<40 && millis >= 0 && millis < 1000 {
		return time.Unix(seconds, millis*int64(time.Millisecond)), nil
	}
	return time.Time{}, invalid("CNT-37", "not a time")
}
