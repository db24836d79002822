package fakepeer

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"hubbub/internal/room"
	"hubbub/mimi"
)

// Outgoing is a request of the peer, as it is sent: nothing is checked.
type Outgoing struct {
	To       mimi.Domain
	Method   string // "" = POST
	Endpoint mimi.Endpoint
	ID       string // of the room or user; escaped on the way
	Query    string
	From     string // "" = the peer's own domain
	Header   http.Header
	Body     []byte
	Stream   io.Reader // in place of Body
	URL      string    // in place of what To, Endpoint, ID and Query make
	Host     string    // "" = that of the URL
	Bare     bool      // without a From of its own; Header may hold any
}

// Reply is what came back.
type Reply struct {
	Status int
	Code   string // of a refusal
	Header http.Header
	Body   []byte
}

// Send asks a provider of ours, at the paths that it uses.
func (p *Peer) Send(ctx context.Context, o Outgoing) (*Reply, error) {
	if o.Method == "" {
		o.Method = http.MethodPost
	}
	if o.From == "" && !o.Bare {
		o.From = "mimi@" + string(p.cfg.Domain)
	}
	var body io.Reader = bytes.NewReader(o.Body)
	if o.Stream != nil {
		body = o.Stream
	}
	target := "https://" + string(o.To) + "/v1/" + string(o.Endpoint) + "/" + url.PathEscape(o.ID)
	if o.Query != "" {
		target += "?" + o.Query
	}
	if o.URL != "" {
		target = o.URL
	}
	req, err := http.NewRequestWithContext(ctx, o.Method, target, body)
	if err != nil {
		return nil, err
	}
	if o.Host != "" {
		req.Host = o.Host
	}
	for k, v := range o.Header {
		req.Header[k] = v
	}
	if !o.Bare {
		req.Header.Set("From", o.From)
	}
	res, err := p.client.RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	defer res.Body.Close()
	r := &Reply{Status: res.StatusCode, Header: res.Header}
	if r.Body, err = io.ReadAll(res.Body); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	if r.Status >= 400 {
		var problem struct{ Code string }
		if json.Unmarshal(r.Body, &problem) == nil {
			r.Code = problem.Code
		}
	}
	return r, nil
}

// Notify announces entries as the hub of the room would; pos may be nil or false.
func (p *Peer) Notify(ctx context.Context, to mimi.Domain, uri mimi.RoomURI, pos *room.Pos, body []byte) (*Reply, error) {
	h := http.Header{}
	if pos != nil {
		h.Set("Room-Log-Seq", strconv.FormatUint(pos.Seq, 10))
		h.Set("Room-Log-Hash", hex.EncodeToString(pos.Hash[:]))
	}
	return p.Send(ctx, Outgoing{To: to, Endpoint: mimi.EndpointNotify, ID: string(uri), Header: h, Body: body})
}
