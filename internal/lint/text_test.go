package lint

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// machinePath finds absolute paths that exist on one machine only.
var machinePath = regexp.MustCompile("(^|[\\s\"'`(=:,])/(" +
	strings.Join([]string{"work", "root", "home", "Users", "tmp"}, "|") + ")/[A-Za-z0-9._]")

// machinePaths returns the lines of text that name a path of somebody's machine.
func machinePaths(text []byte) []int {
	var out []int
	for i, line := range bytes.Split(text, []byte("\n")) {
		if machinePath.Match(line) {
			out = append(out, i+1)
		}
	}
	return out
}

func TestNoMachinePaths(t *testing.T) {
	root := moduleRoot(t)
	walk(t, root, func(rel string) {
		text, err := os.ReadFile(filepath.Join(root, rel))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.IndexByte(text, 0) >= 0 {
			return // not text
		}
		for _, line := range machinePaths(text) {
			t.Errorf("%s:%d: names a path of one machine: use t.TempDir(), a flag, or a path relative to the module root",
				rel, line)
		}
	})
}

func TestNoMachinePathsCanFail(t *testing.T) {
	slash := "/"
	for text, want := range map[string]int{
		"x := \"" + slash + "tmp/a\"":         1,
		"see " + slash + "home/me/notes":      1,
		"GET /rooms/x, internal/tmp/a":        0,
		"a URL http://127.0.0.1/tmpl/x":       0,
		"relative ../shared and $HOME/.local": 0,
	} {
		if got := machinePaths([]byte(text)); len(got) != want {
			t.Errorf("%q: %d findings, want %d", text, len(got), want)
		}
	}
}

// leftover finds notes that promise work instead of doing it. "todo spec:" marks
// an open question of a draft and is allowed.
var leftover = regexp.MustCompile(`//.*\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)

func TestNoLeftovers(t *testing.T) {
	for _, s := range load(t) {
		for _, g := range s.file.Comments {
			for _, c := range g.List {
				if leftover.MatchString(c.Text) {
					t.Error(s.at(c, "a note of work left over: do it, or write it in docs/limits.md"))
				}
			}
		}
	}
}
