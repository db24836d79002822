package conformance

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"hubbub/internal/fakepeer"
	"hubbub/internal/room"
	"hubbub/mimi"
)

// In these a user of the target posts in a room of ours: the target is a follower that
// passes messages on.
var postingChecks = []check{
	{id: "SUB-10", what: "a follower passes on what its users post", needs: needsPosts, run: passedOn},
	{id: "SUB-11", what: "what the hub cannot take now waits, and is sent again", needs: needsPosts, run: sentAgain},
	{id: "SUB-13", what: "what the hub refuses is not tried again", needs: needsPosts, run: notTriedAgain},
}

var needsPosts = []string{needDirectory, needUser, needHosting, needPosts}

// postings is what the target passed on to us.
type postings struct {
	mu   sync.Mutex
	seen []submission
	h    *hosting
	// answers to the next submissions: an HTTP status, or 200 with a code; without any,
	// what our room says.
	answers []http.HandlerFunc
}

type submission struct {
	body    []byte
	at      time.Time
	from    string
	refused error // by our room; nil = taken
	taken   bool
}

// quiet is how long nothing may come where nothing must come.
const quiet = 1500 * time.Millisecond

// askForPosts has the test user post what is delayed and what is refused.
func (s *session) askForPosts(ctx context.Context) error {
	if s.cfg.Post == nil {
		return errNotGiven
	}
	ps := &postings{h: s.hosting, answers: []http.HandlerFunc{later("1")}}
	s.peer.On(mimi.EndpointSubmitMessage, ps.submit)
	if err := s.cfg.Post(ctx, s.hosting.uri, "posted by a user of the target"); err != nil {
		return err
	}
	if !s.until(ctx, func() bool { return ps.accepted() != nil }) {
		return fmt.Errorf("no message that our room takes reached us: %v", ps.list())
	}
	if _, err := s.hosting.announce(ctx, ps.accepted()); err != nil {
		return err
	}
	notAllowed, err := (&mimi.SubmitMessageResponse{Code: mimi.SubmitNotAllowed}).Marshal()
	if err != nil {
		return err
	}
	ps.mu.Lock()
	ps.answers = []http.HandlerFunc{fakepeer.Answer(http.StatusOK, map[string]string{"Content-Type": "application/octet-stream"}, notAllowed)}
	before := len(ps.seen)
	ps.mu.Unlock()
	if err := s.cfg.Post(ctx, s.hosting.uri, "a message that is refused"); err != nil {
		return err
	}
	if !s.until(ctx, func() bool { return len(ps.list()) > before }) {
		return fmt.Errorf("no second message reached us")
	}
	select {
	case <-time.After(quiet):
	case <-ctx.Done():
	}
	s.posted = ps
	return nil
}

func (ps *postings) list() []submission {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return slices.Clone(ps.seen)
}

// accepted is the entry that became of the first message taken.
func (ps *postings) accepted() []byte {
	for _, sub := range ps.list() {
		if sub.taken {
			return ps.h.entries[len(ps.h.entries)-1]
		}
	}
	return nil
}

// submit is our hub: it decides by the rules of its room unless told otherwise.
func (ps *postings) submit(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	ps.mu.Lock()
	defer ps.mu.Unlock()
	sub := submission{body: body, at: time.Now(), from: r.Header.Get("From")}
	defer func() { ps.seen = append(ps.seen, sub) }()
	if len(ps.answers) > 0 {
		ps.answers[0](w, r)
		ps.answers = ps.answers[1:]
		return
	}
	answer := &mimi.SubmitMessageResponse{Code: mimi.SubmitNotAllowed}
	in, err := room.ParseSubmission(ps.h.s.target, bytes.Clone(body))
	if err == nil {
		var eff room.Effects
		if eff, err = ps.h.step(in); err == nil {
			sub.taken = true
			answer = &mimi.SubmitMessageResponse{Code: mimi.SubmitAccepted, Timestamp: eff.Entry.Timestamp}
		}
	}
	sub.refused = err
	b, err := answer.Marshal()
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Write(b)
}

func passedOn(_ context.Context, p *probe) {
	for _, sub := range p.s.posted.list() {
		p.equal("who passes it on", "mimi@"+string(p.s.target), sub.from)
		p.that("what our room says of it", sub.refused == nil, "nothing against it", fmt.Sprint(sub.refused))
		req, err := mimi.ParseSubmitMessageRequest(bytes.Clone(sub.body))
		if p.that("its body", err == nil, "a SubmitMessageRequest", fmt.Sprint(err)); err == nil {
			p.equal("its sender", p.s.cfg.User, req.Sender)
		}
	}
	owner := p.s.hosting.owner
	p.that("what our client reads", slices.ContainsFunc(owner.Texts, func(t string) bool { return t != "" }), "a message that decrypts", "none")
}

func sentAgain(_ context.Context, p *probe) {
	list := p.s.posted.list()
	p.that("attempts", len(list) >= 2, "two or more", fmt.Sprint(len(list)))
	if len(list) < 2 {
		return
	}
	wait := list[1].at.Sub(list[0].at)
	p.that("the second attempt", bytes.Equal(list[0].body, list[1].body), "the octets of the first", "others")
	p.that("its time", wait >= 990*time.Millisecond, "not before Retry-After is over, a second", wait.String())
	taken := 0
	for _, sub := range list {
		if sub.taken {
			taken++
		}
	}
	p.equal("how often it was sent and taken", 1, taken)
}

func notTriedAgain(_ context.Context, p *probe) {
	list := p.s.posted.list()
	last := list[len(list)-1]
	count := 0
	for _, sub := range list {
		if bytes.Equal(sub.body, last.body) {
			count++
		}
	}
	p.equal("attempts at what was refused, in a second and a half", 1, count)
}
