package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"hubbub/cmd/hubbub/internal/term"
	"hubbub/mimi"
)

func (c *cli) roomResyncCmd() *cobra.Command {
	o := &operator{}
	cmd := &cobra.Command{
		Use:   "resync ROOM",
		Short: "fetch what this provider's copy of a room lacks from the room's hub (for the operator)",
		Long: "Asks the hub for everything after the newest entry that is held here, verifies it against the hash chain\n" +
			"and the room's rules, and stores it. A copy that is gone is begun anew. It may be run at any time; what\n" +
			"breaks off goes on where it stopped. If the hub's log is another one, the room freezes with the evidence.",
		Args: cobra.ExactArgs(1),
	}
	o.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		uri, err := mimi.ParseRoom(args[0])
		if err != nil {
			return err
		}
		a, err := c.connect(o)
		if err != nil {
			return err
		}
		p, err := a.Resync(cmd.Context(), uri)
		if err != nil {
			return err
		}
		if c.wantJSON() {
			return term.JSON(c.out, p)
		}
		_, err = fmt.Fprintf(c.out, "the copy reaches entry %d, hash %s\n", p.Seq, p.Hash)
		return err
	}
	return cmd
}
