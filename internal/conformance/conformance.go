// Package conformance asks a provider of MIMI, any provider, whether it does what
// the protocol demands, requirement by requirement.
//
// It plays another provider (internal/fakepeer): with nothing but a certificate it
// tries transport, directory and malformed bodies; with a user of the target it
// claims key material, adds that user to a room of its own and announces to the
// target; with somebody who invites its own user to a room of the target it posts,
// changes and reads that room as a follower.
//
// What comes out is one Result for each requirement. Requirements are those of the
// project's checklist (docs/conformance.md says what the ids mean). A requirement
// that nobody can judge from outside is listed with the reason.
package conformance

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"hubbub/internal/fakepeer"
	"hubbub/internal/identity"
	"hubbub/internal/room/roomtest"
	"hubbub/mimi"
)

// Config says whom to ask, and as whom. Target, As, Certificate and Roots are
// required.
type Config struct {
	Target  string // https://HOST[:PORT], where HOST is the provider's domain
	Address string // host:port to dial in place of what Target says

	As          mimi.Domain // whom to play
	Certificate tls.Certificate
	Roots       *x509.CertPool
	Listen      string // where the target reaches us
	// Issuer vouches for our users; nil = basic credentials, which few providers
	// believe.
	Issuer *identity.Issuer

	User mimi.UserURI // of the target, for what needs one; "" = none
	// Allow has that user let requester, a user of ours, add it to rooms; nil = it
	// does so already.
	Allow func(ctx context.Context, requester mimi.UserURI) error
	// Invite has a user of the target create a room there, add guest to it and post
	// the text; nil = what needs that is skipped.
	Invite func(ctx context.Context, guest mimi.UserURI, text string) error
	// Room is a room of the target for requests for GroupInfo that must be refused,
	// in place of one that is not there.
	Room mimi.RoomURI

	Only []string      // ids or their prefixes; nil = all
	Wait time.Duration // for what the target has to do by itself [10 s]
}

// Outcome is what became of a requirement.
type Outcome string

// The outcomes.
const (
	Pass          Outcome = "pass"
	Fail          Outcome = "fail"
	NotApplicable Outcome = "not applicable"
	Skipped       Outcome = "skipped"
)

// Failure is one thing that was tried and went otherwise.
type Failure struct {
	What     string `json:"what"`
	Expected string `json:"expected"`
	Got      string `json:"got"`
}

// Result is the outcome for one requirement.
type Result struct {
	ID       string        `json:"id"`
	What     string        `json:"what"`
	Outcome  Outcome       `json:"outcome"`
	Probes   int           `json:"probes"` // things tried
	Failures []Failure     `json:"failures,omitempty"`
	Reason   string        `json:"reason,omitempty"` // of what is neither pass nor fail, or a remark
	Took     time.Duration `json:"took_ns"`
}

// session is one run.
type session struct {
	cfg    Config
	target mimi.Domain
	addr   string
	run    string // distinguishes this run's names from those of others
	peer   *fakepeer.Peer
	rooms  *roomtest.World

	directory map[string]string
	offered   mimi.Directory
	bodies    []sample
	claimant  *roomtest.Client
	claims    []*mimi.KeyMaterialResponse
	hosting   *hosting
	guest     *guest
	why       map[string]error // preconditions that failed, by name
}

