package follower_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
	"hubbub/mls/wire"
)

// announced is a chat at a that b has been told nothing of yet: what the hub
// would send, to be delivered by hand.
type announced struct {
	*world
	alice, bob *device
	b          *provider
	welcome    store.OutWelcome
	entries    []store.Entry // from the entry after the Welcome's commit
}

// announce makes such a chat with n messages after bob was added.
func announce(t *testing.T, n int) *announced {
	w := makeWorld(t, 1, true, "a.localhost", "b.localhost")
	x := &announced{world: w, b: w.providers["b.localhost"]}
	x.alice, x.bob = w.enrol("alice@a.localhost", "phone"), w.enrol("bob@b.localhost", "phone")
	x.alice.create()
	body := x.alice.Add(x.alice.claim(x.bob.User)...)
	w.setDown("b.localhost", true)
	x.alice.write(store.SubmitUpdate, body)
	x.alice.catchUp()
	for range n {
		x.alice.write(store.SubmitMessage, x.alice.Post("hello"))
	}
	x.collect()
	return x
}

func (x *announced) collect() {
	x.Helper()
	x.must(x.alice.home.store.View(x.Context(), func(tx store.ReadTx) error {
		list, err := tx.OutWelcomes(chat, "b.localhost", 0)
		if err != nil {
			return err
		}
		x.welcome = list[0]
		x.entries, err = tx.Entries(chat, x.welcome.Seq, 1000, 1<<30)
		return err
	}))
}

// pos is the position of the entry with a Seq at the hub.
func (x *announced) pos(seq uint64) *room.Pos {
	x.Helper()
	_, _, log := x.alice.home.log()
	return &room.Pos{Seq: seq, Hash: log[seq-1].Hash}
}

// notify announces entries from to to, counted as in x.entries.
func (x *announced) notify(from, to int, pos *room.Pos) error {
	var body []byte
	for _, e := range x.entries[from:to] {
		body = append(body, e.Body...)
	}
	return x.b.follower.Notify(x.Context(), "a.localhost", chat, pos, body)
}

// join delivers the Welcome.
func (x *announced) join() {
	x.Helper()
	x.must(x.b.follower.Notify(x.Context(), "a.localhost", chat, x.pos(x.welcome.Seq), x.welcome.Body))
}

func (p *provider) dump() string {
	p.Helper()
	var s string
	p.must(p.store.View(context.Background(), func(tx store.ReadTx) (err error) {
		s, err = tx.Dump()
		return err
	}))
	return s
}

// refused asserts that a call was refused with a status and code and left
// nothing behind.
func (x *announced) refused(status int, code string, do func() error) *mimi.Problem {
	x.Helper()
	before := x.b.dump()
	err := do()
	var p *mimi.Problem
	if !errors.As(err, &p) || p.Status != status || p.Code != code {
		x.Errorf("got %v, want %d %s", err, status, code)
		return new(mimi.Problem)
	}
	if x.b.dump() != before {
		x.Errorf("%d %s left something behind", status, code)
	}
	return p
}

func inBubble(t *testing.T, n int, f func(x *announced)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(announce(t, n)) })
}

func TestNotifyRefuses(t *testing.T) {
	inBubble(t, 3, func(x *announced) {
		send := func(peer mimi.Domain, uri mimi.RoomURI, pos *room.Pos, body []byte) func() error {
			return func() error { return x.b.follower.Notify(x.Context(), peer, uri, pos, body) }
		}
		entry := x.entries[0].Body
		x.refused(403, mimi.CodeForbidden, send("c.localhost", chat, nil, entry))
		x.refused(403, mimi.CodeForbidden, send("b.localhost", "mimi://b.localhost/r/own", nil, entry))
		x.refused(400, mimi.CodeMalformed, send("a.localhost", chat, nil, nil))
		x.refused(400, mimi.CodeMalformed, send("a.localhost", chat, nil, []byte("garbage")))
		x.refused(404, mimi.CodeNoSuchRoom, send("a.localhost", chat, x.pos(2), entry))
		// A Welcome that names none of our KeyPackages.
		foreign := strings.ReplaceAll(string(x.welcome.Body), string(ref(x)), strings.Repeat("x", 32))
		x.refused(400, "unknown-key-package", send("a.localhost", chat, x.pos(1), []byte(foreign)))

		x.join()
		// The second message is cut off: the first must not be stored either.
		body := append(slices.Clone(entry), x.entries[1].Body[:len(x.entries[1].Body)-1]...)
		x.refused(400, mimi.CodeMalformed, send("a.localhost", chat, x.pos(3), body))
		x.refused(400, mimi.CodeMalformed, send("a.localhost", chat, &room.Pos{Seq: 1}, append(slices.Clone(entry), entry...)))
		p := x.refused(503, "gap", func() error { return x.notify(1, 2, x.pos(3)) })
		if p.RetryAfter == 0 {
			x.Error("a gap without Retry-After")
		}
	})
}

