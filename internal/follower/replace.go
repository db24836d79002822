package follower

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"hubbub/internal/catchup"
	"hubbub/internal/record"
	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
	"hubbub/mimi/checkpoint"
)

// Rift is where a frozen copy of a room and the log of its hub part.
type Rift struct {
	Frozen string   // why our copy is
	Here   room.Pos // its end
	There  room.Pos // the end of the hub's log; zero: it does not say
	// Agreed is the last place that both logs have; Seq 0: none that our copy holds.
	Agreed room.Pos
}

// Replaced is what became of a copy that was replaced by the hub's.
type Replaced struct {
	Rift
	Former  mimi.RoomURI     // the name under which the old copy is kept
	Reached room.Pos         // the end of the new one
	Clients []mimi.ClientURI // our clients that have read in the old one
}

// Compare finds out where the frozen copy of a room and the log of its hub part. It
// changes nothing. Errors are *mimi.Problem, of our own, or silence of the hub.
func (f *Follower) Compare(ctx context.Context, uri mimi.RoomURI) (*Rift, error) {
	if uri.Domain() == f.cfg.Domain {
		return nil, mimi.NewProblem(http.StatusConflict, mimi.CodeConflict,
			"the room is hosted here: its log is the one that others are compared with")
	}
	if f.cfg.Entries == nil {
		return nil, ErrNoSource
	}
	r, err := f.lock(ctx, uri)
	if err != nil {
		return nil, err
	}
	state, start := r.state, r.start
	r.mu.Unlock()
	switch {
	case state == nil:
		return nil, mimi.NewProblem(http.StatusNotFound, mimi.CodeNoSuchRoom, "no such room")
	case state.Frozen == "":
		return nil, errNotFrozen()
	}
	rift := &Rift{Frozen: state.Frozen, Here: state.Pos}
	return rift, f.compare(ctx, uri, start, rift)
}

func errNotFrozen() error {
	return mimi.NewProblem(http.StatusConflict, mimi.CodeConflict, "the room is not frozen: a resync that replaces nothing fetches what is missing")
}

// compare reads the hub's log from where ours begins until the two differ.
func (f *Follower) compare(ctx context.Context, uri mimi.RoomURI, start room.Pos, rift *Rift) error {
	head, body, err := f.cfg.Entries.CatchUp(ctx, uri.Domain(), uri, start)
	var p *mimi.Problem
	if errors.As(err, &p) && p.Code == catchup.CodeMismatch {
		return nil // not even the beginning is the same
	}
	if err != nil {
		return err
	}
	stream := catchup.Receive(body)
	defer stream.Close()
	if rift.There = head; head.Seq < start.Seq {
		return nil
	}
	rift.Agreed = start
	for {
		b, err := stream.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		same, err := f.sameEntries(ctx, uri, rift, b)
		if err != nil || !same {
			return err
		}
	}
}

// sameEntries moves rift.Agreed over the entries of a block that we have as well;
// false at the first that we have not.
func (f *Follower) sameEntries(ctx context.Context, uri mimi.RoomURI, rift *Rift, b *catchup.Block) (same bool, err error) {
	var ours []store.Entry
	err = f.cfg.Store.View(ctx, func(tx store.ReadTx) error {
		ours, err = tx.Entries(uri, rift.Agreed.Seq, len(b.Entries), 1<<30)
		return err
	})
	if err != nil {
		return false, err
	}
	for i, a := range b.Entries {
		next := rift.Agreed.Next(a.Raw())
		if i >= len(ours) || ours[i].Seq != next.Seq || ours[i].Hash != next.Hash || !bytes.Equal(ours[i].Body, a.Raw()) {
			return false, nil
		}
		rift.Agreed = next
	}
	if rift.Agreed != b.Pos {
		return false, fmt.Errorf("%w: it does not lead to %s", catchup.ErrBadBlock, b.Pos)
	}
	return true, nil
}

// Replace takes the hub's log in place of our frozen copy, because the operator has
// decided so after seeing seen. In one transaction the copy is set aside, with all
// evidence, and a fresh one begins; it is then filled from the hub. An error after
// that comes with a result: the copy has been replaced, and what is missing of it
// is fetched by CatchUp, or when the hub announces something.
//
// The hub must vouch for the new beginning with a key that the old copy knows.
func (f *Follower) Replace(ctx context.Context, uri mimi.RoomURI, seen string, reason string) (*Replaced, error) {
	rift, err := f.Compare(ctx, uri)
	if err != nil {
		return nil, err
	}
	if rift.Frozen != seen {
		return nil, mimi.NewProblem(http.StatusConflict, mimi.CodeConflict, "the room is frozen for another reason: %s", rift.Frozen)
	}
	b, err := f.cfg.Remote.Snapshot(ctx, uri.Domain(), uri, 0)
	if err != nil {
		return nil, err
	}
	snap, err := room.ParseSnapshot(b)
	if err != nil || snap.Room != uri {
		return nil, errBadSnapshot("the snapshot of the room does not decode")
	}
	s := &succession{Replaced: Replaced{Rift: *rift}, uri: uri, reason: reason}
	if err := f.succeed(ctx, s, snap); err != nil {
		return nil, err
	}
	f.cfg.Log.Warn("follower: a copy was replaced by the hub's", "hub", uri.Domain(), "kept_as", s.Former, "agreed", s.Agreed.Seq)
	if s.Reached, err = f.CatchUp(ctx, uri); err != nil {
		return &s.Replaced, err
	}
	return &s.Replaced, f.carryAcks(ctx, s)
}

