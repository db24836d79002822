package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hubbub/client"
	"hubbub/cmd/hubbub/internal/term"
	"hubbub/mimi"
)

func (c *cli) messageCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "message", Short: "single messages: how far they have come, replies, edits, reactions"}
	cmd.AddCommand(c.messageShowCmd(), c.messageResendCmd(), c.messageReplyCmd(), c.messageEditCmd(), c.messageDeleteCmd(), c.messageSaveCmd(),
		c.messageReactCmd(), c.messageReadCmd(), c.messageReceiptsCmd(), c.messageReportCmd())
	return cmd
}

// messageStatusJSON is a message with its way in the JSON output.
type messageStatusJSON struct {
	messageJSON
	Providers []providerJSON `json:"providers"`
	// DeliveryError is why nothing is known of the providers; absent = it is.
	DeliveryError string `json:"delivery_error,omitempty"`
}

type providerJSON struct {
	Provider mimi.Domain          `json:"provider"`
	Hub      bool                 `json:"hub"`
	State    client.DeliveryState `json:"state"`
	StoredTo uint64               `json:"stored_to"`
	AsOfMS   int64                `json:"as_of_ms,omitempty"` // absent: unknown
}

func (c *cli) messageShowCmd() *cobra.Command {
	w := &whoami{}
	cmd := &cobra.Command{
		Use:   "show CHAT ID|SEQ",
		Short: "show how far a message has come: own provider, hub, every other provider",
		Long: "CHAT is a name or URI, ID the message's id or its beginning, SEQ its place in the chat.\n" +
			"A provider is said to have a message only if it has said so itself; what is not known is shown as unknown.",
		Args: cobra.ExactArgs(2),
	}
	w.flags(cmd, false)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.withDevice(cmd, w, func(ctx context.Context, cl *session) error {
			r, m, err := c.pickMessage(ctx, cl, args[0], args[1])
			if err != nil {
				return err
			}
			var d client.Delivery
			var unknown error
			if m.Seq != 0 {
				d, unknown = cl.Delivery(ctx, r.Room, m.Seq)
			}
			if c.wantJSON() {
				return term.JSON(c.out, messageStatus(m, d, unknown))
			}
			c.showMessage(m, d, unknown)
			return nil
		})
	}
	return cmd
}

func (c *cli) messageResendCmd() *cobra.Command {
	w := &whoami{}
	var wait time.Duration
	cmd := &cobra.Command{Use: "resend CHAT ID", Short: "post a message of this device that was rejected once more", Args: cobra.ExactArgs(2)}
	w.flags(cmd, false)
	cmd.Flags().DurationVar(&wait, "wait", 5*time.Second, "how long to wait for the hub's answer")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cl, err := c.open(cmd.Context(), w)
		if err != nil {
			return err
		}
		defer cl.Close()
		r, m, err := c.pickMessage(cmd.Context(), cl, args[0], args[1])
		if err != nil {
			return err
		}
		if m, err = cl.Resend(cmd.Context(), r.Room, m.ID); err != nil {
			return err
		}
		if m, err = waitFor(cmd.Context(), cl, m, wait); err != nil {
			return err
		}
		return c.tellSent(m)
	}
	return cmd
}

func messageStatus(m client.Message, d client.Delivery, unknown error) messageStatusJSON {
	out := messageStatusJSON{messageJSON: messageToJSON("", m), Providers: []providerJSON{}}
	if unknown != nil {
		out.DeliveryError = unknown.Error()
	}
	out.Providers = append(out.Providers, providersJSON(d)...)
	return out
}

func providersJSON(d client.Delivery) (out []providerJSON) {
	for _, p := range d.Providers {
		j := providerJSON{Provider: p.Provider, Hub: p.Hub, State: p.State, StoredTo: p.StoredTo}
		if !p.AsOf.IsZero() {
			j.AsOfMS = p.AsOf.UnixMilli()
		}
		out = append(out, j)
	}
	return out
}

// pickMessage finds the chat a person means, and a message in it.
func (c *cli) pickMessage(ctx context.Context, cl *session, chat, which string) (client.RoomInfo, client.Message, error) {
	r, err := c.pickRoom(ctx, cl, chat)
	if err != nil {
		return r, client.Message{}, err
	}
	m, err := findMessage(ctx, cl, r.Room, which)
	return r, m, err
}

// findMessage looks a message up in the device's own copy.
func findMessage(ctx context.Context, cl *session, room mimi.RoomURI, which string) (client.Message, error) {
	all, err := cl.Messages(ctx, room, 0, 1_000_000)
	if err != nil {
		return client.Message{}, err
	}
	seq, seqErr := strconv.ParseUint(which, 10, 64)
	var hits []client.Message
	for _, m := range all {
		if seqErr == nil && m.Seq == seq && seq != 0 {
			return m, nil
		}
		if len(which) >= 4 && strings.HasPrefix(m.ID.String(), strings.ToLower(which)) {
			hits = append(hits, m)
		}
	}
	switch len(hits) {
	case 1:
		return hits[0], nil
	case 0:
		return client.Message{}, fail(exitFailed, "hubbub tail --since 0 --json shows ids and places", "no message %q on this device", which)
	}
	return client.Message{}, fail(exitUsage, "give more of the id", "%d messages begin with %q", len(hits), which)
}

