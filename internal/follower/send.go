package follower

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"hubbub/internal/store"
	"hubbub/mimi"
)

const (
	batchItems = 256     // writes in one request
	batchBytes = 1 << 20 // and their bodies, beyond the first
	// askAgain is for how long a hub that takes no batches is not asked for it.
	askAgain = 10 * time.Minute
	// singles is how many requests run at once to a hub that takes no batches.
	singles = 16
)

// crowd is how many lanes have to be in line for a request to leave while 0, 1,
// 2 … others are under way to the same hub. What is idle leaves at once; the more
// there is to do, the more of it travels together.
var crowd = [...]int{1, 1, 16, 64}

// sender carries the writes of all lanes to one hub. Its fields are owned by
// outbox.mu.
type sender struct {
	hub      mimi.Domain
	line     []*lane   // whose front may leave, in order of arrival
	flying   int       // goroutines in fly
	boarding int       // of them, those that have taken nothing yet
	single   time.Time // until then the hub takes no batches
}

// together says whether a hub is sent batches. o.mu is held.
func (o *outbox) together(s *sender) bool {
	return o.f.cfg.Batch != nil && (s.single.IsZero() || o.f.cfg.Now().After(s.single))
}

// wants says whether one more request should leave. o.mu is held.
func (o *outbox) wants(s *sender) bool {
	switch {
	case o.ctx == nil || len(s.line) == 0:
		return false
	case !o.together(s):
		return s.flying < singles && s.boarding < len(s.line)
	}
	return s.boarding == 0 && s.flying < len(crowd) && len(s.line) >= crowd[s.flying]
}

// launch sends what is in line, if that is due. o.mu is held.
func (o *outbox) launch(s *sender) {
	for o.wants(s) {
		s.flying++
		s.boarding++
		ctx := o.ctx
		o.workers.Go(func() {
			for o.fly(ctx, s) {
			}
		})
	}
}

// fly carries one request as soon as the hub may be asked, and says whether it
// should be called again.
func (o *outbox) fly(ctx context.Context, s *sender) bool {
	gate := o.f.gates.of(s.hub)
	pass, err := gate.enter(ctx)
	if err != nil {
		return false // ctx is done, and with it the outbox
	}
	c := o.board(s)
	o.ask(ctx, c)
	switch {
	case ctx.Err() != nil || !c.asked:
		gate.cancel(pass)
	case c.apart:
		gate.leave(pass, nil, 0) // the hub is there
	default:
		gate.leave(pass, c.cause, askedBy(c.cause))
	}
	o.finish(ctx, c)
	o.mu.Lock()
	defer o.mu.Unlock()
	s.flying--
	if !o.wants(s) {
		return false
	}
	s.flying++
	s.boarding++
	return true
}

// cargo is what one request carries: the fronts of a few lanes.
type cargo struct {
	sender *sender
	lanes  []*lane
	writes []write  // those of a lane follow each other, in order
	unread []uint64 // of the only lane: to be read from the store
	size   int      // of the bodies

	asked bool  // a request was made
	apart bool  // the hub takes the writes one by one only
	cause error // why there are no answers
}

// write is one submission on its way.
type write struct {
	lane     *lane
	id       uint64
	attempts int               // so far
	sub      *store.Submission // not to be changed
	verdict  *verdict          // nil: none yet
	cause    error             // why not
}

// board takes from the line what fits a request. Each lane gets a share, so that
// a long one does not keep the others waiting.
func (o *outbox) board(s *sender) *cargo {
	o.mu.Lock()
	defer o.mu.Unlock()
	s.boarding--
	c := &cargo{sender: s}
	places, share := batchItems, max(1, batchItems/max(1, len(s.line)))
	if !o.together(s) {
		places = 1
	}
	for len(s.line) > 0 && len(c.writes)+len(c.unread) < places {
		l := s.line[0]
		if len(l.items) > 0 && l.items[0].sendable() && !c.fits(&l.items[0]) {
			break
		}
		s.line[0], s.line = nil, s.line[1:]
		n := c.take(l, min(share, places-len(c.writes)))
		if n == 0 { // what was at its front is gone
			l.taken = false
			o.offer(l)
			continue
		}
		c.lanes = append(c.lanes, l)
	}
	for i := range c.writes {
		o.under[c.writes[i].sub.MessageHash] = false
	}
	return c
}

// fits says whether a lane with this front goes into the cargo. One that has to
// be read from the store goes alone.
func (c *cargo) fits(front *item) bool {
	if len(c.writes)+len(c.unread) == 0 {
		return true
	}
	return len(c.unread) == 0 && front.sub != nil && c.size+len(front.sub.Body) <= batchBytes
}

// take adds the front of a lane, at most n items, and says how many.
func (c *cargo) take(l *lane, n int) (taken int) {
	for i := range l.items {
		it := &l.items[i]
		if taken == n || !it.sendable() || !c.fits(it) {
			break
		}
		if taken++; it.sub == nil {
			c.unread = append(c.unread, it.id)
			continue
		}
		c.size += len(it.sub.Body)
		c.writes = append(c.writes, write{lane: l, id: it.id, attempts: it.attempts, sub: it.sub})
	}
	return taken
}

