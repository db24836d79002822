package fakepeer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"

	"hubbub/internal/identity"
	"hubbub/mimi"
)

// Config says whom to play.
type Config struct {
	Domain mimi.Domain
	CA     *identity.CA
	Listen string                 // address; "" = any free one on loopback
	Peers  map[mimi.Domain]string // where other providers listen

	// Certificate and Roots stand in place of what CA would issue and vouch for.
	Certificate *tls.Certificate
	Roots       *x509.CertPool
	// Anywhere has providers that Peers does not list dialled where their URL says.
	Anywhere bool
	// Base is the path below which the endpoints of the peer lie; "" = that of the
	// providers it stands in for, whose directory others may remember.
	Base string
	// Offers are the endpoints in the peer's directory; nil = Offered.
	Offers []mimi.Endpoint
	// Variables are the variables of their templates where they are not those that our
	// own providers publish (DIR-6).
	Variables map[mimi.Endpoint]string
}

// identity is with what the peer proves itself, and whom it believes.
func (cfg *Config) identity() (tls.Certificate, *x509.CertPool, error) {
	if cfg.Certificate != nil {
		return *cfg.Certificate, cfg.Roots, nil
	}
	pair, err := cfg.CA.IssueTLS(cfg.Domain)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	cert, err := pair.TLS()
	return cert, cfg.CA.Pool(), err
}

// Peer is a provider under the control of a test. Safe for concurrent use.
type Peer struct {
	cfg    Config
	ln     net.Listener
	server *http.Server
	client *http.Transport
	gone   chan struct{} // closed by Close

	mu       sync.Mutex
	defects  map[mimi.Endpoint]http.HandlerFunc
	files    map[string]http.HandlerFunc // by path
	received []Request
}

// Request is what reached the peer.
type Request struct {
	Endpoint mimi.Endpoint // "" if the path names none
	Path     string
	From     string
	Header   http.Header
	Body     []byte // nil if the defect did not read it
}

// New starts a peer; the caller closes it.
func New(cfg Config) (*Peer, error) {
	cert, roots, err := cfg.identity()
	if err != nil {
		return nil, err
	}
	if cfg.Base == "" {
		cfg.Base = base
	}
	if cfg.Offers == nil {
		cfg.Offers = Offered
	}
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	p := &Peer{cfg: cfg, gone: make(chan struct{}),
		defects: map[mimi.Endpoint]http.HandlerFunc{}, files: map[string]http.HandlerFunc{}}
	if p.ln, err = net.Listen("tcp", cfg.Listen); err != nil {
		return nil, err
	}
	var h2 http.Protocols
	h2.SetHTTP2(true)
	p.server = &http.Server{
		Handler: http.HandlerFunc(p.serve), Protocols: &h2, ErrorLog: log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequestClientCert},
	}
	go p.server.ServeTLS(p.ln, "", "")
	p.client = &http.Transport{
		Protocols: &h2, DisableCompression: true, DialContext: p.dial,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, RootCAs: roots},
	}
	return p, nil
}

// dial goes where the provider in the URL listens.
func (p *Peer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	to := p.cfg.Peers[mimi.Domain(host)]
	if to == "" && p.cfg.Anywhere {
		to = addr
	}
	if to == "" {
		return nil, fmt.Errorf("fakepeer: no address for %s", host)
	}
	return new(net.Dialer).DialContext(ctx, network, to)
}

// Addr is where the peer listens.
func (p *Peer) Addr() string { return p.ln.Addr().String() }

// Close ends everything that hangs, and the peer.
func (p *Peer) Close() {
	select {
	case <-p.gone:
		return
	default:
	}
	close(p.gone)
	p.client.CloseIdleConnections()
	p.server.Close()
}

// On gives an endpoint a defect; nil takes it away.
func (p *Peer) On(e mimi.Endpoint, defect http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.defects[e] = defect
}

// Serve answers requests for a path that is none of an endpoint, such as a file's.
func (p *Peer) Serve(path string, file http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.files[path] = file
}

// directory is the document served.
func (p *Peer) directory() mimi.Directory {
	d := mimi.NewDirectory("https://"+string(p.cfg.Domain)+p.cfg.Base, p.cfg.Offers...)
	for e, name := range p.cfg.Variables {
		if d[e] != "" {
			d[e] = strings.Replace(d[e], "{"+e.Variable()+"}", "{"+name+"}", 1)
		}
	}
	return d
}

// Received are the requests to an endpoint so far.
func (p *Peer) Received(e mimi.Endpoint) (list []Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.received {
		if r.Endpoint == e {
			list = append(list, r)
		}
	}
	return list
}

// base is the path below which our own providers have their endpoints.
const base = "/v1/"

func (p *Peer) serve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	file := p.files[r.URL.Path]
	p.mu.Unlock()
	switch {
	case r.URL.Path == mimi.DirectoryPath:
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(p.directory())
		return
	case file != nil:
		file(w, r)
		return
	}
	name := ""
	if path, ours := strings.CutPrefix(r.URL.Path, p.cfg.Base); ours {
		name, _, _ = strings.Cut(path, "/")
	}
	req := Request{Endpoint: mimi.Endpoint(name), Path: r.URL.Path, From: r.Header.Get("From"), Header: r.Header.Clone()}
	p.mu.Lock()
	defect := p.defects[req.Endpoint]
	p.mu.Unlock()
	if defect == nil {
		req.Body, _ = io.ReadAll(r.Body)
		defect = behave(req.Endpoint)
	}
	p.mu.Lock()
	p.received = append(p.received, req)
	p.mu.Unlock()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	go func() {
		select {
		case <-p.gone:
			cancel()
		case <-ctx.Done():
		}
	}()
	defect(w, r.WithContext(ctx))
}

// Offered are the endpoints in the peer's directory: those of the draft. What is
// an extension of ours is left out, as other providers would.
var Offered = []mimi.Endpoint{mimi.EndpointKeyMaterial, mimi.EndpointUpdate, mimi.EndpointNotify,
	mimi.EndpointSubmitMessage, mimi.EndpointGroupInfo}

// behave is what a peer without defects does: it takes every announcement and
// has no rooms.
func behave(e mimi.Endpoint) http.HandlerFunc {
	if e == mimi.EndpointNotify {
		return Status(http.StatusCreated)
	}
	return Status(http.StatusNotFound)
}

// errNoAnswer is a request that got none.
var errNoAnswer = errors.New("fakepeer: no answer")
