package ohttp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"hubbub/mimi/ohttp"
)

// Limits of a gateway and a relay where none are set.
const (
	defaultRequestBytes  = 64 << 10
	defaultResponseBytes = 32 << 20
	defaultTimeout       = 30 * time.Second
)

// A Gateway opens sealed requests, fetches what they ask for, and seals the answer. It
// fetches by GET and HEAD over https from the hosts it is allowed, and nothing else: it is
// no way into the network it stands in. Its fields must not change once in use; it is then
// safe for concurrent use.
type Gateway struct {
	// Keys are the keys it opens with; the first is the one to use from now on.
	Keys []*ohttp.Key
	// Allow says whether attachments may be fetched from a host, given without port and in
	// lower case. Nil allows none.
	Allow func(host string) bool
	// Transport fetches. It has to refuse private addresses, also after resolution (AST-3);
	// the gateway follows no redirects. Nil refuses everything.
	Transport http.RoundTripper

	MaxRequestBytes  int64         // of a sealed request; 0: 64 KiB
	MaxResponseBytes int64         // of what is fetched; 0: 32 MiB
	Timeout          time.Duration // for fetching; 0: 30 seconds
}

// ServeHTTP takes sealed requests by POST. A request for an unknown key is answered with 422
// and a problem that tells the client to fetch the keys anew (RFC 9458 §5.3); whatever goes
// wrong behind the seal is told behind the seal.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, status := readSealed(w, r, ohttp.MediaTypeRequest, or(g.MaxRequestBytes, defaultRequestBytes))
	if status != 0 {
		http.Error(w, http.StatusText(status), status)
		return
	}
	q, exchange, err := ohttp.Open(body, g.Keys...)
	switch {
	case errors.Is(err, ohttp.ErrUnknownKey), errors.Is(err, ohttp.ErrSealed):
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusUnprocessableEntity)
		fmt.Fprint(w, `{"type":"https://iana.org/assignments/http-problem-types#ohttp-key","title":"key configuration is not acceptable"}`)
		return
	case err != nil:
		http.Error(w, "not a sealed request", http.StatusBadRequest)
		return
	}
	sealed, err := exchange.Seal(g.fetch(r.Context(), q))
	if err != nil {
		// The target's answer has something in it that cannot be sealed.
		if sealed, err = exchange.Seal(plainResponse(http.StatusBadGateway)); err != nil {
			http.Error(w, "the answer cannot be sealed", http.StatusInternalServerError)
			return
		}
	}
	w.Header().Set("Content-Type", ohttp.MediaTypeResponse)
	w.Header().Set("Cache-Control", "no-store")
	w.Write(sealed)
}

// ServeKeys serves the key configurations, also at the well-known place of RFC 9540 (D-48).
func (g *Gateway) ServeKeys(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "GET only", http.StatusMethodNotAllowed)
		return
	}
	var list []*ohttp.KeyConfig
	for _, k := range g.Keys {
		list = append(list, k.Config())
	}
	w.Header().Set("Content-Type", ohttp.MediaTypeKeys)
	w.Header().Set("Cache-Control", "max-age=3600")
	w.Write(ohttp.MarshalKeyConfigs(list...))
}

func plainResponse(status int) *ohttp.Response { return &ohttp.Response{Status: status} }

// Headers that go through: those that say which part of what, and in which form.
var (
	passedOn   = []string{"accept", "range", "if-none-match", "if-range"}
	passedBack = []string{"content-type", "content-range", "content-length", "accept-ranges", "etag", "last-modified", "cache-control", "expires"}
)

// fetch does what a request asks for, or says why not by the status.
func (g *Gateway) fetch(ctx context.Context, q *ohttp.Request) *ohttp.Response {
	if q.Method != http.MethodGet && q.Method != http.MethodHead {
		return plainResponse(http.StatusMethodNotAllowed)
	}
	target, ok := g.target(q)
	if !ok || g.Transport == nil {
		return plainResponse(http.StatusForbidden)
	}
	ctx, cancel := context.WithTimeout(ctx, orDuration(g.Timeout))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, q.Method, target.String(), nil)
	if err != nil {
		return plainResponse(http.StatusBadRequest)
	}
	for _, name := range passedOn {
		if v := ohttp.Get(q.Header, name); v != "" {
			req.Header.Set(name, v)
		}
	}
	req.Header.Set("User-Agent", "") // ours would tell of the gateway, the client's of the client
	res, err := g.Transport.RoundTrip(req)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return plainResponse(http.StatusGatewayTimeout)
		}
		return plainResponse(http.StatusBadGateway)
	}
	defer res.Body.Close()
	return g.answer(res)
}

// answer takes over the target's answer. A redirect would lead elsewhere, so it is a
// failure.
func (g *Gateway) answer(res *http.Response) *ohttp.Response {
	most := or(g.MaxResponseBytes, defaultResponseBytes)
	body, err := io.ReadAll(io.LimitReader(res.Body, most+1))
	redirect := res.StatusCode >= 300 && res.StatusCode < 400 && res.StatusCode != http.StatusNotModified
	if err != nil || int64(len(body)) > most || redirect || res.StatusCode < 200 {
		return plainResponse(http.StatusBadGateway)
	}
	p := &ohttp.Response{Status: res.StatusCode, Body: body}
	for _, name := range passedBack {
		if v := strings.TrimSpace(res.Header.Get(name)); v != "" {
			p.Header = append(p.Header, ohttp.Field{Name: name, Value: v})
		}
	}
	return p
}

// target gives where a request goes, and false where it may not go.
func (g *Gateway) target(q *ohttp.Request) (*url.URL, bool) {
	authority := q.Authority
	if authority == "" {
		authority = ohttp.Get(q.Header, "host")
	}
	if !strings.EqualFold(q.Scheme, "https") || !strings.HasPrefix(q.Path, "/") {
		return nil, false
	}
	u, err := url.Parse("https://" + authority + q.Path)
	if err != nil || u.User != nil || u.Host != authority || u.Fragment != "" {
		return nil, false
	}
	host := strings.ToLower(u.Hostname())
	if port := u.Port(); port != "" && port != "443" || host == "" || strings.HasSuffix(host, ".") {
		return nil, false
	}
	return u, g.Allow != nil && g.Allow(host)
}

// readSealed reads a body of one media type; a status other than 0 says why not.
func readSealed(w http.ResponseWriter, r *http.Request, mediaType string, most int64) ([]byte, int) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return nil, http.StatusMethodNotAllowed
	}
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	if !strings.EqualFold(strings.TrimSpace(kind), mediaType) {
		return nil, http.StatusUnsupportedMediaType
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, http.StatusRequestEntityTooLarge
	case err != nil:
		return nil, http.StatusBadRequest
	}
	return body, 0
}

func or(n, otherwise int64) int64 {
	if n > 0 {
		return n
	}
	return otherwise
}

func orDuration(d time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return defaultTimeout
}

// Hosts makes the Allow of a [Gateway] from a list of hosts.
func Hosts(list ...string) func(host string) bool {
	return func(host string) bool {
		return slices.ContainsFunc(list, func(h string) bool { return strings.EqualFold(h, host) })
	}
}
