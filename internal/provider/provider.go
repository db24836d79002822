package provider

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"runtime"
	"time"

	"hubbub/internal/api"
	"hubbub/internal/delivery"
	"hubbub/internal/fanout"
	"hubbub/internal/federation"
	"hubbub/internal/follower"
	"hubbub/internal/heads"
	"hubbub/internal/hub"
	"hubbub/internal/identity"
	"hubbub/internal/keymaterial"
	"hubbub/internal/moderation"
	"hubbub/internal/peer"
	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/internal/store/sqlstore"
	"hubbub/internal/tail"
	"hubbub/mimi"
	"hubbub/mls"
	"hubbub/mls/wire"
)

// suite is the cipher suite of the hub's own signatures.
const suite = mls.SuiteX25519AES128SHA256Ed25519

// tailBytes bounds the newest entries of busy rooms that are held in memory.
const tailBytes = 32 << 20

// Names in the data directory.
const (
	hubKeyFile = "keys/hub.key"
	frankFile  = "keys/franking.keys"
	readyFile  = "ready"
	headsFile  = "heads"
)

// Provider is a provider that has everything it needs to run.
type Provider struct {
	cfg Config
	log *slog.Logger

	store      store.Store // guarded by heads
	database   *sqlstore.Store
	grace      time.Duration // how long rooms wait for followers after a restore
	heads      *heads.File
	tails      *tail.Tails
	notifier   *api.Notifier
	fanout     *fanout.Fanout
	hub        *hub.Hub
	follower   *follower.Follower
	book       *peer.Book
	deliveries *delivery.Service
	people     *people
	assets     *assets
	moderator  *moderator
	proofs     *proofs
	franker    *moderation.Franker
	api        *api.Server
	fed        *federation.Server
	remote     *federation.Client

	apiTLS    tls.Certificate
	listeners listeners
}

// keyring is all the secrets and the trust of a provider, loaded.
type keyring struct {
	federation tls.Certificate
	api        tls.Certificate
	peers      *x509.CertPool // roots of other providers' certificates
	issuer     *identity.Issuer
	users      *x509.CertPool // roots of users' credentials
	userRoots  [][]byte       // the same in DER
	hub        ed25519.PrivateKey
	frank      mimi.FrankKeys
}

