package sqlstore

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"sort"

	"hubbub/internal/store"
)

// The index of messages is made of runs, each of entries that follow each other in
// the log of a room. A run is written once, sorted, and merged with its neighbours
// when there are many: hashes come in no order, and a tree of all of them would
// change a page of its own for nearly every entry.
//
// Of a hash a run has the first octets only. Two messages can share those, by
// chance or by somebody's work, so the entry is always asked for the rest.
//
// A run lies in several rows, its parts; the front bits of a hash say which. Its
// filter says of nearly every message that is not there that it is not; the
// writer has the filters of rooms that are written to in memory.

const (
	prefixBytes = 8
	markBytes   = prefixBytes + 4
	// partMarks is how many marks a part has about: it fits a page.
	partMarks = 256
	maxParts  = 1 << 16
	// filterBits is how many bits of filter an entry takes, and filterProbes how
	// many of them are set: one in a hundred strangers passes.
	filterBits   = 10
	filterProbes = 6
	// Where so many runs of one level follow each other they are merged to one of
	// the next. A run has a level by its length; those of the last stay.
	runsPerLevel = 8
	longRun      = 1 << 16
)

// run is a part of the index: of the entries in (after, until].
type run struct {
	id           int64
	after, until int64
	filter       []byte // nil where it was not read
}

func (r *run) entries() int64 { return r.until - r.after }

// level is 0 for a run of fewer than 8,192 entries, 2 for one that stays.
func (r *run) level() int {
	switch n := r.entries(); {
	case n >= longRun:
		return 2
	case n >= longRun/runsPerLevel:
		return 1
	}
	return 0
}

// parts is how many rows the run lies in: a power of two.
func (r *run) parts() int {
	n := uint64(r.entries()+partMarks-1) / partMarks
	return min(1<<bits.Len64(n-1), maxParts)
}

// partID is the key of the row that a prefix is in.
func (r *run) partID(prefix uint64) int64 {
	return r.id*maxParts + int64(prefix>>(64-bits.Len(uint(r.parts()-1))))
}

// mark says that a message whose hash begins with prefix is entry seq.
type mark struct {
	prefix uint64
	seq    int64
}

func prefixOf(messageHash *[32]byte) uint64 { return binary.BigEndian.Uint64(messageHash[:]) }

// encode makes the filter and the parts of the run of marks, which it sorts.
func (r *run) encode(marks []mark) (parts [][]byte) {
	slices.SortFunc(marks, func(a, b mark) int {
		return cmp.Or(cmp.Compare(a.prefix, b.prefix), cmp.Compare(a.seq, b.seq))
	})
	r.filter = make([]byte, (len(marks)*filterBits+7)/8)
	parts = make([][]byte, r.parts())
	for _, m := range marks {
		probe(r.filter, m.prefix, func(octet *byte, bit byte) bool {
			*octet |= bit
			return true
		})
		at := r.partID(m.prefix) - r.partID(0)
		parts[at] = binary.BigEndian.AppendUint64(parts[at], m.prefix)
		parts[at] = binary.BigEndian.AppendUint32(parts[at], uint32(m.seq-r.after))
	}
	return parts
}

// probe calls fn with the bits of a prefix until fn returns false.
func probe(filter []byte, prefix uint64, fn func(octet *byte, bit byte) bool) bool {
	size := uint64(len(filter)) * 8
	at, step := prefix, bits.RotateLeft64(prefix, 32)|1
	for range filterProbes {
		place, _ := bits.Mul64(at*0x9E3779B97F4A7C15, size)
		if !fn(&filter[place/8], 1<<(place%8)) {
			return false
		}
		at += step
	}
	return true
}

// has says whether the run may have a message.
func (r *run) has(prefix uint64) bool {
	return len(r.filter) == 0 || probe(r.filter, prefix, func(octet *byte, bit byte) bool { return *octet&bit != 0 })
}

// decode gives the marks of a part.
func (r *run) decode(marks []mark, part []byte) ([]mark, error) {
	if len(part)%markBytes != 0 {
		return nil, fmt.Errorf("index of messages: run %d has a part of %d octets", r.id, len(part))
	}
	for ; len(part) > 0; part = part[markBytes:] {
		marks = append(marks, markAt(part, r.after))
	}
	return marks, nil
}

func markAt(part []byte, after int64) mark {
	return mark{binary.BigEndian.Uint64(part), after + int64(binary.BigEndian.Uint32(part[prefixBytes:]))}
}

// find gives the entries of a run whose message begins with prefix.
func (r *run) find(s *session, prefix uint64) (seqs []int64, err error) {
	err = s.each(func(row row) (bool, error) {
		var part []byte
		if err := row.Scan(&part); err != nil {
			return false, err
		}
		n := len(part) / markBytes
		for i := sort.Search(n, func(i int) bool { return markAt(part[i*markBytes:], 0).prefix >= prefix }); i < n; i++ {
			m := markAt(part[i*markBytes:], r.after)
			if m.prefix != prefix {
				break
			}
			seqs = append(seqs, m.seq)
		}
		return true, nil
	}, "SELECT body FROM message_parts WHERE id = $1", r.partID(prefix))
	return seqs, err
}

