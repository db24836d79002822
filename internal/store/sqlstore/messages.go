package sqlstore

import (
	"errors"
	"math"
	"sync"

	"hubbub/internal/store"
	"hubbub/mimi"
)

// Which entry holds a message is asked for every entry before it is stored, and
// message hashes come in no order: an index that each append keeps up would be
// a page of its own to write for nearly every entry, several times what the
// entry itself takes. So the index (runs.go) lags behind the log. It has the
// entries of a room up to rooms.indexed; the hashes of those behind it, the
// room's tail, are in memory and are read from the log when the writer needs
// them first. The log is what is true: nothing is lost with the memory.

const (
	// tailLimit is how many entries a tail may have before they go into the
	// index together.
	tailLimit = 1024
	// allTailsLimit is how many octets all tails may take, the filters of their
	// rooms included.
	allTailsLimit = 32 << 20
	tailEntry     = 64 // octets that an entry takes in memory, about
)

// tail is what the index lacks of one room, and what the writer has to know of it.
type tail struct {
	after int64 // entries up to here are in the index
	seqs  map[[32]byte]int64
	runs  []run // with their filters
}

// weight is how many octets a tail takes.
func (t *tail) weight() int {
	n := len(t.seqs) * tailEntry
	for i := range t.runs {
		n += len(t.runs[i].filter)
	}
	return n
}

// tails are the tails that have been read. The writer changes them, entries
// that are not committed included; readers look and then ask their snapshot.
type tails struct {
	mu    sync.RWMutex
	rooms map[int64]*tail
	total int
}

// find says where a message is if it is in a tail (0: it is not), and behind
// which place that tail begins.
func (l *tails) find(id int64, hash *[32]byte) (seq, after int64) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	t := l.rooms[id]
	if t == nil {
		return 0, math.MaxInt64 // nothing is known
	}
	return t.seqs[*hash], t.after
}

// add puts entries into a tail: all of them, or none if one is there already.
func (l *tails) add(id int64, list []store.Append) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.rooms[id]
	for i := range list {
		e := &list[i].Entry
		if _, known := t.seqs[e.MessageHash]; known {
			l.remove(t, list[:i])
			return false
		}
		t.seqs[e.MessageHash] = int64(e.Seq)
		l.total += tailEntry
	}
	return true
}

// takeBack undoes add.
func (l *tails) takeBack(id int64, list []store.Append) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.remove(l.rooms[id], list)
}

func (l *tails) remove(t *tail, list []store.Append) {
	for i := range list {
		delete(t.seqs, list[i].Entry.MessageHash)
	}
	l.total -= len(list) * tailEntry
}

// put replaces the tail of a room; nil forgets it.
func (l *tails) put(id int64, t *tail) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if old := l.rooms[id]; old != nil {
		l.total -= old.weight()
	}
	if t == nil {
		delete(l.rooms, id)
		return
	}
	l.rooms[id] = t
	l.total += t.weight()
}

// tail gives the tail of a room to a write transaction.
func (t *readTx) tail(id int64) (*tail, error) {
	l := &t.store.tails
	if known := l.rooms[id]; known != nil {
		return known, nil
	}
	fresh := &tail{seqs: make(map[[32]byte]int64)}
	err := t.s.one([]any{&fresh.after}, "SELECT indexed FROM rooms WHERE id = $1", id)
	if err != nil {
		return nil, err
	}
	if fresh.runs, err = filteredRunsOf(t.s, id); err != nil {
		return nil, err
	}
	err = t.s.each(func(row row) (bool, error) {
		var seq int64
		var h hash
		err := row.Scan(&seq, &h)
		fresh.seqs[h] = seq
		return true, err
	}, "SELECT seq, message_hash FROM entries WHERE id > $1 AND id <= $2", entryID(id, uint64(fresh.after)), entryID(id, maxSeq))
	if err != nil {
		return nil, err
	}
	l.put(id, fresh)
	return fresh, nil
}

func (t *readTx) EntryByMessage(uri mimi.RoomURI, messageHash [32]byte) (*store.Entry, error) {
	id, err := t.roomID(uri)
	if err != nil {
		return nil, err
	}
	return t.entryByMessage(id, messageHash)
}

