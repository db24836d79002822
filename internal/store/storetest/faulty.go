package storetest

import (
	"context"
	"errors"
	"sync"

	"hubbub/internal/store"
)

// Fault is what happens to one call of Update.
type Fault int

// The faults. After each of the unknown outcomes the caller must drop what it
// holds in memory and load it again.
const (
	NoFault  Fault = iota
	Refuse         // ErrFull; nothing was written
	FailLose       // ErrUnknownOutcome; nothing was written
	FailKeep       // ErrUnknownOutcome; everything was written
)

// Faulty is a Store on which calls of Update fail as Decide says. Unlike an
// engine it goes on working after an unknown outcome, as if the process had
// been started again at once.
type Faulty struct {
	store.Store
	// Decide is asked at each call of Update, with 1 for the first. It must
	// not use the store.
	Decide func(call int) Fault

	mu    sync.Mutex
	calls int
}

var errInjected = errors.New("injected fault")

// Update implements store.Store.
func (f *Faulty) Update(ctx context.Context, fn func(store.Tx) error) error {
	f.mu.Lock()
	f.calls++
	fault := f.Decide(f.calls)
	f.mu.Unlock()
	switch fault {
	case Refuse:
		return errors.Join(store.ErrFull, errInjected)
	case FailLose:
		// fn runs, as it would have: its effects on memory must not count.
		err := f.Store.Update(ctx, func(tx store.Tx) error { return errors.Join(fn(tx), errInjected) })
		if errors.Is(err, errInjected) {
			return errors.Join(store.ErrUnknownOutcome, errInjected)
		}
		return err
	case FailKeep:
		if err := f.Store.Update(ctx, fn); err != nil {
			return err
		}
		return errors.Join(store.ErrUnknownOutcome, errInjected)
	}
	return f.Store.Update(ctx, fn)
}

// Calls is the number of calls of Update so far.
func (f *Faulty) Calls() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}
