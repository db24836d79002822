package asset

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"hubbub/internal/publicnet"
	"hubbub/mimi"
)

// Limits of a fetch (reliability §5).
const (
	maxFetchBytes = 100 << 20
	// FetchTimeout is for all of a file.
	FetchTimeout  = 60 * time.Second
	dialTimeout   = 5 * time.Second
	headerTimeout = 10 * time.Second
	maxURLBytes   = 2048
	maxRedirects  = 3
	// firstBytes of an answer are read before anything is passed on, so that whatever
	// goes wrong with short files still is a status.
	firstBytes = 64 << 10
)

// Sources says whether files may be fetched from a host, a lower-case name. dial is the
// host:port to connect to in place of what DNS says, "" = what DNS says, which then has
// to be a public address.
type Sources func(host string) (dial string, ok bool)

// Fetcher fetches files from other places. Safe for concurrent use.
type Fetcher struct {
	sources Sources
	rt      http.RoundTripper
}

// NewFetcher makes a Fetcher; conf has the roots that vouch for hosts, and the
// certificate shown to those that ask for one.
func NewFetcher(sources Sources, conf *tls.Config) *Fetcher {
	f := &Fetcher{sources: sources}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	f.rt = &http.Transport{ // no proxy from the environment
		Protocols: &protocols, TLSClientConfig: conf, DialContext: f.dial, DisableCompression: true,
		TLSHandshakeTimeout: dialTimeout, ResponseHeaderTimeout: headerTimeout, IdleConnTimeout: 30 * time.Second,
		MaxResponseHeaderBytes: 16 << 10,
	}
	return f
}

// dial connects to where the configuration says a host is, or to a public address.
func (f *Fetcher) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if fixed, _ := f.sources(host); fixed != "" {
		return (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, network, fixed)
	}
	return publicnet.Dialer(dialTimeout).DialContext(ctx, network, addr)
}

// Close drops idle connections.
func (f *Fetcher) Close() {
	if t, ok := f.rt.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
}

// Transport sends requests under the rules for addresses; which hosts may be asked is for
// its user to judge.
func (f *Fetcher) Transport() http.RoundTripper { return f.rt }

// Allows says whether files may be fetched from a host.
func (f *Fetcher) Allows(host string) bool {
	_, ok := f.sources(host)
	return ok
}

// target judges an address. There is one way to write each: what could be read in two
// ways is refused (H82).
func (f *Fetcher) target(raw string) (*url.URL, error) {
	no := func(why string) (*url.URL, error) {
		return nil, mimi.NewProblem(http.StatusForbidden, mimi.CodeForbidden, "%s", why)
	}
	printable := strings.IndexFunc(raw, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '\\' }) < 0
	if len(raw) > maxURLBytes || !printable || strings.Contains(raw, "#") {
		return no("the address of the attachment is not a plain URL")
	}
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" {
		return no("the address of the attachment is not a plain URL")
	}
	host := u.Hostname()
	_, notName := netip.ParseAddr(host)
	switch {
	case u.Scheme != "https":
		return no("attachments are fetched over https only")
	case u.User != nil || u.Host != host && u.Host != host+":443":
		return no("the address of the attachment has a user or a port")
	case notName == nil || host != strings.ToLower(host) || strings.HasSuffix(host, "."):
		return no("the address of the attachment names no host as it should")
	case !f.Allows(host):
		return no("no provider that this one knows keeps attachments there")
	}
	return u, nil
}

// Wanted gives the headers that say which part of a file a request is for.
func Wanted(header http.Header) http.Header {
	out := http.Header{}
	for _, name := range wanted {
		if v := header.Get(name); v != "" {
			out.Set(name, v)
		}
	}
	return out
}

// wanted are the headers that say which part of a file is wanted; no others are passed on.
var wanted = []string{"Range", "If-Range", "If-None-Match"}

// passedBack are the headers of an answer that are.
var passedBack = []string{"Content-Range", "Accept-Ranges", "ETag", "Last-Modified"}

// A Download is the answer of a place that has the file, or says why it has not. Body
// ends in an error if the file is cut short, too long or too slow. It has to be closed.
type Download struct {
	Status int // 200, 206, 304, 416, or another of 400 and more
	Header http.Header
	Length int64 // -1 = not known
	Body   io.ReadCloser
}

