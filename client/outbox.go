package client

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"connectrpc.com/connect"

	"hubbub/client/clientpb"
	"hubbub/mimi"
)

const (
	sendRows  = 64      // submissions in one call
	sendBytes = 4 << 20 // and their bodies
)

// outcome is what became of an operation's submission.
type outcome struct {
	lost  bool   // its epoch is over: build it again
	epoch uint64 // lost: the room's epoch
	err   error  // refused for good
}

// outboxRow is one write the provider has not settled.
type outboxRow struct {
	n       int64
	txn     string
	room    mimi.RoomURI
	kind    clientpb.SubmissionKind
	body    []byte
	message []byte // id of the message it carries, nil for handshakes
	epoch   uint64
	sent    bool
}

// enqueue puts a write of the room's current epoch into the outbox.
func (b *batch) enqueue(r *room, kind clientpb.SubmissionKind, txn string, body, message []byte) error {
	var epoch uint64
	if r.group != nil {
		epoch = r.group.Epoch()
	}
	_, err := b.tx.Exec("INSERT INTO outbox (txn, room, kind, body, message, epoch) VALUES (?, ?, ?, ?, ?, ?)",
		txn, string(r.uri), int(kind), body, message, epoch)
	return err
}

// runOutbox hands the outbox to the provider, in order, one call at a time.
func (c *Client) runOutbox(ctx context.Context) {
	var failures int
	for {
		again, err := c.flush(ctx)
		if err == nil && again {
			failures = 0
			continue
		}
		var retry <-chan time.Time
		if err != nil {
			failures++
			retry = time.After(jitter(failures, 100*time.Millisecond, 10*time.Second))
		} else {
			failures = 0
		}
		bell := c.kickOutbox
		if err != nil {
			bell = nil // new writes do not shorten the pause
		}
		select {
		case <-ctx.Done():
			return
		case <-bell:
		case <-retry:
		}
	}
}

// jitter gives a pause of full jitter after a number of failures.
func jitter(failures int, least, most time.Duration) time.Duration {
	d := most
	if failures < 16 {
		d = min(least<<failures, most)
	}
	return least/2 + rand.N(d)
}

// errLater: the provider could not take something now.
var errLater = errors.New("client: the provider could not take all writes")

