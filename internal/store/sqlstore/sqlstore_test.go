package sqlstore_test

import (
	"fmt"
	"testing"

	"hubbub/internal/store"
	"hubbub/internal/store/sqlstore"
	"hubbub/internal/store/storetest"
)

func open(dir string) (store.Store, error) {
	s, err := sqlstore.Open(dir)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func TestMain(m *testing.M) { storetest.Main(m, open) }

func TestConformance(t *testing.T) { storetest.Run(t, open) }

// BenchmarkAppend is the write path of a hub: docs/benchmarks.md.
func BenchmarkAppend(b *testing.B) {
	for _, rooms := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("rooms=%d", rooms), func(b *testing.B) { storetest.BenchmarkAppend(b, open, rooms) })
	}
}

func BenchmarkAppendAll(b *testing.B) {
	for _, together := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprintf("together=%d", together), func(b *testing.B) {
			storetest.BenchmarkAppendAll(b, open, together)
		})
	}
}

func BenchmarkPosts(b *testing.B) {
	for _, together := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("together=%d", together), func(b *testing.B) { storetest.BenchmarkPosts(b, open, together) })
	}
}

func BenchmarkWakes(b *testing.B) {
	for _, kept := range []int{0, 512, 4096} {
		b.Run(fmt.Sprintf("together=16/kept=%d", kept), func(b *testing.B) { storetest.BenchmarkWakes(b, open, 16, kept) })
	}
}

func BenchmarkRooms(b *testing.B) {
	for _, together := range []int{1, 4} {
		b.Run(fmt.Sprintf("rooms=50/together=%d", together), func(b *testing.B) { storetest.BenchmarkRooms(b, open, 50, together) })
	}
}
