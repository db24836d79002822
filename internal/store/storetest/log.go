package storetest

import (
	"context"
	"crypto/sha256"
	"fmt"

	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

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
		l.took(a)
	}
	return err
}

// took moves the head behind an entry that was stored.
func (l *log) took(a store.Append) { l.head = room.Pos{Seq: a.Entry.Seq, Hash: a.Entry.Hash} }

func messageHash(uri mimi.RoomURI, seq uint64) [32]byte {
	return sha256.Sum256(fmt.Appendf(nil, "message %d of %s", seq, uri))
}
