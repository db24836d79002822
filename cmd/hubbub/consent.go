package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"hubbub/client"
	"hubbub/cmd/hubbub/internal/term"
	"hubbub/mimi"
)

func (c *cli) consentCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "consent", Short: "who may bring whom into chats: ask, see who asks, decide",
		Long: "Where a provider wants it, people of other providers must agree before they can be added to a chat.\n" +
			"Ask with request. Whoever is asked sees it in list and answers with grant, or refuses with revoke: who asked is not told.\n" +
			"With --room all of this is about one chat, without it about any. The latest word that covers a chat counts."}
	cmd.AddCommand(c.consentListCmd(),
		c.consentVerb("request", "ask people for leave to bring them into chats", (*client.Client).RequestConsent),
		c.consentVerb("cancel", "take back what was asked", (*client.Client).CancelConsent),
		c.consentVerb("grant", "let people bring you into chats", (*client.Client).GrantConsent),
		c.consentVerb("revoke", "forbid it, also for later requests", (*client.Client).RevokeConsent))
	return cmd
}

// consentVerb makes a verb that does one thing with each of several people.
func (c *cli) consentVerb(name, short string, do func(*client.Client, context.Context, mimi.UserURI, mimi.RoomURI) error) *cobra.Command {
	w := &whoami{}
	var mutual bool
	cmd := &cobra.Command{Use: name + " PERSON...", Short: short, Args: cobra.MinimumNArgs(1)}
	w.flags(cmd, false)
	cmd.Flags().StringVar(&w.room, "room", "", "for this chat only: its URI, or the name of one you are in")
	if name == "request" {
		cmd.Flags().BoolVar(&mutual, "mutual", false, "let them bring you into chats as well")
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, cancel := withTimeout(cmd.Context())
		defer cancel()
		people, err := handles(args)
		if err != nil {
			return err
		}
		cl, err := c.open(ctx, w)
		if err != nil {
			return err
		}
		defer cl.Close()
		room, err := c.scopeRoom(ctx, cl, w.room)
		if err != nil {
			return err
		}
		var errs []error
		for _, p := range people {
			err := do(cl.Client, ctx, p, room)
			if err == nil && mutual {
				err = cl.GrantConsent(ctx, p, room)
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", p.Handle(), err))
			}
		}
		return errors.Join(errs...)
	}
	return cmd
}

// scopeRoom finds the chat that a decision is about; none is any.
func (c *cli) scopeRoom(ctx context.Context, cl *session, name string) (mimi.RoomURI, error) {
	if name == "" {
		return "", nil
	}
	if room, err := mimi.ParseRoom(name); err == nil {
		return room, nil
	}
	r, err := c.pickRoom(ctx, cl, name)
	return r.Room, err
}

// consentJSON is a request or decision in the JSON output.
type consentJSON struct {
	Requester   mimi.UserURI `json:"requester"`
	Target      mimi.UserURI `json:"target"`
	Room        mimi.RoomURI `json:"room,omitempty"` // absent: any
	State       string       `json:"state"`
	TimeMS      int64        `json:"time_ms"`
	Undelivered bool         `json:"undelivered,omitempty"`
	Problem     string       `json:"problem,omitempty"`
}

func (c *cli) consentListCmd() *cobra.Command {
	w := &whoami{}
	cmd := &cobra.Command{Use: "list", Short: "show what you are asked, what you asked and what was decided", Args: cobra.NoArgs}
	w.flags(cmd, false)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return c.withDevice(cmd, w, func(ctx context.Context, cl *session) error {
			list, err := cl.Consents(ctx)
			if err != nil {
				return err
			}
			if c.wantJSON() {
				out := []consentJSON{}
				for _, x := range list {
					out = append(out, consentJSON{x.Requester, x.Target, x.Room, x.State.String(), x.At.UnixMilli(), x.Undelivered, x.Problem})
				}
				return term.JSON(c.out, out)
			}
			var rows [][]string
			for _, x := range list {
				scope := "any chat"
				if x.Room != "" {
					scope = string(x.Room)
				}
				rows = append(rows, []string{x.At.Local().Format("2006-01-02 15:04"), consentText(x, cl.User()), scope, waiting(x)})
			}
			return term.Table(c.out, "", []string{"WHEN", "WHAT", "FOR", "DELIVERY"}, rows)
		})
	}
	return cmd
}

// consentText tells a request or decision from one person's side.
func consentText(x client.Consent, me mimi.UserURI) string {
	them := x.Requester.Handle()
	if x.Requester == me {
		them = x.Target.Handle()
	}
	mine := x.Requester == me
	switch {
	case x.State == client.ConsentAsked && mine:
		return "you asked " + them
	case x.State == client.ConsentAsked:
		return them + " asks you"
	case x.State == client.ConsentAnswered:
		return "you asked " + them + ", who agreed"
	case x.State == client.ConsentGranted && mine:
		return them + " lets you"
	case x.State == client.ConsentGranted:
		return "you let " + them
	case mine:
		return them + " does not let you"
	}
	return "you do not let " + them
}

func waiting(x client.Consent) string {
	switch {
	case x.Undelivered && x.Problem != "":
		return "waits: " + term.Printable(x.Problem)
	case x.Undelivered:
		return "waits"
	}
	return term.Printable(x.Problem)
}
