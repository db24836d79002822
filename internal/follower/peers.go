package follower

import (
	"context"
	"sync"
	"time"

	"hubbub/internal/backoff"
	"hubbub/mimi"
)

// PeerStatus is what we know of the way to a hub.
type PeerStatus struct {
	Reachable bool      // the latest attempt was answered, or none was made
	Error     string    // why it was not
	Since     time.Time // when the first of the failed attempts was made
}

// gate keeps the backoff of one hub for all lanes: while a hub does not answer,
// one lane probes it and the others wait for the outcome.
type gate struct {
	jitter backoff.Jitter

	mu        sync.Mutex
	failures  int
	lastError string
	since     time.Time
	notBefore time.Time
	asked     bool          // notBefore is the hub's own wish: word from it changes nothing
	probing   bool          // a lane is trying
	changed   chan struct{} // closed whenever a waiter should look again
}

func newGate(jitter backoff.Jitter) *gate {
	return &gate{jitter: jitter, changed: make(chan struct{})}
}

// pass is what enter gives: whether its holder probes a hub that did not answer.
// Other attempts began before that was known.
type pass struct{ probes bool }

// enter waits until the caller may send. Each enter without an error is followed
// by one leave or cancel.
func (g *gate) enter(ctx context.Context) (pass, error) {
	for {
		g.mu.Lock()
		if g.failures == 0 {
			g.mu.Unlock()
			return pass{}, ctx.Err()
		}
		wait := time.Until(g.notBefore)
		if wait <= 0 && !g.probing {
			g.probing = true
			g.mu.Unlock()
			return pass{probes: true}, nil
		}
		if g.probing {
			wait = backoff.Cap
		}
		changed := g.changed
		g.mu.Unlock()

		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-changed:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return pass{}, ctx.Err()
		}
	}
}

// leave reports the outcome of an attempt: nil if the hub answered at all. Many
// attempts that were under way when the hub fell silent are one failure: counted
// one by one they would bring on the longest wait at once.
func (g *gate) leave(p pass, cause error, asked time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p.probes {
		g.probing = false
	}
	if cause == nil {
		if g.failures > 0 {
			g.failures, g.lastError = 0, ""
			g.wakeAll()
		}
		return
	}
	if g.failures > 0 && !p.probes {
		g.lastError = cause.Error()
		return
	}
	now := time.Now()
	g.failures++
	if g.failures == 1 {
		g.since = now
	}
	g.lastError, g.asked = cause.Error(), asked > 0
	g.notBefore = now.Add(max(asked, backoff.Delay(g.failures, g.jitter)))
	g.wakeAll()
}

// cancel ends an enter after which nothing was sent.
func (g *gate) cancel(p pass) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p.probes {
		g.probing = false
		g.wakeAll()
	}
}

// alive ends the backoff after word from the hub. As in fanout, the first
// failure is not forgotten, so that a hub that talks to us but cannot answer is
// not asked at the rate at which it talks.
func (g *gate) alive() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.failures < 2 || g.asked {
		return
	}
	g.failures = 1
	g.notBefore = time.Now()
	g.wakeAll()
}

// wakeAll makes every waiter look again. g.mu is held.
func (g *gate) wakeAll() {
	close(g.changed)
	g.changed = make(chan struct{})
}

func (g *gate) status() PeerStatus {
	g.mu.Lock()
	defer g.mu.Unlock()
	return PeerStatus{Reachable: g.failures == 0, Error: g.lastError, Since: g.since}
}

// gates is the table of gates, one per hub.
type gates struct {
	jitter backoff.Jitter
	mu     sync.Mutex
	byPeer map[mimi.Domain]*gate
}

func (t *gates) of(peer mimi.Domain) *gate {
	t.mu.Lock()
	defer t.mu.Unlock()
	g := t.byPeer[peer]
	if g == nil {
		g = newGate(t.jitter)
		t.byPeer[peer] = g
	}
	return g
}
