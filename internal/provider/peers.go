package provider

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"hubbub/client/clientpb"
	"hubbub/internal/fanout"
	"hubbub/internal/federation"
	"hubbub/internal/follower"
	"hubbub/internal/hub"
	"hubbub/internal/peer"
	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// operations is what the operator may do to the way to other providers.
type operations struct {
	domain             mimi.Domain
	store              store.Store
	book               *peer.Book
	fanout             *fanout.Fanout
	follower           *follower.Follower
	hub                *hub.Hub
	remote             *federation.Client
	certificateExpires time.Time // ours
}

// Peers puts together what store, queues and book know of the peers.
func (o *operations) Peers(ctx context.Context, only mimi.Domain) (*clientpb.ListPeersResponse, error) {
	peers := map[mimi.Domain]*clientpb.Peer{}
	of := func(d mimi.Domain) *clientpb.Peer {
		if d == o.domain || only != "" && d != only {
			return &clientpb.Peer{} // written to and forgotten
		}
		if peers[d] == nil {
			peers[d] = &clientpb.Peer{Peer: string(d), Outbox: &clientpb.PeerOutbox{}}
		}
		return peers[d]
	}
	for _, d := range o.book.Known() {
		of(d)
	}
	err := o.store.View(ctx, func(tx store.ReadTx) error {
		if err := o.queues(tx, of, only); err != nil {
			return err
		}
		return countOutbox(tx, of)
	})
	if err != nil {
		return nil, err
	}
	out := &clientpb.ListPeersResponse{Now: ms(time.Now()), CertificateExpires: ms(o.certificateExpires)}
	for d, p := range peers {
		o.describe(d, p)
		out.Peers = append(out.Peers, p)
	}
	slices.SortFunc(out.Peers, func(a, b *clientpb.Peer) int { return cmp.Compare(a.Peer, b.Peer) })
	return out, nil
}

// queues adds what waits for followers of our rooms, and counts what we follow.
func (o *operations) queues(tx store.ReadTx, of func(mimi.Domain) *clientpb.Peer, only mimi.Domain) error {
	rooms, err := tx.Rooms()
	if err != nil {
		return err
	}
	heads := map[mimi.RoomURI]uint64{}
	for _, r := range rooms {
		if r.Former != "" {
			continue
		}
		heads[r.URI] = r.Head.Seq
		of(r.Hub).RoomsFollowed++
	}
	states, err := tx.Fanouts()
	if err != nil {
		return err
	}
	for _, f := range states {
		if only != "" && f.Peer != only {
			continue
		}
		head := heads[f.Room]
		if f.Until != 0 {
			head = min(head, f.Until)
		}
		if f.Until != 0 && f.Acked >= head && f.Parked == "" {
			continue // it left and has all it gets
		}
		q := &clientpb.PeerQueue{Room: string(f.Room), Acked: f.Acked, Head: head, Lag: head - min(f.Acked, head), Parked: f.Parked}
		if q.Lag > 0 {
			next, err := tx.Entries(f.Room, f.Acked, 1, 0)
			if err != nil {
				return err
			}
			if len(next) == 1 {
				q.Oldest = next[0].Timestamp
			}
		}
		p := of(f.Peer)
		p.Queues = append(p.Queues, q)
	}
	return nil
}

// countOutbox adds what waits for the answers of hubs.
func countOutbox(tx store.ReadTx, of func(mimi.Domain) *clientpb.Peer) error {
	const page = 256
	for after := uint64(0); ; {
		rows, err := tx.QueuedSubmissions(after, page)
		if err != nil || len(rows) == 0 {
			return err
		}
		for _, s := range rows {
			after = s.ID
			box := of(s.Hub).Outbox
			if box == nil {
				continue
			}
			if box.Waiting++; box.Oldest == 0 {
				box.Oldest = s.EnqueuedAt
			}
		}
	}
}

