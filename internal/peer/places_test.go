package peer

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"hubbub/mimi"
)

// TestPlaces: so many of a key run, so many wait in turn, one more is refused and
// told when to come again; other keys do not notice.
func TestPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPlaces[string](2, 3)
		ran := 0
		var leave []func()
		ctx, cancel := context.WithCancel(t.Context())
		for i := range 5 {
			ctx := ctx
			if i < 4 {
				ctx = t.Context()
			}
			go func() {
				out, err := p.Enter(ctx, "b")
				if err != nil {
					if !errors.Is(err, context.Canceled) {
						t.Error(err)
					}
					return
				}
				ran++
				leave = append(leave, out)
			}()
			synctest.Wait() // one after the other
		}
		if ran != 2 {
			t.Errorf("%d run at once, want 2", ran)
		}
		var refused *mimi.Problem
		if _, err := p.Enter(t.Context(), "b"); !errors.As(err, &refused) || refused.Status != 429 || refused.RetryAfter != time.Second ||
			refused.Detail != "too many requests at once: 2 run and 3 wait" {
			t.Errorf("the sixth: %v", err)
		}
		if out, err := p.Enter(t.Context(), "c"); err != nil {
			t.Errorf("another key: %v", err)
		} else {
			out()
		}
		cancel() // one that waits goes away
		synctest.Wait()
		for want := 3; len(leave) > 0; want++ {
			out := leave[0]
			leave = leave[1:]
			out()
			synctest.Wait()
			if ran != min(want, 4) {
				t.Errorf("%d have run, want %d", ran, min(want, 4))
			}
		}
		if len(p.held) != 0 {
			t.Errorf("%d keys are remembered with nobody inside", len(p.held))
		}
	})
	var none *Places[string]
	if out, err := none.Enter(t.Context(), "b"); err != nil {
		t.Error(err)
	} else {
		out()
	}
}
