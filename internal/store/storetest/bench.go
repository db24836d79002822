package storetest

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"hubbub/internal/room"
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

// log writes a room log with made-up entries and keeps its head.
type log struct {
	uri  mimi.RoomURI
	head room.Pos
}

func newLog(uri mimi.RoomURI) *log { return &log{uri: uri, head: room.StartPos(uri)} }

func (l *log) create(s store.Store) error {
	return s.Update(context.Background(), func(tx store.Tx) error {
		return tx.CreateRoom(record(l.uri), nil, nil, nil)
	})
}

func record(uri mimi.RoomURI) store.RoomRecord {
	start := room.StartPos(uri)
	return store.RoomRecord{URI: uri, Hub: uri.Domain(), Head: start, Start: start, State: []byte("state 0")}
}

// next is an entry with a body of that size, ready to be appended.
func (l *log) next(size int) store.Append {
	seq := l.head.Seq + 1
	body := make([]byte, size)
	copy(body, fmt.Sprintf("%s entry %d", l.uri, seq))
	return store.Append{Room: l.uri, Prev: l.head, Entry: store.Entry{
		Seq: seq, Timestamp: 1_700_000_000_000 + seq, Kind: room.KindApplication,
		Body: body, Hash: l.head.Next(body).Hash, MessageHash: messageHash(l.uri, seq),
	}}
}

func (l *log) append(s store.Store, size int) error {
	a := l.next(size)
	err := s.Update(context.Background(), func(tx store.Tx) error { return tx.Append(a) })
	if err == nil {
		l.head = room.Pos{Seq: a.Entry.Seq, Hash: a.Entry.Hash}
	}
	return err
}
