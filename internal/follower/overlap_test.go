package follower_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hubbub/internal/store"
)

// doomed is a store whose next write is not committed: before that fails,
// everything that the write set going has come to rest.
type doomed struct {
	store.Store
	armed  atomic.Bool
	ending bool        // the process ends instead, and writes nothing more
	ended  atomic.Bool // it has
}

func (d *doomed) Update(ctx context.Context, fn func(store.Tx) error) error {
	return d.Store.Update(ctx, func(tx store.Tx) error {
		if d.ended.Load() {
			return store.ErrClosed
		}
		if err := fn(tx); err != nil || !d.armed.Swap(false) {
			return err
		}
		synctest.Wait()
		d.ended.Store(d.ending)
		return store.ErrFull
	})
}

// TestCommitFailsBehindTheHub: a message that has left for the hub, and was
// posted, while the commit of its row was under way and then failed. Its client
// is told of a failure; the repeat ends as posted, once, and in its place.
func TestCommitFailsBehindTheHub(t *testing.T) {
	for name, c := range map[string]struct {
		crash bool // our process ends before the commit
		deaf  bool // the hub's log does not reach us before the repeat
	}{
		"disk full": {}, "disk full, entry to come": {deaf: true},
		"crash": {crash: true}, "crash, entry to come": {crash: true, deaf: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := newTrio(t)
				d := &doomed{ending: c.crash}
				x.b.disk = func(s store.Store) store.Store {
					d.Store = s
					return d
				}
				x.b.kill()
				x.b.start()
				pass(time.Minute)
				x.setDown("b.localhost", c.deaf)
				d.armed.Store(true)
				first, second := x.bob.Post("first"), x.bob.Post("second")
				write := store.Submission{Client: x.bob.URI, Txn: "first", Room: chat, Kind: store.SubmitMessage, Body: first}
				if _, err := x.b.follower.Enqueue(t.Context(), write); !errors.Is(err, store.ErrFull) {
					t.Fatalf("the failed write: %v", err)
				}
				if _, _, log := x.a.log(); len(log) != 2 {
					t.Fatalf("%d entries at the hub: the message did not leave before its row was durable", len(log))
				}
				if c.crash {
					x.b.disk = nil
					x.b.kill()
					x.b.start()
				}
				if !c.deaf {
					pass(10 * time.Minute)
				}
				again, err := x.b.follower.Enqueue(t.Context(), write)
				if err != nil || !c.deaf && (again.State != store.Posted || again.Seq != 2) {
					t.Fatalf("the repeat: %+v, %v", again, err)
				}
				next := store.Submission{Client: x.bob.URI, Txn: "second", Room: chat, Kind: store.SubmitMessage, Body: second}
				if _, err := x.b.follower.Enqueue(t.Context(), next); err != nil {
					t.Fatal(err)
				}
				x.setDown("b.localhost", false)
				pass(10 * time.Minute)
				for txn, seq := range map[string]uint64{"first": 2, "second": 3} {
					if s := x.bob.submission(txn); s.State != store.Posted || s.Seq != seq {
						t.Errorf("%s: %+v, want posted at %d", txn, s, seq)
					}
				}
				x.checkEqual("b.localhost", "c.localhost")
				if _, head, _ := x.a.log(); head.Seq != 3 {
					t.Errorf("the log ends at %d, want 3", head.Seq)
				}
			})
		})
	}
}
