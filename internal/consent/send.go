package consent

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"

	"hubbub/internal/backoff"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// pause is how one peer is doing.
type pause struct {
	busy     bool // a goroutine is sending to it
	failures int
	until    time.Time
}

// ring says that there may be something to send.
func (s *Service) ring() {
	select {
	case s.bell <- struct{}{}:
	default:
	}
}

// PeerAlive ends the waiting for a peer that was heard.
func (s *Service) PeerAlive(peer mimi.Domain) {
	s.mu.Lock()
	p := s.peers[peer]
	waiting := p != nil && p.failures > 0
	if waiting {
		p.failures, p.until = 0, time.Time{}
	}
	s.mu.Unlock()
	if waiting {
		s.ring()
	}
}

// Run tells other providers what they have still to hear, until ctx ends. Peers
// are served side by side, what concerns one of them in order.
func (s *Service) Run(ctx context.Context) error {
	var sending sync.WaitGroup
	defer sending.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.bell:
		case <-timer.C:
		}
		next, err := s.round(ctx, &sending)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		timer.Reset(next)
	}
}

// round starts sending to every peer that is due and says when to look again.
func (s *Service) round(ctx context.Context, sending *sync.WaitGroup) (time.Duration, error) {
	byPeer := map[mimi.Domain][]store.Consent{}
	err := s.cfg.Store.View(ctx, func(tx store.ReadTx) error {
		list, err := tx.ConsentsUnsent()
		for _, c := range list {
			to := s.receiver(c)
			byPeer[to] = append(byPeer[to], c)
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	next := time.Hour
	now := s.cfg.Now()
	for peer, p := range s.peers {
		if byPeer[peer] == nil && !p.busy {
			delete(s.peers, peer)
		}
	}
	for to, list := range byPeer {
		p := s.peers[to]
		if p == nil {
			p = &pause{}
			s.peers[to] = p
		}
		switch wait := p.until.Sub(now); {
		case p.busy: // rings when it is done
		case wait > 0:
			next = min(next, wait)
		default:
			p.busy = true
			sending.Go(func() { s.sendAll(ctx, to, list) })
		}
	}
	return next, nil
}

// receiver is the provider that has to hear of a request or decision of ours.
func (s *Service) receiver(c store.Consent) mimi.Domain {
	if c.State.Decision() {
		return c.Requester.Domain()
	}
	return c.Target.Domain()
}

// sendAll tells a peer in order, and stops at the first that has to wait.
func (s *Service) sendAll(ctx context.Context, to mimi.Domain, list []store.Consent) {
	var err error
	for _, c := range list {
		if err = s.send(ctx, to, c); err != nil {
			break
		}
	}
	s.mu.Lock()
	p := s.peers[to]
	if p.busy = false; err != nil {
		p.failures++
		p.until = s.cfg.Now().Add(backoff.Delay(p.failures, s.cfg.Jitter))
		var refusal *mimi.Problem
		if errors.As(err, &refusal) {
			p.until = later(p.until, s.cfg.Now().Add(backoff.Asked(refusal.RetryAfter)))
		}
	} else {
		p.failures, p.until = 0, time.Time{}
	}
	s.mu.Unlock()
	s.ring()
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// send tells of one request or decision; an error means later again.
func (s *Service) send(ctx context.Context, to mimi.Domain, c store.Consent) error {
	call := s.cfg.Remote.RequestConsent
	if c.State.Decision() {
		call = s.cfg.Remote.UpdateConsent
	}
	err := call(ctx, to, c.Out)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var refusal *mimi.Problem
	final := errors.As(err, &refusal) && !refusal.Retryable()
	old := s.cfg.Now().Sub(time.UnixMilli(int64(c.At))) > maxAge
	if note := s.note(ctx, c, err, err == nil || final || old); note != nil {
		s.cfg.Log.ErrorContext(ctx, "keeping note of a consent that was sent", "peer", to, "err", note)
		return note
	}
	if final || old {
		return nil
	}
	return err
}

// note stores what became of an attempt, unless there is a newer word.
func (s *Service) note(ctx context.Context, c store.Consent, outcome error, done bool) error {
	why := ""
	if outcome != nil {
		why = outcome.Error()
		why = why[:min(len(why), 200)]
	}
	if !done && c.Error == why {
		return nil
	}
	return s.cfg.Store.Update(context.WithoutCancel(ctx), func(tx store.Tx) error {
		list, err := tx.Consents(c.Requester, c.Target)
		if err != nil {
			return err
		}
		now := find(list, c.Room, c.State.Decision())
		if now == nil || !bytes.Equal(now.Out, c.Out) {
			return nil
		}
		if done && now.State == store.ConsentCancelled {
			return tx.DeleteConsent(now.ConsentScope, false)
		}
		if now.Error = why; done {
			now.Out = nil
		}
		return tx.PutConsent(*now)
	})
}
