package bench

import (
	"context"
	"time"
)

// schedule calls do for i = 0 … n-1 when each is due: rate times a second from
// began, however long do or anything else takes. What is late is done at once
// and is still told when it was due, so that a stall is seen in the latency of
// everything that waited for it.
func schedule(ctx context.Context, began time.Time, rate float64, n int, do func(i int, due time.Time)) {
	for i := range n {
		due := began.Add(time.Duration(float64(i) / rate * float64(time.Second)))
		if wait := time.Until(due); wait > 0 {
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
		}
		do(i, due)
	}
}
