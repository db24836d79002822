package sqlstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// hash reads a 32-byte hash.
type hash [32]byte

// Scan implements sql.Scanner.
func (h *hash) Scan(src any) error {
	b, ok := src.([]byte)
	if !ok || len(b) != len(h) {
		return fmt.Errorf("hash of %d bytes stored", len(b))
	}
	copy(h[:], b)
	return nil
}

// word reads a number of 64 bits that may use the highest of them, which
// columns hold as the sign.
type word uint64

// Scan implements sql.Scanner.
func (w *word) Scan(src any) error {
	v, ok := src.(int64)
	if !ok {
		return fmt.Errorf("number stored as %T", src)
	}
	*w = word(v)
	return nil
}

// ordinal is a place or a time as a column holds it: beyond the largest
// number nothing follows, so cutting there keeps every comparison right.
func ordinal(u uint64) int64 { return int64(min(u, math.MaxInt64)) }

// bytesOf is b for a column that may not be NULL.
func bytesOf(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// orNull is b for a column in which nil and empty differ.
func orNull(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}

// millis is a time as a column holds it; times out of range become the
// nearest one within.
func millis(t time.Time) int64 {
	switch s := t.Unix(); {
	case s >= math.MaxInt64/1000:
		return math.MaxInt64
	case s <= math.MinInt64/1000:
		return math.MinInt64
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// joinBlobs packs several byte strings into one column.
func joinBlobs(parts [][]byte) []byte {
	out := []byte{}
	for _, p := range parts {
		out = binary.AppendUvarint(out, uint64(len(p)))
		out = append(out, p...)
	}
	return out
}

func splitBlobs(b []byte) ([][]byte, error) {
	var parts [][]byte
	for len(b) > 0 {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return nil, errors.New("damaged list of byte strings")
		}
		b = b[n:]
		parts = append(parts, b[:size:size])
		b = b[size:]
	}
	return parts, nil
}
