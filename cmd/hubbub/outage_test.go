package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"hubbub/client"
	"hubbub/cmd/hubbub/internal/devenv"
	"hubbub/mimi"
)

// TestOutages posts from three providers while they are killed, stopped and
// started in random order, and now and then opens a client anew. At the end
// every message stands once, in one order, in every copy. HUBBUB_TEST_SEED
// repeats a run.
func TestOutages(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("HUBBUB_TEST_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("HUBBUB_TEST_SEED=%d", seed)
	w := newOutageWorld(t, rand.New(rand.NewPCG(seed, 0)))
	for range 60 {
		w.step()
	}
	w.heal()
	w.compare()
}

// outageWorld is three people in one room, one at each provider.
type outageWorld struct {
	t      *testing.T
	r      *rand.Rand
	env    *devenv.Env
	people []*outagePerson
	room   mimi.RoomURI
	posted int
}

type outagePerson struct {
	*client.Client
	dir  string
	sent []client.MessageID
}

func newOutageWorld(t *testing.T, r *rand.Rand) *outageWorld {
	t.Helper()
	env, err := devenv.New(devenv.Options{Dir: shortDir(t), Providers: 3, Environ: []string{"HUBBUB_CONSENT=open"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { env.Close() })
	if err := env.StartAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := &outageWorld{t: t, r: r, env: env}
	for i, name := range []string{"alice", "bob", "cathy"} {
		user, err := mimi.NewUser(env.Providers[i].Domain, name)
		if err != nil {
			t.Fatal(err)
		}
		if err := env.AddUser(t.Context(), user); err != nil {
			t.Fatal(err)
		}
		dir, err := env.Enrol(t.Context(), user, "phone")
		if err != nil {
			t.Fatal(err)
		}
		p := &outagePerson{dir: dir}
		p.open(t)
		w.people = append(w.people, p)
	}
	w.await("KeyPackages", func() error {
		for i, p := range w.people {
			users, err := devenv.NewAdmin(env.Providers[i].AdminSocket).ListUsers(t.Context())
			if err != nil || len(users) != 1 || users[0].GetClients()[0].GetKeyPackages() == 0 {
				return fmt.Errorf("none of %s: %v", p.User(), err)
			}
		}
		return nil
	})
	w.create()
	return w
}

// open opens the device and closes it at the end of the test, however often it
// was opened anew meanwhile.
func (p *outagePerson) open(t *testing.T) {
	t.Helper()
	first := p.Client == nil
	c, err := client.Open(context.Background(), p.dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.Client = c
	if first {
		t.Cleanup(func() { p.Close() })
	}
}

func (w *outageWorld) create() {
	w.t.Helper()
	room, added, err := w.people[0].CreateRoom(w.t.Context(), client.RoomOptions{Name: "outages",
		Members: []mimi.UserURI{w.people[1].User(), w.people[2].User()}})
	if err := errors.Join(err, notAdded(added)); err != nil {
		w.t.Fatal(err)
	}
	w.room = room
	w.await("members", func() error {
		for _, p := range w.people {
			if info, err := p.Room(w.t.Context(), room); err != nil || !info.Member {
				return fmt.Errorf("%s is no member: %v", p.User(), err)
			}
		}
		return nil
	})
}

// await asks check until it is content, for at most a minute.
func (w *outageWorld) await(what string, check func() error) {
	w.t.Helper()
	end := time.After(time.Minute)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-end:
			w.t.Fatalf("waited in vain for %s: %v", what, err)
		case <-tick.C:
		}
	}
}

// step does one random thing. What cannot be done now, such as stopping what
// does not run, is left out.
func (w *outageWorld) step() {
	w.t.Helper()
	p := w.people[w.r.IntN(len(w.people))]
	provider := w.env.Providers[w.r.IntN(len(w.env.Providers))].Name
	var err error
	switch n := w.r.IntN(20); {
	case n < 12:
		w.posted++
		var m client.Message
		if m, err = p.Send(w.t.Context(), w.room, fmt.Sprintf("message %d", w.posted)); err == nil {
			p.sent = append(p.sent, m.ID)
		}
	case n < 14:
		err = w.env.Kill(provider)
	case n < 15:
		err = w.env.Stop(provider)
	case n < 18:
		err = w.env.Start(w.t.Context(), provider)
	default:
		if err = p.Close(); err == nil {
			p.open(w.t)
		}
	}
	if err != nil && !errors.Is(err, devenv.ErrState) {
		w.t.Fatal(err)
	}
}

// heal starts everything and waits until all that was sent is posted and every
// provider stands at the same place.
func (w *outageWorld) heal() {
	w.t.Helper()
	for _, p := range w.env.Providers {
		if err := w.env.Start(w.t.Context(), p.Name); err != nil && !errors.Is(err, devenv.ErrState) {
			w.t.Fatal(err)
		}
	}
	for _, p := range w.people {
		for _, id := range p.sent {
			ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
			m, err := p.WaitPosted(ctx, w.room, id)
			cancel()
			if err != nil || m.State != client.Posted {
				w.t.Fatalf("%s: a message is %s: %v", p.User(), m.State, err)
			}
		}
	}
	w.await("equal positions", func() error {
		var first client.Pos
		for i, p := range w.people {
			info, err := p.Room(w.t.Context(), w.room)
			if err != nil {
				return err
			}
			if i == 0 {
				first = info.Pos
			}
			if info.Pos != first || info.Frozen != "" {
				return fmt.Errorf("%s stands at %s, not %s, frozen %q", p.User().Domain(), info.Pos, first, info.Frozen)
			}
		}
		return nil
	})
}

// compare reads every copy of the room.
func (w *outageWorld) compare() {
	w.t.Helper()
	var first []string
	for i, p := range w.people {
		var lines []string
		w.await("all messages at "+string(p.User()), func() error {
			messages, err := p.Messages(w.t.Context(), w.room, 0, 10_000)
			lines = lines[:0]
			for _, m := range messages {
				lines = append(lines, fmt.Sprintf("%d %s %s %s", m.Seq, m.Sender, m.State, m.Text))
			}
			if err == nil && len(lines) < w.posted {
				err = fmt.Errorf("%d of %d", len(lines), w.posted)
			}
			return err
		})
		if i == 0 {
			first = lines
		}
		if fmt.Sprint(lines) != fmt.Sprint(first) {
			w.t.Errorf("%s reads\n%v\nand %s reads\n%v", p.User(), lines, w.people[0].User(), first)
		}
	}
	if len(first) != w.posted {
		w.t.Errorf("%d messages were sent and %d are in the room", w.posted, len(first))
	}
	w.t.Logf("%d messages, every one once, in one order", len(first))
}
