package crash

import (
	"database/sql/driver"
	"errors"

	"github.com/ncruces/go-sqlite3"
	sqlitedriver "github.com/ncruces/go-sqlite3/driver"
)

// Driver is the ncruces driver on the VFS of that name. Its errors carry the
// result code in the way of the product's driver, so that the store reads them.
type Driver struct{ VFS string }

// Open implements driver.Driver.
func (d Driver) Open(name string) (driver.Conn, error) {
	c, err := (&sqlitedriver.SQLite{}).Open(name + "?vfs=" + d.VFS)
	if err != nil {
		return nil, coded(err)
	}
	return conn{c}, nil
}

// codedError is an error of SQLite with its extended result code.
type codedError struct {
	error
	code int
}

func (e codedError) Code() int     { return e.code }
func (e codedError) Unwrap() error { return e.error }

func coded(err error) error {
	var extended sqlite3.ExtendedErrorCode
	var plain sqlite3.ErrorCode
	switch {
	case errors.As(err, &extended):
		return codedError{err, int(extended)}
	case errors.As(err, &plain):
		return codedError{err, int(plain)}
	}
	return err
}

type conn struct{ driver.Conn }

func (c conn) Prepare(query string) (driver.Stmt, error) {
	s, err := c.Conn.Prepare(query)
	if err != nil {
		return nil, coded(err)
	}
	return stmt{s}, nil
}

func (c conn) Begin() (driver.Tx, error) {
	//lint:ignore SA1019 database/sql falls back to it for drivers that have no more
	t, err := c.Conn.Begin()
	if err != nil {
		return nil, coded(err)
	}
	return tx{t}, nil
}

type tx struct{ driver.Tx }

func (t tx) Commit() error { return coded(t.Tx.Commit()) }

type stmt struct{ driver.Stmt }

func (s stmt) Exec(args []driver.Value) (driver.Result, error) {
	//lint:ignore SA1019 as above
	r, err := s.Stmt.Exec(args)
	return r, coded(err)
}

func (s stmt) Query(args []driver.Value) (driver.Rows, error) {
	//lint:ignore SA1019 as above
	r, err := s.Stmt.Query(args)
	if err != nil {
		return nil, coded(err)
	}
	return rows{r}, nil
}

type rows struct{ driver.Rows }

func (r rows) Next(dest []driver.Value) error { return coded(r.Rows.Next(dest)) }
