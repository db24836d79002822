package lint

import (
	"strings"
	"testing"
)

// arrow says what the packages under dir may import. Test files are free: they
// wire whole providers together.
type arrow struct {
	dir string
	// only, if not nil, lists the import prefixes allowed besides the standard
	// library; everything else is refused.
	only []string
	// never lists prefixes that are refused even if only allows them.
	never []string
	// instead is the remedy.
	instead string
}

// roles are the packages that run rooms; each reaches its neighbours through a
// small interface declared in the using file.
var roles = []string{"internal/hub", "internal/follower", "internal/fanout", "internal/keymaterial", "internal/consent", "internal/profile"}

var arrows = append([]arrow{
	{
		dir:     "mls",
		never:   []string{"net", "os", "database/sql", "log"},
		only:    []string{"golang.org/x/crypto", "github.com/cloudflare/circl", module + "/mls"},
		instead: "mls is the standard library, golang.org/x/crypto, circl for X448 and Ed448, and itself; pass in what it needs",
	},
	{
		dir:     "mimi",
		only:    []string{"golang.org/x/crypto", "golang.org/x/mod/sumdb/note", "github.com/fxamacker/cbor", module + "/mls", module + "/mimi"},
		never:   []string{"os", "database/sql", "log"},
		instead: "mimi is bodies and rules over mls; whatever talks or stores belongs in internal/",
	},
	{
		dir:     "client",
		never:   []string{module + "/internal", module + "/cmd"},
		instead: "the SDK is what an app author imports; move what it needs into mimi",
	},
	{
		dir:     "internal/room",
		only:    []string{module + "/mls", module + "/mimi", module + "/internal/room"},
		never:   []string{"net", "os", "database/sql", "context", "log", "crypto/rand", "math/rand", "testing"},
		instead: "room is a pure core: return an effect, or take the value as input of Step",
	},
	{
		dir:     "internal/identity",
		only:    []string{"golang.org/x/crypto", module + "/mls", module + "/mimi", module + "/internal/identity"},
		instead: "identity is a leaf: keys and certificates only",
	},
	{
		dir: "internal/federation",
		never: append(internal(roles...), module+"/internal/store/sqlstore", module+"/internal/api",
			module+"/internal/provider", "database/sql"),
		instead: "federation decodes, authenticates, calls one method of an interface declared there, encodes",
	},
	{
		dir: "internal/api",
		never: append(internal(roles...), module+"/internal/store/sqlstore", module+"/internal/federation",
			module+"/internal/provider", "database/sql"),
		instead: "api calls what it needs through an interface declared there; provider wires it",
	},
	{
		dir:     "internal/store",
		never:   append(internal(roles...), module+"/internal/api", module+"/internal/federation", module+"/internal/provider"),
		instead: "the store knows rows, not roles",
	},
}, roleArrows()...)

// roleArrows keeps the roles apart from each other and from the transports.
func roleArrows() []arrow {
	var out []arrow
	for _, dir := range roles {
		never := []string{module + "/internal/federation", module + "/internal/api", module + "/internal/provider",
			module + "/internal/store/sqlstore", module + "/client", "database/sql"}
		for _, other := range roles {
			if other != dir {
				never = append(never, module+"/"+other)
			}
		}
		out = append(out, arrow{dir: dir, never: never,
			instead: "declare a one- to three-method interface in the using file and let internal/provider wire it"})
	}
	return out
}

// ownersOnly lists packages that only a few directories may import.
var ownersOnly = []struct {
	pkg     string
	owners  []string
	instead string
}{
	{module + "/internal/store/sqlstore", []string{"internal/provider", "internal/store"},
		"depend on internal/store; only internal/provider picks an engine"},
	{module + "/internal/provider", []string{"cmd", "internal/simnet", "internal/provider"},
		"only cmd starts whole providers; take the part you need as a parameter"},
	{module + "/internal/store/storetest", []string{"internal/store/storetest"},
		"storetest is for tests"},
}

func internal(dirs ...string) []string {
	var out []string
	for _, d := range dirs {
		out = append(out, module+"/"+d)
	}
	return out
}

// within says whether pkg is prefix or lies below it.
func within(pkg, prefix string) bool {
	return pkg == prefix || strings.HasPrefix(pkg, prefix+"/")
}

func anyWithin(pkg string, prefixes []string) bool {
	for _, p := range prefixes {
		if within(pkg, p) {
			return true
		}
	}
	return false
}

// standard says whether pkg is of the standard library: its first element has
// no dot and is not our module.
func standard(pkg string) bool {
	first, _, _ := strings.Cut(pkg, "/")
	return !strings.Contains(first, ".") && first != module
}

// statusOnly are packages whose import is judged by what is used of them: see
// the ban on everything but status codes.
var statusOnly = map[string]bool{"net/http": true}

// checkImports is the rule for the arrows of the design.
func checkImports(s *source) []finding {
	if s.test {
		return nil
	}
	var out []finding
	for pkg, spec := range s.imports() {
		for _, a := range arrows {
			if !s.under(a.dir) {
				continue
			}
			refused := a.only != nil && !standard(pkg) && !anyWithin(pkg, a.only)
			if refused || anyWithin(pkg, a.never) && !statusOnly[pkg] {
				out = append(out, s.at(spec, "%s must not import %q: %s", a.dir, pkg, a.instead))
			}
		}
		for _, o := range ownersOnly {
			if !within(pkg, o.pkg) {
				continue
			}
			if !anyWithin(s.dir, o.owners) {
				out = append(out, s.at(spec, "%s must not import %q: %s", s.dir, pkg, o.instead))
			}
		}
		if within(pkg, module+"/cmd") && !s.under("cmd") {
			out = append(out, s.at(spec, "nothing imports %q: move what is shared below internal/", pkg))
		}
	}
	return out
}

func TestImportArrows(t *testing.T) {
	apply(t, checkImports)
}

func TestImportArrowsCanFail(t *testing.T) {
	try(t, checkImports, []example{
		{"mls takes a library", "mls/a.go", `package mls; import "github.com/fxamacker/cbor/v2"`, 1},
		{"mls takes its reader", "mls/a.go", `package mls; import "hubbub/mls/wire"`, 0},
		{"mls takes mimi", "mls/a.go", `package mls; import "hubbub/mimi"`, 1},
		{"mimi takes cbor", "mimi/content/a.go", `package content; import "github.com/fxamacker/cbor/v2"`, 0},
		{"client takes the store", "client/a.go", `package client; import "hubbub/internal/store"`, 1},
		{"client test takes a provider", "client/a_test.go", `package client; import "hubbub/internal/provider"`, 0},
		{"room takes the clock's neighbour", "internal/room/a.go", `package room; import "context"`, 1},
		{"room takes net/url", "internal/room/a.go", `package room; import "net/url"`, 1},
		{"hub takes follower", "internal/hub/a.go", `package hub; import "hubbub/internal/follower"`, 1},
		{"hub takes federation", "internal/hub/a.go", `package hub; import "hubbub/internal/federation"`, 1},
		{"hub takes store", "internal/hub/a.go", `package hub; import "hubbub/internal/store"`, 0},
		{"hub takes an engine", "internal/hub/a.go", `package hub; import "hubbub/internal/store/sqlstore"`, 2},
		{"api takes provider", "internal/api/a.go", `package api; import "hubbub/internal/provider"`, 2},
		{"cmd takes provider", "cmd/hubbub/a.go", `package main; import "hubbub/internal/provider"`, 0},
		{"cmd takes an engine", "cmd/hubbub/a.go", `package main; import "hubbub/internal/store/sqlstore"`, 1},
	})
}
