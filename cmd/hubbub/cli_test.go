package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hubbub/client"
)

// call runs the command without a process.
func call(t *testing.T, stdin string, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), func() {}, args, strings.NewReader(stdin), &o, &e)
	return code, o.String(), e.String()
}

// TestBadInput gives every verb something it cannot take: each answers with an
// exit code, one line of cause and, where there is a remedy, a hint.
func TestBadInput(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "nothing-here")
	garbage := filepath.Join(t.TempDir(), "garbage")
	if err := os.WriteFile(garbage, []byte("certainly neither MLS nor MIMI"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
		code int
		say  string // in the error
		hint string // in the hint
	}{
		{"unknown verb", []string{"sing"}, exitUsage, `unknown command "sing"`, "hubbub help"},
		{"unknown flag", []string{"dev", "--loud"}, exitUsage, "unknown flag: --loud", "--help"},
		{"flag without value", []string{"dev", "--providers", "many"}, exitUsage, "invalid argument", "--help"},
		{"one provider", []string{"dev", "--providers", "1"}, exitUsage, "too few or too many", "2 to 5"},
		{"too many providers", []string{"dev", "--providers", "6"}, exitUsage, "too few or too many", "2 to 5"},
		{"dev in a foreign directory", []string{"dev", "--dir", filepath.Dir(garbage)}, exitUsage, "was not made by hubbub dev", "--dir"},
		{"stop without environment", []string{"dev", "stop", "a", "--dir", empty}, exitUnreachable, "no dev environment", "hubbub dev"},
		{"stop without name", []string{"dev", "stop"}, exitUsage, "accepts 1 arg", ""},
		{"dev stray argument", []string{"dev", "everything"}, exitUsage, "everything", ""},
		{"chat as nobody", []string{"chat"}, exitUsage, "who are you", "--as"},
		{"chat without environment", []string{"chat", "--as", "bob@b.localhost", "--dir", empty}, exitUnreachable, "no dev environment", "hubbub dev"},
		{"chat with a bad name", []string{"chat", "--as", "bob"}, exitUsage, "name@domain", "bob@b.localhost"},
		{"send nothing", []string{"send", "--as", "bob@b.localhost"}, exitUsage, "requires at least 1 arg", ""},
		{"send without device", []string{"send", "--state", empty, "hi"}, exitFailed, "no enrolled device", "user enrol"},
		{"tail without device", []string{"tail", "--state", empty}, exitFailed, "no enrolled device", "user enrol"},
		{"room list without device", []string{"room", "list", "--state", empty}, exitFailed, "no enrolled device", "user enrol"},
		{"room create with a bad person", []string{"room", "create", "x", "--add", "a b@c"}, exitUsage, "a b@c", ""},
		{"user add with a bad name", []string{"user", "add", "../x@b.localhost"}, exitUsage, "", "bob@b.localhost"},
		{"user add without provider", []string{"user", "add", "dora@b.localhost", "--socket", empty}, exitUnreachable, "", "running"},
		{"enrol without a place", []string{"user", "enrol", "dora@b.localhost", "--server", "https://127.0.0.1:1"}, exitUsage, "where should the device live", "--state"},
		{"enrol without a code", []string{"user", "enrol", "dora@b.localhost", "--server", "https://127.0.0.1:1", "--state", empty}, exitUsage, "one-time code", "--code-file"},
		{"peer without provider", []string{"peer", "list"}, exitUsage, "which provider", "--config"},
		{"peer with a bad name", []string{"peer", "show", "B/b", "--at", "a.localhost"}, exitUsage, "", "bob@b.localhost"},
		{"peer with garbage for a config", []string{"peer", "list", "--config", garbage}, exitConfig, "", "hubbub serve"},
		{"peer without a provider there", []string{"peer", "hold", "b.localhost", "--socket", empty}, exitUnreachable, "", "running"},
		{"thaw a bad name", []string{"room", "thaw", "Lunch", "--at", "a.localhost"}, exitUsage, "", "mimi://"},
		{"consent of nobody", []string{"consent", "request", "bob@b.localhost"}, exitUsage, "who are you", "--as"},
		{"consent of a bad name", []string{"consent", "grant", "a b@c"}, exitUsage, "a b@c", ""},
		{"find nothing", []string{"find", "matt"}, exitUsage, "what is searched for", "name=matt"},
		{"find a bad handle", []string{"find", "handle=bob"}, exitUsage, "name@domain", ""},
		{"profile with a bad search", []string{"profile", "set", "nickname", "bob", "--search", "maybe"}, exitUsage, "maybe", "partial"},
		{"message of nobody", []string{"message", "show", "Lunch", "7"}, exitUsage, "who are you", "--as"},
		{"message without place", []string{"message", "show", "Lunch"}, exitUsage, "accepts 2 arg", ""},
		{"serve without config", []string{"serve"}, exitUsage, "configuration file", "--config"},
		{"serve with a missing config", []string{"serve", "--config", empty}, exitConfig, "nothing-here", ""},
		{"serve with garbage", []string{"serve", "--config", garbage}, exitConfig, "", ""},
		{"decode garbage", []string{"debug", "decode", garbage}, exitFailed, "nothing we know", ""},
		{"decode an unknown kind", []string{"debug", "decode", garbage, "--as", "poem"}, exitUsage, "poem", "kinds:"},
		{"decode nothing", []string{"debug", "decode", empty}, exitFailed, "nothing-here", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, errs := call(t, "", c.args...)
			if code != c.code {
				t.Errorf("exit code %d, want %d: %s", code, c.code, errs)
			}
			if !strings.HasPrefix(errs, "error: ") || !strings.Contains(errs, c.say) {
				t.Errorf("cause: %q, want %q in it", errs, c.say)
			}
			if _, hint, ok := strings.Cut(errs, "hint: "); c.hint != "" && (!ok || !strings.Contains(hint, c.hint)) {
				t.Errorf("remedy: %q, want %q in it", errs, c.hint)
			}
			if out != "" {
				t.Errorf("printed on stdout: %q", out)
			}
		})
	}
}

