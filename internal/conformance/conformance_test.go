package conformance

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"connectrpc.com/connect"

	"hubbub/client"
	"hubbub/client/clientpb"
	"hubbub/internal/fakepeer"
	"hubbub/internal/identity"
	"hubbub/internal/loopback"
	"hubbub/internal/provider"
	"hubbub/mimi"
)

const (
	target = mimi.Domain("a.localhost")
	played = mimi.Domain("b.localhost")
	third  = mimi.Domain("c.localhost")
)

// stage is a provider of ours and what it takes to play another one against it.
type stage struct {
	*testing.T
	dir   string
	ca    *identity.CA
	cfg   provider.Config
	alice *client.Client
	ask   Config
}

func (s *stage) ok(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *stage) file(name string) string { return filepath.Join(s.dir, name) }

func (s *stage) free() string {
	addr, err := loopback.Free()
	s.ok(err)
	return addr
}

func newStage(t *testing.T) *stage {
	s := &stage{T: t, dir: t.TempDir()}
	var err error
	s.ca, err = identity.NewCA("conformance test")
	s.ok(err)
	s.ok(s.ca.WriteCert(s.file("ca.pem")))
	s.play()
	s.start()
	s.enrol()
	s.ask.Use(s.alice)
	return s
}

// play prepares the providers that ask.
func (s *stage) play() {
	s.ask = Config{As: played, Roots: s.ca.Pool(), Listen: s.free()}
	s.ask.Certificate, s.ask.Issuer = s.identity(played)
	s.ask.Third = &Third{As: third, Listen: s.free()}
	s.ask.Third.Certificate, s.ask.Third.Issuer = s.identity(third)
}

// identity is with what a provider and its users prove who they are.
func (s *stage) identity(d mimi.Domain) (tls.Certificate, *identity.Issuer) {
	pair, err := s.ca.IssueTLS(d)
	s.ok(err)
	cert, err := pair.TLS()
	s.ok(err)
	ids, err := s.ca.IssueIdentityCA(d)
	s.ok(err)
	issuer, err := identity.NewIssuer(d, ids)
	s.ok(err)
	return cert, issuer
}

// start runs the provider that is asked.
func (s *stage) start() {
	pair, err := s.ca.IssueTLS(target)
	s.ok(err)
	s.ok(pair.WriteFiles(s.file("tls.pem"), s.file("tls.key")))
	ids, err := s.ca.IssueIdentityCA(target)
	s.ok(err)
	s.ok(ids.WriteFiles(s.file("id.pem"), s.file("id.key")))
	sockets, err := os.MkdirTemp("", "hubbub-conf-") // the path of a Unix socket must be short
	s.ok(err)
	s.Cleanup(func() { os.RemoveAll(sockets) })
	s.cfg = provider.Config{
		Identity: string(target), DataDir: s.file("data"), AdminSocket: filepath.Join(sockets, "admin.sock"), Consent: "ask",
		Federation: provider.FederationConfig{Listen: s.free(), CertFile: s.file("tls.pem"), KeyFile: s.file("tls.key"), CAFile: s.file("ca.pem"),
			Peers: map[string]provider.PeerConfig{string(played): {Address: s.ask.Listen}, string(third): {Address: s.ask.Third.Listen}}},
		API:        provider.APIConfig{Listen: s.free(), CertFile: s.file("tls.pem"), KeyFile: s.file("tls.key")},
		IdentityCA: provider.IdentityCAConfig{CertFile: s.file("id.pem"), KeyFile: s.file("id.key"), RootsFile: s.file("ca.pem")},
		Log:        provider.LogConfig{Level: "info", Format: "text"},
	}
	text, err := s.cfg.Encode()
	s.ok(err)
	s.ok(os.WriteFile(s.file("hubbub.toml"), text, 0o600))
	s.cfg, err = provider.Load(s.file("hubbub.toml")) // fills in the defaults
	s.ok(err)
	log := slog.New(slog.NewTextHandler(s.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	p, err := provider.New(s.cfg, log)
	s.ok(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	s.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			s.Errorf("the provider stopped with %v", err)
		}
	})
	s.ask.Target, s.ask.Address = "https://"+string(target), s.cfg.Federation.Listen
}

// enrol makes a user with a device that has published its KeyPackages.
func (s *stage) enrol() {
	const handle = "alice@a.localhost"
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", s.cfg.AdminSocket)
	}}
	admin := clientpb.NewAdminServiceClient(&http.Client{Transport: tr}, "http://admin")
	ctx, cancel := context.WithTimeout(s.Context(), 30*time.Second)
	defer cancel()
	_, err := admin.AddUser(ctx, connect.NewRequest(&clientpb.AddUserRequest{User: handle}))
	s.ok(err)
	code, err := admin.CreateEnrolmentCode(ctx, connect.NewRequest(&clientpb.CreateEnrolmentCodeRequest{User: handle}))
	s.ok(err)
	user, err := mimi.ParseHandle(handle)
	s.ok(err)
	s.ok(client.Enrol(ctx, client.EnrolOptions{
		Dir: s.file("alice"), Server: "https://" + s.cfg.API.Listen, ServerName: string(target),
		CA: s.ca.CertPEM(), User: user, Device: "phone", Code: code.Msg.Code,
	}))
	s.alice, err = client.Open(ctx, s.file("alice"), nil)
	s.ok(err)
	s.Cleanup(func() { s.alice.Close() })
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		users, err := admin.ListUsers(ctx, connect.NewRequest(&clientpb.ListUsersRequest{}))
		s.ok(err)
		if c := users.Msg.Users[0].Clients; len(c) == 1 && c[0].KeyPackages > 0 {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.Fatal(errors.New("no key packages are published"))
		}
	}
}

