package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"hubbub/client"
	"hubbub/cmd/hubbub/internal/story"
)

// TestMain lets the test binary stand in for the command: hubbub dev starts its
// providers as children of its own executable.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		main()
	}
	os.Exit(m.Run())
}

// shortDir is a directory with a path short enough for Unix sockets.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "hub")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "d")
}

// TestStory plays the whole story, providers as processes, SIGKILL included.
func TestStory(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	for _, providers := range []string{"2", "3", "5"} {
		t.Run(providers, func(t *testing.T) {
			dir := shortDir(t)
			code, out, errs := call(t, "", "dev", "--exit", "--json", "--providers", providers, "--dir", dir)
			var r story.Report
			if err := json.Unmarshal([]byte(out), &r); err != nil {
				t.Fatalf("exit %d, %v: %s%s", code, err, out, errs)
			}
			for _, s := range r.Steps {
				if s.Error != "" {
					t.Errorf("%d %s: %s", s.Number, s.Name, s.Error)
				}
				for _, c := range s.Comparisons {
					if !c.Equal {
						t.Errorf("%d %s: %s: %v", s.Number, s.Name, c.What, c.Values)
					}
				}
			}
			if code != exitOK || !r.OK || len(r.NotRun) != 0 || r.Comparisons < 40 {
				t.Errorf("exit %d, ok %t, %d comparisons, not run: %v: %s", code, r.OK, r.Comparisons, r.NotRun, errs)
			}
			if _, err := os.Stat(dir); !os.IsNotExist(err) {
				t.Errorf("something was left behind: %v", err)
			}
		})
	}
}

// screen is an output that a test waits on.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
	grew chan struct{}
}

func newScreen() *screen { return &screen{grew: make(chan struct{})} }

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.grew)
	s.grew = make(chan struct{})
	return s.text.Write(b)
}

func (s *screen) look() (string, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String(), s.grew
}

// until waits until the screen shows a text.
func (s *screen) until(t *testing.T, want string) {
	t.Helper()
	timeout := time.After(60 * time.Second)
	for {
		text, grew := s.look()
		if strings.Contains(text, want) {
			return
		}
		select {
		case <-grew:
		case <-timeout:
			t.Fatalf("no %q on the screen:\n%s", want, text)
		}
	}
}

// standingDev is the directory of a dev environment that has played its story and stays up
// until end or the end of the test. It has to end without a complaint.
func standingDev(t *testing.T) (dir string, end func()) {
	t.Helper()
	dir = shortDir(t)
	ctx, interrupt := context.WithCancel(context.Background())
	tv, ended := newScreen(), make(chan int, 1)
	go func() {
		ended <- run(ctx, func() {}, []string{"dev", "--dir", dir}, strings.NewReader(""), tv, tv)
	}()
	end = sync.OnceFunc(func() {
		interrupt()
		if code := <-ended; code != exitOK {
			text, _ := tv.look()
			t.Errorf("dev ended with %d: %s", code, text)
		}
	})
	t.Cleanup(end)
	tv.until(t, "Ctrl-C ends everything")
	return dir, end
}

