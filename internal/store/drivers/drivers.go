// Package drivers compares database/sql drivers for SQLite on the write path
// of a hub: the store itself, opened with each driver in turn. It is a module
// of its own, so that the product depends on one driver only. The outcome is
// in docs/benchmarks.md; to repeat it:
//
//	cd internal/store/drivers && go test -p 1 -bench . -count 3 ./...
package drivers

import (
	"fmt"
	"testing"

	"hubbub/internal/store"
	"hubbub/internal/store/sqlstore"
	"hubbub/internal/store/storetest"
)

// BenchmarkAppend measures appends to 1, 8 and 64 rooms at once through the
// driver registered under that name.
func BenchmarkAppend(b *testing.B, driver string) {
	open := func(dir string) (store.Store, error) {
		s, err := sqlstore.OpenDriver(dir, driver)
		if err != nil {
			return nil, err
		}
		return s, nil
	}
	for _, rooms := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("rooms=%d", rooms), func(b *testing.B) { storetest.BenchmarkAppend(b, open, rooms) })
	}
}
