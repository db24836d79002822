package sqlstore

import (
	"bytes"
	"context"
	"fmt"
	"slices"

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
		double, err := list(session, scanName, checkDouble)
		wrong = append(wrong, double...)
		if err != nil {
			return err
		}
		index, err := checkIndex(session)
		wrong = append(wrong, index...)
		return err
	})
	return wrong, err
}

// checkDouble finds messages that a log has twice.
const checkDouble = `
	SELECT 'room ' || room || ' has a message in ' || count(*) || ' entries' FROM entries GROUP BY room, message_hash HAVING count(*) > 1
	LIMIT 100`

// checkIndex finds what is wrong with the index of messages: it is octets to
// the engine, which says nothing about how they fit the log.
func checkIndex(s *session) (wrong []string, err error) {
	type indexed struct{ room, start, until, head int64 }
	rooms, err := list(s, func(row row) (r indexed, err error) {
		err = row.Scan(&r.room, &r.start, &r.until, &r.head)
		return r, err
	}, "SELECT id, start_seq, indexed, head_seq FROM rooms ORDER BY id")
	if err != nil {
		return nil, err
	}
	for _, r := range rooms {
		if r.until < r.start || r.until > r.head {
			wrong = append(wrong, fmt.Sprintf("room %d has its messages indexed up to %d of %d to %d", r.room, r.until, r.start, r.head))
			continue
		}
		runs, err := filteredRunsOf(s, r.room)
		if err != nil {
			return nil, err
		}
		at := r.start
		for _, run := range runs {
			if run.after != at {
				wrong = append(wrong, fmt.Sprintf("room %d: the index of messages goes on behind entry %d, not %d", r.room, run.after, at))
			}
			at = run.until
			fault, err := run.check(s, r.room)
			if err != nil {
				return nil, err
			}
			if fault != "" {
				wrong = append(wrong, fmt.Sprintf("room %d: the index of messages %s among entries %d to %d", r.room, fault, run.after+1, run.until))
			}
		}
		if at != r.until {
			wrong = append(wrong, fmt.Sprintf("room %d: the index of messages ends with entry %d, not %d", r.room, at, r.until))
		}
	}
	stray, err := list(s, scanName, `SELECT 'the index of messages has a part of no run ' || (id >> 16) FROM message_parts
		WHERE (id >> 16) NOT IN (SELECT id FROM message_runs) LIMIT 100`)
	return append(wrong, stray...), err
}

// check compares a run with the log.
func (r *run) check(s *session, room int64) (fault string, err error) {
	marks, err := marksOf(s, room, r.after, r.until)
	if err != nil {
		return "", err
	}
	if int64(len(marks)) != r.entries() {
		return "is of entries that are none", nil
	}
	have, err := list(s, func(row row) (part []byte, err error) {
		err = row.Scan(&part)
		return part, err
	}, selectParts, r.id*maxParts, (r.id+1)*maxParts)
	if err != nil {
		return "", err
	}
	want := run{id: r.id, after: r.after, until: r.until}
	switch parts := want.encode(marks); {
	case !slices.EqualFunc(parts, have, bytes.Equal):
		return "does not fit the log", nil
	case !bytes.Equal(want.filter, r.filter):
		return "has a filter that does not fit", nil
	}
	return "", nil
}
