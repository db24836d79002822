package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"sync/atomic"

	"hubbub/internal/failpoint"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// Limits of the writer.
const (
	maxBatch  = 256  // calls that share one commit
	maxQueued = 1024 // calls that may wait; more block in Update

	// Once so many pages wait in the write-ahead log they are moved to the
	// database file. Looking costs a statement, so it is done once in so many
	// calls or rows and not after each commit.
	checkpointFrames = 2000
	checkpointCalls  = 32
	checkpointRows   = 512
	// A log file larger than this is cut back to nothing after a checkpoint.
	maxLogBytes = 64 << 20
)

// request is one call of Update.
type request struct {
	fn      func(store.Tx) error
	state   atomic.Int32 // waiting, then taken by the writer or abandoned by the caller
	err     error
	panicAs any // what fn panicked with
	done    chan struct{}
}

const (
	waiting   = 0
	taken     = 1
	abandoned = 2
)

// writer owns the one connection that writes. Its goroutine runs everything
// that waits in one transaction: one fsync serves all of them.
type writer struct {
	store *Store
	s     *session
	queue chan *request
	ended chan struct{}

	// Owned by the goroutine.
	ids     idBlock
	pending pending
	due     map[int64]bool // rooms whose tail is long
	touched map[int64]bool // rooms of which the memory is ahead of what is committed
	calls   int            // since the last look at the write-ahead log
	rows    int64          // changed since then
	failure error          // why nothing more is written; nil = all is well
}

func startWriter(st *Store, s *session) (*writer, error) {
	w := &writer{store: st, s: s, queue: make(chan *request, maxQueued), ended: make(chan struct{}),
		due: make(map[int64]bool), touched: make(map[int64]bool)}
	if err := checkpoint(s, truncate); err != nil {
		return nil, err
	}
	if err := errors.Join(w.ids.load(s), w.pending.load(s, &st.news), w.indexLogs()); err != nil {
		return nil, err
	}
	go w.run()
	return w, nil
}

