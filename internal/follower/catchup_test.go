package follower_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"hubbub/internal/catchup"
	"hubbub/internal/fanout"
	"hubbub/internal/follower"
	"hubbub/internal/room"
	"hubbub/internal/room/roomtest"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// trio is the chat with alice at its hub, bob and cathy.
type trio struct {
	*world
	a, b, c           *provider
	alice, bob, cathy *device
	sent              int
}

func newTrio(t *testing.T) *trio {
	w := newWorld(t, 7, "a.localhost", "b.localhost", "c.localhost")
	x := &trio{world: w, a: w.providers["a.localhost"], b: w.providers["b.localhost"], c: w.providers["c.localhost"]}
	x.alice, x.bob, x.cathy = w.enrol("alice@a.localhost", "phone"), w.enrol("bob@b.localhost", "phone"), w.enrol("cathy@c.localhost", "phone")
	x.alice.create()
	x.alice.write(store.SubmitUpdate, x.alice.Add(append(x.alice.claim(x.bob.User), x.alice.claim(x.cathy.User)...)...))
	x.alice.catchUp()
	pass(time.Minute)
	x.bob.catchUp()
	x.cathy.catchUp()
	return x
}

// say posts n messages of alice's, and gives the followers the time to get them.
func (x *trio) say(n int) {
	x.Helper()
	for range n {
		x.sent++
		x.alice.write(store.SubmitMessage, x.alice.Post(fmt.Sprint(x.sent)))
	}
	pass(time.Minute)
}

// backup copies a provider's data while it is stopped; restore puts it back.
func (p *provider) backup() (dir string) {
	p.Helper()
	p.kill()
	dir = p.TempDir()
	p.must(os.CopyFS(dir, os.DirFS(p.dir)))
	p.start()
	return dir
}

func (p *provider) restore(dir string) {
	p.Helper()
	p.kill()
	p.must(os.RemoveAll(p.dir))
	p.must(os.CopyFS(p.dir, os.DirFS(dir)))
	p.start()
}

func (x *trio) record(p *provider) (r *store.RoomRecord) {
	x.Helper()
	x.must(p.store.View(x.Context(), func(tx store.ReadTx) (err error) {
		r, err = tx.Room(chat)
		return err
	}))
	return r
}

func (x *trio) frozen(p *provider) string { return x.record(p).Frozen }
func (x *trio) head(p *provider) room.Pos { return x.record(p).Head }

// A follower restored from an old backup has everything again without a new entry,
// and its clients notice nothing.
func TestRestoredFollowerCatchesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTrio(t)
		x.say(3)
		old := x.b.backup()
		x.say(700) // more than a block
		x.alice.write(store.SubmitUpdate, x.alice.Commit())
		x.alice.catchUp()
		x.say(5)
		x.bob.catchUp()
		x.b.restore(old)
		pass(time.Minute)
		x.checkEqual("b.localhost", "c.localhost")
		x.say(2)
		x.bob.catchUp()
		if len(x.bob.Texts) != x.sent {
			t.Errorf("bob read %d of %d messages", len(x.bob.Texts), x.sent)
		}
		x.checkEqual("b.localhost", "c.localhost")
	})
}

// A follower that lost a room as a whole gets it back with its clients' spans.
func TestWipedRoomComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTrio(t)
		x.say(3)
		x.bob.catchUp()
		spans := x.bob.spans()
		x.alice.write(store.SubmitUpdate, x.alice.Commit())
		x.alice.catchUp()
		x.say(3)
		x.b.kill()
		x.b.dir = x.TempDir()
		x.b.start()
		code := [32]byte{9}
		x.must(x.b.store.Update(x.Context(), func(tx store.Tx) error { // the user and its device are still known
			return errors.Join(tx.CreateUser(x.bob.User, time.Now()), tx.PutEnrolment(code, x.bob.User, time.Now().Add(time.Hour)),
				tx.Enrol(code, store.Client{URI: x.bob.URI, User: x.bob.User, TokenHash: code, SignatureKey: x.bob.Key().Public, CreatedAt: time.Now()}, time.Now()))
		}))
		x.say(1) // it learns of the room by the next entry
		x.checkEqual("b.localhost", "c.localhost")
		got := x.bob.spans()
		for i := range got {
			got[i].Acked = 0
		}
		if !slices.Equal(got, spans) {
			t.Errorf("spans %+v, want %+v", got, spans)
		}
		x.bob.catchUp()
		if len(x.bob.Texts) != x.sent {
			t.Errorf("bob read %d of %d messages", len(x.bob.Texts), x.sent)
		}
	})
}