// ref is the KeyPackageRef in the Welcome.
func ref(x *announced) []byte {
	f, err := mimi.ParseFanoutMessage(x.welcome.Body)
	x.must(err)
	return f.Message.Welcome.Secrets[0].NewMember
}

func TestNotifyRepeats(t *testing.T) {
	inBubble(t, 4, func(x *announced) {
		x.join()
		x.must(x.notify(0, 2, x.pos(3)))
		before := x.b.dump()
		x.must(x.notify(0, 2, x.pos(3))) // the same body
		x.must(x.notify(1, 2, x.pos(3))) // the same message in another batch
		x.must(x.notify(0, 1, x.pos(2)))
		x.join()
		if x.b.dump() != before {
			x.Error("a repeat changed something")
		}
		x.must(x.notify(1, 4, x.pos(5))) // known and new together
		x.checkEqual("b.localhost")
	})
}

// A hub that does not speak of positions is followed in the order of arrival.
func TestNotifyWithoutPositions(t *testing.T) {
	inBubble(t, 4, func(x *announced) {
		x.must(x.b.follower.Notify(x.Context(), "a.localhost", chat, nil, x.welcome.Body))
		x.must(x.notify(0, 2, nil))
		x.must(x.notify(0, 2, nil))
		x.must(x.notify(1, 4, nil))
		x.must(x.notify(3, 4, nil))
		x.checkEqual("b.localhost")
	})
}

// TestNotifyFreezes: announcements that cannot be true of one log, or that no
// honest hub makes, freeze the replica and are kept.
func TestNotifyFreezes(t *testing.T) {
	cases := map[string]struct {
		status int
		code   string
		do     func(x *announced) error
	}{
		"another hash": {409, "log-mismatch", func(x *announced) error {
			pos := x.pos(4)
			pos.Hash[0] ^= 1
			return x.notify(2, 3, pos)
		}},
		"another hash for what is stored": {409, "log-mismatch", func(x *announced) error {
			pos := x.pos(3)
			pos.Hash[0] ^= 1
			return x.notify(1, 2, pos)
		}},
		"another entry in the same place": {409, "log-mismatch", func(x *announced) error {
			return x.notify(2, 3, x.pos(3))
		}},
		"a commit that policy forbids": {400, "bad-entry", func(x *announced) error {
			x.bob.catchUp()
			return x.fork(x.bob, x.bob.Commit(x.bob.Removal(x.alice.User)...), 3)
		}},
		"a commit with a bad signature": {400, "bad-entry", func(x *announced) error {
			x.bob.catchUp()
			body := x.bob.Commit()
			h, err := mimi.ParseHandshakeBundle(body)
			x.must(err)
			h.Message.Public.Auth.Signature[0] ^= 1
			h.Message.Raw = nil
			body, err = h.Marshal()
			x.must(err)
			return x.fork(x.bob, body, 3)
		}},
		"a second commit for an epoch": {409, "log-mismatch", func(x *announced) error {
			x.bob.catchUp()
			one, two := x.bob.Commit(), x.bob.Commit()
			x.must(x.fork(x.bob, one, 3))
			return x.fork(x.bob, two, 4)
		}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 3, func(x *announced) {
				x.join()
				x.must(x.notify(0, 2, x.pos(3)))
				var p *mimi.Problem
				if err := c.do(x); !errors.As(err, &p) || p.Status != c.status || p.Code != c.code {
					x.Fatalf("got %v, want %d %s", err, c.status, c.code)
				}
				x.must(x.b.store.View(x.Context(), func(tx store.ReadTx) error {
					r, err := tx.Room(chat)
					if err == nil && r.Frozen != c.code {
						x.Errorf("frozen for %q, want %q", r.Frozen, c.code)
					}
					evidence, err := tx.Meta("evidence/" + string(chat))
					if len(evidence) == 0 {
						x.Errorf("no evidence: %v", err)
					}
					return nil
				}))
				// From now on nothing is taken, also after a restart.
				x.b.kill()
				x.b.start()
				if err := x.notify(2, 3, x.pos(4)); !errors.As(err, &p) || p.Code != "room-frozen" {
					x.Errorf("a frozen room answers %v", err)
				}
			})
		})
	}
}

