package lint

import (
	"fmt"
	"go/ast"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"testing"
)

// The table of docs/spec/coverage.md: requirement, where it is written, what
// would fail if it broke. A place is `file.go:Symbol`, a method `Type.Method`;
// several are separated by commas. "-" in the last column is a gap that is
// known and counted.

var (
	requirementID = regexp.MustCompile(`^[A-Z]+-[0-9]+$`)
	place         = regexp.MustCompile("`([^`]+)`")
)

// coverageRow is one row of the table.
type coverageRow struct {
	line int
	ids  []string
	code []string
	test []string // empty: a known gap
}

// parseCoverage reads the rows of every table in text whose header starts with
// "| id |"; errs are rows that do not have the form.
func parseCoverage(text string) (rows []coverageRow, errs []string) {
	in := false
	for i, line := range strings.Split(text, "\n") {
		if !strings.HasPrefix(line, "|") {
			in = false
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for j := range cells {
			cells[j] = strings.TrimSpace(cells[j])
		}
		if cells[0] == "id" {
			in = true
			continue
		}
		if !in || strings.HasPrefix(cells[0], "--") {
			continue
		}
		row, err := parseRow(cells)
		if err != nil {
			errs = append(errs, fmt.Sprintf("line %d: %v", i+1, err))
			continue
		}
		row.line = i + 1
		rows = append(rows, row)
	}
	return rows, errs
}

func parseRow(cells []string) (coverageRow, error) {
	if len(cells) != 3 {
		return coverageRow{}, fmt.Errorf("%d columns, want id | code | test", len(cells))
	}
	row := coverageRow{code: places(cells[1])}
	for _, id := range strings.Split(cells[0], ",") {
		id = strings.TrimSpace(id)
		if !requirementID.MatchString(id) {
			return row, fmt.Errorf("%q is not a requirement id such as KM-5", id)
		}
		row.ids = append(row.ids, id)
	}
	if len(row.code) == 0 {
		return row, fmt.Errorf("%s names no code: write `file.go:Symbol`", cells[0])
	}
	if cells[2] != "-" {
		if row.test = places(cells[2]); len(row.test) == 0 {
			return row, fmt.Errorf("%s names no test: write `file_test.go:TestName`, or - for a known gap", cells[0])
		}
	}
	return row, nil
}

func places(cell string) []string {
	var out []string
	for _, m := range place.FindAllStringSubmatch(cell, -1) {
		out = append(out, m[1])
	}
	return out
}

// declared indexes every top-level name by "path:Symbol".
func declared(sources []*source) map[string]bool {
	out := map[string]bool{}
	for _, s := range sources {
		for _, d := range s.file.Decls {
			for _, name := range declNames(d) {
				out[s.path+":"+name] = true
			}
		}
	}
	return out
}

func declNames(d ast.Decl) []string {
	var out []string
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv != nil {
			return []string{receiver(d) + "." + d.Name.Name}
		}
		return []string{d.Name.Name}
	case *ast.GenDecl:
		if d.Tok == token.IMPORT {
			return nil
		}
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				out = append(out, spec.Name.Name)
			case *ast.ValueSpec:
				for _, n := range spec.Names {
					out = append(out, n.Name)
				}
			}
		}
	}
	return out
}

func TestCoverageTable(t *testing.T) {
	const file = "docs/spec/coverage.md"
	text, err := os.ReadFile(filepath.Join(moduleRoot(t), file))
	if err != nil {
		t.Fatal(err)
	}
	rows, errs := parseCoverage(string(text))
	for _, e := range errs {
		t.Errorf("%s: %s", file, e)
	}
	if len(rows) == 0 {
		t.Fatalf("%s: no rows: the table starts with | id | code | test |", file)
	}
	known, gaps := declared(load(t)), 0
	seen := map[string]int{}
	for _, r := range rows {
		if len(r.test) == 0 {
			gaps++
		}
		for _, id := range r.ids {
			if before := seen[id]; before != 0 {
				t.Errorf("%s:%d: %s is already in line %d: join the rows", file, r.line, id, before)
			}
			seen[id] = r.line
		}
		for _, p := range append(append([]string{}, r.code...), r.test...) {
			if !known[p] {
				t.Errorf("%s:%d: %s does not exist: point the row at where it went", file, r.line, p)
			}
		}
		for _, p := range r.test {
			if !strings.Contains(p, "_test.go:") && !strings.HasPrefix(p, "cmd/hubbub/") {
				t.Errorf("%s:%d: %s is not a test", file, r.line, p)
			}
		}
	}
	t.Logf("%d requirements in %d rows, %d rows without a test", len(seen), len(rows), gaps)
}

func TestCoverageTableCanFail(t *testing.T) {
	rows, errs := parseCoverage("| id | code | test |\n|---|---|---|\n" +
		"| KM-1, KM-2 | `mimi/a.go:A`, `mimi/b.go:B.C` | `mimi/a_test.go:TestA` |\n" +
		"| KM-3 | `mimi/a.go:A` | - |\n" +
		"| KM-4 | nothing | - |\n" +
		"| km4 | `mimi/a.go:A` | - |\n" +
		"| KM-5 | `mimi/a.go:A` |\n")
	if len(rows) != 2 || len(errs) != 3 {
		t.Fatalf("%d rows and %d errors, want 2 and 3: %v", len(rows), len(errs), errs)
	}
	if len(rows[0].ids) != 2 || len(rows[0].code) != 2 || len(rows[1].test) != 0 {
		t.Errorf("rows read wrongly: %+v", rows)
	}
	names := declared([]*source{sample(t, "mimi/a.go", "package mimi\ntype A int\nfunc (*A) B() {}\nconst C = 1\nfunc D() {}")})
	for _, want := range []string{"mimi/a.go:A", "mimi/a.go:A.B", "mimi/a.go:C", "mimi/a.go:D"} {
		if !names[want] {
			t.Errorf("%s not found in %v", want, names)
		}
	}
}

