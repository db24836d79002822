package delivery

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"
	"time"

	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/internal/store/sqlstore"
	"hubbub/mimi"
)

const (
	a mimi.Domain = "a.localhost"
	b mimi.Domain = "b.localhost"
	c mimi.Domain = "c.localhost"
	d mimi.Domain = "d.localhost"

	uri mimi.RoomURI = "mimi://a.localhost/r/x"
)

// site is one provider's store with a Service over it. As an Asker it is the way
// to the hub given.
type site struct {
	*testing.T
	*Service
	store store.Store
	now   time.Time
	hub   *site // nil = it does not answer
	asked int
}

func newSite(t *testing.T, domain mimi.Domain) *site {
	st, err := sqlstore.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	s := &site{T: t, store: st, now: time.UnixMilli(1_000_000)}
	s.Service = New(Config{Domain: domain, Store: st, Remote: s, Now: func() time.Time { return s.now }})
	return s
}

func (s *site) Delivery(ctx context.Context, to mimi.Domain, uri mimi.RoomURI) ([]byte, error) {
	s.asked++
	if s.hub == nil {
		return nil, errors.New("no answer")
	}
	return s.hub.Report(ctx, s.cfg.Domain, uri)
}

func (s *site) update(fn func(store.Tx) error) {
	s.Helper()
	if err := s.store.Update(s.Context(), fn); err != nil {
		s.Fatal(err)
	}
}

// room stores a room whose history has b's client join at 1, c's at 3 and d's
// come at 1 and go at 2, with entries up to 4.
func (s *site) room() {
	s.Helper()
	start := room.StartPos(uri)
	var changes []room.Change
	for _, x := range []struct {
		seq    uint64
		who    mimi.UserURI
		action room.Action
	}{
		{1, "mimi://b.localhost/u/bob", room.ClientJoined}, {1, "mimi://d.localhost/u/dan", room.ClientJoined},
		{2, "mimi://d.localhost/u/dan", room.ClientLeft}, {3, "mimi://c.localhost/u/cathy", room.ClientJoined},
	} {
		changes = append(changes, room.Change{Seq: x.seq, Actor: "mimi://a.localhost/u/alice", Action: x.action, User: x.who,
			Client: mimi.ClientURI("mimi://" + string(x.who.Domain()) + "/d/x/phone")})
	}
	s.update(func(tx store.Tx) error {
		rec := store.RoomRecord{URI: uri, Hub: a, Head: start, Start: start, State: []byte("x")}
		if err := tx.CreateRoom(rec, changes, nil, nil); err != nil {
			return err
		}
		for i := range 4 {
			body := []byte(fmt.Sprint(i))
			next := start.Next(body)
			if err := tx.Append(store.Append{Room: uri, Prev: start, Entry: store.Entry{Seq: next.Seq, Timestamp: 500 + next.Seq,
				Kind: room.KindApplication, Body: body, Hash: next.Hash, MessageHash: sha256.Sum256(body)}}); err != nil {
				return err
			}
			start = next
		}
		return nil
	})
}

func (s *site) follow(f store.FanoutState) {
	s.Helper()
	f.Room = uri
	s.update(func(tx store.Tx) error { return tx.PutFanout(f) })
}

func (s *site) known() map[mimi.Domain]Provider {
	s.Helper()
	out := map[mimi.Domain]Provider{}
	err := s.store.View(s.Context(), func(tx store.ReadTx) error {
		rec, err := tx.Room(uri)
		if err != nil {
			return err
		}
		list, err := s.Known(tx, rec)
		for i, p := range list {
			if p.Hub != (i == 0) {
				s.Errorf("the hub is not first in %v", list)
			}
			out[p.Domain] = p
		}
		return err
	})
	if err != nil {
		s.Fatal(err)
	}
	return out
}

func newHub(t *testing.T) *site {
	hub := newSite(t, a)
	hub.room()
	hub.follow(store.FanoutState{Peer: b, Acked: 4, Sent: 4})
	hub.follow(store.FanoutState{Peer: c, Acked: 3, Sent: 4})
	hub.follow(store.FanoutState{Peer: d, Acked: 2, Sent: 2, Until: 2})
	return hub
}

