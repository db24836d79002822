package lint

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// promises is how many there are: P1 to P26.
const promises = 26

var promiseRow = regexp.MustCompile(`^\| (P[0-9]+) [^|]*\|([^|]*)\|([^|]*)\|$`)

// checkPromises holds the table of docs/reliability.md against the tests there
// are: every promise has a row, and a row without a test says why.
func checkPromises(text string, known map[string]bool) (errs []string) {
	seen := map[string]bool{}
	for i, line := range strings.Split(text, "\n") {
		if !strings.HasPrefix(line, "| P") {
			continue
		}
		m := promiseRow.FindStringSubmatch(line)
		if m == nil {
			errs = append(errs, fmt.Sprintf("line %d: not promise | tests | what they inject", i+1))
			continue
		}
		if seen[m[1]] {
			errs = append(errs, fmt.Sprintf("line %d: %s has a row already", i+1, m[1]))
		}
		seen[m[1]] = true
		tests := places(m[2])
		if len(tests) == 0 && !strings.Contains(m[3], "**gap:**") {
			errs = append(errs, fmt.Sprintf("line %d: %s has no test and does not say why", i+1, m[1]))
		}
		for _, p := range tests {
			if !known[p] || !strings.Contains(p, "_test.go:") {
				errs = append(errs, fmt.Sprintf("line %d: there is no test %s", i+1, p))
			}
		}
	}
	for n := 1; n <= promises; n++ {
		if p := fmt.Sprintf("P%d", n); !seen[p] {
			errs = append(errs, p+" is missing")
		}
	}
	return errs
}

func TestReliabilityTable(t *testing.T) {
	const file = "docs/reliability.md"
	text, err := os.ReadFile(filepath.Join(moduleRoot(t), file))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range checkPromises(string(text), declared(load(t))) {
		t.Errorf("%s: %s", file, e)
	}
}

func TestReliabilityTableCanFail(t *testing.T) {
	var rows strings.Builder
	for n := 1; n <= promises; n++ {
		fmt.Fprintf(&rows, "| P%d x | `a_test.go:TestA` | y |\n", n)
	}
	known := map[string]bool{"a_test.go:TestA": true}
	if errs := checkPromises(rows.String(), known); len(errs) != 0 {
		t.Errorf("a good table: %v", errs)
	}
	for name, bad := range map[string]string{
		"missing promise": strings.Replace(rows.String(), "| P7 ", "| Q7 ", 1),
		"twice":           rows.String() + "| P7 x | `a_test.go:TestA` | y |\n",
		"no such test":    strings.Replace(rows.String(), "TestA", "TestB", 1),
		"silent gap":      strings.Replace(rows.String(), "`a_test.go:TestA`", "-", 1),
		"no row":          strings.Replace(rows.String(), " | y |", "", 1),
	} {
		if errs := checkPromises(bad, known); len(errs) == 0 {
			t.Errorf("%s: not found", name)
		}
	}
}
