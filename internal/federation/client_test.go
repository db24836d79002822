package federation

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hubbub/internal/identity"
	"hubbub/internal/room"
	"hubbub/mimi"
)

func leafOf(t *testing.T, issuer *identity.Issuer) tls.Certificate {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := issuer.IssueClient("mimi://b.localhost/u/bob", "mimi://b.localhost/d/bob/x", pub, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: chain, PrivateKey: key}
}

// stranger is a provider that is not ours: any handler, any certificate.
func (w *world) stranger(cert mimi.Domain, h http.Handler) string {
	w.t.Helper()
	srv := newHTTPServer(h, ServerConfig{Certificate: w.cert(cert), Roots: w.ca.Pool(), Log: slog.New(slog.DiscardHandler)})
	return w.listen(func(ln net.Listener) error { return srv.ServeTLS(ln, "", "") }, srv.Shutdown)
}

// clock is set by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// mover publishes update under a path that can change, and answers only there.
type mover struct {
	path    atomic.Value // string
	control string       // Cache-Control
	fetches atomic.Int64
	status  int // of other paths
}

func (m *mover) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := m.path.Load().(string)
	switch {
	case r.URL.Path == mimi.DirectoryPath:
		m.fetches.Add(1)
		w.Header().Set("Cache-Control", m.control)
		fmt.Fprintf(w, `{"update":"https://a.localhost%s{roomId}","unknown":["x"],"notify":"http://a.localhost/n/{roomId}"}`, path)
	case r.URL.EscapedPath() == path+escaped:
		io.WriteString(w, "here")
	default:
		w.WriteHeader(m.status)
	}
}

func TestDirectoryCacheAndRefetch(t *testing.T) {
	w := newWorld(t)
	m := &mover{status: http.StatusNotFound}
	m.path.Store("/x/1/")
	clk := &clock{now: time.Unix(1e9, 0)}
	addr := w.stranger("a.localhost", m)
	c := w.client("b.localhost", map[mimi.Domain]string{"a.localhost": addr}, func(cfg *ClientConfig) { cfg.Now = clk.Now })
	update := func() error {
		_, err := c.Update(t.Context(), "a.localhost", testRoom, []byte("x"))
		return err
	}
	fetches := func(want int64, when string) {
		t.Helper()
		if got := m.fetches.Load(); got != want {
			t.Errorf("%s: directory fetched %d times, want %d", when, got, want)
		}
	}
	if err := errors.Join(update(), update()); err != nil {
		t.Fatal(err)
	}
	fetches(1, "two calls")
	clk.advance(maxDirectoryAge - time.Second)
	if err := update(); err != nil {
		t.Fatal(err)
	}
	fetches(1, "just fresh")
	clk.advance(2 * time.Second)
	if err := update(); err != nil {
		t.Fatal(err)
	}
	fetches(2, "an hour later")
	for i, status := range []int{404, 410, 421} {
		m.status = status
		m.path.Store(fmt.Sprintf("/moved/%d/", i))
		clk.advance(minDirectoryAge)
		if err := update(); err != nil {
			t.Errorf("moved with %d: %v", status, err)
		}
		fetches(int64(3+i), "moved")
	}
	// A directory that is wrong and young is not fetched for each call.
	m.status = 404
	m.path.Store("/moved/again/")
	for range 3 {
		if err := update(); asProblem(err).Status != 404 {
			t.Errorf("young directory: %v", err)
		}
	}
	fetches(5, "young")
	// http: templates are no endpoints (DIR-7).
	if err := c.Notify(t.Context(), "a.localhost", testRoom, room.Pos{}, nil); asProblem(err).Code != "no-endpoint" {
		t.Errorf("http template: %v", err)
	}
}

