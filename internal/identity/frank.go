package identity

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"time"

	"hubbub/mimi"
)

const (
	pemFrankKey = "HUBBUB FRANKING KEY"
	headerID    = "Id"
	headerSince = "Since" // Unix ms, so that it reads back as it was
)

// LoadFrankKeys reads the hub's franking keys, the oldest first. If there is no file the
// keys of first are written to it, durable before they are returned.
func LoadFrankKeys(file string, first func() mimi.FrankKeys) (mimi.FrankKeys, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		keys := first()
		return keys, WriteFrankKeys(file, keys)
	}
	if err != nil {
		return nil, fmt.Errorf("reading franking keys: %w", err)
	}
	var keys mimi.FrankKeys
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		k, err := parseFrankKey(block)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		keys = append(keys, k)
	}
	inOrder := slices.IsSortedFunc(keys, func(a, b mimi.FrankKey) int { return a.Since.Compare(b.Since) })
	if len(keys) == 0 || !inOrder {
		return nil, fmt.Errorf("%w: %s does not hold franking keys, the oldest first", ErrBadKey, file)
	}
	return keys, nil
}

func parseFrankKey(block *pem.Block) (k mimi.FrankKey, err error) {
	id, err := strconv.ParseUint(block.Headers[headerID], 10, 32)
	since, err2 := strconv.ParseInt(block.Headers[headerSince], 10, 64)
	if block.Type != pemFrankKey || err != nil || err2 != nil || len(block.Bytes) != len(k.Secret) {
		return k, fmt.Errorf("%w: not a franking key", ErrBadKey)
	}
	k = mimi.FrankKey{ID: uint32(id), Since: time.UnixMilli(since)}
	copy(k.Secret[:], block.Bytes)
	return k, nil
}

// WriteFrankKeys replaces the file, which has mode 0600, complete or not at all.
func WriteFrankKeys(file string, keys mimi.FrankKeys) error {
	var out []byte
	for _, k := range keys {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: pemFrankKey, Bytes: k.Secret[:], Headers: map[string]string{
			headerID: strconv.FormatUint(uint64(k.ID), 10), headerSince: strconv.FormatInt(k.Since.UnixMilli(), 10)}})...)
	}
	return writeFile(file, out)
}
