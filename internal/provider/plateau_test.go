package provider

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"testing"

	"hubbub/client"
	"hubbub/mimi"
)

// usage is what a process holds.
type usage struct {
	heap       uint64 // octets that are in use after a collection
	goroutines int
	files      int // 0 = cannot be known here
}

func used() usage {
	runtime.GC()
	runtime.GC() // what had a finaliser
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	open, _ := os.ReadDir("/proc/self/fd")
	return usage{m.HeapAlloc, runtime.NumGoroutine(), len(open)}
}

// cached is what two providers may still take for the newest part of a room's log:
// each keeps up to 2 MiB of it in memory.
const cached = 2 * 3 << 20

// TestPlateau posts from provider to provider in rounds, after each of which one
// device goes and comes back: goroutines and open files grow no more after the
// first ones, and memory not beyond what caches may hold (P20). The run that fills
// the caches and goes on is hubbub bench soak.
func TestPlateau(t *testing.T) {
	const rounds, warm, posts = 6, 2, 100
	w := newWorld(t, "a.localhost", "b.localhost")
	w.start("a.localhost")
	w.start("b.localhost")
	alice, bob := w.device("alice@a.localhost", "phone"), w.device("bob@b.localhost", "phone")
	defer func() { alice.Close() }()
	room, _, err := alice.CreateRoom(t.Context(), client.RoomOptions{Members: []mimi.UserURI{bob.User()}})
	if err != nil {
		t.Fatal(err)
	}
	until(t, "bob's membership", func(ctx context.Context) error {
		if info, err := bob.Room(ctx, room); err != nil || !info.Member {
			return fmt.Errorf("%+v, %w", info, err)
		}
		return nil
	})
	var first usage
	for i := range rounds {
		var last client.Message
		for n := range posts {
			last = send(t, bob, room, fmt.Sprintf("%d of round %d", n, i))
		}
		seq := posted(t, bob, room, last).Seq
		until(t, "the last message", func(ctx context.Context) error {
			entries, err := alice.Log(ctx, room, seq-1, 1)
			if err == nil && len(entries) == 0 {
				err = fmt.Errorf("nothing at %d", seq)
			}
			return err
		})
		if err := alice.Close(); err != nil { // the other end comes and goes
			t.Fatal(err)
		}
		if alice, err = client.Open(t.Context(), w.devices[0], nil); err != nil {
			t.Fatal(err)
		}
		now := used()
		t.Logf("round %d: %d KiB, %d goroutines, %d files", i+1, now.heap>>10, now.goroutines, now.files)
		switch {
		case i < warm:
			first = now
		case i < rounds-1:
		case now.heap > first.heap+cached:
			t.Errorf("the heap has grown from %d to %d octets", first.heap, now.heap)
		case now.goroutines > first.goroutines+4:
			t.Errorf("%d goroutines have become %d", first.goroutines, now.goroutines)
		case now.files > first.files+4:
			t.Errorf("%d open files have become %d", first.files, now.files)
		}
	}
}
