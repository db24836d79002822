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
		if err != nil {
			return err
		}
		index, err := list(session, scanName, checkIndex)
		wrong = append(wrong, index...)
		return err
	})
	return wrong, err
}

// checkIndex finds what is wrong with the index of messages: it is a table to
// the engine, which says nothing about how it fits the log.
const checkIndex = `
	SELECT 'room ' || id || ' has its messages indexed up to ' || indexed || ' of ' || start_seq || ' to ' || head_seq
		FROM rooms WHERE indexed < start_seq OR indexed > head_seq
	UNION ALL
	SELECT 'entry ' || e.seq || ' of room ' || e.room || ' is missing from the index of messages'
		FROM entries e JOIN rooms r ON r.id = e.room AND e.seq <= r.indexed WHERE NOT EXISTS (SELECT 1 FROM messages m
			WHERE m.room = e.room AND m.prefix = substr(e.message_hash, 1, 8) AND m.seq = e.seq)
	UNION ALL
	SELECT 'the index of messages has an entry ' || m.seq || ' of room ' || m.room || ' that is none'
		FROM messages m WHERE NOT EXISTS (SELECT 1 FROM entries e WHERE e.id = (m.room << 40 | m.seq)
			AND m.prefix = substr(e.message_hash, 1, 8))
	UNION ALL
	SELECT 'room ' || room || ' has a message in ' || count(*) || ' entries' FROM entries GROUP BY room, message_hash HAVING count(*) > 1
	LIMIT 100`
