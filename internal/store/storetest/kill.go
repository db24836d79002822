package storetest

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"testing"

	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// victimDir is the environment variable that makes the test binary the victim
// of testKill, working on the directory it names.
const victimDir = "HUBBUB_STORETEST_VICTIM"

const (
	killRounds   = 8
	killRooms    = 4
	killMaxLines = 400 // acknowledged entries in a round
)

// Main is to be called by TestMain: testKill starts the test binary again as
// the process that it kills.
func Main(m *testing.M, open Opener) {
	if dir := os.Getenv(victimDir); dir != "" {
		fmt.Fprintln(os.Stderr, victim(dir, open))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// victim appends to several rooms for ever and writes a line for each entry
// that Update said is durable.
func victim(dir string, open Opener) error {
	s, err := open(dir)
	if err != nil {
		return err
	}
	failed := make(chan error)
	var stdout sync.Mutex
	for i := range killRooms {
		go func() {
			l, err := resume(s, killRoom(i))
			for err == nil {
				if err = l.append(s, 100+rand.IntN(3000)); err != nil {
					break
				}
				stdout.Lock()
				_, err = fmt.Printf("%d %d %x\n", i, l.head.Seq, l.head.Hash)
				stdout.Unlock()
			}
			failed <- err
		}()
	}
	return <-failed
}

func killRoom(i int) mimi.RoomURI {
	return mimi.RoomURI(fmt.Sprintf("mimi://a.localhost/r/kill-%d", i))
}

// resume continues a log where the store has it.
func resume(s store.Store, uri mimi.RoomURI) (*log, error) {
	l := newLog(uri)
	if err := l.create(s); err == nil {
		return l, nil
	}
	err := s.View(context.Background(), func(tx store.ReadTx) error {
		r, err := tx.Room(uri)
		if err == nil {
			l.head = r.Head
		}
		return err
	})
	return l, err
}

// testKill kills a process in the middle of its writes, again and again on the
// same database: what it had been told is durable must be there.
func testKill(f *suite) {
	must(f, f.s.Close())
	acked := make([]map[uint64]string, killRooms)
	for i := range acked {
		acked[i] = make(map[uint64]string)
	}
	for range killRounds {
		killOnce(f, 1+rand.IntN(killMaxLines), acked)
		f.start()
		for i := range acked {
			wantAcked(f, killRoom(i), acked[i])
		}
		must(f, f.s.Close())
	}
	f.start()
}

// killOnce runs a victim, kills it once it has written so many lines, and
// notes all that it has written until it died.
func killOnce(f *suite, lines int, acked []map[uint64]string) {
	f.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), victimDir+"="+f.dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(f, err)
	must(f, cmd.Start())
	defer cmd.Process.Kill()
	n := 0
	for scan := bufio.NewScanner(out); scan.Scan(); n++ {
		if n == lines {
			must(f, cmd.Process.Kill())
		}
		var i int
		var seq uint64
		var hash string
		if _, err := fmt.Sscanf(scan.Text(), "%d %d %s", &i, &seq, &hash); err != nil || len(hash) != 64 {
			break // cut off by the kill
		}
		acked[i][seq] = hash
	}
	cmd.Wait()
	if n < lines {
		f.Fatalf("the process ended by itself after %d entries", n)
	}
}

func wantAcked(f *suite, uri mimi.RoomURI, acked map[uint64]string) {
	f.Helper()
	if len(acked) == 0 {
		return // this room had no turn yet
	}
	verifyLog(f, uri)
	stored := make(map[uint64]room.Pos)
	for _, e := range entriesOf(f, uri, 0) {
		stored[e.Seq] = room.Pos{Seq: e.Seq, Hash: e.Hash}
	}
	for seq, hash := range acked {
		if got := stored[seq]; fmt.Sprintf("%x", got.Hash) != hash {
			f.Fatalf("%s: entry %d was acknowledged with %s, stored is %s", uri, seq, hash, got)
		}
	}
}
