package sqlstore

import (
	"fmt"
	"strconv"
	"strings"

	"hubbub/internal/store"
	"hubbub/mimi"
)

// Verbs for many rows at once. Calling into the engine costs more than what it
// does there, so rows go in by the statement and not one by one.

// rowCounts are the sizes in which rows are handed to the engine: the text of a
// statement must be one of a fixed set, because each is prepared once.
var rowCounts = [...]int{64, 16, 4, 1}

// texts are a statement for each of rowCounts.
type texts [len(rowCounts)]string

// manyRows makes the texts of an insert whose rows have the given columns: head
// VALUES (…), (…) tail.
func manyRows(head string, columns int, tail string) (t texts) {
	for i, rows := range rowCounts {
		var b strings.Builder
		b.WriteString(head + " VALUES ")
		for r := range rows {
			if r > 0 {
				b.WriteByte(',')
			}
			b.WriteString(marks(r*columns, columns))
		}
		t[i] = b.String() + " " + tail
	}
	return t
}

// marks is ($1,$2,…) for count parameters after the first skip.
func marks(skip, count int) string {
	var b strings.Builder
	for i := range count {
		b.WriteString(",$" + strconv.Itoa(skip+i+1))
	}
	return "(" + strings.TrimPrefix(b.String(), ",") + ")"
}

// eachChunk cuts n rows into chunks for which there is a text.
func eachChunk(n int, fn func(size, from, to int) error) error {
	for from := 0; from < n; {
		size := 0
		for n-from < rowCounts[size] {
			size++
		}
		to := from + rowCounts[size]
		if err := fn(size, from, to); err != nil {
			return err
		}
		from = to
	}
	return nil
}

// atomically runs a verb of several statements: if it fails nothing of it stays,
// although the call may go on.
func (t *tx) atomically(verb func() error) error {
	if _, err := t.write(savepointVerb); err != nil {
		return err
	}
	err := verb()
	if err != nil {
		if _, back := t.write(rollbackToVerb); back != nil {
			return back
		}
	}
	if _, end := t.write(releaseVerb); end != nil {
		return end
	}
	return err
}

// A statement that can fail half way keeps a copy of every page it changes, which
// costs more than the change. This one cannot: what it leaves out is counted.
var insertEntries = manyRows("INSERT OR IGNORE INTO entries (room, seq, timestamp, kind, hash, message_hash, body)", 7, "")

func (t *tx) AppendAll(list []store.Append) error {
	switch len(list) {
	case 0:
		return nil
	case 1:
		return t.Append(list[0])
	}
	for i := range list[1:] {
		if list[i+1].Room != list[0].Room {
			return fmt.Errorf("append to %s: entries of several rooms in one call", list[0].Room)
		}
	}
	return t.atomically(func() error {
		for len(list) > 0 {
			n := plainRun(list)
			if n < 2 {
				n = 1
				if err := t.Append(list[0]); err != nil {
					return err
				}
			} else if err := t.appendRun(list[:n]); err != nil {
				return err
			}
			list = list[n:]
		}
		return nil
	})
}

// plainRun counts the entries at the front that change nothing but the log.
func plainRun(list []store.Append) int {
	for i := range list {
		a := &list[i]
		if a.State != nil || a.Participants != nil || len(a.Changes)+len(a.Joined)+len(a.Left) > 0 {
			return i
		}
	}
	return len(list)
}

// appendRun stores a run of entries behind the head: one statement moves the
// head if it is where it should be, few insert the entries, and one settles the
// submissions they came from.
func (t *tx) appendRun(list []store.Append) error {
	first, last := &list[0], &list[len(list)-1]
	id, err := t.roomID(first.Room)
	if err != nil {
		return err
	}
	head := first.Prev
	for i := range list {
		if list[i].Prev != head {
			return fmt.Errorf("append to %s: entries do not follow each other", first.Room)
		}
		if err := checkAppend(list[i]); err != nil {
			return fmt.Errorf("append to %s: %w", first.Room, err)
		}
		head.Seq, head.Hash = list[i].Entry.Seq, list[i].Entry.Hash
	}
	n, err := t.write(moveHead+" AND head_seq = $5 AND head_hash = $6", ordinal(head.Seq), head.Hash[:],
		ordinal(last.Entry.Timestamp), id, ordinal(first.Prev.Seq), first.Prev.Hash[:])
	if err == nil && n == 0 {
		err = t.whyNotAppended(id, *first)
	}
	if err == nil {
		err = t.insertEntries(id, list)
	}
	if err != nil {
		return fmt.Errorf("append to %s at %s: %w", first.Room, first.Prev, err)
	}
	return t.settleRun(id, first.Room, first.Prev.Seq, head.Seq)
}

