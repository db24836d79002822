// Package tail keeps the newest entries of busy rooms in memory, so that what has
// just become durable travels on, to followers and to clients, without being read
// back from the store.
//
// It is a cache and never the truth: an entry is in it only once it is durable,
// what is there of a room has no gaps, and whoever finds less than wanted asks the
// store. Watch fills it.
package tail

import (
	"container/list"
	"sync"

	"hubbub/internal/store"
	"hubbub/mimi"
)

// Bounds of what is kept.
const (
	maxRoomEntries = 4096
	maxRoomBytes   = 2 << 20
	entryOverhead  = 400 // what an entry takes besides its body, with its encoding for streams
	settleOverhead = 500 // what a submission takes that it settles
)

// Entry is an entry of a log that is durable. It is shared and not to be changed.
type Entry struct {
	store.Entry
	// Plain: nothing but the log grew by it. Members, participants and the history
	// are as they were before.
	Plain bool
	// Settles are the submissions of local clients that it made Posted, without
	// their bodies, of those that were queued since the start. Their Rev is an
	// older one.
	Settles []*store.Submission

	once  sync.Once
	frame []byte
}

// Frame gives the octets in which the entry travels to clients, made by encode
// once for all of them.
func (e *Entry) Frame(encode func(*store.Entry) []byte) []byte {
	e.once.Do(func() { e.frame = encode(&e.Entry) })
	return e.frame
}

// Tails holds the ends of logs in bounded memory. Methods are safe for concurrent
// use.
type Tails struct {
	maxBytes int
	own      own

	mu    sync.Mutex
	bytes int
	rooms map[mimi.RoomURI]*end
	used  list.List // of *end, the one that grew last in front
}

// end is the end of one log: entries that follow each other.
type end struct {
	uri     mimi.RoomURI
	entries []*Entry
	bytes   int
	place   *list.Element
	changed bool // more than the log has changed since Changed was asked last
}

// New makes Tails that hold about so many octets.
func New(maxBytes int) *Tails {
	return &Tails{maxBytes: maxBytes, rooms: map[mimi.RoomURI]*end{}, own: own{rows: map[[32]byte][]*store.Submission{}}}
}

// After gives what follows a place in a log, at most limit entries and, beyond the
// first, at most maxBytes of bodies. ok is false if it takes the store to tell;
// none and true say that nothing follows.
func (t *Tails) After(uri mimi.RoomURI, seq uint64, limit, maxBytes int) (entries []*Entry, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.rooms[uri]
	if r == nil {
		return nil, false
	}
	first, last := r.entries[0].Seq, r.entries[len(r.entries)-1].Seq
	if seq+1 < first || seq > last {
		return nil, false
	}
	rest := r.entries[seq+1-first:]
	n, size := 0, 0
	for n < len(rest) && n < limit {
		if size += len(rest[n].Body); n > 0 && size > maxBytes {
			break
		}
		n++
	}
	return rest[:n:n], true
}

// Last is the newest place in a log that is known here, 0 if there is none.
func (t *Tails) Last(uri mimi.RoomURI) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r := t.rooms[uri]; r != nil {
		return r.entries[len(r.entries)-1].Seq
	}
	return 0
}

// Changed says whether an entry that is not plain may have come since it was asked
// last. It is for one who asks after every Update.
func (t *Tails) Changed(uri mimi.RoomURI) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.rooms[uri]
	if r == nil {
		return true
	}
	changed := r.changed
	r.changed = false
	return changed
}

// add takes entries that have become durable and follow each other. Those of calls
// that overtook each other are left out: a tail has no gaps.
func (t *Tails) add(uri mimi.RoomURI, entries []*Entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.rooms[uri]
	if r == nil {
		r = &end{uri: uri, changed: true}
		r.place = t.used.PushFront(r)
		t.rooms[uri] = r
	}
	if n := len(r.entries); n > 0 {
		switch last := r.entries[n-1].Seq; {
		case entries[0].Seq <= last:
			return
		case entries[0].Seq > last+1:
			t.cut(r, n)
			r.changed = true
		}
	}
	r.entries = append(r.entries, entries...)
	for _, e := range entries {
		r.bytes += size(e)
		t.bytes += size(e)
		r.changed = r.changed || !e.Plain
	}
	t.used.MoveToFront(r.place)
	over := max(0, len(r.entries)-maxRoomEntries)
	for left := r.bytes; left > maxRoomBytes && over < len(r.entries)-1; over++ {
		left -= size(r.entries[over])
	}
	t.cut(r, over)
	for t.bytes > t.maxBytes && t.used.Back() != r.place {
		t.drop(t.used.Back().Value.(*end))
	}
}

func size(e *Entry) int { return 2*len(e.Body) + entryOverhead + settleOverhead*len(e.Settles) }

// cut drops the oldest n entries of a room. What readers were given stays theirs.
func (t *Tails) cut(r *end, n int) {
	for _, e := range r.entries[:n] {
		r.bytes -= size(e)
		t.bytes -= size(e)
	}
	r.entries = r.entries[n:]
}

func (t *Tails) drop(r *end) {
	t.bytes -= r.bytes
	t.used.Remove(r.place)
	delete(t.rooms, r.uri)
}

// forget drops a room whose log begins anew.
func (t *Tails) forget(uri mimi.RoomURI) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r := t.rooms[uri]; r != nil {
		t.drop(r)
	}
}
