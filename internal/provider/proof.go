package provider

import (
	"context"
	"errors"
	"sync"
	"time"

	"hubbub/internal/api"
	"hubbub/internal/record"
	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
	"hubbub/mimi/checkpoint"
)

// signEvery is how often a follower gets a signed checkpoint with what it is sent.
// Verifying one costs as much as storing some hundred entries, so not each
// notification carries one; whoever wants the very newest asks for it.
const signEvery = time.Second

// proofs is the signed side of the logs: what we sign, and what others say.
type proofs struct {
	p *Provider

	mu   sync.Mutex
	sent map[pair]time.Time // when a follower last got a checkpoint
}

type pair struct {
	room mimi.RoomURI
	peer mimi.Domain
}

// maxPairs bounds what is remembered of who got what when; beyond it followers
// get one checkpoint more than they need.
const maxPairs = 100_000

// next gives the checkpoint to send along with a notification, nil if it is not
// yet time for one.
func (s *proofs) next(to mimi.Domain, uri mimi.RoomURI, pos room.Pos) []byte {
	now := time.Now()
	key := pair{uri, to}
	s.mu.Lock()
	if last, ok := s.sent[key]; ok && now.Sub(last) < signEvery {
		s.mu.Unlock()
		return nil
	}
	if s.sent == nil || len(s.sent) >= maxPairs {
		s.sent = map[pair]time.Time{}
	}
	s.sent[key] = now
	s.mu.Unlock()
	return s.at(uri, pos)
}

// at signs a place in a log of ours.
func (s *proofs) at(uri mimi.RoomURI, pos room.Pos) []byte {
	if uri.Domain() != s.p.cfg.domain() {
		return nil
	}
	signed, err := s.p.hub.CheckpointAt(uri, pos)
	if err != nil {
		s.p.log.Error("a checkpoint could not be signed", "err", err)
		return nil
	}
	return signed
}

// heardTimeout is how long a checkpoint may wait for its room.
const heardTimeout = 10 * time.Second

// heard takes the checkpoint that came with entries we asked a hub for.
func (s *proofs) heard(from mimi.Domain, uri mimi.RoomURI, signed []byte) {
	ctx, cancel := context.WithTimeout(context.Background(), heardTimeout)
	defer cancel()
	if err := s.p.follower.Checkpoint(ctx, from, uri, signed); err != nil {
		s.p.log.Warn("what a hub signs was not taken", "hub", from, "cause", err)
	}
}

// report says how far our copy of a room reaches, whoever hosts it.
func (s *proofs) report(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI) (*checkpoint.Report, error) {
	if uri.Domain() == s.p.cfg.domain() {
		return s.p.hub.Report(ctx, peer, uri)
	}
	return s.p.follower.Report(ctx, peer, uri)
}

// Checkpoint is the newest checkpoint of a room that we hold: made now for a room
// of ours, verified when it came for another. nil if there is none.
func (s *proofs) Checkpoint(tx store.ReadTx, rec *store.RoomRecord) ([]byte, error) {
	if rec.Hub == s.p.cfg.domain() {
		return s.p.hub.CheckpointAt(rec.URI, rec.Head)
	}
	signed, err := tx.Meta(record.CheckpointKey(rec.URI))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return signed, err
}

// askTimeout is how long other providers have to say how far their copies reach.
const askTimeout = 10 * time.Second

// Compare asks all providers of a room how far their copies reach, ourselves
// among them. What the hub signs is held against our own copy on the way.
func (s *proofs) Compare(ctx context.Context, uri mimi.RoomURI) (out api.Comparison, err error) {
	var participants []room.Participant
	err = s.p.store.View(ctx, func(tx store.ReadTx) error {
		participants, err = tx.Participants(uri)
		return err
	})
	if err != nil {
		return out, err
	}
	self := s.p.cfg.domain()
	providers := []mimi.Domain{uri.Domain()} // the hub first: it may bring our own up to date
	seen := map[mimi.Domain]bool{uri.Domain(): true, self: true}
	if self != uri.Domain() {
		providers = append(providers, self)
	}
	for _, p := range participants {
		if d := p.User.Domain(); !seen[d] {
			seen[d] = true
			providers = append(providers, d)
		}
	}
	out.Reports = s.ask(ctx, uri, providers)
	if hub := &out.Reports[0]; hub.Provider != self && hub.Report != nil && len(hub.Report.Signed) > 0 {
		if err := s.p.follower.Checkpoint(ctx, hub.Provider, uri, hub.Report.Signed); err != nil {
			s.p.log.Warn("what a hub signs contradicts our copy", "hub", hub.Provider, "cause", err)
		}
		for i := range out.Reports {
			if r := &out.Reports[i]; r.Provider == self {
				r.Report, r.Err = s.report(ctx, self, uri)
			}
		}
	}
	out.Evidence, err = s.p.follower.Evidence(ctx, uri)
	return out, err
}

// ask collects the reports of providers, in their order.
func (s *proofs) ask(ctx context.Context, uri mimi.RoomURI, providers []mimi.Domain) []api.ProviderReport {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	out := make([]api.ProviderReport, len(providers))
	var asking sync.WaitGroup
	slots := make(chan struct{}, maxGreetings)
	for i, d := range providers {
		asking.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			out[i].Provider = d
			if d == s.p.cfg.domain() {
				out[i].Report, out[i].Err = s.report(ctx, d, uri)
				return
			}
			out[i].Report, out[i].Err = s.p.remote.Report(ctx, d, uri)
			out[i].Err = unreachable(d, out[i].Err)
		})
	}
	asking.Wait()
	return out
}
