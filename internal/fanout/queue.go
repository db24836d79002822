package fanout

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hubbub/internal/backoff"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// queue is one (room, follower) pair. At most one goroutine, in drain, ships it.
type queue struct {
	f    *Fanout
	room mimi.RoomURI
	peer mimi.Domain

	// Owned by Fanout.mu.
	running  bool          // a goroutine is in drain
	again    bool          // something may have changed since it last looked
	resting  bool          // drain has nothing to send and does not touch acked
	extended span          // the batch that Extend made; zero = none since drain looked
	alive    chan struct{} // closed by revive; not nil while backing off
	retry    chan struct{} // closed by Retry; not nil while backing off
	status   Status

	bell chan struct{} // has a value after again was set

	// Owned by drain.
	acked    uint64 // acknowledged by the peer, perhaps not yet in the store
	refusals int    // 4xx answers to the batch now under way
	// clear: as of the last look at the store there was neither a Welcome to send
	// nor an end. That stays so as long as what is sent from memory is plain.
	clear bool
}

// span is the entries in (from, to].
type span struct{ from, to uint64 }

// errStop ends a queue's goroutine: the context is done or the pair is parked.
var errStop = errors.New("fanout: stopped")

// drain ships until nothing is left, then ends; kick starts it again.
func (q *queue) drain(ctx context.Context) {
	for q.more() || q.linger(ctx) {
		if err := q.shipAll(ctx); err != nil {
			q.stop()
			return
		}
	}
}

// more consumes the request to look again.
func (q *queue) more() bool {
	q.f.mu.Lock()
	defer q.f.mu.Unlock()
	again := q.again
	q.again = false
	return again
}

// linger follows when nothing is left to send. What the peer acknowledged need
// not be stored at once: the next entry, if it comes soon, does that in its own
// transaction. While our store does not take it we try again, or it would stay
// unsaid until the room's next entry. false: the queue is at rest and has no
// goroutine any more.
func (q *queue) linger(ctx context.Context) bool {
	delay := q.f.cfg.Linger
	for failures := 1; q.acked != 0; failures++ {
		q.rest(ctx, delay)
		if q.more() {
			return true
		}
		err := q.settle(ctx)
		if err == nil || ctx.Err() != nil {
			break
		}
		if failures == 1 {
			q.f.cfg.Log.Warn("fanout: cannot store what a follower acknowledged", "peer", q.peer, "cause", err)
		}
		delay = backoff.Delay(failures, q.f.cfg.Jitter)
	}
	q.f.mu.Lock()
	defer q.f.mu.Unlock()
	q.running = q.again && q.f.ctx != nil
	return q.running
}

// rest waits for a request to look again, but not for long.
func (q *queue) rest(ctx context.Context, d time.Duration) {
	q.f.mu.Lock()
	q.resting = true
	q.f.mu.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	for waiting := true; waiting; {
		select {
		case <-q.bell:
		case <-timer.C:
			waiting = false
		case <-ctx.Done():
			waiting = false
		}
		q.f.mu.Lock()
		waiting = waiting && !q.again
		q.resting = waiting
		q.f.mu.Unlock()
	}
}

// settle stores that the peer has acknowledged all that was sent.
func (q *queue) settle(ctx context.Context) error {
	err := q.f.cfg.Store.Update(context.WithoutCancel(ctx), func(tx store.Tx) error {
		s, err := tx.Fanout(q.room, q.peer)
		if err != nil || q.acked != s.Sent || s.Acked == s.Sent {
			return err
		}
		s.Acked = s.Sent
		return tx.PutFanout(*s)
	})
	if err == nil {
		q.acked = 0
	}
	return err
}

func (q *queue) stop() {
	q.f.mu.Lock()
	defer q.f.mu.Unlock()
	q.running = false
}

// shipAll delivers everything there is, waiting out failures. Its only error
// is errStop.
func (q *queue) shipAll(ctx context.Context) error {
	for {
		more, err := q.shipOne(ctx)
		switch {
		case ctx.Err() != nil:
			return errStop
		case err == nil && !more:
			return nil
		case err == nil:
			continue
		case errors.Is(err, errStop):
			return err
		}
		if err := q.failed(ctx, err); err != nil {
			return err
		}
	}
}

// shipOne delivers one request. more is false if there was nothing to send.
func (q *queue) shipOne(ctx context.Context) (more bool, err error) {
	share := q.f.share(q.peer)
	if !q.f.acquire(ctx, share) {
		return false, errStop
	}
	defer q.f.release(share)

	b, err := q.next(ctx)
	if err != nil || b == nil {
		return false, err
	}
	if err := q.f.cfg.Sender.Notify(ctx, q.peer, q.room, b.pos, b.body); err != nil {
		return false, &sendError{err}
	}
	q.succeeded()
	if b.welcome {
		err = q.f.cfg.Store.Update(ctx, func(tx store.Tx) error {
			return tx.DeleteOutWelcomes(q.room, q.peer, b.pos.Seq)
		})
		return true, err
	}
	q.acked = b.pos.Seq
	return true, nil
}

