package heads

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/internal/store/sqlstore"
	"hubbub/mimi"
)

const chat = mimi.RoomURI("mimi://a.localhost/r/chat")

func open(t *testing.T, path string) *File {
	t.Helper()
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func grown(n int) room.Pos {
	pos := room.StartPos(chat)
	for i := range n {
		pos = pos.Next([]byte{byte(i)})
	}
	return pos
}

// What was noted is there after the file was closed, and going back is ignored
// except where a log begins anew.
func TestRemembers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "heads")
	f := open(t, path)
	f.Note(chat, grown(5))
	f.Note(chat, grown(3))
	f.Note("mimi://a.localhost/r/other", grown(1))
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f = open(t, path)
	if got := f.Known()[chat]; got != grown(5) || len(f.Known()) != 2 || f.Damaged() != 0 {
		t.Errorf("known %v, %d damaged", f.Known(), f.Damaged())
	}
	f.Begin(chat, grown(2))
	f.Close()
	if got := open(t, path).Known()[chat]; got != grown(2) {
		t.Errorf("begun anew at %s", got)
	}
}

// What is noted reaches the system without waiting for the sync, and the disk,
// each within its bound.
func TestBound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "heads")
	synctest.Test(t, func(t *testing.T) {
		f := open(t, path)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- f.Run(ctx) }()
		f.Note(chat, grown(6))
		wait(WriteEvery / 2)
		f.Note(chat, grown(7))
		wait(WriteEvery / 2)
		synctest.Wait()
		known, _, err := Read(path)
		if err != nil || known[chat] != grown(7) {
			t.Errorf("not written within the bound: %v, %v", known, err)
		}
		f.writing.Lock()
		dirty := f.dirty
		f.writing.Unlock()
		if !dirty {
			t.Error("synced at once: a sync per post is too much")
		}
		wait(SyncEvery)
		synctest.Wait()
		f.writing.Lock()
		if f.dirty {
			t.Error("not synced within the bound")
		}
		f.writing.Unlock()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Damage costs the lines it hits and no other, and never reads as something else.
func TestDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "heads")
	f := open(t, path)
	want := map[mimi.RoomURI]room.Pos{}
	for i := range 5 {
		uri := mimi.RoomURI(fmt.Sprintf("mimi://a.localhost/r/%d", i))
		want[uri] = grown(i)
		f.Note(uri, grown(i))
	}
	f.Close()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		b := bytes.Clone(whole)
		b[i] ^= 1
		known, damaged := reread(t, b)
		if i < len(firstLine) {
			if known != nil {
				t.Errorf("octet %d of the first line flipped: still read", i)
			}
			continue
		}
		if damaged == 0 || len(known) < len(want)-2 {
			t.Errorf("octet %d flipped: %d damaged, %d left", i, damaged, len(known))
		}
		for uri, pos := range known {
			if want[uri] != pos {
				t.Errorf("octet %d flipped: %s reads %s", i, uri, pos)
			}
		}
		cut, _ := reread(t, whole[:i])
		for uri, pos := range cut {
			if want[uri] != pos {
				t.Errorf("cut at %d: %s reads %s", i, uri, pos)
			}
		}
	}
	// A torn line spoils nothing that is written after it.
	if err := os.WriteFile(path, append(whole, "1234 torn"...), 0o600); err != nil {
		t.Fatal(err)
	}
	f = open(t, path)
	f.Note(chat, grown(9))
	f.Close()
	want[chat] = grown(9)
	if got := open(t, path).Known(); !maps.Equal(got, want) {
		t.Errorf("after a torn line: %v", got)
	}
}

func reread(t *testing.T, b []byte) (map[mimi.RoomURI]room.Pos, int) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	known, damaged, err := Read(path)
	if err != nil && !errors.Is(err, ErrForeign) {
		t.Fatal(err)
	}
	return known, damaged
}

