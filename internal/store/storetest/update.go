package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"hubbub/internal/store"
	"hubbub/mimi"
)

var updateChecks = []check{
	{"UpdateIsVisibleAtOnce", testVisible},
	{"UpdateSeesItsOwnWrites", testOwnWrites},
	{"UpdateErrorUndoesOnlyItsOwn", testAtomic},
	{"UpdateErrorIsReturned", testErrorReturned},
	{"UpdatePanicIsUndoneAndRaised", testPanic},
	{"UpdateKeepsCallOrder", testCallOrder},
	{"UpdateTakenBack", testTakenBack},
	{"RefusalInsideUpdateLeavesNothing", testSwallowed},
	{"ViewIsASnapshot", testSnapshot},
	{"ViewCannotWrite", testReadOnly},
	{"DumpShowsAllButAudit", testDump},
}

var errTest = errors.New("refused by the test")

func testVisible(f *suite) {
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for i := range 20 {
				key, want := fmt.Sprint("key", g), fmt.Sprint("value", i)
				err := f.s.Update(context.Background(), func(tx store.Tx) error { return tx.PutMeta(key, []byte(want)) })
				if err == nil {
					err = wantMeta(f.s, key, want)
				}
				if err != nil {
					f.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func wantMeta(s store.Store, key, want string) error {
	return s.View(context.Background(), func(tx store.ReadTx) error {
		got, err := tx.Meta(key)
		if err == nil && string(got) != want {
			err = fmt.Errorf("%s = %q, want %q", key, got, want)
		}
		return err
	})
}

func testOwnWrites(f *suite) {
	f.update(func(tx store.Tx) error {
		if err := tx.CreateRoom(record(lobby), nil, nil, nil); err != nil {
			return err
		}
		a := newLog(lobby).next(10)
		if err := tx.Append(a); err != nil {
			return err
		}
		r, err := tx.Room(lobby)
		if err == nil && r.Head.Seq != 1 {
			err = fmt.Errorf("head in the transaction = %s", r.Head)
		}
		return err
	})
}

// testAtomic lets calls that fail and calls that succeed share commits.
func testAtomic(f *suite) {
	var wg sync.WaitGroup
	for g := range 64 {
		wg.Go(func() {
			key := fmt.Sprint("key", g)
			err := f.s.Update(context.Background(), func(tx store.Tx) error {
				if err := tx.PutMeta(key, []byte("kept")); err != nil || g%2 == 0 {
					return err
				}
				if err := tx.CreateRoom(record(mimi.RoomURI("mimi://a.localhost/r/"+key)), nil, nil, nil); err != nil {
					return err
				}
				return errTest
			})
			if (g%2 == 1) != errors.Is(err, errTest) {
				f.Errorf("call %d: %v", g, err)
			}
		})
	}
	wg.Wait()
	for g := range 64 {
		key := fmt.Sprint("key", g)
		if g%2 == 0 {
			must(f, wantMeta(f.s, key, "kept"))
			continue
		}
		missing(f, func(tx store.ReadTx) ([]byte, error) { return tx.Meta(key) })
		missing(f, func(tx store.ReadTx) (*store.RoomRecord, error) {
			return tx.Room(mimi.RoomURI("mimi://a.localhost/r/" + key))
		})
	}
	// What the store remembers of rooms must have been undone as well.
	f.newLog(lobby)
	undone := mimi.RoomURI("mimi://a.localhost/r/key1")
	f.refused(store.ErrNotFound, func(tx store.Tx) error { return tx.Append(newLog(undone).next(10)) })
}

func testErrorReturned(f *suite) {
	f.refused(errTest, func(tx store.Tx) error { return errTest })
	f.refused(errTest, func(tx store.Tx) error {
		return errors.Join(tx.PutMeta("key", nil), errTest)
	})
}

func testPanic(f *suite) {
	before := f.dump()
	got := func() (v any) {
		defer func() { v = recover() }()
		f.s.Update(context.Background(), func(tx store.Tx) error {
			if err := tx.PutMeta("key", []byte("value")); err != nil {
				return err
			}
			panic(errTest)
		})
		return nil
	}()
	if got != any(errTest) {
		f.Errorf("panic value = %v, want %v", got, errTest)
	}
	f.equal("database after the panic", before, f.dump())
	f.update(func(tx store.Tx) error { return tx.PutMeta("key", []byte("again")) })
	must(f, wantMeta(f.s, "key", "again"))
}

// testCallOrder has several goroutines count up keys of their own, each call
// relying on the one before.
func testCallOrder(f *suite) {
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			key := fmt.Sprint("count", g)
			for i := range 30 {
				err := f.s.Update(context.Background(), func(tx store.Tx) error {
					was, err := tx.Meta(key)
					if i == 0 && errors.Is(err, store.ErrNotFound) {
						err = nil
					}
					if err == nil && len(was) != i {
						err = fmt.Errorf("call %d found the count at %d", i, len(was))
					}
					return errors.Join(err, tx.PutMeta(key, make([]byte, i+1)))
				})
				if err != nil {
					f.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func testTakenBack(f *suite) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := f.s.Update(ctx, func(tx store.Tx) error { return tx.PutMeta("late", nil) })
	if !errors.Is(err, context.Canceled) {
		f.Errorf("error = %v, want context.Canceled", err)
	}
	missing(f, func(tx store.ReadTx) ([]byte, error) { return tx.Meta("late") })
	if err := f.s.View(ctx, func(store.ReadTx) error { return nil }); err != nil && !errors.Is(err, context.Canceled) {
		f.Errorf("view: %v", err)
	}
	// While the writer is busy a call that waits can be taken back.
	ctx, cancel = context.WithCancel(context.Background())
	defer cancel()
	busy, release := make(chan struct{}), make(chan struct{})
	first := make(chan error, 1)
	go func() {
		first <- f.s.Update(context.Background(), func(tx store.Tx) error {
			close(busy)
			<-release
			return nil
		})
	}()
	<-busy
	second := make(chan error, 1)
	go func() {
		second <- f.s.Update(ctx, func(tx store.Tx) error { return tx.PutMeta("late", nil) })
	}()
	cancel()
	if err := <-second; !errors.Is(err, context.Canceled) {
		f.Errorf("waiting call: %v, want context.Canceled", err)
	}
	close(release)
	must(f, <-first)
	f.update(func(tx store.Tx) error { return nil }) // whatever was queued has run now
	missing(f, func(tx store.ReadTx) ([]byte, error) { return tx.Meta("late") })
}

// testSwallowed goes on after a refusal, as a role does that treats a repeat
// as a success: only what succeeded may be there.
func testSwallowed(f *suite) {
	l := f.newLog(lobby)
	stale := l.next(10)
	f.append(l, nil)
	f.update(func(tx store.Tx) error { return tx.CreateUser(alice, noon) })
	f.harmless(func(tx store.Tx) error {
		repeat := l.next(10)
		repeat.Entry.MessageHash = messageHash(lobby, 1)
		repeat.State, repeat.Epoch = []byte("wrong"), 9
		for _, err := range []error{tx.Append(stale), tx.Append(repeat), tx.CreateUser(alice, noon),
			tx.CreateRoom(record(lobby), nil, nil, nil)} {
			if !errors.Is(err, store.ErrExists) {
				return fmt.Errorf("error = %v, want ErrExists", err)
			}
		}
		return nil
	})
}

func testSnapshot(f *suite) {
	f.update(func(tx store.Tx) error { return tx.PutMeta("key", []byte("old")) })
	f.view(func(tx store.ReadTx) error {
		if _, err := tx.Meta("key"); err != nil {
			return err
		}
		if err := f.s.Update(context.Background(), func(tx store.Tx) error { return tx.PutMeta("key", []byte("new")) }); err != nil {
			return err
		}
		got, err := tx.Meta("key")
		if err == nil && string(got) != "old" {
			err = fmt.Errorf("snapshot moved: %q", got)
		}
		return err
	})
	must(f, wantMeta(f.s, "key", "new"))
	if err := f.s.View(context.Background(), func(store.ReadTx) error { return errTest }); !errors.Is(err, errTest) {
		f.Errorf("view returned %v", err)
	}
}

func testReadOnly(f *suite) {
	f.view(func(tx store.ReadTx) error {
		if _, ok := tx.(store.Tx); ok {
			return errors.New("a view can be turned into a write transaction")
		}
		return nil
	})
}

func testDump(f *suite) {
	before := f.dump()
	f.update(func(tx store.Tx) error { return tx.Audit(noon, "tester", "looked", "nothing to see") })
	f.equal("dump after an audit line", before, f.dump())
	f.update(func(tx store.Tx) error { return tx.PutMeta("b", []byte{1}) })
	once := f.dump()
	if once == before {
		f.Error("dump does not show a new row")
	}
	f.update(func(tx store.Tx) error { return tx.PutMeta("a", []byte{2}) })
	f.update(func(tx store.Tx) error { return tx.PutMeta("a", []byte{3}) })
	if f.dump() == once {
		f.Error("dump does not show another row")
	}
}
