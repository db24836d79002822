package follower_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"hubbub/internal/store"
)

// What has gathered while the hub was away goes in few requests, in order; one
// that the hub does not want is rejected by itself.
func TestOutboxSendsBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTrio(t)
		x.setDown("a.localhost", true)
		pass(time.Second)
		x.mu.Lock()
		before := x.calls
		x.mu.Unlock()
		var txns []string
		for i := range 60 {
			txns = append(txns, x.bob.write(store.SubmitMessage, x.bob.Post(fmt.Sprint(i))).Txn)
		}
		stale := x.bob.write(store.SubmitUpdate, x.bob.Commit()).Txn
		x.setDown("a.localhost", false)
		x.alice.write(store.SubmitUpdate, x.alice.Commit()) // takes the epoch of all of them
		x.alice.catchUp()
		x.b.follower.PeerAlive("a.localhost")
		pass(10 * time.Minute)
		for _, txn := range append(txns, stale) {
			if s := x.bob.submission(txn); s.State != store.Rejected {
				t.Fatalf("%s: %+v, want rejected: its epoch is over", txn, s)
			}
		}
		x.bob.Drop()
		x.bob.catchUp()
		txns = nil
		x.setDown("a.localhost", true)
		for i := range 60 {
			txns = append(txns, x.bob.write(store.SubmitMessage, x.bob.Post(fmt.Sprint(i))).Txn)
		}
		x.setDown("a.localhost", false)
		pass(10 * time.Minute)
		seq := uint64(0)
		for _, txn := range txns {
			s := x.bob.submission(txn)
			if s.State != store.Posted || s.Seq <= seq {
				t.Fatalf("%s: %+v after %d", txn, s, seq)
			}
			seq = s.Seq
		}
		x.alice.catchUp()
		for i := range 60 {
			if x.alice.Texts[i] != fmt.Sprint(i) {
				t.Fatalf("alice reads %q at %d", x.alice.Texts[i], i)
			}
		}
		x.mu.Lock()
		defer x.mu.Unlock()
		if n := x.calls - before; n > 60 {
			t.Errorf("%d requests for 121 writes", n)
		}
	})
}