// A room with none of our clients in it does not come into being.
func TestForeignRoomDoesNotComeIntoBeing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTrio(t)
		x.say(1)
		x.b.kill()
		x.b.dir = x.TempDir()
		x.b.start()
		x.say(1)
		if _, err := x.b.follower.CatchUp(x.Context(), chat); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("catching up on a foreign room: %v", err)
		}
		x.must(x.b.store.View(x.Context(), func(tx store.ReadTx) error {
			if known, err := tx.HasRoom(chat); err != nil || known {
				t.Errorf("the room is there: %v, %v", known, err)
			}
			return nil
		}))
	})
}

// Nobody gets more of a log than its part.
func TestCatchUpIsForParticipants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTrio(t)
		x.say(2)
		x.alice.write(store.SubmitUpdate, x.alice.Commit(x.alice.Removal(x.cathy.User)...))
		x.alice.catchUp()
		x.say(2)
		_, _, log := x.a.log()
		at := func(seq uint64) room.Pos {
			if seq == 0 {
				return room.StartPos(chat)
			}
			return room.Pos{Seq: seq, Hash: log[seq-1].Hash}
		}
		for name, tc := range map[string]struct {
			peer mimi.Domain
			from room.Pos
			want string // code of the refusal, or the head
		}{
			"stranger":       {"d.localhost", at(1), mimi.CodeNoSuchRoom},
			"before joining": {"b.localhost", at(0), mimi.CodeForbidden},
			"member":         {"b.localhost", at(1), "6"},
			"removed":        {"c.localhost", at(1), "4"},
			"another log":    {"b.localhost", room.Pos{Seq: 3}, catchup.CodeMismatch},
			"ahead":          {"b.localhost", room.Pos{Seq: 99}, "6"},
		} {
			part, err := x.a.hub.CatchUp(x.Context(), tc.peer, chat, tc.from)
			got := ""
			var p *mimi.Problem
			if errors.As(err, &p) {
				got = p.Code
			} else if err == nil {
				got = fmt.Sprint(part.Head.Seq)
			}
			if got != tc.want {
				t.Errorf("%s: %s, %v, want %s", name, got, err, tc.want)
			}
		}
		if _, err := x.a.hub.Snapshot(x.Context(), "c.localhost", chat, 0); err == nil {
			t.Error("a removed provider got a snapshot")
		}
		// A replica is for its hub only.
		if _, err := x.b.follower.Part(x.Context(), "c.localhost", chat, at(1)); err == nil {
			t.Error("a follower gave its replica to another follower")
		}
		x.say(0)
	})
}

// A hub restored from a backup gets back from its followers what it lost, before
// it accepts anything.
func TestRestoredHubFetchesWhatItLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTrio(t)
		x.say(3)
		old := x.a.backup()
		x.say(600)
		x.alice.write(store.SubmitUpdate, x.alice.Commit())
		x.alice.catchUp()
		x.say(2)
		_, head, _ := x.a.log()
		x.c.kill() // one of them is away
		x.setDown("c.localhost", true)
		x.a.restore(old)
		if _, back, _ := x.a.log(); back.Seq >= head.Seq {
			t.Fatalf("the backup is as new as the log: %v", back)
		}
		x.sent++
		x.alice.write(store.SubmitMessage, x.alice.Post(fmt.Sprint(x.sent)))
		if _, at, _ := x.a.log(); at.Seq != head.Seq+1 {
			t.Errorf("the hub is at %v, want the entry after %v", at, head)
		}
		// Followers do not have the GroupInfo of the commit that it got back.
		var p *mimi.Problem
		if _, err := x.groupInfo(x.bob); !errors.As(err, &p) || p.Code != "group-info-lost" {
			t.Errorf("a device that would join is told %v", err)
		}
		x.alice.write(store.SubmitUpdate, x.alice.Commit())
		if answer, err := x.groupInfo(x.bob); err != nil || answer.Status != mimi.GroupInfoSuccess {
			t.Errorf("after a commit a device that would join is told %v, %v", answer, err)
		}
		x.c.start()
		x.setDown("c.localhost", false)
		x.a.fanout.PeerAlive("c.localhost")
		pass(time.Hour)
		x.checkEqual("b.localhost", "c.localhost")
		x.bob.catchUp()
		if len(x.bob.Texts) != x.sent {
			t.Errorf("bob read %d of %d messages", len(x.bob.Texts), x.sent)
		}
	})
}

