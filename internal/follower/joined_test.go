package follower_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"hubbub/internal/follower"
	"hubbub/internal/room"
	"hubbub/internal/room/roomtest"
	"hubbub/internal/store"
	"hubbub/mimi"
	"hubbub/mimi/policy"
)

// list has alice put a user into the chat's list, without a client.
func (x *trio) list(user mimi.UserURI) {
	x.Helper()
	x.alice.write(store.SubmitUpdate, x.alice.Commit(roomtest.ListUpdate(x, &mimi.ParticipantListUpdate{
		Added: []mimi.Participant{{User: user, Role: policy.Member}}})))
	x.alice.catchUp()
}

// newPair is the chat with alice at its hub and dave of d.localhost, who is in its
// list and whose provider has never heard of it.
func newPair(t *testing.T) (x *trio, dave *device) {
	w := newWorld(t, 7, "a.localhost", "d.localhost")
	x = &trio{world: w, a: w.providers["a.localhost"], b: w.providers["d.localhost"]}
	x.alice, dave = w.enrol("alice@a.localhost", "phone"), w.enrol("dave@d.localhost", "phone")
	x.alice.create()
	x.say(3)
	x.list(dave.User)
	x.say(1)
	if _, head, _ := x.b.log(); head != (room.Pos{}) {
		t.Fatalf("the provider has a copy already, at %s", head)
	}
	return x, dave
}

// The first client of a provider comes by external commit: the replica begins before
// that commit, so that the client reads it, and follows from there.
func TestFirstClientLetsItselfIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, dave := newPair(t)
		dave.joinExternal()
		pass(time.Minute)
		if s := dave.submission("1"); s.State != store.Posted || s.Seq != 6 {
			t.Fatalf("the commit is %+v", s)
		}
		if at := dave.after(); at != 5 {
			t.Errorf("dave reads from %d on", at)
		}
		x.alice.catchUp()
		dave.catchUp()
		x.sent = 0
		x.say(3)
		dave.write(store.SubmitMessage, dave.Post("hello"))
		pass(time.Minute)
		x.checkEqual("d.localhost")
		dave.catchUp()
		if fmt.Sprint(dave.Texts) != "[1 2 3]" {
			t.Errorf("dave read %q", dave.Texts)
		}
		x.alice.catchUp()
		if n := len(x.alice.Texts); n != 1 {
			t.Errorf("alice read %d messages of dave", n)
		}
		// A copy that is lost begins where it began.
		spans := dave.spans()
		x.b.kill()
		x.b.dir = t.TempDir()
		x.b.start()
		code := [32]byte{9}
		x.must(x.b.store.Update(t.Context(), func(tx store.Tx) error {
			return errors.Join(tx.CreateUser(dave.User, time.Now()), tx.PutEnrolment(code, dave.User, time.Now().Add(time.Hour)),
				tx.Enrol(code, store.Client{URI: dave.URI, User: dave.User, TokenHash: code, SignatureKey: dave.Key().Public, CreatedAt: time.Now()}, time.Now()))
		}))
		x.say(1)
		x.checkEqual("d.localhost")
		if got := dave.spans(); fmt.Sprint(got) != fmt.Sprint(spans) {
			t.Errorf("spans %+v, were %+v", got, spans)
		}
	})
}

// The provider dies at any point between its user's commit and the first entry, the
// hub too: the replica begins all the same.
func TestFirstClientOutlivesCrashes(t *testing.T) {
	for name, crash := range map[string]func(x *trio){
		"follower": func(x *trio) { x.b.kill(); x.b.start() },
		"hub":      func(x *trio) { x.a.kill(); x.a.start() },
		"both":     func(x *trio) { x.a.kill(); x.b.kill(); x.a.start(); x.b.start() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x, dave := newPair(t)
				x.hush(true) // it hears nothing of what it has brought about
				dave.joinExternal()
				pass(500 * time.Millisecond)
				crash(x)
				x.hush(false)
				pass(10 * time.Minute)
				x.alice.catchUp()
				x.say(1)
				if s := dave.submission("1"); s.State != store.Posted {
					t.Errorf("the commit is %+v", s)
				}
				x.checkEqual("d.localhost")
				dave.catchUp()
				if n := len(dave.Texts); n != 1 {
					t.Errorf("dave read %d messages", n)
				}
			})
		})
	}
}

// A hub that says nothing is asked once the answer to the commit is there.
func TestFirstClientOfSilentHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, dave := newPair(t)
		x.hush(true)
		dave.joinExternal()
		pass(time.Minute)
		if s := dave.submission("1"); s.State != store.Posted {
			t.Errorf("the commit is %+v", s)
		}
		x.checkEqual("d.localhost")
	})
}

// Nobody but a client's own commit brings a room into being: a hub that offers
// rooms in which nobody of ours is gets nothing stored.
func TestUninvitedRoomIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, dave := newPair(t)
		_, _, log := x.a.log()
		last := log[len(log)-1]
		before := x.b.dump()
		err := x.b.follower.Notify(t.Context(), "a.localhost", chat, &room.Pos{Seq: last.Seq, Hash: last.Hash}, last.Body)
		var p *mimi.Problem
		if !errors.As(err, &p) || p.Code != mimi.CodeNoSuchRoom {
			t.Errorf("an entry of a room that nobody is in: %v", err)
		}
		if after := x.b.dump(); after != before {
			t.Errorf("it left traces:\n%s", after)
		}
		_, err = x.b.follower.Enqueue(t.Context(), store.Submission{Client: dave.URI, Txn: "x", Room: chat,
			Kind: store.SubmitMessage, Body: x.alice.Post("in dave's room")})
		if err == nil {
			t.Error("a message to an unknown room was queued")
		}
		if _, err := x.b.follower.CatchUp(t.Context(), chat); err == nil || errors.Is(err, follower.ErrNoSource) {
			t.Errorf("catching up: %v", err)
		}
	})
}
