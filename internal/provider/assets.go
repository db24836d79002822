package provider

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hubbub/internal/asset"
	"hubbub/internal/federation"
	"hubbub/internal/identity"
	"hubbub/internal/ohttp"
	"hubbub/internal/peer"
	"hubbub/mimi"
	sealed "hubbub/mimi/ohttp"
)

const (
	assetsDir    = "assets"
	ohttpKeyFile = "keys/ohttp.key"
	// gatewayPath is where a hub's gateway is, and where it tells its keys (RFC 9540).
	gatewayPath = "/.well-known/ohttp-gateway"
	scrubAssets = time.Hour
	// Transfers of one peer: how many run at once and how many more wait.
	transfersOfPeer, waitingOfPeer = 8, 32
	// gatewayBytes bounds what a gateway fetches at once: it is in memory, once as it
	// is and once sealed. Clients ask for parts.
	gatewayBytes = 4 << 20
)

// assets is all that has to do with attachments.
type assets struct {
	p       *Provider
	service *asset.Service
	fetcher *asset.Fetcher
	files   *asset.Handler
	gateway *ohttp.Gateway
	peers   *peer.Places[string] // transfers, by the name in a peer's certificate
	users   *peer.Places[mimi.UserURI]
}

var (
	_ federation.Assets = (*assets)(nil)
	_ asset.Proxy       = proxyOf{}
)

func (p *Provider) wireAssets(k keyring) error {
	a := &assets{p: p, peers: peer.NewPlaces[string](transfersOfPeer, waitingOfPeer),
		users: peer.NewPlaces[mimi.UserURI](p.cfg.Limits.TransfersPerUser, 0)}
	var err error
	a.service, err = asset.Open(asset.Config{Store: p.store, Dir: filepath.Join(p.cfg.DataDir, assetsDir),
		MaxBytes: int64(p.cfg.Limits.UploadBytes), MaxUserBytes: int64(p.cfg.Limits.AssetBytesPerUser)})
	if err != nil {
		return err
	}
	roots, err := p.fileRoots()
	if err != nil {
		return err
	}
	a.fetcher = asset.NewFetcher(a.source, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: []tls.Certificate{k.federation}})
	key, err := loadOHTTPKey(filepath.Join(p.cfg.DataDir, ohttpKeyFile))
	if err != nil {
		return err
	}
	a.gateway = &ohttp.Gateway{Keys: []*sealed.Key{key}, Allow: a.fetcher.Allows, Transport: a.fetcher.Transport(),
		MaxResponseBytes: gatewayBytes, Timeout: asset.FetchTimeout / 2}
	a.files = &asset.Handler{Service: a.service, Proxy: proxyOf{a}, Enter: a.users.Enter, Log: p.log.With("part", "assets"),
		URL:    func(id string) string { return "https://" + p.cfg.Assets.Host + asset.Path + id },
		Caller: func(r *http.Request) (mimi.UserURI, error) { return p.api.Caller(r) }}
	p.assets = a
	return nil
}

// fileRoots vouch for the places where files are: those of the web, and those that vouch
// for providers.
func (p *Provider) fileRoots() (*x509.CertPool, error) {
	_, ders, err := identity.LoadRoots(p.cfg.Federation.CAFile)
	if err != nil {
		return nil, fmt.Errorf("federation.ca_file: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	for _, der := range ders {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("federation.ca_file: %w", err)
		}
		pool.AddCert(cert)
	}
	return pool, nil
}

// loadOHTTPKey reads the gateway's key, and makes one if there is none yet.
func loadOHTTPKey(file string) (*sealed.Key, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return createOHTTPKey(file)
	}
	if err != nil {
		return nil, fmt.Errorf("key of the gateway: %w", err)
	}
	private, err := hex.DecodeString(string(bytes.TrimSpace(b)))
	if err != nil {
		return nil, fmt.Errorf("key of the gateway: %s: %w", file, err)
	}
	key, err := sealed.LoadKey(1, sealed.KEMX25519, private)
	if err != nil {
		return nil, fmt.Errorf("key of the gateway: %s: %w", file, err)
	}
	return key, nil
}

// createOHTTPKey makes a key. Losing it in a crash costs clients one fetch of the next.
func createOHTTPKey(file string) (*sealed.Key, error) {
	key, err := sealed.NewKey(1, sealed.KEMX25519)
	if err != nil {
		return nil, fmt.Errorf("key of the gateway: %w", err)
	}
	private, err := key.Private()
	if err == nil {
		err = os.MkdirAll(filepath.Dir(file), 0o700)
	}
	if err == nil {
		err = os.WriteFile(file+".new", []byte(hex.EncodeToString(private)+"\n"), 0o600)
	}
	if err == nil {
		err = os.Rename(file+".new", file)
	}
	if err != nil {
		return nil, fmt.Errorf("key of the gateway: %w", err)
	}
	return key, nil
}

