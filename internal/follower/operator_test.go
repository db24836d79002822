package follower_test

import (
	"errors"
	"testing"

	"hubbub/internal/store"
	"hubbub/mimi"
)

// frozenFor is why a replica of the tests is frozen.
const frozenFor = "log-mismatch"

// TestThaw: only for the reason that the operator was shown, and from then on the
// replica takes what its hub announces.
func TestThaw(t *testing.T) {
	inBubble(t, 3, func(x *announced) {
		x.join()
		x.must(x.notify(0, 2, x.pos(3)))
		x.must(x.b.store.Update(x.Context(), func(tx store.Tx) error { return tx.Freeze(chat, frozenFor) }))
		x.b.kill()
		x.b.start()
		var p *mimi.Problem
		if err := x.notify(2, 3, x.pos(4)); !errors.As(err, &p) || p.Code != "room-frozen" {
			x.Fatalf("a frozen room answers %v", err)
		}
		for reason, uri := range map[string]mimi.RoomURI{"another": chat, frozenFor: "mimi://a.localhost/r/none"} {
			if _, err := x.b.follower.Thaw(x.Context(), uri, reason); !errors.As(err, &p) {
				x.Errorf("thaw of %s for %q: %v", uri, reason, err)
			}
		}
		pos, err := x.b.follower.Thaw(x.Context(), chat, frozenFor)
		x.must(err)
		if want := x.pos(3); pos != *want {
			x.Errorf("goes on from %v, want %v", pos, *want)
		}
		x.must(x.notify(2, 3, x.pos(4)))
		if _, err := x.b.follower.Thaw(x.Context(), chat, ""); !errors.As(err, &p) || p.Status != 409 {
			x.Errorf("thaw of a room that is not frozen: %v", err)
		}
	})
}
