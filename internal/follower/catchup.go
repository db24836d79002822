package follower

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"hubbub/internal/catchup"
	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// LogSource fetches the part of a room's log after from: the blocks of package
// catchup and the place they lead to.
type LogSource interface {
	CatchUp(ctx context.Context, hub mimi.Domain, uri mimi.RoomURI, from room.Pos) (head room.Pos, body io.ReadCloser, err error)
}

// maxCatchUps is how many rooms are brought up to date at once.
const maxCatchUps = 4

// Errors of CatchUp.
var (
	// ErrNoSource: the hub does not offer catching up, or nothing was configured.
	ErrNoSource = errors.New("follower: the hub offers no way to catch up")
	// ErrHubBehind: the replica holds more of the log than the hub.
	ErrHubBehind = errors.New("follower: the hub has lost part of the log")
)

// catchUps are the rooms being brought up to date.
type catchUps struct {
	slots chan struct{}
	heard chan struct{} // has a value after word from a peer

	mu      sync.Mutex
	running map[mimi.RoomURI]chan struct{} // closed at the end
}

func newCatchUps() *catchUps {
	return &catchUps{slots: make(chan struct{}, maxCatchUps), heard: make(chan struct{}, 1), running: map[mimi.RoomURI]chan struct{}{}}
}

// CatchUp brings the replica of a room up to the hub's head and returns the place
// it is at then. A room that is not held here is begun anew, if a client of ours
// is in its group. What the hub shows must continue what we hold; otherwise the
// room is frozen with both as evidence. A second call for a room waits for the
// first.
func (f *Follower) CatchUp(ctx context.Context, uri mimi.RoomURI) (room.Pos, error) {
	if uri.Domain() == f.cfg.Domain || f.cfg.Entries == nil {
		return room.Pos{}, ErrNoSource
	}
	for {
		c := f.catching
		c.mu.Lock()
		other := c.running[uri]
		if other == nil {
			mine := make(chan struct{})
			c.running[uri] = mine
			c.mu.Unlock()
			defer func() {
				c.mu.Lock()
				delete(c.running, uri)
				c.mu.Unlock()
				close(mine)
			}()
			break
		}
		c.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return room.Pos{}, ctx.Err()
		}
	}
	select {
	case f.catching.slots <- struct{}{}:
		defer func() { <-f.catching.slots }()
	case <-ctx.Done():
		return room.Pos{}, ctx.Err()
	}
	return f.catchUp(ctx, uri)
}

func (f *Follower) catchUp(ctx context.Context, uri mimi.RoomURI) (room.Pos, error) {
	var begin *room.Snapshot
	pos, err := f.place(ctx, uri)
	if errors.Is(err, store.ErrNotFound) {
		if begin, err = f.startOf(ctx, uri); err == nil {
			pos = begin.Pos
		}
	}
	if err != nil {
		return pos, err
	}
	// The last request gets nothing new: by it the hub learns what we have. One
	// that broke off goes on from where it broke, as long as it got anywhere.
	for {
		before := pos
		pos, err = f.fetchAfter(ctx, uri, pos, begin)
		switch {
		case err != nil && (pos.Seq <= before.Seq || !passing(err) || ctx.Err() != nil):
			return pos, err
		case err == nil && pos == before:
			return pos, nil
		}
		begin = nil
	}
}

// fetchAfter takes in what the hub has after a place, and returns where that led.
// If there is no replica yet it begins at the snapshot given, whose place that is.
func (f *Follower) fetchAfter(ctx context.Context, uri mimi.RoomURI, pos room.Pos, begin *room.Snapshot) (room.Pos, error) {
	head, body, err := f.cfg.Entries.CatchUp(ctx, uri.Domain(), uri, pos)
	if err != nil {
		return pos, f.forked(ctx, uri, pos, err)
	}
	stream := catchup.Receive(body)
	defer stream.Close()
	if head.Seq < pos.Seq {
		return pos, f.hubBehind(ctx, uri, head)
	}
	if begin != nil && head == pos {
		return pos, f.take(ctx, uri, nil, begin)
	}
	for {
		b, err := stream.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return pos, err
		}
		if err := f.take(ctx, uri, b, begin); err != nil {
			return pos, err
		}
		pos, begin = b.Pos, nil
	}
	if pos != head {
		return pos, fmt.Errorf("%w: it ends at %s, not at %s", catchup.ErrBadBlock, pos, head)
	}
	return pos, nil
}

