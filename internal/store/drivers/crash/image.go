package crash

import (
	"math/rand/v2"
	"os"
	"path/filepath"
)

// Fate is what becomes of what was written and not synced when the power goes.
type Fate int

// The fates. All but Rot leave alone what was synced.
const (
	Kept      Fate = iota // all of it arrived: the process was killed, no more
	Lost                  // none of it
	Torn                  // a beginning of it, the last write in part
	Reordered             // some of it, whatever the order was
	Flipped               // all of it, with a wrong bit
	Rot                   // as Kept, with a wrong bit in what was synced
	Fates                 // how many there are
)

// String names the fate in failures.
func (f Fate) String() string {
	return []string{"kept", "lost", "torn", "reordered", "flipped", "rot"}[f]
}

// sector is what a disk writes at once.
const sector = 512

// content is a file on its way to the disk.
type content struct {
	synced  []byte
	pending []Op
}

// Image writes into dir the files that a power cut after some calls may leave.
func Image(dir string, ops []Op, fate Fate, rng *rand.Rand) error {
	files := map[string]*content{}
	for _, op := range ops {
		c := files[op.File]
		if c == nil {
			c = &content{}
			files[op.File] = c
		}
		switch op.Kind {
		case opSync:
			for _, p := range c.pending {
				c.synced = apply(c.synced, p)
			}
			c.pending = nil
		case opDelete:
			delete(files, op.File)
		default:
			c.pending = append(c.pending, op)
		}
	}
	for name, c := range files {
		if err := os.WriteFile(filepath.Join(dir, name), c.after(fate, rng), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// after is the file after the cut.
func (c *content) after(fate Fate, rng *rand.Rand) []byte {
	b, list := append([]byte(nil), c.synced...), c.pending
	switch {
	case fate == Rot && len(b) > 0:
		b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
	case fate == Lost || len(list) == 0:
		return b
	case fate == Torn:
		n := rng.IntN(len(list))
		last := list[n]
		last.Data = last.Data[:rng.IntN(len(last.Data)/sector+1)*sector]
		list = append(append([]Op(nil), list[:n]...), last)
	case fate == Reordered:
		var some []Op
		for _, i := range rng.Perm(len(list))[:rng.IntN(len(list)+1)] {
			some = append(some, list[i])
		}
		list = some
	case fate == Flipped:
		list = append([]Op(nil), list...)
		if op := &list[rng.IntN(len(list))]; len(op.Data) > 0 {
			op.Data = append([]byte(nil), op.Data...)
			op.Data[rng.IntN(len(op.Data))] ^= 1 << rng.IntN(8)
		}
	}
	for _, op := range list {
		b = apply(b, op)
	}
	return b
}

// apply carries out one change.
func apply(b []byte, op Op) []byte {
	if op.Kind == opTruncate {
		if op.At <= int64(len(b)) {
			return b[:op.At]
		}
		return append(b, make([]byte, op.At-int64(len(b)))...)
	}
	if len(op.Data) == 0 {
		return b
	}
	if end := op.At + int64(len(op.Data)); end > int64(len(b)) {
		b = append(b, make([]byte, end-int64(len(b)))...)
	}
	copy(b[op.At:], op.Data)
	return b
}
