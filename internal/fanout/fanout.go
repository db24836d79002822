// Package fanout ships the logs of the rooms we host to their followers.
//
// It is log shipping: per (room, follower) pair the store holds how far the
// follower has acknowledged the log (Acked) and where the batch now under way
// ends (Sent). Sent is durable before the first octet leaves, so a retry, even
// one after a crash, repeats the very same body. A pair never has two requests
// in flight; pairs do not wait for each other beyond a bound on the number of
// requests running at once. There are no rows per message.
//
// A Welcome travels alone, after the entry of its commit and before any later
// one; see plan in batch.go.
//
// Whoever appends to a log calls Wake afterwards; a pair that is new is
// announced with Follow. A lost call costs latency until the next one, never a
// message: Run starts by scanning the store.
package fanout

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"hubbub/internal/backoff"
	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/internal/tail"
	"hubbub/mimi"
)

// Sender delivers one notify request. A nil error means that the peer has
// stored everything in body. A refusal is a *mimi.Problem; every other error
// means that the outcome is unknown.
type Sender interface {
	Notify(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI, pos room.Pos, body []byte) error
}

// Config is what a Fanout needs. Zero values of the optional fields mean the
// default in brackets.
type Config struct {
	Store  store.Store
	Sender Sender
	Tails  *tail.Tails  // filled by Store; nil = everything is read from Store
	Log    *slog.Logger // [discard]

	MaxInFlight   int            // requests at once over all pairs [128]; one peer gets an eighth of them at most
	MaxBatch      int            // messages per request [256]
	MaxBatchBytes int            // octets per request beyond the first message [1 MiB]
	MaxRefusals   int            // 4xx answers to one batch before its pair is parked [3]
	Retention     time.Duration  // how old an entry may be that a failing follower still gets by itself [30 days]
	Linger        time.Duration  // how long a queue with nothing to send waits to store that [20 ms]
	Jitter        backoff.Jitter // [full jitter]
}

// Fanout is the queue runner of one hub. Its methods are safe for concurrent
// use.
type Fanout struct {
	cfg   Config
	slots chan struct{} // one per request that may run

	mu      sync.Mutex
	ctx     context.Context // of Run; nil while it is not running
	workers sync.WaitGroup
	rooms   map[mimi.RoomURI]map[mimi.Domain]*queue
	waiting map[mimi.Domain]map[*queue]struct{} // queues in backoff, by peer
	shares  map[mimi.Domain]chan struct{}       // of the slots, by peer
	heard   mimi.Domain                         // the peer heard of last
}

// New makes a Fanout; Run sets it going.
func New(cfg Config) *Fanout {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	orDefault(&cfg.MaxInFlight, 128)
	orDefault(&cfg.MaxBatch, 256)
	orDefault(&cfg.MaxBatchBytes, 1<<20)
	orDefault(&cfg.MaxRefusals, 3)
	if cfg.Retention == 0 {
		cfg.Retention = 30 * 24 * time.Hour
	}
	if cfg.Linger == 0 {
		cfg.Linger = 20 * time.Millisecond
	}
	return &Fanout{
		cfg:     cfg,
		slots:   make(chan struct{}, cfg.MaxInFlight),
		rooms:   map[mimi.RoomURI]map[mimi.Domain]*queue{},
		waiting: map[mimi.Domain]map[*queue]struct{}{},
		shares:  map[mimi.Domain]chan struct{}{},
	}
}

func orDefault(v *int, def int) {
	if *v == 0 {
		*v = def
	}
}

// Run loads all pairs from the store and ships until ctx ends. It returns nil
// then, after its workers have stopped, or an error if the store cannot be read.
func (f *Fanout) Run(ctx context.Context) error {
	var states []store.FanoutState
	err := f.cfg.Store.View(ctx, func(tx store.ReadTx) (err error) {
		states, err = tx.Fanouts()
		return err
	})
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	f.mu.Lock()
	f.ctx = ctx
	for _, s := range states {
		q := f.queue(s.Room, s.Peer)
		q.status.Parked = s.Parked
		f.kick(q)
	}
	for _, peers := range f.rooms { // announced before Run
		for _, q := range peers {
			f.kick(q)
		}
	}
	f.mu.Unlock()

	<-ctx.Done()
	f.mu.Lock()
	f.ctx = nil // no worker starts from here on
	f.mu.Unlock()
	f.workers.Wait()
	return nil
}

// Follow makes a pair known that has just been written to the store, and starts
// shipping to it.
func (f *Fanout) Follow(uri mimi.RoomURI, peer mimi.Domain) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kick(f.queue(uri, peer))
}

// Wake says that the log of a room has grown. The peer heard of last has posted most
// likely, and is in no hurry. It is set going first: of those that are, the
// scheduler of Go runs the last one at once and the others in order.
func (f *Fanout) Wake(uri mimi.RoomURI) {
	f.mu.Lock()
	defer f.mu.Unlock()
	peers := f.rooms[uri]
	if q := peers[f.heard]; q != nil {
		f.kick(q)
	}
	for peer, q := range peers {
		if peer != f.heard {
			f.kick(q)
		}
	}
}

