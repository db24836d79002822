package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"hubbub/client"
	"hubbub/mimi"
)

// chatHelp names the commands of a chat.
const chatHelp = `  /reply N TEXT   /edit N TEXT   /delete N   /react N EMOJI   /unreact N [EMOJI]
  /expire 1h TEXT   /topic NAME TEXT   /ids   /who   /history   /add PERSON   /remove PERSON   /quit
N is a message's number or the beginning of its id, which /ids shows; a dot means the latest.`

// chatCommands do what lines that begin with a slash say. Words are those after the
// command's name.
var chatCommands = map[string]func(s *chatSession, ctx context.Context, words []string) error{
	"/who":     (*chatSession).who,
	"/history": (*chatSession).history,
	"/add":     (*chatSession).addUsers,
	"/remove":  (*chatSession).removeUsers,
	"/ids":     (*chatSession).showIDs,
	"/reply":   (*chatSession).reply,
	"/edit":    (*chatSession).edit,
	"/delete":  (*chatSession).del,
	"/react":   (*chatSession).react,
	"/unreact": (*chatSession).unreact,
	"/expire":  (*chatSession).expire,
	"/topic":   (*chatSession).topic,
}

// command runs a command; done ends the session.
func (s *chatSession) command(ctx context.Context, words []string) (done bool, err error) {
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	if words[0] == "/quit" || words[0] == "/q" {
		return true, nil
	}
	if words[0] == "/help" {
		s.say(chatHelp)
		return false, nil
	}
	do := chatCommands[words[0]]
	if do == nil {
		return false, fail(exitUsage, "/help lists them", "no command %s", words[0])
	}
	return false, do(s, ctx, words[1:])
}

func (s *chatSession) who(ctx context.Context, _ []string) error {
	r, err := s.cl.Room(ctx, s.room)
	for _, p := range r.Participants {
		s.say(fmt.Sprintf("  %s  role %d", p.User.Handle(), p.Role))
	}
	return err
}

func (s *chatSession) history(ctx context.Context, _ []string) error {
	history, err := s.cl.History(ctx, s.room)
	for _, h := range history {
		s.say(fmt.Sprintf("  %d  %s %s %s", h.Seq, h.Actor.Handle(), h.Action, h.User.Handle()))
	}
	return err
}

// people reads the names after a command that needs some.
func people(command string, words []string) ([]mimi.UserURI, error) {
	users, err := handles(words)
	if err != nil || len(users) == 0 {
		return nil, errors.Join(err, fail(exitUsage, command+" cathy@c.localhost", "whom?"))
	}
	return users, nil
}

func (s *chatSession) addUsers(ctx context.Context, words []string) error {
	users, err := people("/add", words)
	if err != nil {
		return err
	}
	added, err := s.cl.AddUsers(ctx, s.room, users...)
	return errors.Join(err, notAdded(added))
}

func (s *chatSession) removeUsers(ctx context.Context, words []string) error {
	users, err := people("/remove", words)
	if err != nil {
		return err
	}
	removed, err := s.cl.RemoveUsers(ctx, s.room, users...)
	return errors.Join(err, notRemoved(removed))
}

// showIDs prints the latest messages once more, with what commands call them, and
// those that come from now on.
func (s *chatSession) showIDs(ctx context.Context, _ []string) error {
	s.ids = true
	messages, err := s.cl.Messages(ctx, s.room, 0, 100_000)
	if err != nil {
		return err
	}
	for _, m := range messages[max(0, len(messages)-chatHistory):] {
		s.write(m)
	}
	return nil
}

// reference is what a person may call a message in a command.
func reference(m client.Message) string {
	if m.Seq != 0 {
		return fmt.Sprintf("%4d", m.Seq)
	}
	return m.ID.String()[:8]
}

