package main

import (
	"bufio"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"hubbub/client/clientpb"
	"hubbub/cmd/hubbub/internal/term"
	"hubbub/mimi"
)

func (c *cli) roomThawCmd() *cobra.Command {
	o := &operator{}
	var yes bool
	cmd := &cobra.Command{
		Use:   "thaw ROOM",
		Short: "let a frozen room go on with the copy that is here (for the operator)",
		Long: "A room freezes when two versions of its history have been seen. Thawing it decides for the copy that\n" +
			"this provider holds. It says what that gives up and asks before it does anything.",
		Args: cobra.ExactArgs(1),
	}
	o.flags(cmd)
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, cancel := withTimeout(cmd.Context())
		defer cancel()
		uri, err := mimi.ParseRoom(args[0])
		if err != nil {
			return err
		}
		a, err := c.connect(o)
		if err != nil {
			return err
		}
		status, err := a.Status(ctx)
		if err != nil {
			return err
		}
		room := findRoom(status, uri)
		switch {
		case room == nil:
			return fail(exitFailed, "", "%s holds no room %s", status.GetDomain(), uri)
		case room.GetFrozen() == "":
			return fail(exitFailed, "", "the room is not frozen")
		}
		if !yes {
			if err := c.confirmThaw(status.GetDomain(), room); err != nil {
				return err
			}
		}
		head, err := a.ThawRoom(ctx, uri, room.GetFrozen())
		if err != nil {
			return err
		}
		return c.tell(map[string]any{"room": uri, "seq": head.GetSeq(), "hash": fmt.Sprintf("%x", head.GetHash())},
			"the room goes on after Seq %d", head.GetSeq())
	}
	return cmd
}

func findRoom(status *clientpb.StatusResponse, uri mimi.RoomURI) *clientpb.RoomStatus {
	for _, r := range status.GetRooms() {
		if r.GetRoom() == string(uri) {
			return r
		}
	}
	return nil
}

// confirmThaw says what thawing gives up and has the room's name typed.
func (c *cli) confirmThaw(domain string, r *clientpb.RoomStatus) error {
	c.progress("%s\n  frozen: %s\n  the copy here ends at Seq %d, hash %.8x", r.GetRoom(), term.Printable(r.GetFrozen()), r.GetHead().GetSeq(), r.GetHead().GetHash())
	if r.GetHub() == domain {
		c.progress("  We are the hub. The room goes on after Seq %d. Entries beyond it that followers may hold are given up:\n"+
			"  they stay with those followers, whose copies freeze. Compare first: hubbub room verify.", r.GetHead().GetSeq())
	} else {
		c.progress("  We follow %s. Our copy goes on after Seq %d with what the hub sends next. What the hub showed\n"+
			"  differently stays as evidence. If the hub still shows another history, the room freezes again.", r.GetHub(), r.GetHead().GetSeq())
	}
	return c.typed(r.GetRoom())
}

// typed has a room's name typed before something is done that gives something up.
func (c *cli) typed(room string) error {
	if !term.IsTerminal(c.in) {
		return fail(exitUsage, "say --yes to do it", "nobody is there to ask")
	}
	c.progress("Type the room's URI to go on:")
	line, err := bufio.NewReader(c.in).ReadString('\n')
	if err != nil && line == "" {
		return err
	}
	if strings.TrimSpace(line) != room {
		return fail(exitFailed, "", "not confirmed; nothing was done")
	}
	return nil
}