// The file does not grow with the number of posts.
func TestCompacts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "heads")
	f := open(t, path)
	pos := room.StartPos(chat)
	for range 20_000 {
		pos = pos.Next(nil)
		f.Note(chat, pos)
		if err := f.write(); err != nil {
			t.Fatal(err)
		}
	}
	if st, err := os.Stat(path); err != nil || st.Size() > compactBytes+4096 {
		t.Errorf("%d octets, %v", st.Size(), err)
	}
	f.Close()
	if got := open(t, path).Known()[chat]; got != pos {
		t.Errorf("%s, want %s", got, pos)
	}
}

// rig is a database with its heads.
type rig struct {
	*testing.T
	dir   string
	store store.Store
	file  *File
}

func newRig(t *testing.T) *rig {
	r := &rig{T: t, dir: t.TempDir()}
	r.reopen()
	t.Cleanup(r.close)
	return r
}

func (r *rig) reopen() {
	r.Helper()
	st, err := sqlstore.Open(filepath.Join(r.dir, "data"))
	if err != nil {
		r.Fatal(err)
	}
	if r.file, err = Open(filepath.Join(r.dir, "heads")); err != nil {
		r.Fatal(err)
	}
	r.store = Guard(st, r.file)
}

func (r *rig) close() {
	r.store.Close()
	r.file.Close()
}

func (r *rig) update(fn func(store.Tx) error) error {
	return r.store.Update(context.Background(), fn)
}

func (r *rig) create(uri mimi.RoomURI) {
	r.Helper()
	start := room.StartPos(uri)
	if err := r.update(func(tx store.Tx) error {
		return tx.CreateRoom(store.RoomRecord{URI: uri, Hub: uri.Domain(), Head: start, Start: start, State: []byte{1}}, nil, nil, nil)
	}); err != nil {
		r.Fatal(err)
	}
}

func appends(uri mimi.RoomURI, prev room.Pos, bodies ...string) (list []store.Append) {
	for _, b := range bodies {
		next := prev.Next([]byte(b))
		list = append(list, store.Append{Room: uri, Prev: prev, Entry: store.Entry{
			Seq: next.Seq, Hash: next.Hash, Timestamp: next.Seq, Kind: room.KindApplication, Body: []byte(b), MessageHash: next.Hash,
		}})
		prev = next
	}
	return list
}

func (r *rig) head(uri mimi.RoomURI) (pos room.Pos) {
	r.Helper()
	if err := r.store.View(context.Background(), func(tx store.ReadTx) error {
		rec, err := tx.Room(uri)
		if err == nil {
			pos = rec.Head
		}
		return err
	}); err != nil {
		r.Fatal(err)
	}
	return pos
}

func (r *rig) losses() []Loss {
	r.Helper()
	var losses []Loss
	if err := r.store.View(context.Background(), func(tx store.ReadTx) (err error) {
		losses, err = Compare(tx, r.file.Known())
		return err
	}); err != nil {
		r.Fatal(err)
	}
	return losses
}

// Whichever verb moves a head, the file knows; what is undone it never heard of.
func TestGuard(t *testing.T) {
	r := newRig(t)
	r.create(chat)
	for _, move := range []func(tx store.Tx, list []store.Append) error{
		func(tx store.Tx, list []store.Append) error {
			return errors.Join(tx.Append(list[0]), tx.Append(list[1]))
		},
		func(tx store.Tx, list []store.Append) error { return tx.AppendAll(list) },
	} {
		before := r.head(chat)
		list := appends(chat, before, fmt.Sprint(before.Seq, "x"), fmt.Sprint(before.Seq, "y"))
		undo := errors.New("undo")
		if err := r.update(func(tx store.Tx) error { return errors.Join(move(tx, list), undo) }); !errors.Is(err, undo) {
			t.Fatal(err)
		}
		if got := r.file.Known()[chat]; got != before {
			t.Errorf("after an undone step the file says %s, want %s", got, before)
		}
		if err := r.update(func(tx store.Tx) error { return move(tx, list) }); err != nil {
			t.Fatal(err)
		}
		if got := r.file.Known()[chat]; got != r.head(chat) || got.Seq != before.Seq+2 {
			t.Errorf("the file says %s, the database %s", got, r.head(chat))
		}
	}
	if l := r.losses(); len(l) != 0 {
		t.Errorf("losses: %v", l)
	}
}