// TestTakePart does what a person does with several terminals.
func TestTakePart(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	dir, end := standingDev(t)

	ok := func(stdin string, args ...string) string {
		t.Helper()
		code, out, errs := call(t, stdin, append(args, "--dir", dir)...)
		if code != exitOK {
			t.Fatalf("%v: exit %d: %s%s", args, code, out, errs)
		}
		return out
	}
	refused := func(want int, say string, args ...string) {
		t.Helper()
		code, out, errs := call(t, "", append(args, "--dir", dir)...)
		if code != want || !strings.Contains(errs, say) {
			t.Errorf("%v: exit %d, want %d with %q: %s%s", args, code, want, say, out, errs)
		}
	}
	bob := []string{"--as", "bob@b.localhost", "--room", "Lunch"}
	with := func(who []string, verb ...string) []string { return append(verb, who...) }

	t.Run("one environment per directory", func(t *testing.T) {
		refused(exitFailed, "already running", "dev", "--exit")
	})
	t.Run("rooms", func(t *testing.T) {
		var rooms []roomJSON
		if err := json.Unmarshal([]byte(ok("", "room", "list", "--as", "bob@b.localhost")), &rooms); err != nil || len(rooms) != 2 {
			t.Errorf("%d rooms, want 2: %v", len(rooms), err)
		}
		var changes []changeJSON
		if err := json.Unmarshal([]byte(ok("", with(bob, "room", "history")...)), &changes); err != nil || len(changes) < 4 {
			t.Errorf("%d changes: %v", len(changes), err)
		}
		refused(exitFailed, "no chat", "room", "show", "--as", "bob@b.localhost", "--room", "Dinner")
	})
	t.Run("send and read across providers", func(t *testing.T) {
		var m messageJSON
		if err := json.Unmarshal([]byte(ok("", with(bob, "send", "hello", "from", "a", "terminal")...)), &m); err != nil || m.State != client.Posted {
			t.Fatalf("state %q, want posted: %v", m.State, err)
		}
		out := ok("", "tail", "--as", "alice@a.localhost", "--room", "Lunch", "--since", "0", "--count", "1000", "--until", "hello from a terminal")
		if !strings.Contains(out, "hello from a terminal") {
			t.Errorf("alice did not read it: %s", out)
		}
	})
	t.Run("chat over pipes, its device in use, a further device", func(t *testing.T) {
		in, keyboard := io.Pipe()
		chat, left := newScreen(), make(chan int, 1)
		go func() {
			left <- run(t.Context(), func() {}, append(with(bob, "chat", "--device", "phone"), "--dir", dir), in, chat, chat)
		}()
		chat.until(t, "hello from a terminal")
		io.WriteString(keyboard, "typed in the chat\n")
		chat.until(t, "posted")
		chat.until(t, "✓ a.localhost  ✓ b.localhost")
		refused(exitFailed, "--device", with(bob, "send", "--device", "phone", "never")...)
		ok("", with(bob, "send", "--device", "tablet", "from the tablet")...)
		chat.until(t, "from the tablet")
		keyboard.Close()
		if code := <-left; code != exitOK {
			text, _ := chat.look()
			t.Errorf("chat left with %d: %s", code, text)
		}
	})
	t.Run("outage", func(t *testing.T) {
		ok("", "dev", "kill", "a")
		refused(exitFailed, "not running", "dev", "stop", "a")
		var m messageJSON
		if err := json.Unmarshal([]byte(ok("", with(bob, "send", "--wait", "1s", "into the outage")...)), &m); err != nil || m.State != client.Queued {
			t.Errorf("state %q, want queued: %v", m.State, err)
		}
		var rooms []roomJSON
		if err := json.Unmarshal([]byte(ok("", "room", "list", "--as", "alice@a.localhost")), &rooms); err != nil || len(rooms) == 0 ||
			rooms[0].AsOfMS == 0 || rooms[0].Name == "" {
			t.Errorf("alice's own copy: %+v, %v", rooms, err)
		}
		refused(exitUnreachable, "does not answer", "room", "add", "--as", "alice@a.localhost", "--room", "Lunch", "bob@b.localhost")
		if code, out, _ := call(t, "", "chat", "--as", "alice@a.localhost", "--room", "Lunch", "--dir", dir); code != exitOK ||
			!strings.Contains(out, "own copy as of") || !strings.Contains(out, "hello from a terminal") {
			t.Errorf("alice's chat without her provider: exit %d: %s", code, out)
		}
		var st messageStatusJSON
		refused(exitFailed, "no message", "message", "show", "Lunch", "1", "--as", "bob@b.localhost")
		if err := json.Unmarshal([]byte(ok("", "message", "show", "Lunch", m.ID[:12], "--as", "bob@b.localhost")), &st); err != nil ||
			st.State != client.Queued || len(st.Providers) != 0 {
			t.Errorf("while the hub is down: %+v, %v", st, err)
		}
		ok("", "dev", "start", "a")
		out := ok("", "tail", "--as", "alice@a.localhost", "--room", "Lunch", "--since", "0", "--count", "1000", "--until", "into the outage")
		if n := strings.Count(out, "into the outage"); n != 1 {
			t.Errorf("the message came %d times", n)
		}
	})
	t.Run("delivery and peers", func(t *testing.T) {
		var m messageJSON
		if err := json.Unmarshal([]byte(ok("", with(bob, "send", "how", "far")...)), &m); err != nil || m.State != client.Posted {
			t.Fatalf("%+v, %v", m, err)
		}
		var st messageStatusJSON
		for range 100 { // the hub has b's word some milliseconds after the post
			if err := json.Unmarshal([]byte(ok("", "message", "show", "Lunch", fmt.Sprint(m.Seq), "--as", "alice@a.localhost")), &st); err != nil {
				t.Fatal(err)
			}
			if len(st.Providers) > 1 && st.Providers[1].State == client.Stored {
				break
			}
		}
		if st.ID != m.ID || !st.Providers[0].Hub || st.Providers[0].State != client.Stored || st.Providers[1].Provider != "b.localhost" ||
			st.Providers[1].State != client.Stored || st.Providers[1].AsOfMS == 0 {
			t.Errorf("how far it has come: %+v", st)
		}
		var r roomJSON
		if err := json.Unmarshal([]byte(ok("", with(bob, "room", "show")...)), &r); err != nil || len(r.Providers) < 2 || r.Providers[0].State != client.Stored {
			t.Errorf("room show: %+v, %v", r, err)
		}
		at := []string{"--at", "a.localhost"}
		if out := ok("", with(at, "peer", "test", "b.localhost")...); !strings.Contains(out, `"seen_as": "a.localhost"`) && !strings.Contains(out, `"seen_as":  "a.localhost"`) {
			t.Errorf("peer test: %s", out)
		}
		ok("", with(at, "peer", "hold", "b.localhost", "--reason", "a test")...)
		if out := ok("", with(at, "peer", "show", "b.localhost")...); !strings.Contains(out, "a test") {
			t.Errorf("peer show: %s", out)
		}
		if out := ok("", with(at, "peer", "resume", "b.localhost")...); !strings.Contains(out, "true") {
			t.Errorf("peer resume: %s", out)
		}
		ok("", with(at, "peer", "retry", "b.localhost")...)
		ok("", with(at, "peer", "list")...)
		refused(exitFailed, "not frozen", "room", "thaw", string(m.Room), "--at", "a.localhost", "--yes")
		refused(exitFailed, "nothing is known", "peer", "show", "z.localhost", "--at", "a.localhost")
		refused(exitUsage, "which provider", "peer", "list")
	})
	t.Run("removed people are told", func(t *testing.T) {
		var rooms []roomJSON
		if err := json.Unmarshal([]byte(ok("", "room", "list", "--as", "cathy@c.localhost")), &rooms); err != nil || len(rooms) != 1 || rooms[0].Participant {
			t.Fatalf("cathy's rooms: %+v, %v", rooms, err)
		}
		refused(exitDenied, "not a member", "send", "--as", "cathy@c.localhost", "--room", string(rooms[0].Room), "let me in")
	})
	t.Run("users", func(t *testing.T) {
		ok("", "user", "add", "dora@b.localhost")
		refused(exitFailed, "", "user", "add", "dora@b.localhost")
		ok("", "user", "enrol", "dora@b.localhost")
		dora, alice := []string{"--as", "dora@b.localhost"}, []string{"--as", "alice@a.localhost"}
		refused(exitDenied, "has not consented", with(dora, "room", "create", "Unasked", "--add", "alice@a.localhost")...)
		ok("", with(dora, "consent", "request", "alice@a.localhost", "--mutual")...)
		for begin := time.Now(); !strings.Contains(ok("", with(alice, "consent", "list")...), `u/dora`); {
			if time.Since(begin) > 20*time.Second {
				t.Fatal("alice is not asked")
			}
		}
		ok("", with(alice, "consent", "grant", "dora@b.localhost")...)
		ok("", with(dora, "room", "create", "Tea", "--add", "alice@a.localhost")...)
		if out := ok("", with(alice, "find", "handle=dora@b.localhost")...); strings.Contains(out, "dora") {
			t.Errorf("found somebody who does not want to be: %s", out)
		}
		ok("", with(dora, "profile", "set", "handle", "--search", "exact")...)
		ok("", with(dora, "profile", "set", "nickname", "dodo", "--search", "partial")...)
		if out := ok("", with(alice, "find", "handle=dora@b.localhost", "name=DOD")...); !strings.Contains(out, "dodo") {
			t.Errorf("did not find dora: %s", out)
		}
		refused(exitFailed, "more exact", with(alice, "find", "--at", "b.localhost", "name=do")...)
		ok("", "send", "--as", "dora@b.localhost", "--room", "Tea", "the kettle is on")
	})
	t.Run("rules", func(t *testing.T) {
		alice, b := []string{"--as", "alice@a.localhost", "--room", "Board"}, []string{"--as", "bob@b.localhost", "--room", "Board"}
		ok("", "room", "create", "Board", "--as", "alice@a.localhost", "--policy", "strict", "--add", "bob@b.localhost")
		refused(exitUsage, "no such preset", "room", "create", "Poem", "--as", "alice@a.localhost", "--policy", "poem")
		refused(exitDenied, "bob@b.localhost may not add cathy@c.localhost: role ordinary_user lacks canAddParticipant", with(b, "room", "add", "cathy@c.localhost")...)
		ok("", with(alice, "room", "role", "bob@b.localhost", "group_admin")...)
		var r roomJSON
		for range 100 { // b hears of it some milliseconds later
			if err := json.Unmarshal([]byte(ok("", with(b, "room", "show")...)), &r); err != nil || len(r.Participants) != 2 {
				t.Fatalf("room show: %+v, %v", r, err)
			}
			if r.Participants[1].RoleName == "group_admin" {
				break
			}
		}
		if r.Participants[0].RoleName != "super_admin" || r.Participants[1].RoleName != "group_admin" {
			t.Errorf("people and roles: %+v", r.Participants)
		}
		ok("", with(b, "room", "add", "cathy@c.localhost")...)
		ok("", with(b, "room", "rename", "Board")...)
		ok("", with(b, "room", "ban", "cathy@c.localhost")...)
		refused(exitFailed, "banned", with(b, "room", "add", "cathy@c.localhost")...)
		var roles []roleJSON
		if err := json.Unmarshal([]byte(ok("", with(b, "room", "role")...)), &roles); err != nil || len(roles) != 6 || roles[1].Name != "banned" {
			t.Errorf("roles: %+v, %v", roles, err)
		}
		var made struct {
			Room string `json:"room"`
		}
		if err := json.Unmarshal([]byte(ok("", "room", "create", "Orgs", "--as", "alice@a.localhost", "--policy", "multi-org", "--org", "a.localhost,b.localhost")), &made); err != nil {
			t.Fatal(err)
		}
		ok("", "user", "add", "erin@a.localhost")
		ok("", "user", "enrol", "erin@a.localhost")
		ok("", "room", "join", made.Room, "--as", "erin@a.localhost") // of the host's organisation
		refused(exitDenied, "does not let", "room", "join", made.Room, "--as", "cathy@c.localhost")
		refused(exitUsage, "", "room", "join", "Orgs", "--as", "erin@a.localhost")
	})
	t.Run("links", func(t *testing.T) {
		var made struct {
			Link string `json:"link"`
		}
		alice := []string{"--as", "alice@a.localhost", "--room", "Board"}
		if err := json.Unmarshal([]byte(ok("", with(alice, "room", "link", "create", "--once", "--expires", "1h")...)), &made); err != nil {
			t.Fatal(err)
		}
		refused(exitDenied, "one person each", with(alice, "room", "link", "create", "--multiuser")...)
		refused(exitUsage, "168h0m0s at most", with(alice, "room", "link", "create", "--expires", "500h")...)
		ok("", "user", "add", "finn@c.localhost")
		ok("", "user", "enrol", "finn@c.localhost")
		ok("", "room", "wishes", "--no-logging", "--no-bots", "--as", "finn@c.localhost")
		if out := ok("", "room", "wishes", "--no-bots=false", "--as", "finn@c.localhost"); !strings.Contains(out, `"no_logging": true`) || strings.Contains(out, "no_bots") {
			t.Errorf("wishes: %s", out)
		}
		ok("", "room", "join", made.Link, "--as", "finn@c.localhost") // nobody else of c is in it
		ok("", "send", "--as", "finn@c.localhost", "--room", "Board", "came by a link")
		refused(exitDenied, "does not take this link", "room", "join", made.Link, "--as", "erin@a.localhost")
		var links []linkJSON
		if err := json.Unmarshal([]byte(ok("", with(alice, "room", "link", "list")...)), &links); err != nil || len(links) != 1 || !links[0].Once || links[0].ExpiresMS == 0 {
			t.Fatalf("links: %+v, %v", links, err)
		}
		ok("", with(alice, "room", "link", "revoke", links[0].ID)...)
		ok("", "user", "enrol", "finn@c.localhost", "--device", "laptop")
		refused(exitFailed, "finn/laptop could not be added", "room", "add-devices", "--room", "Board", "--as", "finn@c.localhost", "--device", "phone") // was never online
		refused(exitDenied, "add their clients themselves", with(alice, "room", "add-devices", "finn@c.localhost")...)
		refused(exitUsage, "0 join links", with(alice, "room", "link", "revoke", made.Link)...)
	})

	end()
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("something was left behind: %v", err)
	}
}
