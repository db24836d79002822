package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"hubbub/client"
	"hubbub/cmd/hubbub/internal/term"
)

// roomWishesCmd shows or sets what keeps a device out of chats.
func (c *cli) roomWishesCmd() *cobra.Command {
	w := &whoami{}
	var want client.RoomWishes
	cmd := &cobra.Command{Use: "wishes", Short: "show or set what keeps this device out of chats: logging, bots, history shown to newcomers",
		Long: "Chats whose rules go against the wishes are not joined, and left again, by the user with all devices, when\n" +
			"somebody else brings this device in. Chats it is in already are not left: room show has their rules.",
		Example: "  hubbub room wishes --no-logging --no-bots=false", Args: cobra.NoArgs}
	w.flags(cmd, false)
	cmd.Flags().BoolVar(&want.NoLogging, "no-logging", false, "no chats whose messages are logged")
	cmd.Flags().BoolVar(&want.NoBots, "no-bots", false, "no chats that let in bots")
	cmd.Flags().BoolVar(&want.NoHistory, "no-history", false, "no chats in which newcomers are shown what was written before")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return c.withDevice(cmd, w, func(_ context.Context, cl *session) error {
			have := cl.RoomWishes()
			set := have
			for _, f := range []struct {
				name string
				from bool
				to   *bool
			}{{"no-logging", want.NoLogging, &set.NoLogging}, {"no-bots", want.NoBots, &set.NoBots}, {"no-history", want.NoHistory, &set.NoHistory}} {
				if cmd.Flags().Changed(f.name) {
					*f.to = f.from
				}
			}
			if set != have {
				if err := cl.SetRoomWishes(set); err != nil {
					return err
				}
			}
			if c.wantJSON() {
				return term.JSON(c.out, set)
			}
			say := map[bool]string{true: "stays out", false: "does not mind"}
			fmt.Fprintf(c.out, "logging: %s\nbots: %s\nhistory shown to newcomers: %s\n", say[set.NoLogging], say[set.NoBots], say[set.NoHistory])
			return nil
		})
	}
	return cmd
}
