package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"hubbub/internal/store"
)

// Backup writes a copy of the database, as it stands at one moment, into dir, which
// must not hold one. Reading and writing go on meanwhile, but what is written makes
// the write-ahead log longer until the copy is done. A nil error means that the copy
// is on stable storage. Open takes it like any database.
func (s *Store) Backup(ctx context.Context, dir string) (err error) {
	s.mu.RLock() // the database stays open
	defer s.mu.RUnlock()
	if s.closed {
		return store.ErrClosed
	}
	path := filepath.Join(dir, databaseFile)
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("backup: %s: %w", path, os.ErrExist)
	}
	if err := createPrivate(path); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	db, err := sql.Open(driverName, dataSource(s.path)+"?mode=ro")
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	_, err = db.ExecContext(ctx, "VACUUM INTO ?", path)
	err = mapError(errors.Join(err, db.Close()))
	if err == nil {
		err = syncFile(path)
	}
	if err != nil {
		return fmt.Errorf("backup: %w", errors.Join(err, os.Remove(path)))
	}
	return nil
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