// forgotten are requirements of the checklist that neither the table nor limits.md names.
// In limits.md an id counts wherever it stands.
func forgotten(checklist, limits string, rows []coverageRow) (ids []string, all int) {
	said := map[string]bool{}
	for _, r := range rows {
		for _, id := range r.ids {
			said[id] = true
		}
	}
	for _, id := range regexp.MustCompile(`\b[A-Z]+-[0-9]+\b`).FindAllString(limits, -1) {
		said[id] = true
	}
	for _, m := range regexp.MustCompile(`(?m)^- \*\*([A-Z]+-[0-9]+)\*\* \[`).FindAllStringSubmatch(checklist, -1) {
		if all++; !said[m[1]] {
			ids = append(ids, m[1])
		}
	}
	return ids, all
}

// Each requirement of the project's checklist has a row, or limits.md says that it is not
// met.
func TestNoRequirementIsForgotten(t *testing.T) {
	root := moduleRoot(t)
	checklist, err := os.ReadFile(filepath.Join(root, "../shared/mimi-requirements.md"))
	if err != nil {
		if os.Getenv("HUBBUB_REQUIRE_SHARED") != "" {
			t.Fatal(err)
		}
		t.Skip("the checklist of requirements does not lie beside the repository")
	}
	read := func(file string) string {
		b, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	rows, _ := parseCoverage(read("docs/spec/coverage.md"))
	ids, all := forgotten(string(checklist), read("docs/limits.md"), rows)
	for _, id := range ids {
		t.Errorf("%s: give it a row in docs/spec/coverage.md, or say in docs/limits.md that it is not met", id)
	}
	if all < 400 {
		t.Errorf("the checklist has %d requirements: its form has changed", all)
	}
}

func TestNoRequirementIsForgottenCanFail(t *testing.T) {
	rows, _ := parseCoverage("| id | code | test |\n|---|---|---|\n| KM-1, KM-2 | `a.go:A` | - |\n")
	ids, all := forgotten("- **KM-1** [K; M] x\n- **KM-2** [K; M] x\n- **KM-3** [K; M] x\n- **KM-4** [K; M] see **KM-9**\n", "nothing of KM-3 yet", rows)
	if all != 4 || len(ids) != 1 || ids[0] != "KM-4" {
		t.Errorf("%v of %d", ids, all)
	}
}

// requirement is one line of go.mod.
type requirement struct {
	path     string
	indirect bool
}

func parseGoMod(text string) []requirement {
	var out []requirement
	in := false
	for _, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		switch {
		case line == "require (":
			in = true
		case in && line == ")":
			in = false
		case in || strings.HasPrefix(line, "require "):
			if f := strings.Fields(strings.TrimPrefix(line, "require ")); len(f) >= 2 && f[0] != "//" {
				out = append(out, requirement{f[0], strings.HasSuffix(line, "// indirect")})
			}
		}
	}
	return out
}

// directModules says which modules of go.mod the sources import.
func directModules(sources []*source, mods []requirement) map[string]bool {
	out := map[string]bool{}
	for _, s := range sources {
		for pkg := range s.imports() {
			best := ""
			for _, m := range mods {
				if within(pkg, m.path) && len(m.path) > len(best) {
					best = m.path
				}
			}
			if best != "" {
				out[best] = true
			}
		}
	}
	return out
}

func TestDependenciesDocumented(t *testing.T) {
	const file = "docs/dependencies.md"
	root := moduleRoot(t)
	gomod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	mods := parseGoMod(string(gomod))
	direct := directModules(load(t), mods)
	listed := map[string]bool{}
	for _, line := range strings.Split(string(doc), "\n") {
		if m := regexp.MustCompile("^\\| `([^`]+)` \\|").FindStringSubmatch(line); m != nil {
			listed[m[1]] = true
		}
	}
	var names []string
	for m := range direct {
		names = append(names, m)
	}
	sort.Strings(names)
	for _, m := range names {
		if !listed[m] {
			t.Errorf("%s: %s is imported but not listed: say in one sentence why it is worth having", file, m)
		}
	}
	for _, m := range mods {
		if direct[m.path] && m.indirect {
			t.Errorf("go.mod: %s is imported but marked indirect: run go mod tidy", m.path)
		}
		if !direct[m.path] && !m.indirect {
			t.Errorf("go.mod: %s is not imported: run go mod tidy", m.path)
		}
	}
	for m := range listed {
		if !direct[m] {
			t.Errorf("%s: %s is listed but not imported: remove its row", file, m)
		}
	}
}

func TestDependenciesDocumentedCanFail(t *testing.T) {
	mods := parseGoMod("module x\n\nrequire a.example/one v1.0.0\n\nrequire (\n\tb.example/two v1.0.0 // indirect\n\tb.example/two/v2 v2.0.0\n)\n")
	if len(mods) != 3 || mods[0].indirect || !mods[1].indirect || mods[2].indirect {
		t.Fatalf("go.mod read wrongly: %+v", mods)
	}
	s := sample(t, "mls/a.go", `package mls; import "b.example/two/v2/sub"`)
	if got := directModules([]*source{s}, mods); len(got) != 1 || !got["b.example/two/v2"] {
		t.Errorf("direct modules: %v", got)
	}
}
