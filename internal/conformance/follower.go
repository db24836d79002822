package conformance

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"net/http"
	"time"

	"hubbub/internal/fakepeer"
	"hubbub/internal/room"
	"hubbub/internal/room/roomtest"
	"hubbub/mimi"
	"hubbub/mimi/checkpoint"
	"hubbub/mls"
)

var needsHosting = []string{needDirectory, needUser, needHosting}

// In these the target is follower, and we are the hub.
var followerChecks = []check{
	{id: "FAN-18", what: "an unknown room begins with a Welcome", needs: []string{needDirectory}, run: unknownRooms},
	{id: "FAN-17", what: "a Welcome for one of its clients is taken", needs: needsHosting, run: welcomed},
	{id: "FAN-6", what: "201 without a body", needs: needsHosting, run: announced},
	{id: "FAN-8", what: "a repeat is taken and changes nothing", needs: needsHosting, run: repeated},
	{id: "FAN-3", what: "duplicates in other batches are taken", needs: needsHosting, run: regrouped},
	{id: "FAN-19", what: "several messages in one request", needs: needsHosting, run: batched},
	{id: "FAN-20", what: "a batch is taken whole or not at all", needs: needsHosting, run: cutBatch},
}

// hosting is a room of ours with a user of the target in it.
type hosting struct {
	s        *session
	env      *room.Env
	uri      mimi.RoomURI
	state    room.State
	hub      *mls.SignatureKey
	owner    *roomtest.Client
	snapshot []byte
	welcome  []byte
	entries  [][]byte
	reply    *fakepeer.Reply // to the Welcome
	err      error
}

// host makes the room, adds the user, and announces the Welcome.
func (s *session) host(ctx context.Context) error {
	h := &hosting{s: s, env: s.env(), uri: s.roomURI(s.cfg.As, "hosted"), hub: s.rooms.NewKey(), owner: s.requester()}
	state, eff, err := room.Create(h.env, h.owner.Create(h.uri, h.hub), now())
	must(err)
	mustAccept(&eff)
	h.state = state
	r, err := s.ask(ctx, mimi.EndpointKeyMaterial, string(s.cfg.User), s.claim(h.owner, s.cfg.User, h.uri, nil))
	if err != nil {
		return err
	}
	k, err := mimi.ParseKeyMaterialResponse(r.Body)
	if err != nil {
		return fmt.Errorf("key material: status %d: %w", r.Status, err)
	}
	var packages []*mls.KeyPackage
	for _, c := range k.Clients {
		if c.KeyPackage != nil {
			packages = append(packages, c.KeyPackage)
		}
	}
	if len(packages) == 0 {
		return fmt.Errorf("no key material of %s: code %d", s.cfg.User, k.Status)
	}
	if eff, err = h.handshake(h.owner.Add(packages...)); err != nil {
		return err
	}
	h.welcome = eff.Welcome.Body
	if err := h.offer(eff.Changes); err != nil {
		return err
	}
	h.reply, h.err = h.announce(ctx, h.welcome)
	s.hosting = h
	return nil
}

// handshake is a step of our own hub.
func (h *hosting) handshake(body []byte) (room.Effects, error) {
	in, err := room.ParseHandshake(h.s.cfg.As, body)
	must(err)
	return h.step(in)
}

func (h *hosting) step(in room.Input) (room.Effects, error) {
	next, eff, err := room.Step(h.env, h.state, in, now())
	must(err)
	if eff.Refusal != nil {
		return eff, eff.Refusal
	}
	h.state = next
	h.entries = append(h.entries, eff.Entry.Body)
	h.owner.Follow(eff.Entry.Body)
	return eff, nil
}

// post has the owner say something in the room, which nobody is told yet.
func (h *hosting) post(text string) []byte {
	in, err := room.ParseSubmission(h.s.cfg.As, h.owner.Post(text))
	must(err)
	eff, err := h.step(in)
	must(err)
	return eff.Entry.Body
}