func (t *readTx) entryByMessage(id int64, messageHash [32]byte) (*store.Entry, error) {
	if t.writes() {
		tail, err := t.tail(id)
		if err != nil {
			return nil, err
		}
		if seq := tail.seqs[messageHash]; seq != 0 {
			return t.entryAt(id, seq, messageHash)
		}
		return t.indexed(id, tail.runs, messageHash)
	}
	// In a snapshot the index comes first: what the memory holds must be at
	// least as new as what the snapshot holds.
	runs, err := runsOf(t.s, id)
	if err != nil {
		return nil, err
	}
	e, err := t.indexed(id, runs, messageHash)
	if !errors.Is(err, store.ErrNotFound) {
		return e, err
	}
	seq, after := t.store.tails.find(id, &messageHash)
	if seq != 0 {
		return t.entryAt(id, seq, messageHash)
	}
	var indexed int64
	if err := t.s.one([]any{&indexed}, "SELECT indexed FROM rooms WHERE id = $1", id); err != nil {
		return nil, err
	}
	if after <= indexed {
		return nil, store.ErrNotFound
	}
	// The tail has moved on since the snapshot, or nobody has written since the start.
	return t.entry(selectEntry+"WHERE id > $1 AND id <= $2 AND message_hash = $3",
		entryID(id, uint64(indexed)), entryID(id, uint64(after)), messageHash[:])
}

// indexed is the entry that the index has of a message.
func (t *readTx) indexed(id int64, runs []run, messageHash [32]byte) (*store.Entry, error) {
	prefix := prefixOf(&messageHash)
	for i := range runs {
		if !runs[i].has(prefix) {
			continue
		}
		seqs, err := runs[i].find(t.s, prefix)
		if err != nil {
			return nil, err
		}
		for _, seq := range seqs {
			if e, err := t.entryAt(id, seq, messageHash); !errors.Is(err, store.ErrNotFound) {
				return e, err
			}
		}
	}
	return nil, store.ErrNotFound
}

// entryAt is the entry at a place if it holds that message.
func (t *readTx) entryAt(id, seq int64, messageHash [32]byte) (*store.Entry, error) {
	if seq == 0 {
		return nil, store.ErrNotFound
	}
	return t.entry(selectEntry+"WHERE id = $1 AND message_hash = $2", entryID(id, uint64(seq)), messageHash[:])
}

// entry is the first entry that a query gives.
func (t *readTx) entry(query string, args ...any) (*store.Entry, error) {
	entries, err := list(t.s, scanEntry, query, args...)
	if err != nil {
		return nil, err
	}
	if len(entries) == 0 {
		return nil, store.ErrNotFound
	}
	return &entries[0], nil
}

// inIndex says whether the index knows one of n messages.
func (t *tx) inIndex(id int64, runs []run, n int, messageHash func(i int) *[32]byte) (bool, error) {
	for i := range n {
		_, err := t.indexed(id, runs, *messageHash(i))
		if !errors.Is(err, store.ErrNotFound) {
			return err == nil, t.note(err)
		}
	}
	return false, nil
}

// claim adds new entries to the tail of their room, or gives store.ErrExists if
// the log holds the message of one.
func (t *tx) claim(id int64, list []store.Append) error {
	tail, err := t.tail(id)
	if err != nil {
		return t.note(err)
	}
	known, err := t.inIndex(id, tail.runs, len(list), func(i int) *[32]byte { return &list[i].Entry.MessageHash })
	if err != nil {
		return err
	}
	if known || !t.store.tails.add(id, list) {
		return store.ErrExists
	}
	if len(tail.seqs) >= tailLimit {
		t.w.due[id] = true
	}
	return nil
}

// index moves the tail of a room into the index.
func (w *writer) index(id int64) error {
	old := w.store.tails.rooms[id]
	if old == nil || len(old.seqs) == 0 {
		return nil
	}
	marks := make([]mark, 0, len(old.seqs))
	for h, seq := range old.seqs {
		marks = append(marks, mark{prefixOf(&h), seq})
	}
	until := old.after + int64(len(marks))
	runs, err := w.addRun(id, old.runs, run{after: old.after, until: until}, marks)
	if err != nil {
		return err
	}
	w.store.tails.put(id, &tail{after: until, seqs: make(map[[32]byte]int64, tailLimit), runs: runs})
	return nil
}

// indexDue moves one tail that is long enough, and others while all are too
// long together. A full disk is no harm: the tails stay until there is space.
func (w *writer) indexDue() error {
	for id := range w.due {
		delete(w.due, id)
		if err := w.index(id); err != nil && !errors.Is(err, store.ErrFull) {
			return err
		}
		break
	}
	if w.store.tails.total < allTailsLimit {
		return nil
	}
	for id := range w.store.tails.rooms {
		if err := w.index(id); err != nil && !errors.Is(err, store.ErrFull) {
			return err
		}
		w.store.tails.put(id, nil)
		if w.store.tails.total < allTailsLimit*3/4 {
			break
		}
	}
	return nil
}
