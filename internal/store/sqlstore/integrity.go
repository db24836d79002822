package sqlstore

import (
	"context"

	"hubbub/internal/store"
)

// Integrity has the engine look at every page, row and index, and gives what it
// finds wrong, at most a hundred lines. An error is what kept it from looking.
func (s *Store) Integrity(ctx context.Context) (wrong []string, err error) {
	err = s.View(ctx, func(tx store.ReadTx) error {
		session := tx.(*readTx).s
		pages, err := list(session, scanName, "PRAGMA integrity_check(100)")
		if err != nil {
			return err
		}
		if len(pages) != 1 || pages[0] != "ok" {
			wrong = pages
		}
		dangling, err := list(session, scanName,
			`SELECT 'a row of ' || "table" || ' belongs to no row of ' || parent FROM pragma_foreign_key_check LIMIT 100`)
		wrong = append(wrong, dangling...)
		return err
	})
	return wrong, err
}