func TestTheHubKnows(t *testing.T) {
	hub := newHub(t)
	known := hub.known()
	for _, x := range []struct {
		peer      mimi.Domain
		seq       uint64
		has, gets bool
	}{
		{a, 4, true, true}, {b, 4, true, true}, {b, 1, false, false}, // b's copy begins after 1
		{c, 3, false, false}, {c, 4, false, true}, // sent but not acknowledged
		{d, 2, true, true}, {d, 3, false, false},
	} {
		if p := known[x.peer]; p.Has(x.seq) != x.has || p.Gets(x.seq) != x.gets {
			t.Errorf("%s at %d: has %t gets %t, want %t %t", x.peer, x.seq, p.Has(x.seq), p.Gets(x.seq), x.has, x.gets)
		}
	}
	// A follower whose replica is still to be made has nothing.
	hub.update(func(tx store.Tx) error {
		return tx.PutOutWelcome(store.OutWelcome{Room: uri, Seq: 3, Peer: c, Body: []byte("w"), Snapshot: []byte("s")})
	})
	if p := hub.known()[c]; p.Stored != 0 {
		t.Errorf("c, not yet in the room, has stored %d", p.Stored)
	}
}

// TestAFollowerAsks: what only the hub knows is unknown until the hub has said
// it, keeps the time of its word while the hub is away, and is not asked for
// more often than need be.
func TestAFollowerAsks(t *testing.T) {
	hub, s := newHub(t), newSite(t, b)
	s.room()
	if p := s.known(); !p[b].Has(4) || !p[a].Has(4) || p[c].Has(4) || !p[c].KnownAt.IsZero() {
		t.Fatalf("before the hub was asked: %+v", p)
	}
	if err := s.Refresh(t.Context(), uri); err == nil {
		t.Fatal("a hub that does not answer answered")
	}
	if p := s.known()[c]; !p.KnownAt.IsZero() || p.Stored != 0 {
		t.Errorf("learnt from a hub that does not answer: %+v", p)
	}
	s.hub = hub
	told := s.now.Add(time.Minute)
	s.now = told
	hub.follow(store.FanoutState{Peer: c, Acked: 4, Sent: 4})
	for range 3 {
		if err := s.Refresh(t.Context(), uri); err != nil {
			t.Fatal(err)
		}
	}
	if s.asked != 2 {
		t.Errorf("the hub was asked %d times, want twice", s.asked)
	}
	s.hub, s.now = nil, told.Add(time.Hour)
	s.Refresh(t.Context(), uri)
	if p := s.known()[c]; !p.Has(4) || !p.KnownAt.Equal(told) {
		t.Errorf("an hour later: %+v, want the word of %s", p, told)
	}
	if p := s.known()[d]; p.Gets(3) || !p.Has(2) {
		t.Errorf("one who left: %+v", p)
	}
}

// TestTheNewestWordCounts: a follower restored from a backup has less than it
// had, and the mark goes.
func TestTheNewestWordCounts(t *testing.T) {
	hub, s := newHub(t), newSite(t, c)
	s.room()
	s.hub = hub
	if err := s.Refresh(t.Context(), uri); err != nil || !s.known()[b].Has(4) {
		t.Fatalf("%v, %+v", err, s.known())
	}
	hub.follow(store.FanoutState{Peer: b, Acked: 2, Sent: 2})
	s.now = s.now.Add(time.Minute)
	if err := s.Refresh(t.Context(), uri); err != nil || s.known()[b].Has(4) {
		t.Errorf("%v, %+v", err, s.known()[b])
	}
}

// TestWhoMayAsk: outsiders, those who left and those who ask for nothing hear one
// and the same.
func TestWhoMayAsk(t *testing.T) {
	hub := newHub(t)
	var first string
	for _, x := range []struct {
		peer mimi.Domain
		uri  mimi.RoomURI
	}{{"e.localhost", uri}, {d, uri}, {b, "mimi://a.localhost/r/none"}, {b, "mimi://b.localhost/r/theirs"}} {
		_, err := hub.Report(t.Context(), x.peer, x.uri)
		var p *mimi.Problem
		if !errors.As(err, &p) || p.Status != 404 {
			t.Fatalf("%s asking for %s: %v", x.peer, x.uri, err)
		}
		if first == "" {
			first = string(p.Body())
		}
		if string(p.Body()) != first {
			t.Errorf("%s asking for %s can tell the difference: %s", x.peer, x.uri, p.Body())
		}
	}
}

// TestTheAnswerDoesNotGrow: its size is that of the list of followers.
func TestTheAnswerDoesNotGrow(t *testing.T) {
	hub := newHub(t)
	body, err := hub.Report(t.Context(), b, uri)
	if err != nil || len(body) > 200 {
		t.Errorf("%d octets, %v", len(body), err)
	}
}