// offer serves the extension by which our own followers learn what a Welcome does
// not say; others do not ask for it.
func (h *hosting) offer(history []room.Change) error {
	snap, err := room.NewSnapshot(&h.state, history)
	if err != nil {
		return err
	}
	c := checkpoint.Checkpoint{Room: h.uri, Seq: h.state.Pos.Seq, Hash: h.state.Pos.Hash}
	if snap.Signed, err = c.Sign(h.s.cfg.As, ed25519.NewKeyFromSeed(h.hub.Private)); err != nil {
		return err
	}
	if h.snapshot, err = snap.Encode(); err != nil {
		return err
	}
	h.s.peer.On(mimi.EndpointSnapshot, fakepeer.Answer(http.StatusOK, map[string]string{"Content-Type": "application/octet-stream"}, h.snapshot))
	return nil
}

// announce tells the target.
func (h *hosting) announce(ctx context.Context, body []byte) (*fakepeer.Reply, error) {
	return h.s.ask(ctx, mimi.EndpointNotify, string(h.uri), body)
}

func unknownRooms(ctx context.Context, p *probe) {
	b := p.s.sample(mimi.EndpointNotify)
	r, err := p.s.ask(ctx, b.endpoint, b.id, b.body)
	p.answered("a message of a room that it does not know", r, err, 404)
	// A Welcome, but for a KeyPackage that is not the target's.
	c, other := p.s.client("a", "phone"), p.s.client("b", "phone")
	uri := p.s.roomURI(p.s.cfg.As, "foreign")
	state, eff, err := room.Create(p.s.env(), c.Create(uri, p.s.rooms.NewKey()), now())
	must(err)
	mustAccept(&eff)
	in, err := room.ParseHandshake(p.s.cfg.As, c.Add(other.KeyPackage()))
	must(err)
	_, eff, err = room.Step(p.s.env(), state, in, now())
	must(err)
	mustAccept(&eff)
	r, err = p.s.ask(ctx, mimi.EndpointNotify, string(uri), eff.Welcome.Body)
	p.answered("a Welcome for somebody else's KeyPackage", r, err, 400, 404)
}

// taken is the one answer to an announcement that was stored (D-13).
func (p *probe) taken(what string, r *fakepeer.Reply, err error) bool {
	if !p.answered(what, r, err, 201) {
		return false
	}
	p.equal(what+": octets of the answer", 0, len(r.Body))
	return true
}

func welcomed(ctx context.Context, p *probe) {
	h := p.s.hosting
	p.taken("the Welcome", h.reply, h.err)
	r, err := h.announce(ctx, h.welcome)
	p.taken("the Welcome again", r, err)
}

func announced(ctx context.Context, p *probe) {
	h := p.s.hosting
	r, err := h.announce(ctx, h.post("first"))
	p.taken("a message", r, err)
	r, err = h.announce(ctx, []byte("rubbish"))
	p.answered("rubbish", r, err, 400)
	r, err = h.announce(ctx, nil)
	p.answered("nothing", r, err, 400)
}

func repeated(ctx context.Context, p *probe) {
	h := p.s.hosting
	body := h.post("again and again")
	for range 3 {
		r, err := h.announce(ctx, body)
		p.taken("the same message", r, err)
	}
}

func regrouped(ctx context.Context, p *probe) {
	h := p.s.hosting
	one, two := h.post("one"), h.post("two")
	r, err := h.announce(ctx, one)
	p.taken("one", r, err)
	r, err = h.announce(ctx, append(bytes.Clone(one), two...))
	p.taken("one and two", r, err)
	r, err = h.announce(ctx, bytes.Join(h.entries[1:], nil))
	p.taken("everything so far", r, err)
}

func batched(ctx context.Context, p *probe) {
	h := p.s.hosting
	var body []byte
	for i := range 5 {
		body = append(body, h.post(fmt.Sprint("batch ", i))...)
	}
	r, err := h.announce(ctx, body)
	p.taken("five messages", r, err)
}

func cutBatch(ctx context.Context, p *probe) {
	h := p.s.hosting
	one, two := h.post("whole"), h.post("cut")
	r, err := h.announce(ctx, append(bytes.Clone(one), two[:len(two)-5]...))
	p.answered("a message and half of one", r, err, 400)
	r, err = h.announce(ctx, append(bytes.Clone(one), two...))
	p.taken("both", r, err)
}

// until waits for something that the target does by itself.
func (s *session) until(ctx context.Context, done func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Wait)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return done()
		}
	}
	return true
}