// New opens the data directory, loads the keys and binds the listeners. An error
// says what the operator has to change. After success Run must be called, or
// Close.
func New(cfg Config, log *slog.Logger) (*Provider, error) {
	// A Config that did not come from Load.
	setDefault(&cfg.HeadsFile, filepath.Join(cfg.DataDir, headsFile))
	setDefault(&cfg.HideUsers, hideYes)
	setDefault(&cfg.Search, "partial")
	setDefault(&cfg.Assets.Host, cfg.Identity)
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	st, err := sqlstore.Open(cfg.DataDir)
	if errors.Is(err, store.ErrLocked) {
		return nil, fmt.Errorf("another process runs this provider; stop it first: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the data directory: %w", err)
	}
	p := &Provider{cfg: cfg, log: log, store: st, database: st, grace: testingOnlyGrace, tails: tail.New(tailBytes)}
	p.retract() // what a killed process left
	if err := p.build(); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

func (p *Provider) build() error {
	if err := p.checkStart(); err != nil {
		return err
	}
	k, err := p.loadKeys()
	if err != nil {
		return err
	}
	if err := p.wire(k); err != nil {
		return err
	}
	p.listeners, err = listen(p.cfg)
	return err
}

func (p *Provider) loadKeys() (k keyring, err error) {
	if k.federation, err = loadTLS(p.cfg.Federation.CertFile, p.cfg.Federation.KeyFile); err != nil {
		return k, fmt.Errorf("federation certificate: %w", err)
	}
	if k.api, err = loadTLS(p.cfg.API.CertFile, p.cfg.API.KeyFile); err != nil {
		return k, fmt.Errorf("API certificate: %w", err)
	}
	if k.peers, _, err = identity.LoadRoots(p.cfg.Federation.CAFile); err != nil {
		return k, fmt.Errorf("federation.ca_file: %w", err)
	}
	if k.users, k.userRoots, err = identity.LoadRoots(p.cfg.IdentityCA.RootsFile); err != nil {
		return k, fmt.Errorf("identity_ca.roots_file: %w", err)
	}
	if k.issuer, err = identity.LoadIssuer(p.cfg.domain(), p.cfg.IdentityCA.CertFile, p.cfg.IdentityCA.KeyFile); err != nil {
		return k, fmt.Errorf("identity CA: %w", err)
	}
	if k.hub, err = identity.LoadHubKey(filepath.Join(p.cfg.DataDir, hubKeyFile)); err != nil {
		return k, err
	}
	k.frank, err = identity.LoadFrankKeys(filepath.Join(p.cfg.DataDir, frankFile), moderation.FirstKeys)
	return k, err
}

func loadTLS(certFile, keyFile string) (tls.Certificate, error) {
	pair, err := identity.LoadPair(certFile, keyFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	return pair.TLS()
}

// wire makes the roles and ties them to each other.
func (p *Provider) wire(k keyring) error {
	domain := p.cfg.domain()
	verifier := &mimi.Verifier{Roots: k.users}
	hubKey := &mls.SignatureKey{Suite: suite, Private: k.hub.Seed(), Public: k.hub.Public().(ed25519.PublicKey)}
	p.franker = moderation.NewFranker(k.frank, hubKey)
	env := &room.Env{Verifier: verifier, Limits: p.cfg.Limits.ofRooms(), Envelope: p.cfg.Rooms.envelope(), Frank: p.franker.Frank, Signer: hubKey}
	p.notifier = api.NewNotifier()
	var err error
	if p.book, err = peer.Open(context.Background(), p.store, time.Now); err != nil {
		return err
	}
	limits, rates := limitsOf(p.cfg.Limits)
	p.proofs = &proofs{p: p}
	p.remote = federation.NewClient(federation.ClientConfig{
		Domain: domain, Certificate: k.federation, Roots: k.peers, Address: p.cfg.addresses(), Allowed: p.cfg.allowed(),
		Checkpoint: p.proofs.next, Signed: p.proofs.heard, Held: p.held, Observed: p.book.Sent,
	})
	p.fanout = fanout.New(fanout.Config{Store: p.store, Sender: p.remote, Tails: p.tails, Log: p.log.With("part", "fanout")})
	h := hub.New(hub.Config{
		Domain: domain, Store: p.store, Env: env, SignatureKey: hubKey, Shipper: p.fanout, Limit: rates.writesOf(domain), Codes: rates.codes,
		Followers: p.remote, Patience: p.patience(), Lost: heads.Frozen, Expected: func(uri mimi.RoomURI) room.Pos { return p.heads.Known()[uri] },
		Wake: p.wakeHosted, WakeClient: p.notifier.WakeClient, Log: p.log.With("part", "hub"),
	})
	p.hub = h
	remote := &hubs{domain, h, p.remote}
	p.follower = follower.New(follower.Config{
		Domain: domain, Store: p.store, Env: env, Remote: remote, Batch: remote, Entries: p.remote,
		Wake: p.wakeFollowed, WakeClient: p.notifier.WakeClient, Quota: p.cfg.Limits.ofOutbox(), Log: p.log.With("part", "follower"),
	})
	p.wirePeople(verifier)
	p.wireModeration(h)
	km := keymaterial.New(keymaterial.Config{
		Domain: domain, Store: p.store, Verifier: verifier, Consent: consents{p.people.Service},
		Remote: suppliers{p.remote, p.people.Service}, HideUsers: p.cfg.HideUsers == hideYes,
		Log: p.log.With("part", "keymaterial"),
	})
	p.deliveries = delivery.New(delivery.Config{Domain: domain, Store: p.store, Remote: p.remote})
	if err := p.wireAssets(k); err != nil {
		return err
	}
	p.fed, err = federation.NewServer(federation.ServerConfig{
		Assets: p.assets,
		Domain: domain, Certificate: k.federation, Roots: k.peers, Roles: claimsCounted{&roles{h, p.follower, km, p.proofs}, rates}, Entries: logs{domain, h, p.follower}, Checkpoint: p.proofs.at,
		Allowed: p.cfg.allowed(), Alive: p.alive, Limit: rates.request, Enter: rates.places.Enter, Delivery: p.deliveries.Report, People: p.people, ReportAbuse: p.moderator.Take, Observed: p.book.Received, Log: p.log.With("part", "federation"),
	})
	if err != nil {
		return err
	}
	return p.wireAPI(k, h, km, hubKey.Public, limits)
}

func (p *Provider) wireAPI(k keyring, h *hub.Hub, km *keymaterial.Service, hubKey []byte, limits api.Limits) error {
	domain := p.cfg.domain()
	sender, err := wire.Marshal(&mls.ExternalSender{SignatureKey: hubKey, Credential: mimi.ProviderCredential(domain)})
	if err != nil {
		return fmt.Errorf("encoding the hub's external sender: %w", err)
	}
	r := &rooms{domain, p.store, h, p.follower, km, p.remote, p.notifier.WakeClient}
	p.api = api.New(api.Config{
		Assets: p.assets.clients(),
		Domain: domain, Store: p.store, Rooms: r, Creator: r, KeyPackages: km, Issuer: k.issuer, Proofs: p.proofs, People: p.people, Moderation: p.moderator, Replicas: replicas{p.follower},
		Peer: p.peerStatus, Deliveries: p.deliveries, Operations: p.operations(k, h), Successions: &successions{p.follower, p.notifier}, Backup: (&backups{p.cfg, p.database}).Backup, Resync: p.follower.CatchUp, Limits: limits, Notifier: p.notifier, Tails: p.tails, CredentialRoots: k.userRoots, HubSender: sender,
		Software: "hubbub", Log: p.log.With("part", "api"),
	})
	p.apiTLS = k.api
	return nil
}

// operations is what the operator may do besides.
func (p *Provider) operations(k keyring, h *hub.Hub) *operations {
	o := &operations{domain: p.cfg.domain(), store: p.store, book: p.book, fanout: p.fanout, follower: p.follower, hub: h, remote: p.remote}
	if leaf, err := x509.ParseCertificate(k.federation.Certificate[0]); err == nil {
		o.certificateExpires = leaf.NotAfter
	}
	return o
}

// held says whether our operator wants nothing to be sent to a peer.
func (p *Provider) held(peer mimi.Domain) bool {
	_, held := p.book.Held(peer)
	return held
}

// reconcile compares the rooms we host with what their followers hold, once.
func (p *Provider) reconcile(ctx context.Context) error {
	if err := p.hub.Reconcile(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	if p.wasRestored() {
		if err := p.awaitFollowers(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
	<-ctx.Done()
	return nil
}

// wakeHosted tells the streams of our own clients and the queues to the followers
// that a log of ours has grown.
func (p *Provider) wakeHosted(uri mimi.RoomURI) {
	p.notifier.Wake(uri)
	p.fanout.Wake(uri)
	runtime.Gosched() // they come first: whoever posted has waited, and others read
}

// wakeFollowed tells the streams of our own clients that a log of another provider
// has grown here.
func (p *Provider) wakeFollowed(uri mimi.RoomURI) {
	p.notifier.Wake(uri)
	runtime.Gosched() // they come first: the hub can wait for our answer
}

// alive hears of every request of a peer: what waits for that peer tries again.
func (p *Provider) alive(peer mimi.Domain) {
	p.fanout.PeerAlive(peer)
	p.follower.PeerAlive(peer)
	p.hub.PeerAlive(peer)
	p.people.PeerAlive(peer)
}

func (p *Provider) peerStatus(peer mimi.Domain) api.PeerStatus {
	s := p.follower.PeerStatus(peer)
	return api.PeerStatus{Reachable: s.Reachable, Since: s.Since, LastError: s.Error}
}

// APIAddr is the address on which clients are served.
func (p *Provider) APIAddr() net.Addr { return p.listeners.api.Addr() }

// FederationAddr is the address on which other providers are served.
func (p *Provider) FederationAddr() net.Addr { return p.listeners.federation.Addr() }

// Close releases everything. Run does it at its end; it is for a Provider that is
// not run. Further calls are harmless.
func (p *Provider) Close() error {
	p.listeners.close()
	if p.remote != nil {
		p.remote.Close()
	}
	err := p.store.Close()
	if errors.Is(err, store.ErrClosed) {
		err = nil
	}
	if p.heads != nil {
		err = errors.Join(err, p.heads.Close())
	}
	return err
}

// drainTimeout is how long running requests may take once we are asked to stop.
const drainTimeout = 10 * time.Second

// Run serves until ctx ends, then finishes what is running and returns nil. Any
// other end is an error: a listener that breaks, the store, or a fault in a
// background worker, which must stop the process and not one queue in silence.
func (p *Provider) Run(ctx context.Context) error {
	servers := p.servers()
	crew := newCrew(ctx, p.log)
	crew.work("heads", p.heads.Run)
	crew.work("fanout", p.fanout.Run)
	crew.work("follower", p.follower.Run)
	crew.work("consent", p.people.Run)
	crew.work("assets", p.assets.run)
	crew.work("sync", func(ctx context.Context) error { p.api.Run(ctx); return nil })
	for _, s := range servers {
		crew.serve(s)
	}
	if err := p.announce(); err != nil {
		crew.fail(err)
	}
	crew.work("greeting", p.greet)
	crew.work("scrub", p.scrub)
	crew.work("reconciliation", p.reconcile)
	<-crew.ctx.Done()
	p.log.Info("stopping")
	p.takeLeave()
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	crew.stop(drain, servers)
	err := errors.Join(crew.err(), p.Close())
	if err == nil {
		p.log.Info("stopped")
	}
	return err
}
