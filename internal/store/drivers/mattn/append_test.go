package main

import (
	"testing"

	"hubbub/internal/store/drivers"
)

func BenchmarkAppend(b *testing.B) { drivers.BenchmarkAppend(b, "sqlite3") }
