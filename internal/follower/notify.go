package follower

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"hubbub/internal/record"
	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

const (
	// maxMessages is how many messages one notification may carry.
	maxMessages = 1024
	// retryGap is when a hub should come back after a gap.
	retryGap = time.Second
)

// Notify takes a notification from a hub: one or more FanoutMessages of one
// room. pos is the position of the last entry in it, or of the commit of a
// lone Welcome, if the hub speaks of positions at all. A nil error means that
// everything in body is stored, now or by an earlier call.
func (f *Follower) Notify(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI, pos *room.Pos, body []byte) error {
	if peer != uri.Domain() || peer == f.cfg.Domain {
		return mimi.NewProblem(http.StatusForbidden, mimi.CodeForbidden, "only the hub of a room may announce its log")
	}
	list, err := room.ParseAnnouncements(body)
	if err != nil {
		return err
	}
	if len(list) > maxMessages {
		return mimi.NewProblem(http.StatusRequestEntityTooLarge, mimi.CodeTooLarge, "more than %d messages", maxMessages)
	}
	f.gates.of(peer).alive()

	n := &notification{f: f, uri: uri, pos: pos, list: list}
	if n.replica, err = f.lock(ctx, uri); err != nil {
		return err
	}
	plain := false
	if n.replica.state == nil && n.replica.waiting == nil {
		// No lock is held while the hub is asked for the snapshot.
		n.replica.mu.Unlock()
		n.snapshot, err = n.fetch(ctx)
		if plain = errors.Is(err, errPlain); err != nil && !plain {
			return err
		}
		if n.replica, err = f.lock(ctx, uri); err != nil {
			return err
		}
	}
	defer n.replica.mu.Unlock()
	if plain && n.replica.state == nil || n.replica.own(uri) {
		return n.applyOwn(ctx)
	}
	return n.apply(ctx)
}

// notification is one call of Notify. The replica is locked.
type notification struct {
	f        *Follower
	uri      mimi.RoomURI
	pos      *room.Pos
	list     []*room.Announcement
	replica  *replica
	snapshot *room.Snapshot // fetched because we did not have the room

	// What is to be written, and the state it leads to.
	next     room.State
	created  *start
	appends  []store.Append
	welcomes []store.InWelcome
}

func (n *notification) apply(ctx context.Context) error {
	if n.replica.state != nil {
		n.next = *n.replica.state
	} else if err := n.begin(); err != nil {
		return err
	}
	if n.next.Frozen != "" {
		return mimi.NewProblem(http.StatusConflict, codeFrozen, "the replica is frozen")
	}
	entries, err := n.fresh(ctx)
	if err != nil {
		return n.answer(ctx, err)
	}
	refused := n.steps(ctx, entries)
	var own *ownError
	if errors.As(refused, &own) {
		return own.err
	}
	if err := n.checkOurs(ctx); err != nil {
		return err
	}
	if err := n.write(ctx); err != nil {
		return err
	}
	if refused == nil && n.pos != nil && n.replica.state != nil && n.replica.state.Pos.Seq == n.pos.Seq && n.replica.state.Pos != *n.pos {
		refused = &room.MismatchError{Room: n.uri, Have: n.replica.state.Pos, Want: *n.pos}
	}
	return n.answer(ctx, refused)
}

// ownError is a failure of ours, as opposed to something wrong with the input.
type ownError struct{ err error }

func (e *ownError) Error() string { return e.err.Error() }
func (e *ownError) Unwrap() error { return e.err }

// fresh returns the announcements that the replica does not hold yet, after
// comparing those it does with what it stored.
func (n *notification) fresh(ctx context.Context) ([]*room.Announcement, error) {
	if n.pos == nil {
		return n.freshByMessage(ctx)
	}
	count := uint64(0)
	for _, a := range n.list {
		if !a.IsWelcome() {
			count++
		}
	}
	head := n.next.Pos
	if count > n.pos.Seq {
		return nil, mimi.NewProblem(http.StatusBadRequest, mimi.CodeMalformed, "position does not fit the number of messages")
	}
	first := n.pos.Seq - count // position before the first entry
	if first > head.Seq {
		return nil, errGap()
	}
	stored, err := n.stored(ctx, first, min(n.pos.Seq, head.Seq))
	if err != nil {
		return nil, err
	}
	var fresh []*room.Announcement
	seq := first
	for _, a := range n.list {
		if a.IsWelcome() {
			fresh = append(fresh, a)
			continue
		}
		seq++
		if seq > head.Seq {
			fresh = append(fresh, a)
		} else if e, ok := stored[seq]; ok && !bytes.Equal(e.Body, a.Raw()) {
			return nil, n.mismatch(e, a)
		}
	}
	if e, ok := stored[n.pos.Seq]; ok && e.Hash != n.pos.Hash {
		return nil, &room.MismatchError{Room: n.uri, Have: room.Pos{Seq: e.Seq, Hash: e.Hash}, Want: *n.pos}
	}
	return fresh, nil
}

// mismatch says that the hub now shows other octets for an entry we hold.
func (n *notification) mismatch(e store.Entry, a *room.Announcement) error {
	have := room.Pos{Seq: e.Seq, Hash: e.Hash}
	return &room.MismatchError{Room: n.uri, Have: have, Want: room.Pos{Seq: e.Seq, Hash: a.MessageHash()}}
}

