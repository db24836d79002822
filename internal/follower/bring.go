package follower

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"hubbub/internal/record"
	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// Standing is what became of what a client brought.
type Standing int

// What Bring answers.
const (
	// Judged: the room is judged here; nothing need be brought.
	Judged Standing = iota
	// Kept: it is used as soon as the client's entry into the group arrives.
	Kept
	// TreeWanted: the ratchet tree is needed too.
	TreeWanted
)

// Bring takes what a client knows of a room whose hub offers no snapshot: the
// GroupInfo by which it entered, or is about to enter, the group. One that a Welcome
// brought in need not bring the tree, which came with it.
//
// Nobody is believed alone. The GroupInfo is signed by another member, the tree is the
// one that the hub sent with a Welcome or else the client's own entry into the group has
// to arrive from the hub and follow from what it brought, and so have the entries stored
// before and all that come. Errors are *mimi.Problem or failures of our own.
func (f *Follower) Bring(ctx context.Context, by mimi.ClientURI, in *room.Brought) (Standing, error) {
	if in.Room.Domain() == f.cfg.Domain {
		return 0, mimi.NewProblem(http.StatusConflict, mimi.CodeConflict, "the room is hosted here")
	}
	r, err := f.lock(ctx, in.Room)
	if err != nil {
		return 0, err
	}
	defer r.mu.Unlock()
	if r.state != nil {
		return Judged, nil
	}
	s, err := f.welcomed(ctx, in, by)
	if err != nil {
		return 0, err
	}
	if s != nil {
		if err := f.judgeFrom(ctx, in.Room, r, s, ""); err != nil {
			return 0, badState(err)
		}
		return Judged, nil
	}
	if len(in.Tree) == 0 {
		return TreeWanted, nil
	}
	if _, err := room.BeginFrom(f.cfg.Env, in, by, f.nowMS()); err != nil {
		return 0, badState(err)
	}
	body, err := in.Encode()
	if err != nil {
		return 0, err
	}
	err = f.cfg.Store.Update(context.WithoutCancel(ctx), func(tx store.Tx) error {
		return tx.PutBrought(store.BroughtState{Client: by, Room: in.Room, Body: body})
	})
	if err == nil && r.waiting != nil && f.judgeKept(ctx, in.Room, r) {
		return Judged, nil
	}
	return Kept, err
}

