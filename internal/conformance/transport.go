package conformance

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"time"

	"hubbub/internal/fakepeer"
	"hubbub/mimi"
)

var transportChecks = []check{
	{id: "TRN-1", what: "mutual TLS, or nothing is answered", run: unauthenticated},
	{id: "TRN-2", what: "certificates prove the domains", run: certificates},
	{id: "TRN-3", what: "From is mimi@domain and nothing else", needs: []string{needDirectory}, run: badFrom},
	{id: "TRN-4", what: "From names a domain of the certificate", needs: []string{needDirectory}, run: foreignFrom},
	{id: "TRN-5", what: "Host is the target's, any port", needs: []string{needDirectory}, run: hosts},
	{id: "TRN-6", what: "the actor in a body is of the source", needs: []string{needDirectory}, run: foreignActor},
	{id: "TRN-7", what: "methods", needs: []string{needDirectory}, run: methods},
	{id: "TRN-8", what: "status codes", needs: []string{needDirectory}, run: statuses},
	{id: "TRN-9", what: "media types do not matter", needs: []string{needDirectory}, run: mediaTypes},
}

// shake makes a connection of its own and asks for the directory over it, in the
// way of HTTP/1.1; it returns what came back, or the refusal.
func (s *session) shake(ctx context.Context, certs ...tls.Certificate) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tr := &http.Transport{TLSClientConfig: &tls.Config{
		RootCAs: s.cfg.Roots, Certificates: certs, ServerName: string(s.target)},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, s.addr)
		}}
	var h2 http.Protocols
	h2.SetHTTP2(true)
	tr.Protocols = &h2
	defer tr.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+string(s.target)+mimi.DirectoryPath, nil)
	must(err)
	req.Header.Set("From", "mimi@"+string(s.cfg.As))
	res, err := tr.RoundTrip(req)
	if err != nil {
		return "", err
	}
	res.Body.Close()
	return fmt.Sprint(res.StatusCode), nil
}

func unauthenticated(ctx context.Context, p *probe) {
	answer, err := p.s.shake(ctx)
	p.that("without a client certificate", err != nil || answer == "401", "a TLS alert or 401", answer)
	conn, err := net.DialTimeout("tcp", p.s.addr, patience)
	if err != nil {
		p.failed("plain HTTP", "a connection that is then ended", err.Error())
		return
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nFrom: mimi@%s\r\n\r\n", mimi.DirectoryPath, p.s.target, p.s.cfg.As)
	b, _ := io.ReadAll(io.LimitReader(conn, 4096))
	p.that("plain HTTP", !bytes.Contains(b, []byte(" 200 ")), "no answer, or a refusal", firstLine(b))
}

func firstLine(b []byte) string {
	line, _, _ := strings.Cut(string(b), "\r\n")
	return line
}

func certificates(ctx context.Context, p *probe) {
	s := p.s
	if answer, err := s.shake(ctx, s.cfg.Certificate); err != nil || answer != "200" {
		p.failed("with the certificate given, control", "200", fmt.Sprint(answer, err))
	}
	p.Probes++
	for name, dates := range map[string][2]time.Duration{"self-signed": {-time.Hour, time.Hour}, "self-signed and expired": {-2 * time.Hour, -time.Hour}} {
		cert, err := selfSigned(s.cfg.As, dates[0], dates[1])
		must(err)
		answer, err := s.shake(ctx, cert)
		p.that("a certificate that is "+name, err != nil || answer == "401", "a TLS alert or 401", answer)
	}
	conn, err := tls.Dial("tcp", s.addr, &tls.Config{RootCAs: s.cfg.Roots, ServerName: string(s.target),
		NextProtos: []string{"h2"}, Certificates: []tls.Certificate{s.cfg.Certificate}})
	p.that("the target's certificate", err == nil, "valid for "+string(s.target), fmt.Sprint(err))
	if err == nil {
		conn.Close()
	}
}

func selfSigned(d mimi.Domain, from, to time.Duration) (cert tls.Certificate, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return cert, err
	}
	t := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: string(d)}, DNSNames: []string{string(d)},
		NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(to), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// update is a well-formed request about a room that is not there, with changes.
func (s *session) update(ctx context.Context, change func(*fakepeer.Outgoing)) (*fakepeer.Reply, error) {
	b := s.sample(mimi.EndpointUpdate)
	o := fakepeer.Outgoing{Body: b.body}
	if change != nil {
		change(&o)
	}
	return s.askWith(ctx, mimi.EndpointUpdate, b.id, o)
}

func badFrom(ctx context.Context, p *probe) {
	as := string(p.s.cfg.As)
	for name, from := range map[string][]string{
		"missing": nil, "empty": {""}, "twice": {"mimi@" + as, "mimi@" + as}, "two in one": {"mimi@" + as + ", mimi@" + as},
		"with a display name": {"X <mimi@" + as + ">"}, "in brackets": {"<mimi@" + as + ">"}, "another local part": {"bot@" + as},
		"Mimi": {"Mimi@" + as}, "an address": {"mimi@127.0.0.1"}, "with a port": {"mimi@" + as + ":443"},
		"without a local part": {as}, "in upper case": {"mimi@" + strings.ToUpper(as)}, "with a dot after it": {"mimi@" + as + "."},
	} {
		r, err := p.s.update(ctx, func(o *fakepeer.Outgoing) { o.Bare, o.Header = true, http.Header{"From": from} })
		p.answered("From "+name, r, err, 400)
	}
}

