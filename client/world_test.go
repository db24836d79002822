package client

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"connectrpc.com/connect"

	"hubbub/client/clientpb"
	"hubbub/internal/identity"
	"hubbub/internal/loopback"
	"hubbub/internal/provider"
	"hubbub/mimi"
)

// patience is how long anything may take on a busy machine.
const patience = 30 * time.Second

// world is providers on loopback under a throw-away CA.
type world struct {
	t       *testing.T
	ca      *identity.CA
	caFile  string
	cfgs    map[mimi.Domain]provider.Config
	running map[mimi.Domain]func()
}

func newWorld(t *testing.T, domains ...mimi.Domain) *world {
	t.Helper()
	ca, err := identity.NewCA("client test")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	w := &world{t: t, ca: ca, caFile: filepath.Join(dir, "ca.pem"), cfgs: map[mimi.Domain]provider.Config{}, running: map[mimi.Domain]func(){}}
	if err := ca.WriteCert(w.caFile); err != nil {
		t.Fatal(err)
	}
	peers := map[string]provider.PeerConfig{}
	for _, d := range domains {
		w.cfgs[d] = w.config(filepath.Join(dir, string(d)), d)
		peers[string(d)] = provider.PeerConfig{Address: w.cfgs[d].Federation.Listen}
	}
	for _, d := range domains {
		c := w.cfgs[d]
		c.Federation.Peers = peers
		w.cfgs[d] = c
		w.start(d)
	}
	t.Cleanup(func() {
		for d := range w.running {
			w.stop(d)
		}
	})
	return w
}

func (w *world) config(dir string, d mimi.Domain) provider.Config {
	w.t.Helper()
	file := func(name string) string { return filepath.Join(dir, name) }
	tlsPair, err := w.ca.IssueTLS(d)
	w.ok(err)
	w.ok(tlsPair.WriteFiles(file("tls.pem"), file("tls.key")))
	issuer, err := w.ca.IssueIdentityCA(d)
	w.ok(err)
	w.ok(issuer.WriteFiles(file("id.pem"), file("id.key")))
	sockets, err := os.MkdirTemp("", "hubbub-test-") // the path of a Unix socket must be short
	w.ok(err)
	w.t.Cleanup(func() { os.RemoveAll(sockets) })
	return provider.Config{
		Identity: string(d), DataDir: file("data"), HeadsFile: file("heads"), AdminSocket: filepath.Join(sockets, "admin.sock"), Consent: "open", HideUsers: "no", Log: provider.LogConfig{Level: "info", Format: "text"},
		Federation: provider.FederationConfig{Listen: freeAddr(w.t), CertFile: file("tls.pem"), KeyFile: file("tls.key"), CAFile: w.caFile},
		API:        provider.APIConfig{Listen: freeAddr(w.t), CertFile: file("tls.pem"), KeyFile: file("tls.key")},
		IdentityCA: provider.IdentityCAConfig{CertFile: file("id.pem"), KeyFile: file("id.key"), RootsFile: w.caFile},
		Limits:     provider.NoLimits(),
	}
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	addr, err := loopback.Free()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

func (w *world) start(d mimi.Domain) {
	w.t.Helper()
	log := slog.New(slog.NewTextHandler(w.t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo})).With("provider", d)
	p, err := provider.New(w.cfgs[d], log)
	w.ok(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	w.running[d] = func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("%s stopped with %v", d, err)
		}
	}
}

func (w *world) stop(d mimi.Domain) {
	w.t.Helper()
	stop := w.running[d]
	delete(w.running, d)
	stop()
}

// enrol makes a device of a user, whom it makes if need be.
func (w *world) enrol(handle, name string) (dir string) {
	w.t.Helper()
	dir = filepath.Join(w.t.TempDir(), "device")
	w.ok(Enrol(w.t.Context(), w.enrolment(dir, handle, name)))
	return dir
}

