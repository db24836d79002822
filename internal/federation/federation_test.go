package federation

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hubbub/internal/identity"
	"hubbub/internal/room"
	"hubbub/mimi"
	"hubbub/mimi/checkpoint"
)

const testRoom mimi.RoomURI = "mimi://a.localhost/r/club"

// fakeRoles answers with what a test sets and records what reached it.
type fakeRoles struct {
	mu    sync.Mutex
	calls []string
	fail  func() error
	body  []byte
}

func (f *fakeRoles) note(format string, args ...any) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
	if f.fail != nil {
		return nil, f.fail()
	}
	return f.body, nil
}

func (f *fakeRoles) take() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	calls := f.calls
	f.calls = nil
	return calls
}

func (f *fakeRoles) failWith(fail func() error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = fail
}

func (f *fakeRoles) KeyMaterial(_ context.Context, peer mimi.Domain, target mimi.UserURI, body []byte) ([]byte, error) {
	return f.note("keyMaterial %s %s %s", peer, target, body)
}

func (f *fakeRoles) Update(_ context.Context, peer mimi.Domain, uri mimi.RoomURI, body []byte) ([]byte, error) {
	return f.note("update %s %s %s", peer, uri, body)
}

func (f *fakeRoles) SubmitMessage(_ context.Context, peer mimi.Domain, uri mimi.RoomURI, body []byte) ([]byte, error) {
	return f.note("submitMessage %s %s %s", peer, uri, body)
}

func (f *fakeRoles) SubmitBatch(_ context.Context, peer mimi.Domain, body []byte) ([]byte, error) {
	return f.note("submitBatch %s %s", peer, body)
}

func (f *fakeRoles) Notify(_ context.Context, peer mimi.Domain, uri mimi.RoomURI, pos *room.Pos, body []byte) error {
	_, err := f.note("notify %s %s %v %s", peer, uri, pos, body)
	return err
}

func (f *fakeRoles) Checkpoint(_ context.Context, peer mimi.Domain, uri mimi.RoomURI, signed []byte) error {
	_, err := f.note("checkpoint %s %s %s", peer, uri, signed)
	return err
}

func (f *fakeRoles) Report(_ context.Context, peer mimi.Domain, uri mimi.RoomURI) (*checkpoint.Report, error) {
	_, err := f.note("report %s %s", peer, uri)
	return &checkpoint.Report{Seq: 7, Signed: []byte("note")}, err
}

func (f *fakeRoles) GroupInfo(_ context.Context, peer mimi.Domain, uri mimi.RoomURI, body []byte) ([]byte, error) {
	return f.note("groupInfo %s %s %s", peer, uri, body)
}

func (f *fakeRoles) Snapshot(_ context.Context, peer mimi.Domain, uri mimi.RoomURI, seq uint64) ([]byte, error) {
	return f.note("snapshot %s %s %d", peer, uri, seq)
}

// world is a CA and what hangs on it.
type world struct {
	t  *testing.T
	ca *identity.CA
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ca, err := identity.NewCA("federation test")
	if err != nil {
		t.Fatal(err)
	}
	return &world{t, ca}
}

func (w *world) cert(d mimi.Domain) tls.Certificate {
	w.t.Helper()
	p, err := w.ca.IssueTLS(d)
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := p.TLS()
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// listen serves s on loopback until the test ends and gives its address.
func (w *world) listen(serve func(net.Listener) error, stop func(context.Context) error) string {
	w.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- serve(ln) }()
	w.t.Cleanup(func() {
		ln.Close()
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // do not wait for anybody
		stop(ctx)
		<-done
	})
	return ln.Addr().String()
}

