package federation

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"hubbub/internal/identity"
	"hubbub/internal/store"
	"hubbub/mimi"
)

func errFull() error { return store.ErrFull }

// rawClient speaks HTTP/2 as a stranger would: no rule of ours on its side.
func rawClient(w *world, addr string, certs ...tls.Certificate) *http.Transport {
	var h2 http.Protocols
	h2.SetHTTP2(true)
	tr := &http.Transport{
		Protocols: &h2,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
		TLSClientConfig:    &tls.Config{RootCAs: w.ca.Pool(), Certificates: certs, ServerName: "a.localhost"},
		DisableCompression: true,
	}
	w.t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// escaped is testRoom as a path segment.
var escaped = url.QueryEscape(string(testRoom))

type hostile struct {
	method, host, path string
	header             http.Header
	body               io.Reader
	length             int64 // 0 = as Go finds it, -1 = not stated
	status             int
	code               string
}

func TestHostileRequests(t *testing.T) {
	w := newWorld(t)
	roles := &fakeRoles{body: []byte("x")}
	_, addr := w.server("a.localhost", roles, func(cfg *ServerConfig) { cfg.Hosts = []string{"mimi.a.localhost"} })
	tr := rawClient(w, addr, w.cert("b.localhost"))
	from := func(values ...string) http.Header { return http.Header{"From": values} }
	with := func(k, v string) http.Header { return http.Header{"From": {"mimi@b.localhost"}, k: {v}} }
	const user = "mimi%3A%2F%2Fa.localhost%2Fu%2Fal"
	cases := map[string]hostile{
		// H03 – H05
		"from another provider": {header: from("mimi@c.localhost"), status: 403, code: mimi.CodeFromNotProven},
		"from missing":          {header: http.Header{"X-Nothing": {"1"}}, status: 400, code: mimi.CodeBadFrom},
		"from empty":            {header: from(""), status: 400, code: mimi.CodeBadFrom},
		"from twice":            {header: from("mimi@b.localhost", "mimi@b.localhost"), status: 400, code: mimi.CodeBadFrom},
		"from twice in one":     {header: from("mimi@b.localhost, mimi@b.localhost"), status: 400, code: mimi.CodeBadFrom},
		"from display name":     {header: from("B <mimi@b.localhost>"), status: 400, code: mimi.CodeBadFrom},
		"from brackets":         {header: from("<mimi@b.localhost>"), status: 400, code: mimi.CodeBadFrom},
		"from other local part": {header: from("bot@b.localhost"), status: 400, code: mimi.CodeBadFrom},
		"from Mimi":             {header: from("Mimi@b.localhost"), status: 400, code: mimi.CodeBadFrom},
		"from address":          {header: from("mimi@127.0.0.1"), status: 400, code: mimi.CodeBadFrom},
		"from port":             {header: from("mimi@b.localhost:443"), status: 400, code: mimi.CodeBadFrom},
		"from upper case":       {header: from("mimi@B.localhost"), status: 400, code: mimi.CodeBadFrom},
		"from trailing dot":     {header: from("mimi@b.localhost."), status: 400, code: mimi.CodeBadFrom},
		"from U-label":          {header: from("mimi@b\u00fccher.localhost"), status: 400, code: mimi.CodeBadFrom},
		"from bad A-label":      {header: from("mimi@xn--example-.localhost"), status: 400, code: mimi.CodeBadFrom},
		// H06
		"wrong host":    {host: "z.localhost", status: 421, code: mimi.CodeMisdirected},
		"address":       {host: "127.0.0.1", status: 421, code: mimi.CodeMisdirected},
		"suffix host":   {host: "xa.localhost", status: 421, code: mimi.CodeMisdirected},
		"port ignored":  {host: "a.localhost:8443", status: 200},
		"second host":   {host: "mimi.a.localhost", status: 200},
		"upper in host": {host: "A.Localhost", status: 200},
		// H12
		"unknown path":     {path: "/v1/reboot/" + escaped, status: 404, code: mimi.CodeNotFound},
		"absent endpoint":  {path: "/v1/requestConsent/b.localhost", status: 404, code: mimi.CodeNotFound},
		"root":             {path: "/", status: 404, code: mimi.CodeNotFound},
		"no identifier":    {path: "/v1/update", status: 400, code: mimi.CodeBadURI},
		"empty identifier": {path: "/v1/update/", status: 400, code: mimi.CodeBadURI},
		// H13
		"gzip":            {header: with("Content-Encoding", "gzip"), body: zipped(1 << 20), status: 415, code: "unsupported-encoding"},
		"identity":        {header: with("Content-Encoding", "identity"), status: 415, code: "unsupported-encoding"},
		"odd media type":  {header: with("Content-Type", "text/x-odd"), status: 200},
		"mls media type":  {header: with("Content-Type", "message/mls"), status: 200},
		"empty body":      {body: http.NoBody, status: 200}, // judged by the role
		"half a position": {path: "/v1/notify/" + escaped, header: with(HeaderSeq, "1"), status: 400, code: mimi.CodeMalformed},
		// H14
		"at the limit":        {path: "/v1/keyMaterial/" + user, body: zeros(64 * kib), status: 200},
		"over, true length":   {path: "/v1/keyMaterial/" + user, body: zeros(64*kib + 1), status: 413, code: mimi.CodeTooLarge},
		"over, no length":     {path: "/v1/keyMaterial/" + user, body: zeros(64*kib + 1), length: -1, status: 413, code: mimi.CodeTooLarge},
		"groupInfo too large": {path: "/v1/groupInfo/" + escaped, body: zeros(64*kib + 1), length: -1, status: 413, code: mimi.CodeTooLarge},
		"message too large":   {path: "/v1/submitMessage/" + escaped, body: zeros(128*kib + 1), status: 413, code: mimi.CodeTooLarge},
		"update too large":    {path: "/v1/update/" + escaped, body: zeros(8*mib + 1), length: -1, status: 413, code: mimi.CodeTooLarge},
		"notify too large":    {path: "/v1/notify/" + escaped, body: zeros(8*mib + 1), status: 413, code: mimi.CodeTooLarge},
		"body on snapshot":    {method: "GET", path: "/v1/x-snapshot/" + escaped + "?seq=1", body: zeros(1), status: 413, code: mimi.CodeTooLarge},
		// H21 – H23
		"raw identifier":    {path: "/v1/update/mimi://a.localhost/r/club", status: 400, code: mimi.CodeBadURI},
		"half raw":          {path: "/v1/update/mimi%3A%2F%2Fa.localhost/r/club", status: 400, code: mimi.CodeBadURI},
		"double slash":      {path: "/v1//update/" + escaped, status: 404, code: mimi.CodeNotFound},
		"leading slashes":   {path: "//v1/update/" + escaped, status: 404, code: mimi.CodeNotFound},
		"dot segments":      {path: "/v1/x/../update/" + escaped, status: 404, code: mimi.CodeNotFound},
		"encoded endpoint":  {path: "/v1/%75pdate/" + escaped, status: 404, code: mimi.CodeNotFound},
		"double encoding":   {path: "/v1/update/" + url.QueryEscape(escaped), status: 400, code: mimi.CodeBadURI},
		"trailing slash":    {path: "/v1/update/" + escaped + "/", status: 400, code: mimi.CodeBadURI},
		"user as room":      {path: "/v1/update/" + user, status: 400, code: mimi.CodeBadURI},
		"room as user":      {path: "/v1/keyMaterial/" + escaped, status: 400, code: mimi.CodeBadURI},
		"not UTF-8":         {path: "/v1/update/" + escaped + "%ff", status: 400, code: mimi.CodeBadURI},
		"NUL":               {path: "/v1/update/" + escaped + "%00", status: 400, code: mimi.CodeBadURI},
		"too long":          {path: "/v1/update/" + escaped + strings.Repeat("x", 1024), status: 400, code: mimi.CodeBadURI},
		"userinfo":          {path: "/v1/update/mimi%3A%2F%2Fx%40a.localhost%2Fr%2Fx", status: 400, code: mimi.CodeBadURI},
		"port":              {path: "/v1/update/mimi%3A%2F%2Fa.localhost%3A1%2Fr%2Fx", status: 400, code: mimi.CodeBadURI},
		"hidden dots":       {path: "/v1/update/mimi%3A%2F%2Fa.localhost%2Fr%2F%252e%252e", status: 400, code: mimi.CodeBadURI},
		"other scheme":      {path: "/v1/update/http%3A%2F%2Fa.localhost%2Fr%2Fx", status: 400, code: mimi.CodeBadURI},
		"snapshot no seq":   {method: "GET", path: "/v1/x-snapshot/" + escaped, status: 400, code: mimi.CodeMalformed},
		"snapshot minus":    {method: "GET", path: "/v1/x-snapshot/" + escaped + "?seq=-1", status: 400, code: mimi.CodeMalformed},
		"snapshot two seqs": {method: "GET", path: "/v1/x-snapshot/" + escaped + "?seq=1&seq=2", status: 400, code: mimi.CodeMalformed},
		"snapshot and more": {method: "GET", path: "/v1/x-snapshot/" + escaped + "?seq=1&x=2", status: 400, code: mimi.CodeMalformed},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) { tc.run(t, tr, roles) })
	}
}

