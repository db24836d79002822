package sqlstore

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"

	"hubbub/internal/store"
)

// errConstraint marks an engine's refusal of a duplicate or dangling key.
var errConstraint = errors.New("constraint violated")

// background is the context of all statements: giving up in the middle of one
// would cost a watcher goroutine per call and leave a transaction to clean up.
var background = context.Background()

// session is one connection with its prepared statements. One goroutine at a
// time uses it. It talks to the driver itself: what database/sql adds (a pool,
// locks, conversions) costs as much as a short statement.
type session struct {
	conn  driver.Conn
	stmts map[string]*statement
	args  []driver.NamedValue // of the statement that begins; used again
	// looked: the snapshot of the transaction is settled; a transaction sees
	// what is there when it first looks.
	looked bool
}

// statement is a prepared query.
type statement struct {
	driver.Stmt
	row []driver.Value // a row of its result; nil before the first
	// busy: the row is in use by a query that has not ended.
	busy bool
}

func newSession(d driver.Driver, source string, pragmas []string) (*session, error) {
	conn, err := d.Open(source)
	if err != nil {
		return nil, err
	}
	s := &session{conn: conn, stmts: make(map[string]*statement)}
	for _, p := range pragmas {
		if err := s.once("PRAGMA " + p); err != nil {
			return nil, errors.Join(fmt.Errorf("pragma %s: %w", p, err), conn.Close())
		}
	}
	return s, nil
}

func (s *session) close() error {
	for _, stmt := range s.stmts {
		stmt.Close()
	}
	return s.conn.Close()
}

// stmt prepares a query, once. The text must be one of a fixed set.
func (s *session) stmt(query string) (*statement, error) {
	if stmt := s.stmts[query]; stmt != nil {
		return stmt, nil
	}
	prepared, err := s.conn.Prepare(rebind(query))
	if err != nil {
		return nil, fmt.Errorf("prepare %q: %w", query, mapError(err))
	}
	stmt := &statement{Stmt: prepared}
	s.stmts[query] = stmt
	return stmt, nil
}

// once runs a statement that is not worth keeping, or that does its work while
// it is prepared, as some pragmas do.
func (s *session) once(query string) error {
	prepared, err := s.conn.Prepare(query)
	if err != nil {
		return mapError(err)
	}
	_, err = s.run(&statement{Stmt: prepared}, nil)
	return errors.Join(err, prepared.Close())
}

// exec runs a statement and returns the number of rows it changed.
func (s *session) exec(query string, args ...any) (int64, error) {
	stmt, err := s.stmt(query)
	if err != nil {
		return 0, err
	}
	return s.run(stmt, args)
}

func (s *session) run(stmt *statement, args []any) (n int64, err error) {
	var res driver.Result
	s.bind(args)
	if with, ok := stmt.Stmt.(driver.StmtExecContext); ok {
		res, err = with.ExecContext(background, s.args)
	} else {
		// What a driver has that wraps another one.
		res, err = stmt.Exec(values(s.args))
	}
	clear(s.args) // nothing of the caller's is kept
	if err != nil {
		return 0, mapError(err)
	}
	return res.RowsAffected()
}

// bind makes arguments the driver's.
func (s *session) bind(args []any) {
	s.args = s.args[:0]
	for i, v := range args {
		if n, ok := v.(int); ok {
			v = int64(n)
		}
		s.args = append(s.args, driver.NamedValue{Ordinal: i + 1, Value: v})
	}
}

func values(args []driver.NamedValue) []driver.Value {
	plain := make([]driver.Value, len(args))
	for i := range args {
		plain[i] = args[i].Value
	}
	return plain
}

func (s *session) query(stmt *statement, args []any) (rows driver.Rows, err error) {
	s.bind(args)
	if with, ok := stmt.Stmt.(driver.StmtQueryContext); ok {
		rows, err = with.QueryContext(background, s.args)
	} else {
		// What a driver has that wraps another one.
		rows, err = stmt.Query(values(s.args))
	}
	clear(s.args)
	return rows, mapError(err)
}

// each calls fn for every row until fn returns false.
func (s *session) each(fn func(row) (bool, error), query string, args ...any) (err error) {
	stmt, err := s.stmt(query)
	if err != nil {
		return err
	}
	if stmt.busy {
		return fmt.Errorf("query inside itself: %q", query)
	}
	rows, err := s.query(stmt, args)
	if err != nil {
		return err
	}
	s.looked, stmt.busy = true, true
	defer func() {
		stmt.busy = false
		clear(stmt.row)
		err = errors.Join(err, mapError(rows.Close()))
	}()
	if columns := rows.Columns(); stmt.row == nil { // some drivers want to be asked each time
		stmt.row = make([]driver.Value, len(columns))
	}
	for {
		switch err := rows.Next(stmt.row); {
		case err == io.EOF:
			return nil
		case err != nil:
			return mapError(err)
		}
		if more, err := fn(stmt.row); err != nil || !more {
			return err
		}
	}
}

// one scans the first row of a query; store.ErrNotFound if there is none.
func (s *session) one(dest []any, query string, args ...any) error {
	missing := true
	err := s.each(func(r row) (bool, error) {
		missing = false
		// On to the end: a statement that writes must be run to it.
		return true, r.Scan(dest...)
	}, query, args...)
	if err == nil && missing {
		return store.ErrNotFound
	}
	return err
}

// list collects the rows of a query; never nil.
func list[T any](s *session, scan func(row) (T, error), query string, args ...any) ([]T, error) {
	all := []T{}
	err := s.each(func(r row) (bool, error) {
		v, err := scan(r)
		if err != nil {
			return false, err
		}
		all = append(all, v)
		return true, nil
	}, query, args...)
	if err != nil {
		return nil, err
	}
	return all, nil
}

// view runs fn on a snapshot.
func (s *session) view(st *Store, fn func(store.ReadTx) error) (err error) {
	if _, err := s.exec(beginRead); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	s.looked = false
	tx := &readTx{s: s, store: st, moved: st.moved.Load()}
	defer func() {
		tx.s = nil
		if _, end := s.exec(rollback); end != nil && err == nil {
			err = fmt.Errorf("end of snapshot: %w", end)
		}
	}()
	return fn(tx)
}
