// Package load is a client for measurements: enrolled like any other, a member
// of real MLS groups, speaking the client API as the SDK does, but keeping
// nothing on disk. What it costs is little beside the providers, so that they
// are what a measurement shows. After a crash of its process it is lost: it is
// no example of how to write a client.
package load

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"connectrpc.com/connect"

	"hubbub/client/clientpb"
	"hubbub/mimi"
	"hubbub/mimi/policy"
	"hubbub/mls"
)

// suite is the cipher suite of all groups here, as in the SDK.
const suite = mls.SuiteX25519AES128SHA256Ed25519

// Place is a provider as its clients find it. Safe for concurrent use.
type Place struct {
	domain    mimi.Domain
	base      *url.URL
	tls       *tls.Config
	setup     clientpb.ClientServiceClient // shared by all devices for what is not measured
	hubSender []byte
	config    *mls.Config
}

// NewPlace asks the provider at base, an https URL, what it is; ca is the PEM of
// the root its certificate chains to.
func NewPlace(ctx context.Context, base string, domain mimi.Domain, ca []byte) (*Place, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, err
	}
	p := &Place{domain: domain, base: u, tls: &tls.Config{MinVersion: tls.VersionTLS13, ServerName: string(domain), RootCAs: x509.NewCertPool()}}
	if !p.tls.RootCAs.AppendCertsFromPEM(ca) {
		return nil, errors.New("no certificate in PEM form to trust")
	}
	p.setup = clientpb.NewClientServiceClient(p.calls(), u.String())
	res, err := p.setup.GetProvider(ctx, connect.NewRequest(&clientpb.GetProviderRequest{}))
	if err != nil {
		return nil, fmt.Errorf("asking %s what it is: %w", domain, err)
	}
	roots := x509.NewCertPool()
	for _, der := range res.Msg.CredentialRoots {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("credential root of %s: %w", domain, err)
		}
		roots.AddCert(cert)
	}
	p.hubSender = res.Msg.HubExternalSender
	verifier := &mimi.Verifier{Roots: roots}
	p.config = &mls.Config{Validate: once(verifier.Validate(time.Now)), Successor: mimi.SameIdentity,
		Components: policy.Components(), Now: time.Now}
	return p, nil
}

// once judges each credential one time: many devices in one process meet the
// same members.
func once(validate func(*mls.Credential, []byte) error) func(*mls.Credential, []byte) error {
	var known sync.Map // [32]byte -> error, nil as untyped nil
	return func(c *mls.Credential, key []byte) error {
		h := sha256.New()
		for _, cert := range c.Certificates {
			h.Write(cert)
		}
		h.Write(c.Identity)
		h.Write(key)
		sum := [32]byte(h.Sum(nil))
		if _, ok := known.Load(sum); ok {
			return nil
		}
		err := validate(c, key)
		if err == nil {
			known.Store(sum, true)
		}
		return err
	}
}

// calls makes a connection for calls, HTTP/2 as in the SDK.
func (p *Place) calls() *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: p.tls.Clone(), ForceAttemptHTTP2: true,
		TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: 90 * time.Second}}
}

// plain makes a connection for what has no use for HTTP/2: the calls of one device,
// one at a time, and sync streams, which begin as HTTP/1.1.
func (p *Place) plain() *http.Client {
	conf := p.tls.Clone()
	conf.NextProtos = []string{"http/1.1"}
	return &http.Client{Transport: whole{&http.Transport{TLSClientConfig: conf, TLSHandshakeTimeout: 30 * time.Second}}}
}

// whole has a request leave in one piece. net/http sends the headers ahead of a body
// unless it knows that the body is in memory.
type whole struct{ *http.Transport }

func (w whole) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.ContentLength > 0 {
		body, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil {
			return nil, err
		}
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	return w.Transport.RoundTrip(r)
}
