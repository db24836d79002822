package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hubbub/client"
	"hubbub/cmd/hubbub/internal/term"
	"hubbub/mimi"
)

const (
	// chatHistory is how many messages are shown at the start.
	chatHistory = 20
	// drainTimeout is how long chat stays after the end of its input, so that
	// what was piped in is at the provider.
	drainTimeout = 10 * time.Second
)

func (c *cli) chatCmd() *cobra.Command {
	w := &whoami{}
	cmd := &cobra.Command{
		Use:   "chat",
		Short: "take part in a chat: type a line to post it",
		Long: "Shows the chat and posts each line that is typed. Works over pipes as well.\n" +
			"Below your messages: ✓ a provider has stored it, … not yet, ? unknown.\n" +
			"@bob in a line draws bob in. Lines that begin with a slash are commands:\n" + chatHelp,
		Args: cobra.NoArgs,
	}
	w.flags(cmd, true)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, cancel := context.WithCancel(cmd.Context())
		defer cancel()
		cl, err := c.open(ctx, w)
		if err != nil {
			return err
		}
		defer cl.Close()
		events := cl.Events(ctx)
		r, err := c.pickRoom(ctx, cl, w.room)
		if err != nil {
			return err
		}
		if r, err = c.join(ctx, cl, r); err != nil {
			return err
		}
		s := &chatSession{c: c, cl: cl, room: r.Room, name: roomName(r), style: term.StyleFor(c.out),
			echo: term.IsTerminal(c.in), open: map[client.MessageID]client.State{}, shown: map[client.MessageID]bool{}}
		s.marks = newMarks(r.Room, cl.Delivery)
		go s.marks.run(ctx)
		if err := s.greet(ctx, r); err != nil {
			return err
		}
		return s.loop(ctx, events)
	}
	return cmd
}

// chatSession is one person in one chat. One goroutine uses it; lines and
// events reach it through channels.
type chatSession struct {
	c     *cli
	cl    *session
	room  mimi.RoomURI
	name  string
	style term.Style
	echo  bool // the terminal shows what is typed

	open  map[client.MessageID]client.State // own messages without a final state
	shown map[client.MessageID]bool
	ids   bool // messages are shown with their numbers
	left  bool // removed from the chat
	lost  bool // the connection to the own provider, and the person was told
	marks *marks
}

func (s *chatSession) greet(ctx context.Context, r client.RoomInfo) error {
	fmt.Fprintf(s.c.out, "%s  %s\n", s.style.Bold(term.Printable(s.name)), s.style.Dim(fmt.Sprintf("hub %s, position %s, you are %s (%s)",
		r.Hub, r.Pos, s.cl.User().Handle(), s.cl.URI().Device())))
	if !r.AsOf.IsZero() {
		s.lost = true
		s.say(s.style.Warn(string(s.cl.User().Domain()) + " does not answer: you see this device's own copy" + asOf(r.AsOf) + "; what you post is kept here"))
	} else if !r.Participant {
		s.say(s.style.Warn("you are no longer in this chat: you can read what you have, not post"))
	}
	if r.HubStatus != nil && !r.HubStatus.Reachable {
		s.say(s.style.Warn(string(r.Hub) + " does not answer: what you post waits for it"))
	}
	messages, err := s.cl.Messages(ctx, s.room, 0, 100_000)
	if err != nil {
		return err
	}
	for _, m := range messages[max(0, len(messages)-chatHistory):] {
		s.show(m)
	}
	s.read(r.Pos.Seq)
	return nil
}

// read notes that the person has seen the chat up to a place. What cannot be noted
// now is noted with the next message.
func (s *chatSession) read(seq uint64) { s.cl.MarkRead(context.Background(), s.room, seq) }

// say prints one line.
func (s *chatSession) say(line string) { fmt.Fprintln(s.c.out, line) }

// show prints a message that was not on the screen yet.
func (s *chatSession) show(m client.Message) {
	if s.shown[m.ID] {
		return
	}
	s.shown[m.ID] = true
	if m.State != client.Posted {
		s.open[m.ID] = m.State
	}
	s.write(m)
}

// write prints a message as it is now.
func (s *chatSession) write(m client.Message) {
	if !m.InReplyTo.IsZero() {
		s.say("          " + s.style.Dim("┌ "+s.quote(m.InReplyTo)))
	}
	number := ""
	if s.ids {
		number = s.style.Dim(reference(m)) + "  "
	}
	line := fmt.Sprintf("%s%s  %s: %s", number, m.Timestamp.Local().Format("15:04:05"), m.Sender.Handle(), bodyText(m))
	switch {
	case m.Sender == s.cl.User():
		line = s.style.Dim(line)
	case m.MentionsUser(s.cl.User()):
		line = s.style.Bold(line)
	}
	if t := remarks(m, time.Now()); t != "" {
		line += " " + s.style.Dim(t)
	}
	if m.State != client.Posted {
		line += "  " + s.style.Warn("["+stateText(m)+"]")
	}
	s.say(line)
	if len(m.Reactions) > 0 {
		s.say("          " + reactionsText(m.Reactions))
	}
}

// quote is the beginning of a message that another answers (CNT-41).
func (s *chatSession) quote(id client.MessageID) string {
	m, err := s.cl.Message(context.Background(), s.room, id)
	if err == nil && m.Act == client.ActEdit {
		m, err = s.cl.Message(context.Background(), s.room, m.About)
	}
	if err != nil {
		return "a message that is not on this device"
	}
	return m.Sender.Handle() + ": " + excerpt(bodyText(m))
}

