package provider

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"hubbub/internal/identity"
	"hubbub/internal/loopback"
	"hubbub/mimi"
)

// world is a CA and providers on loopback under it, each with its own directory.
type world struct {
	t       testing.TB
	ca      *identity.CA
	caFile  string
	cfgs    map[mimi.Domain]Config
	running map[mimi.Domain]*running

	log     *slog.Logger      // instead of the test's own; nil = that
	codes   func(code string) // hears of every enrolment code
	devices []string          // directories
}

type running struct {
	*Provider
	cancel context.CancelFunc
	done   chan error
}

func newWorld(t testing.TB, domains ...mimi.Domain) *world {
	t.Helper()
	ca, err := identity.NewCA("provider test")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	w := &world{t: t, ca: ca, caFile: filepath.Join(dir, "ca.pem"), cfgs: map[mimi.Domain]Config{}, running: map[mimi.Domain]*running{}}
	if err := ca.WriteCert(w.caFile); err != nil {
		t.Fatal(err)
	}
	peers := map[string]PeerConfig{}
	for _, d := range domains {
		w.cfgs[d] = w.config(filepath.Join(dir, string(d)), d)
		peers[string(d)] = PeerConfig{Address: w.cfgs[d].Federation.Listen}
	}
	for d, c := range w.cfgs {
		c.Federation.Peers = peers
		w.cfgs[d] = c
	}
	t.Cleanup(func() {
		for d := range w.running {
			w.stop(d)
		}
	})
	return w
}

func (w *world) config(dir string, d mimi.Domain) Config {
	w.t.Helper()
	file := func(name string) string { return filepath.Join(dir, name) }
	tlsPair, err := w.ca.IssueTLS(d)
	if err == nil {
		err = tlsPair.WriteFiles(file("tls.pem"), file("tls.key"))
	}
	if err != nil {
		w.t.Fatal(err)
	}
	issuer, err := w.ca.IssueIdentityCA(d)
	if err == nil {
		err = issuer.WriteFiles(file("id.pem"), file("id.key"))
	}
	if err != nil {
		w.t.Fatal(err)
	}
	sockets, err := os.MkdirTemp("", "hubbub-test-") // the path of a Unix socket must be short
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { os.RemoveAll(sockets) })
	return Config{
		Identity: string(d), DataDir: file("data"), AdminSocket: filepath.Join(sockets, "admin.sock"),
		Federation: FederationConfig{Listen: freeAddr(w.t), CertFile: file("tls.pem"), KeyFile: file("tls.key"), CAFile: w.caFile},
		API:        APIConfig{Listen: freeAddr(w.t)},
		IdentityCA: IdentityCAConfig{CertFile: file("id.pem"), KeyFile: file("id.key"), RootsFile: w.caFile},
		Limits:     NoLimits(),
		Consent:    consentOpen, HideUsers: hideNo,
	}.withDefaults()
}

// freeAddr picks an address that stays the same when a provider starts again.
func freeAddr(t testing.TB) string {
	t.Helper()
	addr, err := loopback.Free()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// testLog shows what providers have to say when a test fails or runs verbosely.
func (w *world) testLog(d mimi.Domain) *slog.Logger {
	return slog.New(slog.NewTextHandler(w.t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo})).With("provider", d)
}

func (w *world) start(d mimi.Domain) *running {
	w.t.Helper()
	log := w.testLog(d)
	if w.log != nil {
		log = w.log.With("provider", d)
	}
	p, err := New(w.cfgs[d], log)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{p, cancel, make(chan error, 1)}
	go func() { r.done <- p.Run(ctx) }()
	w.running[d] = r
	return r
}

func (w *world) stop(d mimi.Domain) {
	w.t.Helper()
	r := w.running[d]
	delete(w.running, d)
	r.cancel()
	if err := <-r.done; err != nil {
		w.t.Errorf("%s stopped with %v", d, err)
	}
}
