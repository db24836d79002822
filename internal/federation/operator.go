package federation

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"time"

	"hubbub/mimi"
)

// Delivery asks the room's hub how far its followers have stored the log: a
// mimi.DeliveryReport.
func (c *Client) Delivery(ctx context.Context, to mimi.Domain, uri mimi.RoomURI) ([]byte, error) {
	return withBody(c.do(ctx, to, outgoing{mimi.EndpointDelivery, http.MethodGet, string(uri), "", nil, nil}))
}

// Trial is the outcome of one round trip to a peer.
type Trial struct {
	RoundTrip time.Duration
	// SeenAs is the provider that the peer takes us for; "" if it does not say.
	SeenAs             mimi.Domain
	Endpoints          []mimi.Endpoint // what it offers, sorted
	CertificateExpires time.Time
	CertificateIssuer  string
}

// Test fetches a peer's directory, past caches and holds: an operator asks. A
// *mimi.Problem is the peer's own refusal, so the way there is open; what it says
// of us is then in the error.
func (c *Client) Test(ctx context.Context, to mimi.Domain) (*Trial, error) {
	if err := c.mayAsk(to); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(withDialBudget(ctx), requestTimeout)
	defer cancel()
	p := c.peer(to)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+string(to)+mimi.DirectoryPath, nil)
	if err != nil {
		return nil, badAnswer("%s is no usable name", to)
	}
	begin := time.Now()
	res, body, err := c.roundTrip(p, req)
	if err != nil {
		return nil, err
	}
	t := &Trial{RoundTrip: time.Since(begin)}
	doc, err := mimi.ParseDirectory(body)
	if err != nil {
		return nil, badAnswer("%s publishes no usable directory", to)
	}
	p.directory.put(doc, c.cfg.Now(), freshness(res.Header.Get("Cache-Control")))
	t.Endpoints = slices.Sorted(maps.Keys(doc))
	if seen, err := mimi.ParseDomain(res.Header.Get(HeaderPeer)); err == nil {
		t.SeenAs = seen
	}
	if res.TLS != nil {
		leaf := res.TLS.PeerCertificates[0]
		t.CertificateExpires, t.CertificateIssuer = leaf.NotAfter, leaf.Issuer.String()
	}
	return t, nil
}
