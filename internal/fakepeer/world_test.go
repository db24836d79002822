package fakepeer

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"hubbub/client"
	"hubbub/client/clientpb"
	"hubbub/internal/identity"
	"hubbub/internal/loopback"
	"hubbub/internal/provider"
	"hubbub/mimi"
)

const (
	a = mimi.Domain("a.localhost") // the hub
	b = mimi.Domain("b.localhost")
	c = mimi.Domain("c.localhost")
	d = mimi.Domain("d.localhost") // has no part in anything
)

// patience is how long anything may take on a busy machine.
const patience = 30 * time.Second

// world is providers in this process, under one CA that makes impostors too.
type world struct {
	*testing.T
	ca      *identity.CA
	dir     string
	cfgs    map[mimi.Domain]provider.Config
	running map[mimi.Domain]func()
	devices map[string]string // directories, by handle
}

func newWorld(t *testing.T, domains ...mimi.Domain) *world {
	t.Helper()
	w := &world{T: t, dir: t.TempDir(), cfgs: map[mimi.Domain]provider.Config{}, running: map[mimi.Domain]func(){}, devices: map[string]string{}}
	var err error
	w.ca, err = identity.NewCA("fake peer test")
	w.ok(err)
	w.ok(w.ca.WriteCert(w.file("ca.pem")))
	peers := map[string]provider.PeerConfig{}
	for _, domain := range append(domains, d) {
		cfg := w.config(domain)
		w.cfgs[domain] = cfg
		peers[string(domain)] = provider.PeerConfig{Address: cfg.Federation.Listen}
	}
	for _, domain := range domains {
		cfg := w.cfgs[domain]
		cfg.Federation.Peers = peers
		w.cfgs[domain] = w.load(domain, cfg)
		w.start(domain)
	}
	t.Cleanup(func() {
		for domain := range w.running {
			w.stop(domain)
		}
	})
	return w
}

func (w *world) file(parts ...string) string {
	return filepath.Join(append([]string{w.dir}, parts...)...)
}

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) config(domain mimi.Domain) provider.Config {
	w.Helper()
	file := func(name string) string { return w.file(string(domain), name) }
	pair, err := w.ca.IssueTLS(domain)
	w.ok(err)
	w.ok(pair.WriteFiles(file("tls.pem"), file("tls.key")))
	issuer, err := w.ca.IssueIdentityCA(domain)
	w.ok(err)
	w.ok(issuer.WriteFiles(file("id.pem"), file("id.key")))
	sockets, err := os.MkdirTemp("", "hubbub-fake-") // the path of a Unix socket must be short
	w.ok(err)
	w.Cleanup(func() { os.RemoveAll(sockets) })
	return provider.Config{
		Identity: string(domain), DataDir: file("data"), AdminSocket: filepath.Join(sockets, "admin.sock"), Consent: "open",
		Federation: provider.FederationConfig{Listen: w.freeAddr(), CertFile: file("tls.pem"), KeyFile: file("tls.key"), CAFile: w.file("ca.pem")},
		API:        provider.APIConfig{Listen: w.freeAddr(), CertFile: file("tls.pem"), KeyFile: file("tls.key")},
		IdentityCA: provider.IdentityCAConfig{CertFile: file("id.pem"), KeyFile: file("id.key"), RootsFile: w.file("ca.pem")},
		Log:        provider.LogConfig{Level: "info", Format: "text"},
	}
}

// load passes a configuration through a file, which fills in the defaults.
func (w *world) load(domain mimi.Domain, cfg provider.Config) provider.Config {
	w.Helper()
	text, err := cfg.Encode()
	w.ok(err)
	file := w.file(string(domain), "hubbub.toml")
	w.ok(os.WriteFile(file, text, 0o600))
	cfg, err = provider.Load(file)
	w.ok(err)
	return cfg
}

func (w *world) freeAddr() string {
	w.Helper()
	addr, err := loopback.Free()
	w.ok(err)
	return addr
}

func (w *world) start(domain mimi.Domain) {
	w.Helper()
	log := slog.New(slog.NewTextHandler(w.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})).With("provider", domain)
	p, err := provider.New(w.cfgs[domain], log)
	w.ok(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	w.running[domain] = func() {
		cancel()
		if err := <-done; err != nil {
			w.Errorf("%s stopped with %v", domain, err)
		}
	}
}

func (w *world) stop(domain mimi.Domain) {
	stop := w.running[domain]
	delete(w.running, domain)
	stop()
}

// save and restore copy what a stopped provider or a closed device has on disk.
func (w *world) save(dir, name string) {
	w.Helper()
	w.ok(os.RemoveAll(w.file("saved", name)))
	w.ok(os.CopyFS(w.file("saved", name), os.DirFS(dir)))
}

func (w *world) restore(dir, name string) {
	w.Helper()
	w.ok(os.RemoveAll(dir))
	w.ok(os.CopyFS(dir, os.DirFS(w.file("saved", name))))
	w.ok(filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return errors.Join(err, os.Chmod(path, 0o700))
		}
		return os.Chmod(path, 0o600)
	}))
}

