package sqlstore

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"

	_ "modernc.org/sqlite" // the driver; docs/benchmarks.md says why this one

	"hubbub/internal/failpoint"
	"hubbub/internal/store"
)

const driverName = "sqlite"

// busyTimeoutMS is how long a connection waits for a lock. Only a tool that
// somebody points at the file while we run can make us wait.
const busyTimeoutMS = 10_000

// Pragmas of a connection. Checkpoints are ours to run (writer.go): SQLite's
// own would swallow a failed fsync.
var (
	commonPragmas = []string{
		fmt.Sprintf("busy_timeout = %d", busyTimeoutMS),
		"foreign_keys = ON",
		"trusted_schema = OFF",
		"synchronous = FULL",
		"fullfsync = ON",
		"checkpoint_fullfsync = ON",
		"cell_size_check = ON",
		"wal_autocheckpoint = 0",
		"temp_store = MEMORY",
	}
	// The writer adds pages far more often than it looks at old ones. In a large cache
	// each of them is fresh memory, which the system has to find and clear; in a small
	// one they are used again, and stay near the processor.
	writerPragmas = append([]string{"journal_mode = WAL", "cache_size = -4096"}, commonPragmas...)
	// Readers lose their cache with every commit, and the driver gives more than
	// some 400 pages freed at once back to the system, to fault them in again: so
	// the caches of all readers together are smaller than that.
	readerPragmas = append([]string{"query_only = ON", "cache_size = 96"}, commonPragmas...)
)

// Statements that open and end transactions.
const (
	beginRead  = "BEGIN"
	beginWrite = "BEGIN IMMEDIATE"
	commit     = "COMMIT"
	rollback   = "ROLLBACK"
	savepoint  = "SAVEPOINT fn"
	release    = "RELEASE fn"
	rollbackTo = "ROLLBACK TO fn"

	savepointVerb  = "SAVEPOINT verb"
	releaseVerb    = "RELEASE verb"
	rollbackToVerb = "ROLLBACK TO verb"

	passive       = "PASSIVE"  // checkpoint what no reader is in the way of
	truncate      = "TRUNCATE" // and leave an empty write-ahead log behind
	framesPending = "NOOP"     // only report
)

func dataSource(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	return (&url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(path)}).String()
}

// rebind turns the $1 of our query text into SQLite's ?1: SQLite would number
// a bare $1 by its first use. Where parameters just follow each other a plain ?
// says the same, and SQLite keeps no names, which the driver asks for one by
// one and which SQLite finds by walking all of them.
func rebind(query string) string {
	var b strings.Builder
	for n, rest := 1, query; ; n++ {
		text, after, more := strings.Cut(rest, "$")
		b.WriteString(text)
		if !more {
			return b.String()
		}
		digits := len(after) - len(strings.TrimLeft(after, "0123456789"))
		if after[:digits] != strconv.Itoa(n) {
			return strings.ReplaceAll(query, "$", "?")
		}
		b.WriteByte('?')
		rest = after[digits:]
	}
}

// Result codes of SQLite, https://sqlite.org/rescode.html.
const (
	codeFull       = 13
	codeConstraint = 19
)

// mapError makes the driver's errors the contract's.
func mapError(err error) error {
	var e interface{ Code() int }
	if err == nil || !errors.As(err, &e) {
		return err
	}
	switch e.Code() & 0xff {
	case codeFull:
		return fmt.Errorf("%w: %w", store.ErrFull, err)
	case codeConstraint:
		return fmt.Errorf("%w: %w", errConstraint, err)
	}
	return err
}

// walState is what a checkpoint reports.
type walState struct {
	busy, frames, done int64
}

// checkpoint moves the write-ahead log into the database file.
func checkpoint(s *session, mode string) error {
	_, err := walCheckpoint(s, mode)
	return err
}

func walCheckpoint(s *session, mode string) (w walState, err error) {
	failpoint.Hit("store.checkpoint ", mode)
	err = s.one([]any{&w.busy, &w.frames, &w.done}, "PRAGMA wal_checkpoint("+mode+")")
	if err != nil {
		return w, fmt.Errorf("checkpoint: %w", err)
	}
	failpoint.Hit("store.checkpointed ", mode)
	return w, nil
}

// shrinkLog cuts the write-ahead log file back to nothing unless a reader
// still needs it: the writer does not wait for readers.
func shrinkLog(s *session) error {
	if err := setBusyTimeout(s, 0); err != nil {
		return err
	}
	return errors.Join(checkpoint(s, truncate), setBusyTimeout(s, busyTimeoutMS))
}

func setBusyTimeout(s *session, ms int) error {
	return s.once(fmt.Sprintf("PRAGMA busy_timeout = %d", ms))
}

func scanName(row row) (name string, err error) {
	err = row.Scan(&name)
	return name, err
}

func (t *readTx) tables() ([]string, error) {
	return list(t.s, scanName, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~' ORDER BY name")
}

func (t *readTx) columns(table string) ([]string, error) {
	return list(t.s, scanName, "SELECT name FROM pragma_table_info($1) ORDER BY cid", table)
}
