package follower

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"hubbub/internal/backoff"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// outbox sends what clients have written to rooms of other providers. A lane
// holds the writes of one client to one hub: within it they leave strictly in
// the order of their IDs, one at a time; lanes do not wait for each other, so a
// dead hub delays nothing meant for a living one.
type outbox struct {
	f     *Follower
	slots chan struct{} // one per request that may run

	mu      sync.Mutex
	ctx     context.Context // of run; nil while it is not running
	workers sync.WaitGroup
	lanes   map[laneKey]*lane
	single  map[mimi.Domain]time.Time // hubs that take no batches, asked again after this
	awaited map[[32]byte]awaited      // accepted writes whose entry has not come, by message
	sweeper bool                      // a goroutine is in sweep
}

type laneKey struct {
	client mimi.ClientURI
	hub    mimi.Domain
}

// lane is a FIFO. Its fields are owned by outbox.mu.
type lane struct {
	key     laneKey
	items   []item // ascending by id
	running bool
	ready   chan struct{} // closed when the head's commit has been decided

	// Owned by the worker.
	refusedID uint64 // the item that refusals counts for
	refusals  int    // 4xx answers to it in a batch
	troubles  int    // batches in a row that decided nothing
}

// item is one submission. It enters its lane inside the store transaction that
// writes it, which fixes the order, and may be sent once that is durable.
type item struct {
	id      uint64
	durable bool
}

// scanPage is how many rows of the outbox are read at once at start-up.
const scanPage = 500

