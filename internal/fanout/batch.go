package fanout

import (
	"context"
	"errors"
	"fmt"
	"math"

	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/internal/tail"
)

// batch is the body of one notify request.
type batch struct {
	pos     room.Pos // position of its last entry, or of the commit of a Welcome
	body    []byte
	welcome bool // it is a Welcome and moves no position
	freeze  bool // it is new: Sent has to be stored before it leaves
}

// errMoved says that the stored state is not what the batch was planned on.
var errMoved = errors.New("fanout: state changed")

// next finds what to send and makes durable what must be: the end of a new
// batch. nil = nothing.
func (q *queue) next(ctx context.Context) (*batch, error) {
	if b, known, err := q.recent(ctx); known || err != nil {
		return b, err
	}
	for {
		var b *batch
		var planned store.FanoutState
		err := q.f.cfg.Store.View(ctx, func(tx store.ReadTx) (err error) {
			planned, b, err = q.plan(tx)
			return err
		})
		if err != nil {
			return nil, err
		}
		switch err := q.persist(ctx, planned, b); {
		case errors.Is(err, errMoved):
			continue
		case err != nil:
			return nil, err
		}
		return b, nil
	}
}

// recent is next without a look at the store. known is false if it takes one. The
// end of the batch is durable already if Extend made it, and is made so otherwise,
// if the row is what we take it for.
func (q *queue) recent(ctx context.Context) (b *batch, known bool, err error) {
	q.f.mu.Lock()
	made := q.extended
	q.extended = span{}
	q.f.mu.Unlock()
	if !q.clear || q.f.cfg.Tails == nil {
		return nil, false, nil
	}
	if made.to != 0 {
		list, _ := q.plain(made.from, int(made.to-made.from), math.MaxInt)
		if q.acked != 0 && q.acked != made.from || uint64(len(list)) != made.to-made.from {
			return nil, false, nil
		}
		return batchOf(list), true, nil
	}
	if q.acked == 0 {
		return nil, false, nil
	}
	list, known := q.plain(q.acked, q.f.cfg.MaxBatch, q.f.cfg.MaxBatchBytes)
	if !known || len(list) == 0 {
		return nil, known, nil
	}
	b, known = batchOf(list), false
	err = q.f.cfg.Store.Update(ctx, func(tx store.Tx) (err error) {
		known, err = tx.ExtendFanout(q.room, q.peer, 0, q.acked, b.pos.Seq)
		return err
	})
	return b, known, err
}

// plain is what memory holds after a place, up to the first entry that may bring a
// Welcome or an end with it. known is false if it does not know, or begins with one.
func (q *queue) plain(after uint64, limit, maxBytes int) (list []*tail.Entry, known bool) {
	list, known = q.f.cfg.Tails.After(q.room, after, limit, maxBytes)
	for i, e := range list {
		if !e.Plain {
			return list[:i], i > 0
		}
	}
	return list, known
}

func batchOf(list []*tail.Entry) *batch {
	size := 0
	for _, e := range list {
		size += len(e.Body)
	}
	b := &batch{body: make([]byte, 0, size)}
	for _, e := range list {
		b.body = append(b.body, e.Body...)
	}
	last := list[len(list)-1]
	b.pos = room.Pos{Seq: last.Seq, Hash: last.Hash}
	return b
}

// plan decides, without writing, what goes out next. In this order: the batch
// already frozen, exactly as it was; a Welcome of the last acknowledged entry;
// new entries, up to the commit of the next Welcome, so that each Welcome
// follows its commit and nothing overtakes it.
func (q *queue) plan(tx store.ReadTx) (store.FanoutState, *batch, error) {
	s, err := tx.Fanout(q.room, q.peer)
	if err != nil {
		return store.FanoutState{}, nil, err
	}
	q.clear = false
	if s.Parked != "" {
		return *s, nil, errStop
	}
	if q.acked == s.Sent {
		s.Acked = s.Sent
	}
	welcomes, err := tx.OutWelcomes(q.room, q.peer, 0)
	if err != nil {
		return *s, nil, err
	}
	q.clear = len(welcomes) == 0 && s.Until == 0
	if s.Acked < s.Sent {
		b, err := q.entries(tx, s.Acked, s.Sent, math.MaxInt, math.MaxInt)
		if err == nil && (b == nil || b.pos.Seq != s.Sent) {
			err = fmt.Errorf("fanout: log of %s lacks entries up to %d", q.room, s.Sent)
		}
		return *s, b, err
	}
	until := uint64(math.MaxUint64)
	if s.Until != 0 {
		until = s.Until
	}
	if len(welcomes) > 0 {
		if w := welcomes[0]; w.Seq <= s.Acked {
			b, err := q.welcome(tx, w)
			return *s, b, err
		}
		until = min(until, welcomes[0].Seq)
	}
	b, err := q.entries(tx, s.Sent, until, q.f.cfg.MaxBatch, q.f.cfg.MaxBatchBytes)
	if b != nil {
		b.freeze = true
	}
	return *s, b, err
}

// entries makes a batch of the entries in (after, until], nil if there are none.
func (q *queue) entries(tx store.ReadTx, after, until uint64, limit, maxBytes int) (*batch, error) {
	if after >= until {
		return nil, nil
	}
	if n := until - after; n < uint64(limit) {
		limit = int(n)
	}
	list, err := tx.Entries(q.room, after, limit, maxBytes)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	var b batch
	for _, e := range list {
		b.body = append(b.body, e.Body...)
		b.pos = room.Pos{Seq: e.Seq, Hash: e.Hash}
	}
	return &b, nil
}

// welcome makes a batch of one Welcome, at the position of its commit.
func (q *queue) welcome(tx store.ReadTx, w store.OutWelcome) (*batch, error) {
	list, err := tx.Entries(q.room, w.Seq-1, 1, 0)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 || list[0].Seq != w.Seq {
		return nil, fmt.Errorf("fanout: log of %s lacks the commit of a Welcome at %d", q.room, w.Seq)
	}
	return &batch{pos: room.Pos{Seq: w.Seq, Hash: list[0].Hash}, body: w.Body, welcome: true}, nil
}

// persist writes what plan found to be true. It costs nothing if the store
// knows already, and errMoved if a writer changed the row in between.
func (q *queue) persist(ctx context.Context, planned store.FanoutState, b *batch) error {
	want := planned
	if b != nil && b.freeze {
		want.Sent = b.pos.Seq
	}
	if want.Sent == planned.Sent {
		return nil
	}
	return q.f.cfg.Store.Update(ctx, func(tx store.Tx) error {
		s, err := tx.Fanout(q.room, q.peer)
		if err != nil {
			return err
		}
		if s.Sent != planned.Sent || s.Until != planned.Until || s.Parked != planned.Parked {
			return errMoved
		}
		if *s == want {
			return nil
		}
		return tx.PutFanout(want)
	})
}
