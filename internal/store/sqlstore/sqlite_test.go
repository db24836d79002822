package sqlstore

import (
	"fmt"
	"testing"
)

// What durability and containment rest on cannot be seen from outside short of
// a power cut, so each connection is asked.
func TestPragmas(t *testing.T) {
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	reader := <-s.idle
	defer func() { s.idle <- reader }()
	for _, c := range []struct {
		session *session
		pragma  string
		want    string
	}{
		{s.writer.s, "journal_mode", "wal"},
		{s.writer.s, "synchronous", "2"}, // FULL
		{s.writer.s, "foreign_keys", "1"},
		{s.writer.s, "trusted_schema", "0"},
		{s.writer.s, "wal_autocheckpoint", "0"},
		{s.writer.s, "busy_timeout", fmt.Sprint(busyTimeoutMS)},
		{reader, "query_only", "1"},
		{reader, "synchronous", "2"},
		{reader, "trusted_schema", "0"},
	} {
		var got any
		if err := c.session.one([]any{&got}, "PRAGMA "+c.pragma); err != nil || fmt.Sprint(got) != c.want {
			t.Errorf("%s = %v, want %q (%v)", c.pragma, got, c.want, err)
		}
	}
}

// A log beyond its limit is cut back, but never by waiting for a reader.
func TestShrinkLog(t *testing.T) {
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	reader := <-s.idle
	defer func() { s.idle <- reader }()
	if _, err := reader.exec(beginRead); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := reader.one([]any{&n}, "SELECT count(*) FROM rooms"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.writer.s.exec("INSERT INTO meta (name, value) VALUES ('key', x'00')"); err != nil {
		t.Fatal(err)
	}
	if err := shrinkLog(s.writer.s); err != nil {
		t.Errorf("a reader in the way: %v", err)
	}
	if wal, err := walCheckpoint(s.writer.s, framesPending); err != nil || wal.frames == 0 {
		t.Errorf("log cut under a reader: %+v, %v", wal, err)
	}
	if _, err := reader.exec(rollback); err != nil {
		t.Fatal(err)
	}
	if err := shrinkLog(s.writer.s); err != nil {
		t.Fatal(err)
	}
	if wal, err := walCheckpoint(s.writer.s, framesPending); err != nil || wal.frames != 0 {
		t.Errorf("log not cut: %+v, %v", wal, err)
	}
}

func TestRebind(t *testing.T) {
	for query, want := range map[string]string{
		"SELECT 1":                   "SELECT 1",
		"WHERE a = $1 AND b = $2":    "WHERE a = ? AND b = ?",
		"WHERE a = $1 AND b > $1":    "WHERE a = ?1 AND b > ?1",
		"SELECT $2, $1":              "SELECT ?2, ?1",
		"VALUES ($1,$2),($3,$4) end": "VALUES (?,?),(?,?) end",
	} {
		if got := rebind(query); got != want {
			t.Errorf("%s became %s, want %s", query, got, want)
		}
	}
}
