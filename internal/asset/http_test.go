package asset

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"hubbub/mimi"
)

type proxyFunc func(hub mimi.Domain, address string) (*Download, error)

func (f proxyFunc) ProxyDownload(_ context.Context, hub mimi.Domain, address string, _ http.Header) (*Download, error) {
	return f(hub, address)
}

func (p *place) handler(proxy Proxy) http.Handler {
	h := &Handler{Service: p.Service, URL: func(id string) string { return "https://a.localhost" + Path + id }, Proxy: proxy,
		Enter: func(context.Context, mimi.UserURI) (func(), error) { return func() {}, nil },
		Caller: func(r *http.Request) (mimi.UserURI, error) {
			if r.Header.Get("Authorization") != "Bearer alice" {
				return "", mimi.NewProblem(401, mimi.CodeUnauthenticated, "no token")
			}
			return alice, nil
		}, Log: slog.New(slog.DiscardHandler)}
	return h.Clients()
}

// request is one of alice's, unless headers says otherwise.
func request(h http.Handler, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer alice")
	for i := 0; i < len(headers); i += 2 {
		if r.Header.Set(headers[i], headers[i+1]); headers[i+1] == "" {
			r.Header.Del(headers[i])
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// An upload in two pieces, and what others get to see of it.
func TestUploadAndDownload(t *testing.T) {
	p := newPlace(t)
	h := p.handler(nil)
	w := request(h, "POST", "/assets", "", headerLength, "10")
	path, ok := strings.CutPrefix(w.Header().Get("Location"), "https://a.localhost")
	if w.Code != 201 || !ok {
		t.Fatal(w.Code, w.Header())
	}
	if w = request(h, "PATCH", path, "<html>", headerOffset, "0", "Content-Type", pieceType); w.Code != 204 || w.Header().Get(headerOffset) != "6" {
		t.Fatal(w.Code, w.Header(), w.Body)
	}
	if w = request(h, "HEAD", path, ""); w.Code != 200 || w.Header().Get(headerOffset) != "6" || w.Header().Get(headerLength) != "10" {
		t.Error(w.Code, w.Header())
	}
	if w = request(h, "PATCH", path, "x", headerOffset, "0", "Content-Type", pieceType); w.Code != 409 || w.Header().Get(headerOffset) != "6" {
		t.Error(w.Code, w.Header())
	}
	if w = request(h, "PATCH", path, "<b>!", headerOffset, "6", "Content-Type", pieceType); w.Code != 204 {
		t.Fatal(w.Code, w.Body)
	}
	w = request(h, "GET", path, "", "Authorization", "")
	if w.Code != 200 || w.Body.String() != "<html><b>!" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	for name, want := range map[string]string{"Content-Type": "application/octet-stream", "Content-Disposition": "attachment",
		"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; sandbox", "Accept-Ranges": "bytes"} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	if w = request(h, "GET", path, "", "Authorization", "", "Range", "bytes=6-8"); w.Code != 206 || w.Body.String() != "<b>" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	if w = request(h, "HEAD", path, "", "Authorization", ""); w.Code != 200 || w.Header().Get("Content-Length") != "10" || w.Header().Get(headerOffset) != "" {
		t.Error(w.Code, w.Header())
	}
	if w = request(h, "DELETE", path, ""); w.Code != 204 {
		t.Error(w.Code)
	}
	if w = request(h, "GET", path, ""); w.Code != 404 {
		t.Error(w.Code)
	}
}

// H95, for what reaches the listener.
func TestBadUploads(t *testing.T) {
	p := newPlace(t)
	h := p.handler(nil)
	id := p.create(5)
	for name, tc := range map[string]struct {
		w    *httptest.ResponseRecorder
		want int
	}{
		"no token":         {request(h, "POST", "/assets", "", headerLength, "1", "Authorization", ""), 401},
		"no token, piece":  {request(h, "PATCH", Path+id, "x", headerOffset, "0", "Content-Type", pieceType, "Authorization", "Bearer bob"), 401},
		"no length":        {request(h, "POST", "/assets", ""), 400},
		"a negative one":   {request(h, "POST", "/assets", "", headerLength, "-1"), 400},
		"an absurd one":    {request(h, "POST", "/assets", "", headerLength, "99999999999999999999"), 400},
		"too large":        {request(h, "POST", "/assets", "", headerLength, "99999999999"), 413},
		"a bad type":       {request(h, "PATCH", Path+id, "x", headerOffset, "0", "Content-Type", "text/html"), 415},
		"compressed":       {request(h, "PATCH", Path+id, "x", headerOffset, "0", "Content-Type", pieceType, "Content-Encoding", "gzip"), 415},
		"no offset":        {request(h, "PATCH", Path+id, "x", "Content-Type", pieceType), 400},
		"dots":             {request(h, "GET", Path+"%2e%2e%2f%2e%2e%2fetc%2fpasswd", ""), 404},
		"dots to write":    {request(h, "PATCH", Path+"..%2f..%2fx", "x", headerOffset, "0", "Content-Type", pieceType), 404},
		"a proxy for none": {request(h, "GET", ProxyPath+"NOT_A_DOMAIN?url=x", ""), 400},
		"no address":       {request(h, "GET", ProxyPath+"b.localhost", ""), 400},
		"two addresses":    {request(h, "GET", ProxyPath+"b.localhost?url=x&url=y", ""), 400},
		"a stranger":       {request(h, "GET", ProxyPath+"b.localhost?url=x", "", "Authorization", ""), 401},
	} {
		if tc.w.Code != tc.want {
			t.Errorf("%s: %d %s", name, tc.w.Code, tc.w.Body)
		}
	}
	if files := p.files(); len(files) != 0 {
		t.Errorf("on the disk: %v", files)
	}
}

// AST-1: what the place of the file says is passed on, and harmless.
func TestProxied(t *testing.T) {
	p := newPlace(t)
	h := p.handler(proxyFunc(func(hub mimi.Domain, address string) (*Download, error) {
		if hub != "b.localhost" {
			return nil, mimi.NewProblem(403, mimi.CodeForbidden, "not there")
		}
		if strings.HasSuffix(address, "gone") {
			return &Download{Status: 404, Body: http.NoBody}, nil
		}
		return &Download{Status: 206, Header: http.Header{"Content-Range": {"bytes 0-1/9"}}, Length: 2, Body: io.NopCloser(bytes.NewReader([]byte("ab")))}, nil
	}))
	w := request(h, "GET", ProxyPath+"b.localhost?url=https%3A%2F%2Fa.example%2Fx", "")
	if w.Code != 206 || w.Body.String() != "ab" || w.Header().Get("Content-Range") == "" || w.Header().Get("Content-Disposition") != "attachment" {
		t.Errorf("%d %q %v", w.Code, w.Body, w.Header())
	}
	if w = request(h, "GET", ProxyPath+"b.localhost?url=gone", ""); w.Code != 404 {
		t.Error(w.Code)
	}
	if w = request(h, "GET", ProxyPath+"c.localhost?url=x", ""); w.Code != 403 {
		t.Error(w.Code)
	}
}
