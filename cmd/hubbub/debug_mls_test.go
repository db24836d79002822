package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// vectorDir writes two vector files, one of which has a failing case, and a
// file that is none.
func vectorDir(t *testing.T) (dir, good string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "below"), 0o700); err != nil {
		t.Fatal(err)
	}
	good = filepath.Join(dir, "good.json")
	for name, text := range map[string]string{
		good:                                    `[{"vlbytes_header":"00","length":0},{"vlbytes_header":"4040","length":64}]`,
		filepath.Join(dir, "below", "bad.json"): `[{"vlbytes_header":"00","length":0},{"vlbytes_header":"00","length":1}]`,
		filepath.Join(dir, "below", "odd.json"): `{"cipher_suite":60000,"psks":[],"psk_secret":"00"}`,
		filepath.Join(dir, "notes.txt"):         "not a vector file",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir, good
}

func TestMLSVectors(t *testing.T) {
	dir, good := vectorDir(t)
	code, out, errs := call(t, "", "debug", "mls-vectors", good)
	if code != exitOK || !strings.HasSuffix(out, "\n2 passed, 0 failed\n") || errs != "" {
		t.Errorf("exit %d, %q, %q", code, out, errs)
	}
	code, out, _ = call(t, "", "debug", "mls-vectors", dir)
	if code != exitFailed || !strings.HasSuffix(out, "\n3 passed, 1 failed\n") {
		t.Errorf("exit %d, %q", code, out)
	}
	for _, want := range []string{"deserialization: 1 passed, 1 failed, 0 skipped\n  case 1: ", "psk_secret: 0 passed, 0 failed, 1 skipped (cipher suite"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in %q", want, out)
		}
	}
	code, out, _ = call(t, "", "debug", "mls-vectors", "--json", dir)
	var total vectorTotal
	if err := json.Unmarshal([]byte(out), &total); err != nil || code != exitFailed {
		t.Fatalf("exit %d, %v", code, err)
	}
	if total.Passed != 3 || total.Failed != 1 || total.Skipped != 1 || len(total.Files) != 3 {
		t.Errorf("%+v", total)
	}
	code, out, _ = call(t, "", "debug", "mls-vectors", filepath.Join(dir, "notes.txt"))
	if code != exitFailed || !strings.HasSuffix(out, "\n0 passed, 1 failed\n") {
		t.Errorf("exit %d, %q", code, out)
	}
	if code, _, errs := call(t, "", "debug", "mls-vectors", t.TempDir()); code != exitUsage || !strings.Contains(errs, "no vector files") {
		t.Errorf("exit %d, %q", code, errs)
	}
}

func TestMLSPeer(t *testing.T) {
	code, out, errs := call(t, `{"id":1,"cmd":"info"}`+"\nrubbish\n"+`{"id":"b","cmd":"quit"}`+"\n"+`{"id":4,"cmd":"info"}`+"\n",
		"debug", "mls-peer")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if code != exitOK || errs != "" || len(lines) != 3 {
		t.Fatalf("exit %d, %q, %q", code, out, errs)
	}
	for i, ok := range []bool{true, false, true} {
		var a struct {
			ID json.RawMessage
			OK bool
		}
		if err := json.Unmarshal([]byte(lines[i]), &a); err != nil || a.OK != ok {
			t.Errorf("%s: %v", lines[i], err)
		}
	}
}
