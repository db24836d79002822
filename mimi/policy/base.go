package policy

import (
	"fmt"

	"hubbub/mimi"
	"hubbub/mls"
	"hubbub/mls/wire"
)

// BaseRoomPolicy is the content of component 0x0027 and equally an update of it
// (mimi-room-policy-03, Base Room policy).
type BaseRoomPolicy struct {
	FixedMembership   bool // participants are set at creation (POL-11)
	ParentDependant   bool // participants are some of the parent room's (POL-13)
	ParentRoom        mimi.RoomURI
	MultiDevice       bool    // a user may have several clients in the group (POL-14)
	MaxClients        *uint32 // nil: no limit (POL-15)
	MaxUsers          *uint32 // nil: no limit; banned users do not count
	PseudonymsAllowed bool
	PersistentRoom    bool // the room outlives its last client (POL-17)
	Discoverable      bool
	Components        []mls.ComponentID // the other policy components that apply (POL-19)
}

// ParseBaseRoomPolicy reads the component. The error wraps [ErrMalformed].
func ParseBaseRoomPolicy(b []byte) (*BaseRoomPolicy, error) {
	p := new(BaseRoomPolicy)
	return checked(p, b, p.check)
}

// Marshal gives the component's octets.
func (p *BaseRoomPolicy) Marshal() ([]byte, error) { return wire.Marshal(p) }

// Encode writes the policy to w.
func (p *BaseRoomPolicy) Encode(w *wire.Writer) {
	encodeBool(w, p.FixedMembership)
	encodeBool(w, p.ParentDependant)
	w.Vector(func(w *wire.Writer) { // zero or one (D-54)
		if p.ParentRoom != "" {
			w.Opaque([]byte(p.ParentRoom))
		}
	})
	encodeBool(w, p.MultiDevice)
	encodeOptional32(w, p.MaxClients)
	encodeOptional32(w, p.MaxUsers)
	encodeBool(w, p.PseudonymsAllowed)
	encodeBool(w, p.PersistentRoom)
	encodeBool(w, p.Discoverable)
	w.Vector(func(w *wire.Writer) {
		for _, id := range p.Components {
			w.Uint16(uint16(id))
		}
	})
}

// Decode reads the policy from r.
func (p *BaseRoomPolicy) Decode(r *wire.Reader) {
	*p = BaseRoomPolicy{FixedMembership: decodeBool(r), ParentDependant: decodeBool(r)}
	if v := r.Vector(); !v.Empty() {
		p.ParentRoom = decodeRoom(v)
		if !v.Empty() {
			v.FailValue()
		}
	}
	p.MultiDevice = decodeBool(r)
	p.MaxClients, p.MaxUsers = decodeOptional32(r), decodeOptional32(r)
	p.PseudonymsAllowed, p.PersistentRoom, p.Discoverable = decodeBool(r), decodeBool(r), decodeBool(r)
	for v := r.Vector(); !v.Empty(); {
		p.Components = append(p.Components, mls.ComponentID(v.Uint16()))
	}
}

func (p *BaseRoomPolicy) check() error {
	if p.ParentDependant != (p.ParentRoom != "") {
		return fmt.Errorf("%w: parent room and dependence on it do not go together", ErrMalformed)
	}
	if len(p.Components) > maxListed {
		return fmt.Errorf("%w: too many components", ErrMalformed)
	}
	return nil
}

// Optionality says what a policy wants of a feature (D-53).
type Optionality uint8

// The three ways to want a feature.
const (
	Optional Optionality = iota
	Required
	Forbidden
)

func decodeOptionality(r *wire.Reader) Optionality {
	o := Optionality(r.Uint8())
	if o > Forbidden {
		r.FailValue()
	}
	return o
}

// StatusNotificationPolicy is the content of component 0x0028 (POL-20).
type StatusNotificationPolicy struct {
	DeliveryNotifications Optionality
	ReadReceipts          Optionality
}

// ParseStatusNotificationPolicy reads the component. The error wraps [ErrMalformed].
func ParseStatusNotificationPolicy(b []byte) (*StatusNotificationPolicy, error) {
	return checked(new(StatusNotificationPolicy), b, nil)
}

// Encode writes the policy to w.
func (p *StatusNotificationPolicy) Encode(w *wire.Writer) {
	w.Uint8(uint8(p.DeliveryNotifications))
	w.Uint8(uint8(p.ReadReceipts))
}

// Decode reads the policy from r.
func (p *StatusNotificationPolicy) Decode(r *wire.Reader) {
	p.DeliveryNotifications, p.ReadReceipts = decodeOptionality(r), decodeOptionality(r)
}

// MessageExpiration is the content of component 0x0030, durations in seconds (POL-30).
// Unless Expiring is Forbidden, the bounds apply to messages that expire.
type MessageExpiration struct {
	Expiring Optionality
	Min, Max uint32
	Default  *uint32
}

// ParseMessageExpiration reads the component. The error wraps [ErrMalformed].
func ParseMessageExpiration(b []byte) (*MessageExpiration, error) {
	return checked(new(MessageExpiration), b, nil)
}

// Encode writes the policy to w; nothing follows "forbidden" (D-62).
func (p *MessageExpiration) Encode(w *wire.Writer) {
	w.Uint8(uint8(p.Expiring))
	if p.Expiring == Forbidden {
		return
	}
	w.Uint32(p.Min)
	w.Uint32(p.Max)
	encodeOptional32(w, p.Default)
}

// Decode reads the policy from r.
func (p *MessageExpiration) Decode(r *wire.Reader) {
	*p = MessageExpiration{Expiring: decodeOptionality(r)}
	if p.Expiring == Forbidden {
		return
	}
	p.Min, p.Max, p.Default = r.Uint32(), r.Uint32(), decodeOptional32(r)
	if p.Min > p.Max || p.Default != nil && (*p.Default < p.Min || *p.Default > p.Max) {
		r.FailValue()
	}
}
