package hub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"sync"

	"hubbub/internal/record"
	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// maxTogether bounds how many writes to one room share a transaction, so that
// nobody waits long behind a crowd.
const maxTogether = 256

// line is where writes to a room wait. While one batch becomes durable the next
// gathers, so that many writers share one commit.
type line struct {
	mu      sync.Mutex
	waiting []*write
	served  bool // a goroutine is in serve
}

// post hands writes to their room, in order, and waits for all their answers. If
// nobody is before them their own goroutine has the room decide.
func (h *Hub) post(uri mimi.RoomURI, list []*write) {
	if uri.Domain() != h.cfg.Domain {
		failAll(list, errNoRoom())
		return
	}
	var done sync.WaitGroup
	done.Add(len(list))
	for _, w := range list {
		w.done = &done
	}
	r := h.hosted(uri)
	r.line.mu.Lock()
	if r.line.served || len(list) > maxTogether {
		r.line.waiting = append(r.line.waiting, list...)
		list = nil
	}
	mine := !r.line.served
	r.line.served = true
	r.line.mu.Unlock()
	if list != nil {
		h.together(uri, list)
	}
	if mine {
		h.handOver(uri, r)
	}
	done.Wait()
}

// handOver has somebody else decide on what has come to wait meanwhile.
func (h *Hub) handOver(uri mimi.RoomURI, r *hosted) {
	r.line.mu.Lock()
	defer r.line.mu.Unlock()
	if r.line.served = len(r.line.waiting) > 0; r.line.served {
		go h.serve(uri, r)
	}
}

// serve decides on what waits until nothing does.
func (h *Hub) serve(uri mimi.RoomURI, r *hosted) {
	for {
		r.line.mu.Lock()
		list := r.line.waiting
		if len(list) == 0 {
			r.line.served = false
			r.line.mu.Unlock()
			return
		}
		n := min(len(list), maxTogether)
		r.line.waiting = list[n:]
		r.line.mu.Unlock()
		h.together(uri, list[:n])
	}
}

// together decides on a batch. A fault of ours costs its writers an answer and
// the room its memory, and no more.
func (h *Hub) together(uri mimi.RoomURI, list []*write) {
	ctx := context.Background()
	r, err := h.lock(ctx, uri)
	if err != nil {
		failAll(list, err)
		return
	}
	defer r.mu.Unlock()
	defer func() {
		if v := recover(); v != nil {
			h.cfg.Log.Error("hub: panic in a room", "what", fmt.Sprintf("%T", v), "stack", string(debug.Stack()))
			r.state = nil
			failAll(list, errors.New("hub: the write hit a fault"))
		}
	}()
	for _, w := range list {
		w.room = r
	}
	if err := h.reconcile(ctx, uri, r); err != nil {
		failAll(list, err)
		return
	}
	for rest := list; len(rest) > 0; {
		n := 0
		for n < len(rest) && rest[n].message {
			n++
		}
		if n == 0 {
			rest[0].single(ctx)
			n = 1
		} else {
			h.messages(ctx, r, rest[:n])
		}
		rest = rest[n:]
	}
}

func failAll(list []*write, err error) {
	for _, w := range list {
		w.settle(nil, err)
	}
}

// settle gives a write its answer, once.
func (w *write) settle(answer []byte, err error) {
	if w.settled {
		return
	}
	w.settled, w.answer, w.err = true, answer, err
	if w.done != nil {
		w.done.Done()
	}
}

// single decides on one write by itself.
func (w *write) single(ctx context.Context) {
	if w.room.state == nil {
		if err := w.hub.load(ctx, w.uri, w.room); err != nil {
			w.settle(nil, err)
			return
		}
	}
	if !w.room.knows(w.hub.cfg.Domain, w.peer) {
		if let, err := w.invited(ctx); err != nil || !let {
			w.settle(nil, cmp.Or(err, errNoRoom()))
			return
		}
	}
	if w.ahead != nil && w.ahead.stops() {
		w.settle(nil, errNotTried())
		return
	}
	w.settle(w.run(ctx))
}

// errNotTried answers a write of a batch that stands behind one that failed.
func errNotTried() error {
	return mimi.NewProblem(http.StatusServiceUnavailable, "not-tried", "an earlier write of the batch was not taken")
}

