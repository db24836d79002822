package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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

// enqueue puts a write of the room's current epoch into the outbox. A message
// comes with its ID and the hash of its octets.
func (b *batch) enqueue(r *room, kind clientpb.SubmissionKind, txn string, body []byte, message *sentMessage) error {
	row := &outboxRow{n: b.c.outbox.last + 1, txn: txn, room: r.uri, kind: kind, body: body, message: message}
	if r.group != nil {
		row.epoch = r.group.Epoch()
	}
	var id []byte
	if message != nil {
		id = message.id[:]
	}
	if _, err := b.tx.Exec("INSERT INTO outbox (n, txn, room, kind, body, message, epoch) VALUES (?, ?, ?, ?, ?, ?, ?)",
		row.n, txn, string(r.uri), int(kind), body, id, row.epoch); err != nil {
		return err
	}
	b.c.outbox.add(row)
	b.undo = append(b.undo, func() { b.c.outbox.remove(row) })
	return nil
}

// deleteRow takes a write out of the outbox.
func (b *batch) deleteRow(row *outboxRow) error {
	if row.message != nil {
		delete(b.c.peers, row.message.id)
	}
	if _, err := b.tx.Exec("DELETE FROM outbox WHERE n = ?", row.n); err != nil {
		return err
	}
	b.c.outbox.remove(row)
	b.undo = append(b.undo, func() { b.c.outbox.add(row) })
	return nil
}

// deleteTxn is deleteRow by txn; the row may be gone.
func (b *batch) deleteTxn(txn string) error {
	if row := b.c.outbox.byTxn[txn]; row != nil {
		return b.deleteRow(row)
	}
	return nil
}

// setSent stores whether the provider has a write.
func (b *batch) setSent(row *outboxRow, sent bool) error {
	if row.sent == sent {
		return nil
	}
	if _, err := b.tx.Exec("UPDATE outbox SET sent = ? WHERE n = ?", sent, row.n); err != nil {
		return err
	}
	row.sent = sent
	b.undo = append(b.undo, func() { row.sent = !sent })
	return nil
}

// runOutbox hands the outbox to the provider, in order, one call at a time.
func (c *Client) runOutbox(ctx context.Context) {
	var failures int
	for {
		again, wait, err := c.flush(ctx)
		if err == nil && again {
			failures = 0
			continue
		}
		bell := c.kickOutbox
		if err != nil {
			failures++
			wait = pause(failures, err)
			bell = nil // new writes do not shorten the pause
		} else {
			failures = 0
		}
		var retry <-chan time.Time
		if wait > 0 {
			retry = time.After(wait)
		}
		select {
		case <-ctx.Done():
			return
		case <-bell:
		case <-retry:
		}
	}
}

// maxRetryAfter bounds what a provider may ask for.
const maxRetryAfter = 5 * time.Minute

// pause is how long to wait after a number of failures, the last of which was err:
// at least as long as it asks for, and not all devices equally long.
func pause(failures int, err error) time.Duration {
	wait := jitter(failures, 100*time.Millisecond, 10*time.Second)
	var e *Error
	if errors.As(err, &e) && e.RetryAfter > 0 {
		wait = min(e.RetryAfter, maxRetryAfter) + rand.N(min(wait, time.Second))
	}
	return wait
}

// jitter gives a pause of full jitter after a number of failures.
func jitter(failures int, least, most time.Duration) time.Duration {
	d := most
	if failures < 16 {
		d = min(least<<failures, most)
	}
	return least/2 + rand.N(d)
}

// errLater: something cannot be done now.
var errLater = errors.New("client: not now")

// hold keeps the writes to one room back for a while, after the provider could
// not take one. Those to other rooms go on.
type hold struct {
	failures int
	until    time.Time
	missing  time.Time // since when the provider says that there is no such room
}

// flush sends what is unsent once; again says that there may be more, wait when
// there will be.
func (c *Client) flush(ctx context.Context) (again bool, wait time.Duration, err error) {
	c.mu.Lock()
	rows, wait, err := c.unsent(time.Now())
	c.mu.Unlock()
	if err != nil || len(rows) == 0 {
		return false, wait, err
	}
	req := &clientpb.SubmitRequest{}
	for _, row := range rows {
		req.Submissions = append(req.Submissions, &clientpb.NewSubmission{Txn: row.txn, Room: string(row.room), Kind: row.kind, Body: row.body})
	}
	cctx, cancel := context.WithTimeout(ctx, time.Minute)
	res, err := c.t.api.Submit(cctx, connect.NewRequest(req))
	cancel()
	if err != nil {
		return false, 0, err
	}
	if len(res.Msg.Results) != len(rows) {
		return false, 0, fmt.Errorf("client: %d answers to %d writes", len(res.Msg.Results), len(rows))
	}
	return true, 0, c.answered(rows, res.Msg.Results)
}

// unsent gives the oldest writes the provider does not have, and when the first of
// those that are held back is due. mu is held.
func (c *Client) unsent(now time.Time) (out []outboxRow, wait time.Duration, err error) {
	if c.fatal != nil {
		return nil, 0, c.fatal
	}
	size := 0
	for _, row := range c.outbox.rows {
		if row.sent || row.answered {
			continue
		}
		if h := c.holds[row.room]; h != nil && h.until.After(now) {
			if left := h.until.Sub(now); wait == 0 || left < wait {
				wait = left
			}
			continue
		}
		if len(out) == sendRows {
			break
		}
		if err := c.outbox.load(c.db, row); err != nil {
			return nil, 0, fmt.Errorf("reading outbox: %w", err)
		}
		if size += len(row.body); size > sendBytes && len(out) > 0 {
			break
		}
		out = append(out, *row)
	}
	return out, wait, nil
}