// stored reads our own entries in (after, upTo], by Seq.
func (n *notification) stored(ctx context.Context, after, upTo uint64) (map[uint64]store.Entry, error) {
	if after >= upTo || n.replica.state == nil {
		return nil, nil
	}
	var list []store.Entry
	err := n.f.cfg.Store.View(ctx, func(tx store.ReadTx) (err error) {
		list, err = tx.Entries(n.uri, after, int(upTo-after), 1<<30)
		return err
	})
	if err != nil {
		return nil, &ownError{err}
	}
	bySeq := make(map[uint64]store.Entry, len(list))
	for _, e := range list {
		bySeq[e.Seq] = e
	}
	return bySeq, nil
}

// freshByMessage is fresh for a hub that does not speak of positions: what we
// hold is known by its MLSMessage, and order of arrival is the order.
func (n *notification) freshByMessage(ctx context.Context) ([]*room.Announcement, error) {
	if n.replica.state == nil && n.replica.waiting == nil {
		return n.list, nil
	}
	var fresh []*room.Announcement
	err := n.f.cfg.Store.View(ctx, func(tx store.ReadTx) error {
		for _, a := range n.list {
			_, err := tx.EntryByMessage(n.uri, a.MessageHash())
			switch {
			case errors.Is(err, store.ErrNotFound):
				fresh = append(fresh, a)
			case err != nil:
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, &ownError{err}
	}
	return fresh, nil
}

// steps judges the announcements in order and collects what they make true.
// It stops at the first that is not acceptable; those before it stand.
func (n *notification) steps(ctx context.Context, list []*room.Announcement) error {
	now := n.f.nowMS()
	n.appends = make([]store.Append, 0, len(list))
	for _, a := range list {
		if a.IsWelcome() {
			if err := n.welcome(ctx, a); err != nil {
				return err
			}
			continue
		}
		prev := n.next.Pos
		next, eff, err := room.Step(n.f.cfg.Env, n.next, a, now)
		if err != nil {
			return &ownError{err}
		}
		if eff.Refusal != nil {
			return eff.Refusal
		}
		row, err := record.Append(n.f.cfg.Domain, prev, &next, &eff)
		if err != nil {
			return &ownError{err}
		}
		n.next = next
		n.appends = append(n.appends, row)
	}
	return nil
}

// write stores what was collected, in one transaction.
func (n *notification) write(ctx context.Context) error {
	if n.created == nil && len(n.appends) == 0 && len(n.welcomes) == 0 {
		return nil
	}
	err := n.f.update(ctx, n.replica, n.next, func(tx store.Tx) error {
		if n.created != nil {
			if err := n.created.write(tx); err != nil {
				return err
			}
		}
		if err := tx.AppendAll(n.appends); err != nil {
			return err
		}
		for _, w := range n.welcomes {
			if err := tx.PutInWelcome(w); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if n.created != nil {
		n.replica.start = n.created.rec.Start
		n.f.keep(n.uri, n.replica)
	}
	n.f.outbox.arrived(n.appends)
	n.f.cfg.Wake(n.uri)
	for _, w := range n.welcomes {
		n.f.cfg.WakeClient(w.Client)
	}
	return nil
}

// answer turns what stopped a notification into what the hub is told. What
// shows that the hub forked or broke the rules freezes the room.
func (n *notification) answer(ctx context.Context, cause error) error {
	var own *ownError
	var refusal *room.Refusal
	var mismatch *room.MismatchError
	switch {
	case cause == nil:
		return nil
	case isGap(cause):
		n.f.behind(n.uri)
		return cause
	case errors.As(cause, &own):
		return own.err
	case n.replica.state == nil:
		if errors.As(cause, &refusal) {
			return mimi.NewProblem(http.StatusBadRequest, codeBadEntry, "%s", refusal.Description)
		}
		return cause
	case errors.As(cause, &mismatch):
		return n.f.freeze(ctx, n.replica, http.StatusConflict, codeMismatch, mismatch, n.evidence())
	case errors.As(cause, &refusal):
		return n.refused(ctx, refusal)
	}
	return cause
}

func (n *notification) refused(ctx context.Context, r *room.Refusal) error {
	switch r.Code {
	case room.Future:
		n.f.behind(n.uri)
		return errGap()
	case room.BadTimestamp:
		return mimi.NewProblem(http.StatusBadRequest, "bad-timestamp", "%s", r.Description)
	case room.WrongEpoch:
		return n.f.freeze(ctx, n.replica, http.StatusConflict, codeMismatch, r, n.evidence())
	}
	return n.f.freeze(ctx, n.replica, http.StatusBadRequest, codeBadEntry, r, n.evidence())
}

// evidence is what is kept of a notification that froze a room: our position,
// the one claimed, and the octets.
func (n *notification) evidence() []byte {
	claimed := "none"
	if n.pos != nil {
		claimed = fmt.Sprintf("%d:%x", n.pos.Seq, n.pos.Hash)
	}
	have := n.replica.state.Pos
	b := fmt.Appendf(nil, "have %d:%x\nclaimed %s\n", have.Seq, have.Hash, claimed)
	for _, a := range n.list {
		b = append(b, a.Raw()...)
	}
	return b
}
