package peer

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"hubbub/mimi"
)

// Limit is a rate with a burst; the zero value is no limit.
type Limit struct {
	Rate  float64 // per second
	Burst int
}

// Limits keeps one bucket per key, such as a client, a user or a peer, in bounded
// memory. Safe for concurrent use; a nil *Limits allows everything.
type Limits[K comparable] struct {
	what  string // for the refusal: "posts per device"
	limit Limit
	now   func() time.Time

	mu      sync.Mutex
	buckets map[K]*rate.Limiter
}

// maxBuckets bounds how many keys are remembered. Full buckets say nothing and go
// first.
const maxBuckets = 100_000

// NewLimits makes limits, nil if there is nothing to limit.
func NewLimits[K comparable](what string, limit Limit, now func() time.Time) *Limits[K] {
	if limit.Rate <= 0 || limit.Burst <= 0 {
		return nil
	}
	return &Limits[K]{what: what, limit: limit, now: now, buckets: map[K]*rate.Limiter{}}
}

// Take takes n from a key's bucket, or nothing: the refusal says when enough will
// be there. More than the burst at once is never there.
func (l *Limits[K]) Take(key K, n int) *mimi.Problem {
	if l == nil || n <= 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	b := l.buckets[key]
	if b == nil {
		l.sweep(now)
		b = rate.NewLimiter(rate.Limit(l.limit.Rate), l.limit.Burst)
		l.buckets[key] = b
	}
	r := b.ReserveN(now, n)
	wait := time.Duration(float64(l.limit.Burst) / l.limit.Rate * float64(time.Second))
	if r.OK() {
		if wait = r.DelayFrom(now); wait == 0 {
			return nil
		}
		r.CancelAt(now)
	}
	p := mimi.NewProblem(http.StatusTooManyRequests, mimi.CodeTooMany, "%s", fmt.Sprintf("too many %s", l.what))
	p.RetryAfter = wait
	return p
}

// Return puts n back that were taken for something that turned out not to count.
func (l *Limits[K]) Return(key K, n int) {
	if l == nil || n <= 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if b := l.buckets[key]; b != nil {
		b.AllowN(l.now(), -n) // never above the burst: the bucket overflows
	}
}

// sweep makes place for one bucket. mu is held.
func (l *Limits[K]) sweep(now time.Time) {
	if len(l.buckets) < maxBuckets {
		return
	}
	for k, b := range l.buckets {
		if b.TokensAt(now) >= float64(l.limit.Burst) {
			delete(l.buckets, k)
		}
	}
	for k := range l.buckets { // all of them busy: some start anew
		if len(l.buckets) < maxBuckets {
			return
		}
		delete(l.buckets, k)
	}
}
