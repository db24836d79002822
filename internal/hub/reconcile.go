package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"hubbub/internal/catchup"
	"hubbub/internal/record"
	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// Followers reaches the followers of our rooms.
type Followers interface {
	// CatchUp asks a follower for what it holds of a room after from: the
	// blocks of package catchup and the place they lead to.
	CatchUp(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI, from room.Pos) (head room.Pos, body io.ReadCloser, err error)
}

const (
	// askTimeout is how long the first write to a room after a start may wait
	// for one follower to say where it is.
	askTimeout = 3 * time.Second
	// silence is for how long a follower that did not answer is not asked
	// about other rooms.
	silence = time.Minute
	// codeMismatch is why a room is frozen of which a follower has another log.
	codeMismatch = "log-mismatch"
)

// reconcile asks a room's followers, once after each start and before anything
// is written, whether they hold more of its log than we do. If so we were
// restored from a backup, or our disk lost what it had promised to keep: what is
// missing is fetched from them, and what would fork the log freezes the room. A
// follower that does not answer is let go: it will say what it has when it is
// back. r.mu is held.
func (h *Hub) reconcile(ctx context.Context, uri mimi.RoomURI, r *hosted) error {
	if r.reconciled || h.cfg.Followers == nil {
		return nil
	}
	lost := r.state.Frozen != "" && r.state.Frozen == h.cfg.Lost
	if r.state.Frozen != "" && !lost {
		return nil
	}
	answers := h.ask(ctx, uri, r)
	for peer, heads := range answers {
		if heads.err != nil {
			if mismatch := (*room.MismatchError)(nil); errors.As(heads.err, &mismatch) || isMismatch(heads.err) {
				overruled, err := h.overruled(ctx, uri, peer)
				if err != nil {
					return err
				}
				if !overruled {
					return h.freeze(ctx, uri, r, peer, heads.err)
				}
			}
			h.cfg.Log.Info("hub: a follower does not say where it is", "peer", peer, "cause", heads.err)
			continue
		}
		if heads.pos.Seq <= r.state.Pos.Seq {
			continue
		}
		if err := h.adopt(ctx, uri, r, peer); err != nil {
			return err
		}
	}
	if lost && r.state.Frozen == h.cfg.Lost {
		return nil // nobody had what is missing
	}
	if err := h.await(r, answers); err != nil {
		return err
	}
	r.reconciled = true
	return nil
}

// errAwaiting is what writers are told while a room waits for a follower.
func errAwaiting(peer mimi.Domain) error {
	p := mimi.NewProblem(http.StatusServiceUnavailable, mimi.CodeUnavailable,
		"the hub was restored from a backup and waits for %s to say what it holds of the room", peer)
	p.RetryAfter = askTimeout
	return p
}

// await refuses to go on without a follower that has said nothing, for as long as
// that is wanted.
func (h *Hub) await(r *hosted, answers map[mimi.Domain]answer) error {
	if !h.cfg.Now().Before(h.cfg.Patience) {
		return nil
	}
	for peer, follows := range r.followers {
		a, answered := answers[peer]
		var p *mimi.Problem
		silent := !answered || a.err != nil && (!errors.As(a.err, &p) || p.Retryable())
		if follows && silent {
			return errAwaiting(peer)
		}
	}
	return nil
}

// Awaited is how many rooms Reconcile has left because they wait for a follower.
func (h *Hub) Awaited() int { return int(h.awaited.Load()) }

func isMismatch(err error) bool {
	var p *mimi.Problem
	return errors.As(err, &p) && p.Code == catchup.CodeMismatch
}

// answer is where a follower says it is.
type answer struct {
	pos room.Pos
	err error
}

