package follower

import (
	"context"
	"slices"
	"sync"

	"hubbub/internal/store"
	"hubbub/mimi"
)

// outbox sends what clients have written to rooms of other providers. A lane
// holds the writes of one client to one hub: within it they leave strictly in
// the order of their IDs, and none leaves while an earlier one is under way.
// Lanes do not wait for each other; those of one hub share its requests (see
// sender), so a dead hub delays nothing meant for a living one.
//
// A message may leave for the hub while the row that holds it is still becoming
// durable here; its client is told "queued" only when it is. Nothing can go
// wrong by that which a lost answer could not bring about too:
//   - We end before our commit, and the hub has posted it. Its entry comes with
//     the hub's log, as any other. The client got no answer and repeats the write:
//     Enqueue finds the message in the log and answers "posted", or, if the entry
//     is still to come, sends it again, and the hub answers a repeat.
//   - Our commit fails. The item goes; the client hears of it and repeats, as above.
//   - The hub refuses it. The refusal is stored behind the row, in the order of
//     our transactions; without a row there is nobody to tell but a client that
//     repeats, and that one is refused anew.
//   - Order: the hub gets the writes of a lane in the order of their IDs, which
//     the transactions fixed, whether those became durable or not.
//
// A change of a room waits for its row: a client that is told of a failure may
// drop the keys of a commit that nobody has, and must not then meet it in the log.
type outbox struct {
	f *Follower

	mu      sync.Mutex
	ctx     context.Context // of run; nil while it is not running
	workers sync.WaitGroup
	lanes   map[laneKey]*lane
	senders map[mimi.Domain]*sender
	burden  burden
	held    int                  // octets of bodies in memory
	under   map[[32]byte]bool    // messages under way; true = their entry has come
	awaited map[[32]byte]awaited // accepted writes whose entry has not come, by message
	sweeper bool                 // a goroutine is in sweep
}

func newOutbox(f *Follower) *outbox {
	return &outbox{f: f, burden: newBurden(), lanes: map[laneKey]*lane{}, senders: map[mimi.Domain]*sender{},
		under: map[[32]byte]bool{}, awaited: map[[32]byte]awaited{}}
}

type laneKey struct {
	client mimi.ClientURI
	hub    mimi.Domain
}

// lane is a FIFO. Its fields are owned by outbox.mu, those of the second group
// by whoever carries it while it is taken.
type lane struct {
	key   laneKey
	items []item // ascending by id
	taken bool   // in line at its sender, under way, or pausing

	refusedID uint64 // the item that refusals counts for
	refusals  int    // 4xx answers to it
	troubles  int    // attempts in a row that decided nothing
}

// item is one submission. It enters its lane inside the store transaction that
// writes it, which fixes the order.
type item struct {
	id       uint64
	size     int  // octets of the body
	open     int  // calls of Enqueue whose commit is not decided
	durable  bool // its row is
	attempts int
	sub      *store.Submission // not to be changed; nil = in the store only
}

// sendable says whether an item may leave.
func (it *item) sendable() bool {
	return it.durable || it.sub != nil && it.sub.Kind == store.SubmitMessage
}

const (
	// scanPage is how many rows of the outbox are read at once at start-up.
	scanPage = 500
	// maxHeld bounds the bodies that are kept in memory from when they were
	// written; beyond it they are read back when their turn comes.
	maxHeld = 64 << 20
)

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
	for _, s := range o.senders {
		o.launch(s)
	}
	o.mu.Unlock()
	o.background(o.f.judgeWaiting)
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
		o.mu.Lock()
		for i := range page {
			o.put(&page[i], true)
			after = page[i].ID
		}
		o.mu.Unlock()
	}
}

// insert puts submissions into their lanes, from inside the transaction that
// writes them. Each is followed by one settle. What is not to be sent is left out.
func (o *outbox) insert(list ...store.Submission) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range list {
		if s := &list[i]; s.State == store.Queued && s.Accepted == 0 {
			o.put(s, false).open++
		}
	}
}

// put finds or makes the item of a submission, at the place of its ID, and
// offers its lane. The pointer is good until the next change of the lane. o.mu
// is held.
func (o *outbox) put(s *store.Submission, durable bool) *item {
	l := o.lane(laneKey{s.Client, s.Hub})
	i, found := l.find(s.ID)
	if !found {
		it := item{id: s.ID, size: len(s.Body), attempts: s.Attempts}
		o.burden.add(l.key, 1, it.size)
		if o.held+len(s.Body) <= maxHeld {
			it.sub = s
			o.held += len(s.Body)
		}
		l.items = slices.Insert(l.items, i, it)
	}
	l.items[i].durable = l.items[i].durable || durable
	o.offer(l)
	return &l.items[i]
}

// lane finds or makes a lane. o.mu is held.
func (o *outbox) lane(key laneKey) *lane {
	l := o.lanes[key]
	if l == nil {
		l = &lane{key: key}
		o.lanes[key] = l
	}
	return l
}

func (l *lane) find(id uint64) (int, bool) {
	if n := len(l.items); n == 0 || l.items[n-1].id < id { // nearly always
		return n, false
	}
	return slices.BinarySearchFunc(l.items, id, func(it item, id uint64) int {
		return int(min(max(int64(it.id-id), -1), 1))
	})
}

// settle says whether the transaction that wrote submissions took effect. Those
// that did not leave their lanes, unless another call has them too.
func (o *outbox) settle(durable bool, list ...store.Submission) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range list {
		l := o.lanes[laneKey{list[i].Client, list[i].Hub}]
		if l == nil {
			continue // it has been sent by now
		}
		at, found := l.find(list[i].ID)
		if !found {
			continue
		}
		it := &l.items[at]
		it.open--
		it.durable = it.durable || durable
		if !it.durable && it.open <= 0 {
			o.remove(l, at, at+1)
		}
		o.offer(l)
	}
}

// remove takes items out of a lane. o.mu is held.
func (o *outbox) remove(l *lane, from, to int) {
	for i := from; i < to; i++ {
		o.burden.add(l.key, -1, -l.items[i].size)
		if s := l.items[i].sub; s != nil {
			o.held -= len(s.Body)
		}
	}
	if from > 0 {
		l.items = slices.Delete(l.items, from, to)
		return
	}
	clear(l.items[:to])
	l.items = l.items[to:]
}

// drop takes the items with these ids, ascending, out of a lane. Nearly always
// they are its front. o.mu is held.
func (o *outbox) drop(l *lane, ids []uint64) {
	front := 0
	for front < len(ids) && front < len(l.items) && l.items[front].id == ids[front] {
		front++
	}
	o.remove(l, 0, front)
	for _, id := range ids[front:] {
		if at, found := l.find(id); found {
			o.remove(l, at, at+1)
		}
	}
}

// offer puts a lane in line if its front may leave. o.mu is held.
func (o *outbox) offer(l *lane) {
	if l.taken {
		return
	}
	if len(l.items) == 0 {
		delete(o.lanes, l.key)
		return
	}
	if !l.items[0].sendable() {
		return // settle offers it again
	}
	l.taken = true
	s := o.senders[l.key.hub]
	if s == nil {
		s = &sender{hub: l.key.hub}
		o.senders[l.key.hub] = s
	}
	s.line = append(s.line, l)
	o.launch(s)
}