func (tc hostile) run(t *testing.T, tr *http.Transport, roles *fakeRoles) {
	if tc.method == "" {
		tc.method = http.MethodPost
	}
	if tc.path == "" {
		tc.path = "/v1/update/" + escaped
	}
	if tc.body == nil && tc.method == http.MethodPost {
		tc.body = strings.NewReader("x")
	}
	req, err := http.NewRequest(tc.method, "https://a.localhost/", tc.body)
	if err != nil {
		t.Fatal(err)
	}
	req.URL.Opaque = "//a.localhost" + tc.path // as written, without net/url's repairs
	req.URL.Opaque, req.URL.RawQuery, _ = strings.Cut(req.URL.Opaque, "?")
	if req.Header = tc.header; req.Header == nil {
		req.Header = http.Header{"From": {"mimi@b.localhost"}}
	}
	if tc.host != "" {
		req.Host = tc.host
		req.URL.Opaque = strings.Replace(req.URL.Opaque, "//a.localhost", "//"+tc.host, 1)
	}
	if tc.length != 0 {
		req.ContentLength = tc.length
	}
	res, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	calls := roles.take()
	if res.StatusCode != tc.status {
		t.Fatalf("status %d %s, want %d", res.StatusCode, body, tc.status)
	}
	if tc.status < 300 {
		return
	}
	var p struct{ Code, Detail string }
	if err := json.Unmarshal(body, &p); err != nil || p.Code != tc.code || p.Detail == "" {
		t.Errorf("body %s (%v), want code %s and a detail", body, err, tc.code)
	}
	if len(calls) != 0 {
		t.Errorf("a role was called: %q", calls)
	}
	if res.Header.Get("Location") != "" {
		t.Error("the answer redirects")
	}
}

