// Package sqlstore keeps a provider's data in an SQL database: the engine
// behind the contract of package store.
//
// The engine now is SQLite in write-ahead-log mode with synchronous=FULL, in
// one file of the data directory, which a lock file reserves for one process.
// All writes go through one goroutine (writer.go) that commits everything that
// waits in one transaction; readers have connections of their own and see
// snapshots. Query text is kept neutral between engines; what really differs
// is in sqlite.go.
package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"hubbub/internal/failpoint"
	"hubbub/internal/store"
)

// Names of our files in the data directory.
const (
	databaseFile = "hubbub.db"
	lockFile     = "lock"
)

// readers is the number of connections for View.
const readers = 4

// Store is an open database. It implements store.Store.
type Store struct {
	path   string // of the database file
	lock   *os.File
	file   os.FileInfo // the database file as it was opened
	writer *writer
	idle   chan *session // readers not in use

	rooms sync.Map // mimi.RoomURI -> int64; only rooms known to be committed
	// moved counts the commits that took a name from a room; aside.go.
	moved   atomic.Int64
	roomsMu sync.Mutex // held while rooms or moved change

	tails tails // what the index of messages lacks
	news  news  // what has changed of submissions

	mu     sync.RWMutex // held for reading by running calls
	closed bool
}

// Open opens the database in directory dir, creating and upgrading it as
// needed. It returns store.ErrLocked if a process has it open already and
// store.ErrSchema if a newer version of this program wrote it.
func Open(dir string) (*Store, error) {
	return OpenDriver(dir, driverName)
}

// OpenDriver is Open with another database/sql driver for SQLite, which the
// caller has registered. It serves the comparison of drivers.
func OpenDriver(dir, driver string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create data directory: %w", err)
	}
	lock, err := lockDir(filepath.Join(dir, lockFile))
	if err != nil {
		return nil, err
	}
	s := &Store{path: filepath.Join(dir, databaseFile), lock: lock, tails: tails{rooms: make(map[int64]*tail)}}
	if err := s.open(driver); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", s.path, err), s.release())
	}
	return s, nil
}

func (s *Store) open(driver string) (err error) {
	if err := createPrivate(s.path); err != nil {
		return err
	}
	source := dataSource(s.path)
	db, err := sql.Open(driver, source)
	if err != nil {
		return err
	}
	defer db.Close() // the upgrade uses it, and sessions its driver
	failpoint.Hit("store.upgrade", "")
	if err := upgrade(context.Background(), db); err != nil {
		return err
	}
	failpoint.Hit("store.uptodate", "")
	w, err := newSession(db.Driver(), source, writerPragmas)
	if err != nil {
		return err
	}
	if s.writer, err = startWriter(s, w); err != nil {
		return errors.Join(err, w.close())
	}
	if s.file, err = os.Stat(s.path); err != nil {
		return err
	}
	s.idle = make(chan *session, readers)
	for range readers {
		r, err := newSession(db.Driver(), source, readerPragmas)
		if err != nil {
			return err
		}
		s.idle <- r
	}
	return nil
}

// createPrivate makes sure that only we can read the database: SQLite gives
// the files beside it the same mode.
func createPrivate(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// Update implements store.Store.
func (s *Store) Update(ctx context.Context, fn func(store.Tx) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return store.ErrClosed
	}
	return s.writer.do(ctx, fn)
}

// View implements store.Store.
func (s *Store) View(ctx context.Context, fn func(store.ReadTx) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return store.ErrClosed
	}
	var r *session
	select {
	case r = <-s.idle:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { s.idle <- r }()
	return r.view(s, fn)
}

// Close implements store.Store. Calls after the first do nothing.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return s.release()
}

// release gives back whatever of the store is open.
func (s *Store) release() error {
	var errs []error
	if s.writer != nil {
		errs = append(errs, s.writer.stop())
	}
	for len(s.idle) > 0 {
		errs = append(errs, (<-s.idle).close())
	}
	// The lock goes last: whoever gets it next finds the database closed.
	errs = append(errs, s.lock.Close())
	return errors.Join(errs...)
}
