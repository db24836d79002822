package sqlstore

import (
	"errors"
	"fmt"

	"hubbub/internal/store"
	"hubbub/mimi"
)

// readTx implements store.ReadTx; its methods are in the file of their area.
type readTx struct {
	s     *session // nil once the transaction has ended
	store *Store

	// Ids of rooms that a write transaction came to know and that count for
	// others only after its commit; nil in a snapshot.
	created map[mimi.RoomURI]int64 // by this call
	found   map[mimi.RoomURI]int64 // by earlier calls of the same batch

	moved int64 // Store.moved before the snapshot
}

// tx implements store.Tx.
type tx struct {
	readTx
	w      *writer
	lone   bool  // no other call shares the transaction, which is its savepoint then
	wrote  bool  // the savepoint of this call is open
	failed error // first engine error of a write
	// touched are the rooms of which the memory (messages.go) has what this
	// call has written.
	touched map[int64]bool
	pending pendingMark // where the call began

	lastWelcome welcome // the body that was stored last; id 0 = none
}

var (
	_ store.ReadTx = (*readTx)(nil)
	_ store.Tx     = (*tx)(nil)
)

func newTx(w *writer, found map[mimi.RoomURI]int64, lone bool) *tx {
	return &tx{
		readTx: readTx{s: w.s, store: w.store, found: found},
		w:      w,
		lone:   lone,

		pending: w.pending.mark(),
	}
}

// writes says whether this is a write transaction.
func (t *readTx) writes() bool { return t.found != nil }

// touch notes that the memory about a room is ahead of what is committed.
func (t *tx) touch(id int64) {
	if t.touched == nil {
		t.touched = make(map[int64]bool)
	}
	t.touched[id] = true
}

// forget drops the memory that is ahead of what is committed.
func (t *tx) forget() {
	for id := range t.touched {
		t.store.tails.put(id, nil)
	}
}

// write runs a statement that changes rows and returns how many it changed.
// The first one of a call opens the savepoint to which an error returns, so
// that calls that only look cost nothing.
func (t *tx) write(query string, args ...any) (int64, error) {
	if err := t.mark(); err != nil {
		return 0, err
	}
	n, err := t.s.exec(query, args...)
	t.w.rows += n
	return n, t.note(err)
}

// writeOne is write for a statement with RETURNING.
func (t *tx) writeOne(dest []any, query string, args ...any) error {
	if err := t.mark(); err != nil {
		return err
	}
	return t.note(t.s.one(dest, query, args...))
}

// mark opens the savepoint. After an engine error nothing more is written: the
// engine may have ended the transaction, and a statement would then commit by
// itself.
func (t *tx) mark() error {
	if t.failed != nil {
		return t.failed
	}
	if t.wrote {
		return nil
	}
	var err error
	if !t.lone {
		_, err = t.s.exec(savepoint)
	}
	t.wrote = err == nil
	return t.note(err)
}

// note remembers an engine error: a verb may have stopped half way, so that
// nothing of this call may be kept.
func (t *tx) note(err error) error {
	if err != nil && !errors.Is(err, store.ErrNotFound) && t.failed == nil {
		t.failed = err
	}
	return err
}

// roomID finds the number under which tables know a room; store.ErrNotFound
// if there is no such room.
func (t *readTx) roomID(uri mimi.RoomURI) (int64, error) {
	id, known := t.created[uri]
	if !known {
		id, known = t.found[uri]
	}
	switch cached, ok := t.store.rooms.Load(uri); {
	case known && id == setAside:
		return 0, fmt.Errorf("room %s: %w", uri, store.ErrNotFound)
	case known:
		return id, nil
	case ok:
		return cached.(int64), nil
	}
	if err := t.s.one([]any{&id}, "SELECT id FROM rooms WHERE uri = $1", string(uri)); err != nil {
		return 0, fmt.Errorf("room %s: %w", uri, err)
	}
	if t.found != nil {
		t.found[uri] = id
	} else {
		t.store.remember(uri, id, t.moved)
	}
	return id, nil
}

// knownRoom is roomID for lists, which are empty for an unknown room.
func (t *readTx) knownRoom(uri mimi.RoomURI) (id int64, known bool, err error) {
	id, err = t.roomID(uri)
	if errors.Is(err, store.ErrNotFound) {
		return 0, false, nil
	}
	return id, err == nil, err
}
