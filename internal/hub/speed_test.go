package hub_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"syscall"
	"testing"
	"time"

	"hubbub/internal/hub"
	"hubbub/internal/room/roomtest"
	"hubbub/internal/store"
	"hubbub/internal/store/sqlstore"
	"hubbub/mimi"
	"hubbub/mls"
)

// BenchmarkBatch decides on batches of messages of one provider, from the octets
// of the request to those of the answer: once with the store, once with one that
// takes entries and keeps nothing, so that the hub's own work shows. Processor
// time is what counts; waiting for the disk is in none of the figures.
func BenchmarkBatch(b *testing.B) {
	for _, c := range []struct{ rooms, posts int }{{1, 1}, {1, 256}, {50, 250}, {250, 250}} {
		for _, kept := range []bool{true, false} {
			b.Run(fmt.Sprintf("rooms=%d/posts=%d/kept=%t", c.rooms, c.posts, kept), func(b *testing.B) {
				x := newMill(b, c.rooms)
				x.store.on = !kept
				b.ReportAllocs()
				var spent time.Duration
				for b.Loop() {
					b.StopTimer()
					body := x.request(c.posts)
					before := processorTime(b)
					b.StartTimer()
					if _, err := x.hub.SubmitBatch(b.Context(), "b.localhost", body); err != nil {
						b.Fatal(err)
					}
					spent += processorTime(b) - before
				}
				b.ReportMetric(float64(spent.Nanoseconds())/1000/float64(b.N*c.posts), "cpu-µs/post")
			})
		}
	}
}

func processorTime(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// sink is a store that takes entries, while it is told to, and keeps nothing.
type sink struct {
	store.Store
	on bool
}

func (s *sink) Update(ctx context.Context, fn func(store.Tx) error) error {
	if s.on {
		return fn(sunk{})
	}
	return s.Store.Update(ctx, fn)
}

type sunk struct{ store.Tx }

func (sunk) Append(store.Append) error      { return nil }
func (sunk) AppendAll([]store.Append) error { return nil }

// mill is a hub with rooms and a message for each that is good but for its
// ciphertext, which the hub cannot judge.
type mill struct {
	testing.TB
	store *sink
	hub   *hub.Hub
	rooms []mimi.RoomURI
	model []*mimi.SubmitMessageRequest
}

func newMill(b *testing.B, rooms int) *mill {
	s, err := sqlstore.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	w := &roomtest.World{T: b, Now: time.Now}
	key := w.NewKey()
	x := &mill{TB: b, store: &sink{Store: s}}
	x.hub = hub.New(hub.Config{Domain: "a.localhost", Store: x.store, Env: roomtest.Env(), SignatureKey: key})
	for i := range rooms {
		uri := mimi.RoomURI(fmt.Sprintf("mimi://a.localhost/r/%d", i))
		alice, bob := w.Client("alice@a.localhost", fmt.Sprint(i)), w.Client("bob@b.localhost", fmt.Sprint(i))
		in := alice.Create(uri, key)
		if err := x.hub.Create(b.Context(), alice.URI, hub.CreateRequest{Room: uri, GroupInfo: in.GroupInfo, Tree: in.Tree}); err != nil {
			b.Fatal(err)
		}
		if _, err := x.hub.Update(b.Context(), "a.localhost", uri, alice.Add(bob.KeyPackage())); err != nil {
			b.Fatal(err)
		}
		err := s.View(b.Context(), func(tx store.ReadTx) error {
			list, err := tx.OutWelcomes(uri, "b.localhost", 0)
			if err == nil {
				bob.Join(list[0].Body)
			}
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
		req, err := mimi.ParseSubmitMessageRequest(bob.Post("model"))
		if err != nil {
			b.Fatal(err)
		}
		x.rooms, x.model = append(x.rooms, uri), append(x.model, req)
	}
	return x
}

// request is a batch of new messages, to each room in turn.
func (x *mill) request(posts int) []byte {
	req := &mimi.BatchRequest{}
	for i := range posts {
		room := i % len(x.rooms)
		private := *x.model[room].Message.Private
		private.Ciphertext = make([]byte, 300)
		rand.Read(private.Ciphertext)
		body, err := (&mimi.SubmitMessageRequest{Message: *mls.NewMessage(&private), Sender: x.model[room].Sender}).Marshal()
		if err != nil {
			x.Fatal(err)
		}
		req.Items = append(req.Items, mimi.BatchItem{Kind: mimi.BatchMessage, Room: x.rooms[room], Body: body})
	}
	body, err := req.Marshal()
	if err != nil {
		x.Fatal(err)
	}
	return body
}
