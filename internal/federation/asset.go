package federation

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"hubbub/mimi"
)

// Assets is what a provider does with requests for files.
type Assets interface {
	// ProxyDownload answers with the file that a peer's user wants, or gives an error
	// before it has written anything (AST-1). It bounds by itself how many run.
	ProxyDownload(w http.ResponseWriter, r *http.Request, peer mimi.Domain, address string) error
	// Public answers requests that anybody may make, here any holder of a certificate:
	// for files of ours, whose names nobody guesses, and for sealed requests. It says
	// false and does nothing if the path is of neither.
	Public(w http.ResponseWriter, r *http.Request) bool
}

// isProxied says whether a request is for a file and may take long: it takes no place
// of those that messages wait for.
func isProxied(path string) bool {
	return strings.HasPrefix(path, basePath+string(mimi.EndpointProxyDownload)+"/")
}

func (s *Server) proxyDownload(c *call) ([]byte, error) {
	if s.cfg.Assets == nil {
		return nil, mimi.NewProblem(http.StatusNotFound, mimi.CodeNotFound, "not offered")
	}
	if err := s.cfg.Assets.ProxyDownload(c.w, c.req, c.peer, c.id); err != nil {
		return nil, err
	}
	c.streamed = true
	return nil, nil
}

// ProxyDownload asks a hub for a file that another provider keeps (AST-1). header may
// say which part. The answer is one of success, whose body the caller closes; whatever
// else comes is a *mimi.Problem. ctx bounds all of it, the body too.
func (c *Client) ProxyDownload(ctx context.Context, to mimi.Domain, address string, header http.Header) (*http.Response, error) {
	if err := c.mayAsk(to); err != nil {
		return nil, err
	}
	ctx = withDialBudget(ctx)
	p := c.peer(to)
	target, err := c.endpointURL(ctx, p, outgoing{endpoint: mimi.EndpointProxyDownload, id: address})
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, badAnswer("the directory of %s gives no usable URL for %s", to, mimi.EndpointProxyDownload)
	}
	if header != nil {
		req.Header = header.Clone()
	}
	req.Header.Set("From", fromLocal+"@"+string(c.cfg.Domain))
	res, err := p.transport.RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrUnreachable, to, err)
	}
	switch res.StatusCode {
	case http.StatusOK, http.StatusPartialContent, http.StatusNotModified:
		return res, nil
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 64*kib))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %s: reading the answer: %w", ErrUnreachable, to, err)
	case res.StatusCode >= 400:
		return nil, mimi.ParseProblem(res.StatusCode, res.Header.Get("Retry-After"), b, c.cfg.Now())
	}
	return nil, badAnswer("%s answered with status %d", to, res.StatusCode)
}