// fork announces a handshake that the hub never accepted, as entry seq+1.
func (x *announced) fork(d *device, body []byte, seq uint64) error {
	x.Helper()
	h, err := mimi.ParseHandshakeBundle(body)
	x.must(err)
	f := mimi.FanoutMessage{Timestamp: uint64(time.Now().UnixMilli()) + 100 + seq, Message: h.Message}
	raw, err := wire.Marshal(&f)
	x.must(err)
	return x.b.follower.Notify(x.Context(), "a.localhost", chat, nil, raw)
}

func TestNotifyBadTimestamp(t *testing.T) {
	inBubble(t, 1, func(x *announced) {
		x.join()
		for _, ts := range []uint64{0, 1 << 63, 1<<64 - 1, uint64(time.Now().Add(25 * time.Hour).UnixMilli())} {
			f, err := mimi.ParseFanoutMessage(slices.Clone(x.entries[0].Body))
			x.must(err)
			f.Timestamp = ts
			raw, err := wire.Marshal(f)
			x.must(err)
			x.refused(400, "bad-timestamp", func() error {
				return x.b.follower.Notify(x.Context(), "a.localhost", chat, nil, raw)
			})
		}
	})
}

// The snapshot is the hub's word; what can be checked of it is checked.
func TestSnapshotIsVerified(t *testing.T) {
	inBubble(t, 1, func(x *announced) {
		was, err := x.alice.home.hub.Snapshot(x.Context(), "b.localhost", chat, x.welcome.Seq)
		x.must(err)
		elsewhere, err := x.alice.home.hub.CheckpointAt(chat, *x.pos(2))
		x.must(err)
		for name, change := range map[string]func(*room.Snapshot){
			"participants": func(s *room.Snapshot) { s.Participants[0].Role = 2 },
			"tree":         func(s *room.Snapshot) { s.Tree[len(s.Tree)/2] ^= 1 },
			"group info":   func(s *room.Snapshot) { s.GroupInfo[len(s.GroupInfo)-1] ^= 1 },
			"another room": func(s *room.Snapshot) { s.Room = "mimi://a.localhost/r/other" },
			"position":     func(s *room.Snapshot) { s.Pos.Hash[0] ^= 1 },
			"history":      func(s *room.Snapshot) { s.History[0].Actor = "nobody" },
			"no signature": func(s *room.Snapshot) { s.Signed = nil },
			"signature":    func(s *room.Snapshot) { s.Signed[len(s.Signed)-5] ^= 1 },
			"other place":  func(s *room.Snapshot) { s.Signed = elsewhere },
		} {
			s, err := room.ParseSnapshot(slices.Clone(was))
			x.must(err)
			change(s)
			b, err := s.Encode()
			x.must(err)
			x.b.snapshot = b
			before := x.b.dump()
			err = x.b.follower.Notify(x.Context(), "a.localhost", chat, x.pos(1), x.welcome.Body)
			var p *mimi.Problem
			if !errors.As(err, &p) || p.Code != "bad-snapshot" {
				x.Errorf("%s: got %v, want bad-snapshot", name, err)
			}
			if x.b.dump() != before {
				x.Errorf("%s: left something behind", name)
			}
		}
		x.b.snapshot = nil
		x.join()
	})
}
