package peer

import (
	"context"
	"net/http"
	"sync"
	"time"

	"hubbub/mimi"
)

// Places bounds how many requests of each key, such as a peer, run at once, and
// how many more wait for a place. Safe for concurrent use; a nil *Places has room
// for everything.
type Places[K comparable] struct {
	running, queued int

	mu   sync.Mutex
	held map[K]*place // of keys with somebody inside
}

// place is one key's.
type place struct {
	free   chan struct{} // one per request that runs
	inside int           // running and waiting; guarded by Places.mu
}

// comeAgain is when somebody who found no place may try again.
const comeAgain = time.Second

// NewPlaces makes places, nil if running is not positive.
func NewPlaces[K comparable](running, queued int) *Places[K] {
	if running <= 0 {
		return nil
	}
	return &Places[K]{running: running, queued: max(0, queued), held: map[K]*place{}}
}

// Enter waits for a place and holds it until leave is called, once. Its errors are
// that of ctx, and a *mimi.Problem if too many wait already.
func (p *Places[K]) Enter(ctx context.Context, key K) (leave func(), err error) {
	if p == nil {
		return func() {}, nil
	}
	c, err := p.join(key)
	if err != nil {
		return nil, err
	}
	select {
	case c.free <- struct{}{}:
		return func() { <-c.free; p.quit(key, c) }, nil
	case <-ctx.Done():
		p.quit(key, c)
		return nil, ctx.Err()
	}
}

// join finds or makes a key's place and counts one more inside it.
func (p *Places[K]) join(key K) (*place, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.held[key]
	if c == nil {
		c = &place{free: make(chan struct{}, p.running)}
		p.held[key] = c
	}
	if c.inside >= p.running+p.queued {
		refused := mimi.NewProblem(http.StatusTooManyRequests, mimi.CodeTooMany, "too many requests at once: %d run and %d wait", p.running, p.queued)
		refused.RetryAfter = comeAgain
		return nil, refused
	}
	c.inside++
	return c, nil
}

// quit counts one less; the last one puts out the light.
func (p *Places[K]) quit(key K, c *place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.inside--; c.inside == 0 {
		delete(p.held, key)
	}
}
