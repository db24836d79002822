package devenv

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestClaim(t *testing.T) {
	fill := func(t *testing.T, dir string, m *Manifest) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "something"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if m != nil {
			if err := m.write(dir); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Run("new and empty", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "a", "b")
		for range 2 {
			if err := claim(dir); err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Run("somebody else's", func(t *testing.T) {
		dir := t.TempDir()
		fill(t, dir, nil)
		if err := claim(dir); !errors.Is(err, ErrForeign) {
			t.Errorf("%v, want ErrForeign", err)
		}
		if _, err := os.Stat(filepath.Join(dir, "something")); err != nil {
			t.Error("a file of somebody else was removed")
		}
	})
	t.Run("kept", func(t *testing.T) {
		dir := t.TempDir()
		fill(t, dir, &Manifest{Kept: true})
		if err := claim(dir); !errors.Is(err, ErrKept) {
			t.Errorf("%v, want ErrKept", err)
		}
	})
	t.Run("running", func(t *testing.T) {
		sockets, err := os.MkdirTemp("", "hubbub-")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(sockets)
		l, err := net.Listen("unix", filepath.Join(sockets, "s"))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		dir := t.TempDir()
		fill(t, dir, &Manifest{Control: l.Addr().String(), PID: 4711})
		if err := claim(dir); !errors.Is(err, ErrRunning) || !strings.Contains(err.Error(), "4711") {
			t.Errorf("%v, want ErrRunning with the process", err)
		}
	})
	t.Run("left by a crash", func(t *testing.T) {
		dir := t.TempDir()
		fill(t, dir, &Manifest{Control: filepath.Join(dir, "nobody")})
		if err := claim(dir); err != nil {
			t.Fatal(err)
		}
		if entries, _ := os.ReadDir(dir); len(entries) != 0 {
			t.Errorf("left: %v", entries)
		}
	})
}

func TestSocketDir(t *testing.T) {
	if _, own, err := socketDir(filepath.Join(t.TempDir(), strings.Repeat("long", 30))); err != nil || !own {
		t.Errorf("a path too long for the kernel: own %t, %v", own, err)
	} else if p, own, err := socketDir(shortTemp(t)); err != nil || own {
		t.Errorf("%s: own %t, %v", p, own, err)
	}
}

func shortTemp(t *testing.T) string {
	dir, err := os.MkdirTemp("", "h")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestPlan(t *testing.T) {
	providers, err := plan(t.TempDir(), t.TempDir(), 5)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, p := range providers {
		for _, s := range []string{p.API, p.Federation, p.Data, p.AdminSocket} {
			if seen[s] {
				t.Errorf("%s is used twice", s)
			}
			seen[s] = true
		}
		text := configText(p, "ca.pem", providers)
		if n := strings.Count(text, "[federation.peers."); n != 4 {
			t.Errorf("%s has %d peers, want 4", p.Domain, n)
		}
		if strings.Contains(text, `[federation.peers."`+string(p.Domain)) {
			t.Errorf("%s is its own peer", p.Domain)
		}
	}
	m := Manifest{Providers: providers}
	for _, name := range []string{"b", "b.localhost"} {
		if p, ok := m.Find(name); !ok || p.Domain != "b.localhost" {
			t.Errorf("Find(%q) = %v %t", name, p.Domain, ok)
		}
	}
	if _, ok := m.Find("z"); ok {
		t.Error("found a provider that does not exist")
	}
}
