package client

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"hubbub/mimi/policy"
)

// assetClient is a device as far as attachments are concerned, at a provider that is a
// handler.
func assetClient(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	base, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return &Client{domain: "a.localhost", t: &transport{base: base, token: "token", calls: s.Client()}, opts: Options{Now: time.Now}}
}

// An upload goes on where the provider says it stands, whatever became of the answers.
func TestUploadGoesOn(t *testing.T) {
	var stored bytes.Buffer
	pieces := 0
	c := assetClient(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer token" {
			t.Error("no token")
		}
		offset := func() { w.Header().Set("Upload-Offset", fmt.Sprint(stored.Len())) }
		switch r.Method {
		case http.MethodPost:
			w.Header().Set("Location", "https://a.localhost/assets/id")
			w.WriteHeader(201)
		case http.MethodHead:
			offset()
		case http.MethodPatch:
			if r.URL.Path != "/assets/id" || r.Header.Get("Upload-Offset") != fmt.Sprint(stored.Len()) {
				t.Errorf("%s at %s, and %d are stored", r.URL, r.Header.Get("Upload-Offset"), stored.Len())
			}
			switch pieces++; pieces {
			case 2: // half of a piece arrives, and no answer
				io.CopyN(&stored, r.Body, 1000)
				panic(http.ErrAbortHandler)
			case 3: // all of it arrives, and no answer
				io.Copy(&stored, r.Body)
				panic(http.ErrAbortHandler)
			case 4:
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			io.Copy(&stored, r.Body)
			offset()
			w.WriteHeader(204)
		}
	})
	want := bytes.Repeat([]byte("0123456789abcdef"), 5<<20/32)
	address, err := c.upload(t.Context(), bytes.NewReader(want), int64(len(want)))
	if err != nil || address != "https://a.localhost/assets/id" || !bytes.Equal(stored.Bytes(), want) {
		t.Errorf("%s, %v, %d octets stored", address, err, stored.Len())
	}
}

// A refusal ends an upload at once and in words.
func TestUploadRefused(t *testing.T) {
	for status, reason := range map[int]string{413: "too_large", 507: "quota", 401: "unauthenticated", 404: "not_found"} {
		asked := 0
		c := assetClient(t, func(w http.ResponseWriter, r *http.Request) {
			asked++
			w.WriteHeader(status)
			io.WriteString(w, `{"protocol":"mimi","detail":"because"}`)
		})
		_, err := c.upload(t.Context(), strings.NewReader("x"), 1)
		e, ok := err.(*Error)
		if !ok || e.Reason != reason || e.Remedy == "" || asked != 1 {
			t.Errorf("%d: %v after %d requests", status, err, asked)
		}
	}
}

// A download goes on where it broke, and takes no other part for the one it wants.
func TestDownloadGoesOn(t *testing.T) {
	const whole = "0123456789"
	asked := 0
	c := assetClient(t, func(w http.ResponseWriter, r *http.Request) {
		switch asked++; asked {
		case 1:
			w.Header().Set("Content-Length", "10")
			io.WriteString(w, whole[:4])
			panic(http.ErrAbortHandler)
		case 2:
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(whole))
	})
	r := &resumed{ctx: t.Context(), from: c.plain(c.t.base.JoinPath("assets", "id").String())}
	defer r.Close()
	if b, err := io.ReadAll(r); err != nil || string(b) != whole || asked != 3 {
		t.Errorf("%q, %v after %d requests", b, err, asked)
	}
	for name, answer := range map[string]struct {
		status int
		part   string
	}{"all of it": {200, ""}, "another part": {206, "bytes 3-9/10"}, "no part": {206, ""}} {
		if _, err := from(answer.status, answer.part, 4, http.NoBody); err == nil {
			t.Errorf("%s passes for what was asked for", name)
		}
	}
}

// AST-9: what is forbidden is forbidden, the default is used where it may be, and without
// rules nobody sees the user's address.
func TestWays(t *testing.T) {
	const direct, proxy, oblivious = policy.DownloadDirect, policy.DownloadHubProxy, policy.DownloadOHTTP
	list := func(t ...policy.DownloadType) []policy.DownloadType { return t }
	own, other := "https://a.localhost/assets/id", "https://b.localhost/assets/id"
	for name, tc := range map[string]struct {
		rules   *policy.AssetPolicy
		local   []policy.DownloadType
		address string
		want    policy.DownloadType
		none    bool
	}{
		"no rules":              {address: other, want: proxy},
		"no rules, own":         {address: own, want: direct},
		"own, another path":     {address: "https://a.localhost/hubbub.client.v1/Sync", want: proxy},
		"own, dots":             {address: "https://a.localhost/assets/..", want: proxy},
		"the default":           {rules: &policy.AssetPolicy{Default: oblivious, Allowed: list(proxy)}, address: other, want: oblivious},
		"not the user's":        {rules: &policy.AssetPolicy{Default: direct, Allowed: list(oblivious)}, address: other, want: oblivious},
		"forbidden wins":        {rules: &policy.AssetPolicy{Default: proxy, Allowed: list(proxy, oblivious), Forbidden: list(proxy)}, address: other, want: oblivious},
		"nothing in common":     {rules: &policy.AssetPolicy{Default: direct}, address: other, none: true},
		"the user wants direct": {local: list(direct), address: other, want: direct},
		"own, but not directly": {rules: &policy.AssetPolicy{Default: proxy, Forbidden: list(direct)}, address: own, want: proxy},
	} {
		c := &Client{domain: "a.localhost", opts: Options{Downloads: tc.local}}
		u, err := url.Parse(tc.address)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := c.way(tc.rules, u); ok == tc.none || ok && got != tc.want {
			t.Errorf("%s: %v, %v", name, got, ok)
		}
	}
}

// H95: what a sender calls a file is no path, and no trick on the eye.
func TestSafeName(t *testing.T) {
	for in, want := range map[string]string{
		"cat.png": "cat.png", "../../etc/passwd": "passwd", `..\..\boot.ini`: "boot.ini", "/": "", "..": "", ".": "", "": "", ".bashrc": "bashrc",
		"a\x00b": "a_b", "a\nb": "a_b", "invoice\u202egpj.exe": "invoice_gpj.exe", "con:x": "con_x", "-rf": "rf", "x. . ": "x", "käse.txt": "käse.txt", "\xff": "_",
	} {
		if got := safeName(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if long := safeName(strings.Repeat("ä", 500) + ".png"); len(long) > maxFileNameBytes || !strings.HasSuffix(long, ".png") {
		t.Errorf("%d octets", len(long))
	}
}

// A wait for the next attempt ends with its context.
func TestLinger(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := linger(ctx, 60); err == nil {
		t.Error("waited")
	}
}
