package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"hubbub/mimi"
	"hubbub/mimi/content"
	"hubbub/mimi/ohttp"
	"hubbub/mimi/policy"
)

// downloads are the ways to fetch attachments where nothing is set: those that do not
// show the user to whoever keeps them (AST-9).
var downloads = []policy.DownloadType{policy.DownloadHubProxy, policy.DownloadOHTTP}

// sealedPart is how much is fetched in one sealed request.
const sealedPart = 1 << 20

// download opens the octets of an attachment, by the way that room and device allow.
func (c *Client) download(ctx context.Context, m Message, p *content.ExternalPart) (io.ReadCloser, error) {
	rules, err := c.assetPolicy(m.Room)
	if err != nil && !errors.Is(err, ErrNotMember) { // what was received before may still be read
		return nil, err
	}
	u, err := url.Parse(p.URL)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, fmt.Errorf("%w: its address is no https URL", content.ErrAttachment)
	}
	if rules != nil && !rules.AllowsURL(m.Sender.Domain(), p.URL) {
		return nil, fmt.Errorf("%w: the attachment lies on %s, which is no place for attachments of %s there", ErrDenied, u.Host, m.Sender.Domain())
	}
	way, ok := c.way(rules, u)
	if !ok {
		return nil, fmt.Errorf("%w: neither the room nor this device allow a common way to fetch attachments", ErrDenied)
	}
	from, err := c.source(way, m.Room.Domain(), u)
	if err != nil {
		return nil, err
	}
	return &resumed{ctx: ctx, from: from}, nil
}

// way picks how to fetch. What lies at the own provider is fetched there, which shows
// nothing to anybody else, unless that is forbidden.
func (c *Client) way(rules *policy.AssetPolicy, u *url.URL) (policy.DownloadType, bool) {
	local := c.opts.Downloads
	if len(local) == 0 {
		local = downloads
	}
	if rules == nil {
		rules = &policy.AssetPolicy{Allowed: local, Default: local[0]}
	}
	if c.ownAsset(u) {
		if way, ok := rules.Download([]policy.DownloadType{policy.DownloadDirect}); ok {
			return way, true
		}
		if len(rules.Forbidden) == 0 {
			return policy.DownloadDirect, true
		}
	}
	return rules.Download(local)
}

// ownAsset says whether the own provider keeps a file. No other path of it is asked for,
// for the request shows who asks.
func (c *Client) ownAsset(u *url.URL) bool {
	id, ok := strings.CutPrefix(u.EscapedPath(), "/assets/")
	return ok && u.Host == string(c.domain) && u.RawQuery == "" && id != "" && !strings.ContainsAny(id, "/%.")
}

// source opens a file from an offset, where a break lost the connection.
type source func(ctx context.Context, offset int64) (io.ReadCloser, error)

func (c *Client) source(way policy.DownloadType, hub mimi.Domain, u *url.URL) (source, error) {
	switch way {
	case policy.DownloadHubProxy:
		at := c.t.base.JoinPath("asset-proxy", string(hub))
		at.RawQuery = url.Values{"url": {u.String()}}.Encode()
		return c.plain(at.String()), nil
	case policy.DownloadOHTTP:
		return c.oblivious(hub, u), nil
	}
	if c.ownAsset(u) {
		return c.plain(c.t.base.JoinPath(u.EscapedPath()).String()), nil
	}
	return c.direct(u)
}

// plain asks the own provider.
func (c *Client) plain(address string) source {
	return func(ctx context.Context, offset int64) (io.ReadCloser, error) {
		var headers []string
		if offset > 0 {
			headers = []string{"Range", fmt.Sprintf("bytes=%d-", offset)}
		}
		res, err := c.askAsset(ctx, http.MethodGet, address, nil, headers...)
		if err != nil {
			return nil, err
		}
		return from(res.StatusCode, res.Header.Get("Content-Range"), offset, res.Body)
	}
}

// direct asks whoever keeps the file, who sees the user's address.
func (c *Client) direct(u *url.URL) (source, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	pool.AppendCertsFromPEM(c.dev.CA)
	h := &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true, TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: 30 * time.Second},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(ctx context.Context, offset int64) (io.ReadCloser, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", content.ErrAttachment, err)
		}
		req.Header.Set("User-Agent", "")
		if offset > 0 {
			req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
		}
		res, err := h.Do(req)
		if err != nil {
			return nil, &Error{Reason: "peer_unreachable", Message: u.Host + " does not answer", Remedy: "try again later", cause: err}
		}
		if res.StatusCode >= 300 {
			defer res.Body.Close()
			return nil, c.assetError(res)
		}
		return from(res.StatusCode, res.Header.Get("Content-Range"), offset, res.Body)
	}, nil
}

// from checks that an answer begins where it was asked to.
func from(status int, contentRange string, offset int64, body io.ReadCloser) (io.ReadCloser, error) {
	begins := int64(0)
	if status == http.StatusPartialContent {
		first, _, _ := strings.Cut(strings.TrimPrefix(contentRange, "bytes "), "-")
		n, err := strconv.ParseInt(first, 10, 63)
		if err != nil {
			n = -1
		}
		begins = n
	}
	if begins != offset {
		body.Close()
		return nil, fmt.Errorf("%w: its place sends another part than was asked for", content.ErrAttachment)
	}
	return body, nil
}