// groupInfo asks the hub for what a device needs to join.
func (x *trio) groupInfo(d *device) (*mimi.GroupInfoResponse, error) {
	x.Helper()
	_, pub, err := roomtest.Suite.GenerateHPKEKey(rand.Reader)
	x.must(err)
	req := &mimi.GroupInfoRequest{Credential: d.Credential(), PublicKey: pub}
	x.must(req.Sign(d.Key()))
	body, err := req.Marshal()
	x.must(err)
	answer, err := x.a.hub.GroupInfo(x.Context(), d.home.domain, chat, body)
	if err != nil {
		return nil, err
	}
	return mimi.ParseGroupInfoResponse(answer)
}

// A hub that has written anew before its followers could tell it what it had lost
// has forked the log: both sides freeze, with both positions as evidence.
func TestForkFreezes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTrio(t)
		x.say(3)
		old := x.a.backup()
		x.say(4)
		x.setDown("b.localhost", true)
		x.setDown("c.localhost", true)
		x.a.restore(old)
		x.alice.write(store.SubmitMessage, x.alice.Post("fork"))
		x.a.kill()
		x.a.start()
		x.setDown("b.localhost", false)
		x.setDown("c.localhost", false)
		body := x.alice.Post("after the fork")
		if _, err := x.a.hub.Submit(x.Context(), "a.localhost", chat, body); err == nil {
			t.Error("the hub went on writing")
		}
		if x.frozen(x.a) == "" {
			t.Error("the hub's room is not frozen")
		}
		before := x.head(x.b)
		x.b.follower.CatchUp(x.Context(), chat)
		if x.frozen(x.b) == "" {
			t.Error("the follower's replica is not frozen")
		}
		if x.head(x.b) != before {
			t.Error("a replica followed the fork")
		}
		for _, p := range []*provider{x.a, x.b} {
			x.must(p.store.View(x.Context(), func(tx store.ReadTx) error {
				_, err := tx.Meta("evidence/" + string(chat))
				return err
			}))
		}
	})
}

// What is behind: a hub with less than a follower is noticed by the follower.
func TestFollowerSeesHubBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTrio(t)
		x.say(3)
		old := x.a.backup()
		x.say(4)
		x.a.restore(old)
		if _, err := x.b.follower.CatchUp(x.Context(), chat); !errors.Is(err, follower.ErrHubBehind) {
			t.Errorf("CatchUp = %v", err)
		}
		if x.frozen(x.b) != "" {
			t.Error("the replica is frozen")
		}
	})
}

// A follower that is away for longer than entries are kept for it is given up
// visibly, and comes back by catching up.
func TestRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTrio(t)
		x.say(2)
		x.b.kill()
		x.setDown("b.localhost", true)
		x.say(3)
		pass(31 * 24 * time.Hour)
		var f *store.FanoutState
		state := func() string {
			x.must(x.a.store.View(x.Context(), func(tx store.ReadTx) (err error) {
				f, err = tx.Fanout(chat, "b.localhost")
				return err
			}))
			return f.Parked
		}
		if got := state(); got != fanout.NeedsResync {
			t.Errorf("after a month the queue is %q", got)
		}
		x.setDown("b.localhost", false)
		x.b.start()
		pass(time.Minute)
		x.checkEqual("b.localhost")
		if got := state(); got != "" {
			t.Errorf("after catching up the queue is %q", got)
		}
		x.say(2)
		x.checkEqual("b.localhost", "c.localhost")
		if state(); f.Acked != x.head(x.a).Seq {
			t.Errorf("the hub knows of %d, its head is %v", f.Acked, x.head(x.a))
		}
	})
}

