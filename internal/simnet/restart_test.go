package simnet

import (
	"flag"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"hubbub/internal/store"
)

var restarts = flag.Int("restarts", 60, "how often TestRestarts ends and starts a provider")

// TestRestarts ends and starts providers again and again (P23): at rest that
// changes nothing in their databases and leaves no goroutine behind; while clients
// write, nothing accepted is lost or doubled.
func TestRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(48) // three providers, one room, no store faults
		var res result
		func() {
			defer s.end(&res)
			s.set()
			s.gather()
			s.restartAtRest(t, *restarts/2)
			s.restartAtWork(*restarts - *restarts/2)
			s.heal()
		}()
		report(t, s.seed, res)
		t.Logf("%d restarts, %d entries", *restarts, res.entries)
	})
}

// gather lets the clients come together, without faults.
func (s *sim) gather() {
	s.mu.Lock()
	s.faulty = false
	s.mu.Unlock()
	for range 300 {
		if s.rng.IntN(2) == 0 || !s.network(false) {
			s.device()
		}
		s.settle()
	}
	s.calm()
	if n := len(s.rooms[0].state.Providers()); n < 3 {
		s.fail("the simulator itself: %d providers in the room", n)
	}
}

// calm lets everything under way arrive, and timers run out.
func (s *sim) calm() {
	for range 3 {
		s.drain()
		<-time.After(time.Minute)
		s.settle()
	}
}

func (s *sim) dumps() (text string) {
	for _, d := range s.order {
		s.view(s.providers[d], func(tx store.ReadTx) error {
			one, err := tx.Dump()
			text += one
			return err
		})
	}
	return text
}

// cycle ends a provider, as a kill does, and starts it again.
func (s *sim) cycle(i int) {
	p := s.providers[s.order[i%len(s.order)]]
	p.crash(i%2 == 0)
	p.start()
	s.settle()
}

func (s *sim) restartAtRest(t *testing.T, n int) {
	before, goroutines := s.dumps(), 0
	for i := range n {
		s.cycle(i)
		if i == 5 {
			goroutines = runtime.NumGoroutine()
		}
	}
	s.calm()
	if s.dumps() != before {
		t.Errorf("%d restarts at rest changed what is stored", n)
	}
	if now := runtime.NumGoroutine(); now > goroutines {
		t.Errorf("%d goroutines after %d restarts, %d after the first", now, n, goroutines)
	}
}

// restartAtWork has clients write all the time; what is on the network when a
// provider ends is lost or comes late.
func (s *sim) restartAtWork(n int) {
	for i := range n {
		for range 4 {
			s.device()
			s.settle()
			s.network(false)
			s.settle()
		}
		s.cycle(i)
	}
}
