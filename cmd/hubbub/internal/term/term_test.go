package term

import (
	"bytes"
	"os"
	"testing"
	"time"
)

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain äöü 🙂":        "plain äöü 🙂",
		"a\x1b[2Jb":          "a\ufffd[2Jb",
		"two\nlines\tof":     "two lines of",
		"back\rover\x08":     "back\ufffdover\ufffd",
		"abc\u202edef\u2066": "abc\ufffddef\ufffd",
		"bad \xff byte":      "bad \ufffd byte",
		"c1 \u009b31m":       "c1 \ufffd31m",
	} {
		if got := Printable(in); got != want {
			t.Errorf("Printable(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestNoColourOffTerminal(t *testing.T) {
	var b bytes.Buffer
	if got := StyleFor(&b).Bad("x"); got != "x" {
		t.Errorf("coloured for a buffer: %q", got)
	}
	f, err := os.Create(t.TempDir() + "/f")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if IsTerminal(f) {
		t.Error("a file is taken for a terminal")
	}
	if got := (Style{on: true}).Bad("x"); got == "x" {
		t.Error("a style that is on does nothing")
	}
}

func TestTable(t *testing.T) {
	var b bytes.Buffer
	if err := Table(&b, "  ", []string{"A", "LONG"}, [][]string{{"xyz", "1"}, {"q", ""}}); err != nil {
		t.Fatal(err)
	}
	if want := "  A    LONG\n  xyz  1\n  q\n"; b.String() != want {
		t.Errorf("got\n%q want\n%q", b.String(), want)
	}
}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		250 * time.Microsecond:  "250 µs",
		1500 * time.Microsecond: "1.5 ms",
		42 * time.Millisecond:   "42 ms",
		1234 * time.Millisecond: "1.23 s",
		90 * time.Second:        "1m30s",
	} {
		if got := Duration(d); got != want {
			t.Errorf("Duration(%d) = %q, want %q", d, got, want)
		}
	}
}
