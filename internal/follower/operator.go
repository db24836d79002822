package follower

import (
	"context"
	"net/http"
	"time"

	"hubbub/internal/record"
	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// Waiting is how the outbox stands towards one hub.
type Waiting struct {
	Failures int       // attempts failed in a row; 0 = healthy or idle
	Since    time.Time // of the first of them
	Error    string    // the latest of them
	Next     time.Time // of the next attempt; zero = none is waited for
}

// Waiting says how the outbox stands towards a hub.
func (f *Follower) Waiting(hub mimi.Domain) Waiting {
	g := f.gates.of(hub)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.failures == 0 {
		return Waiting{}
	}
	return Waiting{Failures: g.failures, Since: g.since, Error: g.lastError, Next: g.notBefore}
}

// Retry ends the waiting for a hub, also a pause that the hub asked for.
func (f *Follower) Retry(hub mimi.Domain) {
	g := f.gates.of(hub)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.failures > 0 {
		g.failures, g.asked, g.notBefore = 1, false, time.Now()
		g.wakeAll()
	}
}

// Take has the outbox send writes that are durable and whose fate nobody knows, such
// as one to a room of ours on which the hub could not decide just now: the client may
// have been told by its stream that it is queued, and not send it again.
func (f *Follower) Take(list ...store.Submission) { f.outbox.resume(list) }

// Thaw lets a replica that is frozen for the reason given go on from what it
// holds. What the hub announces next is judged as ever, so a replica whose hub
// still shows another history freezes again. The evidence is kept.
func (f *Follower) Thaw(ctx context.Context, uri mimi.RoomURI, reason string) (room.Pos, error) {
	r, err := f.lock(ctx, uri)
	if err != nil {
		return room.Pos{}, err
	}
	defer r.mu.Unlock()
	if r.state == nil {
		return room.Pos{}, mimi.NewProblem(http.StatusNotFound, mimi.CodeNoSuchRoom, "no such room")
	}
	next := *r.state
	next.Frozen = ""
	err = f.update(ctx, r, next, func(tx store.Tx) error { return record.Thaw(tx, uri, reason, f.cfg.Now()) })
	if err != nil {
		return room.Pos{}, err
	}
	f.cfg.Wake(uri)
	return next.Pos, nil
}
