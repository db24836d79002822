package provider

import (
	"bytes"
	"compress/gzip"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"connectrpc.com/connect"

	"hubbub/client"
	"hubbub/client/clientpb"
	"hubbub/internal/fsck"
	"hubbub/mimi"
)

var makeGolden = flag.Bool("golden", false, "add databases of the present schemas to testdata/golden")

// golden is what is written about databases that an earlier version made.
type golden struct {
	Room    mimi.RoomURI `json:"room"`
	Entries int          `json:"entries"`
	Texts   []string     `json:"texts"` // what bob's device shows
}

// goldenFiles are, in this order, the databases of hub, follower and device.
var goldenFiles = []string{"hub.db.gz", "follower.db.gz", "device.db.gz"}

// P24: databases of each schema there was open in this version, nothing is missing in
// them, and a second start changes nothing. The steps of a schema in testdata are not
// edited any more: add one, and run this test with -golden.
func TestGoldenDatabases(t *testing.T) {
	if *makeGolden {
		addGolden(t)
	}
	list, err := filepath.Glob("testdata/golden/*")
	if err != nil || len(list) == 0 {
		t.Fatalf("there are none: %v", err)
	}
	for _, dir := range list {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join(dir, "expected.json"))
			var want golden
			if err := errors.Join(err, json.Unmarshal(b, &want)); err != nil {
				t.Fatal(err)
			}
			for i, d := range []mimi.Domain{"a.localhost", "b.localhost"} {
				openGolden(t, filepath.Join(dir, goldenFiles[i]), Config{Identity: string(d), IdentityCA: IdentityCAConfig{RootsFile: filepath.Join(dir, "ca.pem")}}, want)
			}
			device := t.TempDir()
			unzip(t, filepath.Join(dir, goldenFiles[2]), filepath.Join(device, "device.db"))
			for range 2 {
				c, err := client.Open(t.Context(), device, nil)
				if err != nil {
					t.Fatal(err)
				}
				shown, err := c.Messages(t.Context(), want.Room, 0, 1000)
				if got := textsOf(shown); err != nil || !slices.Equal(got, want.Texts) {
					t.Errorf("the device shows %q, %v, want %q", got, err, want.Texts)
				}
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// openGolden has fsck open a database, twice: the first time upgrades it.
func openGolden(t *testing.T, file string, cfg Config, want golden) {
	t.Helper()
	cfg.DataDir = t.TempDir()
	unzip(t, file, filepath.Join(cfg.DataDir, databaseFile))
	var before *fsck.Report
	for range 2 {
		r, err := Fsck(t.Context(), cfg.withDefaults())
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		// The follower begins with the entry that brought it in.
		if len(r.Findings) > 0 || len(r.Skipped) > 0 || r.Rooms != 1 || r.Entries < want.Entries-1 || r.Entries > want.Entries {
			t.Errorf("%s: %+v", file, r)
		}
		if before != nil && before.Entries != r.Entries {
			t.Errorf("%s: %d entries, then %d", file, before.Entries, r.Entries)
		}
		before = r
	}
}

// addGolden writes databases of the present schemas.
func addGolden(t *testing.T) {
	w, room, alice, bob := twoProviders(t)
	posted(t, bob, room, send(t, bob, room, "second"))
	posted(t, alice, room, send(t, alice, room, "third"))
	at := equalReplicas(t, room, alice, bob)
	shown, err := bob.Messages(t.Context(), room, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	files := [][]byte{}
	for _, d := range []mimi.Domain{"a.localhost", "b.localhost"} {
		dir := filepath.Join(t.TempDir(), "backup")
		if _, err := w.admin(d).Backup(t.Context(), connect.NewRequest(&clientpb.BackupRequest{Directory: dir})); err != nil {
			t.Fatal(err)
		}
		files = append(files, readFile(t, filepath.Join(dir, databaseFile)))
	}
	w.closed(bob)
	compact := filepath.Join(t.TempDir(), "device.db")
	var schema, device int
	query(t, filepath.Join(w.devices[1], "device.db"), "VACUUM INTO '"+compact+"'", nil)
	query(t, compact, "PRAGMA user_version", &device)
	query(t, filepath.Join(w.cfgs["a.localhost"].DataDir, databaseFile), "SELECT max(version_id) FROM goose_db_version", &schema)
	files = append(files, readFile(t, compact))

	dir := fmt.Sprintf("testdata/golden/provider%d-device%d", schema, device)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	expected, err := json.MarshalIndent(golden{room, int(at.Seq), textsOf(shown)}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	for i, b := range files {
		var out bytes.Buffer
		z, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
		if err == nil {
			_, err = z.Write(b)
		}
		if err := errors.Join(err, z.Close(), os.WriteFile(filepath.Join(dir, goldenFiles[i]), out.Bytes(), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "expected.json"), append(expected, '\n'), 0o644),
		os.WriteFile(filepath.Join(dir, "ca.pem"), readFile(t, w.caFile), 0o644)); err != nil {
		t.Fatal(err)
	}
}

func query(t *testing.T, file, text string, into any) {
	t.Helper()
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if into == nil {
		_, err = db.Exec(text)
	} else {
		err = db.QueryRowContext(context.Background(), text).Scan(into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func textsOf(list []client.Message) (out []string) {
	for _, m := range list {
		out = append(out, m.Text)
	}
	return out
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func unzip(t *testing.T, from, to string) {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(readFile(t, from)))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err := errors.Join(err, os.WriteFile(to, b, 0o600)); err != nil {
		t.Fatal(err)
	}
}