// fake stands in for a provider that is not running, or for d.
func (w *world) fake(domain mimi.Domain) *Peer {
	w.Helper()
	addrs := map[mimi.Domain]string{}
	for other, cfg := range w.cfgs {
		addrs[other] = cfg.Federation.Listen
	}
	p, err := New(Config{Domain: domain, CA: w.ca, Listen: addrs[domain], Peers: addrs})
	w.ok(err)
	w.Cleanup(p.Close)
	return p
}

// voice speaks in a provider's name without standing in its place.
func (w *world) voice(domain mimi.Domain) *Peer {
	w.Helper()
	addrs := map[mimi.Domain]string{}
	for other, cfg := range w.cfgs {
		addrs[other] = cfg.Federation.Listen
	}
	p, err := New(Config{Domain: domain, CA: w.ca, Peers: addrs})
	w.ok(err)
	w.Cleanup(p.Close)
	return p
}

func (w *world) admin(domain mimi.Domain) clientpb.AdminServiceClient {
	socket := w.cfgs[domain].AdminSocket
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	return clientpb.NewAdminServiceClient(&http.Client{Transport: tr}, "http://admin")
}

// device enrols the device of a new user and opens it.
func (w *world) device(handle string) *client.Client {
	w.Helper()
	user, err := mimi.ParseHandle(handle)
	w.ok(err)
	admin := w.admin(user.Domain())
	_, err = admin.AddUser(w.Context(), connect.NewRequest(&clientpb.AddUserRequest{User: handle}))
	w.ok(err)
	code, err := admin.CreateEnrolmentCode(w.Context(), connect.NewRequest(&clientpb.CreateEnrolmentCodeRequest{User: handle}))
	w.ok(err)
	w.devices[handle] = w.file("devices", handle)
	w.ok(client.Enrol(w.Context(), client.EnrolOptions{
		Dir: w.devices[handle], Server: "https://" + w.cfgs[user.Domain()].API.Listen, ServerName: string(user.Domain()),
		CA: w.ca.CertPEM(), User: user, Device: "phone", Code: code.Msg.Code,
	}))
	dev := w.open(handle)
	w.until("key packages of "+handle, func(ctx context.Context) error {
		users, err := admin.ListUsers(ctx, connect.NewRequest(&clientpb.ListUsersRequest{}))
		if err != nil {
			return err
		}
		for _, u := range users.Msg.Users {
			for _, uc := range u.Clients {
				if uc.Client == string(dev.URI()) && uc.KeyPackages > 0 {
					return nil
				}
			}
		}
		return errors.New("none yet")
	})
	return dev
}

func (w *world) open(handle string) *client.Client {
	w.Helper()
	dev, err := client.Open(w.Context(), w.devices[handle], nil)
	w.ok(err)
	w.Cleanup(func() { dev.Close() })
	return dev
}

// until looks again and again until holds says nil.
func (w *world) until(what string, holds func(context.Context) error) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), patience)
	defer cancel()
	tick := time.NewTicker(15 * time.Millisecond)
	defer tick.Stop()
	for {
		err := holds(ctx)
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			w.Fatalf("%s: %v", what, err)
		}
	}
}

// at waits until a device's provider holds a room up to seq.
func (w *world) at(dev *client.Client, uri mimi.RoomURI, seq uint64) {
	w.Helper()
	w.until(fmt.Sprintf("%s at %d", dev.URI(), seq), func(ctx context.Context) error {
		info, err := dev.Room(ctx, uri)
		if err == nil && info.Pos.Seq != seq {
			err = errors.New(info.Pos.String())
		}
		return err
	})
}

func (w *world) send(dev *client.Client, uri mimi.RoomURI, text string) client.Message {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), patience)
	defer cancel()
	m, err := dev.Send(ctx, uri, text)
	w.ok(err)
	m, err = dev.WaitPosted(ctx, uri, m.ID)
	w.ok(err)
	return m
}

// notCompared are tables that may differ after a refusal: the audit log, and
// what the engine keeps for itself.
var notCompared = map[string]bool{"audit": true, "counters": true, "goose_db_version": true}

// dump is every other table of a provider, running or not.
func (w *world) dump(domain mimi.Domain) string {
	w.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(w.cfgs[domain].DataDir, "hubbub.db")+"?_pragma=query_only(1)&_pragma=busy_timeout(5000)")
	w.ok(err)
	defer db.Close()
	tx, err := db.Begin()
	w.ok(err)
	defer tx.Rollback()
	var out strings.Builder
	for _, table := range w.column(tx, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name") {
		if notCompared[table] {
			continue
		}
		columns := strings.Join(w.column(tx, "SELECT 'quote(' || name || ')' FROM pragma_table_info('"+table+"') ORDER BY cid"), " || ' ' || ")
		for _, row := range w.column(tx, "SELECT "+columns+" AS line FROM "+table+" ORDER BY line") {
			fmt.Fprintln(&out, table, row)
		}
	}
	return out.String()
}

func (w *world) column(tx *sql.Tx, query string) (list []string) {
	w.Helper()
	rows, err := tx.Query(query)
	w.ok(err)
	defer rows.Close()
	for rows.Next() {
		var s string
		w.ok(rows.Scan(&s))
		list = append(list, s)
	}
	w.ok(rows.Err())
	return list
}
