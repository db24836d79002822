package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"hubbub/internal/store"
)

// errConstraint marks an engine's refusal of a duplicate or dangling key.
var errConstraint = errors.New("constraint violated")

// background is the context of all statements: giving up in the middle of one
// would cost a watcher goroutine per call and leave a transaction to clean up.
var background = context.Background()

// session is one connection with its prepared statements. One goroutine at a
// time uses it.
type session struct {
	conn  *sql.Conn
	stmts map[string]*sql.Stmt
}

func newSession(ctx context.Context, db *sql.DB, pragmas []string) (*session, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range pragmas {
		if _, err := conn.ExecContext(ctx, "PRAGMA "+p); err != nil {
			return nil, errors.Join(fmt.Errorf("pragma %s: %w", p, err), conn.Close())
		}
	}
	return &session{conn: conn, stmts: make(map[string]*sql.Stmt)}, nil
}

func (s *session) close() error {
	for _, stmt := range s.stmts {
		stmt.Close()
	}
	return s.conn.Close()
}

// stmt prepares a query, once. The text must be one of a fixed set.
func (s *session) stmt(query string) (*sql.Stmt, error) {
	if stmt := s.stmts[query]; stmt != nil {
		return stmt, nil
	}
	stmt, err := s.conn.PrepareContext(background, rebind(query))
	if err != nil {
		return nil, fmt.Errorf("prepare %q: %w", query, mapError(err))
	}
	s.stmts[query] = stmt
	return stmt, nil
}

// exec runs a statement and returns the number of rows it changed.
func (s *session) exec(query string, args ...any) (int64, error) {
	stmt, err := s.stmt(query)
	if err != nil {
		return 0, err
	}
	res, err := stmt.ExecContext(background, args...)
	if err != nil {
		return 0, mapError(err)
	}
	return res.RowsAffected()
}

// scanner is a *sql.Row or *sql.Rows.
type scanner interface{ Scan(dest ...any) error }

// each calls fn for every row until fn returns false.
func (s *session) each(fn func(scanner) (bool, error), query string, args ...any) (err error) {
	stmt, err := s.stmt(query)
	if err != nil {
		return err
	}
	rows, err := stmt.QueryContext(background, args...)
	if err != nil {
		return mapError(err)
	}
	defer func() { err = errors.Join(err, mapError(rows.Close())) }()
	for rows.Next() {
		if more, err := fn(rows); err != nil || !more {
			return err
		}
	}
	return mapError(rows.Err())
}

// one scans the only row of a query; store.ErrNotFound if there is none.
func (s *session) one(dest []any, query string, args ...any) error {
	stmt, err := s.stmt(query)
	if err != nil {
		return err
	}
	err = stmt.QueryRowContext(background, args...).Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return store.ErrNotFound
	}
	return mapError(err)
}

// list collects the rows of a query; never nil.
func list[T any](s *session, scan func(scanner) (T, error), query string, args ...any) ([]T, error) {
	all := []T{}
	err := s.each(func(row scanner) (bool, error) {
		v, err := scan(row)
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
	tx := &readTx{s: s, store: st}
	defer func() {
		tx.s = nil
		if _, end := s.exec(rollback); end != nil && err == nil {
			err = fmt.Errorf("end of snapshot: %w", end)
		}
	}()
	return fn(tx)
}
