package follower

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"hubbub/mimi"
)

// TestRetryHub: an operator ends a pause that the hub asked for.
func TestRetryHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &Follower{gates: &gates{jitter: func(d time.Duration) time.Duration { return d }, byPeer: map[mimi.Domain]*gate{}}}
		const hub mimi.Domain = "a.localhost"
		if w := f.Waiting(hub); w != (Waiting{}) {
			t.Errorf("from the start: %+v", w)
		}
		g := f.gates.of(hub)
		if err := g.enter(t.Context()); err != nil {
			t.Fatal(err)
		}
		g.leave(errors.New("busy"), 30*time.Minute)
		if w := f.Waiting(hub); w.Failures != 1 || w.Error != "busy" || time.Until(w.Next) != 30*time.Minute {
			t.Errorf("%+v", w)
		}
		begin, entered := time.Now(), make(chan time.Duration, 1)
		go func() {
			g.enter(t.Context())
			entered <- time.Since(begin)
		}()
		<-time.After(time.Second)
		f.Retry(hub)
		if after := <-entered; after != time.Second {
			t.Errorf("entered after %s", after)
		}
		g.leave(nil, 0)
		if w := f.Waiting(hub); w != (Waiting{}) {
			t.Errorf("after it went well: %+v", w)
		}
	})
}
