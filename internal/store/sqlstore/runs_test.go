package sqlstore

import (
	"crypto/sha256"
	"encoding/binary"
	"testing"

	"hubbub/internal/store"
)

func prefixAt(seq int64) uint64 {
	h := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(seq)))
	return prefixOf(&h)
}

// Runs are merged as a room grows, so that a look takes few of them, and lose
// nothing on the way.
func TestRuns(t *testing.T) {
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const room, start, step = 1, 50, 1500
	w := s.writer.s
	if _, err := w.exec(`INSERT INTO rooms VALUES (1, 'mimi://a/r/x', 'a', 0, x'', 0, x'', 0, 0, 0, '', '')`); err != nil {
		t.Fatal(err)
	}
	var runs []run
	at := int64(start)
	for at < start+2*longRun {
		marks := make([]mark, step)
		for i := range marks {
			seq := at + int64(step-i) // in no order
			marks[i] = mark{prefixAt(seq), seq}
		}
		if runs, err = addRun(w, room, runs, run{after: at, until: at + step}, marks); err != nil {
			t.Fatal(err)
		}
		at += step
		if len(runs) > 2*runsPerLevel {
			t.Fatalf("%d runs of %d entries", len(runs), at-start)
		}
	}
	if runs[0].entries() < longRun || runs[0].level() != 2 {
		t.Errorf("the oldest run has %d entries", runs[0].entries())
	}
	stored, err := filteredRunsOf(w, room)
	if err != nil || len(stored) != len(runs) {
		t.Fatalf("%d of %d runs are stored: %v", len(stored), len(runs), err)
	}
	strangers := 0
	after := int64(start)
	for i := range stored {
		r := &stored[i]
		if r.after != after {
			t.Errorf("run %d is of what follows %d, not %d", i, r.after, after)
		}
		after = r.until
		for seq := r.after + 1; seq <= r.until; seq += 1 + r.entries()/300 {
			if !r.has(prefixAt(seq)) {
				t.Fatalf("the filter does not know entry %d", seq)
			}
			seqs, err := r.find(w, prefixAt(seq))
			if err != nil || len(seqs) != 1 || seqs[0] != seq {
				t.Fatalf("entry %d is found at %v: %v", seq, seqs, err)
			}
		}
		for n := range int64(1000) {
			if r.has(prefixAt(-1 - n)) {
				strangers++
			}
		}
	}
	if most := 30 * len(stored); strangers > most {
		t.Errorf("%d strangers in a thousand pass the filters of %d runs", strangers, len(stored))
	}
	if after != at {
		t.Errorf("the runs end with %d of %d", after, at)
	}
}

// A log that has no index yet, as after an upgrade, has one once the store is open.
func TestIndexLogs(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	const entries = longRun + 3000
	for _, query := range []string{
		`INSERT INTO rooms VALUES (1, 'mimi://a/r/x', 'a', 68536, x'', 0, x'', 0, 0, 0, '', '')`,
		`INSERT INTO room_states VALUES (1, x'')`,
		`WITH RECURSIVE n(seq) AS (VALUES (1) UNION ALL SELECT seq + 1 FROM n WHERE seq < 68536)
			INSERT INTO entries (id, timestamp, kind, hash, message_hash, body) SELECT 1 << 40 | seq, seq, 1, zeroblob(32), randomblob(32), x'' FROM n`,
	} {
		if err := s.writer.s.once(query); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(dir); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	wrong, err := s.Integrity(t.Context())
	if err != nil || len(wrong) > 0 {
		t.Errorf("found wrong: %q, %v", wrong, err)
	}
	err = s.Update(t.Context(), func(tx store.Tx) error {
		tail, err := tx.(interface {
			tail(int64) (*tail, error)
		}).tail(1)
		if err == nil && (tail.after != entries || len(tail.seqs) != 0) {
			t.Errorf("%d entries are not in the index, which ends with %d", len(tail.seqs), tail.after)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
