package killtest

import (
	"context"
	"fmt"
	"maps"
	"os"
	"sync"
	"testing"
	"time"

	"hubbub/client"
	"hubbub/mimi"
)

// full asks for every place, several times each: `make kill`.
const full = "HUBBUB_KILL"

const (
	a = mimi.Domain("a.localhost") // the hub
	b = mimi.Domain("b.localhost")
	c = mimi.Domain("c.localhost")
)

// place is where a provider dies: at the nth visit in that life.
type place struct {
	name string
	// nth are the visits to die at, one life each. The first is what the short
	// run does, if it does this place at all.
	nth   []int
	short bool
}

const (
	submitPaths   = "/v1/submitMessage/"
	batchPaths    = "/v1/x-submitBatch/"
	notifyPaths   = "/v1/notify/"
	submissions   = "submitMessage|fed.ask x-submitBatch"
	answersToSubs = "submitMessage|fed.asked x-submitBatch"
)

// hubPlaces are the arrows of a write at the hub (reliability.md F01 – F04, F07).
var hubPlaces = []place{
	{"fed.serve " + submitPaths + "|fed.serve " + batchPaths, []int{1, 7}, true},       // F01 before BEGIN
	{"store.begin", []int{1, 5, 23}, false},                                            //
	{"store.written", []int{3, 1, 20, 41}, true},                                       // F02 written, not committed
	{"store.durable", []int{5, 1, 2, 17, 40}, true},                                    // F03 committed, not answered
	{"fed.served " + submitPaths + "|fed.served " + batchPaths, []int{4, 1, 9}, true},  //
	{"fed.answered " + submitPaths + "|fed.answered " + batchPaths, []int{2, 9}, true}, // F04 answered
	{"api.own.queued", []int{3, 1}, true},                                              // a write of the hub's own user
	{"api.own.decided", []int{2, 6}, false},                                            //
	{"fed.ask notify", []int{1, 6}, false},                                             // sent is stored, nothing has left
	{"fed.asked notify", []int{3, 1, 12}, true},                                        // F06 seen from the hub: 201 came, not noted
	{"store.checkpoint TRUNCATE", []int{1}, true},                                      // F07 at the start
	{"store.checkpointed TRUNCATE", []int{1}, false},                                   //
	{"store.checkpoint NOOP", []int{2}, false},                                         //
	{"store.uptodate", []int{1}, false},                                                //
}

// followerPlaces are the arrows at a follower: of what its user writes, and of
// what the hub announces (F05, F06).
var followerPlaces = []place{
	{"api.queued", []int{3, 1}, true},                               // in the outbox, the client not answered
	{"fed.ask " + submissions, []int{1, 8}, false},                  // about to be sent
	{"fed.asked " + answersToSubs, []int{2, 1, 9}, true},            // F05 the hub has it, not noted here
	{"fed.serve " + notifyPaths, []int{1, 5}, false},                //
	{"fed.served " + notifyPaths, []int{4, 1, 11}, true},            // F06 applied, no 201 yet
	{"fed.answered " + notifyPaths, []int{2, 7}, false},             //
	{"store.begin", []int{9}, false},                                //
	{"store.written", []int{4, 1, 25}, true},                        //
	{"store.durable", []int{6, 1, 3, 31}, true},                     //
	{"store.checkpoint TRUNCATE", []int{1}, true},                   //
	{"store.checkpointed TRUNCATE|store.uptodate", []int{1}, false}, //
}

// deaths spells the places out, one life each.
func deaths(places []place) (list []string) {
	for _, p := range places {
		for i, n := range p.nth {
			if os.Getenv(full) != "" || p.short && i == 0 {
				list = append(list, fmt.Sprintf("%s:%d", p.name, n))
			}
		}
	}
	return list
}

