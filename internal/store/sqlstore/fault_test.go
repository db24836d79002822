package sqlstore_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"modernc.org/sqlite"

	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/internal/store/sqlstore"
	"hubbub/mimi"
)

// faultyDriver is SQLite with statements that fail when fault says so.
type faultyDriver struct {
	driver.Driver
	fault atomic.Pointer[func(query string) error]
}

var faulty = &faultyDriver{Driver: &sqlite.Driver{}}

func init() { sql.Register("faulty", faulty) }

func (d *faultyDriver) Open(name string) (driver.Conn, error) {
	c, err := d.Driver.Open(name)
	return faultyConn{c}, err
}

type faultyConn struct{ driver.Conn }

func (c faultyConn) Prepare(query string) (driver.Stmt, error) {
	s, err := c.Conn.Prepare(query)
	return faultyStmt{s, c.Conn, query}, err
}

type faultyStmt struct {
	driver.Stmt
	conn  driver.Conn
	query string
}

func (s faultyStmt) Exec(args []driver.Value) (driver.Result, error) {
	if fault := faulty.fault.Load(); fault != nil {
		if err := (*fault)(s.query); err != nil {
			if errors.Is(err, codeFull) {
				s.undo() // as SQLite does when the disk is full
			}
			return nil, err
		}
	}
	//lint:ignore SA1019 database/sql falls back to it, and faults are injected there
	return s.Stmt.Exec(args)
}

func (s faultyStmt) undo() {
	if rollback, err := s.conn.Prepare("ROLLBACK"); err == nil {
		//lint:ignore SA1019 as above
		rollback.Exec(nil)
		rollback.Close()
	}
}

func openFaulty(t *testing.T) (s store.Store, dir string) {
	t.Helper()
	dir = t.TempDir()
	opened, err := sqlstore.OpenDriver(dir, "faulty")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		faulty.fault.Store(nil)
		opened.Close()
	})
	return opened, dir
}

func failOn(query string, err error) {
	fault := func(q string) error {
		if strings.HasPrefix(q, query) {
			return err
		}
		return nil
	}
	faulty.fault.Store(&fault)
}

// resultCode is an error as the driver makes them.
type resultCode int

func (c resultCode) Error() string { return fmt.Sprintf("result code %d", int(c)) }
func (c resultCode) Code() int     { return int(c) }

const (
	codeFull       = resultCode(13)
	codeFsync      = resultCode(10 | 4<<8)
	codeCantCommit = resultCode(10)
)

func put(s store.Store, key string) error {
	return s.Update(context.Background(), func(tx store.Tx) error { return tx.PutMeta(key, []byte(key)) })
}

func has(t *testing.T, s store.Store, key string) bool {
	t.Helper()
	err := s.View(context.Background(), func(tx store.ReadTx) error {
		_, err := tx.Meta(key)
		return err
	})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	return err == nil
}

