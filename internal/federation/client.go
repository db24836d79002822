package federation

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"hubbub/internal/failpoint"
	"hubbub/internal/room"
	"hubbub/mimi"
	"hubbub/mimi/checkpoint"
)

// Limits of an outgoing request (reliability §5).
const (
	dialTimeout    = 5 * time.Second
	headerTimeout  = 10 * time.Second
	requestTimeout = 30 * time.Second
	maxAnswerBytes = 8 * mib
	// maxAsking is how many requests to one peer are under way at once, below what
	// a provider lets run and wait by default. Others wait here.
	maxAsking = 60
)

// ErrUnreachable is wrapped when a peer could not be reached or its answer did
// not arrive: whether it carried out the request is unknown.
var ErrUnreachable = errors.New("federation: peer unreachable")

// ErrHeld is wrapped when nothing is sent to a peer by wish of our operator. It
// is an ErrUnreachable: the queues wait.
var ErrHeld = fmt.Errorf("%w: on hold by our own operator", ErrUnreachable)

// ClientConfig is what a Client needs. Domain, Certificate and Roots are
// required.
type ClientConfig struct {
	Domain      mimi.Domain
	Certificate tls.Certificate
	Roots       *x509.CertPool // of peers' certificates
	// Address gives host:port to dial for a peer, whatever host its URLs name.
	// Peers without one are found by DNS and must have a public address.
	Address map[mimi.Domain]string
	// Allowed, if not nil, decides whether we talk to a peer at all.
	Allowed func(mimi.Domain) bool
	// Held, if not nil, says to which peers nothing is sent for now.
	Held func(mimi.Domain) bool
	// Observed, if not nil, hears how each request went, and when the peer's
	// certificate ends if it was seen.
	Observed func(peer mimi.Domain, err error, certificateExpires time.Time)
	// Checkpoint, if not nil, gives the signed checkpoint to send along with a
	// notification that ends at pos; nil = none this time.
	Checkpoint func(to mimi.Domain, uri mimi.RoomURI, pos room.Pos) []byte
	// Signed, if not nil, hears of the checkpoint that came with entries a peer was
	// asked for, once they have been read. It is called on a goroutine of its own.
	Signed func(from mimi.Domain, uri mimi.RoomURI, signed []byte)
	Now    func() time.Time // [time.Now]
}

// Client asks other providers. A refusal is a *mimi.Problem; an error wrapping
// ErrUnreachable says that the peer did not answer. It never retries: that is the
// business of the queues. Safe for concurrent use.
type Client struct {
	cfg   ClientConfig
	heard sync.WaitGroup // calls of cfg.Signed

	mu    sync.Mutex
	peers map[mimi.Domain]*peer // guarded by mu
}

// peer is what we hold of one provider: its own connections, so that no other
// peer can slow them, and its directory.
type peer struct {
	domain    mimi.Domain
	transport *http.Transport
	directory directoryCache
	asking    chan struct{} // one per request under way
}

// NewClient makes a client; Close releases its connections.
func NewClient(cfg ClientConfig) *Client {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Client{cfg: cfg, peers: map[mimi.Domain]*peer{}}
}

// Close drops idle connections.
func (c *Client) Close() {
	c.heard.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.peers {
		p.transport.CloseIdleConnections()
	}
}

// Greet fetches a peer's directory anew. What the peer holds back for us because we
// did not answer it sends now: a request of ours tells it that we are there.
func (c *Client) Greet(ctx context.Context, to mimi.Domain) error {
	if err := c.mayAsk(to); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(withDialBudget(ctx), requestTimeout)
	defer cancel()
	p := c.peer(to)
	p.directory.expire(c.cfg.Now())
	_, err := c.directoryOf(ctx, p)
	return err
}

// KeyMaterial asks a user's provider for KeyPackages.
func (c *Client) KeyMaterial(ctx context.Context, to mimi.Domain, target mimi.UserURI, body []byte) ([]byte, error) {
	return c.post(ctx, to, mimi.EndpointKeyMaterial, string(target), body)
}

// Update sends a handshake to the room's hub.
func (c *Client) Update(ctx context.Context, to mimi.Domain, uri mimi.RoomURI, body []byte) ([]byte, error) {
	return c.post(ctx, to, mimi.EndpointUpdate, string(uri), body)
}

// SubmitMessage sends an application message to the room's hub.
func (c *Client) SubmitMessage(ctx context.Context, to mimi.Domain, uri mimi.RoomURI, body []byte) ([]byte, error) {
	return c.post(ctx, to, mimi.EndpointSubmitMessage, string(uri), body)
}

