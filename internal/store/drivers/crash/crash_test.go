package crash

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"hubbub/internal/heads"
	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/internal/store/sqlstore"
	"hubbub/mimi"
)

// every asks for a cut at every call: `make crash`. Else a sample has to do.
const every = "HUBBUB_CRASH"

// samples is how many cuts the short run makes for each fate.
const samples = 12

const chat = mimi.RoomURI("mimi://a.localhost/r/chat")

var disk = NewDisk("crash")

func init() { sql.Register("crash", Driver{"crash"}) }

// ack is an entry that Update said is durable, and how many calls there had been.
type ack struct {
	calls int
	pos   room.Pos
}

// workload writes a log, closes and opens the store in between, and returns what
// was acknowledged.
func workload(t *testing.T) (acks []ack, ops []Op) {
	t.Helper()
	before := disk.Calls()
	dir, head := t.TempDir(), room.StartPos(chat)
	for life := range 3 {
		s := open(t, dir)
		for range 12 {
			next, err := post(s, head, 50+97*len(acks)%5000)
			ok(t, err)
			head = next
			acks = append(acks, ack{disk.Calls() - before, head})
		}
		if life < 2 {
			ok(t, s.Close())
		} else {
			t.Cleanup(func() { s.Close() })
		}
	}
	return acks, disk.Journal()[before:]
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, dir string) *sqlstore.Store {
	t.Helper()
	s, err := sqlstore.OpenDriver(dir, "crash")
	ok(t, err)
	return s
}

// post appends one entry, and makes the room if it is the first.
func post(s store.Store, head room.Pos, size int) (room.Pos, error) {
	body := make([]byte, size)
	copy(body, fmt.Sprintf("entry %d", head.Seq+1))
	next := head.Next(body)
	return next, s.Update(context.Background(), func(tx store.Tx) error {
		if head.Seq == 0 {
			if err := tx.CreateRoom(store.RoomRecord{URI: chat, Hub: "a.localhost", Head: head, Start: head, State: []byte{1}}, nil, nil, nil); err != nil {
				return err
			}
		}
		return tx.Append(store.Append{Room: chat, Prev: head, Entry: store.Entry{
			Seq: next.Seq, Timestamp: next.Seq, Kind: room.KindApplication, Body: body, Hash: next.Hash,
			MessageHash: sha256.Sum256(body[:16]),
		}})
	})
}

// found is what a store holds after a cut.
type found struct {
	head   room.Pos
	hashes map[uint64][32]byte
	losses []heads.Loss
}

// errChain: the log contradicts itself.
var errChain = errors.New("the chain is broken")