// ask asks all present followers of a room at once where they are.
func (h *Hub) ask(ctx context.Context, uri mimi.RoomURI, r *hosted) map[mimi.Domain]answer {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var mu sync.Mutex
	var asking sync.WaitGroup
	answers := map[mimi.Domain]answer{}
	from := r.state.Pos
	for peer, follows := range r.followers {
		if !follows || h.isSilent(peer) {
			continue
		}
		asking.Go(func() {
			pos, body, err := h.cfg.Followers.CatchUp(ctx, peer, uri, from)
			if err == nil {
				body.Close()
			} else if p := (*mimi.Problem)(nil); !errors.As(err, &p) {
				h.noteSilent(peer)
			}
			mu.Lock()
			defer mu.Unlock()
			answers[peer] = answer{pos, err}
		})
	}
	asking.Wait()
	return answers
}

func (h *Hub) isSilent(peer mimi.Domain) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Since(h.silent[peer]) < silence
}

func (h *Hub) noteSilent(peer mimi.Domain) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.silent[peer] = time.Now()
}

// AskAgain has followers asked again that did not answer.
func (h *Hub) AskAgain() {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.silent)
}

// PeerAlive says that something was heard from a peer: it may be asked again.
func (h *Hub) PeerAlive(peer mimi.Domain) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.silent, peer)
}

// adopt fetches from a follower what it holds beyond our head and stores it as
// ours, which it was. r.mu is held.
func (h *Hub) adopt(ctx context.Context, uri mimi.RoomURI, r *hosted, peer mimi.Domain) error {
	h.cfg.Log.Error("hub: a follower holds more of a room than we do; fetching it", "peer", peer, "at", r.state.Pos.String())
	lost := r.state.Frozen
	_, body, err := h.cfg.Followers.CatchUp(ctx, peer, uri, r.state.Pos)
	if err != nil {
		return err
	}
	stream := catchup.Receive(body)
	defer stream.Close()
	if lost != "" {
		thawed := r.state.At(r.state.Pos, r.state.LastTimestamp, "")
		r.state = &thawed
	}
	for {
		b, err := stream.Next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = h.adoptBlock(ctx, uri, r, peer, b)
		}
		if err != nil {
			r.state = nil
			return err
		}
		if r.state.Frozen != "" {
			return nil
		}
	}
	if lost == "" {
		return nil
	}
	if h.cfg.Expected != nil && h.cfg.Expected(uri).Seq > r.state.Pos.Seq {
		frozen := r.state.At(r.state.Pos, r.state.LastTimestamp, lost)
		r.state = &frozen
		return nil
	}
	return h.cfg.Store.Update(ctx, func(tx store.Tx) error {
		if err := tx.Freeze(uri, ""); err != nil {
			return err
		}
		return tx.Audit(h.cfg.Now(), string(peer), "thaw", "what was lost was fetched from a follower")
	})
}

// adoptBlock stores the entries of one block. What does not continue our log
// freezes the room, and nothing of the block is stored then; what continues it
// against the rules freezes it there.
func (h *Hub) adoptBlock(ctx context.Context, uri mimi.RoomURI, r *hosted, peer mimi.Domain, b *catchup.Block) error {
	end := r.state.Pos
	for _, a := range b.Entries {
		end = end.Next(a.Raw())
	}
	if end != b.Pos {
		return h.freeze(ctx, uri, r, peer, &room.MismatchError{Room: uri, Have: end, Want: b.Pos})
	}
	run := adopted{hub: h, room: r, state: *r.state}
	for _, a := range b.Entries {
		next, eff, err := room.Step(h.cfg.Env, run.state, a, h.nowMS())
		if err == nil && eff.Refusal == nil && eff.Entry.Kind == room.KindApplication {
			if err = run.add(next, &eff); err == nil {
				continue
			}
		}
		if err == nil {
			err = run.store(ctx)
		}
		if err != nil {
			return err
		}
		if eff.Refusal != nil {
			return h.freeze(ctx, uri, r, peer, eff.Refusal)
		}
		entry := accepted{hub: h, room: r, next: next, eff: &eff}
		refusal, err := entry.store(ctx)
		if refusal != nil {
			err = refusal
		}
		if err != nil {
			return err
		}
		entry.announce()
		run.state = *r.state
	}
	return run.store(ctx)
}