func TestExplain(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		code int
	}{
		"denied":       {&client.Error{Reason: "policy_denied"}, exitDenied},
		"peer down":    {fmt.Errorf("x: %w", &client.Error{Reason: "peer_unreachable"}), exitUnreachable},
		"other reason": {&client.Error{Reason: "no_key_packages"}, exitFailed},
		"locked":       {fmt.Errorf("x: %w", client.ErrLocked), exitFailed},
		"not a member": {client.ErrNotMember, exitDenied},
		"connection":   {fmt.Errorf("x: %w", &net.OpError{Op: "dial", Err: errors.New("refused")}), exitUnreachable},
		"time is up":   {context.DeadlineExceeded, exitUnreachable},
		"own failure":  {fmt.Errorf("outer: %w", fail(exitConfig, "h", "x")), exitConfig},
		"anything":     {errors.New("x"), exitFailed},
	} {
		if f := explain(c.err); f.code != c.code {
			t.Errorf("%s: exit code %d, want %d", name, f.code, c.code)
		}
	}
}

func TestVersionJSON(t *testing.T) {
	code, out, errs := call(t, "", "version")
	var b build
	if err := json.Unmarshal([]byte(out), &b); code != exitOK || err != nil || b.Go == "" {
		t.Errorf("exit %d, %v, %q %q", code, err, out, errs)
	}
}

func TestHelpNamesEveryVerb(t *testing.T) {
	code, out, _ := call(t, "", "--help")
	if code != exitOK {
		t.Errorf("exit code %d", code)
	}
	for _, verb := range []string{"bench", "chat", "consent", "debug", "dev", "find", "message", "peer", "profile", "room", "send", "serve", "tail", "user", "version"} {
		if !strings.Contains(out, "\n  "+verb+" ") {
			t.Errorf("no %s in the help:\n%s", verb, out)
		}
	}
}
