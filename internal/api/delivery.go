package api

import (
	"context"

	"connectrpc.com/connect"

	"hubbub/client/clientpb"
	"hubbub/internal/delivery"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// Deliveries knows how far the providers of a room have stored its log.
type Deliveries interface {
	// Known says what is known without asking anybody.
	Known(tx store.ReadTx, room *store.RoomRecord) ([]delivery.Provider, error)
	// Refresh asks the room's hub; an error leaves what was known.
	Refresh(ctx context.Context, room mimi.RoomURI) error
}

// GetDelivery says how far an entry has come. The hub is asked only if what is
// known here leaves something open, and its silence is no error: what was known
// is told with its age.
func (s clientService) GetDelivery(ctx context.Context, req *connect.Request[clientpb.GetDeliveryRequest]) (*connect.Response[clientpb.GetDeliveryResponse], error) {
	var known []delivery.Provider
	var rec *store.RoomRecord
	var accepted uint64
	look := func(tx store.ReadTx, a *access) (err error) {
		if !a.in {
			return noSuchRoom()
		}
		rec = a.rec
		if seq := req.Msg.Seq; seq > 0 && seq <= rec.Head.Seq {
			if accepted, err = acceptedAt(tx, rec.URI, seq); err != nil {
				return err
			}
		}
		known, err = s.known(tx, rec)
		return err
	}
	if err := s.withRoom(ctx, req.Msg.Room, look); err != nil {
		return nil, err
	}
	seq := req.Msg.Seq
	if seq == 0 {
		seq = rec.Head.Seq
	}
	if rec.Hub != s.Domain && s.Deliveries != nil && unsettled(known, seq) && s.Deliveries.Refresh(ctx, rec.URI) == nil {
		if err := s.withRoom(ctx, req.Msg.Room, look); err != nil {
			return nil, err
		}
	}
	out := &clientpb.GetDeliveryResponse{Providers: deliveryPB(known), Head: posPB(rec.Head), AcceptedTimestamp: accepted,
		HubStatus: s.peerPB(rec.Hub), Now: uint64(s.Now().UnixMilli())}
	return connect.NewResponse(out), nil
}

func acceptedAt(tx store.ReadTx, uri mimi.RoomURI, seq uint64) (uint64, error) {
	entries, err := tx.Entries(uri, seq-1, 1, 0)
	if err != nil || len(entries) == 0 || entries[0].Seq != seq {
		return 0, err
	}
	return entries[0].Timestamp, nil
}

func (s *Server) known(tx store.ReadTx, rec *store.RoomRecord) ([]delivery.Provider, error) {
	if s.Deliveries == nil {
		return nil, nil
	}
	return s.Deliveries.Known(tx, rec)
}

// unsettled says whether it is open for some provider that gets an entry whether
// it has it.
func unsettled(known []delivery.Provider, seq uint64) bool {
	for _, p := range known {
		if p.Gets(seq) && !p.Has(seq) {
			return true
		}
	}
	return false
}

func deliveryPB(known []delivery.Provider) (out []*clientpb.ProviderDelivery) {
	for _, p := range known {
		d := &clientpb.ProviderDelivery{Provider: string(p.Domain), Start: p.Start, Until: p.Until, Hub: p.Hub}
		if !p.KnownAt.IsZero() {
			d.Stored, d.KnownAt = p.Stored, uint64(p.KnownAt.UnixMilli())
		}
		out = append(out, d)
	}
	return out
}
