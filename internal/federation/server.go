package federation

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"hubbub/internal/failpoint"
	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
	"hubbub/mimi/checkpoint"
)

// Roles is what a provider does with the requests of its peers. Each call gets
// the proven domain of the peer first. The answer is a MIMI response body; an
// error is a *mimi.Problem, or a failure of our own that the peer sees as 503.
type Roles interface {
	KeyMaterial(ctx context.Context, peer mimi.Domain, target mimi.UserURI, body []byte) ([]byte, error)
	Update(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI, body []byte) ([]byte, error)
	SubmitMessage(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI, body []byte) ([]byte, error)
	// SubmitBatch gets a mimi.BatchRequest and answers with a mimi.BatchResponse.
	SubmitBatch(ctx context.Context, peer mimi.Domain, body []byte) ([]byte, error)
	// Notify gets the position the hub states for the last entry, nil if none.
	Notify(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI, pos *room.Pos, body []byte) error
	// Checkpoint gets what the hub has signed, whatever became of the notification
	// that it came with.
	Checkpoint(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI, signed []byte) error
	// Report says how far our copy of a room reaches.
	Report(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI) (*checkpoint.Report, error)
	GroupInfo(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI, body []byte) ([]byte, error)
	Snapshot(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI, seq uint64) ([]byte, error)
}

type roomCall = func(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI, body []byte) ([]byte, error)

// ServerConfig is what a Server needs. Domain, Certificate, Roots and Roles are
// required.
type ServerConfig struct {
	Domain      mimi.Domain
	Hosts       []string // further names under which we are addressed (D-10)
	Certificate tls.Certificate
	Roots       *x509.CertPool // of peers' certificates
	Roles       Roles
	// Entries answers x-catchUp; nil = not offered.
	Entries LogSource
	// Checkpoint, if not nil, signs the place to which entries we are asked for
	// lead; nil = not ours to sign.
	Checkpoint func(uri mimi.RoomURI, pos room.Pos) []byte
	// Allowed, if not nil, decides whether we talk to a peer at all.
	Allowed func(mimi.Domain) bool
	// Alive, if not nil, hears of every request whose sender is proven.
	Alive func(mimi.Domain)
	// Limit, if not nil, refuses requests of a peer that sends too many, before
	// anything of them is read.
	Limit func(mimi.Domain) error
	// Enter, if not nil, waits until a request of a peer may run; leave is called
	// when it has.
	Enter func(ctx context.Context, peer mimi.Domain) (leave func(), err error)
	// Delivery, if not nil, answers x-delivery with a mimi.DeliveryReport.
	Delivery func(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI) ([]byte, error)
	// ReportAbuse, if not nil, takes mimi.AbuseReports about rooms of ours.
	ReportAbuse func(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI, body []byte) error
	// People, if not nil, answers the endpoints about consent and identifiers.
	People People
	// Assets, if not nil, answers requests for files.
	Assets Assets
	// Observed, if not nil, hears how each request of a proven sender went, and
	// when the sender's certificate ends.
	Observed func(peer mimi.Domain, err error, certificateExpires time.Time)
	Log      *slog.Logger
}

// Limits of connections and requests (reliability §5). Bodies: see endpoints.
const (
	readHeaderTimeout = 5 * time.Second // also ends an unfinished TLS handshake
	readTimeout       = 30 * time.Second
	writeTimeout      = 60 * time.Second
	idleTimeout       = 120 * time.Second
	maxHeaderBytes    = 16 * kib
	retryLater        = 5 * time.Second // what we tell a peer after a failure of ours
)

// Server answers the providers we federate with. Safe for concurrent use.
type Server struct {
	cfg       ServerConfig
	http      *http.Server
	hosts     map[string]bool
	directory []byte
	panics    atomic.Int64
}

// NewServer makes a server; Serve starts it.
func NewServer(cfg ServerConfig) (*Server, error) {
	if err := checkOwn(cfg.Certificate, cfg.Domain); err != nil {
		return nil, err
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, hosts: map[string]bool{string(cfg.Domain): true}}
	for _, h := range cfg.Hosts {
		s.hosts[hostName(h)] = true
	}
	var err error
	if s.directory, err = ownDirectory(cfg.Domain); err != nil {
		return nil, err
	}
	s.http = newHTTPServer(s, cfg)
	return s, nil
}