// run loads what is queued and sends until ctx ends.
func (o *outbox) run(ctx context.Context) error {
	if err := o.load(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	o.mu.Lock()
	o.ctx = ctx
	for _, l := range o.lanes {
		o.start(l)
	}
	o.mu.Unlock()
	o.background(o.f.keepReconciled)

	<-ctx.Done()
	o.mu.Lock()
	o.ctx = nil
	o.mu.Unlock()
	o.workers.Wait()
	return nil
}

// load puts every queued row of the store into its lane.
func (o *outbox) load(ctx context.Context) error {
	for after := uint64(0); ; {
		var page []store.Submission
		err := o.f.cfg.Store.View(ctx, func(tx store.ReadTx) (err error) {
			page, err = tx.QueuedSubmissions(after, scanPage)
			return err
		})
		if err != nil || len(page) == 0 {
			return err
		}
		for _, s := range page {
			o.insert(s, true)
			after = s.ID
		}
	}
}

// insert puts a submission into its lane at the place of its ID.
func (o *outbox) insert(s store.Submission, durable bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	l := o.put(s, durable)
	o.nudge(l)
	o.start(l)
}

// insertAll is insert for several of one client, skipping those not to be sent.
func (o *outbox) insertAll(list []store.Submission, durable bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var l *lane
	for _, s := range list {
		if s.State == store.Queued && s.Accepted == 0 {
			l = o.put(s, durable)
		}
	}
	if l != nil {
		o.nudge(l)
		o.start(l)
	}
}

// put is the part of insert that changes the lane. o.mu is held.
func (o *outbox) put(s store.Submission, durable bool) *lane {
	key := laneKey{s.Client, s.Hub}
	l := o.lanes[key]
	if l == nil {
		l = &lane{key: key, ready: make(chan struct{})}
		o.lanes[key] = l
	}
	i, found := slices.BinarySearchFunc(l.items, s.ID, func(it item, id uint64) int {
		return int(min(max(int64(it.id-id), -1), 1))
	})
	if found {
		l.items[i].durable = l.items[i].durable || durable
	} else {
		l.items = slices.Insert(l.items, i, item{s.ID, durable})
	}
	return l
}

// settle says whether the transaction that wrote a submission took effect.
func (o *outbox) settle(s store.Submission, durable bool) {
	if durable {
		o.insert(s, true)
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	l := o.lanes[laneKey{s.Client, s.Hub}]
	if l == nil {
		return
	}
	l.items = slices.DeleteFunc(l.items, func(it item) bool { return it.id == s.ID && !it.durable })
	o.nudge(l)
}

// nudge makes the lane's worker look at the head again. o.mu is held.
func (o *outbox) nudge(l *lane) {
	close(l.ready)
	l.ready = make(chan struct{})
}

// start gives the lane a worker if it needs one. o.mu is held.
func (o *outbox) start(l *lane) {
	if l.running || o.ctx == nil || len(l.items) == 0 {
		return
	}
	l.running = true
	ctx := o.ctx
	o.workers.Go(func() { o.work(ctx, l) })
}

// work sends the lane until it is empty.
func (o *outbox) work(ctx context.Context, l *lane) {
	for {
		id, ok := o.head(ctx, l)
		if !ok {
			return
		}
		done := []uint64{id}
		var err error
		if o.batches(l) {
			done, err = o.sendBatch(ctx, l, id)
		} else {
			err = o.send(ctx, l, id)
		}
		o.mu.Lock()
		if err != nil {
			l.running = false
			o.mu.Unlock()
			return // ctx is done
		}
		l.items = slices.DeleteFunc(l.items, func(it item) bool {
			_, found := slices.BinarySearch(done, it.id)
			return found
		})
		o.mu.Unlock()
	}
}

// head waits for the head of the lane to be durable. false: the lane is empty,
// or ctx is done; the lane then has no worker any more.
func (o *outbox) head(ctx context.Context, l *lane) (uint64, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		if len(l.items) == 0 || ctx.Err() != nil {
			l.running = false
			if len(l.items) == 0 {
				delete(o.lanes, l.key)
			}
			return 0, false
		}
		if l.items[0].durable {
			return l.items[0].id, true
		}
		ready := l.ready
		o.mu.Unlock()
		select {
		case <-ready:
		case <-ctx.Done():
		}
		o.mu.Lock()
	}
}

// send repeats one submission, with the same octets each time, until the hub
// has answered and the answer is stored. Its only error is that ctx is done.
func (o *outbox) send(ctx context.Context, l *lane, id uint64) error {
	gate := o.f.gates.of(l.key.hub)
	refusals, troubles := 0, 0
	for {
		pass, err := gate.enter(ctx)
		if err != nil {
			return err
		}
		a := o.attempt(ctx, id)
		if p := refusal(a.cause); a.asked && p != nil {
			// The hub is there but will not have it. A few tries, since such
			// answers also come from a hub that is being set up.
			if refusals++; refusals >= o.f.cfg.MaxRefusals {
				a.verdict, a.cause = &verdict{reason: codeOf(p), detail: p.Detail}, nil
			}
		}
		if a.asked && ctx.Err() == nil {
			gate.leave(pass, a.cause, askedBy(a.cause))
		} else {
			gate.cancel(pass)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		err = a.cause
		if a.sub != nil {
			err = o.record(ctx, *a.sub, a.verdict, a.cause)
		}
		switch {
		case err == nil && (a.sub == nil || a.verdict != nil):
			return nil
		case err != nil && !(a.asked && a.cause != nil):
			troubles++ // our own store; the gate does not slow us down
			pause(ctx, backoff.Delay(troubles, o.f.cfg.Jitter))
		}
	}
}

// attempt is one try at a submission.
type attempt struct {
	sub     *store.Submission // nil: the row is no longer to be sent
	asked   bool              // a request was made
	verdict *verdict          // nil: none yet
	cause   error             // why not
}

func (o *outbox) attempt(ctx context.Context, id uint64) (a attempt) {
	select {
	case o.slots <- struct{}{}:
		defer func() { <-o.slots }()
	case <-ctx.Done():
		return attempt{cause: ctx.Err()}
	}
	a.cause = o.f.cfg.Store.View(ctx, func(tx store.ReadTx) error {
		rows, err := tx.QueuedSubmissions(id-1, 1)
		if err == nil && len(rows) == 1 && rows[0].ID == id {
			a.sub = &rows[0]
		}
		return err
	})
	if a.cause != nil || a.sub == nil {
		return a
	}
	if o.expired(*a.sub) {
		a.verdict = &verdict{state: store.Expired, reason: "expired"}
		return a
	}
	call := o.f.cfg.Remote.SubmitMessage
	if a.sub.Kind == store.SubmitUpdate {
		call = o.f.cfg.Remote.Update
	}
	a.asked = true
	answer, err := call(ctx, a.sub.Hub, a.sub.Room, a.sub.Body)
	if err != nil {
		a.cause = err
		return a
	}
	a.verdict, a.cause = judge(a.sub.Kind, answer)
	return a
}

// expired says whether a submission has waited too long to be sent.
func (o *outbox) expired(s store.Submission) bool {
	return o.f.nowMS() > s.EnqueuedAt+uint64(o.f.cfg.Retention.Milliseconds())
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

// record stores the outcome of an attempt.
func (o *outbox) record(ctx context.Context, s store.Submission, v *verdict, cause error) error {
	s.Attempts++
	s.LastError = ""
	switch {
	case v == nil:
		s.LastError = cause.Error()
		if s.Attempts > 1 && s.Attempts&(s.Attempts-1) != 0 {
			return nil // a long outage is not worth a write per attempt
		}
	case v.state == store.Expired:
		s.State, s.Reason = store.Expired, v.reason
	case v.reason == "":
		s.Accepted = v.accepted
	default:
		s.State, s.Reason, s.Detail, s.Epoch = store.Rejected, v.reason, v.detail, v.epoch
	}
	err := o.f.cfg.Store.Update(ctx, func(tx store.Tx) error {
		if err := postedBefore(tx, &s); err != nil {
			return err
		}
		if err := tx.PutSubmission(s); err != nil {
			return err
		}
		if s.State == store.Rejected && s.Kind == store.SubmitUpdate {
			return failDependents(tx, s)
		}
		return nil
	})
	if err != nil {
		o.f.cfg.Log.Error("outbox: cannot store an answer", "cause", err)
		return err
	}
	o.f.cfg.WakeClient(s.Client)
	return nil
}

// postedBefore settles an accepted submission whose entry is in the log already:
// no further entry will come to do it. That happens to a write that the hub had
// from an earlier life of the client.
func postedBefore(tx store.Tx, s *store.Submission) error {
	if s.State != store.Queued || s.Accepted == 0 {
		return nil
	}
	e, err := tx.EntryByMessage(s.Room, s.MessageHash)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	s.State, s.Seq, s.Accepted = store.Posted, e.Seq, e.Timestamp
	return nil
}

// failDependents rejects what the same client queued for the same room on top
// of a commit that was refused: it is encrypted for an epoch that will never be.
func failDependents(tx store.Tx, lost store.Submission) error {
	base, isCommit := commitEpoch(lost.Body)
	if !isCommit {
		return nil
	}
	rows, err := tx.QueuedSubmissions(lost.ID, math.MaxInt32)
	if err != nil {
		return err
	}
	for _, s := range rows {
		if s.Client != lost.Client || s.Room != lost.Room {
			continue
		}
		if epoch, ok := submissionEpoch(s); !ok || epoch <= base {
			continue
		}
		s.State, s.Reason, s.Epoch = store.Rejected, lost.Reason, lost.Epoch
		s.Detail = "built on a commit that was refused"
		if err := tx.PutSubmission(s); err != nil {
			return err
		}
	}
	return nil
}

// verdict is a hub's decision on a submission.
type verdict struct {
	state    store.SubmissionState // Expired, or 0
	accepted uint64                // AcceptedTimestamp, if accepted
	reason   string                // stable code, "" = accepted
	detail   string
	epoch    uint64 // the hub's current one, if it said so
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
