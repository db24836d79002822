package fakepeer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"hubbub/client"
	"hubbub/mimi"
)

// forge is a message of the log with another ciphertext, in the name of a user.
func forge(t *testing.T, of client.Entry, sender mimi.UserURI) []byte {
	t.Helper()
	f, err := mimi.ParseFanoutMessage(of.Body)
	if err != nil {
		t.Fatal(err)
	}
	m := *f.Message.Private
	m.Ciphertext = bytes.Clone(m.Ciphertext)
	m.Ciphertext[0] ^= 1
	f.Message.Private, f.Message.Raw = &m, nil
	body, err := (&mimi.SubmitMessageRequest{Message: f.Message, Sender: sender}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// A follower that speaks for users it does not have, replays, floods and dawdles
// (F47, P14, H15, H56 – H61). The hub's tables stay as they were.
func TestLyingFollower(t *testing.T) {
	w := newWorld(t, a, b, c)
	alice, bob, cathy := w.device("alice@a.localhost"), w.device("bob@b.localhost"), w.device("cathy@c.localhost")
	uri := w.club(alice, bob, cathy)
	m := w.send(bob, uri, "one")
	for _, dev := range []*client.Client{alice, bob, cathy} {
		w.at(dev, uri, m.Seq)
	}
	log, err := bob.Log(t.Context(), uri, 0, 100)
	w.ok(err)
	message := log[len(log)-1]
	w.ok(bob.Close())
	w.stop(b)
	w.rest(a)
	liar, stranger := w.fake(b), w.voice(d)
	ctx := t.Context()
	submit := func(from *Peer, room mimi.RoomURI, body []byte) func() (*Reply, error) {
		return func() (*Reply, error) {
			return from.Send(ctx, Outgoing{To: a, Endpoint: mimi.EndpointSubmitMessage, ID: string(room), Body: body})
		}
	}
	good := forge(t, message, bob.User())
	commit := log[0]
	for _, tc := range []struct {
		name   string
		call   func() (*Reply, error)
		status int // 200: refused in the body
		code   string
	}{
		{"for a user of the hub", submit(liar, uri, forge(t, message, alice.User())), 200, ""},
		{"for a user of another follower", submit(liar, uri, forge(t, message, cathy.User())), 200, ""},
		{"for nobody", submit(liar, uri, forge(t, message, "mimi://b.localhost/u/nobody")), 200, ""},
		{"for a user of no provider here", submit(liar, uri, forge(t, message, "mimi://z.localhost/u/zoe")), 200, ""},
		{"by a stranger", submit(stranger, uri, forge(t, message, "mimi://d.localhost/u/dora")), 404, mimi.CodeNoSuchRoom},
		{"by a stranger, for bob", submit(stranger, uri, good), 404, mimi.CodeNoSuchRoom},
		{"to a room that is not there", submit(liar, "mimi://a.localhost/r/none", good), 404, mimi.CodeNoSuchRoom},
		{"to another provider's room", submit(liar, "mimi://c.localhost/r/x", good), 404, mimi.CodeNoSuchRoom},
		{"cut short", submit(liar, uri, good[:len(good)-1]), 400, ""},
		{"one octet more", submit(liar, uri, append(bytes.Clone(good), 0)), 400, ""},
		{"an entry as a submission", submit(liar, uri, message.Body), 400, ""},
		{"another's commit as an update", func() (*Reply, error) {
			return liar.Send(ctx, Outgoing{To: a, Endpoint: mimi.EndpointUpdate, ID: string(uri), Body: commit.Body})
		}, 400, ""},
		{"an announcement to the hub", func() (*Reply, error) {
			return liar.Notify(ctx, a, uri, pos(log), message.Body)
		}, 403, mimi.CodeForbidden},
		{"in another's name", func() (*Reply, error) {
			return liar.Send(ctx, Outgoing{To: a, Endpoint: mimi.EndpointSubmitMessage, ID: string(uri), From: "mimi@c.localhost", Body: good})
		}, 403, mimi.CodeFromNotProven},
		{"asks for a snapshot that is not its own", func() (*Reply, error) {
			return stranger.Send(ctx, Outgoing{To: a, Method: "GET", Endpoint: mimi.EndpointSnapshot, ID: string(uri), Query: "seq=1"})
		}, 404, mimi.CodeNoSuchRoom},
		{"asks for a checkpoint without a part in the room", func() (*Reply, error) {
			return stranger.Send(ctx, Outgoing{To: a, Method: "GET", Endpoint: mimi.EndpointCheckpoint, ID: string(uri)})
		}, 404, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := w.dump(a)
			r, err := tc.call()
			if err != nil {
				t.Fatal(err)
			}
			if r.Status != tc.status || tc.code != "" && r.Code != tc.code {
				t.Errorf("answer %d %s %s, want %d %s", r.Status, r.Code, r.Body, tc.status, tc.code)
			}
			if answer, err := mimi.ParseSubmitMessageResponse(r.Body); r.Status == 200 && (err != nil || answer.Code == mimi.SubmitAccepted) {
				t.Errorf("accepted: %+v, %v", answer, err)
			}
			if diff := changed(before, w.dump(a)); diff != "" {
				t.Errorf("the tables changed:\n%s", diff)
			}
		})
	}
	t.Run("the same twice", func(t *testing.T) { w.sameTwice(liar, uri, good) })
	t.Run("a flood", func(t *testing.T) { w.flood(liar, alice, cathy, uri) })
	t.Run("slow bodies", func(t *testing.T) { w.dawdle(liar, alice, cathy, uri) })
}

// club makes a room of devices, whose first hosts it.
func (w *world) club(devices ...*client.Client) mimi.RoomURI {
	w.Helper()
	var others []mimi.UserURI
	for _, dev := range devices[1:] {
		others = append(others, dev.User())
	}
	uri, _, err := devices[0].CreateRoom(w.Context(), client.RoomOptions{Members: others})
	w.ok(err)
	for _, dev := range devices {
		w.until("membership of "+string(dev.URI()), func(ctx context.Context) error {
			info, err := dev.Room(ctx, uri)
			if err == nil && !info.Member {
				err = fmt.Errorf("%+v", info)
			}
			return err
		})
	}
	return uri
}

// rest waits until a provider writes nothing more.
func (w *world) rest(domain mimi.Domain) {
	w.Helper()
	before, same := "", 0
	w.until("rest of "+string(domain), func(context.Context) error {
		now := w.dump(domain)
		if now != before {
			before, same = now, 0
		}
		if same++; same < 10 {
			return errors.New("still writing")
		}
		return nil
	})
}

// sameTwice: what a hub takes, it takes once, and answers alike (P4, P5, H61).
func (w *world) sameTwice(liar *Peer, uri mimi.RoomURI, body []byte) {
	ask := func() *Reply {
		r, err := liar.Send(w.Context(), Outgoing{To: a, Endpoint: mimi.EndpointSubmitMessage, ID: string(uri), Body: body})
		w.ok(err)
		return r
	}
	first := ask()
	if answer, err := mimi.ParseSubmitMessageResponse(first.Body); err != nil || answer.Code != mimi.SubmitAccepted {
		w.Fatalf("%d %+v, %v", first.Status, answer, err)
	}
	w.rest(a)
	before := w.dump(a)
	for range 3 {
		if again := ask(); !bytes.Equal(again.Body, first.Body) {
			w.Errorf("answered with %x, then with %x", first.Body, again.Body)
		}
	}
	if diff := changed(before, w.dump(a)); diff != "" {
		w.Errorf("a repeat changed the tables:\n%s", diff)
	}
}

// flood: hundreds of requests at once are answered with refusals, and others go on.
func (w *world) flood(liar *Peer, alice, cathy *client.Client, uri mimi.RoomURI) {
	statuses := make(chan int, 400)
	var all sync.WaitGroup
	for range cap(statuses) {
		all.Go(func() {
			r, err := liar.Send(w.Context(), Outgoing{To: a, Endpoint: mimi.EndpointSubmitMessage, ID: string(uri), Body: []byte("flood")})
			if err != nil {
				w.Error(err)
				return
			}
			statuses <- r.Status
		})
	}
	w.send(cathy, uri, "in the flood")
	w.send(alice, uri, "in the flood, too")
	all.Wait()
	close(statuses)
	for status := range statuses {
		if status != 400 && status != 429 && status != 503 {
			w.Errorf("a request of the flood is answered with %d", status)
		}
	}
}

// dawdle: bodies that do not come keep nobody waiting.
func (w *world) dawdle(liar *Peer, alice, cathy *client.Client, uri mimi.RoomURI) {
	ctx, cancel := context.WithCancel(w.Context())
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	for range 60 {
		body := &drip{first: make(chan struct{}), stop: ctx.Done()}
		all.Go(func() {
			liar.Send(ctx, Outgoing{To: a, Endpoint: mimi.EndpointSubmitMessage, ID: string(uri), Stream: body})
		})
		<-body.first
	}
	began := time.Now()
	w.send(cathy, uri, "meanwhile")
	w.send(alice, uri, "meanwhile, too")
	if took := time.Since(began); took > patience/2 {
		w.Errorf("two posts took %s", took)
	}
}

// drip is a body that begins and does not go on.
type drip struct {
	once  sync.Once
	first chan struct{} // closed when the body is asked for
	stop  <-chan struct{}
	sent  bool
}

func (d *drip) Read(b []byte) (int, error) {
	d.once.Do(func() { close(d.first) })
	if !d.sent {
		d.sent, b[0] = true, 0
		return 1, nil
	}
	<-d.stop
	return 0, io.ErrUnexpectedEOF
}
