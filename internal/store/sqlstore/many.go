package sqlstore

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"hubbub/internal/room"
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
	mark := t.w.pending.mark()
	err := verb()
	if err != nil {
		t.forget()
		t.w.pending.undo(mark)
		if _, back := t.write(rollbackToVerb); back != nil {
			return back
		}
	}
	if _, end := t.write(releaseVerb); end != nil {
		return end
	}
	return err
}

func (t *tx) AppendAll(list []store.Append) error {
	for i := range list {
		if list[i].Room != list[0].Room {
			return fmt.Errorf("append to %s: entries of several rooms in one call", list[0].Room)
		}
	}
	switch {
	case len(list) == 0:
		return nil
	case len(list) == 1 || plainRun(list) == len(list):
		return t.appendRun(list)
	}
	return t.atomically(func() error {
		for len(list) > 0 {
			n := max(plainRun(list), 1)
			if err := t.appendRun(list[:n]); err != nil {
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

// appendRun stores entries behind the head: plain ones, or one of another kind.
// It refuses before it writes.
func (t *tx) appendRun(list []store.Append) error {
	first, last := &list[0], &list[len(list)-1]
	id, err := t.roomID(first.Room)
	if err != nil {
		return err
	}
	if err := errors.Join(checkRun(list), checkID(id, last.Entry.Seq)); err != nil {
		return fmt.Errorf("append to %s: %w", first.Room, err)
	}
	err = t.claim(id, list)
	if err == nil {
		if err = t.moveHead(id, first.Prev, last); err != nil {
			t.store.tails.takeBack(id, list)
		}
	}
	if err == nil {
		t.touch(id)
		err = t.insertEntries(id, list)
	}
	if err != nil {
		return fmt.Errorf("append to %s at %s: %w", first.Room, first.Prev, err)
	}
	if err := t.settle(list); err != nil {
		return err
	}
	if last.State != nil {
		if err := t.putState(id, last.State); err != nil {
			return err
		}
	}
	return t.project(id, last.Changes, last.Participants, last.Joined, last.Left, last.Entry.Seq)
}

func checkRun(list []store.Append) error {
	for i := range list {
		if i > 0 && list[i].Prev != (room.Pos{Seq: list[i-1].Entry.Seq, Hash: list[i-1].Entry.Hash}) {
			return errors.New("entries do not follow each other")
		}
		if err := checkAppend(&list[i]); err != nil {
			return err
		}
	}
	return nil
}

// moveHead moves the head of a room from prev behind an entry.
func (t *tx) moveHead(id int64, prev room.Pos, a *store.Append) error {
	e := &a.Entry
	query, args := moveHead, []any{ordinal(e.Seq), e.Hash[:], ordinal(e.Timestamp), id, ordinal(prev.Seq), prev.Hash[:]}
	if a.State != nil {
		query, args = moveHeadEpoch, append(args, int64(a.Epoch))
	}
	n, err := t.write(query, args...)
	if err == nil && n == 0 {
		err = store.ErrConflict
	}
	return err
}

// A statement that can fail half way keeps a copy of every page it changes, which
// costs more than the change. One that ignores cannot: what it leaves out is
// counted.
const entryColumns = 6

var insertEntries = manyRows("INSERT OR IGNORE INTO entries (id, timestamp, kind, hash, message_hash, body)", entryColumns, "")

func (t *tx) insertEntries(id int64, list []store.Append) error {
	return eachChunk(len(list), func(size, from, to int) error {
		args := make([]any, 0, entryColumns*(to-from))
		for i := from; i < to; i++ {
			e := &list[i].Entry
			args = append(args, entryID(id, e.Seq), ordinal(e.Timestamp), int64(e.Kind), e.Hash[:], e.MessageHash[:], bytesOf(e.Body))
		}
		n, err := t.write(insertEntries[size], args...)
		if err == nil && n != int64(to-from) {
			err = t.note(errors.New("the log has entries behind its head"))
		}
		return err
	})
}

const settleColumns = 4

var settleSubmissions = manyRows(`UPDATE OR IGNORE submissions SET state = 2, last_error = '', seq = v.column2,
	accepted = v.column3, rev = v.column4 FROM (`, settleColumns,
	") v WHERE submissions.id = v.column1 AND submissions.state = 1")

// settle marks the submissions that entries came from as posted.
func (t *tx) settle(list []store.Append) error {
	var args []any
	for i := range list {
		e := &list[i].Entry
		for _, q := range t.w.pending.rows[e.MessageHash] {
			if q.room != list[i].Room {
				continue
			}
			rev, err := t.w.ids.take()
			if err != nil {
				return err
			}
			args = append(args, q.id, ordinal(e.Seq), ordinal(e.Timestamp), rev)
			t.store.news.note(q.client, q.id, rev)
			t.w.pending.settle(e.MessageHash, q.id)
		}
	}
	return eachChunk(len(args)/settleColumns, func(size, from, to int) error {
		_, err := t.write(settleSubmissions[size], args[from*settleColumns:to*settleColumns]...)
		return err
	})
}

const submissionColumns = 19

var insertSubmissions = manyRows(`INSERT OR IGNORE INTO submissions (id, txn_key, client, txn, room, hub, kind, body, message_hash, state,
	enqueued_at, accepted, seq, reason, detail, epoch, attempts, last_error, rev)`, submissionColumns, "")

func submissionArgs(args []any, s *store.Submission) []any {
	return append(args, int64(s.ID), txnKey(s.Client, s.Txn), string(s.Client), s.Txn, string(s.Room), string(s.Hub), int64(s.Kind),
		bytesOf(s.Body), s.MessageHash[:], int64(s.State), ordinal(s.EnqueuedAt), ordinal(s.Accepted), ordinal(s.Seq),
		s.Reason, s.Detail, int64(s.Epoch), s.Attempts, s.LastError, int64(s.Rev))
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

// enqueueFresh stores submissions if none of them is known yet, nor their
// messages.
func (t *tx) enqueueFresh(list []store.Submission) (stored []store.Submission, fresh bool, err error) {
	known, err := t.inLog(list)
	if err == nil && !known {
		known, err = t.taken(list)
	}
	if err != nil || known {
		return nil, false, t.note(err)
	}
	id, err := t.w.ids.takeAll(int64(len(list)))
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
	return stored, true, t.insertSubmissions(stored)
}

var selectTaken = func() (t texts) {
	for i, rows := range rowCounts {
		t[i] = "SELECT 1 FROM submissions WHERE txn_key IN " + marks(0, rows) + " LIMIT 1"
	}
	return t
}()

// taken says whether one of the submissions may be known already, or be in the list
// twice.
func (t *tx) taken(list []store.Submission) (known bool, err error) {
	seen := make(map[int64]bool, len(list))
	keys := make([]any, 0, len(list))
	for i := range list {
		key := txnKey(list[i].Client, list[i].Txn)
		seen[key], keys = true, append(keys, key)
	}
	if len(seen) < len(list) {
		return true, nil
	}
	err = eachChunk(len(keys), func(size, from, to int) error {
		return t.s.each(func(row) (bool, error) {
			known = true
			return false, nil
		}, selectTaken[size], keys[from:to]...)
	})
	return known, err
}

// insertSubmissions stores new ones.
func (t *tx) insertSubmissions(list []store.Submission) error {
	err := eachChunk(len(list), func(size, from, to int) error {
		args := make([]any, 0, submissionColumns*(to-from))
		for i := from; i < to; i++ {
			args = submissionArgs(args, &list[i])
		}
		n, err := t.write(insertSubmissions[size], args...)
		if err == nil && n != int64(to-from) {
			err = t.note(errors.New("a number of a submission was handed out twice"))
		}
		return err
	})
	if err != nil {
		return err
	}
	for i := range list {
		t.w.pending.add(&list[i])
		t.store.news.note(list[i].Client, int64(list[i].ID), int64(list[i].Rev))
	}
	return nil
}

// inLog says whether a log holds the message of one of the submissions already.
func (t *tx) inLog(list []store.Submission) (known bool, err error) {
	for from := 0; from < len(list) && !known && err == nil; {
		to := from + 1
		for to < len(list) && list[to].Room == list[from].Room {
			to++
		}
		known, err = t.inRoom(list[from].Room, list[from:to])
		from = to
	}
	return known, err
}

func (t *tx) inRoom(uri mimi.RoomURI, list []store.Submission) (bool, error) {
	id, known, err := t.knownRoom(uri)
	if err != nil || !known {
		return false, err
	}
	tail, err := t.tail(id)
	if err != nil {
		return false, err
	}
	for i := range list {
		if tail.seqs[list[i].MessageHash] != 0 {
			return true, nil
		}
	}
	return t.inIndex(id, tail.runs, len(list), func(i int) *[32]byte { return &list[i].MessageHash })
}

var deleteSubmissions = func() (t texts) {
	for i, rows := range rowCounts {
		t[i] = "DELETE FROM submissions WHERE client = $1 AND state <> 1 AND txn_key IN " + marks(1, rows)
	}
	return t
}()

func (t *tx) DeleteSubmissions(client mimi.ClientURI, txns []string) error {
	return eachChunk(len(txns), func(size, from, to int) error {
		args := []any{string(client)}
		for _, txn := range txns[from:to] {
			args = append(args, txnKey(client, txn))
		}
		_, err := t.write(deleteSubmissions[size], args...)
		return err
	})
}