// oblivious asks the hub's gateway through the own provider: neither sees both who asks
// and for what. Each request brings a part, since a sealed answer is opened as a whole.
func (c *Client) oblivious(hub mimi.Domain, u *url.URL) source {
	var key *ohttp.KeyConfig
	return func(ctx context.Context, offset int64) (io.ReadCloser, error) {
		if key == nil {
			var err error
			if key, err = c.gatewayKey(ctx, hub); err != nil {
				return nil, err
			}
		}
		return &sealedParts{c: c, ctx: ctx, hub: hub, key: key, u: u, offset: offset}, nil
	}
}

func (c *Client) gatewayKey(ctx context.Context, hub mimi.Domain) (*ohttp.KeyConfig, error) {
	res, err := c.askAsset(ctx, http.MethodGet, c.t.base.JoinPath("ohttp-keys", string(hub)).String(), nil)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return nil, fmt.Errorf("fetching the keys of a gateway: %w", err)
	}
	keys, err := ohttp.ParseKeyConfigs(b)
	if err == nil && len(keys) == 0 {
		err = ohttp.ErrUnknownKey
	}
	if err != nil {
		return nil, &Error{Reason: "peer_refused", Provider: hub, Message: "its gateway has no key that can be used", Remedy: "use another way to fetch attachments", cause: err}
	}
	return keys[0], nil
}

// sealedParts reads a file part by part.
type sealedParts struct {
	c      *Client
	ctx    context.Context
	hub    mimi.Domain
	key    *ohttp.KeyConfig
	u      *url.URL
	offset int64
	part   []byte
	last   bool
}

func (s *sealedParts) Close() error { return nil }

func (s *sealedParts) Read(b []byte) (int, error) {
	for len(s.part) == 0 {
		if s.last {
			return 0, io.EOF
		}
		if err := s.next(); err != nil {
			return 0, err
		}
	}
	n := copy(b, s.part)
	s.part = s.part[n:]
	return n, nil
}

func (s *sealedParts) next() error {
	sealed, x, err := s.key.Seal(&ohttp.Request{Method: http.MethodGet, Scheme: "https", Authority: s.u.Host, Path: s.u.RequestURI(),
		Header: []ohttp.Field{{Name: "range", Value: fmt.Sprintf("bytes=%d-%d", s.offset, s.offset+sealedPart-1)}}})
	if err != nil {
		return fmt.Errorf("sealing a request: %w", err)
	}
	res, err := s.c.askAsset(s.ctx, http.MethodPost, s.c.t.base.JoinPath("ohttp", string(s.hub)).String(), bytes.NewReader(sealed),
		"Content-Type", ohttp.MediaTypeRequest)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 8<<20))
	if err != nil {
		return fmt.Errorf("reading a sealed answer: %w", err)
	}
	p, err := x.Open(answer)
	if err != nil {
		return fmt.Errorf("opening a sealed answer: %w", err)
	}
	switch p.Status {
	case http.StatusRequestedRangeNotSatisfiable: // the part before ended where the file does
		s.last = true
		return nil
	case http.StatusOK, http.StatusPartialContent:
	default:
		return s.c.assetError(&http.Response{StatusCode: p.Status, Header: http.Header{}, Body: http.NoBody})
	}
	if _, err := from(p.Status, ohttp.Get(p.Header, "content-range"), s.offset, http.NoBody); err != nil {
		return err
	}
	s.part, s.last = p.Body, p.Status == http.StatusOK || len(p.Body) < sealedPart
	s.offset += int64(len(p.Body))
	return nil
}

// resumed reads a file and goes on where a connection broke.
type resumed struct {
	ctx    context.Context
	from   source
	body   io.ReadCloser // nil = not open
	offset int64
	tried  int // attempts since something came
}

func (r *resumed) Read(b []byte) (int, error) {
	for {
		n, err := r.read(b)
		r.offset += int64(n)
		if n > 0 {
			r.tried = 0
			if err != nil && err != io.EOF {
				r.drop()
				err = nil
			}
			return n, err
		}
		if err == nil || err == io.EOF {
			return 0, err
		}
		r.drop()
		if r.tried++; r.tried == maxFruitless || r.ctx.Err() != nil || !mayPass(err) || errors.Is(err, content.ErrAttachment) {
			return 0, err
		}
		if err := linger(r.ctx, r.tried); err != nil {
			return 0, err
		}
	}
}

func (r *resumed) read(b []byte) (n int, err error) {
	if r.body == nil {
		if r.body, err = r.from(r.ctx, r.offset); err != nil {
			r.body = nil
			return 0, err
		}
	}
	return r.body.Read(b)
}

func (r *resumed) drop() {
	if r.body != nil {
		r.body.Close()
		r.body = nil
	}
}

// Close ends the connection.
func (r *resumed) Close() error {
	r.drop()
	return nil
}