func newHTTPServer(h http.Handler, cfg ServerConfig) *http.Server {
	var h2 http.Protocols
	h2.SetHTTP2(true)
	return &http.Server{
		Handler:   h,
		Protocols: &h2,
		TLSConfig: &tls.Config{
			MinVersion:   tls.VersionTLS13,
			Certificates: []tls.Certificate{cfg.Certificate},
			ClientCAs:    cfg.Roots,
			ClientAuth:   tls.RequireAndVerifyClientCert,
			// A ticket would let a peer resume past a change of the roots.
			SessionTicketsDisabled: true,
			VerifyConnection:       checkInbound,
		},
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          100,
			MaxReadFrameSize:              64 * kib,
			MaxReceiveBufferPerStream:     256 * kib,
			MaxReceiveBufferPerConnection: 1 * mib,
			SendPingTimeout:               15 * time.Second,
			PingTimeout:                   10 * time.Second,
			WriteByteTimeout:              30 * time.Second,
		},
		ErrorLog: log.New(debugWriter{cfg.Log}, "", 0),
	}
}

// checkInbound runs after the chain is verified, on resumption too.
func checkInbound(cs tls.ConnectionState) error {
	switch {
	case cs.NegotiatedProtocol != "h2":
		return errors.New("federation: peer does not speak HTTP/2")
	case len(cs.PeerCertificates) == 0 || len(cs.PeerCertificates[0].DNSNames) == 0:
		return errors.New("federation: client certificate without a DNS name")
	}
	return nil
}

// Serve answers on ln until Shutdown; it closes ln.
func (s *Server) Serve(ln net.Listener) error {
	if err := s.http.ServeTLS(ln, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("federation listener: %w", err)
	}
	return nil
}

// Shutdown stops accepting and waits for running requests until ctx ends, then
// cuts them off.
func (s *Server) Shutdown(ctx context.Context) error {
	if err := s.http.Shutdown(ctx); err != nil {
		return errors.Join(err, s.http.Close())
	}
	return nil
}

// Panics is the number of requests that ended in a panic.
func (s *Server) Panics() int64 { return s.panics.Load() }

// ServeHTTP answers one request of a peer.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer s.recoverPanic(w, r)
	body, status, err := s.answer(w, r)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	if status == 0 {
		return // streamed
	}
	if status == http.StatusOK {
		h := w.Header()
		if h.Get("Content-Type") == "" {
			h.Set("Content-Type", contentType)
		}
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(status)
	w.Write(body) // an error means the peer went away; it will ask again
	failpoint.Hit("fed.answered ", r.URL.Path)
}

// answer checks everything that can be checked without the body, cheapest first,
// then reads the body and calls the role.
func (s *Server) answer(w http.ResponseWriter, r *http.Request) ([]byte, int, error) {
	if err := s.checkHost(r); err != nil {
		return nil, 0, err
	}
	if s.cfg.Assets != nil && s.cfg.Assets.Public(w, r) {
		return nil, 0, nil
	}
	peer, err := peerOf(r)
	if err != nil {
		return nil, 0, err
	}
	if s.cfg.Allowed != nil && !s.cfg.Allowed(peer) {
		return nil, 0, mimi.NewProblem(http.StatusForbidden, mimi.CodePeerNotAllowed, "this provider does not federate with yours")
	}
	if s.cfg.Alive != nil {
		s.cfg.Alive(peer)
	}
	body, status, err := s.serve(w, r, peer)
	if s.cfg.Observed != nil {
		s.cfg.Observed(peer, err, r.TLS.PeerCertificates[0].NotAfter)
	}
	return body, status, err
}

// serve answers a peer that is who it says.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, peer mimi.Domain) ([]byte, int, error) {
	w.Header().Set(HeaderPeer, string(peer))
	if s.cfg.Limit != nil {
		if err := s.cfg.Limit(peer); err != nil {
			return nil, 0, err
		}
	}
	path := r.URL.EscapedPath()
	if path == mimi.DirectoryPath {
		return s.serveDirectory(w, r)
	}
	ep, id, ok := findEndpoint(path)
	if !ok {
		return nil, 0, mimi.NewProblem(http.StatusNotFound, mimi.CodeNotFound, "no such endpoint; see the directory")
	}
	if err := checkMethod(w, r, ep.method); err != nil {
		return nil, 0, err
	}
	if s.cfg.Enter != nil && !isProxied(path) {
		leave, err := s.cfg.Enter(r.Context(), peer)
		if err != nil {
			return nil, 0, err
		}
		defer leave()
	}
	var err error
	c := &call{req: r, peer: peer, w: w}
	// An identifier is one path segment: a raw slash would be a second way to
	// write it (D-12). Never redirect to a cleaned path.
	if c.id, err = url.PathUnescape(id); err != nil || id == "" || strings.Contains(id, "/") {
		return nil, 0, badURI()
	}
	if c.body, err = readBody(r, ep.maxBytes); err != nil {
		return nil, 0, err
	}
	failpoint.Hit("fed.serve ", path)
	body, err := ep.serve(s, c)
	failpoint.Hit("fed.served ", path)
	if err != nil {
		return nil, 0, err
	}
	if c.streamed {
		return nil, 0, nil
	}
	if body == nil {
		return nil, http.StatusCreated, nil
	}
	return body, http.StatusOK, nil
}

