package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"hubbub/cmd/hubbub/internal/devenv"
	"hubbub/mimi"
	"hubbub/mls"
)

// An arrow is a request of one provider process to another and its answer, as a figure
// of the draft has it. A request that announces several messages is as many arrows.
type arrow struct {
	text   string // what is asserted
	begun  int    // in which order requests began
	path   string
	body   []byte // of the request, or of the one message
	answer []byte
	fanout *mimi.FanoutMessage
}

// taps stand between provider processes. Each is the way from one to another: it shows
// the callee's certificate to the caller and the caller's to the callee, whose keys lie
// in the environment's directory, and writes down what passes.
type taps struct {
	*testing.T
	env *devenv.Env

	mu     sync.Mutex
	begun  int
	open   int
	arrows []arrow
	others map[string]bool // what else was asked for: "b→a x-snapshot"
}

// newTaps puts taps between all providers of an environment that has not started yet, by
// changing the addresses in their configurations.
func newTaps(t *testing.T, env *devenv.Env) *taps {
	ts := &taps{T: t, env: env, others: map[string]bool{}}
	for _, from := range env.Providers {
		text, err := os.ReadFile(from.Config)
		if err != nil {
			t.Fatal(err)
		}
		for _, to := range env.Providers {
			if to.Domain != from.Domain {
				text = bytes.ReplaceAll(text, []byte(to.Federation), []byte(ts.tap(from, to)))
			}
		}
		if err := os.WriteFile(from.Config, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return ts
}

func keyOf(t *testing.T, p devenv.Provider) tls.Certificate {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(filepath.Join(p.Dir, "tls.pem"), filepath.Join(p.Dir, "tls.key"))
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// tap starts one and gives its address.
func (ts *taps) tap(from, to devenv.Provider) string {
	ts.Helper()
	ca, err := os.ReadFile(filepath.Join(ts.env.Dir, "ca.pem"))
	if err != nil {
		ts.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	var h2 http.Protocols
	h2.SetHTTP2(true)
	onward := &http.Transport{Protocols: &h2, DisableCompression: true,
		TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{keyOf(ts.T, from)}, ServerName: string(to.Domain)},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, to.Federation)
		}}
	link := from.Name + "→" + to.Name
	silent := log.New(io.Discard, "", 0)
	proxy := &httputil.ReverseProxy{Transport: onward, FlushInterval: -1, ErrorLog: silent,
		Rewrite:        func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "https", r.In.Host },
		ModifyResponse: plainDirectory}
	server := &http.Server{Protocols: &h2, ErrorLog: silent,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{keyOf(ts.T, to)}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots},
		Handler:   http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { ts.pass(link, proxy, w, r) })}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		ts.Fatal(err)
	}
	go server.ServeTLS(l, "", "")
	ts.Cleanup(func() { server.Close(); onward.CloseIdleConnections() })
	return l.Addr().String()
}

// plainDirectory takes the way of sending many messages at once out of directories: the
// figures are about submitMessage.
func plainDirectory(res *http.Response) error {
	if res.Request.URL.Path != mimi.DirectoryPath {
		return nil
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	doc := map[string]string{}
	if err := json.Unmarshal(b, &doc); err != nil {
		return err
	}
	delete(doc, string(mimi.EndpointSubmitBatch))
	if b, err = json.Marshal(doc); err != nil {
		return err
	}
	res.Body, res.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
	res.Header.Set("Content-Length", fmt.Sprint(len(b)))
	return nil
}

// figured are the endpoints that the figures show.
var figured = []mimi.Endpoint{mimi.EndpointKeyMaterial, mimi.EndpointUpdate, mimi.EndpointSubmitMessage, mimi.EndpointNotify, mimi.EndpointGroupInfo,
	mimi.EndpointRequestConsent, mimi.EndpointUpdateConsent, mimi.EndpointIdentifierQuery, mimi.EndpointReportAbuse, mimi.EndpointProxyDownload}

// pass hands a request on and writes it down with its answer.
func (ts *taps) pass(link string, proxy http.Handler, w http.ResponseWriter, r *http.Request) {
	name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v1/"), "/")
	if !slices.Contains(figured, mimi.Endpoint(name)) {
		if r.URL.Path != mimi.DirectoryPath {
			ts.mu.Lock()
			ts.others[link+" "+name] = true
			ts.mu.Unlock()
		}
		proxy.ServeHTTP(w, r)
		return
	}
	ts.mu.Lock()
	ts.begun++
	ts.open++
	a := arrow{begun: ts.begun, path: r.URL.EscapedPath()}
	ts.mu.Unlock()
	a.body, _ = io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(a.body))
	kept := &keeper{ResponseWriter: w, status: http.StatusOK}
	proxy.ServeHTTP(kept, r)
	a.answer = kept.body.Bytes()
	list := a.split(link, mimi.Endpoint(name), kept.status)
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.open--
	ts.arrows = append(ts.arrows, list...)
}

// keeper keeps the answer that it passes on.
type keeper struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (k *keeper) WriteHeader(status int) {
	k.status = status
	k.ResponseWriter.WriteHeader(status)
}

