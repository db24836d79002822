package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// quietLook is how often a provider asks itself whether it has gone quiet.
const quietLook = 5 * time.Second

// giveBackMemory returns to the system what a busy time has left unused, once it
// is over. By itself the collector lets garbage grow to the size of what lives,
// and a provider with thousands of idle clients would keep twice what it needs.
func giveBackMemory(ctx context.Context) {
	var q quiet
	t := time.NewTicker(quietLook)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}}
		metrics.Read(sample)
		if q.now(sample[0].Value.Uint64(), sample[1].Value.Uint64()) {
			debug.FreeOSMemory()
		}
	}
}

// quiet tells the end of busy times from what has been allocated.
type quiet struct {
	last  uint64 // allocated until the last look
	freed uint64 // and until memory was given back
}

// now says whether little was allocated since the last look, and enough since
// memory was given back to make it worth the time. allocated is the sum since
// the start, heap the size of the objects there are.
func (q *quiet) now(allocated, heap uint64) bool {
	since := allocated - q.last
	q.last = allocated
	if since > heap/8 || allocated-q.freed < heap/8 {
		return false
	}
	q.freed = allocated
	return true
}