// A bad percent-encoding does not get past Go's HTTP/2 server: the stream is reset.
func TestBadPercentEncoding(t *testing.T) {
	w := newWorld(t)
	roles := &fakeRoles{body: []byte("x")}
	_, addr := w.server("a.localhost", roles, nil)
	tr := rawClient(w, addr, w.cert("b.localhost"))
	tr.DialContext = limited(tr.DialContext)
	req, _ := http.NewRequestWithContext(withDialBudget(t.Context()), http.MethodPost, "https://a.localhost/", strings.NewReader("x"))
	req.URL.Opaque = "//a.localhost/v1/update/%zz"
	req.Header.Set("From", "mimi@b.localhost")
	res, err := tr.RoundTrip(req)
	if err == nil {
		res.Body.Close()
		if res.StatusCode != http.StatusBadRequest {
			t.Errorf("status %d", res.StatusCode)
		}
	}
	if calls := roles.take(); len(calls) != 0 {
		t.Errorf("a role was called: %q", calls)
	}
}

// TRN-7
func TestMethodMatrix(t *testing.T) {
	w := newWorld(t)
	roles := &fakeRoles{body: []byte("x")}
	_, addr := w.server("a.localhost", roles, nil)
	tr := rawClient(w, addr, w.cert("b.localhost"))
	paths := map[string]string{mimi.DirectoryPath: "GET"}
	for name, ep := range endpoints {
		paths["/v1/"+string(name)+"/"+escaped] = ep.method
	}
	for path, want := range paths {
		for _, m := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"} {
			if m == want {
				continue
			}
			req, _ := http.NewRequest(m, "https://a.localhost"+path, nil)
			req.Header.Set("From", "mimi@b.localhost")
			res, err := tr.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != 405 || res.Header.Get("Allow") != want {
				t.Errorf("%s %s: %d, Allow %q", m, path, res.StatusCode, res.Header.Get("Allow"))
			}
		}
	}
}

