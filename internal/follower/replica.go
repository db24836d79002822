package follower

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"

	"hubbub/internal/record"
	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// replica is a room in memory. A nil state has to be loaded from the store.
type replica struct {
	mu    sync.Mutex // held while a notification is judged and stored
	state *room.State
	start room.Pos // where our log of it begins
	// waiting is the room's row if it cannot be judged: there is no state then.
	waiting *store.RoomRecord

	seen atomic.Pointer[room.State] // state as it was last, for who must not wait
}

// set makes a state the one in force, nil to have it loaded. r.mu is held.
func (r *replica) set(s *room.State) {
	r.state = s
	r.seen.Store(s)
}

// drop has the room loaded again by who needs it next. r.mu is held.
func (r *replica) drop() {
	r.waiting = nil
	r.set(nil)
}

// MayPost says whether a client is known, without asking the store or waiting for
// anybody, to be able to post to a room. false: the store has to tell.
func (f *Follower) MayPost(uri mimi.RoomURI, client mimi.ClientURI) bool {
	f.mu.Lock()
	r := f.rooms[uri]
	f.mu.Unlock()
	if r == nil {
		return false
	}
	s := r.seen.Load()
	return s != nil && s.MayPost(client)
}

// lock returns a room with its mutex held and its state loaded; state stays
// nil if we do not have the room, and if it cannot be judged: waiting says so.
func (f *Follower) lock(ctx context.Context, uri mimi.RoomURI) (*replica, error) {
	f.mu.Lock()
	r := f.rooms[uri]
	if r == nil {
		f.evict()
		r = &replica{}
		f.rooms[uri] = r
	}
	f.mu.Unlock()

	r.mu.Lock()
	if r.state != nil {
		return r, nil
	}
	err := f.load(ctx, uri, r)
	if errors.Is(err, store.ErrNotFound) {
		f.forget(uri, r)
		return r, nil
	}
	if err != nil {
		r.mu.Unlock()
		return nil, err
	}
	return r, nil
}

// maxReplicas bounds how many rooms are held in memory.
const maxReplicas = 10_000

// evict makes place for a room by dropping one that nobody uses just now. One
// who is about to may work on it once more: the compare-and-swap of the store
// keeps that harmless. f.mu is held.
func (f *Follower) evict() {
	if len(f.rooms) < maxReplicas {
		return
	}
	for uri, r := range f.rooms {
		if r.mu.TryLock() {
			delete(f.rooms, uri)
			r.mu.Unlock()
			return
		}
	}
}

// forget drops a room we do not have, so that asking for rooms at random costs
// no memory.
func (f *Follower) forget(uri mimi.RoomURI, r *replica) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.rooms[uri] == r {
		delete(f.rooms, uri)
	}
}

func (f *Follower) load(ctx context.Context, uri mimi.RoomURI, r *replica) error {
	var rec *store.RoomRecord
	err := f.cfg.Store.View(ctx, func(tx store.ReadTx) (err error) {
		rec, err = tx.Room(uri)
		return err
	})
	if err != nil {
		return err
	}
	r.start, r.waiting = rec.Start, nil
	if len(rec.State) == 0 && rec.Hub != f.cfg.Domain {
		r.waiting = rec
		return nil
	}
	state, err := room.Decode(f.cfg.Env, rec.State)
	if err != nil {
		return err
	}
	state = state.At(rec.Head, rec.LastTimestamp, rec.Frozen)
	r.set(&state)
	return nil
}

// update runs one store transaction. After an unknown outcome or a lost race
// nothing is kept in memory.
func (f *Follower) update(ctx context.Context, r *replica, next room.State, write func(store.Tx) error) error {
	err := f.cfg.Store.Update(context.WithoutCancel(ctx), write)
	switch {
	case err == nil:
		r.set(&next)
	case errors.Is(err, store.ErrUnknownOutcome), errors.Is(err, store.ErrConflict):
		r.set(nil)
	}
	return err
}

// freeze stops a replica whose hub announced something that cannot be true,
// keeps the announcement as evidence, and returns the answer.
func (f *Follower) freeze(ctx context.Context, r *replica, status int, code string, cause error, evidence []byte) error {
	uri := r.state.Room
	f.cfg.Log.Error("follower: room frozen, evidence kept", "hub", r.state.Hub, "code", code)
	next := *r.state
	next.Frozen = code
	err := f.update(ctx, r, next, func(tx store.Tx) error {
		if err := tx.Freeze(uri, code); err != nil {
			return err
		}
		if err := tx.PutMeta(record.EvidenceKey(uri), evidence); err != nil {
			return err
		}
		return tx.Audit(f.cfg.Now(), string(r.state.Hub), "freeze", cause.Error())
	})
	if err != nil {
		return err
	}
	f.cfg.Wake(uri)
	return mimi.NewProblem(status, code, "%s", cause)
}

// Codes of our own answers to a notification.
const (
	codeMismatch   = "log-mismatch" // 409: two versions of one log
	codeBadEntry   = "bad-entry"    // 400: the hub broke the room's rules
	codeGap        = "gap"          // 503: entries before these are missing
	codeUnknownKey = "unknown-key-package"
	codeFrozen     = "room-frozen"
)

// errGap asks the hub to come back: what lies before these entries is missing.
func errGap() error {
	p := mimi.NewProblem(http.StatusServiceUnavailable, codeGap, "entries before these are missing")
	p.RetryAfter = retryGap
	return p
}

func isGap(err error) bool {
	var p *mimi.Problem
	return errors.As(err, &p) && p.Code == codeGap
}
