package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"hubbub/cmd/hubbub/internal/bench"
)

// TestBenchPost posts a little through three real providers, by the clients that
// keep nothing on disk, and compares the report with itself.
func TestBenchPost(t *testing.T) {
	code, out, errs := call(t, "", "bench", "post", "--dir", shortDir(t), "--posts", "60", "--rooms", "3", "--window", "8", "--json")
	var r bench.PostReport
	if err := json.Unmarshal([]byte(out), &r); code != exitOK || err != nil {
		t.Fatalf("exit %d, %v, %s", code, err, errs)
	}
	if len(r.Parts) != 3 || r.Clients != bench.ClientsLoad {
		t.Fatalf("%+v", r)
	}
	for i, want := range []int{12, 60, 60} {
		p := r.Parts[i]
		if p.Posted != want || p.Delivered != want || p.Rejected != 0 || p.Latency.Count != int64(want) || p.PerSecond <= 0 || len(p.Processes) != 4 {
			t.Errorf("%s: %+v", p.Name, p)
		}
	}
	file := filepath.Join(t.TempDir(), "a.json")
	if err := os.WriteFile(file, []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs = call(t, "", "bench", "compare", file, file, "--json")
	var c bench.Comparison
	if err := json.Unmarshal([]byte(out), &c); code != exitOK || err != nil || len(c.Figures) < 30 {
		t.Fatalf("exit %d, %v, %s%s", code, err, out, errs)
	}
	for _, f := range c.Figures {
		if f.A != f.B || f.A != 0 && f.Ratio != 1 {
			t.Errorf("a report differs from itself: %+v", f)
		}
	}
}

func TestBenchUsage(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	post, fan := write("post", `{"scenario":"post","x":1}`), write("fan", `{"scenario":"fan","x":1}`)
	for _, args := range [][]string{
		{"post", "--clients", "heavy"}, {"post", "--only", "two"}, {"post", "--rate", "-1"}, {"compare", post, fan}, {"compare", post},
	} {
		if code, _, errs := call(t, "", append([]string{"bench"}, args...)...); code != exitUsage {
			t.Errorf("%q: exit %d, %s", args, code, errs)
		}
	}
}