// Three providers, a client of each posting to one room, and each provider dying
// at one place after the other, at the same time as the others.
func TestKilledAtEveryArrow(t *testing.T) {
	f := newFederation(t, a, b, c)
	for _, p := range f.providers {
		ok(t, p.start(""))
	}
	for _, p := range f.providers {
		ok(t, p.ready(t.Context()))
	}
	alice, bob, cathy := f.device("alice@a.localhost"), f.device("bob@b.localhost"), f.device("cathy@c.localhost")
	devices := []*client.Client{alice, bob, cathy}
	uri := f.club(devices)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var posting, dying sync.WaitGroup
	var writers []*writer
	for _, d := range devices {
		w := &writer{c: d, room: uri, acks: map[client.MessageID]*ack{}}
		writers = append(writers, w)
		posting.Go(func() {
			if err := w.post(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	dave := f.device("dave@c.localhost")
	posting.Go(func() { f.comeAndGo(ctx, alice, uri, dave.User()) })
	for d, list := range map[mimi.Domain][]string{a: deaths(hubPlaces), b: deaths(followerPlaces), c: nil} {
		dying.Go(func() { f.providers[d].die(t, ctx, list) })
	}
	began := time.Now()
	dying.Wait()
	cancel()
	posting.Wait()
	if t.Failed() {
		return
	}
	told := map[client.MessageID]*ack{}
	for _, w := range writers {
		maps.Copy(told, w.acks)
	}
	t.Logf("%d posts during %d deaths in %.1f s", len(told), len(deaths(hubPlaces))+len(deaths(followerPlaces)), time.Since(began).Seconds())
	f.verify(uri, devices, told)
}

// comeAndGo adds and removes a user for as long as ctx lasts: commits with all that
// belongs to them, between the posts.
func (f *federation) comeAndGo(ctx context.Context, by *client.Client, uri mimi.RoomURI, user mimi.UserURI) {
	commits := 0
	for ctx.Err() == nil {
		if list, err := by.AddUsers(ctx, uri, user); err == nil && list[0].Err == nil {
			commits++
		}
		if _, err := by.RemoveUsers(ctx, uri, user); err == nil {
			commits++
		}
	}
	if commits == 0 {
		f.t.Error("nobody came or went")
	}
	f.t.Logf("%d commits", commits)
}

// club makes a room of all devices.
func (f *federation) club(devices []*client.Client) mimi.RoomURI {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), startPatience)
	defer cancel()
	var others []mimi.UserURI
	for _, d := range devices[1:] {
		others = append(others, d.User())
	}
	uri, _, err := devices[0].CreateRoom(ctx, client.RoomOptions{Name: "club", Members: others})
	ok(f.t, err)
	for _, d := range devices {
		until(f.t, "membership of "+string(d.URI()), func(ctx context.Context) error {
			if info, err := d.Room(ctx, uri); err != nil || !info.Member {
				return fmt.Errorf("%+v, %w", info, err)
			}
			return nil
		})
	}
	return uri
}

// die has the provider come to its end at each of the places, and leaves it
// running for good.
func (p *process) die(t *testing.T, ctx context.Context, places []string) {
	for _, at := range places {
		p.kill()
		if err := p.start(at); err != nil {
			t.Errorf("%s: %v", label(at), err)
			return
		}
		if err := p.died(ctx); err != nil {
			t.Errorf("%s: %v", label(at), err)
		}
	}
	if len(places) == 0 {
		return
	}
	if err := p.start(""); err != nil {
		t.Error(err)
		return
	}
	if err := p.ready(ctx); err != nil {
		t.Error(err)
	}
}

// verify waits for rest, then reads everything there is to read.
func (f *federation) verify(uri mimi.RoomURI, devices []*client.Client, told map[client.MessageID]*ack) {
	f.t.Helper()
	until(f.t, "equal replicas", func(ctx context.Context) error {
		first, err := devices[0].Room(ctx, uri)
		if err != nil {
			return err
		}
		for _, d := range devices[1:] {
			if info, err := d.Room(ctx, uri); err != nil || info.Pos != first.Pos {
				return fmt.Errorf("%s is at %s, the hub at %s: %w", d.URI(), info.Pos, first.Pos, err)
			}
		}
		return nil
	})
	for _, d := range devices {
		shows(f.t, d, uri, told)
		ok(f.t, d.Close())
	}
	for _, p := range f.providers {
		p.stop()
	}
	hub := f.providers[a].read(uri)
	hub.sound(f.t)
	if n := hub.count(); n != len(told) {
		f.t.Errorf("the log holds %d messages, %d were acknowledged", n, len(told))
	}
	for _, d := range []mimi.Domain{b, c} {
		r := f.providers[d].read(uri)
		r.sound(f.t)
		r.sameAs(f.t, hub)
	}
}