// A provider that has left, and lost its copy before it got the last entries, is
// owed nothing any more: its queue does not stand for ever.
func TestQueueOfALostCopyEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTrio(t)
		x.say(1)
		x.c.kill()
		x.setDown("c.localhost", true)
		x.alice.write(store.SubmitUpdate, x.alice.Commit(x.alice.Removal(x.cathy.User)...))
		x.alice.catchUp()
		x.c.dir = x.TempDir()
		x.c.start()
		x.setDown("c.localhost", false)
		x.a.fanout.PeerAlive("c.localhost")
		pass(time.Hour)
		var f *store.FanoutState
		x.must(x.a.store.View(x.Context(), func(tx store.ReadTx) (err error) {
			f, err = tx.Fanout(chat, "c.localhost")
			return err
		}))
		if f.Until == 0 || f.Acked != f.Until || f.Parked != "" {
			t.Errorf("the queue is %+v", f)
		}
		x.checkEqual("b.localhost")
	})
}

// A log of many blocks is caught up with as a whole, and where the network breaks
// in the middle it goes on from there.
func TestCatchUpOfALongLog(t *testing.T) {
	const entries = 6000
	w := newWorld(t, 3, "a.localhost", "b.localhost")
	a, b := w.providers["a.localhost"], w.providers["b.localhost"]
	alice, bob := w.enrol("alice@a.localhost", "phone"), w.enrol("bob@b.localhost", "phone")
	alice.create()
	alice.write(store.SubmitUpdate, alice.Add(alice.claim(bob.User)...))
	alice.catchUp()
	for b.head().Seq != 1 {
		<-time.After(time.Millisecond)
	}
	w.setDown("b.localhost", true)
	for n := 0; n < entries; {
		var items []mimi.BatchItem
		for range 250 {
			items = append(items, mimi.BatchItem{Kind: mimi.BatchMessage, Room: chat, Body: alice.Post(fmt.Sprintf("%0200d", n))})
			n++
		}
		for _, answer := range a.hub.Batch("a.localhost", items) {
			if answer.Status != 200 {
				t.Fatalf("status %d", answer.Status)
			}
		}
	}
	before := b.head()
	// Each time somebody is killed: what a follower had in memory is gone, and the
	// hub's answer ends wherever it does, in a header or in the middle of a block.
	// The last one goes on by itself after the first break.
	places := []room.Pos{before}
	kills := [][]int64{{0}, {1}, {43}, {44}, {500_000}, {1<<20 + 50_000, 100}, {1<<20 + 50_000}}
	for i, cuts := range kills {
		source := &breaking{LogSource: b, cuts: cuts}
		f := follower.New(follower.Config{Domain: b.domain, Store: b.store, Env: roomtest.Env(), Remote: b, Entries: source})
		at, err := f.CatchUp(w.Context(), chat)
		if last := i == len(kills)-1; last != (err == nil) {
			t.Errorf("cut after %d octets: %v", cuts, err)
		}
		if source.asked[0] != places[len(places)-1].Seq || b.head() != at {
			t.Errorf("cut after %d octets: asked for what follows %v, got to %v, stored %v", cuts, source.asked, at, b.head())
		}
		places = append(places, at)
	}
	if at := places[len(places)-1]; at.Seq != before.Seq+entries {
		t.Errorf("caught up from %v to %v", before, at)
	}
	if places[5] != before || places[6] == before {
		t.Errorf("what arrived whole was not kept: %v", places)
	}
	b.kill()
	b.start() // what its own follower has in memory is old
	w.checkEqual("b.localhost")
}

// breaking is a network that breaks off answers.
type breaking struct {
	follower.LogSource
	cuts  []int64  // octets of each answer that arrive; those after the last are whole
	asked []uint64 // Seq, in each request
}

func (s *breaking) CatchUp(ctx context.Context, hub mimi.Domain, uri mimi.RoomURI, from room.Pos) (room.Pos, io.ReadCloser, error) {
	head, body, err := s.LogSource.CatchUp(ctx, hub, uri, from)
	n := len(s.asked)
	if s.asked = append(s.asked, from.Seq); err == nil && n < len(s.cuts) {
		body = io.NopCloser(io.MultiReader(io.LimitReader(body, s.cuts[n]), iotest.ErrReader(errNetwork)))
	}
	return head, body, err
}

// head is where a provider's log of the chat ends; zero if it has none.
func (p *provider) head() (pos room.Pos) {
	p.must(p.store.View(context.Background(), func(tx store.ReadTx) error {
		r, err := tx.Room(chat)
		if err == nil {
			pos = r.Head
		} else if errors.Is(err, store.ErrNotFound) {
			err = nil
		}
		return err
	}))
	return pos
}
