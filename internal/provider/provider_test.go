package provider

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hubbub/internal/store"
)

func TestLifecycle(t *testing.T) {
	w := newWorld(t, "a.localhost")
	cfg := w.cfgs["a.localhost"]
	for range 2 { // the second start finds what the first left
		w.start("a.localhost")
		r := readReady(t, cfg)
		if r.PID != os.Getpid() || r.API != cfg.API.Listen || r.Federation != cfg.Federation.Listen {
			t.Errorf("ready file %+v", r)
		}
		if st, err := os.Stat(cfg.AdminSocket); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("admin socket: %v, %v", st, err)
		}
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: w.ca.Pool(), ServerName: "a.localhost"}}}
		res, err := client.Get("https://" + cfg.API.Listen + "/nothing")
		if err != nil || res.StatusCode != http.StatusNotFound {
			t.Errorf("client API: %v, %v", res, err)
		}
		client.CloseIdleConnections()
		w.stop("a.localhost")
		if _, err := os.Stat(filepath.Join(cfg.DataDir, readyFile)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("ready file after the stop: %v", err)
		}
	}
}

// readReady waits for the ready file.
func readReady(t *testing.T, cfg Config) (r ready) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for {
		b, err := os.ReadFile(filepath.Join(cfg.DataDir, readyFile))
		if err == nil && json.Unmarshal(b, &r) == nil {
			return r
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not ready: %v", err)
		}
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	w := newWorld(t, "a.localhost")
	w.start("a.localhost")
	_, err := New(w.cfgs["a.localhost"], w.testLog("a.localhost"))
	if !errors.Is(err, store.ErrLocked) || !strings.Contains(err.Error(), "another process runs this provider") {
		t.Errorf("second start: %v", err)
	}
}

// What a kill leaves behind must not be in the way: a ready file that lies and a
// socket nobody listens on.
func TestLeftovers(t *testing.T) {
	w := newWorld(t, "a.localhost")
	cfg := w.cfgs["a.localhost"]
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(cfg.DataDir, readyFile), []byte(`{"pid":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	ln, err := listenUnix(cfg.AdminSocket)
	if err != nil {
		t.Fatal(err)
	}
	ln.(interface{ SetUnlinkOnClose(bool) }).SetUnlinkOnClose(false)
	ln.Close()
	p, err := New(cfg, w.testLog("a.localhost"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(cfg.DataDir, readyFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the ready file of a killed process: %v", err)
	}
	if err := errors.Join(p.Close(), p.Close()); err != nil {
		t.Error(err)
	}
}

func TestListenUnixRefuses(t *testing.T) {
	dir, err := os.MkdirTemp("", "hubbub-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listenUnix(file); err == nil {
		t.Error("a plain file was replaced")
	}
	sock := filepath.Join(dir, "sock")
	ln, err := listenUnix(sock)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	if _, err := listenUnix(sock); err == nil {
		t.Error("a live socket was replaced")
	}
}

func TestNewExplains(t *testing.T) {
	w := newWorld(t, "a.localhost", "b.localhost")
	good := w.cfgs["a.localhost"]
	for name, tc := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"no certificate":      {func(c *Config) { c.Federation.CertFile = "/absent" }, "federation certificate"},
		"foreign certificate": {func(c *Config) { c.Federation = w.cfgs["b.localhost"].Federation }, "DNS name a.localhost"},
		"foreign issuer":      {func(c *Config) { c.IdentityCA = w.cfgs["b.localhost"].IdentityCA }, "DNS name a.localhost"},
		"roots are a key":     {func(c *Config) { c.Federation.CAFile = c.Federation.KeyFile }, "ca_file"},
		"address in use":      {func(c *Config) { c.API.Listen = c.Federation.Listen }, "api.listen"},
		"not validated":       {func(c *Config) { c.Identity = "" }, "identity: is required"},
	} {
		cfg := good
		tc.change(&cfg)
		if p, err := New(cfg, w.testLog("a.localhost")); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
			if err == nil {
				p.Close()
			}
		}
	}
	// Each failure has released the data directory.
	p, err := New(good, w.testLog("a.localhost"))
	if err != nil {
		t.Fatal(err)
	}
	p.Close()
}

// P21: a fault in a worker ends the whole, with an error.
func TestCrewFails(t *testing.T) {
	for name, fault := range map[string]func(context.Context) error{
		"panic":         func(context.Context) error { panic("fault") },
		"error":         func(context.Context) error { return errors.New("fault") },
		"silent return": func(context.Context) error { return nil },
	} {
		c := newCrew(t.Context(), slog.New(slog.DiscardHandler))
		ended := make(chan struct{})
		c.work("healthy", func(ctx context.Context) error { <-ctx.Done(); close(ended); return nil })
		c.work("ill", fault)
		<-c.ctx.Done()
		c.stop(t.Context(), nil)
		<-ended
		if c.err() == nil || !strings.Contains(c.err().Error(), "ill") {
			t.Errorf("%s: %v", name, c.err())
		}
	}
}