func foreignFrom(ctx context.Context, p *probe) {
	r, err := p.s.update(ctx, func(o *fakepeer.Outgoing) { o.From = "mimi@elsewhere.example" })
	p.answered("From of a domain that our certificate lacks", r, err, 403)
	r, err = p.s.update(ctx, func(o *fakepeer.Outgoing) { o.From = "mimi@" + string(p.s.target) })
	p.answered("From of the target itself", r, err, 403)
}

func hosts(ctx context.Context, p *probe) {
	for host, status := range map[string]int{
		string(p.s.target) + ":8443": 404, "elsewhere.example": 421, "x" + string(p.s.target): 421, "127.0.0.1": 421,
	} {
		r, err := p.s.update(ctx, func(o *fakepeer.Outgoing) { o.Host = host })
		p.answered("Host "+host, r, err, status)
	}
}

func foreignActor(ctx context.Context, p *probe) {
	s := p.s
	elsewhere := mimi.UserURI("mimi://elsewhere.example/u/somebody")
	c := s.client("actor", "phone")
	r, err := s.ask(ctx, mimi.EndpointKeyMaterial, string(s.userURI("nobody")), s.claim(c, s.userURI("nobody"), "", func(k *mimi.KeyMaterialRequest) {
		k.RequestingUser = elsewhere
	}))
	p.refusedClaim("key material, requested for a user of another provider", r, err)
	b := s.sample(mimi.EndpointNotify)
	for name, uri := range map[string]mimi.RoomURI{"the target's own": s.roomURI(s.target, "x"), "of another provider": "mimi://elsewhere.example/r/x"} {
		r, err := s.ask(ctx, mimi.EndpointNotify, string(uri), b.body)
		p.answered("an announcement for a room that is "+name, r, err, 403)
	}
}

func methods(ctx context.Context, p *probe) {
	urls := map[string]string{"https://" + string(p.s.target) + mimi.DirectoryPath: "GET"}
	for e := range p.s.offered {
		if strings.HasPrefix(string(e), "x-") {
			continue // an extension says itself how it is used
		}
		u, err := p.s.url(e, string(p.s.roomURI(p.s.target, "none")))
		must(err)
		if urls[u] = "POST"; e == mimi.EndpointProxyDownload {
			urls[u] = "GET"
		}
	}
	for u, right := range urls {
		for _, m := range []string{"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"} {
			if m == right {
				continue
			}
			r, err := p.s.send(ctx, fakepeer.Outgoing{URL: u, Method: m})
			if p.answered(m+" "+u, r, err, 405) {
				p.equal("Allow after "+m+" "+u, right, r.Header.Get("Allow"))
			}
		}
	}
}

func statuses(ctx context.Context, p *probe) {
	s := p.s
	uri := string(s.roomURI(s.target, "none"))
	for _, e := range []mimi.Endpoint{mimi.EndpointUpdate, mimi.EndpointSubmitMessage} {
		r, err := s.ask(ctx, e, uri, s.sample(e).body)
		p.answered(string(e)+" for a room that is not there", r, err, 404)
		r, err = s.ask(ctx, e, "mimi://elsewhere.example/r/x", s.sample(e).body)
		p.answered(string(e)+" for a room of another provider", r, err, 404)
	}
	for _, b := range s.samples() {
		r, err := s.ask(ctx, b.endpoint, b.id, bytes.Repeat([]byte{0xff, 0, 'A'}, 100))
		p.answered(string(b.endpoint)+" with rubbish", r, err, 400)
		r, err = s.ask(ctx, b.endpoint, b.id, make([]byte, 17<<20))
		p.answered(string(b.endpoint)+" with 17 MiB", r, err, 413)
	}
	r, err := s.send(ctx, fakepeer.Outgoing{URL: "https://" + string(s.target) + "/no/such/place/at/all"})
	p.answered("a path that is not in the directory", r, err, 404)
}

func mediaTypes(ctx context.Context, p *probe) {
	for _, media := range []string{"", "message/mls", "text/x-odd", "application/octet-stream; x=y"} {
		r, err := p.s.update(ctx, func(o *fakepeer.Outgoing) {
			if o.Header = (http.Header{}); media != "" {
				o.Header.Set("Content-Type", media)
			}
		})
		p.answered("Content-Type "+media, r, err, 404) // judged, and the room is not there
	}
	b := p.s.sample(mimi.EndpointGroupInfo)
	r, err := p.s.ask(ctx, b.endpoint, b.id, b.body)
	if p.answered("a response body", r, err, 200) {
		p.equal("its media type", "application/octet-stream", r.Header.Get("Content-Type"))
	}
}
