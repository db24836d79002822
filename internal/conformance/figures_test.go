package conformance

import (
	"strings"
	"testing"
	"time"
)

// The figures of mimi-protocol-06 between a hub and one follower: Alice adds Bob, Bob
// posts, Bob's new device joins, Bob leaves. Every arrow that the follower's provider
// sees is there, once, in order.
func TestFigures(t *testing.T) {
	st := newStage(t)
	cfg := st.ask
	cfg.Wait = 30 * time.Second
	s, err := newSession(t.Context(), cfg)
	st.ok(err)
	defer s.peer.Close()
	st.ok(s.visit(t.Context()))
	g := s.guest
	p := &probe{s: s, Result: Result{ID: "FLOW"}}
	arrived := func(n int) {
		t.Helper()
		if !s.until(t.Context(), func() bool { return len(g.arrows()) >= n }) {
			t.Fatalf("arrows: %q, want %d", g.arrows(), n)
		}
		g.catchUp()
	}
	arrived(2) // the Welcome, and what Alice posted after it
	g.posted(t.Context(), p, "Bob posts")
	arrived(3)
	newClient(t.Context(), p)
	arrived(4)
	leaving(t.Context(), p)
	arrived(5)
	for _, f := range p.Failures {
		t.Errorf("%s: expected %s, got %s", f.What, f.Expected, f.Got)
	}
	want := "welcome application application commit proposal"
	if got := strings.Join(g.arrows(), " "); got != want {
		t.Errorf("announced: %s, want %s", got, want)
	}
	if n := len(g.claims); n != 1 {
		t.Errorf("%d requests for key material, want 1", n)
	}
}

// arrows are the kinds of what was announced and taken, in order.
func (g *guest) arrows() (kinds []string) {
	for _, n := range g.seen() {
		for i := range n.list {
			if n.ok {
				kinds = append(kinds, n.list[i].Kind().String())
			}
		}
	}
	return kinds
}
