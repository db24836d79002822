package simnet

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

const hidden mimi.RoomURI = "mimi://a.localhost/r/hidden"

// TestRoomsDoNotInterfere plays one script twice: alice's room at a, with bob of b;
// once alone, once beside a room of eve's at the same hub that b has no part in,
// with everything that happens in rooms (P13). b asks for eve's room in every way
// it can. What a sends to b and answers it, when, what it answers alice and bob, and
// all that b stores, is the same, octet for octet.
func TestRoomsDoNotInterfere(t *testing.T) {
	var alone, beside []string
	t.Run("alone", func(t *testing.T) { alone = isolation(t, false) })
	t.Run("beside", func(t *testing.T) { beside = isolation(t, true) })
	if len(alone) < 50 {
		t.Errorf("only %d lines: the script does not run", len(alone))
	}
	for i := range max(len(alone), len(beside)) {
		a, b := "nothing", "nothing"
		if i < len(alone) {
			a = alone[i]
		}
		if i < len(beside) {
			b = beside[i]
		}
		if a != b {
			t.Fatalf("line %d alone and beside another room:\n%s\n%s", i, a, b)
		}
	}
}

// isolation plays the script and returns what is seen on alice's side.
func isolation(t *testing.T, beside bool) (seen []string) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(0)
		var res result
		func() {
			defer s.end(&res)
			seen = s.script(t, beside)
		}()
		if res.failure != "" {
			t.Errorf("%s\n%s", res.failure, strings.Join(res.log, "\n"))
		}
	})
	return seen
}

func (s *sim) script(t *testing.T, beside bool) (seen []string) {
	n := uint64(0)
	// Keys come from one source: each step of alice's side begins with its own seed,
	// whatever the other side took meanwhile.
	step := func(what func()) {
		n++
		cryptotest.SetGlobalRandom(t, n)
		what()
		s.settle()
		s.flow()
		<-time.After(time.Second)
		s.settle()
		s.flow()
	}
	var x, y *roomView
	step(func() { s.found(3) })
	step(func() {
		x = s.plan("mimi://a.localhost/r/chat", []string{"alice@a.localhost/phone", "bob@b.localhost/phone"})
	})
	step(func() { y = s.plan(hidden, []string{"eve@a.localhost/phone", "mallory@c.localhost/phone"}) })
	alice, bob, eve, mallory := x.cast[0], x.cast[1], y.cast[0], y.cast[1]
	see := func(format string, args ...any) {
		seen = append(seen, fmt.Sprintf("%10s ", time.Since(s.began))+fmt.Sprintf(format, args...))
	}
	s.net.tap = func(m *message, r reply) {
		if m.from == "b.localhost" || m.to == "b.localhost" || m.from == alice.name || m.from == bob.name {
			see("%v: %s", m, shown(r))
		}
	}
	s.net.out = func(from, to mimi.Domain, what string, body []byte) {
		if from == "b.localhost" || to == "b.localhost" {
			see("%s ships %s %x", from, what, sha256.Sum256(body))
		}
	}
	step(x.create)
	other := func(what func()) {
		if beside {
			step(what)
			n-- // alice's side goes on with the seeds it would have had
		} else {
			<-time.After(time.Second)
			s.settle()
		}
	}
	probes := func() { // of b, about a room that may be there
		post := bob.Post("to a stranger")
		questions := s.questions(post)
		for _, name := range slices.Sorted(maps.Keys(questions)) {
			ask := questions[name]
			bob.request(name, func(ctx context.Context, p *life) (any, error) {
				return p.octets(ctx, "a.localhost", name, ask)
			}, func(reply) {})
			s.settle()
			s.flow()
		}
	}
	other(y.create)
	step(func() { alice.invite(bob) })
	other(func() { eve.invite(mallory) })
	step(func() { bob.sync() })
	other(func() { mallory.sync() })
	for range 3 {
		step(func() { alice.sync(); alice.post() })
		other(func() { eve.sync(); eve.post() })
		step(func() { bob.sync(); bob.post() })
		other(func() { mallory.sync(); mallory.post() })
		step(probes)
		step(func() { bob.sync(); bob.submit(store.SubmitUpdate, "", bob.Commit()) })
		other(func() { eve.sync(); eve.submit(store.SubmitUpdate, "", eve.Commit()) })
		step(func() { alice.sync(); alice.acknowledge() })
	}
	if beside && len(y.log) < 8 {
		s.fail("the simulator itself: the other room has %d entries", len(y.log))
	}
	if len(x.log) < 10 {
		s.fail("the simulator itself: the room has %d entries", len(x.log))
	}
	s.view(s.providers["b.localhost"], func(tx store.ReadTx) error {
		text, err := tx.Dump()
		seen = append(seen, strings.Split(text, "\n")...)
		return err
	})
	return seen
}

// flow lets everything under way arrive, in an order that leaves nothing to chance.
func (s *sim) flow() {
	for list := s.net.list(); len(list) > 0; list = s.net.list() {
		if m := list[0]; m.answer != nil {
			s.answer(m, false)
		} else {
			s.deliver(m)
		}
		s.settle()
	}
}

// questions are the ways in which a peer can ask a hub about a room.
func (s *sim) questions(post []byte) map[string]func(context.Context, *life) ([]byte, error) {
	const b mimi.Domain = "b.localhost"
	none := func(err error) ([]byte, error) { return nil, err }
	return map[string]func(context.Context, *life) ([]byte, error){
		"submit":    func(ctx context.Context, a *life) ([]byte, error) { return a.hub.Submit(ctx, b, hidden, post) },
		"group":     func(ctx context.Context, a *life) ([]byte, error) { return a.hub.GroupInfo(ctx, b, hidden, nil) },
		"snapshot":  func(ctx context.Context, a *life) ([]byte, error) { return a.hub.Snapshot(ctx, b, hidden, 0) },
		"snapshot1": func(ctx context.Context, a *life) ([]byte, error) { return a.hub.Snapshot(ctx, b, hidden, 1) },
		"catch up": func(ctx context.Context, a *life) ([]byte, error) {
			_, err := a.hub.CatchUp(ctx, b, hidden, room.StartPos(hidden))
			return none(err)
		},
		"report": func(ctx context.Context, a *life) ([]byte, error) {
			_, err := a.hub.Report(ctx, b, hidden)
			return none(err)
		},
		"batch": func(ctx context.Context, a *life) ([]byte, error) {
			req := mimi.BatchRequest{Items: []mimi.BatchItem{{Kind: mimi.BatchMessage, Room: hidden, Body: post}}}
			body, err := req.Marshal()
			if err != nil {
				return nil, err
			}
			return a.hub.SubmitBatch(ctx, b, body)
		},
		"notify": func(ctx context.Context, a *life) ([]byte, error) {
			return none(a.follower.Notify(ctx, b, hidden, nil, post))
		},
	}
}

// shown is an answer in full, but for two numbers of a submission that count what a
// provider stores altogether: see docs/limits.md.
func shown(r reply) string {
	switch v := r.value.(type) {
	case []byte:
		return fmt.Sprintf("%x, %v", sha256.Sum256(v), r.err)
	case store.Submission:
		v.ID, v.Rev = 0, 0
		return fmt.Sprintf("%+v, %v", v, r.err)
	case *stretch:
		return fmt.Sprintf("%v %x, %v", v.head, sha256.Sum256(v.body), r.err)
	}
	return fmt.Sprintf("%v, %v", r.value, r.err)
}
