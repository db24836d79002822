package lint

import (
	"go/ast"
	"strings"
	"testing"
)

// ban refuses some functions of one package in some files.
type ban struct {
	pkg     string
	names   []string // names; a trailing * stands for any ending
	except  []string // of these, still allowed
	where   func(*source) bool
	instead string
}

// speechless are the packages that decide and leave the talking to others.
func speechless(s *source) bool {
	for _, dir := range append([]string{"mls", "mimi", "internal/room", "internal/store"}, roles...) {
		if s.under(dir) && !s.test {
			return true
		}
	}
	return false
}

// library says whether a file is production code below the command. storetest
// is a package of tests: it ends processes on purpose.
func library(s *source) bool {
	return !s.test && !s.generated && !s.under("cmd") && !s.under("internal/store/storetest")
}

// serves says whether a file is part of a provider: of internal what does not play devices.
func serves(s *source) bool {
	for _, dir := range []string{"internal/room/roomtest", "internal/mlspeer", "internal/conformance", "internal/fakepeer", "internal/simnet"} {
		if s.under(dir) {
			return false
		}
	}
	return !s.test && s.under("internal")
}

var bans = []ban{
	{"time", []string{"Sleep"}, nil, func(s *source) bool { return s.test },
		"wait for the condition itself: a channel, testing/synctest or an injected clock"},
	{"time", []string{"Now", "Since", "Until", "After*", "Tick", "NewTimer", "NewTicker", "Sleep"}, nil,
		func(s *source) bool { return s.under("internal/room") && !s.test },
		"room has no clock: now is an input of Step"},
	{"fmt", []string{"Print", "Printf", "Println"}, nil, library,
		"return a value or an error; only cmd prints"},
	{"log", []string{"*"}, []string{"New"}, library, "use the *slog.Logger that was passed in"},
	{"os", []string{"Exit"}, nil, library, "return an error; only cmd ends the process"},
	{"log/slog", []string{"Debug*", "Info*", "Warn*", "Error*", "Default", "SetDefault"}, nil,
		func(s *source) bool {
			return library(s) && (s.under("mls") || s.under("mimi") || s.under("client"))
		},
		"libraries never log: return an error or send an event"},
	{module + "/mls", []string{"Group", "NewGroup", "JoinWelcome", "JoinExternal", "PendingCommit"}, nil, serves,
		"servers follow groups by mls.PublicGroup: they hold no secrets, decrypt nothing and commit nothing (RS-5, ARC-8)"},
	{"net/http", []string{"*"}, []string{"Status*", "ParseTime"}, speechless,
		"only federation and api speak HTTP; a status code is all that is needed here"},
}

func matches(name string, patterns []string) bool {
	for _, p := range patterns {
		if head, ok := strings.CutSuffix(p, "*"); ok && strings.HasPrefix(name, head) || name == p {
			return true
		}
	}
	return false
}

// checkCalls is the rule for banned calls. Mentioning the function as a value
// counts: it will be called.
func checkCalls(s *source) []finding {
	var out []finding
	for _, b := range bans {
		name := s.importName(b.pkg)
		if name == "" || !b.where(s) {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if id, ok := sel.X.(*ast.Ident); ok && id.Name == name && matches(sel.Sel.Name, b.names) && !matches(sel.Sel.Name, b.except) {
				out = append(out, s.at(sel, "%s.%s is not for this place: %s", b.pkg, sel.Sel.Name, b.instead))
			}
			return true
		})
	}
	return out
}

func TestBannedCalls(t *testing.T) {
	apply(t, checkCalls)
}

func TestBannedCallsCanFail(t *testing.T) {
	const now = `package p; import "time"; var x = time.Now()`
	try(t, checkCalls, []example{
		{"sleep in a test", "client/a_test.go", `package p; import "time"; func f() { time.Sleep(1) }`, 1},
		{"sleep under another name", "client/a_test.go", `package p; import clock "time"; func f() { clock.Sleep(1) }`, 1},
		{"sleep outside tests", "client/a.go", `package p; import "time"; func f() { time.Sleep(1) }`, 0},
		{"clock in room", "internal/room/a.go", now, 1},
		{"clock in hub", "internal/hub/a.go", now, 0},
		{"print in a library", "mls/a.go", `package p; import "fmt"; func f() { fmt.Println() }`, 1},
		{"print in cmd", "cmd/hubbub/a.go", `package p; import "fmt"; func f() { fmt.Println() }`, 0},
		{"Fprint in a library", "mls/a.go", `package p; import "fmt"; func f() { fmt.Fprintln(nil) }`, 0},
		{"log in a library", "internal/hub/a.go", `package p; import "log"; func f() { log.Fatal() }`, 1},
		{"exit in a library", "internal/hub/a.go", `package p; import "os"; func f() { os.Exit(1) }`, 1},
		{"status in mimi", "mimi/a.go", `package p; import "net/http"; var x = http.StatusOK`, 0},
		{"server in hub", "internal/hub/a.go", `package p; import "net/http"; var x http.Handler`, 1},
		{"slog in client", "client/a.go", `package p; import "log/slog"; func f() { slog.Info("") }`, 1},
	})
}