// A failed fsync says nothing about what is on the disk, and a second one may
// succeed without having written: whoever waited for the commit is told that
// nobody knows, and nothing more is written until the store is opened anew.
func TestFailedCommit(t *testing.T) {
	s, dir := openFaulty(t)
	if err := put(s, "before"); err != nil {
		t.Fatal(err)
	}
	failOn("COMMIT", codeFsync)
	refusal := errors.New("own error")
	// Calls that wait while the writer is held up share the failing commit.
	outcomes := together(s, func(i int, tx store.Tx) error {
		if i == 3 {
			return refusal
		}
		return tx.PutMeta("lost", nil)
	})
	for i, err := range outcomes {
		want := store.ErrUnknownOutcome
		if i == 3 {
			want = refusal // it had no effects that could be unknown
		}
		if !errors.Is(err, want) && !errors.Is(err, store.ErrFailed) {
			t.Errorf("call %d: %v", i, err)
		}
	}
	if !errors.Is(outcomes[0], store.ErrUnknownOutcome) {
		t.Errorf("first call: %v, want ErrUnknownOutcome", outcomes[0])
	}
	faulty.fault.Store(nil)
	if err := put(s, "after"); !errors.Is(err, store.ErrFailed) || errors.Is(err, store.ErrUnknownOutcome) {
		t.Errorf("later call: %v, want ErrFailed", err)
	}
	if !has(t, s, "before") {
		t.Error("reading no longer works")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	again, err := sqlstore.OpenDriver(dir, "faulty")
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if err := put(again, "after"); err != nil {
		t.Errorf("after opening anew: %v", err)
	}
}

// together makes eight calls of which the last seven wait while the first
// runs.
func together(s store.Store, fn func(i int, tx store.Tx) error) []error {
	outcomes := make([]error, 8)
	busy := make(chan struct{})
	begun := sync.OnceFunc(func() { close(busy) })
	var queued, wg sync.WaitGroup
	queued.Add(len(outcomes) - 1)
	for i := range outcomes {
		wg.Go(func() {
			if i > 0 {
				<-busy
				queued.Done()
			}
			outcomes[i] = s.Update(context.Background(), func(tx store.Tx) error {
				if i == 0 {
					begun()
					queued.Wait()
				}
				return fn(i, tx)
			})
			if i == 0 {
				begun() // the first call may have failed before it ran
			}
		})
	}
	wg.Wait()
	return outcomes
}

// A full disk is a refusal: reading goes on, and writing once there is space.
func TestDiskFull(t *testing.T) {
	for _, statement := range []string{"COMMIT", "INSERT INTO meta", "BEGIN IMMEDIATE", "SAVEPOINT"} {
		t.Run(statement, func(t *testing.T) {
			s, _ := openFaulty(t)
			if err := put(s, "before"); err != nil {
				t.Fatal(err)
			}
			failOn(statement, codeFull)
			for i, err := range together(s, func(i int, tx store.Tx) error { return tx.PutMeta(fmt.Sprint("full", i), nil) }) {
				if statement == "SAVEPOINT" && err == nil && has(t, s, fmt.Sprint("full", i)) {
					continue // alone in its transaction, which is its savepoint
				}
				if !errors.Is(err, store.ErrFull) {
					t.Errorf("call %d: %v, want ErrFull", i, err)
				}
				if has(t, s, fmt.Sprint("full", i)) {
					t.Errorf("call %d left its row", i)
				}
			}
			faulty.fault.Store(nil)
			if err := put(s, "after"); err != nil || !has(t, s, "before") || !has(t, s, "after") {
				t.Errorf("after there is space again: %v", err)
			}
		})
	}
}

// An engine error in the middle of a verb spoils the call, whatever fn makes
// of it.
func TestErrorInsideVerb(t *testing.T) {
	s, _ := openFaulty(t)
	uri := mimi.RoomURI("mimi://a.localhost/r/lobby")
	failOn("INSERT INTO room_states", codeCantCommit)
	err := s.Update(context.Background(), func(tx store.Tx) error {
		tx.CreateRoom(store.RoomRecord{URI: uri, Head: room.StartPos(uri)}, nil, nil, nil)
		return nil
	})
	if !errors.Is(err, codeCantCommit) {
		t.Errorf("error = %v, want the engine's", err)
	}
	faulty.fault.Store(nil)
	err = s.Update(context.Background(), func(tx store.Tx) error {
		return tx.CreateRoom(store.RoomRecord{URI: uri, Head: room.StartPos(uri)}, nil, nil, nil)
	})
	if err != nil {
		t.Errorf("half a room was left: %v", err)
	}
}

// Nothing is written after the engine has ended a transaction by itself: each
// statement would commit on its own.
func TestNothingAfterEngineError(t *testing.T) {
	s, _ := openFaulty(t)
	failOn("INSERT INTO users", codeFull)
	err := s.Update(context.Background(), func(tx store.Tx) error {
		tx.CreateUser("mimi://a.localhost/u/alice", time.Now())
		tx.PutMeta("key", nil)
		return nil
	})
	if !errors.Is(err, store.ErrFull) || has(t, s, "key") {
		t.Errorf("error = %v; key stored: %v", err, has(t, s, "key"))
	}
}

// When the engine throws a whole transaction away, the calls before the
// failing one fail with it and the ones after it are not affected. The first
// call is alone in its transaction.
func TestTransactionLost(t *testing.T) {
	s, _ := openFaulty(t)
	failOn("ROLLBACK TO", codeCantCommit)
	boom := errors.New("boom")
	outcomes := together(s, func(i int, tx store.Tx) error {
		err := tx.PutMeta(fmt.Sprint("key", i), nil)
		if i == 0 || i == 3 {
			err = boom
		}
		return err
	})
	lost := 0
	for i, err := range outcomes {
		if (err == nil) != has(t, s, fmt.Sprint("key", i)) {
			t.Errorf("call %d: %v, but its row says otherwise", i, err)
		}
		if (i == 0 || i == 3) && !errors.Is(err, boom) {
			t.Errorf("call %d: %v", i, err)
		}
		if errors.Is(err, codeCantCommit) {
			lost++
		}
	}
	if lost == 0 {
		t.Error("no transaction was lost")
	}
}

func TestNewerSchema(t *testing.T) {
	dir := t.TempDir()
	s, err := sqlstore.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "hubbub.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)"); err != nil {
		t.Fatal(err)
	}
	db.Close()
	if s, err = sqlstore.Open(dir); !errors.Is(err, store.ErrSchema) || !strings.Contains(err.Error(), "9999") {
		t.Fatalf("error = %v, want ErrSchema", err)
	}
	if s != nil {
		t.Error("a store came with the error")
	}
	// The refusal gave the directory back.
	if _, err := sqlstore.Open(dir); !errors.Is(err, store.ErrSchema) {
		t.Errorf("second attempt: %v", err)
	}
}

// A step of the schema was edited before a release: its number tells nothing.
func TestOtherSchema(t *testing.T) {
	dir := t.TempDir()
	s, err := sqlstore.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "hubbub.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("PRAGMA user_version = 0"); err != nil {
		t.Fatal(err)
	}
	db.Close()
	if _, err = sqlstore.Open(dir); !errors.Is(err, store.ErrSchema) || !strings.Contains(err.Error(), "empty data directory") {
		t.Fatalf("error = %v, want ErrSchema", err)
	}
}

// The write-ahead log is moved to the database file as it grows.
func TestLogStaysShort(t *testing.T) {
	dir := t.TempDir()
	s, err := sqlstore.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	value := make([]byte, 512<<10)
	var written, largest int64
	for i := range 200 {
		value[0], value[len(value)-1] = byte(i), byte(i)
		for at := range len(value) / 1024 {
			value[at*1024] = byte(i) // equal pages would not be written again
		}
		err := s.Update(context.Background(), func(tx store.Tx) error { return tx.PutMeta(fmt.Sprint(i%3), value) })
		if err != nil {
			t.Fatal(err)
		}
		written += int64(len(value))
		info, err := os.Stat(filepath.Join(dir, "hubbub.db-wal"))
		if err != nil {
			t.Fatal(err)
		}
		largest = max(largest, info.Size())
	}
	if largest > written/4 {
		t.Errorf("the log grew to %d octets of %d written", largest, written)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "hubbub.db-wal")); err == nil && info.Size() > 0 {
		t.Errorf("the closed store left a log of %d octets", info.Size())
	}
}

// Only the owner may look into the data.
func TestFileModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s, err := sqlstore.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := put(s, "key"); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) < 4 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: mode %v, %v", f.Name(), info.Mode(), err)
		}
	}
}
