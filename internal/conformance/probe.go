package conformance

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"hubbub/internal/fakepeer"
	"hubbub/internal/room/roomtest"
	"hubbub/mimi"
	"hubbub/mls"
	"hubbub/mls/wire"
)

// check is one requirement.
type check struct {
	id, what string
	needs    []string
	run      func(context.Context, *probe)
	why      string // without run: why nobody can judge it from outside
}

// checks are all of them, in the order in which they are tried.
// What takes the test user away from the room comes after all that needs it there, and
// our own leaving last.
var checks = slices.Concat(transportChecks, directoryChecks, wireChecks, keyMaterialChecks, consentChecks, queryChecks, fileChecks,
	followerChecks, postingChecks, hubChecks, abuseChecks, thirdChecks, lastChecks, unseen)

// probe is a check at work.
type probe struct {
	Result
	s *session
}

func (p *probe) failed(what, expected, got string) {
	p.Failures = append(p.Failures, Failure{what, expected, got})
}

// that records something that must be so.
func (p *probe) that(what string, ok bool, expected, got string) bool {
	p.Probes++
	if !ok {
		p.failed(what, expected, got)
	}
	return ok
}

func (p *probe) equal(what string, expected, got any) {
	e, g := fmt.Sprint(expected), fmt.Sprint(got)
	p.that(what, e == g, e, g)
}

// answered records a request that has to get one of these statuses.
func (p *probe) answered(what string, r *fakepeer.Reply, err error, statuses ...int) bool {
	p.Probes++
	expected := strings.Trim(fmt.Sprint(statuses), "[]")
	if err != nil {
		p.failed(what, expected, "no answer: "+err.Error())
		return false
	}
	if !slices.Contains(statuses, r.Status) {
		got := fmt.Sprint(r.Status)
		if r.Code != "" {
			got += " " + r.Code
		}
		p.failed(what, expected, got)
		return false
	}
	return true
}

// url is where the target has an endpoint, as its directory says.
func (s *session) url(e mimi.Endpoint, id string) (string, error) {
	vars := map[string]string{}
	for _, name := range []string{mimi.VarTargetUser, mimi.VarTargetDomain, mimi.VarRequesterUser,
		mimi.VarRequesterDomain, mimi.VarRoomID, mimi.VarDomain, mimi.VarDownloadURL} {
		vars[name] = id
	}
	return s.offered.Expand(e, vars)
}

// ask posts a body to an endpoint of the target.
func (s *session) ask(ctx context.Context, e mimi.Endpoint, id string, body []byte) (*fakepeer.Reply, error) {
	return s.askWith(ctx, e, id, fakepeer.Outgoing{Body: body})
}

func (s *session) askWith(ctx context.Context, e mimi.Endpoint, id string, o fakepeer.Outgoing) (r *fakepeer.Reply, err error) {
	if o.URL == "" {
		if o.URL, err = s.url(e, id); err != nil {
			return nil, err
		}
	}
	return s.send(ctx, o)
}

// patience is how long one request may take.
const patience = 15 * time.Second

// send asks, and again if the target wants to be asked later.
func (s *session) send(ctx context.Context, o fakepeer.Outgoing) (*fakepeer.Reply, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if o.Header == nil {
		o.Header = http.Header{"Content-Type": {"application/octet-stream"}}
	}
	for {
		r, err := s.peer.Send(ctx, o)
		if err != nil || r.Status != http.StatusTooManyRequests {
			return r, err
		}
		seconds, err := strconv.Atoi(r.Header.Get("Retry-After"))
		if err != nil || seconds > 5 {
			return r, nil
		}
		select {
		case <-time.After(time.Duration(seconds) * time.Second):
		case <-ctx.Done():
			return r, nil
		}
	}
}

// client makes a client of a user of ours.
func (s *session) client(name, device string) *roomtest.Client {
	c := s.rooms.Client(s.run+"-"+name+"@"+string(s.cfg.As), device)
	s.vouch(c)
	return c
}

func (s *session) vouch(c *roomtest.Client) {
	if s.cfg.Issuer == nil {
		return
	}
	chain, err := s.cfg.Issuer.IssueClient(c.User, c.URI, c.Key().Public, time.Now().Add(24*time.Hour))
	must(err)
	c.Vouched = &mls.Credential{Type: mls.CredentialTypeX509, Certificates: chain}
}

// claim is a signed request for key material.
func (s *session) claim(c *roomtest.Client, target mimi.UserURI, uri mimi.RoomURI, change func(*mimi.KeyMaterialRequest)) []byte {
	req := &mimi.KeyMaterialRequest{
		Protocol: mimi.ProtocolMLS10, RequestingUser: c.User, TargetUser: target, Room: uri,
		CipherSuites: []mls.CipherSuite{roomtest.Suite}, Credential: c.Credential(),
	}
	if change != nil {
		change(req)
	}
	must(req.Sign(c.Key()))
	return marshal(req)
}

// marshal encodes what we made ourselves.
func marshal(e wire.Encoder) []byte {
	b, err := wire.Marshal(e)
	must(err)
	return b
}

// must stops the check on a failure of our own.
func must(err error) {
	if err != nil {
		panic(stop{err})
	}
}

func (s *session) userURI(name string) mimi.UserURI {
	return mimi.UserURI("mimi://" + string(s.target) + "/u/" + name)
}

func (s *session) roomURI(at mimi.Domain, name string) mimi.RoomURI {
	return mimi.RoomURI("mimi://" + string(at) + "/r/" + s.run + "-" + name)
}
