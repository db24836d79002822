package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"hubbub/internal/fakepeer"
	"hubbub/mimi"
)

var directoryChecks = []check{
	{id: "DIR-1", what: "the directory is a JSON object", run: directoryDocument},
	{id: "DIR-2", what: "its keys", needs: []string{needDirectory}, run: directoryKeys},
	{id: "DIR-3", what: "endpoints are taken from our directory", needs: []string{needDirectory, needGuest}, run: directoryUsed},
	{id: "DIR-4", what: "an identifier is one encoded path segment", needs: []string{needDirectory}, run: encodedSegment},
	{id: "DIR-5", what: "templates end in their one variable", needs: []string{needDirectory}, run: templates},
	{id: "DIR-7", what: "templates are https", needs: []string{needDirectory}, run: httpsOnly},
	{id: "DIR-9", what: "path and body name the same", needs: []string{needDirectory}, run: sameIdentifier},
}

// readDirectory fetches the target's directory, without which nothing else can be
// found.
func (s *session) readDirectory(ctx context.Context) error {
	r, err := s.getDirectory(ctx)
	if err != nil {
		return err
	}
	if r.Status != http.StatusOK {
		return fmt.Errorf("%s answers %d %s", mimi.DirectoryPath, r.Status, r.Code)
	}
	if s.offered, err = mimi.ParseDirectory(r.Body); err != nil {
		return err
	}
	return json.Unmarshal(r.Body, &s.directory)
}

func (s *session) getDirectory(ctx context.Context) (*fakepeer.Reply, error) {
	return s.send(ctx, fakepeer.Outgoing{URL: "https://" + string(s.target) + mimi.DirectoryPath, Method: http.MethodGet})
}

func directoryDocument(ctx context.Context, p *probe) {
	r, err := p.s.getDirectory(ctx)
	if !p.answered("the directory", r, err, 200) {
		return
	}
	media, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	p.equal("its media type", "application/json", media)
	_, err = mimi.ParseDirectory(r.Body)
	p.that("its text", err == nil, "a JSON object", fmt.Sprint(err))
	p.that("its size", len(r.Body) <= mimi.MaxDirectoryBytes, "at most 64 KiB", fmt.Sprint(len(r.Body)))
}

// core are the keys without which there are no rooms between providers.
var core = []mimi.Endpoint{mimi.EndpointKeyMaterial, mimi.EndpointUpdate, mimi.EndpointNotify, mimi.EndpointSubmitMessage, mimi.EndpointGroupInfo}

func directoryKeys(_ context.Context, p *probe) {
	for _, e := range core {
		p.that(string(e), p.s.offered[e] != "", "a template", "none")
	}
	var missing []string
	for _, e := range []mimi.Endpoint{mimi.EndpointRequestConsent, mimi.EndpointUpdateConsent, mimi.EndpointIdentifierQuery,
		mimi.EndpointReportAbuse, mimi.EndpointProxyDownload} {
		if p.s.offered[e] == "" {
			missing = append(missing, string(e))
		}
	}
	if missing != nil { // which switches off those features and nothing else
		p.Reason = "not offered: " + strings.Join(missing, ", ")
	}
}

func directoryUsed(_ context.Context, p *probe) {
	g := p.s.guest
	p.that("requests below the path in our directory", g.calls() > 0, "at least one", "none")
	for _, r := range p.s.peer.Received("") { // below no path of ours
		p.failed("a request to another path", "none", r.Path)
	}
}

func encodedSegment(ctx context.Context, p *probe) {
	b := p.s.sample(mimi.EndpointUpdate)
	u, err := p.s.url(b.endpoint, b.id)
	must(err)
	r, err := p.s.send(ctx, fakepeer.Outgoing{URL: u, Body: b.body})
	p.answered("an encoded identifier", r, err, 404)
	template := p.s.offered[b.endpoint]
	prefix := template[:strings.IndexByte(template, '{')]
	for name, path := range map[string]string{
		"written out":      strings.Replace(b.id, "//", "/", 1),
		"encoded twice":    url.QueryEscape(url.QueryEscape(b.id)),
		"with a query":     url.QueryEscape(b.id + "?x=1"),
		"with a fragment":  url.QueryEscape(b.id + "#x"),
		"with a user":      url.QueryEscape(strings.Replace(b.id, "mimi://", "mimi://me@", 1)),
		"with a port":      url.QueryEscape(strings.Replace(b.id, "/r/", ":443/r/", 1)),
		"with a NUL":       url.QueryEscape(b.id + "\x00"),
		"not UTF-8":        url.QueryEscape(b.id + "\xff"),
		"of 1,100 octets":  url.QueryEscape(b.id + strings.Repeat("x", 1100)),
		"of another kind":  url.QueryEscape(string(p.s.userURI("x"))),
		"of another world": url.QueryEscape("https://" + string(p.s.target) + "/r/x"),
	} {
		r, err := p.s.send(ctx, fakepeer.Outgoing{URL: prefix + path, Body: b.body})
		p.answered("an identifier "+name, r, err, 400, 404)
	}
}

var template = regexp.MustCompile(`^https://[^{}?#]+/\{[A-Za-z]+\}$`)

func templates(_ context.Context, p *probe) {
	for key, t := range p.s.directory {
		p.that(key, template.MatchString(t), "https://HOST/…/{variable}", t)
	}
}

func httpsOnly(_ context.Context, p *probe) {
	for key, t := range p.s.directory {
		p.that(key, strings.HasPrefix(t, "https://"), "https://…", t)
	}
}

func sameIdentifier(ctx context.Context, p *probe) {
	s := p.s
	c := s.client("path", "phone")
	r, err := s.ask(ctx, mimi.EndpointKeyMaterial, string(s.userURI("one")), s.claim(c, s.userURI("other"), "", nil))
	p.answered("keyMaterial: the path names one user, the body another", r, err, 400)
}
