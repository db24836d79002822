// Package storetest checks an engine against the promises of package store.
package storetest

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"hubbub/internal/store"
	"hubbub/mimi"
)

// Opener opens the database in a directory, empty or left by an earlier one.
type Opener func(dir string) (store.Store, error)

func messageHash(uri mimi.RoomURI, seq uint64) [32]byte {
	return sha256.Sum256(fmt.Appendf(nil, "message %d of %s", seq, uri))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