// adopted are messages that follow each other, on their way into our log together.
type adopted struct {
	hub   *Hub
	room  *hosted    // locked
	state room.State // after them
	rows  []store.Append
}

func (m *adopted) add(next room.State, eff *room.Effects) error {
	row, err := record.Append(m.hub.cfg.Domain, m.state.Pos, &next, eff)
	if err == nil {
		m.state, m.rows = next, append(m.rows, row)
	}
	return err
}

// store makes durable what was added.
func (m *adopted) store(ctx context.Context) error {
	if len(m.rows) == 0 {
		return nil
	}
	h, prev, rows := m.hub, m.room.state.Pos, m.rows
	m.rows = nil
	err := h.commit(context.WithoutCancel(ctx), m.room, m.state, func(tx store.Tx) error {
		if err := tx.AppendAll(rows); err != nil {
			return err
		}
		return h.extend(tx, prev, m.state.Pos, rows)
	})
	if err == nil {
		h.cfg.Wake(m.state.Room)
	}
	return err
}

// freeze stops a room of which a follower holds another log than we do, and keeps
// both positions as evidence. Its error is what writers are told.
func (h *Hub) freeze(ctx context.Context, uri mimi.RoomURI, r *hosted, peer mimi.Domain, cause error) error {
	h.cfg.Log.Error("hub: a follower holds another log of a room; the room is frozen", "peer", peer, "here", r.state.Pos.String(), "cause", cause)
	next := *r.state
	next.Frozen = codeMismatch
	evidence := fmt.Appendf(nil, "have %d:%x\n%s says: %v\n", r.state.Pos.Seq, r.state.Pos.Hash, peer, cause)
	err := h.commit(ctx, r, next, func(tx store.Tx) error {
		if err := tx.Freeze(uri, codeMismatch); err != nil {
			return err
		}
		if err := tx.PutMeta(record.EvidenceKey(uri), evidence); err != nil {
			return err
		}
		return tx.Audit(h.cfg.Now(), string(peer), "freeze", cause.Error())
	})
	if err != nil {
		return err
	}
	h.cfg.Wake(uri)
	return nil // writers are told that the room is frozen
}

// ahead follows when a follower asks for what comes after a place that we have
// not reached: the next writer asks all of them.
func (h *Hub) ahead(uri mimi.RoomURI, peer mimi.Domain, at room.Pos) {
	h.cfg.Log.Error("hub: a follower holds more of a room than we do", "peer", peer, "at", at.String())
	r := h.hosted(uri)
	go func() { // a writer may hold the room for as long as the disk takes
		r.mu.Lock()
		defer r.mu.Unlock()
		r.reconciled = false
	}()
}

// Reconcile asks the followers of all rooms we host for what we may have lost,
// one room after the other, so that it is done before anybody writes.
func (h *Hub) Reconcile(ctx context.Context) error {
	var uris []mimi.RoomURI
	err := h.cfg.Store.View(ctx, func(tx store.ReadTx) error {
		list, err := tx.Fanouts()
		for _, f := range list {
			uris = append(uris, f.Room)
		}
		return err
	})
	if err != nil {
		return err
	}
	awaited := int64(0)
	defer func() { h.awaited.Store(awaited) }()
	for _, uri := range slices.Compact(uris) {
		if ctx.Err() != nil {
			return nil
		}
		r, err := h.lock(ctx, uri)
		if err != nil {
			continue
		}
		if err := h.reconcile(ctx, uri, r); err != nil {
			awaited++
			h.cfg.Log.Warn("hub: could not compare a room with its followers", "cause", err)
		}
		r.mu.Unlock()
	}
	return nil
}
