package sqlstore

import (
	"fmt"
	"slices"
	"strings"
)

// notDumped are tables that do not belong to the state of a provider: the
// audit log, and what the engine keeps for itself.
// How far the index of messages has got is up to the engine, too.
var notDumped = map[string]bool{"audit": true, "counters": true, "goose_db_version": true, "message_runs": true, "message_parts": true,
	"rooms.indexed": true}

func (t *readTx) Dump() (string, error) {
	tables, err := t.tables()
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for _, table := range tables {
		if notDumped[table] {
			continue
		}
		if err := t.dumpTable(&out, table); err != nil {
			return "", fmt.Errorf("dump %s: %w", table, err)
		}
	}
	return out.String(), nil
}

// dumpTable writes a line per row, ordered by all columns from the first, so
// that the key leads.
func (t *readTx) dumpTable(out *strings.Builder, table string) error {
	columns, err := t.columns(table)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s\n", table)
	columns = slices.DeleteFunc(columns, func(column string) bool { return notDumped[table+"."+column] })
	names := strings.Join(columns, ", ")
	values := make([]any, len(columns))
	into := make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	return t.s.each(func(row row) (bool, error) {
		if err := row.Scan(into...); err != nil {
			return false, err
		}
		for i, v := range values {
			if b, ok := v.([]byte); ok {
				v = fmt.Sprintf("x'%x'", b)
			}
			fmt.Fprintf(out, "\t%s=%v", columns[i], v)
		}
		out.WriteByte('\n')
		return true, nil
	}, "SELECT "+names+" FROM "+table+" ORDER BY "+names)
}
