package asset

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hubbub/internal/publicnet"
)

// to answers requests in place of a network.
type to func(*http.Request) (*http.Response, error)

func (f to) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func only(hosts ...string) Sources {
	return func(host string) (string, bool) {
		for _, h := range hosts {
			if h == host {
				return "", true
			}
		}
		return "", false
	}
}

func file(body io.Reader, length int64) *http.Response {
	return &http.Response{StatusCode: 200, Header: http.Header{}, ContentLength: length, Body: io.NopCloser(body)}
}

// H82 and AST-2: nothing is sent to a place that is not to be asked.
func TestTargets(t *testing.T) {
	asked := 0
	f := &Fetcher{sources: only("cdn.example", "xn--bcher-kva.example"), rt: to(func(r *http.Request) (*http.Response, error) {
		asked++
		if len(r.Header) != 1 || r.Header.Get("User-Agent") != "" {
			t.Errorf("the other side sees %v", r.Header)
		}
		return file(strings.NewReader("x"), 1), nil
	})}
	for _, address := range []string{"https://cdn.example/x", "https://cdn.example:443/x?y=z", "https://cdn.example", "HTTPS://cdn.example/x", "https://xn--bcher-kva.example/"} {
		d, err := f.Get(t.Context(), address, http.Header{"Cookie": {"a=b"}, "Authorization": {"Bearer x"}, "User-Agent": {"bob"}, "From": {"bob"}})
		if err != nil {
			t.Errorf("%s: %v", address, err)
			continue
		}
		d.Body.Close()
	}
	asked = 0
	for _, address := range []string{
		"http://cdn.example/x", "file:///etc/passwd", "file://cdn.example/x", "ftp://cdn.example/x", "gopher://cdn.example/", "//cdn.example/x", "/x", "", "https:cdn.example/x",
		"https://evil.example/x", "https://cdn.example.evil.example/x", "https://evilcdn.example/x", "https://sub.cdn.example/x",
		"https://user@cdn.example/x", "https://cdn.example@evil.example/x", "https://evil.example@cdn.example/x", "https://@cdn.example/x", "https://:@cdn.example/",
		"https://cdn.example:8443/x", "https://cdn.example:0443/x", "https://cdn.example:/x", "https://cdn.example:80/", "https://cdn.example:https/",
		"https://CDN.example/x", "https://cdn.example./x", "https://cdn.example%2e/x", "https://bücher.example/", "https://cdn。example/",
		"https://cdn.example#@evil.example/", "https://cdn.example\\@evil.example/x", "https://cdn.example /x", "https://cdn.example/x\r\nHost: y", " https://cdn.example/", "https://cdn.example/x#y", "https://cdn.example/\x00",
		"https://127.0.0.1/", "https://[::1]/", "https://[::ffff:10.0.0.1]/", "https://[fe80::1%25eth0]/", "https://2130706433/", "https://0x7f.1/", "https://0177.0.0.1/", "https://169.254.169.254/latest/meta-data/",
		"https://[2002:a00:1::]/", "https://localhost/", "https://cdn.example/" + strings.Repeat("x", 2048),
	} {
		if _, err := f.Get(t.Context(), address, nil); status(err) != 403 {
			t.Errorf("%q: %v", address, err)
		}
	}
	if asked != 0 {
		t.Errorf("%d requests were sent", asked)
	}
}

// H83: a name that is allowed and leads to an address that is not public. This is the
// whole Fetcher, with DNS as it is.
func TestPrivateAddresses(t *testing.T) {
	var connected atomic.Bool
	ln, err := net.Listen("tcp", "127.0.0.1:443")
	if err == nil { // or somebody has it, or may
		defer ln.Close()
		go func() {
			if c, err := ln.Accept(); err == nil {
				connected.Store(true)
				c.Close()
			}
		}()
	}
	f := NewFetcher(only("localhost"), &tls.Config{})
	defer f.Close()
	if _, err := f.Get(t.Context(), "https://localhost/x", nil); status(err) != 403 || connected.Load() {
		t.Errorf("%v, connected: %v", err, connected.Load())
	}
	if _, err := f.dial(t.Context(), "tcp", "169.254.169.254:443"); !errors.Is(err, publicnet.ErrNotPublic) {
		t.Error(err)
	}
}

// H83: redirects lead nowhere else.
func TestRedirects(t *testing.T) {
	for location, want := range map[string]int{
		"https://cdn.example/y": 200, "/y": 200, "https://b.example/y": 200,
		"https://evil.example/": 403, "https://127.0.0.1/": 403, "http://cdn.example/y": 403, "//evil.example/y": 403,
		"https://cdn.example:8443/": 403, "https://x@cdn.example/": 403, "file:///etc/passwd": 403, "/x": 502, "https://%zz/": 502,
	} {
		visited := ""
		f := &Fetcher{sources: only("cdn.example", "b.example"), rt: to(func(r *http.Request) (*http.Response, error) {
			visited += " " + r.URL.String()
			if r.URL.Path == "/x" {
				res := file(strings.NewReader("not the file"), -1)
				res.StatusCode = http.StatusFound
				res.Header.Set("Location", location)
				return res, nil
			}
			return file(strings.NewReader("x"), 1), nil
		})}
		d, err := f.Get(t.Context(), "https://cdn.example/x", nil)
		got := status(err)
		if err == nil {
			got = d.Status
			d.Body.Close()
		}
		if got != want || strings.Contains(visited, "evil") || strings.Contains(visited, "127") {
			t.Errorf("%s: %d, went to%s", location, got, visited)
		}
	}
}