// H01, H02, H07: nothing of these reaches a handler.
func TestTLSRefusals(t *testing.T) {
	w := newWorld(t)
	roles := &fakeRoles{body: []byte("x")}
	_, addr := w.server("a.localhost", roles, func(cfg *ServerConfig) {
		cfg.Alive = func(mimi.Domain) { t.Error("a request arrived") }
	})
	other := newWorld(t)
	for name, certs := range map[string][]tls.Certificate{
		"no certificate": nil,
		"wrong CA":       {other.cert("b.localhost")},
		"identity leaf":  {clientLeaf(t, w)},
	} {
		req, _ := http.NewRequest(http.MethodGet, "https://a.localhost"+mimi.DirectoryPath, nil)
		req.Header.Set("From", "mimi@b.localhost")
		if res, err := rawClient(w, addr, certs...).RoundTrip(req); err == nil {
			res.Body.Close()
			t.Errorf("%s: answered %d", name, res.StatusCode)
		}
	}
	for name, change := range map[string]func(*tls.Config){
		"HTTP/1.1": func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} },
		"no ALPN":  func(c *tls.Config) { c.NextProtos = nil },
		"TLS 1.2":  func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 },
	} {
		cfg := &tls.Config{RootCAs: w.ca.Pool(), Certificates: []tls.Certificate{w.cert("b.localhost")}, ServerName: "a.localhost", NextProtos: []string{"h2"}}
		change(cfg)
		conn, err := tls.Dial("tcp", addr, cfg)
		if err != nil {
			continue // refused in the handshake
		}
		io.WriteString(conn, "GET "+mimi.DirectoryPath+" HTTP/1.1\r\nHost: a.localhost\r\nFrom: mimi@b.localhost\r\n\r\n")
		if b, _ := io.ReadAll(conn); bytes.Contains(b, []byte("200")) || bytes.Contains(b, []byte("directory")) {
			t.Errorf("%s: answered %q", name, b)
		}
		conn.Close()
	}
}

// clientLeaf is a client's MLS certificate presented as if it were a provider's.
func clientLeaf(t *testing.T, w *world) tls.Certificate {
	t.Helper()
	pair, err := w.ca.IssueIdentityCA("b.localhost")
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := identity.NewIssuer("b.localhost", pair)
	if err != nil {
		t.Fatal(err)
	}
	return leafOf(t, issuer)
}

func zeros(n int) io.Reader { return bytes.NewReader(make([]byte, n)) }

func zipped(n int) io.Reader {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write(make([]byte, n))
	z.Close()
	return &b
}

func TestCheckHostDiffering(t *testing.T) {
	w := newWorld(t)
	s, err := NewServer(ServerConfig{Domain: "a.localhost", Certificate: w.cert("a.localhost"), Roots: w.ca.Pool(), Roles: &fakeRoles{}})
	if err != nil {
		t.Fatal(err)
	}
	r := &http.Request{Host: "a.localhost", Header: http.Header{"Host": {"b.localhost"}}}
	if p := asProblem(s.checkHost(r)); p.Status != 400 {
		t.Errorf("Host and :authority differ: %v", p)
	}
}