// find finds the message a command is about. A dot is the latest, of this user or of
// others.
func (s *chatSession) find(ctx context.Context, words []string, own bool) (client.Message, error) {
	if len(words) == 0 {
		return client.Message{}, fail(exitUsage, "/ids shows their numbers; a dot means the latest", "which message?")
	}
	if words[0] != "." {
		return findMessage(ctx, s.cl, s.room, words[0])
	}
	messages, err := s.cl.Messages(ctx, s.room, 0, 100_000)
	if err != nil {
		return client.Message{}, err
	}
	for i := len(messages) - 1; i >= 0; i-- {
		m := messages[i]
		if (m.Sender == s.cl.User()) == own && !m.Deleted && !m.Expired && m.State != client.Rejected {
			return m, nil
		}
	}
	return client.Message{}, fail(exitFailed, "/ids shows what there is", "there is no such message")
}

// named gives the people of the chat that a text names.
func (s *chatSession) named(ctx context.Context, text string) []mimi.UserURI {
	if !strings.Contains(text, "@") {
		return nil
	}
	rooms, err := s.cl.LocalRooms(ctx)
	if err != nil {
		return nil
	}
	var out []mimi.UserURI
	for _, r := range rooms {
		if r.Room != s.room {
			continue
		}
		for _, p := range r.Participants {
			name, _, _ := strings.Cut(p.User.Handle(), "@")
			for word := range strings.FieldsSeq(text) {
				if word = strings.TrimRight(word, ".,:;!?)"); word == "@"+name || word == "@"+p.User.Handle() {
					out = append(out, p.User)
					break
				}
			}
		}
	}
	return out
}

func (s *chatSession) reply(ctx context.Context, words []string) error {
	m, err := s.find(ctx, words, false)
	if err != nil {
		return err
	}
	return s.post(ctx, client.Draft{Text: strings.Join(words[1:], " "), ReplyTo: m.ID})
}

// sent follows an edit, a deletion or a reaction on its way.
func (s *chatSession) sent(m client.Message, err error) error {
	if err == nil {
		s.open[m.ID] = m.State
	}
	return err
}

func (s *chatSession) edit(ctx context.Context, words []string) error {
	m, err := s.find(ctx, words, true)
	if err != nil {
		return err
	}
	text := strings.Join(words[1:], " ")
	return s.sent(s.cl.Edit(ctx, s.room, m.ID, client.Draft{Text: text, Mentions: s.named(ctx, text)}))
}

func (s *chatSession) del(ctx context.Context, words []string) error {
	m, err := s.find(ctx, words, true)
	if err != nil {
		return err
	}
	return s.sent(s.cl.Delete(ctx, s.room, m.ID))
}

func (s *chatSession) react(ctx context.Context, words []string) error {
	m, err := s.find(ctx, words, false)
	if err != nil {
		return err
	}
	if len(words) != 2 {
		return fail(exitUsage, "/react 7 👍", "with which emoji?")
	}
	return s.sent(s.cl.React(ctx, s.room, m.ID, words[1]))
}

func (s *chatSession) unreact(ctx context.Context, words []string) error {
	m, err := s.find(ctx, words, false)
	if err != nil {
		return err
	}
	return s.sent(s.cl.Unreact(ctx, s.room, m.ID, strings.Join(words[1:], "")))
}

func (s *chatSession) expire(ctx context.Context, words []string) error {
	if len(words) < 2 {
		return fail(exitUsage, "/expire 1h the code is 1234", "after how long, and what?")
	}
	after, err := time.ParseDuration(words[0])
	if err != nil || after < time.Second {
		return fail(exitUsage, "10m, 1h, 24h", "%q is no time to wait", words[0])
	}
	return s.post(ctx, client.Draft{Text: strings.Join(words[1:], " "), ExpireAfter: after})
}

func (s *chatSession) topic(ctx context.Context, words []string) error {
	if len(words) < 2 {
		return fail(exitUsage, "/topic lunch where shall we go?", "which topic, and what?")
	}
	return s.post(ctx, client.Draft{Text: strings.Join(words[1:], " "), Topic: words[0]})
}