// loop reads lines and events until the input ends, the person leaves or is
// removed.
func (s *chatSession) loop(ctx context.Context, events func(func(client.Event) bool)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	happened := make(chan client.Event)
	go func() {
		defer close(happened)
		for ev := range events {
			select {
			case happened <- ev:
			case <-ctx.Done():
				return
			}
		}
	}()
	lines, readErr := s.readLines(ctx)
	var drained <-chan time.Time
	for {
		if drained != nil && !s.unsent() || s.left {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-drained:
			return fail(exitUnreachable, "they are stored on this device and go out when it is used again",
				"%d messages have not reached the provider", len(s.open))
		case ev, ok := <-happened:
			if !ok {
				return nil
			}
			s.event(ev)
		case k := <-s.marks.told:
			s.say(fmt.Sprintf("          ↳ %s  %s", deliveryMarks(k.delivery), s.style.Dim(excerpt(k.message.Plain()))))
		case line, ok := <-lines:
			if !ok {
				if err := *readErr; err != nil {
					return err
				}
				lines, drained = nil, time.After(drainTimeout)
				continue
			}
			if s.line(ctx, line) {
				return nil
			}
		}
	}
}

// unsent says whether an own message is still on this device only.
func (s *chatSession) unsent() bool {
	for _, st := range s.open {
		if st == client.Sending {
			return true
		}
	}
	return false
}

// readLines reads the input line by line. The error is valid once the channel
// is closed.
func (s *chatSession) readLines(ctx context.Context) (<-chan string, *error) {
	lines, failed := make(chan string), new(error)
	go func() {
		defer close(lines)
		sc := bufio.NewScanner(s.c.in)
		sc.Buffer(nil, maxTextBytes)
		for sc.Scan() {
			select {
			case lines <- sc.Text():
			case <-ctx.Done():
				return
			}
		}
		if err := sc.Err(); errors.Is(err, bufio.ErrTooLong) {
			*failed = fail(exitUsage, "send it in parts", "a line is longer than %d bytes", maxTextBytes)
		} else if err != nil && !errors.Is(err, io.EOF) {
			*failed = err
		}
	}()
	return lines, failed
}

// line handles one line of input; true ends the session.
func (s *chatSession) line(ctx context.Context, line string) bool {
	line = strings.TrimSpace(line)
	if line == "" {
		return false
	}
	if strings.HasPrefix(line, "/") {
		done, err := s.command(ctx, strings.Fields(line))
		if err != nil {
			s.complain(err)
		}
		return done
	}
	if err := s.post(ctx, client.Draft{Text: line}); err != nil {
		s.complain(err)
	}
	return false
}

// post posts a message. Whoever it names, as @bob, is drawn in.
func (s *chatSession) post(ctx context.Context, d client.Draft) error {
	d.Mentions = s.named(ctx, d.Text)
	m, err := s.cl.Post(ctx, s.room, d)
	if err != nil {
		return err
	}
	s.shown[m.ID] = true
	if !s.echo {
		s.write(m)
	}
	s.open[m.ID] = client.Sending
	s.changed(m)
	return nil
}

// complain says what went wrong and goes on.
func (s *chatSession) complain(err error) {
	f := explain(err)
	s.say(s.style.Bad("error: " + err.Error()))
	if f.hint != "" {
		s.say("hint: " + f.hint)
	}
}

func (s *chatSession) event(ev client.Event) {
	switch e := ev.(type) {
	case client.MessageReceived:
		if e.Message.Room == s.room {
			s.show(e.Message)
			s.read(e.Message.Seq)
		}
	case client.MessageChanged:
		if e.Message.Room == s.room {
			s.changed(e.Message)
		}
	case client.MessageUpdated:
		if e.Message.Room == s.room && s.shown[e.Message.ID] {
			s.say("          ↳ " + updateLine(e))
		}
	case client.RoomAdded:
		if e.Room != s.room {
			s.say(s.style.Dim("— you are in a new chat: " + string(e.Room)))
		}
	case client.MembershipChanged:
		if e.Room == s.room {
			s.say(s.style.Dim("— " + membershipLine(e)))
		}
	case client.RoomRemoved:
		if e.Room == s.room {
			s.say(s.style.Warn("— you were removed from this chat by " + handle(e.By)))
			s.left = true
		}
	case client.RoomSuspicious:
		if e.Room == s.room {
			s.say(s.style.Bad("— this chat is NOT TRUSTED any more: " + errText(e.Err)))
		}
	case client.Disconnected:
		if !s.lost {
			s.say(s.style.Warn("— connection to " + string(s.cl.User().Domain()) + " lost, trying again; what you post is kept here"))
		}
		s.lost = true
	case client.Connected:
		if s.lost {
			s.say(s.style.Dim("— connected again"))
		}
		s.lost = false
	}
}

// changed tells how far an own message has come, once per change.
func (s *chatSession) changed(m client.Message) {
	if before, ok := s.open[m.ID]; !ok || before == m.State && m.WaitingFor == nil && m.State != client.Sending {
		return
	}
	s.open[m.ID] = m.State
	text := stateText(m)
	if m.Act != client.ActWrite {
		text = string(m.Act) + " " + text
	}
	switch m.State {
	case client.Sending:
		return
	case client.Posted:
		delete(s.open, m.ID)
		text = s.style.Good(text)
		if m.Act == client.ActWrite {
			s.marks.follow(m)
		}
	case client.Rejected:
		delete(s.open, m.ID)
		text = s.style.Bad(text)
	case client.Queued:
		text = s.style.Warn(text)
	}
	s.say(fmt.Sprintf("          ↳ %s  %s", text, s.style.Dim(excerpt(m.Plain()))))
}

// excerpt is the beginning of a text, enough to know it again.
func excerpt(text string) string {
	r := []rune(term.Printable(text))
	if len(r) > 40 {
		return string(r[:39]) + "…"
	}
	return string(r)
}
