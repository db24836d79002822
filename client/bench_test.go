package client

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"hubbub/mimi"
	"hubbub/mimi/content"
	"hubbub/mls"
)

// cpu is what this process has used of the processors.
func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// steps counts the durable steps of a device.
func steps(n *atomic.Int64) *Options {
	return &Options{testingOnlyStep: func(committed bool) error {
		if committed {
			n.Add(1)
		}
		return nil
	}}
}

// report gives processor time and durable steps for each of n messages.
func report(b *testing.B, n int, used time.Duration, steps int64) {
	b.ReportMetric(float64(used.Nanoseconds())/float64(n), "cpu-ns/msg")
	b.ReportMetric(float64(steps)/float64(n), "steps/msg")
}

// written makes n messages of a device and puts them into the log, as if the device
// had sent them; it can send no more after it.
func (f *fake) written(c *Client, uri mimi.RoomURI, n int) {
	f.t.Helper()
	c.mu.Lock()
	g := c.rooms[uri].group
	c.mu.Unlock()
	for i := range n {
		encoded, err := content.NewText(c.user, uri, fmt.Sprintf("%d %s", i, strings.Repeat("x", 200))).Encode()
		f.ok(err)
		next, octets, err := g.Encrypt(encoded, mls.EncryptOptions{PadTo: padTo})
		f.ok(err)
		g = next
		f.message(uri, octets)
	}
}

// BenchmarkReceive: a device that was away gets n messages.
func BenchmarkReceive(b *testing.B) {
	for _, n := range []int{1, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var used, wall time.Duration
			var count atomic.Int64
			for range b.N {
				b.StopTimer()
				f := newFake(b)
				alice := f.open(f.enrol("alice", "phone"), nil)
				dir := f.enrol("bob", "phone")
				bob := f.open(dir, nil)
				uri := f.room(alice, bob)
				f.ok(bob.Close())
				f.ok(alice.Close())
				f.written(alice, uri, n)
				count.Store(0)
				before, begin := cpu(), time.Now()
				b.StartTimer()
				bob = f.open(dir, steps(&count))
				f.until(bob, func() bool { return bob.rooms[uri].pos.Seq == uint64(n)+1 })
				b.StopTimer()
				used += cpu() - before
				wall += time.Since(begin)
				if m := bob.rooms[uri].missed; m != 0 {
					b.Fatalf("missed %d", m)
				}
				f.ok(bob.Close())
				b.StartTimer()
			}
			report(b, n*b.N, used, count.Load()/int64(b.N)*int64(b.N))
			b.ReportMetric(float64(wall.Nanoseconds())/float64(n*b.N), "wall-ns/msg")
		})
	}
}

// BenchmarkSend: one device sends, until its provider has everything.
func BenchmarkSend(b *testing.B) {
	for _, workers := range []int{1, 8, 64} {
		b.Run(fmt.Sprint(workers), func(b *testing.B) {
			f := newFake(b)
			var count atomic.Int64
			alice := f.open(f.enrol("alice", "phone"), steps(&count))
			uri := f.room(alice)
			text := strings.Repeat("x", 200)
			count.Store(0)
			calls := len(f.calls)
			b.ResetTimer()
			before := cpu()
			var wg sync.WaitGroup
			var next atomic.Int64
			for range workers {
				wg.Go(func() {
					for next.Add(1) <= int64(b.N) {
						if _, err := alice.Send(b.Context(), uri, text); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			f.until(alice, func() bool { return alice.rooms[uri].pos.Seq == uint64(b.N) })
			report(b, b.N, cpu()-before, count.Load())
			b.ReportMetric(float64(len(f.calls)-calls)/float64(b.N), "calls/msg")
		})
	}
}

// BenchmarkOpen: a device of 100 rooms with 100 messages each is read from disk.
func BenchmarkOpen(b *testing.B) {
	const rooms, messages = 100, 100
	f := newFake(b)
	dir := f.enrol("bob", "phone")
	alice, bob := f.open(f.enrol("alice", "phone"), nil), f.open(dir, nil)
	for range rooms {
		uri := f.room(alice, bob)
		f.written(alice, uri, messages)
		f.until(bob, func() bool { return bob.rooms[uri].pos.Seq == messages+1 })
	}
	f.ok(alice.Close())
	f.ok(bob.Close())
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	var used time.Duration
	var held int64
	for b.Loop() {
		base, before := heap(), cpu()
		c, err := load(dir, nil)
		f.ok(err)
		used += cpu() - before
		held = heap() - base
		if len(c.rooms) != rooms {
			b.Fatal(len(c.rooms))
		}
		c.abandon()
	}
	b.ReportMetric(float64(used.Nanoseconds())/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(held)/rooms, "heap-B/room")
}