// sendError marks a failed request, as opposed to a failure of our own store.
type sendError struct{ err error }

func (e *sendError) Error() string { return e.err.Error() }
func (e *sendError) Unwrap() error { return e.err }

func (q *queue) succeeded() {
	q.refusals = 0
	q.f.mu.Lock()
	defer q.f.mu.Unlock()
	if q.status.Failures > 0 {
		q.f.cfg.Log.Info("fanout: follower is back", "peer", q.peer, "after", time.Since(q.status.Since))
	}
	q.status = Status{Room: q.room, Peer: q.peer}
}

// failed parks the pair if the peer will not have the batch, and otherwise
// waits until it is time to try again.
func (q *queue) failed(ctx context.Context, err error) error {
	q.clear = false // the store knows what has to be sent again
	var sent *sendError
	if isSend := errors.As(err, &sent); isSend && refusal(err) != nil {
		p := refusal(err)
		if q.refusals++; q.refusals >= q.f.cfg.MaxRefusals {
			return q.park(ctx, fmt.Sprintf("refused %d times: %d %s", q.refusals, p.Status, p.Code), p)
		}
	}
	if sent != nil && q.tooOld(ctx) {
		return q.park(ctx, NeedsResync, sent)
	}
	var asked time.Duration
	var p *mimi.Problem
	if errors.As(err, &p) {
		asked = backoff.Asked(p.RetryAfter)
	}
	return q.wait(ctx, err, asked)
}

// tooOld says whether the oldest entry that the follower lacks is from before the
// retention time.
func (q *queue) tooOld(ctx context.Context) bool {
	var list []store.Entry
	err := q.f.cfg.Store.View(ctx, func(tx store.ReadTx) error {
		s, err := tx.Fanout(q.room, q.peer)
		if err == nil {
			list, err = tx.Entries(q.room, max(s.Acked, q.acked), 1, 0)
		}
		return err
	})
	if err != nil || len(list) == 0 {
		return false
	}
	return time.Since(time.UnixMilli(int64(list[0].Timestamp))) > q.f.cfg.Retention
}

// park stops the pair for good, visibly and durably, without touching others.
func (q *queue) park(ctx context.Context, reason string, cause error) error {
	err := q.f.cfg.Store.Update(ctx, func(tx store.Tx) error {
		s, err := tx.Fanout(q.room, q.peer)
		if err != nil {
			return err
		}
		s.Parked = reason
		return tx.PutFanout(*s)
	})
	if err != nil {
		return q.wait(ctx, err, 0)
	}
	q.refusals = 0
	q.f.cfg.Log.Error("fanout: follower does not take the log, queue parked", "peer", q.peer, "reason", reason)
	q.f.mu.Lock()
	defer q.f.mu.Unlock()
	q.status.Parked, q.status.Error, q.status.Failures = reason, cause.Error(), q.status.Failures+1
	return errStop
}

// wait sleeps out the backoff after one more failure. Word from the peer ends
// it early, but not a pause that the peer itself asked for.
func (q *queue) wait(ctx context.Context, cause error, asked time.Duration) error {
	alive := make(chan struct{})
	q.f.mu.Lock()
	q.status.Failures++
	q.status.Error = cause.Error()
	if q.status.Failures == 1 {
		q.status.Since = time.Now()
		q.f.cfg.Log.Warn("fanout: follower does not take the log", "peer", q.peer, "cause", cause)
	}
	delay := backoff.Delay(q.status.Failures, q.f.cfg.Jitter)
	if asked > 0 {
		delay = asked
	} else {
		q.alive = alive
		q.f.backingOff(q)
	}
	retry := make(chan struct{})
	q.retry = retry
	q.status.Next = time.Now().Add(delay)
	q.f.mu.Unlock()

	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-alive:
	case <-retry:
	case <-ctx.Done():
	}

	q.f.mu.Lock()
	defer q.f.mu.Unlock()
	q.alive, q.retry = nil, nil
	q.status.Next = time.Time{}
	delete(q.f.waiting[q.peer], q)
	if ctx.Err() != nil {
		return errStop
	}
	return nil
}

// backingOff lists q among those that PeerAlive revives. f.mu is held.
func (f *Fanout) backingOff(q *queue) {
	if f.waiting[q.peer] == nil {
		f.waiting[q.peer] = map[*queue]struct{}{}
	}
	f.waiting[q.peer][q] = struct{}{}
}

// revive ends the backoff and forgets its length. f.mu is held. The first
// failure does not count: otherwise a peer that talks to us while it cannot
// take our requests would have them at the rate of its own.
func (q *queue) revive() {
	if q.alive == nil || q.status.Failures < 2 {
		return
	}
	q.status.Failures = 1
	close(q.alive)
	q.alive = nil
}
