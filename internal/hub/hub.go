// Package hub runs the rooms we host: it is the only writer of their logs.
//
// Every write takes the same path, whoever sends it: parse, find the room, see
// that the peer has a part in it, then, one at a time per room, Step, one store
// transaction with the entry and all that follows from it, and only after that
// the answer. A repeat of something already accepted is answered with the same
// octets as the first time, whatever has happened to epoch and roles since.
package hub

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
	"hubbub/mls"
)

// Shipper is told about followers whose queue has just been written or may be:
// that a log has grown is announced through Config.Wake.
type Shipper interface {
	Follow(uri mimi.RoomURI, peer mimi.Domain)
	// Extend is called in the transaction that appends the entries (from, to],
	// size octets of messages: followers that have everything up to from may be
	// given them as their next batch.
	Extend(tx store.Tx, uri mimi.RoomURI, from, to uint64, size int) error
	// Confirmed is called when a follower has shown that it holds a log up to a
	// place.
	Confirmed(ctx context.Context, uri mimi.RoomURI, peer mimi.Domain, upTo uint64) error
}

// Config is what a Hub needs.
type Config struct {
	Domain mimi.Domain // ours
	Store  store.Store
	Env    *room.Env
	// SignatureKey signs what the hub says in its own name: it is the key of
	// the hub's entry in the external_senders of its rooms.
	SignatureKey *mls.SignatureKey

	Shipper Shipper
	// Followers is how followers are asked for what we may have lost; nil = they
	// are not.
	Followers Followers
	// Lost is the reason for which a room is frozen whose log is known to have
	// lost its end, and Expected the place up to which it is known; optional.
	Lost     string
	Expected func(mimi.RoomURI) room.Pos
	// Patience is until when no room is written of which a follower has not said
	// since the start what it holds; zero = such a follower is let go at once. It is
	// for a start from a backup, which is known to lack something.
	Patience time.Time

	Wake       func(mimi.RoomURI)      // a room's log has grown; must not block
	WakeClient func(mimi.ClientURI)    // a client has a new Welcome; must not block
	Now        func() time.Time        // nil = time.Now
	Log        *slog.Logger            // nil = discard
	Limit      func(mimi.Domain) error // rate limit of a peer; nil = none
	Codes      Tries                   // of joining codes; nil = as many as they like
	MaxRooms   int                     // how many are held in memory; 0 = 10,000
}

// Hub is safe for concurrent use.
type Hub struct {
	cfg      Config
	signed   signed
	patience time.Duration // batchPatience, outside tests
	awaited  atomic.Int64  // rooms that Reconcile found to wait for a follower

	mu     sync.Mutex
	rooms  map[mimi.RoomURI]*hosted
	silent map[mimi.Domain]time.Time // followers that did not answer, and when
}

// hosted is a room in memory. A nil state has to be loaded from the store.
type hosted struct {
	line line

	mu         sync.Mutex // held from Step until the transaction is durable
	gone       bool       // no longer the room's place: whoever waited for it looks again
	state      *room.State
	reconciled bool                 // with its followers, since the start
	unsure     bool                 // a commit had an unknown outcome since it was loaded
	followers  map[mimi.Domain]bool // every pair in the store; true = it still gets entries
}

// New makes a Hub.
func New(cfg Config) *Hub {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Wake == nil {
		cfg.Wake = func(mimi.RoomURI) {}
	}
	if cfg.MaxRooms == 0 {
		cfg.MaxRooms = maxRooms
	}
	if cfg.WakeClient == nil {
		cfg.WakeClient = func(mimi.ClientURI) {}
	}
	return &Hub{cfg: cfg, patience: batchPatience, rooms: map[mimi.RoomURI]*hosted{}, silent: map[mimi.Domain]time.Time{}}
}

func (h *Hub) nowMS() uint64 { return uint64(h.cfg.Now().UnixMilli()) }

// errNoRoom is the one answer for a room that does not exist, that is not ours
// and in which the peer has no part: they must not be told apart.
func errNoRoom() error {
	return mimi.NewProblem(http.StatusNotFound, mimi.CodeNoSuchRoom, "no such room")
}