// flush sends what is unsent once; again says that there may be more.
func (c *Client) flush(ctx context.Context) (again bool, err error) {
	c.mu.Lock()
	rows, err := c.unsent()
	c.mu.Unlock()
	if err != nil || len(rows) == 0 {
		return false, err
	}
	req := &clientpb.SubmitRequest{}
	for _, row := range rows {
		req.Submissions = append(req.Submissions, &clientpb.NewSubmission{Txn: row.txn, Room: string(row.room), Kind: row.kind, Body: row.body})
	}
	cctx, cancel := context.WithTimeout(ctx, time.Minute)
	res, err := c.t.api.Submit(cctx, connect.NewRequest(req))
	cancel()
	if err != nil {
		return false, err
	}
	if len(res.Msg.Results) != len(rows) {
		return false, fmt.Errorf("client: %d answers to %d writes", len(res.Msg.Results), len(rows))
	}
	later := false
	err = c.step(func(b *batch) error {
		for i, result := range res.Msg.Results {
			if e := result.GetError(); e != nil {
				passing, err := b.refused(rows[i], fromDetail(e), e.GetEpoch())
				if err != nil {
					return err
				}
				later = later || passing
			} else if err := b.submission(result.GetSubmission()); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && later {
		err = errLater
	}
	return true, err
}

// unsent reads the oldest rows the provider does not have. mu is held.
func (c *Client) unsent() ([]outboxRow, error) {
	if c.fatal != nil {
		return nil, c.fatal
	}
	rows, err := c.db.Query("SELECT n, txn, room, kind, body, epoch, message FROM outbox WHERE sent = 0 ORDER BY n LIMIT ?", sendRows)
	if err != nil {
		return nil, fmt.Errorf("reading outbox: %w", err)
	}
	defer rows.Close()
	var out []outboxRow
	size := 0
	for rows.Next() {
		var r outboxRow
		if err := rows.Scan(&r.n, &r.txn, &r.room, &r.kind, &r.body, &r.epoch, &r.message); err != nil {
			return nil, fmt.Errorf("reading outbox: %w", err)
		}
		if size += len(r.body); size > sendBytes && len(out) > 0 {
			break
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

// passingReasons are refusals after which the same write is sent again.
var passingReasons = map[string]bool{
	"internal": true, "unavailable": true, "peer_unreachable": true, "quota": true, "rate_limited": true, "unspecified": true,
}

// refused takes note of a write the provider did not take at all.
func (b *batch) refused(row outboxRow, cause *Error, epoch uint64) (passing bool, err error) {
	if passingReasons[cause.Reason] {
		return true, nil
	}
	current, err := b.outboxRow(row.txn)
	if current == nil || err != nil {
		return false, err // given up meanwhile
	}
	if cause.Reason == "stale_epoch" {
		return false, b.tooOld(current, epoch)
	}
	return false, b.rejected(current, cause.Reason, cause)
}

// submission takes in what the provider says of a write, in answer to it or on
// the sync stream.
func (b *batch) submission(s *clientpb.Submission) error {
	row, err := b.outboxRow(s.GetTxn())
	if err != nil {
		return err
	}
	if row == nil {
		if s.GetState() != clientpb.SubmissionState_SUBMISSION_STATE_QUEUED {
			b.acks = append(b.acks, s.GetTxn())
		}
		return nil
	}
	switch s.GetState() {
	case clientpb.SubmissionState_SUBMISSION_STATE_QUEUED:
		return b.queued(row, s)
	case clientpb.SubmissionState_SUBMISSION_STATE_POSTED:
		b.acks = append(b.acks, s.GetTxn())
		return b.accepted(row, s)
	case clientpb.SubmissionState_SUBMISSION_STATE_REJECTED:
		b.acks = append(b.acks, s.GetTxn())
		if s.GetReason() == "epochTooOld" || s.GetReason() == "wrongEpoch" {
			return b.tooOld(row, s.GetEpoch())
		}
		return b.rejected(row, s.GetReason(), hubError(row.room, s))
	case clientpb.SubmissionState_SUBMISSION_STATE_EXPIRED:
		b.acks = append(b.acks, s.GetTxn())
		return b.rejected(row, "expired", hubError(row.room, s))
	}
	return nil
}

// hubError is a refusal by the room's hub.
func hubError(room mimi.RoomURI, s *clientpb.Submission) error {
	e := &Error{Reason: s.GetReason(), Provider: room.Domain(), Message: s.GetDetail()}
	if e.Message == "" {
		e.Message = "the hub refused the change"
	}
	if s.GetState() == clientpb.SubmissionState_SUBMISSION_STATE_EXPIRED {
		e.Reason, e.Message = "expired", "the hub did not answer in time"
	}
	return e
}

func (b *batch) queued(row *outboxRow, s *clientpb.Submission) error {
	if !row.sent {
		if _, err := b.tx.Exec("UPDATE outbox SET sent = 1 WHERE n = ?", row.n); err != nil {
			return err
		}
	}
	if row.message == nil {
		return nil
	}
	var id MessageID
	copy(id[:], row.message)
	before, now := b.c.peers[id], peerStatus(s.GetWaitingFor())
	b.c.peers[id] = now
	moved := "state = 'sending'"
	if before != nil && now != nil && before.Reachable != now.Reachable {
		moved = "state IN ('sending', 'queued')" // what it waits for is news as well
	}
	return b.setState(row.room, id, "state = 'queued'", moved)
}

// accepted takes note that a write is in the log. The entry itself may still be
// on its way to us: a commit is merged only when it comes.
func (b *batch) accepted(row *outboxRow, s *clientpb.Submission) error {
	if s.GetSeq() == 0 {
		return b.queued(row, s) // place not known yet
	}
	if err := b.deleteRow(row); err != nil {
		return err
	}
	if row.message != nil {
		var id MessageID
		copy(id[:], row.message)
		if err := b.posted(row.room, id, s.GetSeq(), s.GetAcceptedTimestamp()); err != nil {
			return err
		}
		if r := b.room(row.room); r != nil {
			return b.encryptWaiting(r)
		}
		return nil
	}
	if r := b.room(row.room); r == nil || r.pending == nil || r.pending.txn != row.txn {
		b.settled[row.txn] = outcome{} // proposals have nothing to merge
	}
	return nil
}

// tooOld follows the refusal of a write for its epoch. A message waits for its
// turn to be encrypted again, with the same content; a commit is given up.
func (b *batch) tooOld(row *outboxRow, epoch uint64) error {
	r := b.newRoom(row.room)
	r.wantEpoch = max(r.wantEpoch, epoch)
	if err := b.deleteRow(row); err != nil {
		return err
	}
	if row.message == nil {
		b.settled[row.txn] = outcome{lost: true, epoch: epoch}
		if r.pending != nil && r.pending.txn == row.txn {
			return b.dropPending(r, outcome{lost: true, epoch: epoch})
		}
		return nil
	}
	var id MessageID
	copy(id[:], row.message)
	if err := b.setState(row.room, id, "state = 'rejected', reason = 'epochTooOld'",
		fmt.Sprintf("state IN ('sending', 'queued') AND tries >= %d", maxTries)); err != nil {
		return err
	}
	if err := b.setState(row.room, id, "state = 'sending', hash = NULL", "state IN ('sending', 'queued')"); err != nil {
		return err
	}
	return b.encryptWaiting(r)
}

func (b *batch) rejected(row *outboxRow, reason string, cause error) error {
	if err := b.deleteRow(row); err != nil {
		return err
	}
	if row.message == nil {
		o := outcome{err: fmt.Errorf("%w: %w", ErrRejected, cause)}
		b.settled[row.txn] = o
		if r := b.room(row.room); r != nil && r.pending != nil && r.pending.txn == row.txn {
			if err := b.dropPending(r, o); err != nil {
				return err
			}
			return b.encryptWaiting(r)
		}
		return nil
	}
	var id MessageID
	copy(id[:], row.message)
	if err := b.setState(row.room, id, "state = 'rejected', reason = ?", "state IN ('sending', 'queued')", reason); err != nil {
		return err
	}
	if r := b.room(row.room); r != nil {
		return b.encryptWaiting(r)
	}
	return nil
}

func (b *batch) deleteRow(row *outboxRow) error {
	if row.message != nil {
		var id MessageID
		copy(id[:], row.message)
		delete(b.c.peers, id)
	}
	_, err := b.tx.Exec("DELETE FROM outbox WHERE n = ?", row.n)
	return err
}

func (b *batch) outboxRow(txn string) (*outboxRow, error) {
	r := &outboxRow{txn: txn}
	err := b.tx.QueryRow("SELECT n, room, kind, message, epoch, sent FROM outbox WHERE txn = ?", txn).
		Scan(&r.n, &r.room, &r.kind, &r.message, &r.epoch, &r.sent)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return r, err
}

// resendUnknown makes everything be sent again that the provider, having told
// all it knows, did not mention: it may have been restored from a backup.
func (b *batch) resendUnknown(mentioned map[string]bool) error {
	rows, err := b.tx.Query("SELECT txn FROM outbox WHERE sent = 1")
	if err != nil {
		return err
	}
	var unknown []any
	for rows.Next() {
		var txn string
		if err := rows.Scan(&txn); err != nil {
			rows.Close()
			return err
		}
		if !mentioned[txn] {
			unknown = append(unknown, txn)
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	for len(unknown) > 0 {
		part := unknown[:min(len(unknown), 500)]
		unknown = unknown[len(part):]
		marks := strings.TrimSuffix(strings.Repeat("?,", len(part)), ",")
		if _, err := b.tx.Exec("UPDATE outbox SET sent = 0 WHERE txn IN ("+marks+")", part...); err != nil {
			return err
		}
	}
	return nil
}

func peerStatus(p *clientpb.PeerStatus) *PeerStatus {
	if p == nil {
		return nil
	}
	out := &PeerStatus{Provider: mimi.Domain(p.GetProvider()), Reachable: p.GetReachable(), LastError: p.GetLastError()}
	if p.GetSince() != 0 {
		out.Since = time.UnixMilli(int64(p.GetSince()))
	}
	return out
}
