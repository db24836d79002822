package federation

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"hubbub/internal/publicnet"
	"hubbub/mimi"
)

// maxPeers bounds what is held at once, since our users can name any domain.
const maxPeers = 1000

// peer finds or makes what we hold of a provider. Beyond the bound some other one is
// forgotten; what it has under way goes on.
func (c *Client) peer(domain mimi.Domain) *peer {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.peers[domain]
	if !ok {
		for d, old := range c.peers {
			if len(c.peers) < maxPeers {
				break
			}
			old.transport.CloseIdleConnections()
			delete(c.peers, d)
		}
		p = &peer{domain: domain, transport: c.newTransport(domain), asking: make(chan struct{}, maxAsking)}
		p.directory.fetch = make(chan struct{}, 1)
		c.peers[domain] = p
	}
	return p
}

// newTransport makes the connections to one peer: HTTP/2 only, mutual TLS 1.3, no
// proxy from the environment.
func (c *Client) newTransport(domain mimi.Domain) *http.Transport {
	var h2 http.Protocols
	h2.SetHTTP2(true)
	return &http.Transport{
		Protocols:   &h2,
		DialContext: limited(joining(c.dialer(domain))),
		TLSClientConfig: &tls.Config{
			MinVersion:       tls.VersionTLS13,
			Certificates:     []tls.Certificate{c.cfg.Certificate},
			RootCAs:          c.cfg.Roots,
			VerifyConnection: checkOutbound(domain),
		},
		TLSHandshakeTimeout:    dialTimeout,
		ResponseHeaderTimeout:  headerTimeout,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
		DisableCompression:     true,
		HTTP2: &http.HTTP2Config{
			MaxReadFrameSize:              64 * kib,
			MaxReceiveBufferPerStream:     256 * kib,
			MaxReceiveBufferPerConnection: 1 * mib,
			SendPingTimeout:               15 * time.Second,
			PingTimeout:                   10 * time.Second,
			WriteByteTimeout:              30 * time.Second,
		},
	}
}

// checkOutbound demands the provider's domain in the certificate, besides the host
// of the URL, which crypto/tls has checked (D-10, DIR-7).
func checkOutbound(domain mimi.Domain) func(tls.ConnectionState) error {
	return func(cs tls.ConnectionState) error {
		switch {
		case cs.NegotiatedProtocol != "h2":
			return errors.New("federation: peer does not speak HTTP/2")
		case !proves(cs.PeerCertificates[0], domain):
			return fmt.Errorf("federation: certificate does not carry the DNS name %s", domain)
		}
		return nil
	}
}

type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// dialer connects to the configured address of a peer or, without one, to the
// address in the URL, which then must be public: a directory of a stranger must
// not steer us into our own network (H83).
func (c *Client) dialer(domain mimi.Domain) dialFunc {
	if fixed := c.cfg.Address[domain]; fixed != "" {
		d := &net.Dialer{Timeout: dialTimeout}
		return func(ctx context.Context, network, _ string) (net.Conn, error) {
			return d.DialContext(ctx, network, fixed)
		}
	}
	return publicnet.Dialer(dialTimeout).DialContext
}

// maxDials is how many connections one request may open. net/http repeats a request
// for as long as the peer resets its stream in a certain way, each time on a new
// connection.
const maxDials = 3

type dialsKey struct{}

// withDialBudget gives a request its share of connections.
func withDialBudget(ctx context.Context) context.Context {
	return context.WithValue(ctx, dialsKey{}, new(atomic.Int64))
}

// limited refuses to dial beyond the budget of the request at hand.
func limited(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if n, ok := ctx.Value(dialsKey{}).(*atomic.Int64); ok && n.Add(1) > maxDials {
			return nil, errors.New("federation: peer keeps resetting the request")
		}
		return dial(ctx, network, addr)
	}
}
