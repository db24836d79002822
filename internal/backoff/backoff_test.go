package backoff

import (
	"testing"
	"time"
)

func TestDelay(t *testing.T) {
	upper := func(max time.Duration) time.Duration { return max }
	for _, c := range []struct {
		failures int
		want     time.Duration
	}{{-1, Base}, {0, Base}, {1, Base}, {2, 2 * Base}, {5, 16 * Base}, {12, 2048 * Base}, {13, Cap}, {1 << 30, Cap}} {
		if got := Delay(c.failures, upper); got != c.want {
			t.Errorf("Delay(%d) has upper end %v, want %v", c.failures, got, c.want)
		}
	}
	for range 1000 {
		if d := Delay(3, nil); d < 0 || d > 4*Base {
			t.Fatalf("Delay(3) = %v, outside [0, %v]", d, 4*Base)
		}
	}
}

func TestAsked(t *testing.T) {
	for _, c := range []struct{ in, want time.Duration }{
		{0, 0}, {-time.Second, MinRetryAfter}, {1, MinRetryAfter}, {3 * time.Second, 3 * time.Second},
		{10 * 365 * 24 * time.Hour, MaxRetryAfter},
	} {
		if got := Asked(c.in); got != c.want {
			t.Errorf("Asked(%v) = %v, want %v", c.in, got, c.want)
		}
	}
}
