package follower

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"time"

	"hubbub/internal/record"
	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// A hub of another make gives its log no places, offers no snapshot and no way to catch
// up: all there is of a room is what it announces, and what its members know. So what
// arrives is stored in order of arrival, counted here (room.OwnStart), acknowledged once
// it is durable, and passed on to the clients that a Welcome named, before anything of
// the room can be judged: they judge by themselves. A client that enters the group
// brings what it entered (Bring); from there on the log is judged as any other. If
// entries turn out to be missing, judging stops and storing goes on, until some client
// joins anew and brings what it joined.

// errPlain: the hub offers no snapshot, and the room is to be kept in order of arrival.
var errPlain = errors.New("follower: no snapshot is offered")

// Bounds of what one hub can have us keep without anybody having judged it.
const (
	maxUnjudgedRooms   = 1000
	maxUnjudgedEntries = 100_000
)

// own says whether the log is counted here, not by its hub.
func (r *replica) own(uri mimi.RoomURI) bool {
	return (r.state != nil || r.waiting != nil) && r.start == room.OwnStart(uri)
}

// arrival is a notification for a room that is kept in order of arrival.
type arrival struct {
	*notification
	head   room.Pos
	begins bool   // the room is new
	judges bool   // entries are judged; n.next is the state
	since  uint64 // if judging stops here: the last Seq that was judged
	stops  bool

	early []store.EarlyWelcome
	spans []store.Membership
}

func (n *notification) applyOwn(ctx context.Context) error {
	n.pos = nil // a place that the hub gives now is not one of this log
	a := &arrival{notification: n, head: room.OwnStart(n.uri)}
	frozen := ""
	switch r := n.replica; {
	case r.state != nil:
		n.next, a.judges, a.head, frozen = *r.state, true, r.state.Pos, r.state.Frozen
	case r.waiting != nil:
		a.head, frozen = r.waiting.Head, r.waiting.Frozen
	default:
		a.begins = true
	}
	if frozen != "" {
		return mimi.NewProblem(http.StatusConflict, codeFrozen, "the replica is frozen")
	}
	if err := a.checkRoom(ctx); err != nil {
		return err
	}
	list, err := n.freshByMessage(ctx)
	if err != nil {
		return n.answer(ctx, err)
	}
	refused := a.take(ctx, list)
	var failure *ownError
	if errors.As(refused, &failure) {
		return failure.err
	}
	if err := a.write(ctx); err != nil {
		return err
	}
	if n.replica.state == nil && (a.begins || len(n.appends) > 0) {
		n.f.judgeKept(ctx, n.uri, n.replica)
	}
	a.tell() // all of it at once: who looks at half of it would not look again
	return n.answer(ctx, refused)
}

