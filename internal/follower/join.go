package follower

import (
	"context"
	"errors"
	"net/http"

	"hubbub/internal/record"
	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
	"hubbub/mimi/checkpoint"
)

// start is a replica about to be created.
type start struct {
	state        room.State
	rec          store.RoomRecord
	history      []room.Change
	participants []room.Participant
	joined       []store.Membership
	signed       []byte // the hub's checkpoint of where it begins
}

func (s *start) write(tx store.Tx) error {
	if err := record.Create(tx, &s.state, s.rec, s.history, s.participants, s.joined); err != nil {
		return err
	}
	key := record.CheckpointKey(s.rec.URI)
	if _, err := tx.Meta(key); !errors.Is(err, store.ErrNotFound) {
		return err // of a copy that was lost, and newer
	}
	return tx.PutMeta(key, s.signed)
}

// checkSigned demands that the hub has signed the place where a replica is about
// to begin.
func checkSigned(signed []byte, s *room.State) error {
	c, err := checkpoint.Open(signed, s.Room, s.Group().ExternalSenders())
	if err == nil && (room.Pos{Seq: c.Seq, Hash: c.Hash}) != s.Pos {
		err = checkpoint.ErrBadCheckpoint
	}
	return err
}

// keep remembers a replica that has just come to exist.
func (f *Follower) keep(uri mimi.RoomURI, r *replica) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rooms[uri] = r
}

// fetch gets the snapshot of a room we do not have. It is asked for if the first
// message is a Welcome for one of our KeyPackages, and if it is an entry: the room
// was lost here, or a client of ours has let itself in. Whether the group holds one
// is seen by the snapshot and what follows it; nothing else may bring a new room
// into being.
func (n *notification) fetch(ctx context.Context) (*room.Snapshot, error) {
	first := n.list[0]
	if !first.IsWelcome() {
		return n.fetchAnew(ctx)
	}
	ours, err := n.recipients(ctx, first)
	if err != nil {
		return nil, err
	}
	if len(ours) == 0 {
		return nil, errUnknownKey()
	}
	seq := uint64(0)
	if n.pos != nil {
		seq = n.pos.Seq
		for _, a := range n.list { // entries that follow the Welcome
			if !a.IsWelcome() {
				seq--
			}
		}
	}
	b, err := n.f.cfg.Remote.Snapshot(ctx, n.uri.Domain(), n.uri, seq)
	if notOffered(err) {
		return nil, errPlain
	}
	if err != nil {
		n.f.cfg.Log.Warn("follower: cannot fetch the snapshot of a new room", "hub", n.uri.Domain(), "cause", err)
		p := mimi.NewProblem(http.StatusServiceUnavailable, "snapshot-missing", "the snapshot of the room could not be fetched")
		p.RetryAfter = retryGap
		return nil, p
	}
	s, err := room.ParseSnapshot(b)
	if err != nil || s.Room != n.uri {
		return nil, mimi.NewProblem(http.StatusBadRequest, "bad-snapshot", "the snapshot of the room does not decode")
	}
	if seq != 0 && (s.Pos.Seq != seq || len(n.list) == 1 && s.Pos != *n.pos) {
		return nil, mimi.NewProblem(http.StatusBadRequest, "bad-snapshot", "the snapshot is of another place in the log")
	}
	return s, nil
}

// fetchAnew gets the snapshot at which our replica of the room is to begin, or once
// began.
func (n *notification) fetchAnew(ctx context.Context) (*room.Snapshot, error) {
	none := mimi.NewProblem(http.StatusNotFound, mimi.CodeNoSuchRoom, "no such room")
	s, err := n.f.startOf(ctx, n.uri)
	switch {
	case notOffered(err):
		joiner, err := n.f.joiner(ctx, n.uri, n.list[0])
		if err != nil {
			return nil, err
		}
		if joiner != nil {
			return nil, errPlain
		}
	case n.f.cfg.Entries == nil: // what lies between it and these entries cannot be had
	case err == nil:
		return s, nil
	case passing(err):
		return nil, errGap() // whether there is anything for us cannot be told now
	}
	return nil, none
}

