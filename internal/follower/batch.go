package follower

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"hubbub/internal/backoff"
	"hubbub/internal/store"
	"hubbub/mimi"
)

const (
	batchItems = 256     // writes in one request
	batchBytes = 1 << 20 // and their bodies, beyond the first
	// askAgain is for how long a hub that takes no batches is not asked for it.
	askAgain = 10 * time.Minute
	// acceptedGrace is how long the entry of an accepted write may take to come
	// before the acceptance is stored by itself. A crash in between costs a
	// repeat, which the hub answers as the first time.
	acceptedGrace = time.Second
)

// batches says whether more than one write of a lane may go in one request.
func (o *outbox) batches(l *lane) bool {
	if o.f.cfg.Batch == nil {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(l.items) < 2 || !l.items[1].durable {
		return false
	}
	until, single := o.single[l.key.hub]
	return !single || o.f.cfg.Now().After(until)
}

// sendBatch sends the front of a lane in one request, and returns the ids,
// ascending, of what is decided. What is not goes again. Its only error is that
// ctx is done.
func (o *outbox) sendBatch(ctx context.Context, l *lane, head uint64) (done []uint64, err error) {
	gate := o.f.gates.of(l.key.hub)
	pass, err := gate.enter(ctx)
	if err != nil {
		return nil, err
	}
	a := o.attemptBatch(ctx, l, head)
	elsewhere := refusal(a.cause) != nil || notOffered(a.cause)
	switch {
	case ctx.Err() != nil:
		gate.cancel(pass)
		return nil, ctx.Err()
	case !a.asked:
		gate.cancel(pass)
	case elsewhere:
		gate.leave(pass, nil, 0) // the hub is there
	default:
		gate.leave(pass, a.cause, askedBy(a.cause))
	}
	switch {
	case a.expired:
		return []uint64{head}, o.send(ctx, l, head)
	case elsewhere:
		// One by one, the hub may take them, or say which it will not.
		o.mu.Lock()
		o.single[l.key.hub] = o.f.cfg.Now().Add(askAgain)
		o.mu.Unlock()
		return nil, nil
	case a.cause != nil && a.asked:
		o.record(ctx, a.rows[0], nil, a.cause) // says why it waits; a failure of it is logged
	case a.cause != nil:
		l.troubles++ // our own store
		pause(ctx, backoff.Delay(l.troubles, o.f.cfg.Jitter))
	}
	return o.settleBatch(ctx, l, a)
}

func notOffered(err error) bool {
	var p *mimi.Problem
	return errors.As(err, &p) && p.Status == http.StatusNotImplemented
}

// batchAttempt is one try at the front of a lane.
type batchAttempt struct {
	rows    []store.Submission
	gone    []uint64 // of the lane, but no longer to be sent
	answers []mimi.BatchAnswer
	asked   bool
	expired bool  // the first is too old to be asked for
	cause   error // why there are no answers
}

func (o *outbox) attemptBatch(ctx context.Context, l *lane, head uint64) (a batchAttempt) {
	select {
	case o.slots <- struct{}{}:
		defer func() { <-o.slots }()
	case <-ctx.Done():
		a.cause = ctx.Err()
		return a
	}
	if a.cause = o.front(ctx, l, head, &a); a.cause != nil || len(a.rows) == 0 {
		return a
	}
	if a.expired = o.expired(a.rows[0]); a.expired {
		return a
	}
	req := &mimi.BatchRequest{}
	for _, s := range a.rows {
		kind := mimi.BatchMessage
		if s.Kind == store.SubmitUpdate {
			kind = mimi.BatchUpdate
		}
		req.Items = append(req.Items, mimi.BatchItem{Kind: kind, Room: s.Room, Body: s.Body})
	}
	body, err := req.Marshal()
	if err != nil {
		a.cause = err
		return a
	}
	a.asked = true
	answer, err := o.f.cfg.Batch.SubmitBatch(ctx, l.key.hub, body)
	if err != nil {
		a.cause = err
		return a
	}
	res, err := mimi.ParseBatchResponse(answer)
	if err != nil || len(res.Answers) != len(a.rows) {
		a.cause = fmt.Errorf("follower: answer of the hub to a batch: %w", errors.Join(err, errors.New("not one answer to each write")))
		return a
	}
	a.answers = res.Answers
	return a
}

// front reads the writes at the front of a lane, in order, up to one that is not
// durable yet.
func (o *outbox) front(ctx context.Context, l *lane, head uint64, a *batchAttempt) error {
	o.mu.Lock()
	var ids []uint64
	for _, it := range l.items {
		if !it.durable || len(ids) == batchItems {
			break
		}
		ids = append(ids, it.id)
	}
	o.mu.Unlock()
	var rows []store.Submission
	err := o.f.cfg.Store.View(ctx, func(tx store.ReadTx) (err error) {
		rows, err = tx.QueuedOf(l.key.client, l.key.hub, head-1, 2*batchItems)
		return err
	})
	if err != nil {
		return err
	}
	size, found := 0, map[uint64]bool{}
	for _, s := range rows {
		found[s.ID] = true
		if _, mine := slices.BinarySearch(ids, s.ID); !mine {
			continue
		}
		if size += len(s.Body); size > batchBytes && len(a.rows) > 0 {
			break
		}
		a.rows = append(a.rows, s)
	}
	for _, id := range ids {
		if !found[id] && (len(rows) < 2*batchItems || id < rows[len(rows)-1].ID) && (len(a.rows) == 0 || id < a.rows[len(a.rows)-1].ID) {
			a.gone = append(a.gone, id)
		}
	}
	return nil
}

// settleBatch takes the answers in, oldest first.
func (o *outbox) settleBatch(ctx context.Context, l *lane, a batchAttempt) (done []uint64, err error) {
	done = append(done, a.gone...)
	for i, s := range a.rows {
		if len(a.answers) == 0 {
			break
		}
		v, cause := o.judgeAnswer(l, s, a.answers[i])
		if cause != nil {
			if i == 0 {
				l.troubles++
				o.record(ctx, s, nil, cause)
				pause(ctx, max(askedBy(cause), backoff.Delay(l.troubles, o.f.cfg.Jitter)))
			}
			continue // and with it what was not tried behind it
		}
		if v.reason == "" {
			o.await(s, v.accepted)
		} else if err := o.record(ctx, s, v, nil); err != nil {
			l.troubles++
			pause(ctx, backoff.Delay(l.troubles, o.f.cfg.Jitter))
			break
		}
		l.troubles = 0
		done = append(done, s.ID)
	}
	slices.Sort(done)
	return done, ctx.Err()
}

// judgeAnswer reads one answer of a batch as that of the write's own endpoint.
func (o *outbox) judgeAnswer(l *lane, s store.Submission, a mimi.BatchAnswer) (*verdict, error) {
	if a.Status == http.StatusOK {
		return judge(s.Kind, a.Body)
	}
	p := mimi.ParseProblem(int(a.Status), "", a.Body, o.f.cfg.Now())
	p.RetryAfter = min(time.Duration(a.RetryAfter)*time.Millisecond, time.Minute)
	if refusal(p) == nil {
		return nil, p
	}
	if l.refusedID != s.ID {
		l.refusedID, l.refusals = s.ID, 0
	}
	if l.refusals++; l.refusals >= o.f.cfg.MaxRefusals {
		return &verdict{reason: codeOf(p), detail: p.Detail}, nil
	}
	return nil, p
}

// awaited is a write that the hub has accepted and whose entry is to come.
type awaited struct {
	sub      store.Submission // without its body
	accepted uint64
	since    time.Time
}

// await keeps an acceptance in memory: nearly always the entry is here before it
// would be worth storing, and settles the write for good.
func (o *outbox) await(s store.Submission, accepted uint64) {
	s.Body = nil
	o.mu.Lock()
	defer o.mu.Unlock()
	o.awaited[s.MessageHash] = awaited{s, accepted, time.Now()}
	if o.sweeper || o.ctx == nil {
		return
	}
	o.sweeper = true
	ctx := o.ctx
	o.workers.Go(func() { o.sweep(ctx) })
}

// arrived forgets what was awaited and is in the log now.
func (o *outbox) arrived(entries []store.Append) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.awaited) == 0 {
		return
	}
	for i := range entries {
		delete(o.awaited, entries[i].Entry.MessageHash)
	}
}