// hubBehind says what it means that a hub's log ends before ours: if ours was
// the same there, the hub has lost entries; if not, it has forked, and the room
// freezes.
func (f *Follower) hubBehind(ctx context.Context, uri mimi.RoomURI, head room.Pos) error {
	r, err := f.lock(ctx, uri)
	if err != nil {
		return err
	}
	defer r.mu.Unlock()
	if r.state == nil {
		return store.ErrNotFound
	}
	f.cfg.Log.Error("follower: the hub holds less of a room than we do", "hub", uri.Domain(), "here", r.state.Pos.String(), "there", head.String())
	var ours []store.Entry
	if head.Seq > 0 {
		err = f.cfg.Store.View(ctx, func(tx store.ReadTx) (err error) {
			ours, err = tx.Entries(uri, head.Seq-1, 1, 0)
			return err
		})
	}
	if err != nil {
		return err
	}
	if len(ours) == 0 || ours[0].Seq != head.Seq || ours[0].Hash == head.Hash { // or it lies before our start
		return ErrHubBehind
	}
	mismatch := &room.MismatchError{Room: uri, Have: room.Pos{Seq: head.Seq, Hash: ours[0].Hash}, Want: head}
	evidence := fmt.Appendf(nil, "have %d:%x\nclaimed %d:%x\n", head.Seq, ours[0].Hash, head.Seq, head.Hash)
	return f.freeze(ctx, r, http.StatusConflict, codeMismatch, mismatch, evidence)
}

// Part finds what our replica of a room holds after from, for the room's hub,
// which has lost it. Nobody else is given anything.
func (f *Follower) Part(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI, from room.Pos) (*catchup.Part, error) {
	if peer != uri.Domain() || peer == f.cfg.Domain {
		return nil, mimi.NewProblem(http.StatusNotFound, mimi.CodeNoSuchRoom, "no such room")
	}
	if _, err := f.place(ctx, uri); err != nil { // of one we have only the places that we count ourselves
		if errors.Is(err, store.ErrNotFound) || errors.Is(err, ErrNoSource) {
			err = mimi.NewProblem(http.StatusNotFound, mimi.CodeNoSuchRoom, "no such room")
		}
		return nil, err
	}
	return catchup.Open(ctx, f.cfg.Store, uri, from, 0)
}

// place is where the replica of a room stands.
func (f *Follower) place(ctx context.Context, uri mimi.RoomURI) (room.Pos, error) {
	r, err := f.lock(ctx, uri)
	if err != nil {
		return room.Pos{}, err
	}
	defer r.mu.Unlock()
	switch {
	case r.own(uri):
		return room.Pos{}, ErrNoSource
	case r.state == nil:
		return room.Pos{}, store.ErrNotFound
	}
	return r.state.Pos, nil
}

// forked freezes a room of which the hub says that its log is another one.
func (f *Follower) forked(ctx context.Context, uri mimi.RoomURI, pos room.Pos, cause error) error {
	var p *mimi.Problem
	if !errors.As(cause, &p) || p.Code != catchup.CodeMismatch {
		return cause
	}
	r, err := f.lock(ctx, uri)
	if err != nil {
		return err
	}
	defer r.mu.Unlock()
	if r.state == nil || r.state.Pos != pos {
		return cause // it has moved; whoever moved it compared
	}
	evidence := fmt.Appendf(nil, "have %d:%x\nthe hub says: %s\n", pos.Seq, pos.Hash, p.Detail)
	return f.freeze(ctx, r, http.StatusConflict, codeMismatch, cause, evidence)
}

// take stores one block as if it had been announced. If there is no replica it is
// begun at the snapshot with the same step; nil: it has to be there.
func (f *Follower) take(ctx context.Context, uri mimi.RoomURI, b *catchup.Block, begin *room.Snapshot) (err error) {
	n := &notification{f: f, uri: uri, snapshot: begin}
	if b != nil {
		n.pos, n.list = &b.Pos, b.Entries
	}
	if n.replica, err = f.lock(ctx, uri); err != nil {
		return err
	}
	defer n.replica.mu.Unlock()
	if n.replica.state == nil && begin == nil {
		return store.ErrNotFound
	}
	err = n.apply(ctx)
	var p *mimi.Problem
	if errors.As(err, &p) && p.Code == mimi.CodeNoSuchRoom {
		return store.ErrNotFound
	}
	return err
}

