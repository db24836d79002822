package sqlstore

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"hubbub/internal/store"
	"hubbub/mimi"
)

const selectSubmission = `SELECT id, client, txn, room, hub, kind, body, message_hash, state, enqueued_at,
	accepted, seq, reason, detail, epoch, attempts, last_error, rev FROM submissions `

func scanSubmission(row row) (s store.Submission, err error) {
	err = row.Scan(&s.ID, &s.Client, &s.Txn, &s.Room, &s.Hub, &s.Kind, &s.Body, (*hash)(&s.MessageHash),
		&s.State, &s.EnqueuedAt, &s.Accepted, &s.Seq, &s.Reason, &s.Detail, (*word)(&s.Epoch),
		&s.Attempts, &s.LastError, &s.Rev)
	return s, err
}

func (t *readTx) QueuedSubmissions(afterID uint64, limit int) ([]store.Submission, error) {
	return list(t.s, scanSubmission, selectSubmission+
		"WHERE state = 1 AND accepted = 0 AND id > $1 ORDER BY id LIMIT $2", ordinal(afterID), max(limit, 0))
}

func (t *readTx) QueuedOf(client mimi.ClientURI, hub mimi.Domain, afterID uint64, limit int) ([]store.Submission, error) {
	return list(t.s, scanSubmission, selectSubmission+
		"WHERE state = 1 AND accepted = 0 AND id > $1 AND client = $2 AND hub = $3 ORDER BY id LIMIT $4",
		ordinal(afterID), string(client), string(hub), max(limit, 0))
}

func (t *readTx) Submission(client mimi.ClientURI, txn string) (*store.Submission, error) {
	all, err := list(t.s, scanSubmission, selectSubmission+"WHERE txn_key = $1 AND client = $2 AND txn = $3",
		txnKey(client, txn), string(client), txn)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("submission: %w", store.ErrNotFound)
	}
	return &all[0], nil
}

// txnKey is what submissions are found by: a number for client and txn, which two
// of them do not share unless a client seeks them among its own.
func txnKey(client mimi.ClientURI, txn string) int64 {
	h := sha256.New()
	io.WriteString(h, string(client))
	h.Write([]byte{0})
	io.WriteString(h, txn)
	var sum [sha256.Size]byte
	return int64(binary.BigEndian.Uint64(h.Sum(sum[:0])))
}

func (t *tx) Enqueue(s store.Submission) (store.Submission, error) {
	switch old, err := t.Submission(s.Client, s.Txn); {
	case err == nil && old.Room == s.Room && old.Kind == s.Kind && bytes.Equal(old.Body, s.Body):
		return *old, nil
	case err == nil:
		return store.Submission{}, fmt.Errorf("enqueue: %w: the transaction id was used for something else", store.ErrExists)
	case !errors.Is(err, store.ErrNotFound):
		return store.Submission{}, t.note(err)
	}
	if err := t.admit(&s); err != nil {
		return store.Submission{}, err
	}
	return s, t.insertSubmissions([]store.Submission{s})
}

// admit gives a new submission its numbers and the state it starts in: Posted
// if its message is in the log already, otherwise Queued unless the caller
// knows better.
func (t *tx) admit(s *store.Submission) error {
	id, err := t.w.ids.take()
	if err != nil {
		return err
	}
	s.ID, s.Rev = uint64(id), uint64(id)
	if s.State == 0 {
		s.State = store.Queued
	}
	e, err := t.EntryByMessage(s.Room, s.MessageHash)
	switch {
	case err == nil:
		s.State, s.Seq, s.Accepted = store.Posted, e.Seq, e.Timestamp
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	return nil
}

func (t *tx) PutSubmission(s store.Submission) error {
	rev, err := t.w.ids.take()
	if err != nil {
		return err
	}
	if s.State != store.Queued {
		t.w.pending.settle(s.MessageHash, int64(s.ID))
	}
	var client mimi.ClientURI
	err = t.writeOne([]any{&client}, `UPDATE submissions SET state = $1, accepted = $2, seq = $3, reason = $4, detail = $5,
		epoch = $6, attempts = $7, last_error = $8, rev = $9 WHERE id = $10 AND state = 1 RETURNING client`,
		int64(s.State), ordinal(s.Accepted), ordinal(s.Seq), s.Reason, s.Detail,
		int64(s.Epoch), s.Attempts, s.LastError, rev, ordinal(s.ID))
	if err == nil {
		t.store.news.note(client, int64(s.ID), rev)
	}
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	var id int64
	if err := t.s.one([]any{&id}, "SELECT id FROM submissions WHERE id = $1", ordinal(s.ID)); err != nil {
		return fmt.Errorf("submission %d: %w", s.ID, err)
	}
	return nil
}

func (t *tx) DeleteSubmission(client mimi.ClientURI, txn string) error {
	return t.DeleteSubmissions(client, []string{txn})
}
