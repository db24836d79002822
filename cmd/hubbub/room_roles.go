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

// roleNames names the roles of a room by their index, where the device knows them.
func roleNames(cl *session, r client.RoomInfo) map[uint32]string {
	names := map[uint32]string{}
	roles, err := cl.Roles(r.Room)
	if err != nil {
		return names // not in the group: numbers have to do
	}
	for _, role := range roles {
		names[role.Index] = role.Name
	}
	return names
}

func roleName(names map[uint32]string, role uint32) string {
	if n := names[role]; n != "" {
		return n
	}
	return fmt.Sprint(role)
}

// personVerb makes a verb that does something to each person named, on its own.
func (c *cli) personVerb(use, short string, do func(context.Context, *session, mimi.RoomURI, mimi.UserURI) error) *cobra.Command {
	return c.roomVerb(&cobra.Command{Use: use + " PERSON...", Short: short, Args: cobra.MinimumNArgs(1)},
		func(ctx context.Context, cl *session, r client.RoomInfo, args []string) error {
			users, err := handles(args)
			if err != nil {
				return err
			}
			var errs []error
			for _, u := range users {
				errs = append(errs, do(ctx, cl, r.Room, u))
			}
			return errors.Join(errs...)
		})
}

func (c *cli) roomBanCmd() *cobra.Command {
	return c.personVerb("ban", "take people out of a chat and keep them out",
		func(ctx context.Context, cl *session, room mimi.RoomURI, u mimi.UserURI) error {
			return cl.Ban(ctx, room, u)
		})
}

func (c *cli) roomUnbanCmd() *cobra.Command {
	return c.personVerb("unban", "let banned people back into a chat; their devices join with hubbub room join",
		func(ctx context.Context, cl *session, room mimi.RoomURI, u mimi.UserURI) error {
			return cl.Unban(ctx, room, u)
		})
}

func (c *cli) roomKickCmd() *cobra.Command {
	return c.personVerb("kick", "take the devices of people out of a chat; they stay listed and may join again",
		func(ctx context.Context, cl *session, room mimi.RoomURI, u mimi.UserURI) error {
			return cl.Kick(ctx, room, u)
		})
}

func (c *cli) roomRoleCmd() *cobra.Command {
	cmd := c.roomVerb(&cobra.Command{Use: "role [PERSON ROLE]", Short: "list the roles of a chat, or give somebody another", Args: cobra.MaximumNArgs(2)},
		func(ctx context.Context, cl *session, r client.RoomInfo, args []string) error {
			switch len(args) {
			case 0:
				return c.listRoles(cl, r.Room)
			case 1:
				return fail(exitUsage, "hubbub room role bob@b.localhost admin", "which role?")
			}
			users, err := handles(args[:1])
			if err != nil {
				return err
			}
			return cl.SetRole(ctx, r.Room, users[0], args[1])
		})
	return cmd
}

func (c *cli) roomRenameCmd() *cobra.Command {
	return c.roomVerb(&cobra.Command{Use: "rename NAME", Short: "give a chat another name", Args: cobra.ExactArgs(1)},
		func(ctx context.Context, cl *session, r client.RoomInfo, args []string) error {
			return cl.Rename(ctx, r.Room, args[0])
		})
}

// roleJSON is a role in the JSON output.
type roleJSON struct {
	Index       uint32   `json:"index"`
	Name        string   `json:"name"`
	Description string   `json:"description,omitempty"`
	Rights      []string `json:"rights"`
}

func (c *cli) listRoles(cl *session, room mimi.RoomURI) error {
	roles, err := cl.Roles(room)
	if err != nil {
		return err
	}
	if c.wantJSON() {
		out := []roleJSON{}
		for _, r := range roles {
			out = append(out, roleJSON{r.Index, r.Name, r.Description, append([]string{}, r.Rights...)})
		}
		return term.JSON(c.out, out)
	}
	var rows [][]string
	for _, r := range roles {
		rows = append(rows, []string{term.Printable(r.Name), fmt.Sprint(len(r.Rights)), term.Printable(r.Description)})
	}
	return term.Table(c.out, "", []string{"ROLE", "RIGHTS", "FOR"}, rows)
}

// roomJoinCmd lets a device in: into a chat its user is in, picked like everywhere, or
// into one that is named in full or by a link, as nobody has told the provider of it.
func (c *cli) roomJoinCmd() *cobra.Command {
	w := &whoami{}
	cmd := &cobra.Command{Use: "join [CHAT|LINK]", Short: "let a further device into a chat of its user, or the user into one by a link or that is open to them",
		Args: cobra.MaximumNArgs(1)}
	w.flags(cmd, true)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, cancel := withTimeout(cmd.Context())
		defer cancel()
		var named mimi.RoomURI
		var link mimi.JoinLink
		if len(args) > 0 {
			var err error
			if link, err = mimi.ParseJoinLink(args[0]); err != nil {
				named, err = mimi.ParseRoom(args[0])
			}
			if err != nil {
				return err
			}
		}
		cl, err := c.open(ctx, w)
		if err != nil {
			return err
		}
		defer cl.Close()
		if link.Room != "" {
			return cl.JoinByLink(ctx, link)
		}
		if named != "" {
			return cl.Join(ctx, named)
		}
		r, err := c.pickRoom(ctx, cl, w.room)
		if err != nil {
			return err
		}
		if !r.AsOf.IsZero() {
			return fail(exitUnreachable, hintRunning, "%s does not answer", cl.User().Domain())
		}
		return cl.Join(ctx, r.Room)
	}
	return cmd
}
