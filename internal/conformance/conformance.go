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

	// Third is another provider that we play as well, for what takes three; nil = what
	// needs it is skipped.
	Third *Third

	User mimi.UserURI // of the target, for what needs one; "" = none
	// Allow has that user let requester, a user of ours, add it to a room, or if room is
	// empty to any; nil = it lets the requester named in the documentation do so already.
	Allow func(ctx context.Context, requester mimi.UserURI, room mimi.RoomURI) error
	// Revoke has it take that back; nil = what needs it is skipped, as with all below.
	Revoke func(ctx context.Context, requester mimi.UserURI, room mimi.RoomURI) error
	// Ask has it ask a user of ours for consent.
	Ask func(ctx context.Context, whom mimi.UserURI) error
	// Find has it look for a nickname at another provider; finding nobody is no error.
	Find func(ctx context.Context, at mimi.Domain, nick string) error
	// Findable has it be found by its whole handle and by this nickname, which is all of
	// the profile that may be searched.
	Findable func(ctx context.Context, nick string) error
	// Invite has it create a room at the target, add guest to it and post the text.
	Invite func(ctx context.Context, guest mimi.UserURI, text string) error
	// Post has it say something in a room of ours that it was added to.
	Post func(ctx context.Context, room mimi.RoomURI, text string) error
	// Away takes its devices offline for good, so that none of them commits what is
	// pending. It is called when nothing more is wanted of the user.
	Away func() error
	// Room is a room of the target for requests for GroupInfo that must be refused,
	// in place of one that is not there.
	Room mimi.RoomURI

	Only []string      // ids or their prefixes; nil = all
	Wait time.Duration // for what the target has to do by itself [10 s]
}

// Third is a second provider played.
type Third struct {
	As          mimi.Domain
	Certificate tls.Certificate
	Listen      string
	Issuer      *identity.Issuer
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
	third     *session         // the other provider played; nil = none
	adding    *adding          // how its user came into the guest's room
	posted    *postings        // what the target's user posted in the room of ours
	scoped    *scoped          // consents of the test user to one of ours
	findable  bool             // the test user can be found by now
	why       map[string]error // preconditions that failed, by name
}

// Run asks everything that the configuration allows. The error says that nothing
// could be asked at all.
func Run(ctx context.Context, cfg Config) ([]Result, error) {
	s, err := newSession(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer s.close()
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
	if err := s.play(mimi.VarTargetUser); err != nil {
		return nil, err
	}
	if err := s.readDirectory(ctx); err != nil {
		s.why[needDirectory] = err
	}
	if t := cfg.Third; t != nil {
		if s.third, err = s.another(t); err != nil {
			s.close()
			return nil, err
		}
	}
	return s, nil
}

// play starts the provider played. Its directory names the variable of requestConsent as
// the draft does in one of two places (DIR-6).
func (s *session) play(variable string) (err error) {
	s.peer, err = fakepeer.New(fakepeer.Config{
		Domain: s.cfg.As, Certificate: &s.cfg.Certificate, Roots: s.cfg.Roots, Listen: s.cfg.Listen, Anywhere: true,
		Peers: map[mimi.Domain]string{s.target: s.addr}, Base: base,
		Offers: append(slices.Clone(fakepeer.Offered), mimi.EndpointSnapshot, mimi.EndpointRequestConsent, mimi.EndpointUpdateConsent,
			mimi.EndpointIdentifierQuery),
		Variables: map[mimi.Endpoint]string{mimi.EndpointRequestConsent: variable},
	})
	return err
}

// another plays the third provider, beside this one.
func (s *session) another(t *Third) (*session, error) {
	o := &session{cfg: s.cfg, target: s.target, addr: s.addr, run: s.run, rooms: s.rooms, offered: s.offered, why: map[string]error{}}
	o.cfg.As, o.cfg.Certificate, o.cfg.Listen, o.cfg.Issuer = t.As, t.Certificate, t.Listen, t.Issuer
	return o, o.play(mimi.VarTargetDomain)
}

func (s *session) close() {
	s.peer.Close()
	if s.third != nil && s.third.peer != nil {
		s.third.peer.Close()
	}
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
	needThird     = "a user of a third provider in that room (--third-as)"
	needPosts     = "the test user posting in a room of ours"
	needScoped    = "a test user who allows and revokes at our wish"
	needAway      = "a test user who goes offline at our wish"

	// Features that a provider may be without (DIR-2).
	offersConsent = "requestConsent and updateConsent in its directory"
	offersQuery   = "identifierQuery in its directory"
	offersReport  = "reportAbuse in its directory"
	offersProxy   = "proxyDownload in its directory"
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

var errNotOffered = errors.New("not offered")

// features are the endpoints that make up what may be missing.
var features = map[string][]mimi.Endpoint{
	offersConsent: {mimi.EndpointRequestConsent, mimi.EndpointUpdateConsent},
	offersQuery:   {mimi.EndpointIdentifierQuery},
	offersReport:  {mimi.EndpointReportAbuse},
	offersProxy:   {mimi.EndpointProxyDownload},
}

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
	for _, e := range features[need] {
		if s.offered[e] == "" {
			return errNotOffered
		}
	}
	switch need {
	case needUser:
		if s.cfg.User == "" {
			return errNotGiven
		}
		if s.cfg.Allow != nil {
			return s.cfg.Allow(ctx, s.requester().User, "")
		}
	case needHosting:
		return s.host(ctx)
	case needGuest:
		return s.visit(ctx)
	case needThird:
		return s.bring(ctx)
	case needPosts:
		return s.askForPosts(ctx)
	case needScoped:
		return s.scope(ctx)
	case needAway:
		if s.cfg.Away == nil {
			return errNotGiven
		}
		return s.cfg.Away()
	}
	return nil
}
