package story

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"hubbub/client"
	"hubbub/mimi"
)

// hubDies kills the hub of lunch and shows that reading goes on at the others
// and that what is posted now waits, and says for whom.
func (s *stage) hubDies(ctx context.Context) error {
	hub := s.lunch.Domain()
	if err := s.rememberRoom(ctx); err != nil {
		return err
	}
	for _, st := range s.env.States() {
		if st.Domain == string(hub) {
			s.note("SIGKILL to process %d, %s", st.PID, hub)
		}
	}
	if err := s.env.Kill(string(hub)); err != nil {
		return err
	}
	if err := s.checkDown(ctx, hub); err != nil {
		return err
	}
	for _, w := range []struct {
		by   *device
		text string
	}{{s.bob, "I am late, start without me."}, {s.cathy, "The ferry is late as well."}} {
		if err := s.sayIntoOutage(ctx, w.by, w.text); err != nil {
			return err
		}
	}
	if err := s.compareRemembered(ctx); err != nil {
		return err
	}
	return s.otherHubWorks(ctx)
}

// checkDown asks a killed provider whether it still answers.
func (s *stage) checkDown(ctx context.Context, d mimi.Domain) error {
	admin, err := s.env.Admin(d)
	if err != nil {
		return err
	}
	answers := "does not answer"
	if admin.Ready(ctx) == nil {
		answers = "answers"
	}
	s.expect(string(d), "does not answer", answers)
	return nil
}

// survivors are the witnesses whose provider is not the hub.
func (s *stage) survivors() []*device {
	var out []*device
	for _, w := range s.witnesses(s.lunch) {
		if w.User().Domain() != s.lunch.Domain() {
			out = append(out, w)
		}
	}
	return out
}

// rememberRoom asks every provider for lunch before anything is broken.
func (s *stage) rememberRoom(ctx context.Context) error {
	for _, w := range append(s.survivors(), s.alice, s.cathy) {
		snap, err := w.ask(ctx, s.lunch, 0)
		if err != nil {
			return err
		}
		s.beforeKill[w] = snap
	}
	return nil
}

// sayIntoOutage posts while the hub is down and compares what the sender is
// told about it.
func (s *stage) sayIntoOutage(ctx context.Context, by *device, text string) error {
	m, err := s.say(ctx, by, s.lunch, text)
	if err != nil {
		return err
	}
	hub := s.lunch.Domain()
	m, err = by.untilMessage(ctx, s.lunch, m.ID, "its message to be queued for "+string(hub), func(m client.Message) bool {
		return m.State == client.Posted || m.State == client.Rejected || m.WaitingFor != nil && !m.WaitingFor.Reachable
	})
	if err != nil {
		return err
	}
	s.expect(fmt.Sprintf("%s: %q", by.name, text), describe(client.Queued, &client.PeerStatus{Provider: hub}), describe(m.State, m.WaitingFor))
	s.pending = append(s.pending, waiting{by, m})
	return nil
}

// describe says in words where a message stands.
func describe(state client.State, w *client.PeerStatus) string {
	if w == nil {
		return string(state)
	}
	if w.Reachable {
		return fmt.Sprintf("%s, waiting for %s", state, w.Provider)
	}
	return fmt.Sprintf("%s, waiting for %s, which does not answer", state, w.Provider)
}

// compareRemembered asks the surviving providers again: without the hub nothing
// may have changed and nothing may be missing.
func (s *stage) compareRemembered(ctx context.Context) error {
	readers := s.survivors()
	if s.cathy.User().Domain() == s.bob.User().Domain() {
		readers = append(readers, s.cathy)
	}
	for _, w := range readers {
		before := s.beforeKill[w]
		now, err := w.ask(ctx, s.lunch, 0)
		if err != nil {
			return err
		}
		all := func(x snapshot) string {
			lines := append([]string{x.pos.String()}, x.participants...)
			lines = append(append(lines, x.history...), x.log...)
			return strings.Join(append(lines, x.messages...), "\n")
		}
		if w.User().Domain() != s.bob.User().Domain() || w == s.bob {
			s.now.Positions = append(s.now.Positions, Position{Room: s.lunch, Name: lunchName, Provider: w.User().Domain(),
				Seq: now.pos.Seq, Hash: hex.EncodeToString(now.pos.Hash[:])})
		}
		s.check(fmt.Sprintf("%s reads everything from %s without the hub (%d messages)", w.name, now.who, len(now.messages)),
			Value{"before", all(before)}, Value{"now", all(now)})
	}
	return nil
}

// otherHubWorks posts to the chat that another provider hosts.
func (s *stage) otherHubWorks(ctx context.Context) error {
	m, err := s.say(ctx, s.bob, s.pair, "Your provider is down, this one you will read later.")
	if err != nil {
		return err
	}
	posted, err := s.bob.untilMessage(ctx, s.pair, m.ID, "its message to be posted", isPosted)
	if err != nil {
		return err
	}
	s.expect("meanwhile in the 1-1 chat, hosted at "+string(s.pair.Domain())+", a message is", string(client.Posted), string(posted.State))
	return nil
}