func (w *world) server(d mimi.Domain, roles Roles, change func(*ServerConfig)) (*Server, string) {
	w.t.Helper()
	cfg := ServerConfig{Domain: d, Certificate: w.cert(d), Roots: w.ca.Pool(), Roles: roles}
	if change != nil {
		change(&cfg)
	}
	s, err := NewServer(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return s, w.listen(s.Serve, s.Shutdown)
}

func (w *world) client(d mimi.Domain, addrs map[mimi.Domain]string, change func(*ClientConfig)) *Client {
	w.t.Helper()
	cfg := ClientConfig{Domain: d, Certificate: w.cert(d), Roots: w.ca.Pool(), Address: addrs}
	if change != nil {
		change(&cfg)
	}
	c := NewClient(cfg)
	w.t.Cleanup(c.Close)
	return c
}

func TestThreeProviders(t *testing.T) {
	w := newWorld(t)
	domains := []mimi.Domain{"a.localhost", "b.localhost", "c.localhost"}
	roles, addrs := map[mimi.Domain]*fakeRoles{}, map[mimi.Domain]string{}
	for _, d := range domains {
		roles[d] = &fakeRoles{body: []byte("answer of " + d)}
		_, addrs[d] = w.server(d, roles[d], nil)
	}
	pos := room.Pos{Seq: 7, Hash: [32]byte{1, 2, 3}}
	for _, from := range domains {
		c := w.client(from, addrs, nil)
		for _, to := range domains {
			testCalls(t, c, from, to, roles[to], pos)
		}
	}
}

func testCalls(t *testing.T, c *Client, from, to mimi.Domain, roles *fakeRoles, pos room.Pos) {
	t.Helper()
	ctx := t.Context()
	uri := mimi.RoomURI("mimi://" + to + "/r/a%20room")
	user := mimi.UserURI("mimi://" + to + "/u/bob")
	for want, call := range map[string]func() ([]byte, error){
		fmt.Sprintf("keyMaterial %s %s K", from, user):  func() ([]byte, error) { return c.KeyMaterial(ctx, to, user, []byte("K")) },
		fmt.Sprintf("update %s %s U", from, uri):        func() ([]byte, error) { return c.Update(ctx, to, uri, []byte("U")) },
		fmt.Sprintf("submitMessage %s %s S", from, uri): func() ([]byte, error) { return c.SubmitMessage(ctx, to, uri, []byte("S")) },
		fmt.Sprintf("groupInfo %s %s G", from, uri):     func() ([]byte, error) { return c.GroupInfo(ctx, to, uri, []byte("G")) },
		fmt.Sprintf("snapshot %s %s 3", from, uri):      func() ([]byte, error) { return c.Snapshot(ctx, to, uri, 3) },
		fmt.Sprintf("notify %s %s %v N", from, uri, &pos): func() ([]byte, error) {
			return roles.body, c.Notify(ctx, to, uri, pos, []byte("N"))
		},
	} {
		answer, err := call()
		if err != nil || string(answer) != string(roles.body) {
			t.Errorf("%s: answer %q, %v", want, answer, err)
		}
		if got := roles.take(); len(got) != 1 || got[0] != want {
			t.Errorf("role got %q, want %q", got, want)
		}
	}
}

func TestRefusalsTravel(t *testing.T) {
	w := newWorld(t)
	roles := &fakeRoles{}
	s, addr := w.server("a.localhost", roles, nil)
	c := w.client("b.localhost", map[mimi.Domain]string{"a.localhost": addr}, nil)
	for name, tc := range map[string]struct {
		fail func() error
		want mimi.Problem
	}{
		"problem": {func() error {
			p := mimi.NewProblem(429, mimi.CodeTooMany, "slow down")
			p.RetryAfter = 3 * time.Second
			return fmt.Errorf("wrapped: %w", p)
		}, mimi.Problem{Status: 429, Code: mimi.CodeTooMany, Detail: "slow down", RetryAfter: 3 * time.Second}},
		"disk full": {func() error { return errFull() }, mimi.Problem{Status: 507, Code: "storage-full", RetryAfter: retryLater}},
		"own fault": {func() error { return errors.New("secret canary") }, mimi.Problem{Status: 503, Code: mimi.CodeUnavailable, RetryAfter: retryLater}},
		"panic":     {func() error { panic("secret canary") }, mimi.Problem{Status: 500, Code: mimi.CodeInternal}},
	} {
		roles.failWith(tc.fail)
		_, err := c.Update(t.Context(), "a.localhost", testRoom, []byte("x"))
		var p *mimi.Problem
		if !errors.As(err, &p) || p.Status != tc.want.Status || p.Code != tc.want.Code || p.RetryAfter != tc.want.RetryAfter {
			t.Errorf("%s: %#v, want %#v", name, err, tc.want)
		} else if tc.want.Detail != "" && p.Detail != tc.want.Detail {
			t.Errorf("%s: detail %q", name, p.Detail)
		}
	}
	if s.Panics() != 1 {
		t.Errorf("panics counted: %d, want 1", s.Panics())
	}
	roles.failWith(nil)
	roles.body = []byte("alive")
	if _, err := c.Update(t.Context(), "a.localhost", testRoom, []byte("x")); err != nil {
		t.Errorf("after the panic: %v", err)
	}
}

func TestAliveAndAllowed(t *testing.T) {
	w := newWorld(t)
	var alive atomic.Int64
	roles := &fakeRoles{body: []byte("x")}
	_, addr := w.server("a.localhost", roles, func(cfg *ServerConfig) {
		cfg.Alive = func(d mimi.Domain) {
			if d != "b.localhost" {
				t.Errorf("alive: %s", d)
			}
			alive.Add(1)
		}
		cfg.Allowed = func(d mimi.Domain) bool { return d == "b.localhost" }
	})
	addrs := map[mimi.Domain]string{"a.localhost": addr}
	if _, err := w.client("b.localhost", addrs, nil).Update(t.Context(), "a.localhost", testRoom, nil); err != nil {
		t.Error(err)
	}
	_, err := w.client("c.localhost", addrs, nil).Update(t.Context(), "a.localhost", testRoom, nil)
	if p := asProblem(err); p.Status != 403 || p.Code != mimi.CodePeerNotAllowed {
		t.Errorf("peer not on the list: %v", err)
	}
	if alive.Load() != 2 { // directory and update of b
		t.Errorf("alive heard %d times, want 2", alive.Load())
	}
	only := w.client("b.localhost", addrs, func(cfg *ClientConfig) { cfg.Allowed = func(mimi.Domain) bool { return false } })
	if _, err := only.Update(t.Context(), "a.localhost", testRoom, nil); asProblem(err).Code != mimi.CodePeerNotAllowed {
		t.Errorf("outgoing: %v", err)
	}
}

func TestNewServerWantsItsOwnCertificate(t *testing.T) {
	w := newWorld(t)
	pair, err := w.ca.IssueIdentityCA("a.localhost")
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := pair.TLS()
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serverOnly := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"a.localhost"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, serverOnly, issuer.Leaf, key.Public(), issuer.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, cert := range map[string]tls.Certificate{
		"foreign":         w.cert("b.localhost"),
		"none":            {},
		"serverAuth only": {Certificate: [][]byte{der}, PrivateKey: key},
	} {
		if _, err := NewServer(ServerConfig{Domain: "a.localhost", Certificate: cert}); !errors.Is(err, ErrCertificate) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func asProblem(err error) *mimi.Problem {
	var p *mimi.Problem
	if !errors.As(err, &p) {
		return &mimi.Problem{}
	}
	return p
}

func TestPos(t *testing.T) {
	pos := room.Pos{Seq: 1 << 63, Hash: [32]byte{31: 0xff}}
	h := http.Header{}
	writePos(h, pos)
	if got, err := readPos(h); err != nil || *got != pos {
		t.Errorf("round trip: %v, %v", got, err)
	}
	good := h.Get(HeaderHash)
	if got, err := readPos(http.Header{}); got != nil || err != nil {
		t.Errorf("no headers: %v, %v", got, err)
	}
	for name, h := range map[string]http.Header{
		"only seq":   {HeaderSeq: {"1"}},
		"only hash":  {HeaderHash: {good}},
		"two":        {HeaderSeq: {"1", "1"}, HeaderHash: {good}},
		"sign":       {HeaderSeq: {"+1"}, HeaderHash: {good}},
		"zero ahead": {HeaderSeq: {"01"}, HeaderHash: {good}},
		"too big":    {HeaderSeq: {"18446744073709551616"}, HeaderHash: {good}},
		"short":      {HeaderSeq: {"1"}, HeaderHash: {good[:62]}},
		"not hex":    {HeaderSeq: {"1"}, HeaderHash: {"zz" + good[2:]}},
	} {
		if _, err := readPos(h); asProblem(err).Status != 400 {
			t.Errorf("%s: %v", name, err)
		}
	}
}
