package simnet

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

var (
	seeds  = flag.Int("seeds", 16, "how many seeds TestSeeds plays")
	first  = flag.Uint64("seed", 0, "the first of them")
	events = flag.Int("events", 400, "events of a run before it heals")
	stop   = flag.Bool("stop", false, "stop after the first seed that fails")
	show   = flag.Bool("transcript", false, "print the transcript of every run")
)

// TestSeeds plays one run per seed.
func TestSeeds(t *testing.T) {
	var total, entries, relapses atomic.Int64
	var failed atomic.Bool
	t.Run("all", func(t *testing.T) {
		for i := range *seeds {
			seed := *first + uint64(i)
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				if *stop && failed.Load() {
					t.Skip("a seed before failed")
				}
				res := play(t, seed, *events)
				total.Add(int64(res.events))
				entries.Add(int64(res.entries))
				relapses.Add(int64(res.relapse))
				if res.failure != "" {
					failed.Store(true)
				}
				report(t, seed, res)
			})
		}
	})
	t.Logf("%d seeds, %d events, %d entries, %d hubs restored", *seeds, total.Load(), entries.Load(), relapses.Load())
	if *seeds >= 16 && relapses.Load() == 0 {
		t.Error("no hub was restored in any run")
	}
}

// report prints a run that failed, and how to repeat it.
func report(t *testing.T, seed uint64, res result) {
	t.Helper()
	if *show || res.failure != "" {
		t.Logf("transcript of seed %d:\n%s", seed, strings.Join(res.log, "\n"))
	}
	if res.failure != "" {
		t.Errorf("seed %d, event %d: %s\nrepeat: go test ./internal/simnet -run TestSeeds -seed %d -seeds 1 -events %d",
			seed, res.events, res.failure, seed, *events)
	}
}

// regressions are seeds that found a bug of ours, with what it was. A change of
// the simulator changes what a seed does; each bug has a test of its own beside
// the code that had it.
var regressions = []struct {
	seed uint64
	bug  string
}{
	{67, "fanout came to rest with an acknowledgement that a full disk had not taken"},
	{5062, "a follower that came in with an unsure commit was not shipped to"},
	{5034, "a follower denied a room whose snapshot it could not fetch just then"},
}

// TestRegressions plays them again.
func TestRegressions(t *testing.T) {
	for _, r := range regressions {
		t.Run(fmt.Sprint(r.seed), func(t *testing.T) {
			t.Parallel()
			t.Log(r.bug)
			report(t, r.seed, play(t, r.seed, 600))
		})
	}
}

// TestRepeats plays a seed twice: the transcripts are the same.
func TestRepeats(t *testing.T) {
	for _, seed := range []uint64{1, 2, 7} {
		a, b := play(t, seed, 200), play(t, seed, 200)
		if !slices.Equal(a.log, b.log) {
			for i := range min(len(a.log), len(b.log)) {
				if a.log[i] != b.log[i] {
					t.Errorf("seed %d: line %d:\n%s\n%s", seed, i, a.log[i], b.log[i])
					break
				}
			}
		}
	}
}
