package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hubbub/client"
	"hubbub/cmd/hubbub/internal/term"
)

// messageVerb makes a verb that does something about one message and says how far
// what it sent has come.
func (c *cli) messageVerb(cmd *cobra.Command, do func(ctx context.Context, cl *session, m client.Message, words []string) (client.Message, error)) *cobra.Command {
	w := &whoami{}
	var wait time.Duration
	w.flags(cmd, false)
	cmd.Flags().DurationVar(&wait, "wait", 5*time.Second, "how long to wait for the hub's answer")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cl, err := c.open(cmd.Context(), w)
		if err != nil {
			return err
		}
		defer cl.Close()
		room, err := c.roomToSendTo(cmd.Context(), cl, args[0])
		if err != nil {
			return err
		}
		m, err := findMessage(cmd.Context(), cl, room, args[1])
		if err != nil {
			return err
		}
		if m, err = do(cmd.Context(), cl, m, args[2:]); err != nil {
			return err
		}
		if m, err = waitFor(cmd.Context(), cl, m, wait); err != nil {
			return err
		}
		return c.tellSent(m)
	}
	return cmd
}

func (c *cli) messageReplyCmd() *cobra.Command {
	return c.messageVerb(&cobra.Command{Use: "reply CHAT ID|SEQ TEXT...", Short: "answer a message", Args: cobra.MinimumNArgs(3)},
		func(ctx context.Context, cl *session, m client.Message, words []string) (client.Message, error) {
			return cl.Post(ctx, m.Room, client.Draft{Text: strings.Join(words, " "), ReplyTo: m.ID})
		})
}

func (c *cli) messageEditCmd() *cobra.Command {
	return c.messageVerb(&cobra.Command{Use: "edit CHAT ID|SEQ TEXT...", Short: "replace the text of an own message", Args: cobra.MinimumNArgs(3)},
		func(ctx context.Context, cl *session, m client.Message, words []string) (client.Message, error) {
			return cl.Edit(ctx, m.Room, m.ID, client.Draft{Text: strings.Join(words, " ")})
		})
}

func (c *cli) messageDeleteCmd() *cobra.Command {
	return c.messageVerb(&cobra.Command{Use: "delete CHAT ID|SEQ", Short: "take back an own message, or one of others where the chat's rules allow it",
		Long: "The text goes from every device whose program honours it. Nobody can be made to forget.", Args: cobra.ExactArgs(2)},
		func(ctx context.Context, cl *session, m client.Message, _ []string) (client.Message, error) {
			return cl.Delete(ctx, m.Room, m.ID)
		})
}

func (c *cli) messageReactCmd() *cobra.Command {
	var remove bool
	cmd := c.messageVerb(&cobra.Command{Use: "react CHAT ID|SEQ EMOJI", Short: "react to a message, or take the reaction back", Args: cobra.ExactArgs(3)},
		func(ctx context.Context, cl *session, m client.Message, words []string) (client.Message, error) {
			if remove {
				return cl.Unreact(ctx, m.Room, m.ID, words[0])
			}
			return cl.React(ctx, m.Room, m.ID, words[0])
		})
	cmd.Flags().BoolVar(&remove, "remove", false, "take the reaction back")
	return cmd
}

func (c *cli) messageReadCmd() *cobra.Command {
	w := &whoami{}
	cmd := &cobra.Command{Use: "read CHAT [ID|SEQ]", Short: "mark a chat as read, up to a message",
		Long: "Others learn of it only where hubbub message receipts or the rules of the chat say so.\n" +
			"Messages that vanish after they were read begin to do so.", Args: cobra.RangeArgs(1, 2)}
	w.flags(cmd, false)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.withDevice(cmd, w, func(ctx context.Context, cl *session) error {
			r, err := c.pickRoom(ctx, cl, args[0])
			if err != nil {
				return err
			}
			seq := r.Pos.Seq
			if len(args) == 2 {
				m, err := findMessage(ctx, cl, r.Room, args[1])
				if err != nil {
					return err
				}
				seq = m.Seq
			}
			return cl.MarkRead(ctx, r.Room, seq)
		})
	}
	return cmd
}

func (c *cli) messageReceiptsCmd() *cobra.Command {
	w := &whoami{}
	var want client.ReceiptSettings
	cmd := &cobra.Command{Use: "receipts", Short: "show or set what this device tells others: delivered, read",
		Long: "Nothing is told at first. Where the rules of a chat require or forbid it, that holds instead.\n" +
			"Each report is a message of its own in the chat's log.",
		Example: "  hubbub message receipts --read --delivered=false", Args: cobra.NoArgs}
	w.flags(cmd, false)
	cmd.Flags().BoolVar(&want.Delivered, "delivered", false, "tell others that this device has their messages")
	cmd.Flags().BoolVar(&want.Read, "read", false, "tell others what was read")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cl, err := c.open(cmd.Context(), w)
		if err != nil {
			return err
		}
		defer cl.Close()
		have := cl.Receipts()
		set := have
		if cmd.Flags().Changed("delivered") {
			set.Delivered = want.Delivered
		}
		if cmd.Flags().Changed("read") {
			set.Read = want.Read
		}
		if set != have {
			if err := cl.SetReceipts(set); err != nil {
				return err
			}
		}
		if c.wantJSON() {
			return term.JSON(c.out, set)
		}
		fmt.Fprintf(c.out, "delivered: %s\nread: %s\n", told(set.Delivered), told(set.Read))
		return nil
	}
	return cmd
}

func told(yes bool) string {
	if yes {
		return "others are told"
	}
	return "others are not told"
}