// inspect opens an image with the product's driver and reads all of it. want is
// the head as it is kept outside the database.
func inspect(dir string, want room.Pos) (f *found, err error) {
	s, err := sqlstore.Open(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	f = &found{hashes: map[uint64][32]byte{}}
	return f, s.View(context.Background(), func(tx store.ReadTx) error {
		if want.Seq > 0 {
			if f.losses, err = heads.Compare(tx, map[mimi.RoomURI]room.Pos{chat: want}); err != nil {
				return err
			}
		}
		r, err := tx.Room(chat)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		list, err := tx.Entries(chat, 0, 1<<20, 1<<30)
		if err != nil {
			return err
		}
		pos := r.Start
		for _, e := range list {
			if pos = pos.Next(e.Body); pos.Seq != e.Seq || pos.Hash != e.Hash {
				return errChain
			}
			f.hashes[e.Seq] = e.Hash
		}
		if f.head = r.Head; pos != r.Head {
			return errChain
		}
		return nil
	})
}

// The power goes at every call of a workload, and what was not synced meets every
// fate (F08, F09, P1, P2): what was acknowledged is there, the chain is whole, and
// nothing is there that was not written. A wrong bit in what was synced (F10) may
// cost entries, but never in silence.
func TestPowerCut(t *testing.T) {
	acks, ops := workload(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, %d calls, %d acknowledged", seed, len(ops), len(acks))
	cuts := map[Fate]int{}
	for fate := range Fates {
		step := 1
		if os.Getenv(every) == "" {
			step = len(ops)/samples + 1
		}
		for n := 1 + int(fate)%step; n <= len(ops); n += step {
			cuts[fate]++
			cut(t, acks, ops[:n], fate, rand.New(rand.NewPCG(seed, uint64(n)<<8|uint64(fate))))
			if t.Failed() {
				t.Fatalf("cut after call %d of %d, what was not synced is %s", n, len(ops), fate)
			}
		}
	}
	t.Logf("cuts: %v; of those with rot %d were noticed", cuts, noticed)
	if noticed == 0 {
		t.Error("no rot was noticed: it never happened")
	}
}

// noticed counts images whose damage showed.
var noticed int

func cut(t *testing.T, acks []ack, ops []Op, fate Fate, rng *rand.Rand) {
	t.Helper()
	dir, err := os.MkdirTemp("", "hubbub-crash-")
	ok(t, err)
	defer os.RemoveAll(dir)
	ok(t, Image(dir, ops, fate, rng))
	var last room.Pos
	count := 0
	for _, a := range acks {
		if a.calls <= len(ops) {
			last, count = a.pos, count+1
		}
	}
	f, err := inspect(dir, last)
	if fate == Rot {
		if err != nil || len(f.losses) > 0 {
			noticed++
			return
		}
	} else if err != nil {
		t.Errorf("cannot be read: %v", err)
		return
	}
	for _, a := range acks[:count] {
		if f.hashes[a.pos.Seq] != a.pos.Hash {
			t.Errorf("entry %d was acknowledged and is not there; the head is %s", a.pos.Seq, f.head)
			return
		}
	}
	if len(f.losses) > 0 {
		t.Errorf("nothing is lost, but it is said that %v", f.losses)
	}
	if extra := int(f.head.Seq) - count; extra > 1 {
		t.Errorf("%d entries more than were acknowledged: only one could be under way", extra)
	}
}

// A power cut must be able to lose something, or TestPowerCut shows nothing.
func TestImagesDiffer(t *testing.T) {
	_, ops := workload(t)
	sizes := map[Fate]int{}
	for fate := range Fates {
		rng := rand.New(rand.NewPCG(1, uint64(fate)))
		for n := 1; n < len(ops); n += len(ops)/100 + 1 {
			dir := t.TempDir()
			ok(t, Image(dir, ops[:n], fate, rng))
			wal, err := os.ReadFile(filepath.Join(dir, "hubbub.db-wal"))
			if err == nil {
				sizes[fate] += len(wal)
			}
		}
	}
	if sizes[Lost] >= sizes[Kept] || sizes[Torn] >= sizes[Kept] {
		t.Errorf("octets of write-ahead log: %v", sizes)
	}
}

// The disk is full from some call on (F12): writes are refused as such, nothing
// of them is there, reading goes on, and so does writing once there is space.
func TestDiskFullAtEveryCall(t *testing.T) {
	eachCall(t, func(t *testing.T, n int) (reached bool) {
		s, head := begun(t)
		disk.Fail(func(call int, op Op) error {
			if call >= n && op.Kind == opWrite {
				reached = true
				return sqlite3.FULL
			}
			return nil
		})
		next, err := post(s, head, 9000)
		disk.Fail(nil)
		if !reached {
			return false
		}
		if !errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrUnknownOutcome) {
			t.Fatalf("call %d: %v, want ErrFull", n, err)
		}
		if at := headOf(t, s); at != head {
			t.Fatalf("call %d: the head is %s, was %s, would have been %s", n, at, head, next)
		}
		next, err = post(s, head, 100)
		ok(t, err)
		if at := headOf(t, s); at != next {
			t.Fatalf("call %d: once there is space the head is %s, want %s", n, at, next)
		}
		return true
	})
}

// A sync that fails (F11), of a commit or of a checkpoint: whoever waited is told
// that nobody knows, nothing more is written by this process, and what had been
// acknowledged is there when the store is opened anew.
func TestSyncFailsAtEveryCall(t *testing.T) {
	inCommit := 0
	tried := 0
	for reached := true; reached; tried++ {
		reached = false
		dir, syncs := t.TempDir(), 0
		s := open(t, dir)
		disk.Fail(func(_ int, op Op) error {
			if op.Kind != opSync {
				return nil
			}
			if syncs++; syncs != tried+1 {
				return nil
			}
			reached = true
			return sqlite3.IOERR_FSYNC
		})
		var acked room.Pos
		var failed error
		head := room.StartPos(chat)
		for range 3 {
			next, err := post(s, head, 9000)
			switch {
			case err == nil && failed == nil:
				head, acked = next, next
			case failed == nil && errors.Is(err, store.ErrUnknownOutcome):
				failed = err
				inCommit++
			case failed == nil || !errors.Is(err, store.ErrFailed):
				t.Fatalf("sync %d: %v after %v", tried+1, err, failed)
			}
		}
		err := s.Close()
		disk.Fail(nil)
		if reached && failed == nil && err == nil {
			t.Errorf("sync %d failed and nobody was told", tried+1)
		}
		f, err := inspect(dir, acked)
		if err != nil || f.head.Seq < acked.Seq || f.head.Seq > acked.Seq+1 || len(f.losses) > 0 {
			t.Errorf("sync %d: %+v, %v, acknowledged was %s", tried+1, f, err, acked)
		}
	}
	if inCommit < 3 || tried < 5 {
		t.Errorf("%d syncs were tried, %d of commits: want one for each commit and those of a checkpoint", tried, inCommit)
	}
}

// eachCall runs try for call 1, 2 … until it says that the workload was over
// before that call.
func eachCall(t *testing.T, try func(t *testing.T, n int) bool) {
	t.Helper()
	n := 1
	for try(t, n) {
		n++
	}
	if n < 3 {
		t.Errorf("only %d calls were tried", n-1)
	}
	t.Logf("%d calls", n-1)
}

// begun is a store with two entries, and their head.
func begun(t *testing.T) (*sqlstore.Store, room.Pos) {
	t.Helper()
	s := open(t, t.TempDir())
	t.Cleanup(func() { s.Close() })
	head, err := post(s, room.StartPos(chat), 100)
	ok(t, err)
	head, err = post(s, head, 100)
	ok(t, err)
	return s, head
}

func headOf(t *testing.T, s store.Store) (head room.Pos) {
	t.Helper()
	ok(t, s.View(context.Background(), func(tx store.ReadTx) error {
		r, err := tx.Room(chat)
		if err == nil {
			head = r.Head
		}
		return err
	}))
	return head
}
