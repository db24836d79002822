package story

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestCompare(t *testing.T) {
	v := func(values ...string) []Value {
		var out []Value
		for _, s := range values {
			out = append(out, Value{"x", s})
		}
		return out
	}
	for _, c := range []struct {
		values []Value
		want   bool
	}{
		{v("a", "a"), true}, {v("a", "a", "a"), true}, {v("a", "b"), false}, {v("a", "a", "b"), false},
		{v("a"), false}, // nothing was compared
		{nil, false},
	} {
		if got := compare("", c.values...).Equal; got != c.want {
			t.Errorf("compare(%v) = %t", c.values, got)
		}
	}
}

func TestReportHoldsOnlyIfEverythingDid(t *testing.T) {
	good := compare("x", Value{"a", "1"}, Value{"b", "1"})
	bad := compare("x", Value{"a", "1"}, Value{"b", "2"})
	for name, c := range map[string]struct {
		r    Report
		want bool
	}{
		"all held":        {Report{Steps: []Result{{Comparisons: []Comparison{good}}}}, true},
		"one did not":     {Report{Steps: []Result{{Comparisons: []Comparison{good, bad}}}}, false},
		"a step failed":   {Report{Steps: []Result{{Comparisons: []Comparison{good}, Error: "x"}}}, false},
		"a step not run":  {Report{Steps: []Result{{Comparisons: []Comparison{good}}}, NotRun: []string{"x"}}, false},
		"nothing played":  {Report{}, false},
		"nothing checked": {Report{Steps: []Result{{}}}, false},
	} {
		c.r.sum()
		if c.r.OK != c.want {
			t.Errorf("%s: ok = %t", name, c.r.OK)
		}
	}
}

func TestTranscriptTicksOnlyWhatHeld(t *testing.T) {
	var b strings.Builder
	tr := NewTranscript(&b)
	tr.Step(Result{Number: 1, Name: "a step", Duration: time.Second, Comparisons: []Comparison{
		compare("held", Value{"a", "1"}, Value{"b", "1"}),
		compare("broke", Value{"a", "one"}, Value{"b", "two"}),
	}})
	for _, line := range strings.Split(b.String(), "\n") {
		if strings.Contains(line, "✓") && !strings.Contains(line, "held") {
			t.Errorf("a tick that was not earned: %s", line)
		}
	}
	for _, want := range []string{"✓ held", "✗ broke", "one", "two", "1.00 s"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	b.Reset()
	r := &Report{Steps: []Result{{Comparisons: []Comparison{compare("x", Value{"a", "1"}, Value{"b", "2"})}}}}
	r.sum()
	tr.End(r)
	if strings.Contains(b.String(), "✓") || !strings.Contains(b.String(), "0 of 1 comparisons held") {
		t.Errorf("the sum of a failed story: %s", b.String())
	}
}

func TestSearchFindsEveryForm(t *testing.T) {
	dir := t.TempDir()
	const text = "canary-0123456789abcdef"
	n, err := plant(dir, text)
	if err != nil {
		t.Fatal(err)
	}
	// Encodings as others would write them, not as forms() makes them.
	for i, content := range []string{
		"aGVsbG8gY2FuYXJ5LTAxMjM0NTY3ODlhYmNkZWYgYnll",                 // "hello canary-… bye"
		"68656c6c6f2063616e6172792d3031323334353637383961626364656620", // hex of "hello canary-… "
		"{\"body\":\"canary-0123456789abcdef\"}",
	} {
		if err := os.WriteFile(filepath.Join(dir, "other-"+string(rune('a'+i))), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "clean"), []byte("canary-0123456789abcdeX"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := search(dir, []string{text, "something that is nowhere"})
	if err != nil {
		t.Fatal(err)
	}
	hit := map[string]bool{}
	for _, h := range r.hits {
		hit[filepath.Base(h.file)] = true
		if h.text != text {
			t.Errorf("found %q in %s", h.text, h.file)
		}
	}
	if len(hit) != n+3 || hit["clean"] {
		t.Errorf("found in %d files, want %d: %v", len(hit), n+3, hit)
	}
	if r.files != n+4 || r.texts() != 1 {
		t.Errorf("%d files searched, %d texts found", r.files, r.texts())
	}
}
