package lint

import (
	"bufio"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// module is the path that go.mod declares.
const module = "hubbub"

// source is one parsed Go file of the module.
type source struct {
	path      string // relative to the module root, with slashes
	dir       string // its directory, "." for the root
	test      bool
	generated bool
	lines     int
	fset      *token.FileSet
	file      *ast.File
}

// finding is one broken rule, with the remedy in the text.
type finding struct {
	path string
	line int
	text string
}

func (f finding) String() string { return fmt.Sprintf("%s:%d: %s", f.path, f.line, f.text) }

// at makes a finding for a node of s.
func (s *source) at(n ast.Node, format string, args ...any) finding {
	return finding{s.path, s.fset.Position(n.Pos()).Line, fmt.Sprintf(format, args...)}
}

// under says whether the file lies in dir or below it.
func (s *source) under(dir string) bool {
	return s.dir == dir || strings.HasPrefix(s.dir, dir+"/")
}

// imports lists the import paths of the file with their nodes.
func (s *source) imports() map[string]*ast.ImportSpec {
	out := map[string]*ast.ImportSpec{}
	for _, spec := range s.file.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil {
			out[p] = spec
		}
	}
	return out
}

// importName is the name under which the file knows the package, "" if it does
// not import it.
func (s *source) importName(pkg string) string {
	spec, ok := s.imports()[pkg]
	if !ok {
		return ""
	}
	if spec.Name != nil {
		return spec.Name.Name
	}
	return path.Base(pkg)
}

// moduleRoot is the directory that holds go.mod.
func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod above the test's directory")
		}
		dir = parent
	}
}

// walk calls f for every file of the repository that people wrote or that is
// checked in, by path relative to the root.
func walk(t *testing.T, root string, f func(rel string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && p != root && (name == ".git" || name == "node_modules" || name == "bin" || name == ".hubbub-dev") {
			return fs.SkipDir
		}
		if d.Type().IsRegular() {
			rel, err := filepath.Rel(root, p)
			if err != nil {
				return err
			}
			f(filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

var (
	loadOnce sync.Once
	loaded   []*source
	loadErr  error
)

// nested says whether a file belongs to a module of its own below ours.
func nested(root, rel string) bool {
	for dir := path.Dir(rel); dir != "."; dir = path.Dir(dir) {
		if _, err := os.Stat(filepath.Join(root, dir, "go.mod")); err == nil {
			return true
		}
	}
	return false
}

// load parses every Go file of the module once per test run.
func load(t *testing.T) []*source {
	t.Helper()
	root := moduleRoot(t)
	loadOnce.Do(func() {
		walk(t, root, func(rel string) {
			if !strings.HasSuffix(rel, ".go") || strings.Contains("/"+rel, "/testdata/") || nested(root, rel) || loadErr != nil {
				return
			}
			text, err := os.ReadFile(filepath.Join(root, rel))
			if err != nil {
				loadErr = err
				return
			}
			s, err := parse(rel, string(text))
			if err != nil {
				loadErr = err
				return
			}
			loaded = append(loaded, s)
		})
	})
	if loadErr != nil {
		t.Fatal(loadErr)
	}
	if len(loaded) == 0 {
		t.Fatal("no Go files found")
	}
	return loaded
}

// parse makes a source of text as if it lay at rel.
func parse(rel, text string) (*source, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, rel, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	s := &source{
		path: rel, dir: path.Dir(rel), fset: fset, file: file,
		test:      strings.HasSuffix(rel, "_test.go"),
		generated: ast.IsGenerated(file),
	}
	for sc := bufio.NewScanner(strings.NewReader(text)); sc.Scan(); {
		s.lines++
	}
	return s, nil
}

// sample parses a piece of source that a rule is tried on.
func sample(t *testing.T, rel, text string) *source {
	t.Helper()
	s, err := parse(rel, text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// rule finds what is wrong with one file.
type rule func(*source) []finding

// apply runs a rule over the repository and reports every finding.
func apply(t *testing.T, r rule) {
	t.Helper()
	for _, s := range load(t) {
		for _, f := range r(s) {
			t.Error(f)
		}
	}
}

// example is a piece of source with the number of findings it must give.
type example struct {
	name string
	path string
	text string
	want int
}

// try runs a rule on examples, so that a rule that finds nothing any more fails.
func try(t *testing.T, r rule, examples []example) {
	t.Helper()
	for _, e := range examples {
		if got := r(sample(t, e.path, e.text)); len(got) != e.want {
			t.Errorf("%s: %d findings, want %d: %v", e.name, len(got), e.want, got)
		}
	}
}