// stops says whether nothing behind this write in its batch may be tried: it
// was not decided on, or it is a handshake, refused, that they may be built on.
func (w *write) stops() bool {
	return w.err != nil || !w.message && w.refused
}

// messages decides on application messages in one transaction. Whether one is a
// repeat is looked up only if it is not accepted as new; see decide.
func (h *Hub) messages(ctx context.Context, r *hosted, list []*write) {
	if len(list) == 1 || r.state == nil {
		for _, w := range list {
			w.single(ctx)
		}
		return
	}
	state, now := *r.state, h.nowMS()
	rows, fresh, held := make([]store.Append, 0, len(list)), make([]*write, 0, len(list)), make(map[[32]byte]bool, len(list))
	var rest []*write
	for _, w := range list {
		if !r.knows(h.cfg.Domain, w.peer) {
			w.settle(nil, errNoRoom())
			continue
		}
		if held[w.hash] || w.ahead != nil && (w.ahead.deferred || w.ahead.settled && w.ahead.stops()) {
			w.deferred = true
			rest = append(rest, w)
			continue
		}
		next, eff, err := room.Step(h.cfg.Env, state, w.in, now)
		if err != nil {
			w.settle(nil, err)
			continue
		}
		if eff.Entry == nil || h.limited(w.peer) {
			w.deferred = eff.Entry != nil
			rest = append(rest, w)
			continue
		}
		row, err := record.Append(h.cfg.Domain, state.Pos, &next, &eff)
		if err != nil {
			w.settle(nil, err)
			continue
		}
		held[w.hash], w.frank = true, eff.Entry.Frank
		rows, fresh, state = append(rows, row), append(fresh, w), next
	}
	rest = append(h.accept(ctx, r, state, rows, fresh), rest...)
	for _, w := range rest {
		w.single(ctx)
	}
}

func (h *Hub) limited(peer mimi.Domain) bool { return h.cfg.Limit != nil && h.cfg.Limit(peer) != nil }

// accept stores the entries of a batch and answers their writers. It returns
// those it could not decide on: some are repeats, or the room has another writer.
func (h *Hub) accept(ctx context.Context, r *hosted, next room.State, rows []store.Append, list []*write) (undecided []*write) {
	if len(rows) == 0 {
		return nil
	}
	prev := r.state.Pos
	err := h.commit(ctx, r, next, func(tx store.Tx) error {
		if err := tx.AppendAll(rows); err != nil {
			return err
		}
		return h.extend(tx, prev, next.Pos, rows)
	})
	switch {
	case errors.Is(err, store.ErrConflict):
		return list
	case errors.Is(err, store.ErrExists):
		return h.withoutRepeats(ctx, r, list)
	case err != nil:
		failAll(list, err)
		return nil
	}
	h.cfg.Wake(next.Room)
	for i, w := range list {
		w.settle(w.answers.accepted(rows[i].Entry.Timestamp, w.frank))
	}
	return nil
}

// extend has queues of followers that are at rest begin with the new entries in
// the transaction that stores them, which spares each a commit of its own.
func (h *Hub) extend(tx store.Tx, prev, next room.Pos, rows []store.Append) error {
	if h.cfg.Shipper == nil {
		return nil
	}
	size := 0
	for i := range rows {
		size += len(rows[i].Entry.Body)
	}
	return h.cfg.Shipper.Extend(tx, rows[0].Room, prev.Seq, next.Seq, size)
}

// withoutRepeats answers the repeats among messages and decides on the others
// again. What is still undecided then goes one by one.
func (h *Hub) withoutRepeats(ctx context.Context, r *hosted, list []*write) (undecided []*write) {
	err := h.cfg.Store.View(ctx, func(tx store.ReadTx) error {
		for _, w := range list {
			entry, err := tx.EntryByMessage(w.uri, w.hash)
			switch {
			case errors.Is(err, store.ErrNotFound) || err == nil && !w.answers.repeats(entry):
				undecided = append(undecided, w)
			case err != nil:
				return err
			default:
				w.settle(again(w.answers, entry))
			}
		}
		return nil
	})
	if err != nil {
		failAll(list, err)
		return nil
	}
	if len(undecided) == len(list) {
		return undecided
	}
	h.messages(ctx, r, undecided)
	return nil
}
