package provider

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"hubbub/internal/federation"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// A provider that starts lets its peers know, so that what they hold back for it
// does not wait for the end of a long backoff.
func TestGreeting(t *testing.T) {
	w := newWorld(t, "a.localhost", "b.localhost")
	w.start("a.localhost")
	w.start("b.localhost")
	w.target() // a room of a with a follower at b
	w.stop("b.localhost")
	w.stop("a.localhost")
	for _, from := range []mimi.Domain{"a.localhost", "b.localhost"} { // the hub and the follower
		to := map[mimi.Domain]mimi.Domain{"a.localhost": "b.localhost", "b.localhost": "a.localhost"}[from]
		heard, stop := w.listener(to)
		w.start(from)
		select {
		case peer := <-heard:
			if peer != from {
				t.Errorf("%s heard of %s", to, peer)
			}
		case <-time.After(patience):
			t.Errorf("%s was not greeted by %s", to, from)
		}
		w.stop(from)
		stop()
	}
}

// listener stands in for a provider until stop, and tells who calls.
func (w *world) listener(d mimi.Domain) (heard chan mimi.Domain, stop func()) {
	w.t.Helper()
	cfg := w.cfgs[d]
	k, err := (&Provider{cfg: cfg}).loadKeys()
	if err != nil {
		w.t.Fatal(err)
	}
	heard = make(chan mimi.Domain, 100)
	s, err := federation.NewServer(federation.ServerConfig{
		Domain: d, Certificate: k.federation, Roots: k.peers, Roles: &roles{}, Alive: func(peer mimi.Domain) { heard <- peer },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ln, err := net.Listen("tcp", cfg.Federation.Listen)
	if err != nil {
		w.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(ln) }()
	return heard, func() {
		if err := s.Shutdown(w.t.Context()); err != nil {
			w.t.Error(err)
		}
		<-done
	}
}

// A write to a room of ours that a crash cut short is decided after the start.
func TestLocalWriteCutShort(t *testing.T) {
	w := newWorld(t, "a.localhost", "b.localhost")
	w.start("a.localhost")
	w.start("b.localhost")
	g := w.target()
	body := g.staleMessage(t)
	w.stop("b.localhost")
	row := store.Submission{
		Client: "mimi://a.localhost/d/alice/phone", Txn: "cut-short", Room: g.room, Hub: "a.localhost",
		Kind: store.SubmitMessage, Body: body, MessageHash: [32]byte{1}, State: store.Queued, EnqueuedAt: uint64(time.Now().UnixMilli()),
	}
	err := w.running["a.localhost"].store.Update(t.Context(), func(tx store.Tx) error {
		_, err := tx.Enqueue(row)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	w.stop("a.localhost")
	w.start("a.localhost")
	until(t, "decision", func(ctx context.Context) error {
		return w.running["a.localhost"].store.View(ctx, func(tx store.ReadTx) error {
			got, err := tx.Submission(row.Client, row.Txn)
			if err == nil && got.State == store.Queued {
				err = errors.New("still queued")
			} else if err == nil && got.State != store.Rejected {
				t.Errorf("%+v", got)
			}
			return err
		})
	})
}