// do hands fn to the writer and waits for its outcome. A context that ends
// before the writer got to fn takes the call back; later it has no influence.
func (w *writer) do(ctx context.Context, fn func(store.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r := &request{fn: fn, done: make(chan struct{})}
	select {
	case w.queue <- r:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		if r.state.CompareAndSwap(waiting, abandoned) {
			return ctx.Err()
		}
		<-r.done
	}
	if r.panicAs != nil {
		panic(r.panicAs)
	}
	return r.err
}

// stop ends the writer; no call of do may be running.
func (w *writer) stop() error {
	close(w.queue)
	<-w.ended
	var err error
	if w.failure == nil {
		err = checkpoint(w.s, truncate)
	}
	return errors.Join(err, w.s.close())
}

func (w *writer) run() {
	defer close(w.ended)
	batch := make([]*request, 0, maxBatch)
	for r := range w.queue {
		batch = w.gather(append(batch[:0], r))
		w.commit(batch)
		for _, r := range batch {
			close(r.done)
		}
		w.maintain(len(batch))
	}
}

// gather adds what else is waiting. Callers that the last commit has just
// answered get a chance to come back first, as long as any do, or every second
// commit would carry a few calls only.
func (w *writer) gather(batch []*request) []*request {
	for before := 0; before < len(batch); {
		before = len(batch)
		runtime.Gosched()
		batch = w.drain(batch)
	}
	return claim(batch)
}

func (w *writer) drain(batch []*request) []*request {
	for len(batch) < maxBatch {
		select {
		case r, ok := <-w.queue:
			if !ok {
				return batch
			}
			batch = append(batch, r)
		default:
			return batch
		}
	}
	return batch
}

// claim keeps the requests whose callers still wait.
func claim(batch []*request) []*request {
	kept := batch[:0]
	for _, r := range batch {
		if r.state.CompareAndSwap(waiting, taken) {
			kept = append(kept, r)
		}
	}
	return kept
}

// commit runs the batch in one transaction and leaves the outcome in each
// request.
func (w *writer) commit(batch []*request) {
	if len(batch) == 0 {
		return
	}
	if w.failure != nil {
		failAll(batch, w.failure)
		return
	}
	if err := w.begin(); err != nil {
		failAll(batch, err)
		return
	}
	found := make(map[mimi.RoomURI]int64)
	for i, r := range batch {
		tx := newTx(w, found, len(batch) == 1)
		if err := w.call(tx, r); err != nil {
			// The transaction itself is gone, and with it what went before.
			w.rollback()
			failAll(batch[:i+1], err)
			w.commit(batch[i+1:])
			return
		}
		if tx.lone && r.failed() {
			w.rollback()
			return
		}
	}
	if err := w.end(); err != nil {
		failAll(batch, err)
		return
	}
	w.store.learn(found)
}

func (w *writer) begin() error {
	failpoint.Hit("store.begin", "")
	if _, err := w.s.exec(beginWrite); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	if err := w.ids.refill(w.s); err != nil {
		w.rollback()
		return err
	}
	return nil
}

// rollback undoes the transaction, and what the memory has of it.
func (w *writer) rollback() {
	w.s.exec(rollback)
	w.ids.undone()
	w.pending.undo(pendingMark{})
	for id := range w.touched {
		w.store.tails.put(id, nil)
	}
	clear(w.touched)
}

// call runs one fn, undoing its effects if it fails. An error means that the
// whole transaction is lost.
func (w *writer) call(tx *tx, r *request) error {
	r.panicAs, r.err = runFn(r.fn, tx)
	if r.err == nil && r.panicAs == nil {
		// An engine error spoils the call even if fn went on regardless:
		// some of what a verb writes may be missing.
		r.err = tx.failed
	}
	s := tx.s
	tx.s = nil
	if !tx.wrote {
		if tx.failed != nil {
			return fmt.Errorf("transaction lost: %w", tx.failed)
		}
		return nil
	}
	maps.Copy(w.touched, tx.touched)
	if r.failed() {
		tx.forget()
		w.pending.undo(tx.pending)
		clear(tx.created)
	}
	if tx.lone {
		maps.Copy(tx.found, tx.created)
		return nil
	}
	if r.failed() {
		if _, err := s.exec(rollbackTo); err != nil {
			return fmt.Errorf("transaction lost: %w", errors.Join(r.err, err))
		}
	}
	if _, err := s.exec(release); err != nil {
		return fmt.Errorf("transaction lost: %w", errors.Join(r.err, err))
	}
	maps.Copy(tx.found, tx.created)
	return nil
}

func runFn(fn func(store.Tx) error, tx *tx) (panicAs any, err error) {
	ended := true
	defer func() {
		if panicAs = recover(); panicAs == nil && ended {
			// Loud, because the writer would be gone and every call would hang.
			panic("sqlstore: fn ended its goroutine (a test failed fatally inside Update?)")
		}
	}()
	err = fn(tx)
	ended = false
	return nil, err
}

// end commits. A full disk shows before the record that makes the commit count
// is written, so that nothing is stored and there is nothing to clear up: SQLite
// has undone the transaction or we do. After any other failure nobody can say
// what is on the disk, and asking again would not help (a second fsync may
// succeed without having written), so that nothing more is written until the
// store is opened anew.
func (w *writer) end() error {
	failpoint.Hit("store.written", "")
	_, err := w.s.exec(commit)
	if err == nil {
		failpoint.Hit("store.durable", "")
		w.ids.committed()
		w.pending.committed()
		clear(w.touched)
		return nil
	}
	w.rollback()
	if errors.Is(err, store.ErrFull) {
		return fmt.Errorf("commit: %w", err)
	}
	w.failure = fmt.Errorf("%w: commit: %w", store.ErrFailed, err)
	return fmt.Errorf("%w: commit: %w", store.ErrUnknownOutcome, err)
}

// failAll gives err to all calls that have not failed by themselves.
func failAll(batch []*request, err error) {
	for _, r := range batch {
		if !r.failed() {
			r.err = err
		}
	}
}

func (r *request) failed() bool { return r.err != nil || r.panicAs != nil }

// maintain keeps the write-ahead log short. It runs after the callers have
// their answers.
func (w *writer) maintain(calls int) {
	if w.failure != nil {
		return
	}
	if err := w.indexDue(); err != nil {
		w.failure = fmt.Errorf("%w: %w", store.ErrFailed, err)
		return
	}
	if w.calls += calls; w.calls < checkpointCalls && w.rows < checkpointRows {
		return
	}
	w.calls, w.rows = 0, 0
	wal, err := walCheckpoint(w.s, framesPending)
	if err == nil && wal.frames-wal.done >= checkpointFrames {
		err = w.checkpoint()
	}
	if err != nil {
		w.failure = fmt.Errorf("%w: %w", store.ErrFailed, err)
	}
}

func (w *writer) checkpoint() error {
	now, err := os.Stat(w.store.path)
	if err != nil || !os.SameFile(now, w.store.file) {
		return fmt.Errorf("the database file %s was replaced while in use", w.store.path)
	}
	wal, err := walCheckpoint(w.s, passive)
	if errors.Is(err, store.ErrFull) {
		return nil // the log keeps everything until there is space again
	}
	if err != nil || wal.done < wal.frames {
		return err
	}
	if log, err := os.Stat(w.store.path + "-wal"); err == nil && log.Size() > maxLogBytes {
		return shrinkLog(w.s)
	}
	return nil
}
