package follower

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"hubbub/internal/backoff"
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
		p, err := g.enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		g.leave(p, errors.New("busy"), 30*time.Minute)
		if w := f.Waiting(hub); w.Failures != 1 || w.Error != "busy" || time.Until(w.Next) != 30*time.Minute {
			t.Errorf("%+v", w)
		}
		begin, entered := time.Now(), make(chan time.Duration, 1)
		go func() {
			p, _ = g.enter(t.Context())
			entered <- time.Since(begin)
		}()
		<-time.After(time.Second)
		f.Retry(hub)
		if after := <-entered; after != time.Second {
			t.Errorf("entered after %s", after)
		}
		g.leave(p, nil, 0)
		if w := f.Waiting(hub); w != (Waiting{}) {
			t.Errorf("after it went well: %+v", w)
		}
	})
}

// Attempts of many lanes that were under way when a hub fell silent are one
// failure, and none of them ends the probe of another.
func TestWaveIsOneFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(func(d time.Duration) time.Duration { return d })
		enter := func() pass {
			p, err := g.enter(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		var wave []pass
		for range 64 {
			wave = append(wave, enter())
		}
		begin, silent := time.Now(), errors.New("silence")
		for _, p := range wave[1:] {
			g.leave(p, silent, 0)
		}
		probe := enter()
		if waited := time.Since(begin); waited != backoff.Base {
			t.Errorf("the next attempt came after %s, want %s", waited, backoff.Base)
		}
		g.leave(wave[0], silent, 0)
		second := make(chan time.Duration)
		go func() {
			g.cancel(enter())
			second <- time.Since(begin)
		}()
		synctest.Wait()
		g.leave(probe, silent, 0)
		if waited := <-second; waited != backoff.Base+2*backoff.Base {
			t.Errorf("the probe after that came after %s", waited)
		}
	})
}