func (c *cli) showMessage(m client.Message, d client.Delivery, unknown error) {
	style := term.StyleFor(c.out)
	fmt.Fprintf(c.out, "%s  %s: %s\n", style.Dim(m.ID.String()[:16]), m.Sender.Handle(), excerpt(bodyText(m)))
	line := func(mark, text string) { fmt.Fprintf(c.out, "  %s %s\n", mark, text) }
	switch m.State {
	case client.Posted:
		line(style.Good(markStored), fmt.Sprintf("posted by %s: Seq %d, %s", m.Room.Domain(), m.Seq, m.Timestamp.Local().Format(time.DateTime)))
	case client.Rejected:
		line(style.Bad(markNever), stateText(m))
	default:
		line(style.Warn(markWaiting), stateText(m))
		return
	}
	if t := remarks(m, time.Now()); t != "" {
		line(" ", t)
	}
	for _, v := range m.Versions {
		line(" ", fmt.Sprintf("%s  %s", v.Timestamp.Local().Format(time.DateTime), excerpt(v.Text)))
	}
	if len(m.Reactions) > 0 {
		line(" ", reactionsText(m.Reactions))
	}
	if len(m.Receipts) > 0 {
		line(" ", receiptsText(m.Receipts))
	}
	if unknown != nil {
		line(style.Warn(markUnknown), "what other providers have is unknown: "+unknown.Error())
		return
	}
	for _, p := range d.Providers {
		mark, text := deliveryLine(p, time.Now())
		line(mark, text)
	}
	if h := d.HubStatus; h != nil && !h.Reachable {
		line(style.Warn(markUnknown), string(h.Provider)+" does not answer: what it knows of the others is as old as it says")
	}
}

// Marks of how far a message has come. They are told apart without colour.
const (
	markStored  = "✓"
	markWaiting = "…"
	markUnknown = "?"
	markNever   = "✗"
)

// deliveryLine says how a message stands at one provider.
func deliveryLine(p client.ProviderDelivery, now time.Time) (mark, text string) {
	since := ""
	if old := now.Sub(p.AsOf); !p.AsOf.IsZero() && old > 2*time.Second {
		since = ", as of " + term.Duration(old) + " ago"
	}
	switch p.State {
	case client.Stored:
		return markStored, "stored by " + string(p.Provider) // what is stored stays: its age is no news
	case client.Waiting:
		return markWaiting, fmt.Sprintf("not yet at %s, which has the chat up to Seq %d%s", p.Provider, p.StoredTo, since)
	case client.NotForIt:
		return markNever, string(p.Provider) + " does not get it: it joined later or had left"
	}
	return markUnknown, string(p.Provider) + ": unknown"
}

// deliveryMarks is a message's way in a few characters: a mark per provider.
func deliveryMarks(d client.Delivery) string {
	var parts []string
	for _, p := range d.Providers {
		if p.State == client.NotForIt {
			continue
		}
		mark, _ := deliveryLine(p, time.Now())
		parts = append(parts, mark+" "+string(p.Provider))
	}
	return strings.Join(parts, "  ")
}

// pickRoom finds the chat a person means, in the device's own copy if the
// provider does not answer.
func (c *cli) pickRoom(ctx context.Context, cl *session, name string) (client.RoomInfo, error) {
	rooms, err := c.rooms(ctx, cl)
	if err != nil {
		return client.RoomInfo{}, err
	}
	return chooseRoom(cl, rooms, name)
}

// askTimeout is how long a verb waits for a provider that it can do without.
const askTimeout = 5 * time.Second

// rooms lists a user's chats as the provider holds them or, if it does not answer,
// from the device's own copy, which it says.
func (c *cli) rooms(ctx context.Context, cl *session) ([]client.RoomInfo, error) {
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	rooms, err := cl.Rooms(asking)
	if err == nil || ctx.Err() != nil || explain(err).code != exitUnreachable {
		return rooms, err
	}
	local, localErr := cl.LocalRooms(ctx)
	if localErr != nil {
		return nil, errors.Join(err, localErr)
	}
	if len(local) > 0 {
		c.progress("%s does not answer: this is the device's own copy%s", cl.User().Domain(), asOf(local[0].AsOf))
	}
	return local, nil
}

// asOf says how old a copy may be.
func asOf(at time.Time) string {
	if at.IsZero() {
		return ", of unknown age"
	}
	return fmt.Sprintf(" as of %s (%s ago)", at.Local().Format(time.DateTime), term.Duration(time.Since(at)))
}
