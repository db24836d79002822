package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"hubbub/internal/fakepeer"
	"hubbub/internal/room/roomtest"
	"hubbub/mimi"
)

// guest is a user of ours in a room of the target, and what the target tells us of
// that room.
type guest struct {
	s      *session
	client *roomtest.Client
	uri    mimi.RoomURI
	asks   mimi.Domain // whose user claims our key material

	mu     sync.Mutex
	claims []claimSeen
	notes  []note
	// failing answers the next announcements in place of 201.
	failing []http.HandlerFunc

	followed int // notes the client has taken
}

// note is one request that announced something.
type note struct {
	uri  mimi.RoomURI
	body []byte
	at   time.Time
	list []mimi.FanoutMessage
	err  error
	ok   bool // answered with 201
}

type claimSeen struct {
	body []byte
	err  error
}

// visit has somebody invite our user and joins.
func (s *session) visit(ctx context.Context) error {
	if s.cfg.Invite == nil {
		return errors.New("nobody invites us (--wait lets somebody do it by hand, --dev does it by itself)")
	}
	g := &guest{s: s, client: s.client("guest", "phone"), asks: s.target}
	s.peer.On(mimi.EndpointKeyMaterial, g.supply)
	s.peer.On(mimi.EndpointNotify, g.notify)
	if err := s.cfg.Invite(ctx, g.client.User, "welcome"); err != nil {
		return fmt.Errorf("the invitation: %w", err)
	}
	if !s.until(ctx, func() bool { return len(g.seen()) > 0 }) {
		return errors.New("no Welcome reached us")
	}
	first := g.seen()[0]
	if first.err != nil || !isWelcome(&first.list[0]) {
		return fmt.Errorf("what reached us first is not a Welcome: %w", first.err)
	}
	g.uri = first.uri
	g.catchUp()
	s.guest = g
	return nil
}

func isWelcome(f *mimi.FanoutMessage) bool { return f.Kind() == mimi.FanoutWelcome }

// supply hands out a KeyPackage of our user.
func (g *guest) supply(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	req, err := mimi.ParseKeyMaterialRequest(bytes.Clone(body))
	if err == nil {
		err = req.Verify()
	}
	if err == nil && req.RequestingUser.Domain() != g.asks {
		err = fmt.Errorf("in the name of %s", req.RequestingUser)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.claims = append(g.claims, claimSeen{body, err})
	answer := &mimi.KeyMaterialResponse{Status: mimi.KeyMaterialNoConsent}
	if req != nil {
		if answer.User = req.TargetUser; req.TargetUser == g.client.User {
			answer.Status = mimi.KeyMaterialSuccess
			answer.Clients = []mimi.ClientKeyMaterial{{Client: g.client.URI, KeyPackage: g.client.KeyPackage()}}
		}
	}
	b, err := answer.Marshal()
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Write(b)
}

// notify takes an announcement, or fails as told.
func (g *guest) notify(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	escaped := r.URL.EscapedPath()
	id, _ := url.PathUnescape(escaped[strings.LastIndexByte(escaped, '/')+1:])
	n := note{uri: mimi.RoomURI(id), body: body, at: time.Now()}
	n.list, n.err = mimi.ParseFanout(bytes.Clone(body))
	g.mu.Lock()
	defer g.mu.Unlock()
	if n.ok = len(g.failing) == 0; n.ok {
		w.WriteHeader(http.StatusCreated)
	} else {
		g.failing[0](w, r)
		g.failing = g.failing[1:]
	}
	g.notes = append(g.notes, n)
}

// fail has the next announcements answered otherwise.
func (g *guest) fail(with ...http.HandlerFunc) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.failing = with
}

func (g *guest) seen() []note {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.notes[:len(g.notes):len(g.notes)]
}

// calls is how often the target used an endpoint of ours.
func (g *guest) calls() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.notes) + len(g.claims)
}

// catchUp has the client follow what was announced since.
func (g *guest) catchUp() {
	list := g.seen()
	for _, n := range list[g.followed:] {
		g.followed++
		if !n.ok || n.uri != g.uri || n.err != nil {
			continue
		}
		for i := range n.list {
			if isWelcome(&n.list[i]) {
				if g.client.Group == nil {
					g.client.Join(n.list[i].Raw)
				}
			} else if g.client.Group != nil {
				g.client.Follow(n.list[i].Raw)
			}
		}
	}
}

// announced finds a message among what the target announced.
func (g *guest) announced(mls []byte) *mimi.FanoutMessage {
	for _, n := range g.seen() {
		for i := range n.list {
			if n.ok && bytes.Equal(n.list[i].Message.Raw, mls) {
				return &n.list[i]
			}
		}
	}
	return nil
}

// told waits until a message of ours comes back, and follows it.
func (g *guest) told(ctx context.Context, p *probe, what string, mls []byte) *mimi.FanoutMessage {
	p.Probes++
	if !g.s.until(ctx, func() bool { return g.announced(mls) != nil }) {
		p.failed(what, "an announcement", "none")
		return nil
	}
	g.catchUp()
	return g.announced(mls)
}

// message is the MLSMessage in a submission of ours.
func message(body []byte) []byte {
	req, err := mimi.ParseSubmitMessageRequest(bytes.Clone(body))
	must(err)
	return req.Message.Raw
}

// submit sends what has to be answered in the body.
func (g *guest) submit(ctx context.Context, p *probe, what string, body []byte) (*mimi.SubmitMessageResponse, *fakepeer.Reply) {
	r, err := g.s.ask(ctx, mimi.EndpointSubmitMessage, string(g.uri), body)
	if !p.answered(what, r, err, 200) {
		return nil, nil
	}
	a, err := mimi.ParseSubmitMessageResponse(r.Body)
	if err != nil {
		p.failed(what, "a SubmitMessageResponse", err.Error())
		return nil, nil
	}
	return a, r
}

// update sends a handshake, likewise.
func (g *guest) update(ctx context.Context, p *probe, what string, body []byte) (*mimi.UpdateRoomResponse, *fakepeer.Reply) {
	r, err := g.s.ask(ctx, mimi.EndpointUpdate, string(g.uri), body)
	if !p.answered(what, r, err, 200) {
		return nil, nil
	}
	a, err := mimi.ParseUpdateRoomResponse(r.Body)
	if err != nil {
		p.failed(what, "an UpdateRoomResponse", err.Error())
		return nil, nil
	}
	return a, r
}