// describe adds what is in memory.
func (o *operations) describe(d mimi.Domain, p *clientpb.Peer) {
	if hold, held := o.book.Held(d); held {
		p.HeldSince, p.HoldReason = ms(hold.Since), hold.Reason
		if p.HoldReason == "" {
			p.HoldReason = "by the operator"
		}
	}
	r := o.book.Record(d)
	p.Out, p.In, p.CertificateExpires = trafficPB(r.Out), trafficPB(r.In), ms(r.CertificateExpires)
	for _, q := range p.Queues {
		st := o.fanout.Status(mimi.RoomURI(q.Room), d)
		q.Failures, q.FailingSince, q.LastError, q.NextAttempt = uint32(st.Failures), ms(st.Since), st.Error, ms(st.Next)
	}
	w := o.follower.Waiting(d)
	p.Outbox.Failures, p.Outbox.FailingSince, p.Outbox.LastError, p.Outbox.NextAttempt = uint32(w.Failures), ms(w.Since), w.Error, ms(w.Next)
}

func trafficPB(t peer.Traffic) *clientpb.PeerTraffic {
	return &clientpb.PeerTraffic{LastSuccess: ms(t.LastSuccess), LastFailure: ms(t.LastFailure), LastError: t.LastError,
		Successes: t.Successes, Failures: t.Failures}
}

func ms(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(t.UnixMilli())
}

// TestPeer makes one round trip.
func (o *operations) TestPeer(ctx context.Context, d mimi.Domain) (*clientpb.TestPeerResponse, error) {
	out := &clientpb.TestPeerResponse{Peer: string(d)}
	trial, err := o.remote.Test(ctx, d)
	in := o.book.Record(d).In
	out.LastInbound = max(ms(in.LastSuccess), ms(in.LastFailure))
	if err != nil {
		var p *mimi.Problem
		out.Error, out.Answered = err.Error(), errors.As(err, &p)
		return out, nil
	}
	out.Answered, out.RoundTripUs, out.SeenAs = true, uint64(trial.RoundTrip.Microseconds()), string(trial.SeenAs)
	out.CertificateExpires, out.CertificateIssuer = ms(trial.CertificateExpires), trial.CertificateIssuer
	for _, e := range trial.Endpoints {
		out.Endpoints = append(out.Endpoints, string(e))
	}
	return out, nil
}

// HoldPeer stops sending; what waits stays where it is.
func (o *operations) HoldPeer(ctx context.Context, d mimi.Domain, reason string) error {
	return o.book.Hold(ctx, d, reason)
}

// ResumePeer ends a hold, sets parked queues going and wakes what waits.
func (o *operations) ResumePeer(ctx context.Context, d mimi.Domain) (held bool, unparked []mimi.RoomURI, err error) {
	if held, err = o.book.Release(ctx, d); err != nil {
		return held, nil, err
	}
	var states []store.FanoutState
	err = o.store.View(ctx, func(tx store.ReadTx) (err error) {
		states, err = tx.Fanouts()
		return err
	})
	for _, f := range states {
		if f.Peer != d || f.Parked == "" {
			continue
		}
		if err := o.fanout.Resume(ctx, f.Room, d); err != nil {
			return held, unparked, err
		}
		unparked = append(unparked, f.Room)
	}
	o.retry(d)
	return held, unparked, err
}

// RetryPeer ends all waiting for a peer.
func (o *operations) RetryPeer(_ context.Context, d mimi.Domain) error {
	o.retry(d)
	return nil
}

func (o *operations) retry(d mimi.Domain) {
	o.fanout.Retry(d)
	o.follower.Retry(d)
}

// Thaw lets a frozen room go on.
func (o *operations) Thaw(ctx context.Context, uri mimi.RoomURI, reason string) (room.Pos, error) {
	if uri.Domain() == o.domain {
		return o.hub.Thaw(ctx, uri, reason)
	}
	return o.follower.Thaw(ctx, uri, reason)
}