// lock returns a room with its mutex held and its state loaded.
func (h *Hub) lock(ctx context.Context, uri mimi.RoomURI) (*hosted, error) {
	if uri.Domain() != h.cfg.Domain {
		return nil, errNoRoom()
	}
	r := h.hosted(uri)
	for r.mu.Lock(); r.gone; r.mu.Lock() {
		r.mu.Unlock()
		r = h.hosted(uri)
	}
	if r.state != nil {
		return r, nil
	}
	if err := h.load(ctx, uri, r); err != nil {
		defer r.mu.Unlock()
		if errors.Is(err, store.ErrNotFound) {
			h.forget(uri, r)
			return nil, errNoRoom()
		}
		return nil, err
	}
	return r, nil
}

// hosted finds or makes the place of a room in memory.
func (h *Hub) hosted(uri mimi.RoomURI) *hosted {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.rooms[uri]
	if r == nil {
		h.evict()
		r = &hosted{}
		h.rooms[uri] = r
	}
	return r
}

// maxRooms bounds how many rooms are held in memory unless Config says otherwise.
const maxRooms = 10_000

// evict makes place for a room by dropping one that nobody uses just now. Who
// is about to finds it gone and looks again: a room has one place in memory, or
// two would decide on it, each on a state that the other has moved on from.
// h.mu is held.
func (h *Hub) evict() {
	if len(h.rooms) < h.cfg.MaxRooms {
		return
	}
	for uri, r := range h.rooms {
		if r.mu.TryLock() {
			r.gone = true
			delete(h.rooms, uri)
			r.mu.Unlock()
			return
		}
	}
}

// forget drops a room that turned out not to exist, so that asking for rooms
// at random costs no memory. r.mu is held.
func (h *Hub) forget(uri mimi.RoomURI, r *hosted) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r.gone = true
	if h.rooms[uri] == r {
		delete(h.rooms, uri)
	}
}

// load reads a room from the store. r.mu is held.
func (h *Hub) load(ctx context.Context, uri mimi.RoomURI, r *hosted) error {
	var rec *store.RoomRecord
	followers := map[mimi.Domain]bool{}
	err := h.cfg.Store.View(ctx, func(tx store.ReadTx) (err error) {
		if rec, err = tx.Room(uri); err != nil {
			return err
		}
		return loadFollowers(tx, uri, followers)
	})
	if err != nil {
		return err
	}
	state, err := room.Decode(h.cfg.Env, rec.State)
	if err != nil {
		return err
	}
	state = state.At(rec.Head, rec.LastTimestamp, rec.Frozen)
	r.state, r.followers = &state, followers
	if r.unsure {
		r.unsure = false
		h.tellAll(uri, r)
	}
	return nil
}

// tellAll announces a room of which an entry may have been stored without
// anybody hearing of it, as its writer was told that nobody knows.
func (h *Hub) tellAll(uri mimi.RoomURI, r *hosted) {
	if h.cfg.Shipper != nil {
		for peer := range r.followers {
			h.cfg.Shipper.Follow(uri, peer)
		}
	}
	h.cfg.Wake(uri)
}

// loadFollowers finds the pairs of one room: its followers are among the
// providers whose users its history names.
func loadFollowers(tx store.ReadTx, uri mimi.RoomURI, followers map[mimi.Domain]bool) error {
	history, err := tx.History(uri, 0)
	if err != nil {
		return err
	}
	seen := map[mimi.Domain]bool{}
	for _, c := range history {
		peer := c.User.Domain()
		if seen[peer] {
			continue
		}
		seen[peer] = true
		f, err := tx.Fanout(uri, peer)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		followers[peer] = f.Until == 0
	}
	return nil
}

// knows says whether a peer has or had a part in a room, so that what it sends
// is judged by the room's rules instead of being answered as if there were none.
func (r *hosted) knows(self, peer mimi.Domain) bool {
	if peer == self {
		return true
	}
	_, known := r.followers[peer]
	return known || r.state.Participates(peer)
}

// commit makes an accepted step durable. On success the new state is in force
// when it returns; after an unknown outcome or a lost race nothing is kept in
// memory and the next caller loads the room again. r.mu is held.
func (h *Hub) commit(ctx context.Context, r *hosted, next room.State, write func(store.Tx) error) error {
	err := h.cfg.Store.Update(ctx, func(tx store.Tx) error {
		if err := write(tx); err != nil {
			return err
		}
		return keepLinks(tx, r.state, &next, next.LastTimestamp)
	})
	switch {
	case err == nil:
		r.state = &next
	case errors.Is(err, store.ErrUnknownOutcome):
		r.state, r.unsure = nil, true
	case errors.Is(err, store.ErrConflict):
		r.state = nil
	}
	return err
}