func TestFreshness(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"":                    time.Hour,
		"max-age=60":          time.Minute,
		"public, Max-Age=120": 2 * time.Minute,
		"max-age=999999999":   time.Hour,
		"max-age=0":           minDirectoryAge,
		"no-store":            minDirectoryAge,
		"max-age=junk":        time.Hour,
	} {
		if got := freshness(in); got != want {
			t.Errorf("%q: %v, want %v", in, got, want)
		}
	}
}

// A peer that starts to publish rubbish keeps its last good directory (H85).
func TestRubbishDirectory(t *testing.T) {
	w := newWorld(t)
	var broken atomic.Bool
	addr := w.stranger("a.localhost", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != mimi.DirectoryPath:
			io.WriteString(rw, "here")
		case broken.Load():
			io.WriteString(rw, "<html>")
		default:
			io.WriteString(rw, `{"update":"https://a.localhost/u/{roomId}"}`)
		}
	}))
	clk := &clock{now: time.Unix(1e9, 0)}
	addrs := map[mimi.Domain]string{"a.localhost": addr}
	c := w.client("b.localhost", addrs, func(cfg *ClientConfig) { cfg.Now = clk.Now })
	for range 2 {
		if _, err := c.Update(t.Context(), "a.localhost", testRoom, nil); err != nil {
			t.Error(err)
		}
		broken.Store(true)
		clk.advance(2 * time.Hour)
	}
	if _, err := w.client("b.localhost", addrs, nil).Update(t.Context(), "a.localhost", testRoom, nil); asProblem(err).Code != "bad-answer" {
		t.Errorf("rubbish from the start: %v", err)
	}
}

func TestOddAnswers(t *testing.T) {
	w := newWorld(t)
	var status atomic.Int64
	var size atomic.Int64
	addr := w.stranger("a.localhost", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == mimi.DirectoryPath {
			fmt.Fprint(rw, `{"update":"https://a.localhost/u/{roomId}","notify":"https://a.localhost/n/{roomId}"}`)
			return
		}
		if r.URL.Path == "/elsewhere" {
			t.Error("a redirect was followed")
		}
		rw.Header().Set("Location", "/elsewhere")
		rw.WriteHeader(int(status.Load()))
		rw.Write(make([]byte, size.Load()))
	}))
	c := w.client("b.localhost", map[mimi.Domain]string{"a.localhost": addr}, nil)
	for _, tc := range []struct {
		status, size   int64
		update, notify int // status of the problem; 0 = none
	}{
		{200, 5, 0, 0}, {201, 0, 502, 0}, {202, 0, 502, 0}, {204, 0, 502, 0}, {206, 5, 502, 502},
		{301, 0, 502, 502}, {307, 0, 502, 502},
		{400, 9, 400, 400}, {404, 0, 404, 404}, {503, 0, 503, 503},
		{200, maxAnswerBytes, 0, 0}, {200, maxAnswerBytes + 1, 502, 502},
	} {
		status.Store(tc.status)
		size.Store(tc.size)
		_, err := c.Update(t.Context(), "a.localhost", testRoom, nil)
		if got := asProblem(err).Status; got != tc.update || (err == nil) != (tc.update == 0) {
			t.Errorf("update answered %d with %d octets: %v", tc.status, tc.size, err)
		}
		err = c.Notify(t.Context(), "a.localhost", testRoom, room.Pos{}, nil)
		if got := asProblem(err).Status; got != tc.notify || (err == nil) != (tc.notify == 0) {
			t.Errorf("notify answered %d with %d octets: %v", tc.status, tc.size, err)
		}
	}
}

