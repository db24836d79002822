package conformance

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"sync/atomic"

	"hubbub/internal/fakepeer"
	"hubbub/mimi"
	"hubbub/mimi/ohttp"
)

// Files that lie at our provider and that the target fetches as a hub.
var fileChecks = []check{
	{id: "AST-1", what: "a hub fetches a file for another provider", needs: []string{needDirectory, offersProxy}, run: fetched},
	{id: "AST-2", what: "from providers that it knows, and from nowhere else", needs: []string{needDirectory, offersProxy}, run: otherHosts},
	{id: "AST-3", what: "it follows nobody elsewhere and tells nothing", needs: []string{needDirectory, offersProxy}, run: ledAway},
	{id: "AST-6", what: "an Oblivious HTTP gateway", needs: []string{needDirectory, offersProxy}, run: throughGateway},
	{id: "AST-7", what: "which fetches from the same places only", needs: []string{needDirectory, offersProxy}, run: gatewayHosts},
}

// proxied asks the target to fetch an address for us.
func (s *session) proxied(ctx context.Context, address string) (*fakepeer.Reply, error) {
	u, err := s.url(mimi.EndpointProxyDownload, address)
	if err != nil {
		return nil, err
	}
	return s.send(ctx, fakepeer.Outgoing{URL: u, Method: http.MethodGet, Header: http.Header{"Cookie": {"secret=1"}, "X-Secret": {"1"}}})
}

// offer puts a file at our provider and counts who fetches it.
func (s *session) offerFile(name string, file http.HandlerFunc) (address string, count *atomic.Int64) {
	count = new(atomic.Int64)
	path := "/files/" + s.run + "/" + name
	s.peer.Serve(path, func(w http.ResponseWriter, r *http.Request) {
		count.Add(1)
		file(w, r)
	})
	return "https://" + string(s.cfg.As) + path, count
}

func fetched(ctx context.Context, p *probe) {
	s := p.s
	octets := make([]byte, 200_000)
	rand.Read(octets)
	address, count := s.offerFile("whole", fakepeer.Answer(http.StatusOK, nil, octets))
	r, err := s.proxied(ctx, address)
	if p.answered("a file of ours", r, err, 200) {
		p.that("its octets", bytes.Equal(r.Body, octets), fmt.Sprintf("the %d of the file", len(octets)), fmt.Sprintf("%d, others", len(r.Body)))
	}
	p.that("requests that reached us", count.Load() > 0, "one", "none")
	missing, _ := s.offerFile("missing", fakepeer.Status(http.StatusNotFound))
	r, err = s.proxied(ctx, missing)
	p.answered("a file that is not there", r, err, 404)
}

func otherHosts(ctx context.Context, p *probe) {
	s := p.s
	good, count := s.offerFile("other", fakepeer.Answer(http.StatusOK, nil, []byte("x")))
	host, path := string(s.cfg.As), good[len("https://")+len(s.cfg.As):]
	for _, address := range []string{
		"http://" + host + path, "file:///etc/passwd", "ftp://" + host + path, "//" + host + path, path, "gopher://" + host + "/",
		"https://elsewhere.example" + path, "https://" + host + ".elsewhere.example" + path, "https://sub-" + host + path,
		"https://user@" + host + path, "https://" + host + "@elsewhere.example" + path, "https://elsewhere.example@" + host + path,
		"https://" + host + ":8443" + path, "https://" + host + ":0" + path, "https://" + host + "." + path,
		"https://127.0.0.1" + path, "https://[::1]" + path, "https://[::ffff:10.0.0.1]" + path, "https://[fe80::1%25eth0]" + path,
		"https://[2002:a00:1::]" + path, "https://2130706433" + path, "https://0x7f.1" + path, "https://0177.0.0.1" + path,
		"https://169.254.169.254/latest/meta-data/", "https://localhost" + path, "https://" + host + "\\@elsewhere.example" + path,
	} {
		r, err := s.proxied(ctx, address)
		p.answered(address, r, err, 400, 403)
	}
	p.equal("requests that reached us", 0, count.Load())
}