// SubmitBatch sends several writes to a hub in one request: a mimi.BatchRequest,
// answered by a mimi.BatchResponse. A hub that does not offer it gives a Problem
// with status 501.
func (c *Client) SubmitBatch(ctx context.Context, to mimi.Domain, body []byte) ([]byte, error) {
	return c.post(ctx, to, mimi.EndpointSubmitBatch, string(to), body)
}

// GroupInfo asks the room's hub for what an external commit needs.
func (c *Client) GroupInfo(ctx context.Context, to mimi.Domain, uri mimi.RoomURI, body []byte) ([]byte, error) {
	return c.post(ctx, to, mimi.EndpointGroupInfo, string(uri), body)
}

// Notify delivers entries to a follower; pos is the place after the last of them.
// A nil error means that the follower has stored all of them.
func (c *Client) Notify(ctx context.Context, to mimi.Domain, uri mimi.RoomURI, pos room.Pos, body []byte) error {
	header := http.Header{}
	writePos(header, pos)
	if c.cfg.Checkpoint != nil {
		writeCheckpoint(header, c.cfg.Checkpoint(to, uri, pos))
	}
	status, _, err := c.do(ctx, to, outgoing{mimi.EndpointNotify, http.MethodPost, string(uri), "", header, body})
	if err != nil {
		return err
	}
	switch status { // D-13
	case http.StatusOK, http.StatusCreated, http.StatusAccepted, http.StatusNoContent:
		return nil
	}
	return badAnswer("status %d for a notification", status)
}

// Report asks a provider of a room how far its copy reaches.
func (c *Client) Report(ctx context.Context, to mimi.Domain, uri mimi.RoomURI) (*checkpoint.Report, error) {
	b, err := withBody(c.do(ctx, to, outgoing{mimi.EndpointCheckpoint, http.MethodGet, string(uri), "", nil, nil}))
	if err != nil {
		return nil, err
	}
	r, err := checkpoint.ParseReport(b)
	if err != nil {
		return nil, badAnswer("%s reports its copy of a room in a form that does not decode", to)
	}
	return r, nil
}

// Snapshot fetches from the hub what a replica that starts at seq needs.
func (c *Client) Snapshot(ctx context.Context, to mimi.Domain, uri mimi.RoomURI, seq uint64) ([]byte, error) {
	query := "seq=" + strconv.FormatUint(seq, 10)
	return withBody(c.do(ctx, to, outgoing{mimi.EndpointSnapshot, http.MethodGet, string(uri), query, nil, nil}))
}

func (c *Client) post(ctx context.Context, to mimi.Domain, e mimi.Endpoint, id string, body []byte) ([]byte, error) {
	return withBody(c.do(ctx, to, outgoing{e, http.MethodPost, id, "", nil, body}))
}

// withBody is for calls that answer with a body, which travels with 200 only.
func withBody(status int, body []byte, err error) ([]byte, error) {
	if err == nil && status != http.StatusOK {
		err = badAnswer("status %d where a body was due", status)
	}
	if err != nil {
		return nil, err
	}
	return body, nil
}

// outgoing is a request before its URL is known.
type outgoing struct {
	endpoint mimi.Endpoint
	method   string
	id       string // value of the endpoint's template variables
	query    string
	header   http.Header
	body     []byte
}

// do sends a request to the endpoint that the peer's directory names. If the
// answer says that the endpoint is not there, the directory is fetched anew, once,
// and a moved endpoint tried again (DIR-8).
func (c *Client) do(ctx context.Context, to mimi.Domain, out outgoing) (int, []byte, error) {
	if err := c.mayAsk(to); err != nil {
		return 0, nil, err
	}
	if c.cfg.Held != nil && c.cfg.Held(to) {
		return 0, nil, fmt.Errorf("%s: %w", to, ErrHeld)
	}
	ctx, cancel := context.WithTimeout(withDialBudget(ctx), requestTimeout)
	defer cancel()
	p := c.peer(to)
	select {
	case p.asking <- struct{}{}:
		defer func() { <-p.asking }()
	case <-ctx.Done():
		return 0, nil, fmt.Errorf("%w: %s: too many requests wait for it: %w", ErrUnreachable, to, ctx.Err())
	}
	url, err := c.endpointURL(ctx, p, out)
	if err != nil {
		return 0, nil, err
	}
	status, body, err := c.send(ctx, p, out, url)
	if !maybeMoved(err) || !p.directory.expire(c.cfg.Now()) {
		return status, body, err
	}
	moved, dirErr := c.endpointURL(ctx, p, out)
	if dirErr != nil || moved == url {
		return status, body, err
	}
	return c.send(ctx, p, out, moved)
}

