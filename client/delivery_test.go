package client

import (
	"errors"
	"testing"
	"time"

	"hubbub/mimi"
)

// stands tells how an entry stands at each provider.
func stands(d Delivery) map[mimi.Domain]DeliveryState {
	out := map[mimi.Domain]DeliveryState{}
	for _, p := range d.Providers {
		out[p.Provider] = p.State
	}
	return out
}

// TestDelivery follows one message through an outage of each kind: with a
// follower down it waits there, with the hub down nothing new is known and what
// was known has an age; no mark is shown before it was earned.
func TestDelivery(t *testing.T) {
	w := newWorld(t, "a.localhost", "b.localhost", "c.localhost")
	alice, bob, cathy := w.device("alice@a.localhost", "phone"), w.device("bob@b.localhost", "phone"), w.device("cathy@c.localhost", "phone")
	uri := w.room(alice, bob, cathy)
	await := func(c *Client, seq uint64, want map[mimi.Domain]DeliveryState) Delivery {
		t.Helper()
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for ctx := w.ctx(); ; {
			d, err := c.Delivery(ctx, uri, seq)
			w.ok(err)
			got := stands(d)
			same := len(got) == len(want)
			for p, s := range want {
				same = same && got[p] == s
			}
			if same {
				return d
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				t.Fatalf("%s: %v, want %v", c.URI(), got, want)
			}
		}
	}
	first := w.posted(bob, uri, w.send(bob, uri, "to all"))
	all := map[mimi.Domain]DeliveryState{"a.localhost": Stored, "b.localhost": Stored, "c.localhost": Stored}
	for _, c := range []*Client{alice, bob, cathy} {
		if d := await(c, first.Seq, all); !d.Complete() || !d.Providers[0].Hub || d.Accepted.UnixMilli() != first.Timestamp.UnixMilli() {
			t.Errorf("%s: %+v", c.URI(), d)
		}
	}
	info, err := alice.Room(w.ctx(), uri)
	if err != nil || len(info.Delivery) != 3 || info.Delivery[2].State != Stored || info.Delivery[2].StoredTo != info.Pos.Seq || info.Delivery[0].AsOf.IsZero() {
		t.Errorf("the room at its hub: %+v, %v", info.Delivery, err)
	}
	w.stop("c.localhost")
	second := w.posted(bob, uri, w.send(bob, uri, "one is away"))
	waiting := map[mimi.Domain]DeliveryState{"a.localhost": Stored, "b.localhost": Stored, "c.localhost": Waiting}
	if d := await(alice, second.Seq, waiting); d.Complete() {
		t.Error("complete without c")
	}
	await(bob, second.Seq, waiting)
	w.stop("a.localhost")
	d, err := bob.Delivery(w.ctx(), uri, second.Seq)
	w.ok(err)
	for _, p := range d.Providers {
		if p.Provider == "c.localhost" && (p.State == Stored || p.AsOf.IsZero() || p.AsOf.After(time.Now())) {
			t.Errorf("with the hub down: %+v", p)
		}
	}
	// After a restart the follower knows of itself and the hub, and of nobody else.
	w.stop("b.localhost")
	w.start("b.localhost")
	if d := await(bob, first.Seq, map[mimi.Domain]DeliveryState{"a.localhost": Stored, "b.localhost": Stored, "c.localhost": Unknown}); d.Complete() {
		t.Error("complete without a word of the hub")
	}
	w.start("c.localhost")
	w.start("a.localhost")
	await(bob, second.Seq, all)
	await(cathy, second.Seq, all)
	if _, err := bob.Delivery(w.ctx(), "mimi://a.localhost/r/none", 1); !errors.Is(err, ErrUnknownRoom) {
		t.Errorf("of a room that is not: %v", err)
	}
}

// TestLateJoiner: what was before a provider joined is not for it, and no mark
// says that it has it.
func TestLateJoiner(t *testing.T) {
	w := newWorld(t, "a.localhost", "b.localhost")
	alice, bob := w.device("alice@a.localhost", "phone"), w.device("bob@b.localhost", "phone")
	uri := w.room(alice)
	before := w.posted(alice, uri, w.send(alice, uri, "before"))
	if _, err := alice.AddUsers(w.ctx(), uri, bob.User()); err != nil {
		t.Fatal(err)
	}
	w.member(bob, uri)
	for _, c := range []*Client{alice, bob} {
		d, err := c.Delivery(w.ctx(), uri, before.Seq)
		w.ok(err)
		if s := stands(d); s["a.localhost"] != Stored || s["b.localhost"] != NotForIt || !d.Complete() {
			t.Errorf("%s: %v", c.URI(), s)
		}
	}
}

// TestRemovedAndOffline: each user has a result, the name stays, and the device
// lists its rooms while its provider is down.
func TestRemovedAndOffline(t *testing.T) {
	w := newWorld(t, "a.localhost", "b.localhost")
	alice, bob := w.device("alice@a.localhost", "phone"), w.device("bob@b.localhost", "phone")
	uri := w.room(alice, bob)
	const stranger = mimi.UserURI("mimi://b.localhost/u/stranger")
	results, err := alice.RemoveUsers(w.ctx(), uri, stranger)
	if err != nil || len(results) != 1 || !errors.Is(results[0].Err, ErrNotParticipant) {
		t.Errorf("one who is not there: %+v, %v", results, err)
	}
	results, err = alice.RemoveUsers(w.ctx(), uri, stranger, bob.User(), stranger)
	if err != nil || len(results) != 2 || results[0].Removed || !results[1].Removed || results[1].User != bob.User() {
		t.Errorf("one of two: %+v, %v", results, err)
	}
	w.until(bob, "the removal", func() bool { return bob.rooms[uri].phase == phaseOut })
	info, err := bob.Room(w.ctx(), uri)
	if err != nil || info.Name != "room" || info.Participant || !info.AsOf.IsZero() {
		t.Errorf("after the removal: %+v, %v", info, err)
	}
	before := time.Now()
	w.stop("a.localhost")
	w.stop("b.localhost")
	w.until(alice, "the end of the connection", func() bool { return !alice.online })
	for _, c := range []*Client{alice, bob} {
		list, err := c.LocalRooms(w.ctx())
		w.ok(err)
		if len(list) != 1 || list[0].Name != "room" || list[0].Member != (c == alice) || list[0].Participant != (c == alice) ||
			list[0].AsOf.IsZero() || list[0].AsOf.Before(before.Add(-2*patience)) || list[0].AsOf.After(time.Now()) {
			t.Errorf("%s offline: %+v", c.URI(), list)
		}
	}
}
