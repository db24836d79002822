package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"hubbub/client"
	"hubbub/cmd/hubbub/internal/term"
)

func (c *cli) roomLinkCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "link", Short: "links by which people of any provider join a chat"}
	cmd.AddCommand(c.linkCreateCmd(), c.linkListCmd(), c.linkRevokeCmd())
	return cmd
}

func (c *cli) linkCreateCmd() *cobra.Command {
	var once, several bool
	var expires time.Duration
	cmd := c.roomVerb(&cobra.Command{Use: "create", Short: "make a link; it is shown this once, and whoever has it can join", Args: cobra.NoArgs},
		func(ctx context.Context, cl *session, r client.RoomInfo, _ []string) error {
			if several {
				if p, err := cl.Policy(r.Room); err == nil && p.JoinLinks != nil && !p.JoinLinks.MultiUser {
					return fail(exitDenied, "make one for each of them", "links of this chat let in one person each")
				}
			}
			link, err := cl.CreateLink(ctx, r.Room, client.LinkOptions{Once: once, Expires: expires})
			if err != nil {
				return err
			}
			if c.wantJSON() {
				return term.JSON(c.out, map[string]any{"room": r.Room, "link": link.Text()})
			}
			fmt.Fprintln(c.out, link.Text())
			c.progress("whoever has it joins with: hubbub room join LINK")
			return nil
		})
	cmd.Flags().BoolVar(&once, "once", false, "let in one person")
	cmd.Flags().BoolVar(&several, "multiuser", false, "let in several people, as links do where the chat allows it")
	cmd.Flags().DurationVar(&expires, "expires", 0, "for how long it is good, such as 24h (default: as long as the chat allows)")
	cmd.MarkFlagsMutuallyExclusive("once", "multiuser")
	return cmd
}

// linkJSON is a join link in the JSON output.
type linkJSON struct {
	ID        string `json:"id"`
	Once      bool   `json:"once"`
	ExpiresMS int64  `json:"expires_ms,omitempty"` // absent: made by another program, and good as long as the room's rules say
	Foreign   bool   `json:"foreign,omitempty"`    // made by another program
}

func (c *cli) linkListCmd() *cobra.Command {
	return c.roomVerb(&cobra.Command{Use: "list", Short: "list the links of a chat, without their codes", Args: cobra.NoArgs},
		func(_ context.Context, cl *session, r client.RoomInfo, _ []string) error {
			links, err := cl.Links(r.Room)
			if err != nil {
				return err
			}
			out := []linkJSON{}
			var rows [][]string
			for _, l := range links {
				j := linkJSON{ID: l.ID, Once: l.Once, Foreign: l.Foreign}
				lets, until := "several people", "as the chat's rules say"
				if l.Once {
					lets = "one person"
				}
				if !l.Expires.IsZero() {
					j.ExpiresMS, until = l.Expires.UnixMilli(), l.Expires.Local().Format(time.DateTime)
					if !time.Now().Before(l.Expires) {
						until = "expired"
					}
				}
				out, rows = append(out, j), append(rows, []string{l.ID, lets, until})
			}
			if c.wantJSON() {
				return term.JSON(c.out, out)
			}
			return term.Table(c.out, "", []string{"LINK", "LETS IN", "GOOD UNTIL"}, rows)
		})
}

func (c *cli) linkRevokeCmd() *cobra.Command {
	return c.roomVerb(&cobra.Command{Use: "revoke LINK...", Short: "take links back, by what room link list calls them or as they were given out", Args: cobra.MinimumNArgs(1)},
		func(ctx context.Context, cl *session, r client.RoomInfo, args []string) error {
			return cl.RevokeLinks(ctx, r.Room, args...)
		})
}
