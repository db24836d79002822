package hub_test

import (
	"errors"
	"testing"

	"hubbub/internal/store"
	"hubbub/mimi"
)

// TestThaw: a frozen room of ours takes nothing until it is thawed for the reason
// the operator was shown, and then goes on from where it stood.
func TestThaw(t *testing.T) {
	x := newBench(t).ready()
	x.must(x.store.Update(x.Context(), func(tx store.Tx) error { return tx.Freeze(chat, "log-mismatch") }))
	x.open()
	before := x.head()
	post := x.bob.Post("hello")
	var p *mimi.Problem
	if _, err := x.hub.Submit(x.Context(), "b.localhost", chat, post); !errors.As(err, &p) {
		t.Fatalf("a frozen room took a post: %v", err)
	}
	for _, reason := range []string{"", "another"} {
		if _, err := x.hub.Thaw(x.Context(), chat, reason); !errors.As(err, &p) || p.Status != 409 {
			t.Errorf("thaw for %q: %v", reason, err)
		}
	}
	if pos, err := x.hub.Thaw(x.Context(), chat, "log-mismatch"); err != nil || pos != before {
		t.Errorf("goes on from %v, %v, want %v", pos, err, before)
	}
	if a := x.submit("b.localhost", post); a.Code != mimi.SubmitAccepted {
		t.Errorf("after the thaw: %+v", a)
	}
	if now := x.head(); now.Seq != before.Seq+1 {
		t.Errorf("stands at %v after one post from %v", now, before)
	}
	if _, err := x.hub.Thaw(x.Context(), "mimi://a.localhost/r/none", "x"); !errors.As(err, &p) || p.Status != 404 {
		t.Errorf("thaw of a room that is not: %v", err)
	}
}
