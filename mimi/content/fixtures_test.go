package content

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// headerID takes the message id out of the comment at the head of a fixture.
func headerID(t *testing.T, edn []byte) string {
	t.Helper()
	m := regexp.MustCompile(`# message ID = h'([0-9a-f]+)\s*\n#\s*([0-9a-f]+)'`).FindSubmatch(edn)
	if m == nil {
		t.Fatal("no message id in the header")
	}
	return string(m[1]) + string(m[2])
}

// TestFixtures decodes every published example, encodes it to the same octets and
// reproduces its message id.
func TestFixtures(t *testing.T) {
	dir := sharedDir(t, "mimi-content-examples")
	files, err := filepath.Glob(filepath.Join(dir, "*.cbor"))
	if err != nil || len(files) != 10 {
		t.Fatalf("%d fixtures, want 10 (%v)", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			edn, err := os.ReadFile(strings.TrimSuffix(file, ".cbor") + ".edn")
			if err != nil {
				t.Fatal(err)
			}
			m, err := Decode(b)
			if err != nil {
				t.Fatal(err)
			}
			again, err := m.Encode()
			if err != nil || !bytes.Equal(again, b) {
				t.Fatalf("encoded to %x, %v; want %x", again, err, b)
			}
			sender, room := m.Extensions.Sender(), m.Extensions.Room()
			id, err := MessageID(sender, room, b)
			if err != nil || id.String() != headerID(t, edn) {
				t.Errorf("id %s, %v; want %s", id, err, headerID(t, edn))
			}
			if err := m.Check(Arrival{Sender: sender, Room: room, Now: time.Unix(1644390000, 0)}); err != nil {
				t.Errorf("arrival: %v", err)
			}
			for n := range len(b) {
				if _, err := Decode(b[:n]); err == nil {
					t.Errorf("cut at %d octets: accepted", n)
				}
			}
		})
	}
}

func TestFixtureText(t *testing.T) {
	dir := sharedDir(t, "mimi-content-examples")
	for name, want := range map[string]string{
		"original":    "Hi everyone, we just shipped release 2.0. __Good  work__!",
		"multipart-1": "# Welcome!",
		"multipart-2": "❤\n🥳\n🤞",
		"delete":      "",
		"attachment":  "",
	} {
		b, err := os.ReadFile(filepath.Join(dir, name+".cbor"))
		if err != nil {
			t.Fatal(err)
		}
		m, err := Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := m.Text(); got != want || ok != (want != "") {
			t.Errorf("%s: text %q, %v; want %q", name, got, ok, want)
		}
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
