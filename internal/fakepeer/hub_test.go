package fakepeer

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"

	"hubbub/client"
	"hubbub/internal/room"
	"hubbub/mimi"
)

// stage is a room with a history that its hub then tells in two ways: each is a
// true log, made by restoring hub and author from a backup and going another way.
type stage struct {
	*world
	uri  mimi.RoomURI
	log  []client.Entry // what b holds
	fork []client.Entry // what the hub made of it the second time
	bob  *client.Client
}

// newStage leaves b running on the first log, and a fake in the place of a.
func newStage(t *testing.T) (*stage, *Peer) {
	s := &stage{world: newWorld(t, a, b)}
	alice, bob := s.device("alice@a.localhost"), s.device("bob@b.localhost")
	s.device("dave@a.localhost")
	s.device("eve@a.localhost")
	var err error
	s.uri, _, err = alice.CreateRoom(t.Context(), client.RoomOptions{Members: []mimi.UserURI{bob.User()}})
	s.ok(err)
	s.until("bob's membership", func(ctx context.Context) error {
		info, err := bob.Room(ctx, s.uri)
		if err == nil && !info.Member {
			err = fmt.Errorf("%+v", info)
		}
		return err
	})
	first := s.send(bob, s.uri, "one")
	s.send(alice, s.uri, "two")
	s.at(alice, s.uri, first.Seq+1)
	s.at(bob, s.uri, first.Seq+1)
	s.ok(alice.Close())
	s.stop(a)
	s.save(s.cfgs[a].DataDir, "a")
	s.save(s.devices["alice@a.localhost"], "alice")

	// The first time alice adds dave, and b hears of it.
	s.start(a)
	alice = s.open("alice@a.localhost")
	_, err = alice.AddUsers(t.Context(), s.uri, "mimi://a.localhost/u/dave")
	s.ok(err)
	s.at(bob, s.uri, first.Seq+2)
	s.log, err = bob.Log(t.Context(), s.uri, 0, 100)
	s.ok(err)
	s.ok(alice.Close())
	s.stop(a)

	// The second time she adds eve. b is away.
	s.stop(b)
	s.save(s.cfgs[b].DataDir, "b")
	s.restore(s.cfgs[a].DataDir, "a")
	s.restore(s.devices["alice@a.localhost"], "alice")
	s.start(a)
	alice = s.open("alice@a.localhost")
	_, err = alice.AddUsers(t.Context(), s.uri, "mimi://a.localhost/u/eve")
	s.ok(err)
	s.fork, err = alice.Log(t.Context(), s.uri, 0, 100)
	s.ok(err)
	s.ok(alice.Close())
	s.stop(a)
	s.start(b)
	s.bob = bob
	return s, s.fake(a)
}

// pos is the place after the last of some entries.
func pos(list []client.Entry) *room.Pos {
	e := list[len(list)-1]
	return &room.Pos{Seq: e.Seq, Hash: e.Hash}
}

func bodies(list []client.Entry) (b []byte) {
	for _, e := range list {
		b = append(b, e.Body...)
	}
	return b
}

// back has b as it was before anything hostile.
func (s *stage) back() {
	s.Helper()
	s.stop(b)
	s.restore(s.cfgs[b].DataDir, "b")
	s.start(b)
}

// announcement is a message with another ciphertext and time, as a hub may
// announce it: nobody but the members can tell that nobody wrote it.
func (s *stage) announcement(of client.Entry, timestamp uint64) []byte {
	s.Helper()
	f, err := mimi.ParseFanoutMessage(of.Body)
	s.ok(err)
	m := *f.Message.Private
	m.Ciphertext = bytes.Clone(m.Ciphertext)
	m.Ciphertext[0] ^= 1
	f.Message.Private, f.Message.Raw, f.Raw, f.Timestamp = &m, nil, nil, timestamp
	body, err := f.Marshal()
	s.ok(err)
	return body
}

