package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A file goes from one provider's user to another's by verbs (AST-1).
func TestAttach(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	dir, _ := standingDev(t)
	file, octets := filepath.Join(t.TempDir(), "menu.pdf"), bytes.Repeat([]byte("soup "), 300_000)
	if err := os.WriteFile(file, octets, 0o600); err != nil {
		t.Fatal(err)
	}
	ok := func(into any, args ...string) {
		t.Helper()
		code, out, errs := call(t, "", append(args, "--json", "--dir", dir)...)
		if code != exitOK {
			t.Fatalf("%v: exit %d: %s%s", args, code, out, errs)
		}
		if err := json.Unmarshal([]byte(out), into); err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
	}
	var sent messageJSON
	ok(&sent, "send", "--as", "bob@b.localhost", "--room", "Lunch", "--attach", file, "the menu")
	if len(sent.Attachments) != 1 || sent.Attachments[0].Name != "menu.pdf" {
		t.Fatalf("sent: %+v", sent)
	}
	if code, out, errs := call(t, "", "tail", "--as", "alice@a.localhost", "--room", "Lunch", "--since", "0", "--count", "1000", "--until", "the menu", "--dir", dir); code != exitOK {
		t.Fatalf("tail: exit %d: %s%s", code, out, errs)
	}
	var saved savedJSON
	into := t.TempDir()
	ok(&saved, "message", "save", "Lunch", sent.ID, into, "--as", "alice@a.localhost")
	if len(saved.Files) != 1 || saved.Files[0] != filepath.Join(into, "menu.pdf") {
		t.Fatalf("saved: %+v", saved)
	}
	if got, err := os.ReadFile(saved.Files[0]); err != nil || !bytes.Equal(got, octets) {
		t.Errorf("%d octets, %v", len(got), err)
	}
	if code, _, errs := call(t, "", "send", "--as", "bob@b.localhost", "--room", "Lunch", "--attach", file+".none", "--dir", dir); code == exitOK || !strings.Contains(errs, "no such file") {
		t.Errorf("a file that is not there: exit %d, %s", code, errs)
	}
}