// Run asks everything that the configuration allows. The error says that nothing
// could be asked at all.
func Run(ctx context.Context, cfg Config) ([]Result, error) {
	s, err := newSession(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer s.peer.Close()
	var results []Result
	for _, c := range checks {
		if wanted(cfg.Only, c.id) {
			results = append(results, s.judge(ctx, c))
		}
	}
	return results, nil
}

// newSession starts the provider played and reads the target's directory. The
// caller closes the peer.
func newSession(ctx context.Context, cfg Config) (*session, error) {
	if cfg.Wait == 0 {
		cfg.Wait = 10 * time.Second
	}
	u, err := url.Parse(cfg.Target)
	if err != nil || u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("the target is https://HOST or https://HOST:PORT, not %q", cfg.Target)
	}
	domain, err := mimi.ParseDomain(u.Hostname())
	if err != nil {
		return nil, err
	}
	s := &session{cfg: cfg, target: domain, addr: cfg.Address, why: map[string]error{}}
	if s.addr == "" {
		port := u.Port()
		if port == "" {
			port = "443"
		}
		s.addr = net.JoinHostPort(u.Hostname(), port)
	}
	var name [4]byte
	rand.Read(name[:])
	s.run = "probe-" + hex.EncodeToString(name[:])
	s.rooms = &roomtest.World{T: stopper{}, Now: time.Now}
	s.peer, err = fakepeer.New(fakepeer.Config{
		Domain: cfg.As, Certificate: &cfg.Certificate, Roots: cfg.Roots, Listen: cfg.Listen, Anywhere: true,
		Peers: map[mimi.Domain]string{domain: s.addr}, Base: base,
		Offers: append(slices.Clone(fakepeer.Offered), mimi.EndpointSnapshot),
	})
	if err != nil {
		return nil, err
	}
	if err := s.readDirectory(ctx); err != nil {
		s.why[needDirectory] = err
	}
	return s, nil
}

// base is a path that nobody would guess: who finds our endpoints has read the
// directory (DIR-3).
const base = "/played/7/"

func wanted(only []string, id string) bool {
	if len(only) == 0 {
		return true
	}
	return slices.ContainsFunc(only, func(o string) bool {
		return o == id || strings.HasPrefix(id, strings.TrimSuffix(o, "-")+"-")
	})
}

// Failed says whether any requirement is not met.
func Failed(results []Result) bool {
	return slices.ContainsFunc(results, func(r Result) bool { return r.Outcome == Fail })
}

// stop ends a check from within: roomtest has no errors to return.
type stop struct{ err error }

type stopper struct{}

func (stopper) Helper() {}

func (stopper) Fatalf(format string, args ...any) { panic(stop{fmt.Errorf(format, args...)}) }

// judge runs one check.
func (s *session) judge(ctx context.Context, c check) (r Result) {
	p := &probe{s: s, Result: Result{ID: c.id, What: c.what}}
	began := time.Now()
	defer func() {
		if v := recover(); v != nil {
			stopped, ok := v.(stop)
			if !ok {
				panic(v)
			}
			p.failed("going on", "", stopped.err.Error())
			p.Outcome = Fail
		}
		r = p.Result
		r.Took = time.Since(began)
	}()
	if c.run == nil {
		p.Outcome, p.Reason = NotApplicable, c.why
		return
	}
	if reason := s.lacks(ctx, c.needs); reason != "" {
		p.Outcome, p.Reason = Skipped, reason
		return
	}
	c.run(ctx, p)
	switch {
	case len(p.Failures) > 0:
		p.Outcome = Fail
	case p.Outcome == "":
		p.Outcome = Pass
	}
	return
}

// Preconditions of checks.
const (
	needDirectory = "a directory that can be read"
	needUser      = "a user of the target (--user)"
	needHosting   = "a user of the target in a room of ours"
	needGuest     = "our user in a room of the target"
)

// lacks makes sure of a precondition, once, and says what is in the way.
func (s *session) lacks(ctx context.Context, needs []string) string {
	for _, need := range needs {
		err, known := s.why[need]
		if !known {
			err = s.prepare(ctx, need)
			s.why[need] = err
		}
		if err != nil {
			return fmt.Sprintf("%s: %v", need, err)
		}
	}
	return ""
}

var errNotGiven = errors.New("not given")

func (s *session) prepare(ctx context.Context, need string) (err error) {
	defer func() {
		if v := recover(); v != nil {
			stopped, ok := v.(stop)
			if !ok {
				panic(v)
			}
			err = stopped.err
		}
	}()
	switch need {
	case needUser:
		if s.cfg.User == "" {
			return errNotGiven
		}
		if s.cfg.Allow != nil {
			return s.cfg.Allow(ctx, s.requester().User)
		}
	case needHosting:
		return s.host(ctx)
	case needGuest:
		return s.visit(ctx)
	}
	return nil
}