// A hub that lies to a follower. What can only be a mistake is refused and leaves
// nothing behind; what shows two versions of one log freezes the replica and is
// kept as evidence (F46, P17, H66 – H73).
func TestLyingHub(t *testing.T) {
	s, hub := newStage(t)
	ctx := t.Context()
	head, n := pos(s.log), len(s.log)
	last := s.log[n-1]
	var message client.Entry // the newest that is a message
	for _, e := range s.log {
		if e.Kind == client.KindApplication {
			message = e
		}
	}
	if pos(s.fork).Seq != head.Seq || *pos(s.fork) == *head {
		t.Fatalf("the logs end at %s and %s: no fork", head, pos(s.fork))
	}
	wrongHash := *head
	wrongHash.Hash[5] ^= 1
	after := func(body []byte) *room.Pos { p := head.Next(body); return &p }
	fresh := s.announcement(message, math.MaxUint64/2)
	stranger, follower := s.voice(d), s.voice(c)

	for _, tc := range []struct {
		name   string
		call   func() (*Reply, error)
		status int
		code   string
		frozen bool
	}{
		// F30, F31: what b has already.
		{"the last entry again", func() (*Reply, error) { return hub.Notify(ctx, b, s.uri, head, last.Body) }, 201, "", false},
		{"the whole log again", func() (*Reply, error) { return hub.Notify(ctx, b, s.uri, head, bodies(s.log)) }, 201, "", false},
		{"an old part in another batch", func() (*Reply, error) {
			return hub.Notify(ctx, b, s.uri, pos(s.log[:n-1]), bodies(s.log[n-3:n-1]))
		}, 201, "", false},
		{"again without a position", func() (*Reply, error) { return hub.Notify(ctx, b, s.uri, nil, last.Body) }, 201, "", false},
		// H66: not the hub.
		{"from another follower", func() (*Reply, error) { return follower.Notify(ctx, b, s.uri, after(fresh), fresh) }, 403, mimi.CodeForbidden, false},
		{"from a stranger", func() (*Reply, error) { return stranger.Notify(ctx, b, s.uri, head, last.Body) }, 403, mimi.CodeForbidden, false},
		{"a stranger says it is the hub", func() (*Reply, error) {
			return stranger.Send(ctx, Outgoing{To: b, Endpoint: mimi.EndpointNotify, ID: string(s.uri), From: "mimi@a.localhost", Body: last.Body})
		}, 403, mimi.CodeFromNotProven, false},
		// H72: what does not decode.
		{"nothing", func() (*Reply, error) { return hub.Notify(ctx, b, s.uri, head, nil) }, 400, "", false},
		{"cut short", func() (*Reply, error) { return hub.Notify(ctx, b, s.uri, after(fresh), fresh[:len(fresh)-1]) }, 400, "", false},
		{"one good, one cut", func() (*Reply, error) {
			return hub.Notify(ctx, b, s.uri, after(fresh), append(bytes.Clone(last.Body), fresh[:len(fresh)-1]...))
		}, 400, "", false},
		{"more entries than positions", func() (*Reply, error) {
			return hub.Notify(ctx, b, s.uri, &room.Pos{Seq: 1}, bodies(s.log))
		}, 400, "", false},
		{"9 MiB", func() (*Reply, error) { return hub.Notify(ctx, b, s.uri, head, make([]byte, 9<<20)) }, 413, mimi.CodeTooLarge, false},
		{"2000 entries", func() (*Reply, error) { return hub.Notify(ctx, b, s.uri, nil, bytes.Repeat(message.Body, 2000)) }, 413, mimi.CodeTooLarge, false},
		// H67: what b knows nothing of.
		{"an unknown room", func() (*Reply, error) {
			return hub.Notify(ctx, b, "mimi://a.localhost/r/none", head, last.Body)
		}, 404, mimi.CodeNoSuchRoom, false},
		{"b's own room", func() (*Reply, error) { return hub.Notify(ctx, b, "mimi://b.localhost/r/x", head, last.Body) }, 403, mimi.CodeForbidden, false},
		// H71
		{"a day that never comes", func() (*Reply, error) { return hub.Notify(ctx, b, s.uri, after(fresh), fresh) }, 400, "bad-timestamp", false},
		// A gap is no lie; the hub, asked for what is missing, has nothing.
		{"a gap", func() (*Reply, error) {
			p := &room.Pos{Seq: head.Seq + 5, Hash: head.Hash}
			return hub.Notify(ctx, b, s.uri, p, s.announcement(message, ms(last)+1))
		}, 503, "gap", false},

		// Two versions of one log.
		{"the right entry, another hash", func() (*Reply, error) { return hub.Notify(ctx, b, s.uri, &wrongHash, last.Body) }, 409, "log-mismatch", true},
		{"another entry in its place", func() (*Reply, error) {
			return hub.Notify(ctx, b, s.uri, head, s.announcement(message, ms(last)))
		}, 409, "log-mismatch", true},
		{"a shorter log that goes on", func() (*Reply, error) {
			other := s.announcement(message, ms(last)+1)
			p := pos(s.log[:n-2]).Next(other)
			return hub.Notify(ctx, b, s.uri, &p, other)
		}, 409, "log-mismatch", true},
		{"a second commit for an epoch", func() (*Reply, error) {
			return hub.Notify(ctx, b, s.uri, pos(s.fork), s.fork[len(s.fork)-1].Body)
		}, 409, "log-mismatch", true},
		{"the second commit, after the first", func() (*Reply, error) {
			second := s.fork[len(s.fork)-1].Body
			return hub.Notify(ctx, b, s.uri, after(second), second)
		}, 409, "log-mismatch", true},
		{"the second commit, without a position", func() (*Reply, error) {
			return hub.Notify(ctx, b, s.uri, nil, s.fork[len(s.fork)-1].Body)
		}, 409, "log-mismatch", true},
		{"the next entry, another hash", func() (*Reply, error) {
			next := s.announcement(message, ms(last)+1)
			p := after(next)
			p.Hash[0] ^= 1
			return hub.Notify(ctx, b, s.uri, p, next)
		}, 409, "log-mismatch", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := s.dump(b)
			r, err := tc.call()
			if err != nil {
				t.Fatal(err)
			}
			if r.Status != tc.status || tc.code != "" && r.Code != tc.code {
				t.Errorf("answer %d %s %s, want %d %s", r.Status, r.Code, r.Body, tc.status, tc.code)
			}
			if !tc.frozen {
				if diff := changed(before, s.dump(b)); diff != "" {
					t.Errorf("the tables changed:\n%s", diff)
				}
				return
			}
			s.frozen(t)
			if again, err := hub.Notify(ctx, b, s.uri, head, last.Body); err != nil || again.Status == http.StatusCreated {
				t.Errorf("the frozen room took an entry: %+v, %v", again, err)
			}
			s.back()
		})
	}
}

// frozen checks that b has stopped the room, shows it, and kept the evidence.
func (s *stage) frozen(t *testing.T) {
	t.Helper()
	s.until("a frozen room", func(ctx context.Context) error {
		info, err := s.bob.Room(ctx, s.uri)
		if err == nil && info.Frozen == "" {
			err = fmt.Errorf("%+v", info)
		}
		return err
	})
	if text := s.dump(b); !strings.Contains(text, "evidence/") {
		t.Error("no evidence was kept")
	}
}

// changed lists the lines that one of two dumps lacks.
func changed(before, after string) string {
	if before == after {
		return ""
	}
	count := map[string]int{}
	for _, line := range strings.Split(before, "\n") {
		count[line]--
	}
	for _, line := range strings.Split(after, "\n") {
		count[line]++
	}
	var out strings.Builder
	for line, n := range count {
		if n != 0 {
			fmt.Fprintf(&out, "%+d %.200s\n", n, line)
		}
	}
	return out.String()
}

// ms is when the hub accepted an entry, in Unix ms.
func ms(e client.Entry) uint64 { return uint64(e.Timestamp.UnixMilli()) }