// known says whether we have to do with a provider: the configuration names it, or it
// has proven itself in an exchange with us.
func (a *assets) known(d mimi.Domain) bool {
	c := &a.p.cfg
	if allowed := c.allowed(); allowed != nil && !allowed(d) {
		return false
	}
	if _, configured := c.Federation.Peers[string(d)]; configured || d == c.domain() || slices.Contains(c.Federation.Allow, string(d)) {
		return true
	}
	r := a.p.book.Record(d)
	return !r.Out.LastSuccess.IsZero() || !r.In.LastSuccess.IsZero()
}

// source is asset.Sources: the hosts on which providers that we know keep files.
func (a *assets) source(host string) (dial string, ok bool) {
	c := &a.p.cfg
	switch host {
	case c.Identity: // our own files, for those who want them by way of us
		return a.p.FederationAddr().String(), true
	case c.Assets.Host:
		return a.p.APIAddr().String(), true
	}
	for d, conf := range c.Federation.Peers {
		if slices.ContainsFunc(conf.AssetHosts, func(h string) bool { return h == host }) {
			return "", a.known(mimi.Domain(d))
		}
	}
	d, err := mimi.ParseDomain(host)
	if err != nil || !a.known(d) {
		return "", false
	}
	return c.Federation.Peers[host].Address, true
}

// viaHub fetches a file for a user of ours: ourselves if we are the hub, else by asking
// the hub (AST-1).
func (a *assets) viaHub(ctx context.Context, hub mimi.Domain, address string, header http.Header) (*asset.Download, error) {
	if hub == a.p.cfg.domain() {
		return a.fetcher.Get(ctx, address, header)
	}
	if !a.known(hub) {
		return nil, mimi.NewProblem(http.StatusForbidden, mimi.CodeForbidden, "this provider has no chats with %s", hub)
	}
	ctx, cancel := context.WithTimeout(ctx, asset.FetchTimeout)
	res, err := a.p.remote.ProxyDownload(ctx, hub, address, asset.Wanted(header))
	if err != nil {
		cancel()
		return nil, unreachable(hub, err)
	}
	return asset.Received(ctx, res, cancel)
}

// proxyOf is how our users' requests reach hubs.
type proxyOf struct{ *assets }

func (a proxyOf) ProxyDownload(ctx context.Context, hub mimi.Domain, address string, header http.Header) (*asset.Download, error) {
	return a.viaHub(ctx, hub, address, header)
}

// ProxyDownload serves a peer (AST-1 to AST-4).
func (a *assets) ProxyDownload(w http.ResponseWriter, r *http.Request, from mimi.Domain, address string) error {
	leave, err := a.peers.Enter(r.Context(), string(from))
	if err != nil {
		return err
	}
	defer leave()
	d, err := a.fetcher.Get(r.Context(), address, r.Header)
	if err != nil {
		return err
	}
	d.Send(w, a.files.Log)
	return nil
}

// Public serves what other providers may have without saying who they are for.
func (a *assets) Public(w http.ResponseWriter, r *http.Request) bool {
	file, gateway := strings.HasPrefix(r.URL.Path, asset.Path), r.URL.Path == gatewayPath
	if !file && !gateway {
		return false
	}
	leave, err := a.peers.Enter(r.Context(), certName(r))
	if err != nil {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "too many transfers at once", http.StatusTooManyRequests)
		return true
	}
	defer leave()
	switch {
	case file:
		a.files.Download(w, r)
	case r.Method == http.MethodPost:
		a.gateway.ServeHTTP(w, r)
	default:
		a.gateway.ServeKeys(w, r)
	}
	return true
}

// certName is who holds the connection, as far as places are concerned.
func certName(r *http.Request) string {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 || len(r.TLS.PeerCertificates[0].DNSNames) == 0 {
		return ""
	}
	return r.TLS.PeerCertificates[0].DNSNames[0]
}

// clients serves our own users.
func (a *assets) clients() http.Handler {
	relay := &ohttp.Relay{Transport: a.fetcher.Transport(), Gateway: func(r *http.Request) (string, bool) {
		d, err := mimi.ParseDomain(r.PathValue("hub"))
		return "https://" + string(d) + gatewayPath, err == nil && a.known(d)
	}}
	mux := http.NewServeMux()
	mux.Handle("/", a.files.Clients())
	mux.HandleFunc("GET /ohttp-keys/{hub}", a.asUser(relay.ServeKeys))
	mux.HandleFunc("/ohttp/{hub}", a.asUser(relay.ServeHTTP))
	return mux
}

// asUser lets users of ours pass, each within the bounds of transfers.
func (a *assets) asUser(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		user, err := a.files.Caller(r)
		if err != nil {
			http.Error(w, "no valid token: enrol this device", http.StatusUnauthorized)
			return
		}
		leave, err := a.users.Enter(r.Context(), user)
		if err != nil {
			w.Header().Set("Retry-After", "1")
			http.Error(w, "too many transfers at once", http.StatusTooManyRequests)
			return
		}
		defer leave()
		serve(w, r)
	}
}

// run ends unfinished uploads, now and every hour.
func (a *assets) run(ctx context.Context) error {
	defer a.fetcher.Close()
	for {
		if err := a.service.Scrub(ctx); err != nil && ctx.Err() == nil {
			a.p.log.Warn("unfinished uploads could not be cleared away", "err", err)
		}
		if wait(ctx, scrubAssets) != nil {
			return nil
		}
	}
}
