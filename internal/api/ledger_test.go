package api

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"hubbub/internal/store"
	"hubbub/mimi"
)

// counting is a store that counts transactions and may refuse them.
type counting struct {
	store.Store
	updates int
	refuse  error
}

func (c *counting) Update(ctx context.Context, fn func(store.Tx) error) error {
	c.updates++
	if c.refuse != nil {
		return c.refuse
	}
	return c.Store.Update(ctx, fn)
}

// Many acks of many clients are few transactions, and none is lost when the store
// does not take them at first.
func TestAcksAreStoredTogether(t *testing.T) {
	h := newHarness(t)
	const clients = 200
	var all []mimi.ClientURI
	for i := range clients {
		all = append(all, h.client(alice, fmt.Sprint("phone", i)))
	}
	h.room(lobby, 1, []mimi.UserURI{alice}, all...)
	for i := range 10 {
		h.post(lobby, fmt.Sprint(i))
	}
	st := &counting{Store: h.store, refuse: errors.New("not now")}
	l := newLedger(st)
	for seq := range uint64(10) {
		for _, c := range all {
			l.ack(c, lobby, seq+1)
		}
	}
	if err := l.flush(h.ctx); !errors.Is(err, st.refuse) {
		t.Fatalf("flush: %v", err)
	}
	l.ack(all[0], lobby, 3) // older news
	st.refuse, st.updates = nil, 0
	h.ok(l.flush(h.ctx))
	if st.updates > 4 {
		t.Errorf("%d transactions for one ack each of %d clients", st.updates, clients)
	}
	for _, c := range all {
		h.acked(c, lobby, 10)
	}
	h.ok(l.flush(h.ctx))
	h.ok(l.flushOf(h.ctx, all[0]))
	if st.updates > 4 {
		t.Error("a transaction for nothing")
	}
}

// A client that comes back at once goes on after what it acknowledged, although
// acks are stored later.
func TestAckCountsForTheNextStream(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.AckEvery = time.Hour }) // nobody empties the ledger in time
	phone := h.client(alice, "phone")
	h.room(lobby, 1, []mimi.UserURI{alice}, phone)
	h.post(lobby, "one")
	h.post(lobby, "two")
	s := h.tail(phone)
	s.want(roomFrame(lobby, true, true), entryFrame(lobby, 1, "one"), entryFrame(lobby, 2, "two"), "live")
	s.ack(lobby, 1)
	s.conn.CloseNow()
	for h.s.Notifier.Streams() > 0 { // it takes its leave once the ack is read
		h.ok(h.ctx.Err())
	}
	s = h.tail(phone)
	s.want(roomFrame(lobby, true, true), entryFrame(lobby, 2, "two"), "live")
}
