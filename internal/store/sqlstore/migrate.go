package sqlstore

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"

	"hubbub/internal/store"
)

//go:embed schema
var schemas embed.FS

// upgrade brings the schema to the version this program was built with. Each
// step is a transaction with its version row, so a crash leaves whole steps.
func upgrade(ctx context.Context, db *sql.DB) error {
	files, err := fs.Sub(schemas, "schema/sqlite")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("schema: %w", err)
	}
	have, want, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("schema: %w", err)
	}
	if have > want {
		return fmt.Errorf("%w: schema version %d, this program knows up to %d", store.ErrSchema, have, want)
	}
	if have == want {
		return nil
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("upgrade schema from version %d to %d: %w", have, want, err)
	}
	return nil
}