// hubReturns starts the hub again and checks that each waiting message was
// posted once, in each copy.
func (s *stage) hubReturns(ctx context.Context) error {
	if err := s.env.Start(ctx, string(s.lunch.Domain())); err != nil {
		return err
	}
	for _, w := range s.pending {
		if _, err := s.heard(ctx, w.by, s.lunch, w.m, s.listeners(w.by)...); err != nil {
			return err
		}
		if err := s.countCopies(ctx, w); err != nil {
			return err
		}
	}
	if err := s.askAll(ctx, s.lunch); err != nil {
		return err
	}
	before := s.beforeKill[s.alice].pos.Seq
	info, err := s.alice.Room(ctx, s.lunch)
	if err != nil {
		return err
	}
	s.expect("entries the hub added for them", fmt.Sprint(len(s.pending)), fmt.Sprint(info.Pos.Seq-before))
	return s.askAll(ctx, s.pair)
}

// countCopies counts a message in every copy of the chat.
func (s *stage) countCopies(ctx context.Context, w waiting) error {
	values := []Value{{"expected", "1"}}
	for _, d := range append(s.listeners(w.by), w.by) {
		all, err := d.messages(ctx, s.lunch)
		if err != nil {
			return err
		}
		n := 0
		for _, m := range all {
			if m.Text == w.m.Text && m.Sender == w.m.Sender {
				n++
			}
		}
		values = append(values, Value{d.name, fmt.Sprint(n)})
	}
	s.check(fmt.Sprintf("times that %s's waiting message was posted, in each copy", w.by.name), values...)
	return nil
}

// removeCathy takes Cathy out and shows that she can neither read nor post.
func (s *stage) removeCathy(ctx context.Context) error {
	if _, err := s.alice.RemoveUsers(ctx, s.lunch, s.cathy.User()); err != nil {
		return err
	}
	removed, err := untilEvent(ctx, s.cathy, "word of her removal", func(e client.RoomRemoved) bool { return e.Room == s.lunch })
	if err != nil {
		return err
	}
	s.note("Cathy is told: removed at Seq %d, by %s", removed.Seq, removed.By.Handle())
	s.cathyIn = false
	m, err := s.sayTo(ctx, s.alice, s.lunch, "Now that she is gone: the cake is a surprise.", s.listeners(s.alice)...)
	if err != nil {
		return err
	}
	s.missedByC = m.ID
	if err := s.converge(ctx, s.lunch); err != nil {
		return err
	}
	if err := s.cathyMissed(ctx, "now"); err != nil {
		return err
	}
	if at := s.cathy.User().Domain(); at != s.bob.User().Domain() {
		last, err := s.lastAt(ctx, at, s.lunch)
		if err != nil {
			return err
		}
		s.expect("the copy at "+string(at)+" ends at the removal", fmt.Sprintf("Seq %d", removed.Seq), last)
	}
	return s.cathyPosts(ctx)
}

// lastAt is how far a provider's copy of a room goes, as its operator sees it.
func (s *stage) lastAt(ctx context.Context, at mimi.Domain, room mimi.RoomURI) (string, error) {
	admin, err := s.env.Admin(at)
	if err != nil {
		return "", err
	}
	status, err := admin.Status(ctx)
	if err != nil {
		return "", fmt.Errorf("asking the operator of %s: %w", at, err)
	}
	for _, r := range status.GetRooms() {
		if r.GetRoom() == string(room) {
			return fmt.Sprintf("Seq %d", r.GetHead().GetSeq()), nil
		}
	}
	return "no copy", nil
}

// cathyMissed looks for what was said after Cathy's removal in her own copy and
// in what her provider gives her.
func (s *stage) cathyMissed(ctx context.Context, when string) error {
	m, err := s.cathy.message(ctx, s.lunch, s.missedByC)
	if err != nil && !errors.Is(err, client.ErrUnknownRoom) {
		return err
	}
	holds := "no"
	if m != nil {
		holds = "yes"
	}
	s.expect("Cathy's device holds what was said after her removal, "+when, "no", holds)
	return nil
}

// cathyPosts tries to post as Cathy.
func (s *stage) cathyPosts(ctx context.Context) error {
	outcome := "refused"
	const text = "Hello? Is anybody there?"
	s.said = append(s.said, text)
	m, err := s.cathy.Send(ctx, s.lunch, text)
	if err == nil {
		m, err = s.cathy.untilMessage(ctx, s.lunch, m.ID, "an answer", func(m client.Message) bool {
			return m.State == client.Posted || m.State == client.Rejected
		})
		if err != nil {
			return err
		}
		if m.State != client.Rejected {
			outcome = string(m.State)
		}
	} else {
		s.note("when she posts, her device says: %v", err)
	}
	s.expect("Cathy posts: the message is", "refused", outcome)
	return nil
}