// enrolled says whether a client of ours is in a room's group.
func (f *Follower) enrolled(ctx context.Context, s *room.State) (ours bool, err error) {
	err = f.cfg.Store.View(ctx, func(tx store.ReadTx) error {
		for _, m := range s.Members() {
			if m.Client.Domain() != f.cfg.Domain {
				continue
			}
			_, err := tx.Client(m.Client)
			if err == nil {
				ours = true
			} else if !errors.Is(err, store.ErrNotFound) {
				return err
			}
		}
		return nil
	})
	return ours, err
}

// behind sets a catch-up of a room going, if it is not under way: its hub has
// announced what comes after entries that are missing here.
func (f *Follower) behind(uri mimi.RoomURI) {
	if f.cfg.Entries == nil {
		return
	}
	f.catching.mu.Lock()
	under := f.catching.running[uri] != nil
	f.catching.mu.Unlock()
	if under {
		return
	}
	f.outbox.background(func(ctx context.Context) {
		pos, err := f.CatchUp(ctx, uri)
		if err != nil && ctx.Err() == nil {
			f.cfg.Log.Warn("follower: could not catch up", "hub", uri.Domain(), "cause", err)
			return
		}
		f.cfg.Log.Info("follower: caught up", "hub", uri.Domain(), "at", pos.Seq)
	})
}

// background runs something until ctx of run ends; nothing while run does not.
func (o *outbox) background(fn func(ctx context.Context)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if ctx := o.ctx; ctx != nil {
		o.workers.Go(func() { fn(ctx) })
	}
}

// passing says whether a catch-up that failed may succeed later. What a hub does
// not offer it will not offer in a moment.
func passing(err error) bool {
	var p *mimi.Problem
	if errors.As(err, &p) {
		return p.Retryable() && p.Status != http.StatusNotImplemented
	}
	return !errors.Is(err, store.ErrNotFound) && !errors.Is(err, ErrHubBehind) && !errors.Is(err, ErrNoSource)
}

// recheck is how often a hub that did not answer is asked again for what we lack.
const recheck = 5 * time.Minute

// wait waits until it is worth asking hubs again that did not answer.
func (c *catchUps) wait(ctx context.Context) {
	timer := time.NewTimer(recheck)
	defer timer.Stop()
	select {
	case <-c.heard:
		pause(ctx, time.Second)
	case <-timer.C:
	case <-ctx.Done():
	}
}

// reconcile asks the hubs of all replicas, once after the start, for what they
// have and we have not: a replica restored from a backup would otherwise wait for
// the next entry to find out. A hub that is away is asked again.
func (f *Follower) reconcile(ctx context.Context) {
	if f.cfg.Entries == nil {
		return
	}
	var left []mimi.RoomURI
	err := f.cfg.Store.View(ctx, func(tx store.ReadTx) error {
		list, err := tx.Rooms()
		for _, r := range list {
			if r.Hub != f.cfg.Domain && r.Frozen == "" && r.Former == "" {
				left = append(left, r.URI)
			}
		}
		return err
	})
	if err != nil {
		f.cfg.Log.Error("follower: cannot list the replicas", "cause", err)
		return
	}
	for len(left) > 0 && ctx.Err() == nil {
		var again []mimi.RoomURI
		down := map[mimi.Domain]bool{}
		for _, uri := range left {
			if down[uri.Domain()] {
				again = append(again, uri)
				continue
			}
			if _, err := f.CatchUp(ctx, uri); err != nil && passing(err) {
				down[uri.Domain()] = true
				again = append(again, uri)
			}
		}
		if left = again; len(left) > 0 {
			f.catching.wait(ctx)
		}
	}
}

// reconcileEvery is how often hubs are asked without a cause: a hub that has given
// up on us says nothing any more.
const reconcileEvery = 6 * time.Hour

func (f *Follower) keepReconciled(ctx context.Context) {
	for ctx.Err() == nil {
		f.reconcile(ctx)
		pause(ctx, reconcileEvery)
	}
}
