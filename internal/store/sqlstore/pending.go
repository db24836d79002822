package sqlstore

import (
	"slices"

	"hubbub/internal/store"
	"hubbub/mimi"
)

// pending knows the queued submissions by the hash of their message, so that an
// entry that no local client wrote costs no look into the database. What is
// settled leaves only with the commit, so that it holds no less than the table
// whatever becomes of a transaction. The writer's goroutine owns it.
type pending struct {
	rows map[[32]byte][]queued
	// What the transaction has added to rows, and what leaves with its commit.
	added, settled []pendingKey
}

// queued is one submission; the room is part of what names its message.
type queued struct {
	id     int64
	client mimi.ClientURI
	room   mimi.RoomURI
}

type pendingKey struct {
	hash [32]byte
	id   int64
}

// load reads what is stored, and tells the news of it. Rows of before an upgrade
// get what they are found by.
func (p *pending) load(s *session, n *news) error {
	p.rows = make(map[[32]byte][]queued)
	type keyless struct{ id, key int64 }
	var due []keyless
	err := s.each(func(row row) (bool, error) {
		var q queued
		var h hash
		var state store.SubmissionState
		var rev int64
		var txn string
		var key any
		err := row.Scan(&q.id, &q.client, &q.room, &h, &state, &rev, &txn, &key)
		if state == store.Queued {
			p.rows[h] = append(p.rows[h], q)
		}
		if key == nil {
			due = append(due, keyless{q.id, txnKey(q.client, txn)})
		}
		n.note(q.client, q.id, rev)
		return true, err
	}, "SELECT id, client, room, message_hash, state, rev, txn, txn_key FROM submissions ORDER BY rev")
	if err != nil || len(due) == 0 {
		return err
	}
	if _, err := s.exec(beginWrite); err != nil {
		return err
	}
	for _, d := range due {
		if _, err := s.exec("UPDATE submissions SET txn_key = $1 WHERE id = $2", d.key, d.id); err != nil {
			return err
		}
	}
	_, err = s.exec(commit)
	return err
}

func (p *pending) add(s *store.Submission) {
	if s.State == store.Queued {
		p.rows[s.MessageHash] = append(p.rows[s.MessageHash], queued{int64(s.ID), s.Client, s.Room})
		p.added = append(p.added, pendingKey{s.MessageHash, int64(s.ID)})
	}
}

// settle has a submission leave once that is committed.
func (p *pending) settle(hash [32]byte, id int64) {
	p.settled = append(p.settled, pendingKey{hash, id})
}

// pendingMark is a place in a transaction to which undo returns.
type pendingMark struct{ added, settled int }

func (p *pending) mark() pendingMark { return pendingMark{len(p.added), len(p.settled)} }

func (p *pending) undo(to pendingMark) {
	p.drop(p.added[to.added:])
	p.added, p.settled = p.added[:to.added], p.settled[:to.settled]
}

func (p *pending) committed() {
	p.drop(p.settled)
	p.added, p.settled = p.added[:0], p.settled[:0]
}

func (p *pending) drop(keys []pendingKey) {
	for _, k := range keys {
		left := slices.DeleteFunc(p.rows[k.hash], func(q queued) bool { return q.id == k.id })
		if len(left) == 0 {
			delete(p.rows, k.hash)
		} else {
			p.rows[k.hash] = left
		}
	}
}
