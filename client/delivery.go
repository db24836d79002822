package client

import (
	"context"
	"time"

	"connectrpc.com/connect"

	"hubbub/client/clientpb"
	"hubbub/mimi"
)

// DeliveryState says whether one provider has an entry of a room's log.
type DeliveryState string

// The states of an entry at a provider. Only Stored is a promise; Waiting and
// Unknown are how things stood at AsOf.
const (
	// Stored: the entry is on stable storage there; the provider has said so.
	Stored DeliveryState = "stored"
	// Waiting: at AsOf the provider did not have it yet.
	Waiting DeliveryState = "waiting"
	// Unknown: nobody who knows has been heard, as while the hub is down.
	Unknown DeliveryState = "unknown"
	// NotForIt: the provider joined the room after the entry, or had left it.
	NotForIt DeliveryState = "not-for-it"
)

// ProviderDelivery is how an entry, and the log, stand at one provider.
type ProviderDelivery struct {
	Provider mimi.Domain
	Hub      bool // it is the room's hub
	State    DeliveryState
	StoredTo uint64    // newest Seq known to be stored there; 0 = nothing is known
	AsOf     time.Time // when that was so, by this device's clock; zero if Unknown
}

// Delivery is how far one entry of a room has come.
type Delivery struct {
	Room     mimi.RoomURI
	Seq      uint64
	Accepted time.Time // when the hub took it; zero if the own provider does not have it
	// Providers are those of the room, the hub first.
	Providers []ProviderDelivery
	HubStatus *PeerStatus // how the hub is doing; nil when the own provider is the hub
}

// Complete says whether every provider that the entry is for has it.
func (d Delivery) Complete() bool {
	for _, p := range d.Providers {
		if p.State == Waiting || p.State == Unknown {
			return false
		}
	}
	return len(d.Providers) > 0
}

// Delivery says which providers of a room have stored the entry at seq, such as
// a message's Seq once it is Posted; 0 asks for the newest entry. The own provider
// answers from what it knows and asks the room's hub if that leaves something
// open; while the hub is away the last known is given with its age.
//
// Errors: [ErrUnknownRoom], an *[Error], ctx's. Safe for concurrent use.
func (c *Client) Delivery(ctx context.Context, room mimi.RoomURI, seq uint64) (Delivery, error) {
	res, err := c.t.api.GetDelivery(ctx, connect.NewRequest(&clientpb.GetDeliveryRequest{Room: string(room), Seq: seq}))
	if err != nil {
		return Delivery{}, err
	}
	m := res.Msg
	if seq == 0 {
		seq = m.GetHead().GetSeq()
	}
	d := Delivery{Room: room, Seq: seq, HubStatus: peerStatus(m.GetHubStatus())}
	if ts := m.GetAcceptedTimestamp(); ts != 0 {
		d.Accepted = time.UnixMilli(int64(ts))
	}
	now := c.opts.Now()
	for _, p := range m.GetProviders() {
		d.Providers = append(d.Providers, providerDelivery(p, seq, now, m.GetNow()))
	}
	return d, nil
}

// providerDelivery judges what is known of one provider; theirs is the time of
// the answer on the provider's clock, now the same on ours.
func providerDelivery(p *clientpb.ProviderDelivery, seq uint64, now time.Time, theirs uint64) ProviderDelivery {
	out := ProviderDelivery{Provider: mimi.Domain(p.GetProvider()), Hub: p.GetHub(), State: Unknown}
	if p.GetKnownAt() != 0 {
		out.StoredTo = p.GetStored()
		out.AsOf = now.Add(-time.Duration(theirs-min(p.GetKnownAt(), theirs)) * time.Millisecond)
	}
	switch {
	case seq <= p.GetStart() || p.GetUntil() != 0 && seq > p.GetUntil():
		out.State = NotForIt
	case p.GetKnownAt() == 0:
	case seq <= p.GetStored():
		out.State = Stored
	default:
		out.State = Waiting
	}
	return out
}

// deliveries judges a list that came without the provider's clock: what it says of
// itself is as of now, and nothing is newer.
func deliveries(list []*clientpb.ProviderDelivery, seq uint64, now time.Time) (out []ProviderDelivery) {
	var theirs uint64
	for _, p := range list {
		theirs = max(theirs, p.GetKnownAt())
	}
	for _, p := range list {
		out = append(out, providerDelivery(p, seq, now, theirs))
	}
	return out
}
