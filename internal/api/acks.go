package api

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"hubbub/internal/store"
	"hubbub/mimi"
)

// ledger gathers what the clients of all streams acknowledge and stores it now and
// then. Nothing but resuming depends on it: what is lost in a crash is sent again,
// and the client knows it already. So nobody waits for it, and what many clients
// say of many messages costs one row each per turn.
type ledger struct {
	store store.Store
	bell  chan struct{} // has a value if something is gathered

	storing sync.Mutex // held while it is stored

	mu       sync.Mutex
	byClient map[mimi.ClientURI]*said
}

// said is what one client acknowledged and the store does not know yet.
type said struct {
	acks    map[mimi.RoomURI]uint64
	settled []string // submissions to forget
}

func newLedger(st store.Store) *ledger {
	return &ledger{store: st, bell: make(chan struct{}, 1), byClient: map[mimi.ClientURI]*said{}}
}

// of finds or makes the page of a client. mu is held.
func (l *ledger) of(c mimi.ClientURI) *said {
	s := l.byClient[c]
	if s == nil {
		s = &said{}
		l.byClient[c] = s
		signal(l.bell)
	}
	return s
}

// ack notes that a client has everything up to seq in a room.
func (l *ledger) ack(c mimi.ClientURI, uri mimi.RoomURI, seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.of(c)
	if s.acks == nil {
		s.acks = map[mimi.RoomURI]uint64{}
	}
	s.acks[uri] = max(s.acks[uri], seq)
}

// settle notes that a client knows how a submission ended, and says how many such
// notes of the client wait.
func (l *ledger) settle(c mimi.ClientURI, txn string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.of(c)
	s.settled = append(s.settled, txn)
	return len(s.settled)
}

// maxTogether is how many acks share a transaction: whatever else is to be stored
// waits for no more than that.
const maxTogether = 128

// flush stores everything gathered. After an error what was not stored waits for
// the next turn.
func (l *ledger) flush(ctx context.Context) error {
	l.storing.Lock()
	defer l.storing.Unlock()
	l.mu.Lock()
	all := l.byClient
	l.byClient = map[mimi.ClientURI]*said{}
	l.mu.Unlock()
	for len(all) > 0 {
		some := portion(all)
		err := l.store.Update(ctx, func(tx store.Tx) error {
			for c, s := range some {
				if err := s.write(tx, c); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			l.putBack(some)
			l.putBack(all)
			return err
		}
	}
	return nil
}

// portion takes clients from all, until their acks are enough for a transaction.
func portion(all map[mimi.ClientURI]*said) map[mimi.ClientURI]*said {
	some, n := map[mimi.ClientURI]*said{}, 0
	for c, s := range all {
		if n >= maxTogether {
			break
		}
		n += len(s.acks) + 1 + len(s.settled)/64
		some[c] = s
		delete(all, c)
	}
	return some
}

func (s *said) write(tx store.Tx, c mimi.ClientURI) error {
	for uri, seq := range s.acks {
		if err := tx.Ack(c, uri, seq); err != nil && !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("storing ack: %w", err)
		}
	}
	if err := tx.DeleteSubmissions(c, s.settled); err != nil {
		return fmt.Errorf("forgetting submissions: %w", err)
	}
	return nil
}

// putBack gathers anew what could not be stored.
func (l *ledger) putBack(all map[mimi.ClientURI]*said) {
	for c, s := range all {
		for uri, seq := range s.acks {
			l.ack(c, uri, seq)
		}
		for _, txn := range s.settled {
			l.settle(c, txn)
		}
	}
}

// flushOf stores what a client has said, if there is anything: its next stream
// resumes there.
func (l *ledger) flushOf(ctx context.Context, c mimi.ClientURI) error {
	l.storing.Lock() // what is being stored just now counts
	l.mu.Lock()
	waits := l.byClient[c] != nil
	l.mu.Unlock()
	l.storing.Unlock()
	if !waits {
		return nil
	}
	return l.flush(ctx)
}

// run stores what is gathered every so often until ctx ends, and then the rest.
func (l *ledger) run(ctx context.Context, every time.Duration, failed func(error)) {
	for {
		select {
		case <-ctx.Done():
		case <-l.bell:
			wait(ctx, every)
		}
		err := l.flush(context.WithoutCancel(ctx))
		if ctx.Err() != nil {
			return // if the store is closed they are repeated
		}
		if err != nil {
			failed(err)
		}
	}
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
