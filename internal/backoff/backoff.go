// Package backoff says how long to wait before the next attempt at a peer.
//
// It is a leaf shared by the two queues that retry: the fanout of a hub and the
// outbox of a follower. It computes; it neither sleeps nor keeps state.
package backoff

import (
	"math/rand/v2"
	"time"
)

// Bounds of the wait after a failed attempt, and of what a peer may ask for.
const (
	Base          = 100 * time.Millisecond
	Cap           = 300 * time.Second
	MinRetryAfter = time.Second
	MaxRetryAfter = time.Hour
)

// Jitter draws a duration from [0, max]. It is a parameter so that a test can
// take the randomness out.
type Jitter func(max time.Duration) time.Duration

// Full is the full jitter used outside tests: uniform over [0, max].
func Full(max time.Duration) time.Duration {
	return time.Duration(rand.Int64N(int64(max) + 1))
}

// Delay is the wait after the given number of failures in a row (1 = the
// first): drawn from [0, Base·2^(failures-1)], the upper end at most Cap.
func Delay(failures int, jitter Jitter) time.Duration {
	upper := Cap
	if failures < 1 {
		failures = 1
	}
	if failures <= 12 { // Base·2^12 is beyond Cap
		upper = min(Cap, Base<<(failures-1))
	}
	if jitter == nil {
		jitter = Full
	}
	return jitter(upper)
}

// Asked clamps what a peer asked for in Retry-After to a sane range, so that no
// answer can make us hammer it or forget it. Zero means it asked for nothing.
func Asked(d time.Duration) time.Duration {
	if d == 0 {
		return 0
	}
	return min(max(d, MinRetryAfter), MaxRetryAfter)
}