// welcomed is the room as a client brought it that the hub has sent a Welcome for: with
// a tree that came with one. nil if there is none that fits.
func (f *Follower) welcomed(ctx context.Context, in *room.Brought, by mimi.ClientURI) (*room.State, error) {
	var client *store.Client
	var early []store.EarlyWelcome
	err := f.cfg.Store.View(ctx, func(tx store.ReadTx) (err error) {
		if client, err = tx.Client(by); err == nil {
			early, err = tx.EarlyWelcomes(in.Room)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for i := range early {
		list, err := room.ParseAnnouncements(early[i].Body)
		if err != nil {
			return nil, err
		}
		whole := *in
		if whole.Tree = list[0].Tree(); len(whole.Tree) == 0 {
			continue
		}
		s, err := room.BeginFrom(f.cfg.Env, &whole, by, f.nowMS())
		if err == nil && s.Holds(by, client.SignatureKey) {
			return &s, nil
		}
	}
	return nil, nil
}

// judgeKept tries what clients have brought that were about to join, and says whether
// the room can be judged now.
func (f *Follower) judgeKept(ctx context.Context, uri mimi.RoomURI, r *replica) bool {
	var kept []store.BroughtState
	err := f.cfg.Store.View(ctx, func(tx store.ReadTx) (err error) {
		kept, err = tx.BroughtFor(uri)
		return err
	})
	for _, k := range kept {
		in, perr := room.ParseBrought(k.Body)
		if perr != nil {
			err = errors.Join(err, perr)
			continue
		}
		s, perr := room.BeginFrom(f.cfg.Env, in, k.Client, f.nowMS())
		if perr == nil {
			perr = f.judgeFrom(ctx, uri, r, &s, k.Client)
		}
		if perr == nil {
			return true
		}
		err = errors.Join(err, perr)
	}
	if err != nil {
		f.cfg.Log.Warn("follower: a room cannot be judged yet", "hub", uri.Domain(), "cause", err)
	}
	return false
}

// judged is a room gone through from a state that was brought.
type judged struct {
	store.Judged
	start  room.State
	end    room.State
	joined map[mimi.ClientURI]bool // who let themselves in
}

// errDoesNotFit: what was brought and what was stored contradict each other.
var errDoesNotFit = errors.New("follower: it does not fit the log")

// judgeFrom begins to judge a room from a state on: the entries of its epoch and later
// ones, that have been stored already, have to follow from it, and the client joins, if
// not "", has to let itself in by one of them. r is locked.
func (f *Follower) judgeFrom(ctx context.Context, uri mimi.RoomURI, r *replica, s *room.State, joins mimi.ClientURI) error {
	var done *judged
	err := f.cfg.Store.View(ctx, func(tx store.ReadTx) (err error) {
		done, err = f.judgeAll(tx, uri, *s)
		return err
	})
	if err != nil {
		return err
	}
	if joins != "" && !done.joined[joins] {
		return fmt.Errorf("%w: %s has not joined yet", errDoesNotFit, joins)
	}
	err = f.cfg.Store.Update(context.WithoutCancel(ctx), func(tx store.Tx) error { return f.putJudged(tx, done) })
	r.drop()
	if err != nil {
		return err
	}
	f.cfg.Log.Info("follower: a room is judged by what its members know, as its hub offers no snapshot", "hub", uri.Domain(), "from", done.start.Pos.Seq)
	f.cfg.Wake(uri)
	for _, m := range done.end.Members() {
		if m.Client.Domain() == f.cfg.Domain {
			f.cfg.WakeClient(m.Client)
		}
	}
	return nil
}

// judgePage is how many entries are read at once.
const judgePage = 1024

// judgeAll finds the place in the log where a state belongs, and goes on from there.
func (f *Follower) judgeAll(tx store.ReadTx, uri mimi.RoomURI, s room.State) (*judged, error) {
	since, err := tx.UnjudgedSince(uri)
	if err != nil {
		return nil, err
	}
	at, last, err := placeOf(tx, uri, since)
	if err != nil {
		return nil, err
	}
	out := &judged{joined: map[mimi.ClientURI]bool{}}
	placed := false
	for after := since; ; {
		page, err := tx.Entries(uri, after, judgePage, 4<<20)
		if err != nil {
			return nil, err
		}
		for i := range page {
			e := &page[i]
			list, err := room.ParseAnnouncements(e.Body)
			if err != nil {
				return nil, err
			}
			if !placed && list[0].Epoch() < s.Epoch() {
				at, last = room.Pos{Seq: e.Seq, Hash: e.Hash}, max(last, e.Timestamp)
				continue
			}
			if !placed {
				s, placed = s.At(at, last, ""), true
				out.start = s
			}
			if s, err = out.step(f, s, list[0], e); err != nil {
				return nil, err
			}
		}
		if len(page) == 0 {
			break
		}
		after = page[len(page)-1].Seq
	}
	if !placed {
		s = s.At(at, last, "")
		out.start = s
	}
	out.end = s
	return out, f.conclude(tx, out)
}

// placeOf is the position after an entry, and its time.
func placeOf(tx store.ReadTx, uri mimi.RoomURI, seq uint64) (room.Pos, uint64, error) {
	if seq == 0 {
		return room.OwnStart(uri), 0, nil
	}
	list, err := tx.Entries(uri, seq-1, 1, 0)
	if err != nil {
		return room.Pos{}, 0, err
	}
	if len(list) == 0 || list[0].Seq != seq {
		return room.Pos{}, 0, fmt.Errorf("follower: the log of %s lacks entry %d", uri, seq)
	}
	return room.Pos{Seq: seq, Hash: list[0].Hash}, list[0].Timestamp, nil
}

// step judges one stored entry. A proposal that the state knew already is passed over.
func (out *judged) step(f *Follower, s room.State, in *room.Announcement, e *store.Entry) (room.State, error) {
	if s.Waits(in) {
		return s.Follow(&room.Entry{Timestamp: e.Timestamp, Body: e.Body}), nil
	}
	next, eff, err := room.Step(f.cfg.Env, s, in, f.nowMS())
	if err != nil {
		return s, err
	}
	if eff.Refusal != nil {
		return s, fmt.Errorf("%w: entry %d: %w", errDoesNotFit, e.Seq, eff.Refusal)
	}
	for _, j := range eff.Joined {
		if j.External {
			out.joined[j.Client] = true
		}
	}
	out.Changes = append(out.Changes, eff.Changes...)
	for _, c := range eff.Left {
		if c.Domain() == f.cfg.Domain {
			out.Left = append(out.Left, store.Membership{Client: c, Until: next.Pos.Seq})
		}
	}
	out.Joined = append(out.Joined, record.Joined(f.cfg.Domain, &next, eff.Joined)...)
	return next, nil
}

// conclude fills in what follows. There has to be a client of ours in the group.
func (f *Follower) conclude(tx store.ReadTx, out *judged) (err error) {
	s := &out.end
	out.Room, out.Epoch, out.Participants = s.Room, s.Epoch(), s.Participants()
	if out.State, err = s.Encode(); err != nil {
		return err
	}
	inside := map[mimi.ClientURI]bool{}
	for _, m := range s.Members() {
		inside[m.Client] = true
	}
	var members []room.Joined
	for _, m := range out.start.Members() {
		if inside[m.Client] {
			members = append(members, room.Joined{User: m.User, Client: m.Client})
		}
	}
	var spans []store.Membership // of those who are in it now
	for _, m := range append(record.Joined(f.cfg.Domain, &out.start, members), out.Joined...) {
		if inside[m.Client] {
			spans = append(spans, m)
		}
	}
	out.Joined = spans
	if len(spans) == 0 && len(out.Left) == 0 {
		return fmt.Errorf("%w: none of ours is in the group", errDoesNotFit)
	}
	return f.closeSpans(tx, out, inside)
}

// closeSpans ends the spans of clients that had left before the place where judging
// begins.
func (f *Follower) closeSpans(tx store.ReadTx, out *judged, inside map[mimi.ClientURI]bool) error {
	told := map[mimi.ClientURI]bool{}
	for _, m := range out.Left {
		told[m.Client] = true
	}
	list, err := tx.RoomMemberships(out.Room)
	for _, m := range list {
		if m.Until == 0 && !inside[m.Client] && !told[m.Client] && out.start.Pos.Seq > 0 {
			out.Left = append(out.Left, store.Membership{Client: m.Client, Until: max(m.After, out.start.Pos.Seq)})
		}
	}
	return err
}

func (f *Follower) putJudged(tx store.Tx, out *judged) error {
	if rec, err := tx.Room(out.Room); err != nil || rec.Head != out.end.Pos {
		return errors.Join(err, store.ErrConflict)
	}
	history, err := tx.History(out.Room, 0)
	if err != nil {
		return err
	}
	start := out.start.At(out.start.Pos, f.nowMS(), "") // when it was found to hold
	snap, err := room.NewSnapshot(&start, history)
	if err != nil {
		return err
	}
	encoded, err := snap.Encode()
	if err != nil {
		return err
	}
	return errors.Join(tx.BeginJudging(out.Judged), tx.PutMeta(record.StartKey(out.Room), encoded),
		tx.Audit(f.cfg.Now(), string(f.cfg.Domain), "begin-judging", fmt.Sprintf("%s from %d on, by what a device brought", out.Room, out.start.Pos.Seq)))
}

// judgeWaiting tries, after the start, what was brought before the end.
func (f *Follower) judgeWaiting(ctx context.Context) {
	var list []store.Unjudged
	err := f.cfg.Store.View(ctx, func(tx store.ReadTx) (err error) {
		list, err = tx.Unjudged()
		return err
	})
	for _, u := range list {
		r, lerr := f.lock(ctx, u.Room)
		if lerr != nil {
			err = errors.Join(err, lerr)
			continue
		}
		if r.waiting != nil {
			f.judgeKept(ctx, u.Room, r)
		}
		r.mu.Unlock()
	}
	if err != nil && ctx.Err() == nil {
		f.cfg.Log.Error("follower: cannot look after rooms that wait for a device", "cause", err)
	}
}

// badState tells a client why what it brought is not used. Failures of our own pass.
func badState(err error) error {
	if errors.Is(err, room.ErrBrought) || errors.Is(err, errDoesNotFit) {
		return mimi.NewProblem(http.StatusBadRequest, "bad-state", "%s", err)
	}
	return err
}
