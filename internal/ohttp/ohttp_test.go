package ohttp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"hubbub/mimi/ohttp"
)

// to sends requests to a handler, in place of a network.
type to func(w http.ResponseWriter, r *http.Request)

func (f to) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	if r.Body == nil {
		r.Body = http.NoBody
	}
	f(w, r)
	return w.Result(), nil
}

type failing struct{ err error }

func (f failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, f.err }

func newGateway(t *testing.T, target to) *Gateway {
	t.Helper()
	key, err := ohttp.NewKey(1, ohttp.KEMX25519)
	if err != nil {
		t.Fatal(err)
	}
	return &Gateway{Keys: []*ohttp.Key{key}, Allow: Hosts("cdn.example"), Transport: target}
}

// ask sends a request through a handler and opens the answer.
func ask(t *testing.T, h http.Handler, key *ohttp.KeyConfig, q *ohttp.Request) *ohttp.Response {
	t.Helper()
	sealed, x, err := key.Seal(q)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/relay/a.example", bytes.NewReader(sealed))
	r.Header.Set("Content-Type", ohttp.MediaTypeRequest)
	r.Header.Set("Cookie", "who=bob")
	r.Header.Set("User-Agent", "bob's device")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != ohttp.MediaTypeResponse {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	p, err := x.Open(w.Body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func get(authority, path string) *ohttp.Request {
	return &ohttp.Request{Method: "GET", Scheme: "https", Authority: authority, Path: path}
}

// TestThroughRelayAndGateway fetches an attachment the whole way (AST-6, AST-8).
func TestThroughRelayAndGateway(t *testing.T) {
	g := newGateway(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Cookie") != "" || r.Header.Get("User-Agent") != "" || r.Header.Get("X-Secret") != "" || r.URL.String() != "https://cdn.example/x?y" {
			t.Errorf("target sees %s %v", r.URL, r.Header)
		}
		w.Header().Set("Content-Type", "image/png")
		w.Header().Set("Set-Cookie", "tracking=1")
		w.WriteHeader(http.StatusPartialContent)
		io.WriteString(w, r.Header.Get("Range"))
	})
	relay := &Relay{
		Gateway: func(r *http.Request) (string, bool) {
			return "https://a.example/ohttp", r.URL.Path == "/relay/a.example"
		},
		Transport: to(func(w http.ResponseWriter, r *http.Request) {
			if len(r.Header) != 2 || r.Header.Get("User-Agent") != "" || r.RemoteAddr != "" {
				t.Errorf("gateway sees %v from %s", r.Header, r.RemoteAddr)
			}
			g.ServeHTTP(w, r)
		}),
	}
	q := get("cdn.example", "/x?y")
	q.Header = []ohttp.Field{{Name: "range", Value: "bytes=0-9"}, {Name: "cookie", Value: "a=b"}, {Name: "x-secret", Value: "x"}}
	p := ask(t, relay, g.Keys[0].Config(), q)
	if p.Status != http.StatusPartialContent || string(p.Body) != "bytes=0-9" || ohttp.Get(p.Header, "content-type") != "image/png" || ohttp.Get(p.Header, "set-cookie") != "" {
		t.Errorf("%+v", p)
	}
}

// TestTargets is the table of hosts of AST-2, as AST-7 asks for it.
func TestTargets(t *testing.T) {
	reached := false
	g := newGateway(t, func(http.ResponseWriter, *http.Request) { reached = true })
	key := g.Keys[0].Config()
	for _, tc := range []struct {
		q    *ohttp.Request
		want int
	}{
		{get("cdn.example", "/x"), 200}, {get("CDN.example", "/x"), 200}, {get("cdn.example:443", "/x"), 200},
		{&ohttp.Request{Method: "HEAD", Scheme: "HTTPS", Path: "/x", Header: []ohttp.Field{{Name: "host", Value: "cdn.example"}}}, 200},
		{get("evil.example", "/x"), 403}, {get("cdn.example.evil.example", "/x"), 403}, {get("127.0.0.1", "/x"), 403}, {get("[::1]", "/x"), 403},
		{get("cdn.example@evil.example", "/x"), 403}, {get("evil.example@cdn.example", "/x"), 403}, {get("cdn.example:8443", "/x"), 403},
		{get("cdn.example.", "/x"), 403}, {get("", "/x"), 403}, {get("cdn.example", "@evil.example/x"), 403}, {get("cdn.example", ""), 403},
		{get("cdn.example/x", "/y"), 403}, {get("cdn.example#", "/y"), 403}, {get("cdn.example", "/y#z"), 403},
		{&ohttp.Request{Method: "GET", Scheme: "http", Authority: "cdn.example", Path: "/x"}, 403},
		{&ohttp.Request{Method: "POST", Scheme: "https", Authority: "cdn.example", Path: "/x"}, 405},
	} {
		reached = false
		p := ask(t, g, key, tc.q)
		if p.Status != tc.want || reached != (tc.want == 200) {
			t.Errorf("%s %s://%s%s: %d, reached %v", tc.q.Method, tc.q.Scheme, tc.q.Authority, tc.q.Path, p.Status, reached)
		}
	}
	g.Allow = nil
	if p := ask(t, g, key, get("cdn.example", "/x")); p.Status != 403 {
		t.Errorf("nothing is allowed, and yet %d", p.Status)
	}
}

func TestTargetAnswers(t *testing.T) {
	for name, tc := range map[string]struct {
		transport http.RoundTripper
		want      int
	}{
		"not found":    {to(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }), 404},
		"not modified": {to(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(304) }), 304},
		"redirect": {to(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://127.0.0.1/", http.StatusFound)
		}), 502},
		"too large":      {to(func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 101)) }), 502},
		"at the limit":   {to(func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 100)) }), 200},
		"cannot be read": {failing{errors.New("no route")}, 502},
		"too slow":       {failing{context.DeadlineExceeded}, 504},
	} {
		g := newGateway(t, nil)
		g.Transport, g.MaxResponseBytes = tc.transport, 100
		if p := ask(t, g, g.Keys[0].Config(), get("cdn.example", "/x")); p.Status != tc.want {
			t.Errorf("%s: %d", name, p.Status)
		}
	}
}