func (t *tx) insertEntries(id int64, list []store.Append) error {
	return eachChunk(len(list), func(size, from, to int) error {
		args := make([]any, 0, 7*(to-from))
		for i := from; i < to; i++ {
			e := &list[i].Entry
			args = append(args, id, ordinal(e.Seq), ordinal(e.Timestamp), int64(e.Kind), e.Hash[:], e.MessageHash[:], bytesOf(e.Body))
		}
		n, err := t.write(insertEntries[size], args...)
		if err == nil && n != int64(to-from) {
			err = store.ErrExists
		}
		return err
	})
}

// settleRun is settle for the entries in (after, upTo], all in one statement.
// Each place in the log has a Rev of its own among the numbers taken.
func (t *tx) settleRun(id int64, uri mimi.RoomURI, after, upTo uint64) error {
	rev, err := t.ids.takeAll(int64(upTo - after))
	if err != nil {
		return err
	}
	_, err = t.write(`UPDATE submissions SET state = 2, seq = e.seq, accepted = e.timestamp, last_error = '',
		rev = $1 + (e.seq - $2) - 1 FROM entries e
		WHERE e.room = $3 AND e.seq > $2 AND e.seq <= $4 AND submissions.message_hash = e.message_hash
		AND submissions.state = 1 AND submissions.room = $5`,
		rev, ordinal(after), id, ordinal(upTo), string(uri))
	return err
}

const submissionColumns = 18

var insertSubmissions = manyRows(`INSERT INTO submissions (id, client, txn, room, hub, kind, body, message_hash, state,
	enqueued_at, accepted, seq, reason, detail, epoch, attempts, last_error, rev)`, submissionColumns,
	"ON CONFLICT (client, txn) DO NOTHING")

func submissionArgs(s *store.Submission) []any {
	return []any{int64(s.ID), string(s.Client), s.Txn, string(s.Room), string(s.Hub), int64(s.Kind), bytesOf(s.Body),
		s.MessageHash[:], int64(s.State), ordinal(s.EnqueuedAt), ordinal(s.Accepted), ordinal(s.Seq),
		s.Reason, s.Detail, int64(s.Epoch), s.Attempts, s.LastError, int64(s.Rev)}
}

func (t *tx) EnqueueAll(list []store.Submission) ([]store.Submission, error) {
	if len(list) > 1 {
		stored, fresh, err := t.enqueueFresh(list)
		if fresh || err != nil {
			return stored, err
		}
	}
	stored := make([]store.Submission, len(list))
	err := t.atomically(func() (err error) {
		for i := range list {
			if stored[i], err = t.Enqueue(list[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return stored, nil
}

// enqueueFresh stores submissions if none of them is known yet.
func (t *tx) enqueueFresh(list []store.Submission) (stored []store.Submission, fresh bool, err error) {
	id, err := t.ids.takeAll(int64(len(list)))
	if err != nil {
		return nil, false, err
	}
	stored = make([]store.Submission, len(list))
	for i, s := range list {
		s.ID, s.Rev = uint64(id)+uint64(i), uint64(id)+uint64(i)
		if s.State == 0 {
			s.State = store.Queued
		}
		stored[i] = s
	}
	err = t.atomically(func() error {
		if err := t.insertSubmissions(stored); err != nil {
			return err
		}
		known, err := t.inLog(stored)
		if err == nil && known {
			err = store.ErrExists
		}
		return err
	})
	if err == store.ErrExists { // one by one, then
		return nil, false, nil
	}
	return stored, err == nil, err
}

func (t *tx) insertSubmissions(list []store.Submission) error {
	return eachChunk(len(list), func(size, from, to int) error {
		args := make([]any, 0, submissionColumns*(to-from))
		for i := from; i < to; i++ {
			args = append(args, submissionArgs(&list[i])...)
		}
		n, err := t.write(insertSubmissions[size], args...)
		if err == nil && n != int64(to-from) {
			err = store.ErrExists
		}
		return err
	})
}

// inLog says whether any of the submissions just stored is in a log already.
func (t *tx) inLog(list []store.Submission) (bool, error) {
	var n int64
	err := t.s.one([]any{&n}, `SELECT EXISTS (SELECT 1 FROM submissions s JOIN rooms r ON r.uri = s.room
		JOIN entries e ON e.room = r.id AND e.message_hash = s.message_hash WHERE s.id >= $1 AND s.id <= $2)`,
		int64(list[0].ID), int64(list[len(list)-1].ID))
	return n != 0, t.note(err)
}

var deleteSubmissions = func() (t texts) {
	for i, rows := range rowCounts {
		t[i] = "DELETE FROM submissions WHERE client = $1 AND state <> 1 AND txn IN " + marks(1, rows)
	}
	return t
}()

func (t *tx) DeleteSubmissions(client mimi.ClientURI, txns []string) error {
	return eachChunk(len(txns), func(size, from, to int) error {
		args := []any{string(client)}
		for _, txn := range txns[from:to] {
			args = append(args, txn)
		}
		_, err := t.write(deleteSubmissions[size], args...)
		return err
	})
}