// answered takes in the provider's answers to writes. That it has them is not
// urgent to store: it goes with the next step, or soon; if it is lost the writes
// are sent again, which does no harm. Refusals are acted on at once.
func (c *Client) answered(rows []outboxRow, results []*clientpb.SubmitResult) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	refused := false
	for i, result := range results {
		if result.GetError() != nil {
			refused = true
			continue
		}
		c.answer(rows[i].txn, result.GetSubmission())
		delete(c.holds, rows[i].room)
	}
	if !refused {
		return nil
	}
	return c.stepLocked(func(b *batch) error {
		if err := b.settle(); err != nil { // before what it has to come before
			return err
		}
		for i, result := range results {
			if e := result.GetError(); e != nil {
				if err := b.refused(rows[i], fromDetail(e), e.GetEpoch()); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// settleAfter is how long an answer may wait for a step that takes it along.
const settleAfter = 20 * time.Millisecond

// answer keeps what the provider says of a write for the next step. mu is held.
func (c *Client) answer(txn string, s *clientpb.Submission) {
	if row := c.outbox.byTxn[txn]; row != nil {
		row.answered = true
		c.outbox.drop(row)
	}
	if len(c.answers) == 0 {
		time.AfterFunc(settleAfter, func() { c.settleNow() })
	}
	c.answers = append(c.answers, s)
}

// settleNow stores the answers that no step has taken along. An error leaves them
// for the next.
func (c *Client) settleNow() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.answers) == 0 {
		return nil
	}
	return c.stepLocked(func(*batch) error { return nil })
}

// settle takes in the answers that wait.
func (b *batch) settle() error {
	for ; b.answers < len(b.c.answers); b.answers++ {
		if err := b.submission(b.c.answers[b.answers]); err != nil {
			return err
		}
	}
	return nil
}

// passingReasons are refusals after which the same write is sent again.
var passingReasons = map[string]bool{
	"internal": true, "unavailable": true, "peer_unreachable": true, "quota": true, "rate_limited": true, "unspecified": true,
}

// missingFor is how long a provider may say that it has no room which this device
// is in. Its copy may have been lost, and be on its way from the hub.
const missingFor = 24 * time.Hour

// refused takes note of a write the provider did not take at all.
func (b *batch) refused(row outboxRow, cause *Error, epoch uint64) error {
	current := b.c.outbox.byTxn[row.txn]
	if current == nil {
		return nil // given up meanwhile
	}
	if b.passing(current, cause) {
		return nil
	}
	if cause.Reason == "stale_epoch" {
		return b.tooOld(current, epoch)
	}
	return b.rejected(current, cause.Reason, cause)
}

// passing says whether a refusal may pass. If so, the room's writes wait.
func (b *batch) passing(row *outboxRow, cause *Error) bool {
	now := time.Now()
	h := b.c.holds[row.room]
	if h == nil {
		h = &hold{}
	}
	missing := cause.Reason == "not_found" && b.room(row.room).member() == nil
	switch {
	case missing && h.missing.IsZero():
		h.missing = now
	case missing && now.Sub(h.missing) > missingFor:
		return false
	case !missing && !passingReasons[cause.Reason]:
		return false
	}
	if !h.until.After(now) { // the first refusal of several in one answer
		h.failures++
	}
	if until := now.Add(pause(h.failures, cause)); until.After(h.until) {
		h.until = until
	}
	b.c.holds[row.room] = h
	return true
}

// submission takes in what the provider says of a write, in answer to it or on
// the sync stream.
func (b *batch) submission(s *clientpb.Submission) error {
	row := b.c.outbox.byTxn[s.GetTxn()]
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
	if err := b.setSent(row, true); err != nil {
		return err
	}
	if row.message == nil {
		return nil
	}
	id := row.message.id
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
		if err := b.posted(row.room, row.message.id, s.GetSeq(), s.GetAcceptedTimestamp()); err != nil {
			return err
		}
		if r := b.room(row.room); r != nil {
			b.encryptLater(r)
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
	id := row.message.id
	if err := b.setState(row.room, id, "state = 'rejected', reason = 'epochTooOld'",
		fmt.Sprintf("state IN ('sending', 'queued') AND tries >= %d", maxTries)); err != nil {
		return err
	}
	if err := b.setState(row.room, id, "state = 'sending', hash = NULL", "state IN ('sending', 'queued')"); err != nil {
		return err
	}
	b.encryptLater(r)
	return nil
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
			b.encryptLater(r)
		}
		return nil
	}
	id := row.message.id
	if err := b.setState(row.room, id, "state = 'rejected', reason = ?", "state IN ('sending', 'queued')", reason); err != nil {
		return err
	}
	if r := b.room(row.room); r != nil {
		b.encryptLater(r)
	}
	return nil
}

// resendUnknown makes everything be sent again that the provider, having told
// all it knows, did not mention: it may have been restored from a backup.
func (b *batch) resendUnknown(mentioned map[string]bool) error {
	if err := b.settle(); err != nil {
		return err
	}
	for _, row := range b.c.outbox.rows {
		if row.sent && !mentioned[row.txn] {
			if err := b.setSent(row, false); err != nil {
				return err
			}
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
