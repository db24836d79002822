package follower

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"hubbub/internal/backoff"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// verdict is a hub's decision on a submission.
type verdict struct {
	state    store.SubmissionState // Expired, or 0
	accepted uint64                // AcceptedTimestamp, if accepted
	reason   string                // stable code, "" = accepted
	detail   string
	epoch    uint64 // the hub's current one, if it said so
}

// finish stores what a request brought, takes what is decided out of its lanes
// and lets them go.
func (o *outbox) finish(ctx context.Context, c *cargo) {
	var ended, failing []*write
	for i := range c.writes {
		w := &c.writes[i]
		switch {
		case w.verdict != nil && w.verdict.reason != "":
			ended = append(ended, w)
		case w.verdict == nil && !c.apart && (i == 0 || c.writes[i-1].lane != w.lane):
			failing = append(failing, w)
		}
	}
	failing = o.worthNoting(failing)
	var gone map[*lane][]uint64
	err := ctx.Err()
	if err == nil && len(ended)+len(failing) > 0 {
		gone, err = o.record(ctx, c, ended, failing)
	}
	if err != nil {
		for _, w := range ended { // they go again: the hub answers as this time
			w.verdict, w.cause = nil, err
		}
	}
	if !c.asked && err == nil {
		err = c.cause // our own store
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if c.apart {
		c.sender.single = o.f.cfg.Now().Add(askAgain)
	}
	rest := c.writes
	for _, l := range c.lanes {
		n := 0
		for n < len(rest) && rest[n].lane == l {
			n++
		}
		o.drop(l, o.decided(rest[:n], gone[l]))
		o.release(l, o.pauseOf(c, l, rest[:n], err))
		rest = rest[n:]
	}
}

// decided gives the ids, ascending, of the writes of a lane that are decided, and
// of others that are gone with them. o.mu is held.
func (o *outbox) decided(list []write, gone []uint64) []uint64 {
	ids := gone
	for i := range list {
		w := &list[i]
		came := o.under[w.sub.MessageHash]
		delete(o.under, w.sub.MessageHash)
		if w.verdict == nil {
			continue
		}
		ids = append(ids, w.id)
		if w.verdict.reason == "" && !came {
			o.await(w.sub, w.verdict.accepted)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// pauseOf is how long a lane waits before its front goes again. A hub that does
// not answer is its gate's business. err is a failure of our own store.
func (o *outbox) pauseOf(c *cargo, l *lane, list []write, err error) time.Duration {
	switch {
	case c.apart, err == nil && (c.cause != nil || len(list) == 0):
		return 0
	case err == nil && list[0].verdict != nil:
		l.troubles = 0
		return 0
	}
	l.troubles++
	delay := backoff.Delay(l.troubles, o.f.cfg.Jitter)
	if err == nil {
		delay = max(delay, askedBy(list[0].cause))
	}
	return delay
}

// release puts a lane back in line, after a pause if there is one. o.mu is held.
func (o *outbox) release(l *lane, pause time.Duration) {
	if pause == 0 {
		l.taken = false
		o.offer(l)
		return
	}
	time.AfterFunc(pause, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		l.taken = false
		o.offer(l)
	})
}

// worthNoting counts attempts that brought no decision and gives those to be
// stored: a long outage is not worth a write per attempt.
func (o *outbox) worthNoting(list []*write) []*write {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.DeleteFunc(list, func(w *write) bool {
		at, found := w.lane.find(w.id)
		if !found {
			return true
		}
		it := &w.lane.items[at]
		it.attempts++
		w.attempts = it.attempts
		return it.attempts&(it.attempts-1) != 0
	})
}

// record stores ends of writes, and why others have none yet. gone are writes
// that ended with them. A write without a row is one whose commit failed: its
// client was told.
func (o *outbox) record(ctx context.Context, c *cargo, ended, failing []*write) (gone map[*lane][]uint64, err error) {
	woken := map[mimi.ClientURI]bool{}
	err = o.f.cfg.Store.Update(ctx, func(tx store.Tx) error {
		gone = map[*lane][]uint64{}
		for _, w := range failing {
			s := *w.sub
			s.Attempts, s.LastError = w.attempts, errors.Join(w.cause, c.cause).Error()
			if err := tx.PutSubmission(s); err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
			woken[s.Client] = true
		}
		for _, w := range ended {
			others, err := w.end(tx)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
			gone[w.lane] = append(gone[w.lane], others...)
			woken[w.sub.Client] = true
		}
		return nil
	})
	if err != nil {
		o.f.cfg.Log.Error("outbox: cannot store an answer", "cause", err)
		return nil, err
	}
	for client := range woken {
		o.f.cfg.WakeClient(client)
	}
	return gone, nil
}

// end stores that a write was refused or is too old. others are what ended with it.
func (w *write) end(tx store.Tx) (others []uint64, err error) {
	s, v := *w.sub, w.verdict
	s.Attempts, s.LastError = w.attempts+1, ""
	s.State, s.Reason, s.Detail, s.Epoch = store.Rejected, v.reason, v.detail, v.epoch
	if v.state == store.Expired {
		s.State = store.Expired
	}
	if err := tx.PutSubmission(s); err != nil {
		return nil, err
	}
	if s.State == store.Rejected && s.Kind == store.SubmitUpdate {
		return failDependents(tx, s)
	}
	return nil, nil
}

// failDependents rejects what the same client queued for the same room on top
// of a commit that was refused: it is encrypted for an epoch that will never be.
func failDependents(tx store.Tx, lost store.Submission) (ids []uint64, err error) {
	base, isCommit := commitEpoch(lost.Body)
	if !isCommit {
		return nil, nil
	}
	rows, err := tx.QueuedOf(lost.Client, lost.Hub, lost.ID, math.MaxInt32)
	if err != nil {
		return nil, err
	}
	for _, s := range rows {
		if s.Room != lost.Room {
			continue
		}
		if epoch, ok := submissionEpoch(s); !ok || epoch <= base {
			continue
		}
		s.State, s.Reason, s.Epoch = store.Rejected, lost.Reason, lost.Epoch
		s.Detail = "built on a commit that was refused"
		if err := tx.PutSubmission(s); err != nil {
			return nil, err
		}
		ids = append(ids, s.ID)
	}
	return ids, nil
}

// refusal finds a refusal in err that the same octets are not expected to
// overcome.
func refusal(err error) *mimi.Problem {
	var p *mimi.Problem
	if errors.As(err, &p) && p.Status >= 400 && !p.Retryable() {
		return p
	}
	return nil
}

func codeOf(p *mimi.Problem) string {
	if p.Code != "" {
		return p.Code
	}
	return fmt.Sprintf("http-%d", p.Status)
}

// askedBy is the pause a peer asked for in its answer.
func askedBy(err error) time.Duration {
	var p *mimi.Problem
	if errors.As(err, &p) {
		return backoff.Asked(p.RetryAfter)
	}
	return 0
}

// pause sleeps, or returns early when ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
