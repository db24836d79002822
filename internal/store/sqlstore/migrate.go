package sqlstore

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"embed"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

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
	if err := checkFingerprint(ctx, db, files, have); err != nil {
		return err
	}
	if have == want {
		return nil
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("upgrade schema from version %d to %d: %w", have, want, err)
	}
	return nil
}

// checkFingerprint refuses a database that steps other than ours have made:
// before a release a step may still be edited, and its number stays. What the
// steps say is therefore in the database, too, before the first of them runs.
func checkFingerprint(ctx context.Context, db *sql.DB, files fs.FS, have int64) error {
	marks, err := fingerprints(files)
	if err != nil {
		return fmt.Errorf("schema: %w", err)
	}
	var stored int32
	if err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&stored); err != nil {
		return fmt.Errorf("schema: %w", err)
	}
	// An upgrade that was cut off has left a later one already.
	if have > 0 && !slices.ContainsFunc(marks, func(m fingerprint) bool { return m.version >= have && m.sum == stored }) {
		return fmt.Errorf("%w: it has a schema %d that was never released and cannot be upgraded; start with an empty data directory", store.ErrSchema, have)
	}
	if newest := marks[len(marks)-1].sum; stored != newest {
		if _, err := db.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", newest)); err != nil {
			return fmt.Errorf("schema: %w", err)
		}
	}
	return nil
}

// fingerprint says what a step and those before it do; comments do not count.
type fingerprint struct {
	version int64
	sum     int32 // never 0, which a database without has
}

func fingerprints(files fs.FS) (marks []fingerprint, err error) {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return nil, err
	}
	all := sha256.New()
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			line, _, _ = strings.Cut(line, "--")
			io.WriteString(all, strings.Join(strings.Fields(line), " ")+"\n")
		}
		version, err := goose.NumericComponent(name)
		if err != nil {
			return nil, err
		}
		marks = append(marks, fingerprint{version, int32(binary.BigEndian.Uint32(all.Sum(nil)) | 1)})
	}
	return marks, nil
}