func (s *Server) serveDirectory(w http.ResponseWriter, r *http.Request) ([]byte, int, error) {
	if err := checkMethod(w, r, http.MethodGet); err != nil {
		return nil, 0, err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "max-age=3600")
	return s.directory, http.StatusOK, nil
}

// checkHost refuses what is not addressed to us (TRN-5, H06).
func (s *Server) checkHost(r *http.Request) error {
	if h := r.Header.Get("Host"); h != "" && h != r.Host {
		return mimi.NewProblem(http.StatusBadRequest, mimi.CodeMisdirected, "Host and :authority differ")
	}
	if !s.hosts[hostName(r.Host)] {
		return mimi.NewProblem(http.StatusMisdirectedRequest, mimi.CodeMisdirected, "this server does not answer for that host")
	}
	return nil
}

func checkMethod(w http.ResponseWriter, r *http.Request, want string) error {
	if r.Method == want {
		return nil
	}
	w.Header().Set("Allow", want)
	return mimi.NewProblem(http.StatusMethodNotAllowed, mimi.CodeMethod, "the method must be %s", want)
}

// firstGrant is how much memory a request gets on its word that it needs it.
const firstGrant = 64 * kib

// readBody reads at most limit octets and stops one octet beyond. Nothing is ever
// decompressed (H13).
func readBody(r *http.Request, limit int64) ([]byte, error) {
	if r.Header.Get("Content-Encoding") != "" {
		return nil, mimi.NewProblem(http.StatusUnsupportedMediaType, "unsupported-encoding", "a Content-Encoding is not accepted")
	}
	if r.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	var b bytes.Buffer
	b.Grow(int(min(max(r.ContentLength, 0), firstGrant)) + bytes.MinRead)
	_, err := b.ReadFrom(io.LimitReader(r.Body, limit+1))
	body := b.Bytes()
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, mimi.NewProblem(http.StatusRequestTimeout, "timeout", "the body did not arrive in time")
	case err != nil:
		return nil, mimi.NewProblem(http.StatusBadRequest, mimi.CodeMalformed, "the body did not arrive whole")
	case int64(len(body)) > limit:
		return nil, tooLarge(limit)
	}
	return body, nil
}

func tooLarge(limit int64) *mimi.Problem {
	return mimi.NewProblem(http.StatusRequestEntityTooLarge, mimi.CodeTooLarge, "the limit for this endpoint is %d octets", limit)
}

// refuse writes an error. The peer sees its class, the operator its cause.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var p *mimi.Problem
	switch {
	case errors.As(err, &p):
		s.cfg.Log.DebugContext(r.Context(), "refused a peer's request", "status", p.Status, "code", p.Code, "from", r.RemoteAddr)
	case errors.Is(err, store.ErrFull):
		s.cfg.Log.ErrorContext(r.Context(), "no space for a peer's request", "err", err)
		p = mimi.NewProblem(http.StatusInsufficientStorage, "storage-full", "nothing was stored; try again later")
		p.RetryAfter = retryLater
	default:
		if r.Context().Err() == nil { // else the peer went away and that is why
			s.cfg.Log.ErrorContext(r.Context(), "could not answer a peer's request", "err", err)
		}
		p = mimi.NewProblem(http.StatusServiceUnavailable, mimi.CodeUnavailable, "the request was not carried out; try again later")
		p.RetryAfter = retryLater
	}
	writeProblem(w, p)
}

func writeProblem(w http.ResponseWriter, p *mimi.Problem) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((p.RetryAfter+time.Second-1)/time.Second), 10))
	}
	body := p.Body()
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(p.Status)
	w.Write(body)
}

// recoverPanic keeps a fault of one request from ending the process. The value of
// the panic is not logged, as it may hold what the peer sent, unless it comes from
// the runtime.
func (s *Server) recoverPanic(w http.ResponseWriter, r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	if v == http.ErrAbortHandler {
		panic(v)
	}
	s.panics.Add(1)
	what := fmt.Sprintf("%T", v)
	if re, ok := v.(runtime.Error); ok {
		what = re.Error()
	}
	s.cfg.Log.ErrorContext(r.Context(), "panic in a peer's request", "what", what, "stack", string(debug.Stack()))
	writeProblem(w, mimi.NewProblem(http.StatusInternalServerError, mimi.CodeInternal, "the request hit a fault in this server"))
}

// debugWriter takes what net/http has to say, mostly failed handshakes of
// strangers, at debug level.
type debugWriter struct{ log *slog.Logger }

func (w debugWriter) Write(b []byte) (int, error) {
	w.log.Debug("federation listener", "what", string(b))
	return len(b), nil
}
