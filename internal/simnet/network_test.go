package simnet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"hubbub/internal/store"
	"hubbub/mimi"
)

// network holds every request and every answer until the simulator picks it.
type network struct {
	mu      sync.Mutex
	waiting []*message
	counts  map[string]int
	blocked map[link]bool // requests on it are refused, answers are lost

	tap func(m *message, r reply)                            // hears every answer; nil = nobody
	out func(from, to mimi.Domain, what string, body []byte) // and what hubs ship
}

type link struct{ from, to string }

// message is a request on its way, then its answer on the way back.
type message struct {
	key   string // who asks whom for what; with n it is unique
	n     int    // how many requests with that key there were before
	copy  int    // 0 = the request itself, else the network's repetition of it
	from  string // a domain or a client
	to    mimi.Domain
	life  *life // of the sender; nil for a client
	after bool  // sent by a life that had crashed already: it never left

	do     func(ctx context.Context, to *life) (any, error)
	caller chan reply // takes one reply; nil if nobody waits

	by     *life  // who handled it
	answer *reply // nil: it is still a request
}

type reply struct {
	value any
	err   error
}

// errNetwork is silence: the request, or the answer, was lost.
var errNetwork = errors.New("network: no answer")

func (m *message) String() string {
	s := fmt.Sprintf("%s ·%d", m.key, m.n)
	if m.copy > 0 {
		s += fmt.Sprintf(" copy %d", m.copy)
	}
	return s
}

// call asks another party. It returns when the simulator lets it.
func (w *network) call(ctx context.Context, from *life, m *message) (any, error) {
	m.caller = make(chan reply, 1)
	m.life = from
	if from != nil {
		m.from, m.after = string(from.p.domain), from.doomed.Load()
	}
	m.key = fmt.Sprintf("%s>%s %s", m.from, m.to, m.key)
	w.mu.Lock()
	m.n = w.counts[m.key]
	w.counts[m.key]++
	w.waiting = append(w.waiting, m)
	w.mu.Unlock()
	select {
	case r := <-m.caller:
		return r.value, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// list gives what can happen next, in an order that depends on nothing but the
// messages themselves.
func (w *network) list() []*message {
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.SortFunc(w.waiting, func(a, b *message) int {
		return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.n, b.n), cmp.Compare(a.copy, b.copy))
	})
	return slices.Clone(w.waiting)
}

func (w *network) remove(m *message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting = slices.DeleteFunc(w.waiting, func(x *message) bool { return x == m })
}

// died takes the answers a dead life still owed off the network, and what it
// would have sent after its end. Who waits for such an answer hears nothing.
func (w *network) died(l *life) {
	for _, m := range w.list() {
		switch {
		case m.life == l && m.after:
			w.remove(m)
		case m.answer != nil && m.by == l:
			w.reply(m, reply{err: errNetwork})
		}
	}
}

// reply ends a message and tells whoever waits for it.
func (w *network) reply(m *message, r reply) {
	w.remove(m)
	if w.tap != nil {
		w.tap(m, r)
	}
	if m.caller != nil {
		m.caller <- r
	}
}

func (w *network) isBlocked(from, to string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.blocked[link{from, to}]
}

// ghost leaves a request on the network whose caller has given up, or makes a
// second one of it.
func (w *network) ghost(m *message) *message {
	g := *m
	g.caller, g.copy = nil, m.copy+1
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, x := range w.waiting {
		if x.key == g.key && x.n == g.n && x.copy >= g.copy {
			g.copy = x.copy + 1
		}
	}
	w.waiting = append(w.waiting, &g)
	return &g
}

// deliver hands a request to whoever lives at its destination. The answer joins
// what waits.
func (s *sim) deliver(m *message) {
	to := s.providers[m.to].life
	if to == nil || s.net.isBlocked(m.from, string(m.to)) {
		s.net.reply(m, reply{err: errNetwork})
		return
	}
	s.net.remove(m)
	m.by = to
	go func() {
		if m.life != nil {
			to.fanout.PeerAlive(m.life.p.domain)
			to.follower.PeerAlive(m.life.p.domain)
			to.hub.PeerAlive(m.life.p.domain)
		}
		value, err := m.do(to.ctx, to)
		if to.dead.Load() {
			value, err = nil, errNetwork
		}
		wire := onTheWire(err)
		if wire != err {
			s.note("   %s: %v", m.to, err)
		}
		m.answer = &reply{value, wire}
		s.net.mu.Lock()
		defer s.net.mu.Unlock()
		s.net.waiting = append(s.net.waiting, m)
	}()
}

// onTheWire is what the other side learns of an error: a refusal as it is,
// anything else as the class of our own failure.
func onTheWire(err error) error {
	var p *mimi.Problem
	switch {
	case err == nil, errors.Is(err, errNetwork), errors.As(err, &p):
		return err
	case errors.Is(err, store.ErrFull):
		p = mimi.NewProblem(http.StatusInsufficientStorage, "storage-full", "nothing was stored; try again later")
	default:
		p = mimi.NewProblem(http.StatusServiceUnavailable, mimi.CodeUnavailable, "the request was not carried out; try again later")
	}
	p.RetryAfter = 5 * time.Second
	return p
}

// answer brings an answer to its caller, or loses it.
func (s *sim) answer(m *message, lose bool) {
	if lose || s.net.isBlocked(string(m.to), m.from) || m.life != nil && m.life.dead.Load() {
		s.net.reply(m, reply{err: errNetwork})
		return
	}
	s.net.reply(m, *m.answer)
}
