package main

import "testing"

// TestQuiet: memory is given back once after a busy time, and again only when
// much has been allocated meanwhile.
func TestQuiet(t *testing.T) {
	const mib = 1 << 20
	var q quiet
	for i, look := range []struct {
		allocated uint64
		quiet     bool
	}{
		{100 * mib, false}, // busy
		{101 * mib, true},  // over
		{102 * mib, false}, // nothing to gain
		{120 * mib, false}, // busy again
		{124 * mib, true},
		{125 * mib, false},
	} {
		if got := q.now(look.allocated, 40*mib); got != look.quiet {
			t.Errorf("look %d: %v, want %v", i, got, look.quiet)
		}
	}
}