// An old copy of the database, one of another history and one without the room
// are each found out.
func TestCompare(t *testing.T) {
	r := newRig(t)
	r.create(chat)
	if err := r.update(func(tx store.Tx) error { return tx.AppendAll(appends(chat, room.StartPos(chat), "1", "2")) }); err != nil {
		t.Fatal(err)
	}
	two := r.head(chat)
	old := filepath.Join(r.dir, "old")
	r.close()
	copyDir(t, filepath.Join(r.dir, "data"), old)
	r.reopen()
	if err := r.update(func(tx store.Tx) error { return tx.AppendAll(appends(chat, two, "3", "4")) }); err != nil {
		t.Fatal(err)
	}
	four := r.head(chat)
	r.create("mimi://a.localhost/r/late")
	r.close()
	copyDir(t, old, filepath.Join(r.dir, "data"))
	r.reopen()
	list := r.losses()
	if len(list) != 2 || list[0].Room != chat || list[0].Have != two || list[0].Want != four || list[0].Missing || list[0].Differs() ||
		!list[1].Missing {
		t.Fatalf("an old copy: %v", list)
	}
	// The same length, but another history.
	if err := r.update(func(tx store.Tx) error { return tx.AppendAll(appends(chat, two, "3", "other", "5")) }); err != nil {
		t.Fatal(err)
	}
	r.file.Begin(chat, four) // what was on disk before these were written
	if list = r.losses(); len(list) != 2 || !list[0].Differs() {
		t.Errorf("another history: %v", list)
	}
}

// Who thaws a room goes on from what the database holds.
func TestThawAccepts(t *testing.T) {
	r := newRig(t)
	r.create(chat)
	r.file.Note(chat, grown(9))
	if err := r.update(func(tx store.Tx) error { return tx.Freeze(chat, Frozen) }); err != nil {
		t.Fatal(err)
	}
	if l := r.losses(); len(l) != 1 {
		t.Errorf("frozen: %v", l)
	}
	if err := r.update(func(tx store.Tx) error { return tx.Freeze(chat, "") }); err != nil {
		t.Fatal(err)
	}
	if l := r.losses(); len(l) != 0 || r.file.Known()[chat] != room.StartPos(chat) {
		t.Errorf("thawed: %v", l)
	}
}

func copyDir(t *testing.T, from, to string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// TestBitFlipInTheLog: SQLite drops what follows a damaged frame of its log
// without a word. The heads know better.
func TestBitFlipInTheLog(t *testing.T) {
	r := newRig(t)
	r.create(chat)
	for i := range 40 {
		if err := r.update(func(tx store.Tx) error {
			return tx.AppendAll(appends(chat, r.fileHead(), fmt.Sprint("entry ", i)))
		}); err != nil {
			t.Fatal(err)
		}
	}
	want := r.head(chat)
	// What a power loss leaves behind: the files as they are, not closed.
	if err := r.file.flush(); err != nil {
		t.Fatal(err)
	}
	crashed := filepath.Join(r.dir, "crashed")
	copyDir(t, filepath.Join(r.dir, "data"), crashed)
	wal := filepath.Join(crashed, "hubbub.db-wal")
	b, err := os.ReadFile(wal)
	if err != nil || len(b) < 8192 {
		t.Fatalf("no write-ahead log to damage: %d octets, %v", len(b), err)
	}
	b[len(b)/2] ^= 0x10
	if err := os.WriteFile(wal, b, 0o600); err != nil {
		t.Fatal(err)
	}
	r.close()
	copyDir(t, crashed, filepath.Join(r.dir, "data"))
	r.reopen()
	if lost := r.head(chat); lost.Seq >= want.Seq {
		t.Fatalf("the damage had no effect (%s): this test tests nothing", lost)
	}
	list := r.losses()
	if len(list) != 1 || list[0].Room != chat || list[0].Want != want || list[0].Differs() {
		t.Errorf("losses: %v", list)
	}
}

func (r *rig) fileHead() room.Pos { return r.file.Known()[chat] }