// Extend makes the entries (from, to] of a room, size octets of messages, the
// next batch of every follower that has all before them and is waiting for more.
// It is called in the transaction that appends them; Wake follows once that is
// durable.
func (f *Fanout) Extend(tx store.Tx, uri mimi.RoomURI, from, to uint64, size int) error {
	if to-from > uint64(f.cfg.MaxBatch) || size > f.cfg.MaxBatchBytes {
		return nil
	}
	type place struct {
		q     *queue
		acked uint64
	}
	var places []place
	f.mu.Lock()
	for _, q := range f.rooms[uri] {
		switch {
		case q.again:
		case q.resting && q.acked == from:
			places = append(places, place{q, 0})
		case !q.running:
			places = append(places, place{q, from})
		}
	}
	f.mu.Unlock()
	for _, p := range places {
		done, err := tx.ExtendFanout(uri, p.q.peer, p.acked, from, to)
		if err != nil {
			return err
		}
		if done {
			tail.Then(tx, func() {
				f.mu.Lock()
				defer f.mu.Unlock()
				p.q.extended = span{from, to}
			})
		}
	}
	return nil
}

// PeerAlive says that something was heard from a peer: whatever waits for it
// tries again now, unless the peer itself asked for a pause.
func (f *Fanout) PeerAlive(peer mimi.Domain) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.heard = peer
	for q := range f.waiting[peer] {
		q.revive()
	}
}

// NeedsResync is why a pair is parked whose follower was away for longer than
// entries are kept for it: it has to catch up by itself.
const NeedsResync = "needs resync"

// Confirmed says that a follower has shown, by what it asked for, that it holds
// a room's log up to a place. If its queue waited for just that it goes on there.
func (f *Fanout) Confirmed(ctx context.Context, uri mimi.RoomURI, peer mimi.Domain, upTo uint64) error {
	unparked := false
	err := f.cfg.Store.Update(ctx, func(tx store.Tx) error {
		s, err := tx.Fanout(uri, peer)
		if err != nil || s.Parked == "" || upTo < s.Sent {
			return err
		}
		unparked = true
		s.Acked, s.Sent, s.Parked = upTo, upTo, ""
		return tx.PutFanout(*s)
	})
	if err == nil && unparked {
		f.unpark(uri, peer)
	}
	return err
}

// unpark sets a pair going whose row says that it is not parked any more.
func (f *Fanout) unpark(uri mimi.RoomURI, peer mimi.Domain) {
	f.mu.Lock()
	defer f.mu.Unlock()
	q := f.queue(uri, peer)
	q.status.Parked = ""
	f.kick(q)
}

// Resume sets a parked pair going again: what an operator does after the cause
// is gone.
func (f *Fanout) Resume(ctx context.Context, uri mimi.RoomURI, peer mimi.Domain) error {
	err := f.cfg.Store.Update(ctx, func(tx store.Tx) error {
		s, err := tx.Fanout(uri, peer)
		if err != nil {
			return err
		}
		s.Parked = ""
		return tx.PutFanout(*s)
	})
	if err != nil {
		return err
	}
	f.unpark(uri, peer)
	return nil
}

// Status is how one pair stands.
type Status struct {
	Room     mimi.RoomURI
	Peer     mimi.Domain
	Failures int       // attempts failed in a row; 0 = healthy or idle
	Since    time.Time // of the first of them
	Error    string    // the latest of them
	Next     time.Time // of the next attempt; zero = none is waited for
	Parked   string    // why the pair stands still for good; "" = it does not
}

// Troubled lists the pairs that are failing or parked, in no order.
func (f *Fanout) Troubled() []Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []Status
	for _, peers := range f.rooms {
		for _, q := range peers {
			if q.status.Failures > 0 || q.status.Parked != "" {
				list = append(list, q.status)
			}
		}
	}
	return list
}

// queue returns the queue of a pair, making it if need be. f.mu is held.
func (f *Fanout) queue(uri mimi.RoomURI, peer mimi.Domain) *queue {
	peers := f.rooms[uri]
	if peers == nil {
		peers = map[mimi.Domain]*queue{}
		f.rooms[uri] = peers
	}
	q := peers[peer]
	if q == nil {
		q = &queue{f: f, room: uri, peer: peer, bell: make(chan struct{}, 1), status: Status{Room: uri, Peer: peer}}
		peers[peer] = q
	}
	return q
}

// kick makes a queue look at the store once more. f.mu is held.
func (f *Fanout) kick(q *queue) {
	q.again = true
	signal(q.bell)
	if q.running || q.status.Parked != "" || f.ctx == nil {
		return
	}
	q.running = true
	ctx := f.ctx
	f.workers.Go(func() { q.drain(ctx) })
}

// signal rings a bell that may ring already.
func signal(bell chan struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}

// share is a peer's part of the slots, so that one that does not answer in many
// rooms leaves the others theirs.
func (f *Fanout) share(peer mimi.Domain) chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.shares[peer]
	if c == nil {
		c = make(chan struct{}, max(1, f.cfg.MaxInFlight/8))
		f.shares[peer] = c
	}
	return c
}

// acquire takes a slot for one request to the peer with that share. Who waits for
// its share holds nothing.
func (f *Fanout) acquire(ctx context.Context, share chan struct{}) bool {
	select {
	case share <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	select {
	case f.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		<-share
		return false
	}
}

func (f *Fanout) release(share chan struct{}) {
	<-f.slots
	<-share
}

// refusal finds the peer's refusal in err, if it is one that a retry of the
// same octets is not expected to change.
func refusal(err error) *mimi.Problem {
	var p *mimi.Problem
	if errors.As(err, &p) && p.Status >= 400 && !p.Retryable() {
		return p
	}
	return nil
}
