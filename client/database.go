package client

import (
	"context"
	"database/sql"
	"fmt"
)

// database is a device's database over its one connection. It prepares each
// statement once, when it is first used, and keeps it: the texts must be constant,
// what varies goes into arguments. Statements run inside the transaction if there
// is one. The holder of Client.mu uses it; no statement runs while its own rows
// are open.
type database struct {
	pool     *sql.DB
	conn     *sql.Conn
	prepared map[string]*sql.Stmt
}

func newDatabase(pool *sql.DB) (*database, error) {
	conn, err := pool.Conn(context.Background())
	if err != nil {
		pool.Close()
		return nil, fmt.Errorf("opening device: %w", err)
	}
	return &database{pool, conn, map[string]*sql.Stmt{}}, nil
}

func (d *database) stmt(text string) (*sql.Stmt, error) {
	if s := d.prepared[text]; s != nil {
		return s, nil
	}
	s, err := d.conn.PrepareContext(context.Background(), text)
	if err == nil {
		d.prepared[text] = s
	}
	return s, err
}

// Exec runs a statement that gives no rows.
func (d *database) Exec(text string, args ...any) (sql.Result, error) {
	s, err := d.stmt(text)
	if err != nil {
		return nil, err
	}
	return s.Exec(args...)
}

// Query runs a statement that gives rows, which the caller closes.
func (d *database) Query(text string, args ...any) (*sql.Rows, error) {
	s, err := d.stmt(text)
	if err != nil {
		return nil, err
	}
	return s.Query(args...)
}

// QueryRow is Query for at most one row.
func (d *database) QueryRow(text string, args ...any) *sql.Row {
	s, err := d.stmt(text)
	if err != nil {
		return d.conn.QueryRowContext(context.Background(), text, args...) // which says what is wrong with it
	}
	return s.QueryRow(args...)
}

// begin starts a transaction; commit or rollback ends it.
func (d *database) begin() error {
	_, err := d.Exec("BEGIN IMMEDIATE")
	return err
}

func (d *database) commit() error {
	_, err := d.Exec("COMMIT")
	return err
}

// rollback ends a transaction, also one whose commit failed. There is nobody to
// act on an error of it: the next begin fails if it did not work.
func (d *database) rollback() { d.Exec("ROLLBACK") }

// Close releases the database. Further calls are harmless.
func (d *database) Close() error {
	for _, s := range d.prepared {
		s.Close()
	}
	clear(d.prepared)
	d.conn.Close()
	return d.pool.Close()
}
