package main

import (
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

// maxTextBytes is the longest text that send reads from standard input.
const maxTextBytes = 48 << 10

// stateText says in words how far an own message has come.
func stateText(m client.Message) string {
	switch m.State {
	case client.Sending:
		return "stored on this device, not yet at the provider"
	case client.Queued:
		if w := m.WaitingFor; w != nil && !w.Reachable {
			return "queued, waiting for " + string(w.Provider) + ", which does not answer"
		} else if w != nil {
			return "queued, waiting for " + string(w.Provider)
		}
		return "queued"
	case client.Posted:
		return fmt.Sprintf("posted, Seq %d", m.Seq)
	case client.Rejected:
		return "REJECTED: " + m.Reason
	}
	return string(m.State)
}

func (c *cli) sendCmd() *cobra.Command {
	w := &whoami{}
	var wait time.Duration
	var o draftFlags
	var files []string
	cmd := &cobra.Command{
		Use:   "send TEXT... | -",
		Short: "post one message (- reads it from standard input)",
		Long: "Posts one message and says how far it came. It waits a while for \"posted\"; a message that is\n" +
			"\"queued\" when the time is up is safe at the user's provider and is posted later.",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(files) > 0 { // which need no words
				return nil
			}
			return cobra.MinimumNArgs(1)(cmd, args)
		},
	}
	w.flags(cmd, true)
	cmd.Flags().DurationVar(&wait, "wait", 5*time.Second, "how long to wait for the hub's answer")
	cmd.Flags().StringArrayVar(&files, "attach", nil, "a file to send along, encrypted; may be given more than once")
	o.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		text, err := c.textOf(args)
		if err != nil {
			return err
		}
		draft, err := o.draft(text)
		if err != nil {
			return err
		}
		cl, err := c.open(cmd.Context(), w)
		if err != nil {
			return err
		}
		defer cl.Close()
		room, err := c.roomToSendTo(cmd.Context(), cl, w.room)
		if err != nil {
			return err
		}
		if o.replyTo != "" {
			to, err := findMessage(cmd.Context(), cl, room, o.replyTo)
			if err != nil {
				return err
			}
			draft.ReplyTo = to.ID
		}
		if draft.Attachments, err = c.attach(cmd.Context(), cl, room, files); err != nil {
			return err
		}
		m, err := cl.Post(cmd.Context(), room, draft)
		if err != nil {
			return err
		}
		if m, err = waitFor(cmd.Context(), cl, m, wait); err != nil {
			return err
		}
		return c.tellSent(m)
	}
	return cmd
}

// draftFlags are what a message may have besides its text.
type draftFlags struct {
	replyTo  string
	topic    string
	mentions []string
	expire   time.Duration
	markdown bool
}

func (o *draftFlags) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.replyTo, "reply-to", "", "the message it answers: its id, the beginning of it, or its Seq")
	cmd.Flags().StringVar(&o.topic, "topic", "", "the topic it belongs to")
	cmd.Flags().StringSliceVar(&o.mentions, "mention", nil, "people to draw in, such as bob@b.localhost")
	cmd.Flags().DurationVar(&o.expire, "expire", 0, "let it vanish so long after it was read, such as 1h")
	cmd.Flags().BoolVar(&o.markdown, "markdown", false, "the text is Markdown")
}

func (o *draftFlags) draft(text string) (client.Draft, error) {
	users, err := handles(o.mentions)
	if err != nil {
		return client.Draft{}, err
	}
	if o.expire != 0 && o.expire < time.Second {
		return client.Draft{}, fail(exitUsage, "--expire 1h", "a message cannot vanish after %s", o.expire)
	}
	return client.Draft{Text: text, Markdown: o.markdown, Mentions: users, Topic: o.topic, ExpireAfter: o.expire}, nil
}

// roomToSendTo finds the chat and lets the device in if need be. A chat named by
// its URI needs no answer of the provider: the device takes the message and
// sends it when it can.
func (c *cli) roomToSendTo(ctx context.Context, cl *session, name string) (mimi.RoomURI, error) {
	r, err := c.pickRoom(ctx, cl, name)
	if err != nil {
		if uri, uriErr := mimi.ParseRoom(name); uriErr == nil && explain(err).code == exitUnreachable {
			return uri, nil
		}
		return "", err
	}
	if r, err = c.join(ctx, cl, r); err != nil {
		return "", err
	}
	return r.Room, nil
}

func (c *cli) textOf(args []string) (string, error) {
	if len(args) != 1 || args[0] != "-" {
		return strings.Join(args, " "), nil
	}
	b, err := io.ReadAll(io.LimitReader(c.in, maxTextBytes+1))
	if err != nil {
		return "", err
	}
	if len(b) > maxTextBytes {
		return "", fail(exitUsage, "send it in parts", "the text is longer than %d bytes", maxTextBytes)
	}
	return strings.TrimRight(string(b), "\n"), nil
}

// waitFor waits at most wait for a final state of a message.
func waitFor(ctx context.Context, cl *session, m client.Message, wait time.Duration) (client.Message, error) {
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	posted, err := cl.WaitPosted(waiting, m.Room, m.ID)
	if err == nil || errors.Is(err, client.ErrRejected) && posted.State == client.Rejected {
		return posted, nil
	}
	if waiting.Err() == nil || ctx.Err() != nil {
		return m, err
	}
	return cl.Message(ctx, m.Room, m.ID)
}

func (c *cli) tellSent(m client.Message) error {
	if c.wantJSON() {
		if err := term.JSON(c.out, messageToJSON("", m)); err != nil {
			return err
		}
	} else {
		fmt.Fprintln(c.out, stateText(m))
	}
	switch m.State {
	case client.Rejected:
		return fail(exitDenied, "hubbub room show tells who is in the chat and with which role", "the hub refused the message: %s", m.Reason)
	case client.Sending:
		return fail(exitUnreachable, "it is stored on this device and goes out when the device is used again; is the provider running?",
			"the provider does not answer")
	}
	return nil
}