// D-10: the certificate must carry the peer's domain, and the URL's host.
func TestServerIdentity(t *testing.T) {
	w := newWorld(t)
	roles := &fakeRoles{body: []byte("x")}
	_, addr := w.server("c.localhost", roles, nil)
	c := w.client("b.localhost", map[mimi.Domain]string{"a.localhost": addr}, nil)
	if _, err := c.Update(t.Context(), "a.localhost", testRoom, nil); !errors.Is(err, ErrUnreachable) {
		t.Errorf("c.localhost answering as a.localhost: %v", err)
	}
	// A directory that points to a host whose certificate lacks the domain.
	other := w.stranger("a.localhost", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		io.WriteString(rw, `{"update":"https://c.localhost/v1/update/{roomId}"}`)
	}))
	c = w.client("b.localhost", map[mimi.Domain]string{"a.localhost": other}, nil)
	if _, err := c.Update(t.Context(), "a.localhost", testRoom, nil); !errors.Is(err, ErrUnreachable) {
		t.Errorf("endpoint at a foreign host: %v", err)
	}
	if calls := roles.take(); len(calls) != 0 {
		t.Errorf("a role was called: %q", calls)
	}
	strange := newWorld(t)
	c = strange.client("b.localhost", map[mimi.Domain]string{"a.localhost": addr}, nil)
	if _, err := c.Update(t.Context(), "a.localhost", testRoom, nil); !errors.Is(err, ErrUnreachable) {
		t.Errorf("server under an unknown root: %v", err)
	}
}

func TestCancelAndDown(t *testing.T) {
	w := newWorld(t)
	c := w.client("b.localhost", map[mimi.Domain]string{"a.localhost": "127.0.0.1:1"}, nil)
	if _, err := c.Update(t.Context(), "a.localhost", testRoom, nil); !errors.Is(err, ErrUnreachable) {
		t.Errorf("nobody there: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	addr := w.stranger("a.localhost", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}))
	c = w.client("b.localhost", map[mimi.Domain]string{"a.localhost": addr}, nil)
	if _, err := c.Update(ctx, "a.localhost", testRoom, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// H83: without a configured address only public ones are dialled.
func TestDialsPublicAddresses(t *testing.T) {
	w := newWorld(t)
	c := w.client("b.localhost", nil, nil)
	if _, err := c.Update(t.Context(), "localhost", testRoom, nil); !errors.Is(err, ErrUnreachable) {
		t.Errorf("dialling localhost: %v", err)
	}
}

// A peer that resets every stream must not keep us dialling.
func TestResetStorm(t *testing.T) {
	w := newWorld(t)
	var conns atomic.Int64
	cfg := newHTTPServer(nil, ServerConfig{Certificate: w.cert("a.localhost"), Roots: w.ca.Pool(), Log: slog.New(slog.DiscardHandler)}).TLSConfig
	cfg.NextProtos = []string{"h2"}
	addr := w.listen(func(ln net.Listener) error {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return err
			}
			conns.Add(1)
			go resetStream(tls.Server(conn, cfg))
		}
	}, func(context.Context) error { return nil })
	c := w.client("b.localhost", map[mimi.Domain]string{"a.localhost": addr}, nil)
	if _, err := c.Update(t.Context(), "a.localhost", testRoom, nil); !errors.Is(err, ErrUnreachable) {
		t.Errorf("reset: %v", err)
	}
	if n := conns.Load(); n == 0 || n > maxDials {
		t.Errorf("%d connections for one request", n)
	}
}

// resetStream answers the first request on a connection with PROTOCOL_ERROR.
func resetStream(conn net.Conn) {
	defer conn.Close()
	conn.Write([]byte{0, 0, 0, 4, 0, 0, 0, 0, 0}) // SETTINGS
	var b [4096]byte
	for {
		n, err := conn.Read(b[:])
		if err != nil {
			return
		}
		if bytes.Contains(b[:n], []byte{1, 5, 0, 0, 0, 1}) { // HEADERS of stream 1
			conn.Write([]byte{0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 1}) // RST_STREAM
		}
	}
}

// Naming domains at random must not fill the memory.
func TestPeersAreBounded(t *testing.T) {
	c := NewClient(ClientConfig{})
	for i := range 2 * maxPeers {
		c.peer(mimi.Domain(fmt.Sprintf("p%d.localhost", i)))
	}
	if len(c.peers) > maxPeers {
		t.Errorf("%d peers held", len(c.peers))
	}
}
