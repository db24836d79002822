package storetest

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"sync"

	"hubbub/internal/store"
)

var lifeChecks = []check{
	{"ReopenKeepsEverything", testReopen},
	{"SecondOpenIsRefused", testSecondOpen},
	{"Closed", testClosed},
	{"CloseWaits", testCloseWaits},
	{"KillKeepsWhatWasAcknowledged", testKill},
}

func testReopen(f *suite) {
	f.user(alice)
	l := f.newLog(lobby)
	f.append(l, func(a *store.Append) {
		a.Joined = []store.Membership{{Client: phone, User: alice, After: 1}}
	})
	f.enqueue(submission(phone, "t1"))
	f.publish(keyPackage(phone, "a"))
	before := f.dump()
	f.reopen()
	f.equal("database", before, f.dump())
	f.append(l, nil)
}

func testSecondOpen(f *suite) {
	second, err := f.open(f.dir)
	if err == nil {
		second.Close()
		f.Fatal("the same directory was opened twice")
	}
	if !errors.Is(err, store.ErrLocked) {
		f.Errorf("error = %v, want ErrLocked", err)
	}
	if pid := strconv.Itoa(os.Getpid()); !strings.Contains(err.Error(), pid) {
		f.Errorf("%q does not name process %s", err, pid)
	}
	f.update(func(tx store.Tx) error { return tx.PutMeta("key", nil) }) // the first goes on
	f.reopen()
}

func testClosed(f *suite) {
	must(f, f.s.Close())
	if err := f.s.Update(context.Background(), func(store.Tx) error { return nil }); !errors.Is(err, store.ErrClosed) {
		f.Errorf("update: %v", err)
	}
	if err := f.s.View(context.Background(), func(store.ReadTx) error { return nil }); !errors.Is(err, store.ErrClosed) {
		f.Errorf("view: %v", err)
	}
	if err := f.s.Close(); err != nil {
		f.Errorf("second close: %v", err)
	}
}

// testCloseWaits closes under load: every call either took effect or says
// that the store is closed.
func testCloseWaits(f *suite) {
	var wg sync.WaitGroup
	started := make(chan struct{}, 8)
	stored := make([]int, 8)
	for g := range stored {
		wg.Go(func() {
			for {
				err := f.s.Update(context.Background(), func(tx store.Tx) error {
					return tx.PutMeta(strconv.Itoa(g), []byte(strconv.Itoa(stored[g]+1)))
				})
				if errors.Is(err, store.ErrClosed) {
					return
				}
				if err != nil {
					f.Error(err)
					return
				}
				if stored[g]++; stored[g] == 3 {
					started <- struct{}{}
				}
			}
		})
	}
	for range stored {
		<-started
	}
	must(f, f.s.Close())
	wg.Wait()
	f.start()
	for g, n := range stored {
		must(f, wantMeta(f.s, strconv.Itoa(g), strconv.Itoa(n)))
	}
}