func TestBadRequests(t *testing.T) {
	g := newGateway(t, nil)
	g.MaxRequestBytes = 200
	relay := &Relay{Gateway: func(*http.Request) (string, bool) { return "", false }, MaxRequestBytes: 200}
	other, err := ohttp.NewKey(2, ohttp.KEMX25519)
	if err != nil {
		t.Fatal(err)
	}
	stranger, _, err := other.Config().Seal(get("cdn.example", "/"))
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		h            http.Handler
		method, kind string
		body         []byte
		want         int
	}{
		"GET":             {g, "GET", ohttp.MediaTypeRequest, nil, 405},
		"another type":    {g, "POST", "text/plain", nil, 415},
		"too large":       {g, "POST", ohttp.MediaTypeRequest, make([]byte, 201), 413},
		"garbage":         {g, "POST", ohttp.MediaTypeRequest, []byte("x"), 400},
		"another key":     {g, "POST", ohttp.MediaTypeRequest, stranger, 422},
		"relay GET":       {relay, "GET", ohttp.MediaTypeRequest, nil, 405},
		"relay type":      {relay, "POST", "", nil, 415},
		"relay too large": {relay, "POST", ohttp.MediaTypeRequest, make([]byte, 201), 413},
		"no gateway":      {relay, "POST", ohttp.MediaTypeRequest, stranger, 403},
	} {
		r := httptest.NewRequest(tc.method, "/", bytes.NewReader(tc.body))
		r.Header.Set("Content-Type", tc.kind)
		w := httptest.NewRecorder()
		tc.h.ServeHTTP(w, r)
		if w.Code != tc.want {
			t.Errorf("%s: %d: %s", name, w.Code, w.Body)
		}
		if tc.want == 422 && !strings.Contains(w.Body.String(), "ohttp-key") {
			t.Errorf("%s: %s", name, w.Body)
		}
	}
}

func TestRelayAnswers(t *testing.T) {
	for name, tc := range map[string]struct {
		transport http.RoundTripper
		want      int
	}{
		"key unknown":  {to(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(422) }), 422},
		"redirect":     {to(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(302) }), 502},
		"too large":    {to(func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 101)) }), 502},
		"unreachable":  {failing{errors.New("no route")}, 502},
		"does not end": {failing{context.DeadlineExceeded}, 504},
	} {
		relay := &Relay{Gateway: func(*http.Request) (string, bool) { return "https://a.example/ohttp", true }, Transport: tc.transport, MaxResponseBytes: 100}
		r := httptest.NewRequest("POST", "/", strings.NewReader("sealed"))
		r.Header.Set("Content-Type", ohttp.MediaTypeRequest)
		w := httptest.NewRecorder()
		relay.ServeHTTP(w, r)
		if w.Code != tc.want {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
}

func TestServeKeys(t *testing.T) {
	g := newGateway(t, nil)
	w := httptest.NewRecorder()
	g.ServeKeys(w, httptest.NewRequest("GET", "/.well-known/ohttp-gateway", nil))
	configs, err := ohttp.ParseKeyConfigs(w.Body.Bytes())
	if err != nil || len(configs) != 1 || configs[0].ID != 1 || w.Header().Get("Content-Type") != ohttp.MediaTypeKeys {
		t.Errorf("%v, %v", configs, err)
	}
	w = httptest.NewRecorder()
	if g.ServeKeys(w, httptest.NewRequest("POST", "/", nil)); w.Code != 405 {
		t.Errorf("POST: %d", w.Code)
	}
}