// Get fetches a file, or the part that header asks for. A refusal is a *mimi.Problem:
// 403 for where we do not go, 502 and 504 for what goes wrong there.
func (f *Fetcher) Get(ctx context.Context, address string, header http.Header) (_ *Download, err error) {
	ctx, cancel := context.WithTimeout(ctx, FetchTimeout)
	defer func() {
		if err != nil {
			cancel()
		}
	}()
	u, err := f.target(address)
	for hops := 0; err == nil; hops++ {
		var res *http.Response
		if res, err = f.ask(ctx, u, header); err != nil {
			break
		}
		if to := res.Header.Get("Location"); to != "" && isRedirect(res.StatusCode) {
			res.Body.Close()
			if hops == maxRedirects {
				return nil, badFile("redirects without end")
			}
			if u, err = u.Parse(to); err != nil {
				return nil, badFile("a redirect to nowhere")
			}
			u, err = f.target(u.String())
			continue
		}
		return Received(ctx, res, cancel)
	}
	return nil, err
}

func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// ask sends nothing but what is wanted.
func (f *Fetcher) ask(ctx context.Context, u *url.URL, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, badFile("its address is not one")
	}
	req.Header = Wanted(header)
	req.Header.Set("User-Agent", "")
	res, err := f.rt.RoundTrip(req)
	if err != nil {
		return nil, failed(err)
	}
	return res, nil
}

// failed says what went wrong on the way, without the addresses we saw.
func failed(err error) *mimi.Problem {
	var timeout net.Error
	switch {
	case errors.Is(err, publicnet.ErrNotPublic):
		return mimi.NewProblem(http.StatusForbidden, mimi.CodeForbidden, "the host of the attachment has no public address")
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return mimi.NewProblem(http.StatusGatewayTimeout, "timeout", "the provider that keeps the attachment is too slow")
	}
	return badFile("the provider that keeps the attachment cannot be reached")
}

func badFile(why string) *mimi.Problem {
	return mimi.NewProblem(http.StatusBadGateway, "bad-asset", "%s", why)
}

// Received takes an answer over, once its first part is there. Closing the Download
// calls cancel, which ends ctx; it has been called if there is an error.
func Received(ctx context.Context, res *http.Response, cancel context.CancelFunc) (*Download, error) {
	d := &Download{Status: res.StatusCode, Header: http.Header{}, Length: res.ContentLength}
	for _, name := range passedBack {
		if v := res.Header.Get(name); v != "" {
			d.Header.Set(name, v)
		}
	}
	if d.Status != http.StatusOK && d.Status != http.StatusPartialContent { // whatever it says, it is not the file
		res.Body.Close()
		cancel()
		if d.Status < 400 && d.Status != http.StatusNotModified {
			return nil, badFile("the provider that keeps the attachment gives no usable answer")
		}
		d.Length, d.Body = 0, http.NoBody
		return d, nil
	}
	if d.Length > maxFetchBytes {
		res.Body.Close()
		cancel()
		return nil, badFile("the attachment is larger than this provider passes on")
	}
	b := &body{ctx: ctx, src: bufio.NewReaderSize(res.Body, firstBytes), closer: res.Body, cancel: cancel, left: maxFetchBytes, due: d.Length}
	if _, err := b.src.Peek(firstBytes); err != nil && !errors.Is(err, io.EOF) {
		b.Close()
		return nil, failed(err)
	}
	if d.Length >= 0 && d.Length < firstBytes && int64(b.src.Buffered()) != d.Length {
		b.Close()
		return nil, badFile("the provider that keeps the attachment gives another length than it says")
	}
	d.Body = b
	return d, nil
}

// body is an answer that may not be longer than it may be, or says.
type body struct {
	ctx       context.Context
	src       *bufio.Reader
	closer    io.Closer
	cancel    context.CancelFunc
	left, due int64 // octets that may come, and that have to if not negative
}

func (b *body) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, failed(err)
	}
	n, err := b.src.Read(p)
	b.left -= int64(n)
	if b.due >= 0 {
		b.due -= int64(n)
		if b.due < 0 || err == io.EOF && b.due > 0 {
			return n, badFile("the provider that keeps the attachment gives another length than it says")
		}
	}
	switch {
	case b.left < 0:
		return n, badFile("the attachment is larger than this provider passes on")
	case err != nil && err != io.EOF:
		return n, failed(err)
	}
	return n, err
}

func (b *body) Close() error {
	b.cancel()
	return b.closer.Close()
}