// sweep stores acceptances whose entries take long, until none is left.
func (o *outbox) sweep(ctx context.Context) {
	for {
		pause(ctx, acceptedGrace)
		o.mu.Lock()
		var due []awaited
		for hash, a := range o.awaited {
			if time.Since(a.since) >= acceptedGrace {
				due = append(due, a)
				delete(o.awaited, hash)
			}
		}
		if len(o.awaited)+len(due) == 0 || ctx.Err() != nil {
			o.sweeper = false
			o.mu.Unlock()
			return
		}
		o.mu.Unlock()
		o.recordAccepted(ctx, due)
	}
}

func (o *outbox) recordAccepted(ctx context.Context, due []awaited) {
	for len(due) > 0 {
		part := due[:min(len(due), batchItems)]
		due = due[len(part):]
		woken := map[mimi.ClientURI]bool{}
		err := o.f.cfg.Store.Update(ctx, func(tx store.Tx) error {
			for _, a := range part {
				s, err := tx.Submission(a.sub.Client, a.sub.Txn)
				if errors.Is(err, store.ErrNotFound) || err == nil && s.State != store.Queued {
					continue
				}
				if err != nil {
					return err
				}
				s.Accepted, s.LastError = a.accepted, ""
				if err := postedBefore(tx, s); err != nil {
					return err
				}
				if err := tx.PutSubmission(*s); err != nil {
					return err
				}
				woken[s.Client] = true
			}
			return nil
		})
		if err != nil {
			o.f.cfg.Log.Error("outbox: cannot store an answer", "cause", err)
			return // the writes stay queued and are sent again after a restart
		}
		for c := range woken {
			o.f.cfg.WakeClient(c)
		}
	}
}
