package storetest

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"hubbub/internal/store"
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
	measure(b, func() {
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
	})
}

// BenchmarkAppendAll measures durable appends of entries to one room, that many
// together in one call. An operation is one entry.
func BenchmarkAppendAll(b *testing.B, open Opener, together int) {
	s, err := open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	l := newLog("mimi://a.localhost/r/bench")
	must(b, l.create(s))
	l.fill(b, s, 5000)
	measure(b, func() {
		for left := b.N; left > 0; {
			list := l.batch(min(left, together))
			left -= len(list)
			must(b, s.Update(context.Background(), func(tx store.Tx) error { return tx.AppendAll(list) }))
		}
	})
}
