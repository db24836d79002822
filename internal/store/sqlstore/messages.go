package sqlstore

import (
	"errors"
	"fmt"
	"math"
	"sync"

	"hubbub/internal/store"
	"hubbub/mimi"
)

// Which entry holds a message is asked for every entry before it is stored, and
// message hashes come in no order: an index that each append keeps up would be
// a page of its own to write for nearly every entry, several times what the
// entry itself takes. So the index lags behind the log. Table messages has the
// entries of a room up to rooms.indexed; the hashes of those behind it, the
// room's tail, are in memory and are read from the log when the writer needs
// them first. The log is what is true: nothing is lost with the memory.
//
// The table keeps the first octets of a hash only. Two messages can share those,
// by chance or by somebody's work, so the entry is always asked for the rest.

const (
	// tailLimit is how many entries a tail may have before they go into the
	// table, together and sorted, so that several share a page.
	tailLimit = 1024
	// allTailsLimit is how many entries all tails may have; each takes some 60
	// octets of memory.
	allTailsLimit = 1 << 17
)

// tail is what table messages lacks of one room.
type tail struct {
	after int64 // entries up to here are in the table
	seqs  map[[32]byte]int64
	table bool // the table has entries of this room
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
		l.total++
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
	l.total -= len(list)
}

// put replaces the tail of a room; nil forgets it.
func (l *tails) put(id int64, t *tail) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if old := l.rooms[id]; old != nil {
		l.total -= len(old.seqs)
	}
	if t == nil {
		delete(l.rooms, id)
		return
	}
	l.rooms[id] = t
	l.total += len(t.seqs)
}

// tail gives the tail of a room to a write transaction.
func (t *readTx) tail(id int64) (*tail, error) {
	l := &t.store.tails
	if known := l.rooms[id]; known != nil {
		return known, nil
	}
	var start int64
	fresh := &tail{seqs: make(map[[32]byte]int64)}
	if err := t.s.one([]any{&fresh.after, &start}, "SELECT indexed, start_seq FROM rooms WHERE id = $1", id); err != nil {
		return nil, err
	}
	fresh.table = fresh.after > start
	err := t.s.each(func(row row) (bool, error) {
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

const selectIndexed = "SELECT e.seq, e.timestamp, e.kind, e.hash, e.message_hash, e.body FROM messages m " +
	"JOIN entries e ON e.id = (m.room << 40 | m.seq) "

func (t *readTx) entryByMessage(id int64, messageHash [32]byte) (*store.Entry, error) {
	if t.writes() {
		tail, err := t.tail(id)
		if err != nil {
			return nil, err
		}
		if seq := tail.seqs[messageHash]; seq != 0 || !tail.table {
			return t.entryAt(id, seq, messageHash)
		}
	}
	// In a snapshot the table comes first: what the memory holds must be at
	// least as new as what the snapshot holds.
	e, err := t.entry(selectIndexed+"WHERE m.room = $1 AND m.prefix = $2 AND e.message_hash = $3",
		id, messageHash[:prefixBytes], messageHash[:])
	if t.writes() || !errors.Is(err, store.ErrNotFound) {
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

// prefixBytes is how much of a hash table messages keeps.
const prefixBytes = 8

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

var selectKnown = func() (t texts) {
	for i, rows := range rowCounts {
		t[i] = "SELECT e.message_hash FROM messages m JOIN entries e ON e.id = (m.room << 40 | m.seq) " +
			"WHERE m.room = $1 AND m.prefix IN " + marks(1, rows)
	}
	return t
}()

// inTable says whether table messages knows one of n messages.
func (t *tx) inTable(id int64, n int, messageHash func(i int) *[32]byte) (found bool, err error) {
	err = eachChunk(n, func(size, from, to int) error {
		args := append(make([]any, 0, 1+to-from), id)
		for i := from; i < to; i++ {
			args = append(args, messageHash(i)[:prefixBytes])
		}
		return t.s.each(func(row row) (bool, error) {
			var h hash
			err := row.Scan(&h)
			for i := from; i < to; i++ {
				found = found || *messageHash(i) == [32]byte(h)
			}
			return !found, err
		}, selectKnown[size], args...)
	})
	return found, t.note(err)
}

// claim adds new entries to the tail of their room, or gives store.ErrExists if
// the log holds the message of one.
func (t *tx) claim(id int64, list []store.Append) error {
	tail, err := t.tail(id)
	if err != nil {
		return t.note(err)
	}
	if tail.table {
		known, err := t.inTable(id, len(list), func(i int) *[32]byte { return &list[i].Entry.MessageHash })
		if err != nil {
			return err
		}
		if known {
			return store.ErrExists
		}
	}
	if !t.store.tails.add(id, list) {
		return store.ErrExists
	}
	if len(tail.seqs) >= tailLimit {
		t.w.due[id] = true
	}
	return nil
}

// index moves the tail of a room into the table.
func (w *writer) index(id int64) error {
	old := w.store.tails.rooms[id]
	if old == nil || len(old.seqs) == 0 {
		return nil
	}
	upTo := old.after + int64(len(old.seqs))
	if _, err := w.s.exec(beginWrite); err != nil {
		return err
	}
	_, err := w.s.exec(`INSERT INTO messages (room, prefix, seq) SELECT room, substr(message_hash, 1, 8), seq
		FROM entries WHERE id > $1 AND id <= $2 ORDER BY 2, 3`, entryID(id, uint64(old.after)), entryID(id, uint64(upTo)))
	if err == nil {
		_, err = w.s.exec("UPDATE rooms SET indexed = $1 WHERE id = $2", upTo, id)
	}
	if err == nil {
		_, err = w.s.exec(commit)
	}
	if err != nil {
		w.s.exec(rollback)
		return fmt.Errorf("indexing messages: %w", err)
	}
	w.store.tails.put(id, &tail{after: upTo, seqs: make(map[[32]byte]int64, tailLimit), table: true})
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