func ledAway(ctx context.Context, p *probe) {
	s := p.s
	for what, to := range map[string]string{
		"the loopback address": "https://127.0.0.1/x", "another host": "https://elsewhere.example/x",
		"what is not https": "http://" + string(s.cfg.As) + "/x", "an address of the local network": "https://169.254.169.254/x",
	} {
		address, _ := s.offerFile("to", fakepeer.Redirect(http.StatusFound, to))
		r, err := s.proxied(ctx, address)
		p.answered("a redirect to "+what, r, err, 403, 502, 504)
	}
	var told atomic.Value
	address, _ := s.offerFile("told", func(w http.ResponseWriter, r *http.Request) { told.Store(r.Header.Clone()) })
	r, err := s.proxied(ctx, address)
	if p.answered("an empty file", r, err, 200) {
		h, _ := told.Load().(http.Header)
		p.that("what we are told of who asks", h.Get("Cookie") == "" && h.Get("X-Secret") == "" && h.Get("From") == "", "no cookie, no header of the requester's, no From", fmt.Sprint(h))
	}
}

// gateway is where a hub takes sealed requests and tells its keys (RFC 9540).
const gateway = "/.well-known/ohttp-gateway"

// sealed sends a request through the target's gateway; nil if that cannot be done.
func (p *probe) sealed(ctx context.Context, q *ohttp.Request) *ohttp.Response {
	s := p.s
	r, err := s.send(ctx, fakepeer.Outgoing{URL: "https://" + string(s.target) + gateway, Method: http.MethodGet})
	if !p.answered("the gateway's keys", r, err, 200) {
		return nil
	}
	keys, err := ohttp.ParseKeyConfigs(r.Body)
	if p.that("the gateway's keys", err == nil && len(keys) > 0, "a list", fmt.Sprint(err)); err != nil || len(keys) == 0 {
		return nil
	}
	body, x, err := keys[0].Seal(q)
	must(err)
	r, err = s.send(ctx, fakepeer.Outgoing{URL: "https://" + string(s.target) + gateway, Body: body, Header: http.Header{"Content-Type": {ohttp.MediaTypeRequest}}})
	if !p.answered("a sealed request", r, err, 200) {
		return nil
	}
	answer, err := x.Open(r.Body)
	if p.that("its answer", err == nil, "sealed for us", fmt.Sprint(err)); err != nil {
		return nil
	}
	return answer
}

func throughGateway(ctx context.Context, p *probe) {
	address, count := p.s.offerFile("sealed", fakepeer.Answer(http.StatusOK, nil, []byte("behind a seal")))
	path := address[len("https://")+len(p.s.cfg.As):]
	if a := p.sealed(ctx, &ohttp.Request{Method: "GET", Scheme: "https", Authority: string(p.s.cfg.As), Path: path}); a != nil {
		p.equal("a file of ours, sealed", "200 behind a seal", fmt.Sprint(a.Status, " ", string(a.Body)))
		p.equal("requests that reached us", 1, count.Load())
	}
}

func gatewayHosts(ctx context.Context, p *probe) {
	for _, host := range []string{"elsewhere.example", "127.0.0.1", "[::1]", "localhost", "user@" + string(p.s.cfg.As), string(p.s.cfg.As) + ":8443"} {
		if a := p.sealed(ctx, &ohttp.Request{Method: "GET", Scheme: "https", Authority: host, Path: "/x"}); a != nil {
			p.that(host, a.Status == 400 || a.Status == 403, "403", fmt.Sprint(a.Status))
		}
	}
	if a := p.sealed(ctx, &ohttp.Request{Method: "POST", Scheme: "https", Authority: string(p.s.cfg.As), Path: "/x"}); a != nil {
		p.that("POST", a.Status == 405 || a.Status == 403, "405", fmt.Sprint(a.Status))
	}
}