func (w *world) enrolment(dir, handle, name string) EnrolOptions {
	w.t.Helper()
	user, err := mimi.ParseHandle(handle)
	w.ok(err)
	socket := w.cfgs[user.Domain()].AdminSocket
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	defer tr.CloseIdleConnections()
	admin := clientpb.NewAdminServiceClient(&http.Client{Transport: tr}, "http://admin")
	if _, err := admin.AddUser(w.t.Context(), connect.NewRequest(&clientpb.AddUserRequest{User: handle})); err != nil && connect.CodeOf(err) != connect.CodeAlreadyExists {
		w.t.Fatal(err)
	}
	code, err := admin.CreateEnrolmentCode(w.t.Context(), connect.NewRequest(&clientpb.CreateEnrolmentCodeRequest{User: handle}))
	w.ok(err)
	return EnrolOptions{Dir: dir, Server: "https://" + w.cfgs[user.Domain()].API.Listen, ServerName: string(user.Domain()),
		CA: w.ca.CertPEM(), User: user, Device: name, Code: code.Msg.Code}
}

func (w *world) open(dir string, o *Options) *Client {
	w.t.Helper()
	c, err := Open(w.t.Context(), dir, o)
	w.ok(err)
	w.t.Cleanup(func() { c.Close() })
	return c
}

func (w *world) device(handle, name string) *Client {
	w.t.Helper()
	c := w.open(w.enrol(handle, name), nil)
	w.ok(c.WaitConnected(w.ctx()))
	w.stocked(c)
	return c
}

// stocked waits until a device's KeyPackages are at its provider.
func (w *world) stocked(c *Client) {
	w.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for ctx := w.ctx(); ; {
		res, err := c.t.api.KeyPackageStatus(ctx, connect.NewRequest(&clientpb.KeyPackageStatusRequest{}))
		w.ok(err)
		if int(res.Msg.Available) == c.opts.KeyPackages {
			return
		}
		<-tick.C
	}
}

// until waits for a condition on a device's state; it is looked at with mu held
// and after each change.
func (w *world) until(c *Client, what string, holds func() bool) {
	w.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		c.mu.Lock()
		done, changed := holds(), c.changed
		c.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-deadline.C:
			c.mu.Lock()
			for _, r := range c.rooms {
				w.t.Logf("%s: phase %d at %v, missed %d, suspicious %q, pending %t", r.uri, r.phase, r.pos, r.missed, r.suspicious, r.pending != nil)
			}
			c.mu.Unlock()
			w.t.Fatalf("%s: waited in vain for %s", c.URI(), what)
		}
	}
}

// member waits until a device is in a room's group.
func (w *world) member(c *Client, uri mimi.RoomURI) {
	w.t.Helper()
	w.until(c, "membership", func() bool { return c.rooms[uri].member() == nil })
}

// texts waits until a device shows these posted texts in this order.
func (w *world) texts(c *Client, uri mimi.RoomURI, want ...string) {
	w.t.Helper()
	var got []string
	w.until(c, "its messages", func() bool {
		list, err := c.selectMessages(w.t.Context(), "room = ? AND seq > 0 ORDER BY seq", string(uri))
		w.ok(err)
		got = nil
		for _, m := range list {
			got = append(got, m.Text)
		}
		if len(got) > len(want) {
			w.t.Fatalf("%s shows %q, want %q", c.URI(), got, want)
		}
		return len(got) == len(want)
	})
	if !slices.Equal(got, want) {
		w.t.Fatalf("%s shows %q, want %q", c.URI(), got, want)
	}
}

func (w *world) ctx() context.Context {
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*patience)
	w.t.Cleanup(cancel)
	return ctx
}

// room makes a room of the devices given, the first being its creator.
func (w *world) room(creator *Client, others ...*Client) mimi.RoomURI {
	w.t.Helper()
	var members []mimi.UserURI
	for _, c := range others {
		members = append(members, c.User())
	}
	uri, results, err := creator.CreateRoom(w.ctx(), RoomOptions{Name: "room", Members: members})
	w.ok(err)
	for _, r := range results {
		w.ok(r.Err)
	}
	for _, c := range others {
		w.member(c, uri)
	}
	return uri
}

func (w *world) send(c *Client, uri mimi.RoomURI, text string) Message {
	w.t.Helper()
	m, err := c.Send(w.ctx(), uri, text)
	w.ok(err)
	return m
}

func (w *world) posted(c *Client, uri mimi.RoomURI, m Message) Message {
	w.t.Helper()
	m, err := c.WaitPosted(w.ctx(), uri, m.ID)
	w.ok(err)
	return m
}