// startOf asks a hub where our replica of a room is to begin.
func (f *Follower) startOf(ctx context.Context, uri mimi.RoomURI) (*room.Snapshot, error) {
	b, err := f.cfg.Remote.Snapshot(ctx, uri.Domain(), uri, 0)
	if err != nil {
		return nil, err
	}
	s, err := room.ParseSnapshot(b)
	if err != nil || s.Room != uri {
		return nil, mimi.NewProblem(http.StatusBadGateway, "bad-snapshot", "the snapshot of the room does not decode")
	}
	return s, nil
}

// checkOurs refuses a new replica of a room in whose group no client enrolled here
// is: by what was given with a Welcome, by the snapshot, or by the entries that
// follow it, for one that let itself in.
func (n *notification) checkOurs(ctx context.Context) error {
	if n.created == nil || len(n.welcomes) > 0 {
		return nil
	}
	ours, err := n.f.enrolled(ctx, &n.next)
	if err == nil && !ours {
		err = mimi.NewProblem(http.StatusNotFound, mimi.CodeNoSuchRoom, "no such room")
	}
	return err
}

// begin builds a replica from the snapshot. Nothing is written yet.
func (n *notification) begin() error {
	if n.snapshot == nil { // it was there, and is gone: try again
		return errGap()
	}
	state, err := room.StartFrom(n.f.cfg.Env, n.snapshot)
	if err == nil {
		err = checkSigned(n.snapshot.Signed, &state)
	}
	if err != nil {
		n.f.cfg.Log.Error("follower: a hub sent a snapshot that does not hold", "hub", n.uri.Domain(), "cause", err)
		return mimi.NewProblem(http.StatusBadRequest, "bad-snapshot", "the snapshot does not verify")
	}
	rec, err := record.Room(&state)
	if err != nil {
		return err
	}
	var members []room.Joined
	for _, m := range state.Members() {
		members = append(members, room.Joined{User: m.User, Client: m.Client})
	}
	n.next = state
	n.created = &start{
		state: state, rec: rec, history: n.snapshot.History, participants: state.Participants(),
		joined: record.Joined(n.f.cfg.Domain, &state, members), signed: n.snapshot.Signed,
	}
	return nil
}

// welcome routes a Welcome to our clients among its recipients.
func (n *notification) welcome(ctx context.Context, a *room.Announcement) error {
	ours, err := n.recipients(ctx, a)
	if err != nil {
		return err
	}
	if len(ours) == 0 {
		return errUnknownKey()
	}
	seq := n.next.Pos.Seq // a Welcome follows its commit
	if n.pos != nil && len(n.list) == 1 {
		seq = n.pos.Seq // sent again, perhaps long after
	}
	for _, client := range ours {
		n.welcomes = append(n.welcomes, store.InWelcome{Client: client, Room: n.uri, Seq: seq, Body: a.Raw()})
	}
	return nil
}

func errUnknownKey() error {
	return mimi.NewProblem(http.StatusBadRequest, codeUnknownKey, "the Welcome names none of our key packages")
}

// recipients are our clients whose KeyPackages a Welcome names.
func (n *notification) recipients(ctx context.Context, a *room.Announcement) (ours []mimi.ClientURI, err error) {
	err = n.f.cfg.Store.View(ctx, func(tx store.ReadTx) error {
		for _, ref := range a.WelcomeRefs() {
			client, err := tx.KeyPackageClient(ref)
			if errors.Is(err, store.ErrNotFound) {
				continue // another provider's
			}
			if err != nil {
				return err
			}
			ours = append(ours, client)
		}
		return nil
	})
	if err != nil {
		return nil, &ownError{err}
	}
	return ours, nil
}
