package storetest

import (
	"fmt"
	"sync/atomic"
	"testing"

	"hubbub/mimi"
)

// benchBody is the size of an entry in benchmarks: a PrivateMessage with a
// sentence of text, padded.
const benchBody = 512

// BenchmarkAppend measures durable appends while the given number of rooms
// are written at once, each by one goroutine that waits for its commit. An
// operation is one entry.
func BenchmarkAppend(b *testing.B, open Opener, rooms int) {
	s, err := open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	logs := make([]*log, rooms)
	for i := range logs {
		logs[i] = newLog(mimi.RoomURI(fmt.Sprintf("mimi://a.localhost/r/bench-%d", i)))
		must(b, logs[i].create(s))
	}
	var left atomic.Int64
	left.Store(int64(b.N))
	done := make(chan error, rooms)
	b.ResetTimer()
	for _, l := range logs {
		go func() {
			for left.Add(-1) >= 0 {
				if err := l.append(s, benchBody); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range logs {
		must(b, <-done)
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}