// runsOf lists the runs of a room, oldest first.
func runsOf(s *session, room int64) ([]run, error) {
	return list(s, scanRun, "SELECT id, after_seq, until_seq, NULL FROM message_runs WHERE room = $1 ORDER BY after_seq", room)
}

// filteredRunsOf is runsOf with their filters.
func filteredRunsOf(s *session, room int64) ([]run, error) {
	return list(s, scanRun, "SELECT id, after_seq, until_seq, filter FROM message_runs WHERE room = $1 ORDER BY after_seq", room)
}

func scanRun(row row) (r run, err error) {
	err = row.Scan(&r.id, &r.after, &r.until, &r.filter)
	return r, err
}

// addRun writes a fresh run of marks behind those of a room. With others of its
// level it becomes one. It gives the runs that the room has then.
func addRun(s *session, room int64, runs []run, fresh run, marks []mark) ([]run, error) {
	kept := slices.Clone(runs)
	for mergeable(kept, fresh.level()) {
		first := len(kept) - runsPerLevel + 1
		for _, r := range kept[first:] {
			var err error
			if marks, err = r.take(s, marks); err != nil {
				return nil, err
			}
		}
		fresh.after, kept = kept[first].after, kept[:first]
	}
	if err := fresh.insert(s, room, marks); err != nil {
		return nil, err
	}
	return append(kept, fresh), nil
}

// mergeable says whether one more run of a level has so many of its like before it
// that they are merged.
func mergeable(runs []run, level int) bool {
	if level == 2 || len(runs) < runsPerLevel-1 {
		return false
	}
	for _, r := range runs[len(runs)-runsPerLevel+1:] {
		if r.level() > level {
			return false
		}
	}
	return true
}

const selectParts = "SELECT body FROM message_parts WHERE id >= $1 AND id < $2 ORDER BY id"

// take deletes the run and adds its marks to others.
func (r *run) take(s *session, marks []mark) ([]mark, error) {
	err := s.each(func(row row) (bool, error) {
		var part []byte
		err := row.Scan(&part)
		if err == nil {
			marks, err = r.decode(marks, part)
		}
		return true, err
	}, selectParts, r.id*maxParts, (r.id+1)*maxParts)
	if err == nil {
		_, err = s.exec("DELETE FROM message_parts WHERE id >= $1 AND id < $2", r.id*maxParts, (r.id+1)*maxParts)
	}
	if err == nil {
		_, err = s.exec("DELETE FROM message_runs WHERE id = $1", r.id)
	}
	return marks, err
}

func (r *run) insert(s *session, room int64, marks []mark) error {
	parts := r.encode(marks)
	err := s.one([]any{&r.id}, "INSERT INTO message_runs (room, after_seq, until_seq, filter) VALUES ($1, $2, $3, $4) RETURNING id",
		room, r.after, r.until, r.filter)
	for i := 0; i < len(parts) && err == nil; i++ {
		_, err = s.exec("INSERT INTO message_parts (id, body) VALUES ($1, $2)", r.id*maxParts+int64(i), bytesOf(parts[i]))
	}
	return err
}

// marksOf reads marks from the log: of the entries in (after, until].
func marksOf(s *session, room, after, until int64) ([]mark, error) {
	return list(s, func(row row) (m mark, err error) {
		var h hash
		err = row.Scan(&m.seq, &h)
		m.prefix = prefixOf((*[32]byte)(&h))
		return m, err
	}, "SELECT seq, message_hash FROM entries WHERE id > $1 AND id <= $2 ORDER BY id", entryID(room, uint64(after)), entryID(room, uint64(until)))
}

// addRun makes a run of entries of a room that its runs lack, in a transaction.
func (w *writer) addRun(id int64, runs []run, fresh run, marks []mark) (now []run, err error) {
	if _, err := w.s.exec(beginWrite); err != nil {
		return nil, err
	}
	now, err = addRun(w.s, id, runs, fresh, marks)
	if err == nil {
		_, err = w.s.exec("UPDATE rooms SET indexed = $1 WHERE id = $2", fresh.until, id)
	}
	if err == nil {
		_, err = w.s.exec(commit)
	}
	if err != nil {
		w.s.exec(rollback)
		return nil, fmt.Errorf("indexing messages: %w", err)
	}
	return now, nil
}

// indexLogs brings the index of rooms of which it lacks much up to their heads:
// too much to be kept in memory. That happens after an upgrade.
func (w *writer) indexLogs() error {
	type behind struct{ room, indexed, head int64 }
	rooms, err := list(w.s, func(row row) (b behind, err error) {
		err = row.Scan(&b.room, &b.indexed, &b.head)
		return b, err
	}, "SELECT id, indexed, head_seq FROM rooms WHERE head_seq - indexed > $1", 2*tailLimit)
	if err != nil {
		return err
	}
	for _, b := range rooms {
		runs, err := filteredRunsOf(w.s, b.room)
		for b.indexed < b.head && err == nil {
			until := min(b.indexed+longRun, b.head)
			var marks []mark
			if marks, err = marksOf(w.s, b.room, b.indexed, until); err == nil {
				runs, err = w.addRun(b.room, runs, run{after: b.indexed, until: until}, marks)
			}
			b.indexed = until
		}
		if errors.Is(err, store.ErrFull) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}
