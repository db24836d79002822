// Package storetest checks an engine against the promises of package store.
//
// Run is the suite, one subtest per promise. Main lets the test binary play
// the process that Run kills; BenchmarkAppend measures the write path.
package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hubbub/internal/store"
	"hubbub/mimi"
)

// Opener opens the database in a directory, empty or left by an earlier one.
type Opener func(dir string) (store.Store, error)

// Names that the tests use.
const (
	lobby  mimi.RoomURI   = "mimi://a.localhost/r/lobby"
	attic  mimi.RoomURI   = "mimi://a.localhost/r/attic"
	alice  mimi.UserURI   = "mimi://a.localhost/u/alice"
	bob    mimi.UserURI   = "mimi://b.localhost/u/bob"
	cathy  mimi.UserURI   = "mimi://c.localhost/u/cathy"
	phone  mimi.ClientURI = "mimi://a.localhost/d/alice/phone"
	laptop mimi.ClientURI = "mimi://a.localhost/d/alice/laptop"
	peerB  mimi.Domain    = "b.localhost"
	peerC  mimi.Domain    = "c.localhost"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// suite is what a subtest works with: a store of its own, freshly created.
type suite struct {
	*testing.T
	open Opener
	dir  string
	s    store.Store
}

// Run checks every promise of the contract against the engine behind open.
func Run(t *testing.T, open Opener) {
	for _, group := range [][]check{updateChecks, roomChecks, entryChecks, memberChecks, fanoutChecks,
		submissionChecks, manyChecks, repeatChecks, clientChecks, keyPackageChecks, peopleChecks, assetChecks, reportChecks, joinLinkChecks, unjudgedChecks, lifeChecks} {
		for _, c := range group {
			t.Run(c.name, func(t *testing.T) {
				f := &suite{T: t, open: open, dir: t.TempDir()}
				f.start()
				t.Cleanup(func() { f.s.Close() })
				c.run(f)
			})
		}
	}
}

// check is one promise.
type check struct {
	name string
	run  func(*suite)
}

func (f *suite) start() {
	f.Helper()
	s, err := f.open(f.dir)
	must(f, err)
	f.s = s
}

func (f *suite) reopen() {
	f.Helper()
	must(f, f.s.Close())
	f.start()
}

// update runs fn and fails the test if it does. fn must not end the test: it
// runs on the goroutine of the writer.
func (f *suite) update(fn func(tx store.Tx) error) {
	f.Helper()
	must(f, f.s.Update(context.Background(), fn))
}

func (f *suite) view(fn func(tx store.ReadTx) error) {
	f.Helper()
	must(f, f.s.View(context.Background(), fn))
}

// refused runs fn and wants it to fail in that way and to leave nothing.
func (f *suite) refused(want error, fn func(tx store.Tx) error) {
	f.Helper()
	before := f.dump()
	err := f.s.Update(context.Background(), fn)
	if !errors.Is(err, want) {
		f.Errorf("error = %v, want %v", err, want)
	}
	if diff := cmp.Diff(before, f.dump()); diff != "" {
		f.Errorf("refused, but it changed the database:\n%s", diff)
	}
}

// harmless runs fn, which must neither fail nor change anything.
func (f *suite) harmless(fn func(tx store.Tx) error) {
	f.Helper()
	f.refused(nil, fn)
}

func (f *suite) dump() (text string) {
	f.Helper()
	f.view(func(tx store.ReadTx) (err error) {
		text, err = tx.Dump()
		return err
	})
	return text
}

// get reads one thing in a snapshot of its own.
func get[T any](f *suite, read func(store.ReadTx) (T, error)) (v T) {
	f.Helper()
	f.view(func(tx store.ReadTx) (err error) {
		v, err = read(tx)
		return err
	})
	return v
}

// missing wants a read to end in ErrNotFound.
func missing[T any](f *suite, read func(store.ReadTx) (T, error)) {
	f.Helper()
	err := f.s.View(context.Background(), func(tx store.ReadTx) error {
		_, err := read(tx)
		return err
	})
	if !errors.Is(err, store.ErrNotFound) {
		f.Errorf("error = %v, want ErrNotFound", err)
	}
}

func (f *suite) equal(what string, want, got any) {
	f.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		f.Errorf("%s: (-want +got)\n%s", what, diff)
	}
}

// newLog creates a room without projections.
func (f *suite) newLog(uri mimi.RoomURI) *log {
	f.Helper()
	l := newLog(uri)
	must(f, l.create(f.s))
	return l
}

// append adds an entry with the projections that with sets.
func (f *suite) append(l *log, with func(*store.Append)) store.Append {
	f.Helper()
	a := l.next(20)
	if with != nil {
		with(&a)
	}
	f.update(func(tx store.Tx) error { return tx.Append(a) })
	l.took(a)
	return a
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