// checkRoom refuses more than is kept for a hub whose rooms nobody judges.
func (a *arrival) checkRoom(ctx context.Context) error {
	if a.judges {
		return nil
	}
	rooms, since := 0, a.head.Seq
	err := a.f.cfg.Store.View(ctx, func(tx store.ReadTx) error {
		list, err := tx.Unjudged()
		for _, u := range list {
			if u.Room == a.uri {
				since = u.Since
			} else if u.Room.Domain() == a.uri.Domain() {
				rooms++
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	if rooms >= maxUnjudgedRooms || a.head.Seq-since >= maxUnjudgedEntries {
		p := mimi.NewProblem(http.StatusServiceUnavailable, "too-much-unjudged", "too much waits here for a device that has not come")
		p.RetryAfter = time.Minute
		return p
	}
	return nil
}

// take collects what is to be stored. It stops at the first that is not acceptable;
// those before it stand.
func (a *arrival) take(ctx context.Context, list []*room.Announcement) error {
	now, seen := a.f.nowMS(), map[[32]byte]bool{}
	for _, in := range list {
		if in.IsWelcome() {
			if err := a.welcome(ctx, in); err != nil {
				return err
			}
			continue
		}
		if seen[in.MessageHash()] {
			continue
		}
		seen[in.MessageHash()] = true
		if a.judges {
			refusal, err := a.judge(in, now)
			if err != nil || refusal != nil && !missing(in, refusal) {
				return errors.Join(err, asError(refusal))
			}
			if refusal == nil {
				continue
			}
			a.judges, a.stops, a.since = false, true, a.head.Seq
			a.f.cfg.Log.Warn("follower: entries are missing, and the hub offers no way to have them", "hub", a.uri.Domain(), "after", a.since)
		}
		if err := a.keep(ctx, in, now); err != nil {
			return err
		}
	}
	return nil
}

func asError(r *room.Refusal) error {
	if r == nil {
		return nil
	}
	return r
}

// missing says whether a refusal means that entries before this one have not arrived.
func missing(in *room.Announcement, r *room.Refusal) bool {
	return r.Code == room.Future || r.Code == room.InvalidProposal && len(r.Refs) > 0 && in.IsCommit()
}

// judge takes an entry by the room's rules.
func (a *arrival) judge(in *room.Announcement, now uint64) (*room.Refusal, error) {
	prev := a.next.Pos
	next, eff, err := room.Step(a.f.cfg.Env, a.next, in, now)
	if err != nil {
		return nil, &ownError{err}
	}
	if eff.Refusal != nil {
		return eff.Refusal, nil
	}
	row, err := record.Append(a.f.cfg.Domain, prev, &next, &eff)
	if err != nil {
		return nil, &ownError{err}
	}
	a.next, a.head = next, next.Pos
	a.appends = append(a.appends, row)
	return nil, nil
}

// keep takes an entry as it is. A client of ours that lets itself in by it may read
// from there on.
func (a *arrival) keep(ctx context.Context, in *room.Announcement, now uint64) error {
	e, err := in.Unjudged(now)
	if err != nil {
		return err
	}
	joiner, err := a.f.joiner(ctx, a.uri, in)
	if err != nil {
		return &ownError{err}
	}
	if joiner != nil {
		a.spans = append(a.spans, store.Membership{Room: a.uri, Client: joiner.URI, User: joiner.User, After: a.head.Seq})
	}
	prev := a.head
	a.head = prev.Next(e.Body)
	a.appends = append(a.appends, store.Append{Room: a.uri, Prev: prev, Entry: store.Entry{
		Seq: a.head.Seq, Hash: a.head.Hash, Timestamp: e.Timestamp, Kind: e.Kind, Body: e.Body, MessageHash: e.MessageHash}})
	return nil
}

// joiner is the client of ours whose own entry into the group an announcement is, as
// it asked us to submit it; nil if it is none.
func (f *Follower) joiner(ctx context.Context, uri mimi.RoomURI, in *room.Announcement) (c *store.Client, err error) {
	uriOf := in.Joiner()
	if uriOf == "" || uriOf.Domain() != f.cfg.Domain {
		return nil, nil
	}
	err = f.cfg.Store.View(ctx, func(tx store.ReadTx) error {
		known, err := tx.Client(uriOf)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		list, err := tx.Submissions(uriOf, 0)
		for _, s := range list {
			if s.Room == uri && s.MessageHash == in.MessageHash() {
				c = known
			}
		}
		return err
	})
	return c, err
}

// welcome routes a Welcome to our clients among its recipients. Before the room can be
// judged they may read what follows it all the same: it is theirs to judge.
func (a *arrival) welcome(ctx context.Context, in *room.Announcement) error {
	if a.judges {
		return a.notification.welcome(ctx, in)
	}
	ours, err := a.recipients(ctx, in)
	if err != nil {
		return err
	}
	if len(ours) == 0 {
		return errUnknownKey()
	}
	early := store.EarlyWelcome{Room: a.uri, Hash: sha256.Sum256(in.Raw()), Seq: a.head.Seq, Body: in.Raw()}
	err = a.f.cfg.Store.View(ctx, func(tx store.ReadTx) error {
		known, err := tx.EarlyWelcomes(a.uri)
		for _, w := range known {
			if w.Hash == early.Hash {
				early.Seq = w.Seq // sent again
			}
		}
		for _, uri := range ours {
			c, err := tx.Client(uri)
			if err != nil {
				return err
			}
			a.spans = append(a.spans, store.Membership{Room: a.uri, Client: uri, User: c.User, After: early.Seq})
			a.welcomes = append(a.welcomes, store.InWelcome{Client: uri, Room: a.uri, Seq: early.Seq, Body: in.Raw()})
		}
		return err
	})
	if err != nil {
		return &ownError{err}
	}
	a.early = append(a.early, early)
	return nil
}

// write stores what was collected, in one transaction.
func (a *arrival) write(ctx context.Context) error {
	if len(a.appends)+len(a.welcomes) == 0 {
		return nil
	}
	store := func(tx store.Tx) error { return a.rows(tx) }
	var err error
	if a.judges {
		err = a.f.update(ctx, a.replica, a.next, store)
	} else {
		err = a.f.cfg.Store.Update(context.WithoutCancel(ctx), store)
		a.replica.drop()
	}
	if err != nil {
		return err
	}
	a.f.outbox.arrived(a.appends)
	return nil
}

// tell wakes those who have something new to read.
func (a *arrival) tell() {
	if len(a.appends)+len(a.welcomes) == 0 {
		return
	}
	a.f.cfg.Wake(a.uri)
	for _, w := range a.welcomes {
		a.f.cfg.WakeClient(w.Client)
	}
	for _, m := range a.spans {
		a.f.cfg.WakeClient(m.Client)
	}
}

func (a *arrival) rows(tx store.Tx) error {
	if a.begins {
		start := room.OwnStart(a.uri)
		rec := store.RoomRecord{URI: a.uri, Hub: a.uri.Domain(), Head: start, Start: start}
		if err := errors.Join(tx.CreateRoom(rec, nil, nil, nil), tx.StopJudging(a.uri, 0)); err != nil {
			return err
		}
	}
	if err := tx.AppendAll(a.appends); err != nil {
		return err
	}
	if a.stops {
		err := errors.Join(tx.StopJudging(a.uri, a.since),
			tx.Audit(a.f.cfg.Now(), string(a.uri.Domain()), "stop-judging", string(a.uri)+" entries are missing"))
		if err != nil {
			return err
		}
	}
	if len(a.spans) > 0 {
		if err := tx.OpenSpans(a.uri, a.spans); err != nil {
			return err
		}
	}
	for _, w := range a.early {
		if err := tx.PutEarlyWelcome(w); err != nil {
			return err
		}
	}
	for _, w := range a.welcomes {
		if err := tx.PutInWelcome(w); err != nil {
			return err
		}
	}
	return nil
}