// endless is a stream that goes on.
type endless struct{ read int64 }

func (e *endless) Read(b []byte) (int, error) { e.read += int64(len(b)); return len(b), nil }

// H84: answers that are not what they say.
func TestAnswers(t *testing.T) {
	stream := &endless{}
	for name, tc := range map[string]struct {
		res       *http.Response
		err       error
		get, read int // statuses; 0 = fine
	}{
		"not there":           {res: &http.Response{StatusCode: 404, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("secret"))}},
		"nothing":             {res: file(strings.NewReader(""), 0)},
		"10 GiB as it says":   {res: file(&endless{}, 10<<30), get: 502},
		"endless":             {res: file(stream, -1), read: 502},
		"shorter than it is":  {res: file(strings.NewReader("12345"), 4), get: 502},
		"longer than it is":   {res: file(strings.NewReader("12345"), 6), get: 502},
		"long and longer":     {res: file(strings.NewReader(strings.Repeat("x", firstBytes+5)), firstBytes+6), read: 502},
		"long and shorter":    {res: file(strings.NewReader(strings.Repeat("x", firstBytes+5)), firstBytes+4), read: 502},
		"no answer":           {err: errors.New("connection refused"), get: 502},
		"too slow":            {err: context.DeadlineExceeded, get: 504},
		"not to be connected": {err: publicnet.ErrNotPublic, get: 403},
		"created":             {res: &http.Response{StatusCode: 201, Header: http.Header{}, Body: http.NoBody}, get: 502},
		"a redirect to none":  {res: &http.Response{StatusCode: 302, Header: http.Header{}, Body: http.NoBody}, get: 502},
	} {
		f := &Fetcher{sources: only("cdn.example"), rt: to(func(*http.Request) (*http.Response, error) { return tc.res, tc.err })}
		d, err := f.Get(t.Context(), "https://cdn.example/x", nil)
		if status(err) != tc.get || (err == nil) != (tc.get == 0) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil {
			continue
		}
		if _, err := io.Copy(io.Discard, d.Body); status(err) != tc.read || (err == nil) != (tc.read == 0) {
			t.Errorf("%s: reading: %v", name, err)
		}
		d.Body.Close()
	}
	if stream.read > maxFetchBytes+1<<20 {
		t.Errorf("%d octets of an endless stream were read", stream.read)
	}
}

// drip gives an octet a second.
type drip struct{ ctx context.Context }

func (d drip) Read(b []byte) (int, error) {
	select {
	case <-time.After(time.Second):
		b[0] = 'x'
		return 1, nil
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	}
}

// H84: a slow drip ends in time, whether or not its first part has been passed on.
func TestSlowDrip(t *testing.T) {
	for name, head := range map[string]int{"from the start": 0, "after a while": firstBytes} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &Fetcher{sources: only("cdn.example"), rt: to(func(r *http.Request) (*http.Response, error) {
					return file(io.MultiReader(strings.NewReader(strings.Repeat("x", head)), drip{r.Context()}), -1), nil
				})}
				begin := time.Now()
				d, err := f.Get(t.Context(), "https://cdn.example/x", nil)
				if head > 0 && err == nil {
					defer d.Body.Close()
					_, err = io.Copy(io.Discard, d.Body)
				}
				if took := time.Since(begin); status(err) != 504 || took != FetchTimeout {
					t.Errorf("%v after %v", err, took)
				}
			})
		})
	}
}

// A host with a configured address is reached there, and is still who it says it is.
func TestConfiguredAddress(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Set-Cookie", "a=b")
		io.WriteString(w, r.Host+" "+r.Header.Get("Range"))
	}))
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	f := NewFetcher(func(host string) (string, bool) {
		return server.Listener.Addr().String(), host == "example.com" || host == "b.example"
	}, &tls.Config{RootCAs: roots})
	defer f.Close()
	d, err := f.Get(t.Context(), "https://example.com/x", http.Header{"Range": {"bytes=0-"}})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Body.Close()
	if b, _ := io.ReadAll(d.Body); string(b) != "example.com bytes=0-" || d.Header.Get("Set-Cookie") != "" {
		t.Errorf("%q %v", b, d.Header)
	}
	if _, err := f.Get(t.Context(), "https://b.example/x", nil); status(err) != 502 {
		t.Errorf("a host with the certificate of another: %v", err)
	}
}