// ask makes the request and reads the answers. What is too old is not asked for.
func (o *outbox) ask(ctx context.Context, c *cargo) {
	if len(c.unread) > 0 {
		if c.cause = o.read(ctx, c); c.cause != nil {
			return
		}
	}
	var open []*write
	for i := range c.writes {
		if w := &c.writes[i]; o.expired(w.sub) {
			w.verdict = &verdict{state: store.Expired, reason: "expired"}
		} else {
			open = append(open, w)
		}
	}
	switch len(open) {
	case 0:
	case 1:
		o.askOne(ctx, c, open[0])
	default:
		o.askAll(ctx, c, open)
	}
}

// askOne sends a single write to its own endpoint.
func (o *outbox) askOne(ctx context.Context, c *cargo, w *write) {
	call := o.f.cfg.Remote.SubmitMessage
	if w.sub.Kind == store.SubmitUpdate {
		call = o.f.cfg.Remote.Update
	}
	c.asked = true
	answer, err := call(ctx, c.sender.hub, w.sub.Room, w.sub.Body)
	p := refusal(err)
	switch {
	case err == nil:
		w.verdict, w.cause = judge(w.sub.Kind, answer)
	case p != nil:
		w.verdict, w.cause = o.refused(w, p)
	default:
		c.cause = err
	}
}

// askAll sends several writes in one request.
func (o *outbox) askAll(ctx context.Context, c *cargo, open []*write) {
	req := &mimi.BatchRequest{Items: make([]mimi.BatchItem, len(open))}
	for i, w := range open {
		kind := mimi.BatchMessage
		if w.sub.Kind == store.SubmitUpdate {
			kind = mimi.BatchUpdate
		}
		req.Items[i] = mimi.BatchItem{Kind: kind, Room: w.sub.Room, Body: w.sub.Body}
	}
	body, err := req.Marshal()
	if err != nil {
		c.cause = err
		return
	}
	c.asked = true
	answer, err := o.f.cfg.Batch.SubmitBatch(ctx, c.sender.hub, body)
	if err != nil {
		// One by one, the hub may take them, or say which it will not.
		c.apart, c.cause = refusal(err) != nil || notOffered(err), err
		return
	}
	res, err := mimi.ParseBatchResponse(answer)
	if err != nil || len(res.Answers) != len(open) {
		c.cause = fmt.Errorf("follower: answer of the hub to a batch: %w", errors.Join(err, errors.New("not one answer to each write")))
		return
	}
	for i, w := range open {
		w.verdict, w.cause = o.judgeAnswer(w, &res.Answers[i])
	}
}

func notOffered(err error) bool {
	var p *mimi.Problem
	return errors.As(err, &p) && p.Status == http.StatusNotImplemented
}

// judgeAnswer reads one answer of a batch as that of the write's own endpoint.
func (o *outbox) judgeAnswer(w *write, a *mimi.BatchAnswer) (*verdict, error) {
	if a.Status == http.StatusOK {
		return judge(w.sub.Kind, a.Body)
	}
	p := mimi.ParseProblem(int(a.Status), "", a.Body, o.f.cfg.Now())
	p.RetryAfter = min(time.Duration(a.RetryAfter)*time.Millisecond, time.Minute)
	if refusal(p) == nil {
		return nil, p
	}
	return o.refused(w, p)
}

// refused counts refusals of a write by its endpoint. The hub is there but will
// not have it: a few tries, since such answers also come from a hub that is being
// set up.
func (o *outbox) refused(w *write, p *mimi.Problem) (*verdict, error) {
	l := w.lane
	if l.refusedID != w.id {
		l.refusedID, l.refusals = w.id, 0
	}
	if l.refusals++; l.refusals >= o.f.cfg.MaxRefusals {
		return &verdict{reason: codeOf(p), detail: p.Detail}, nil
	}
	return nil, p
}

// read fetches writes whose bodies are not in memory, in order. Those that are
// no longer to be sent are left out.
func (o *outbox) read(ctx context.Context, c *cargo) error {
	l, wanted := c.lanes[0], map[uint64]bool{}
	for _, id := range c.unread {
		wanted[id] = true
	}
	limit := 2 * batchItems // what has been accepted lately stands among them
	var rows []store.Submission
	err := o.f.cfg.Store.View(ctx, func(tx store.ReadTx) (err error) {
		rows, err = tx.QueuedOf(l.key.client, l.key.hub, c.unread[0]-1, limit)
		return err
	})
	if err != nil {
		return err
	}
	whole := len(rows) < limit
	for i := range rows {
		s := &rows[i]
		if !wanted[s.ID] {
			continue
		}
		if c.size += len(s.Body); c.size > batchBytes && len(c.writes) > 0 {
			whole = false
			rows = rows[:i]
			break
		}
		c.writes = append(c.writes, write{lane: l, id: s.ID, attempts: s.Attempts, sub: s})
		delete(wanted, s.ID)
	}
	for id := range wanted {
		if !whole && (len(rows) == 0 || id > rows[len(rows)-1].ID) {
			delete(wanted, id) // it was not looked for
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range c.writes {
		o.under[c.writes[i].sub.MessageHash] = false
	}
	for id := range wanted {
		if at, found := l.find(id); found {
			o.remove(l, at, at+1)
		}
	}
	return nil
}

// expired says whether a submission has waited too long to be sent.
func (o *outbox) expired(s *store.Submission) bool {
	return o.f.nowMS() > s.EnqueuedAt+uint64(o.f.cfg.Retention.Milliseconds())
}