// Hubbub meets every requirement that can be judged, and none is left out.
func TestHubbub(t *testing.T) {
	s := newStage(t)
	began := time.Now()
	results, err := Run(t.Context(), s.ask)
	s.ok(err)
	t.Logf("%d requirements in %s", len(results), time.Since(began))
	for _, r := range results {
		t.Logf("%-8s %-14s %3d  %6s  %s %s", r.ID, r.Outcome, r.Probes, r.Took.Round(time.Millisecond), r.What, r.Reason)
		for _, f := range r.Failures {
			t.Errorf("%s: %s: expected %s, got %s", r.ID, f.What, f.Expected, f.Got)
		}
		if r.Outcome == Skipped {
			t.Errorf("%s is skipped: %s", r.ID, r.Reason)
		}
	}
}

// Every requirement of the sections that concern providers talking to each other
// is judged, or it is said why not.
func TestNoneIsForgotten(t *testing.T) {
	text, err := os.ReadFile("../../../shared/mimi-requirements.md")
	if err != nil {
		if os.Getenv("HUBBUB_REQUIRE_SHARED") != "" {
			t.Fatal(err)
		}
		t.Skip("the checklist of requirements does not lie beside the repository")
	}
	known := map[string]bool{}
	for _, c := range checks {
		if known[c.id] {
			t.Errorf("%s has two checks", c.id)
		}
		known[c.id] = true
		if (c.run == nil) == (c.why == "") || c.what == "" {
			t.Errorf("%s: a check either runs or says why not", c.id)
		}
	}
	found := 0
	for _, m := range regexp.MustCompile(`(?m)^- \*\*((?:WIRE|TRN|DIR|KM|UPD|SUB|FAN|GI|CON|IDQ|ABU|AST)-[0-9]+)\*\*`).FindAllStringSubmatch(string(text), -1) {
		if found++; !known[m[1]] {
			t.Errorf("%s has neither a check nor a reason", m[1])
		}
	}
	if found != len(checks) && !t.Failed() {
		t.Errorf("%d requirements, %d checks", found, len(checks))
	}
}

// A provider that takes everything fails, and so does one that takes nothing.
func TestCanFail(t *testing.T) {
	ca, err := identity.NewCA("conformance test")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.IssueTLS(played)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := pair.TLS()
	if err != nil {
		t.Fatal(err)
	}
	for name, status := range map[string]int{"takes everything": 201, "takes nothing": 404, "says it is fine": 200} {
		t.Run(name, func(t *testing.T) {
			every := slices.Concat(core, features[offersConsent], features[offersQuery], features[offersReport], features[offersProxy])
			bad, err := fakepeer.New(fakepeer.Config{Domain: target, CA: ca, Offers: every})
			if err != nil {
				t.Fatal(err)
			}
			defer bad.Close()
			for _, e := range every {
				bad.On(e, fakepeer.Status(status))
			}
			results, err := Run(t.Context(), Config{Target: "https://" + string(target), Address: bad.Addr(), As: played,
				Certificate: cert, Roots: ca.Pool(), User: "mimi://a.localhost/u/alice", Wait: time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]Outcome{}
			for _, r := range results {
				got[r.ID] = r.Outcome
			}
			for _, id := range []string{"TRN-1", "TRN-3", "TRN-4", "TRN-5", "TRN-7", "TRN-8", "WIRE-2", "WIRE-6", "WIRE-8", "KM-5", "KM-12", "KM-16", "GI-2",
				"CON-2", "CON-3", "IDQ-7", "IDQ-10", "AST-1", "AST-2", "AST-6"} {
				if got[id] != Fail {
					t.Errorf("%s: %s", id, got[id])
				}
			}
			for _, id := range []string{"FAN-17", "SUB-7", "UPD-14", "GI-1", "CON-9", "ABU-2", "FAN-1", "SUB-10"} {
				if got[id] != Skipped {
					t.Errorf("%s: %s", id, got[id])
				}
			}
			if got["DIR-1"] != Pass || got["UPD-26"] != NotApplicable || !Failed(results) {
				t.Errorf("DIR-1 %s, UPD-26 %s, failed %v", got["DIR-1"], got["UPD-26"], Failed(results))
			}
		})
	}
}
