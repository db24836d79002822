package storetest

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"hubbub/internal/store"
	"hubbub/mimi"
)

// Benchmarks of the mixes that posts are made of. An operation is one post or
// entry. Beside the clock, which says little on a busy machine, they report
// processor time and what was written.

// usage is what the process has used so far.
type usage struct {
	user, system  int64 // processor time, µs
	writes, bytes int64 // calls that write, and what they wrote; 0 where the system does not tell
}

// measure runs work, which does b.N operations, and reports what each took.
func measure(b *testing.B, work func()) {
	before := used()
	b.ReportAllocs()
	b.ResetTimer()
	work()
	b.StopTimer()
	after := used()
	n := float64(b.N)
	b.ReportMetric(n/b.Elapsed().Seconds(), "entries/s")
	b.ReportMetric(float64(after.user-before.user)/n, "user-µs/op")
	b.ReportMetric(float64(after.system-before.system)/n, "system-µs/op")
	b.ReportMetric(float64(after.writes-before.writes)/n, "writes/op")
	b.ReportMetric(float64(after.bytes-before.bytes)/n, "written-B/op")
}

// fill gives a room so many entries to begin with: an index that is small in a
// new room is not in one that has been used.
func (l *log) fill(b *testing.B, s store.Store, entries int) {
	for entries > 0 {
		list := l.batch(min(entries, 512))
		entries -= len(list)
		must(b, s.Update(context.Background(), func(tx store.Tx) error { return tx.AppendAll(list) }))
	}
}

// batch is the next n entries.
func (l *log) batch(n int) []store.Append {
	list := make([]store.Append, 0, n)
	for range n {
		a := l.next(benchBody)
		list = append(list, a)
		l.took(a)
	}
	return list
}

// BenchmarkPosts measures the provider of a sender: submissions are stored, the
// entries they became settle them, and they are forgotten; so many at a time.
func BenchmarkPosts(b *testing.B, open Opener, together int) {
	s, err := open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	l := newLog("mimi://a.localhost/r/bench")
	must(b, l.create(s))
	l.fill(b, s, 5000)
	ctx := context.Background()
	measure(b, func() {
		for left := b.N; left > 0; {
			list := l.batch(min(left, together))
			left -= len(list)
			subs, txns := submissionsFor(list)
			must(b, s.Update(ctx, func(tx store.Tx) error { _, err := tx.EnqueueAll(subs); return err }))
			must(b, s.Update(ctx, func(tx store.Tx) error { return tx.AppendAll(list) }))
			must(b, s.Update(ctx, func(tx store.Tx) error { return tx.DeleteSubmissions(phone, txns) }))
		}
	})
}

func submissionsFor(list []store.Append) (subs []store.Submission, txns []string) {
	for i := range list {
		a := &list[i]
		txn := fmt.Sprintf("%x", a.Entry.MessageHash[:16])
		txns = append(txns, txn)
		subs = append(subs, store.Submission{Client: phone, Txn: txn, Room: a.Room, Hub: "b.localhost", Kind: store.SubmitMessage,
			Body: a.Entry.Body, MessageHash: a.Entry.MessageHash, State: store.Queued, EnqueuedAt: a.Entry.Timestamp})
	}
	return subs, txns
}

// BenchmarkRooms measures durable appends to so many rooms at once, so many
// entries in each call.
func BenchmarkRooms(b *testing.B, open Opener, rooms, together int) {
	s, err := open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	logs := make([]*log, rooms)
	for i := range logs {
		logs[i] = newLog(mimi.RoomURI(fmt.Sprintf("mimi://a.localhost/r/bench-%d", i)))
		must(b, logs[i].create(s))
		logs[i].fill(b, s, 200)
	}
	var mu sync.Mutex
	left := b.N
	take := func() int {
		mu.Lock()
		defer mu.Unlock()
		n := min(left, together)
		left -= n
		return n
	}
	measure(b, func() {
		done := make(chan error, rooms)
		for _, l := range logs {
			go func() {
				for n := take(); n > 0; n = take() {
					list := l.batch(n)
					if err := s.Update(context.Background(), func(tx store.Tx) error { return tx.AppendAll(list) }); err != nil {
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

// BenchmarkWakes measures the provider of a sender whose stream looks for news
// after each commit, while so many of its submissions wait to be acknowledged.
func BenchmarkWakes(b *testing.B, open Opener, together, kept int) {
	s, err := open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	l := newLog("mimi://a.localhost/r/bench")
	must(b, l.create(s))
	ctx := context.Background()
	var rev uint64
	var waiting []string
	wake := func() {
		must(b, s.View(ctx, func(tx store.ReadTx) error {
			if _, err := tx.Entries(l.uri, l.head.Seq-min(l.head.Seq, uint64(together)), together, 1<<20); err != nil {
				return err
			}
			list, err := tx.Submissions(phone, rev)
			for i := range list {
				rev = max(rev, list[i].Rev)
			}
			return err
		}))
	}
	post := func(n int) {
		list := l.batch(n)
		subs, txns := submissionsFor(list)
		must(b, s.Update(ctx, func(tx store.Tx) error { _, err := tx.EnqueueAll(subs); return err }))
		wake()
		must(b, s.Update(ctx, func(tx store.Tx) error { return tx.AppendAll(list) }))
		wake()
		if waiting = append(waiting, txns...); len(waiting) > kept {
			must(b, s.Update(ctx, func(tx store.Tx) error { return tx.DeleteSubmissions(phone, waiting[:n]) }))
			waiting = waiting[n:]
		}
	}
	for range kept / 64 {
		post(64)
	}
	measure(b, func() {
		for left := b.N; left > 0; left -= min(left, together) {
			post(min(left, together))
		}
	})
}
