package mimi

import (
	"fmt"

	"hubbub/mls/wire"
)

// EndpointDelivery is an extension of ours: a participating provider asks the
// hub how far the other providers of a room have stored its log.
const EndpointDelivery Endpoint = "x-delivery"

// MaxDeliveryFollowers bounds how many providers a [DeliveryReport] may name.
const MaxDeliveryFollowers = 10_000

// A DeliveryReport is what a hub knows of its followers in one room: the body of
// the answer to x-delivery. Its size does not depend on the length of the log.
type DeliveryReport struct {
	Room      RoomURI
	Head      uint64 // Seq of the newest entry at the hub
	Followers []FollowerDelivery
}

// A FollowerDelivery is how far one follower has acknowledged a log.
type FollowerDelivery struct {
	Provider Domain
	// Stored: the follower has said that everything up to this Seq is on stable
	// storage there. 0 = it has said nothing yet.
	Stored uint64
	// Until is the last entry that a follower which left gets; 0 = it is there.
	Until uint64
}

// ParseDeliveryReport reads an answer. Nobody can have stored what the hub has
// not. The error wraps [ErrMalformed] or [ErrBadURI].
func ParseDeliveryReport(b []byte) (*DeliveryReport, error) {
	r := new(DeliveryReport)
	if err := parseBody(b, r); err != nil {
		return nil, err
	}
	return r, nil
}

// Marshal gives the body.
func (d *DeliveryReport) Marshal() ([]byte, error) { return wire.Marshal(d) }

// Encode writes the body to w.
func (d *DeliveryReport) Encode(w *wire.Writer) {
	w.Uint8(uint8(ProtocolMLS10))
	encodeString(w, d.Room)
	w.Uint64(d.Head)
	w.Vector(func(w *wire.Writer) {
		for _, f := range d.Followers {
			encodeString(w, f.Provider)
			w.Uint64(f.Stored)
			w.Uint64(f.Until)
		}
	})
}

// Decode reads the body from r.
func (d *DeliveryReport) Decode(r *wire.Reader) {
	decodeProtocol(r)
	d.Room = decodeURI(r, ParseRoom)
	d.Head = r.Uint64()
	for v := r.Vector(); !v.Empty(); {
		f := FollowerDelivery{Provider: decodeURI(v, ParseDomain), Stored: v.Uint64(), Until: v.Uint64()}
		if len(d.Followers) == MaxDeliveryFollowers || f.Stored > d.Head || f.Until > d.Head {
			r.Fail(fmt.Errorf("%w: delivery of more than there is", ErrMalformed))
			return
		}
		d.Followers = append(d.Followers, f)
	}
}