func (c *Client) mayAsk(to mimi.Domain) error {
	if c.cfg.Allowed != nil && !c.cfg.Allowed(to) {
		return mimi.NewProblem(http.StatusForbidden, mimi.CodePeerNotAllowed, "we do not federate with %s", to)
	}
	return nil
}

func (c *Client) endpointURL(ctx context.Context, p *peer, out outgoing) (string, error) {
	dir, err := c.directoryOf(ctx, p)
	if err != nil {
		return "", err
	}
	url, err := dir.Expand(out.endpoint, variables(out.endpoint, out.id))
	if err != nil { // not offered: as good as not implemented, and may come
		return "", mimi.NewProblem(http.StatusNotImplemented, "no-endpoint", "%s does not offer %s", p.domain, out.endpoint)
	}
	if out.query != "" {
		url += "?" + out.query
	}
	return url, nil
}

// variables are all the names under which a peer may expect the identifier
// (DIR-6).
func variables(e mimi.Endpoint, id string) map[string]string {
	switch e {
	case mimi.EndpointKeyMaterial:
		return map[string]string{mimi.VarTargetUser: id, mimi.VarTargetDomain: string(mimi.UserURI(id).Domain())}
	case mimi.EndpointRequestConsent, mimi.EndpointUpdateConsent, mimi.EndpointIdentifierQuery:
		return map[string]string{mimi.VarTargetDomain: id, mimi.VarRequesterDomain: id, mimi.VarDomain: id, // D-15
			mimi.VarTargetUser: id, mimi.VarRequesterUser: id}
	case mimi.EndpointSubmitBatch:
		return map[string]string{mimi.VarDomain: id}
	case mimi.EndpointProxyDownload:
		return map[string]string{mimi.VarDownloadURL: id}
	}
	return map[string]string{mimi.VarRoomID: id}
}

// maybeMoved says whether a refusal may mean that the directory is out of date.
func maybeMoved(err error) bool {
	var p *mimi.Problem
	if !errors.As(err, &p) {
		return false
	}
	return p.Status == http.StatusNotFound || p.Status == http.StatusGone || p.Status == http.StatusMisdirectedRequest
}

func (c *Client) send(ctx context.Context, p *peer, out outgoing, url string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(p.withJoinedBody(ctx, out.body), out.method, url, bytes.NewReader(out.body))
	if err != nil {
		return 0, nil, badAnswer("the directory of %s gives no usable URL for %s", p.domain, out.endpoint)
	}
	for k, v := range out.header {
		req.Header[k] = v
	}
	if out.body != nil {
		req.Header.Set("Content-Type", contentType)
	}
	failpoint.Hit("fed.ask ", string(out.endpoint))
	res, body, err := c.roundTrip(p, req)
	if err != nil {
		return 0, nil, err
	}
	failpoint.Hit("fed.asked ", string(out.endpoint))
	return res.StatusCode, body, nil
}

// roundTrip sends one request and reads the whole answer.
func (c *Client) roundTrip(p *peer, req *http.Request) (*http.Response, []byte, error) {
	res, body, err := c.exchange(p, req)
	if c.cfg.Observed != nil && !errors.Is(err, context.Canceled) {
		var expires time.Time
		if res != nil && res.TLS != nil {
			expires = res.TLS.PeerCertificates[0].NotAfter
		}
		c.cfg.Observed(p.domain, err, expires)
	}
	return res, body, err
}

// exchange is roundTrip without a witness. Redirects are not followed: an endpoint
// moves by way of the directory.
func (c *Client) exchange(p *peer, req *http.Request) (*http.Response, []byte, error) {
	req.Header.Set("From", fromLocal+"@"+string(c.cfg.Domain))
	res, err := p.transport.RoundTrip(req)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %s: %w", ErrUnreachable, p.domain, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswerBytes+1))
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %s: reading the answer: %w", ErrUnreachable, p.domain, err)
	}
	switch {
	case len(body) > maxAnswerBytes:
		return nil, nil, badAnswer("%s answered with more than %d octets", p.domain, maxAnswerBytes)
	case res.StatusCode >= 200 && res.StatusCode < 300:
		return res, body, nil
	case res.StatusCode >= 400:
		return nil, nil, mimi.ParseProblem(res.StatusCode, res.Header.Get("Retry-After"), body, c.cfg.Now())
	}
	return nil, nil, badAnswer("%s answered with status %d", p.domain, res.StatusCode)
}

// badAnswer stands for an answer no provider should give. It counts as a fault of
// the peer's server, so queues retry it.
func badAnswer(format string, args ...any) *mimi.Problem {
	return mimi.NewProblem(http.StatusBadGateway, "bad-answer", format, args...)
}