func (k *keeper) Write(b []byte) (int, error) {
	k.body.Write(b)
	return k.ResponseWriter.Write(b)
}

func (k *keeper) Unwrap() http.ResponseWriter { return k.ResponseWriter }

// split makes the arrows of a request, in words: whose endpoint, which body, which answer.
func (a arrow) split(link string, e mimi.Endpoint, status int) []arrow {
	if e != mimi.EndpointNotify {
		a.text = fmt.Sprintf("%s %s %s: %d %s", link, e, a.asked(e), status, a.told(e, status))
		return []arrow{a}
	}
	list, err := mimi.ParseFanout(bytes.Clone(a.body))
	if err != nil || len(a.answer) > 0 {
		a.text = fmt.Sprintf("%s notify: %d (%v), %d octets of an answer", link, status, err, len(a.answer))
		return []arrow{a}
	}
	var out []arrow
	for i := range list {
		one := a
		one.fanout, one.body = &list[i], list[i].Raw
		one.text = fmt.Sprintf("%s notify %s: %d", link, announced(&list[i]), status)
		out = append(out, one)
	}
	return out
}

// announced names what a FanoutMessage holds.
func announced(f *mimi.FanoutMessage) string {
	switch {
	case f.Kind() == mimi.FanoutWelcome && f.RatchetTree.Representation == mimi.TreeFull:
		return "Welcome with tree"
	case len(f.MoreProposals) > 0:
		return fmt.Sprintf("%s and %d more", f.Kind(), len(f.MoreProposals))
	}
	return f.Kind().String()
}

// asked names the body of a request.
func (a *arrow) asked(e mimi.Endpoint) string {
	body := bytes.Clone(a.body)
	switch e {
	case mimi.EndpointKeyMaterial:
		if q, err := mimi.ParseKeyMaterialRequest(body); err == nil && q.Verify() == nil {
			return q.RequestingUser.Name() + " for " + q.TargetUser.Name()
		}
	case mimi.EndpointUpdate:
		if b, err := mimi.ParseHandshakeBundle(body); err == nil {
			switch m := b.Message.Public; {
			case m.Content.ContentType == mls.ContentTypeProposal:
				return fmt.Sprintf("proposal and %d more", len(b.MoreProposals))
			case m.Content.Sender.Type == mls.SenderTypeNewMemberCommit:
				return "external commit"
			case b.Welcome != nil:
				return "commit with Welcome"
			}
			return "commit"
		}
	case mimi.EndpointSubmitMessage:
		if s, err := mimi.ParseSubmitMessageRequest(body); err == nil && s.Message.Private != nil {
			return "of " + s.Sender.Name()
		}
	case mimi.EndpointGroupInfo:
		if q, err := mimi.ParseGroupInfoRequest(body); err == nil && q.Verify() == nil {
			return "request"
		}
	}
	return "?"
}

// told names the answer.
func (a *arrow) told(e mimi.Endpoint, status int) string {
	if status != http.StatusOK {
		return ""
	}
	body := bytes.Clone(a.answer)
	switch e {
	case mimi.EndpointKeyMaterial:
		if k, err := mimi.ParseKeyMaterialResponse(body); err == nil && k.Status == mimi.KeyMaterialSuccess {
			return fmt.Sprintf("success, %d clients", len(k.Clients))
		}
	case mimi.EndpointUpdate:
		if u, err := mimi.ParseUpdateRoomResponse(body); err == nil && u.Code == mimi.UpdateSuccess {
			return "success"
		}
	case mimi.EndpointSubmitMessage:
		if s, err := mimi.ParseSubmitMessageResponse(body); err == nil && s.Code == mimi.SubmitAccepted {
			return "accepted"
		}
	case mimi.EndpointGroupInfo:
		if g, err := mimi.ParseGroupInfoResponse(body); err == nil && g.Status == mimi.GroupInfoSuccess {
			return "success"
		}
	}
	return "?"
}

// take gives what passed since the last time, in the order in which it began, once want
// arrows are there and nothing is under way; it waits a minute at most.
func (ts *taps) take(await func(string, func() error), want int) (list []arrow) {
	ts.Helper()
	await(fmt.Sprintf("%d arrows", want), func() error {
		ts.mu.Lock()
		defer ts.mu.Unlock()
		if len(ts.arrows) < want || ts.open > 0 {
			return fmt.Errorf("%d so far, %d under way: %q", len(ts.arrows), ts.open, texts(ts.arrows))
		}
		list = ts.arrows
		ts.arrows = nil
		return nil
	})
	slices.SortStableFunc(list, func(a, b arrow) int { return a.begun - b.begun })
	return list
}

func texts(list []arrow) (out []string) {
	for _, a := range list {
		out = append(out, a.text)
	}
	return out
}

// room is the identifier that the path ends in.
func (a *arrow) room() string {
	id, _ := url.PathUnescape(a.path[strings.LastIndexByte(a.path, '/')+1:])
	return id
}