func errBadSnapshot(text string) error {
	return mimi.NewProblem(http.StatusBadGateway, "bad-snapshot", "%s", text)
}

// succession is one Replace.
type succession struct {
	Replaced
	uri      mimi.RoomURI
	reason   string
	spans    []store.Membership // of the old copy
	welcomes []store.InWelcome  // waiting in it, for commits that both logs have
	again    []store.Submission // writes whose entry may never come: they are sent once more
}

// succeed sets the old copy aside and begins the new one.
func (f *Follower) succeed(ctx context.Context, s *succession, snap *room.Snapshot) (err error) {
	n := &notification{f: f, uri: s.uri, snapshot: snap}
	if n.replica, err = f.lock(ctx, s.uri); err != nil {
		return err
	}
	defer n.replica.mu.Unlock()
	old := n.replica.state
	if old == nil || old.Pos != s.Here || old.Frozen != s.Frozen {
		return mimi.NewProblem(http.StatusConflict, mimi.CodeConflict, "the room has changed meanwhile: look at it again")
	}
	if _, err := checkpoint.Open(snap.Signed, s.uri, old.Group().ExternalSenders()); err != nil {
		return errBadSnapshot("the hub signs with a key that our copy does not know: this may be another hub")
	}
	if err := n.begin(); err != nil {
		return err
	}
	if ours, err := f.enrolled(ctx, &n.next); err != nil || !ours {
		return errors.Join(err, mimi.NewProblem(http.StatusConflict, mimi.CodeConflict, "where the hub has us begin no client of ours is in the room"))
	}
	former := record.Former{Head: s.Here, Agreed: s.Agreed.Seq, At: f.nowMS(), Reason: s.reason}
	err = f.update(ctx, n.replica, n.next, func(tx store.Tx) error {
		if err := s.read(tx); err != nil {
			return err
		}
		if former, err = record.SetAside(tx, s.uri, former); err != nil {
			return err
		}
		if err := n.created.write(tx); err != nil {
			return err
		}
		for _, w := range s.welcomes {
			if err := tx.PutInWelcome(w); err != nil {
				return err
			}
		}
		for i := range s.again {
			s.again[i].Accepted = 0
			if err := tx.PutSubmission(s.again[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	f.outbox.resume(s.again)
	s.Former, s.Reached = former.Room, n.next.Pos
	n.replica.start = n.created.rec.Start
	f.keep(s.uri, n.replica)
	f.cfg.Wake(s.uri)
	return nil
}

// read notes what of the old copy concerns our clients.
func (s *succession) read(tx store.Tx) (err error) {
	s.Clients, s.welcomes, s.again = nil, nil, nil
	if s.spans, err = tx.RoomMemberships(s.uri); err != nil {
		return err
	}
	seen := map[mimi.ClientURI]bool{}
	for _, m := range s.spans {
		if seen[m.Client] {
			continue
		}
		seen[m.Client] = true
		s.Clients = append(s.Clients, m.Client)
		waiting, err := tx.InWelcomes(m.Client)
		if err != nil {
			return err
		}
		for _, w := range waiting {
			if w.Room == s.uri && w.Seq <= s.Agreed.Seq {
				s.welcomes = append(s.welcomes, w)
			}
		}
		if err := s.readWrites(tx, m.Client); err != nil {
			return err
		}
	}
	return nil
}

// readWrites notes the writes of a client that the hub has accepted, perhaps in the
// log that it has given up. If their entries come they are settled, and else the hub
// decides anew: it takes a write once.
func (s *succession) readWrites(tx store.Tx, client mimi.ClientURI) error {
	list, err := tx.Submissions(client, 0)
	if err != nil {
		return err
	}
	for _, row := range list {
		if row.Room != s.uri || row.State != store.Queued || row.Accepted == 0 {
			continue
		}
		whole, err := tx.Submission(client, row.Txn)
		if err != nil {
			return err
		}
		s.again = append(s.again, *whole)
	}
	return nil
}

// resume puts writes that are durable back into their lanes.
func (o *outbox) resume(list []store.Submission) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range list {
		o.put(&list[i], true)
	}
}

// carryAcks spares our clients what they have read of the part that both logs have.
func (f *Follower) carryAcks(ctx context.Context, s *succession) error {
	acked := map[mimi.ClientURI]uint64{}
	for _, m := range s.spans {
		acked[m.Client] = max(acked[m.Client], min(m.Acked, s.Agreed.Seq))
	}
	waiting := map[mimi.ClientURI]bool{} // a Welcome goes with an ack
	for _, w := range s.welcomes {
		waiting[w.Client] = true
	}
	return f.cfg.Store.Update(context.WithoutCancel(ctx), func(tx store.Tx) error {
		for client, seq := range acked {
			if seq == 0 || waiting[client] {
				continue
			}
			if err := tx.Ack(client, s.uri, seq); err != nil {
				return err
			}
		}
		return nil
	})
}
