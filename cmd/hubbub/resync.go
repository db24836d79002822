package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"hubbub/client/clientpb"
	"hubbub/cmd/hubbub/internal/devenv"
	"hubbub/cmd/hubbub/internal/term"
	"hubbub/mimi"
)

func (c *cli) roomResyncCmd() *cobra.Command {
	o := &operator{}
	var r replacing
	cmd := &cobra.Command{
		Use:   "resync ROOM [--replace --reason TEXT]",
		Short: "fetch what this provider's copy of a room lacks from the room's hub (for the operator)",
		Long: "Asks the hub for everything after the newest entry that is held here, verifies it against the hash chain\n" +
			"and the room's rules, and stores it. A copy that is gone is begun anew. It may be run at any time; what\n" +
			"breaks off goes on where it stopped. If the hub's log is another one, the room freezes with the evidence.\n\n" +
			"With --replace a frozen copy is given up for the hub's log. It says where the two part and asks first. The\n" +
			"old copy and all evidence are kept under another name, which hubbub fsck checks and hubbub room verify lists.",
		Args: cobra.ExactArgs(1),
	}
	o.flags(cmd)
	cmd.Flags().BoolVar(&r.replace, "replace", false, "take the hub's log in place of a frozen copy")
	cmd.Flags().StringVar(&r.reason, "reason", "", "why it is replaced, for those who look at it later")
	cmd.Flags().BoolVar(&r.yes, "yes", false, "do not ask")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		uri, err := mimi.ParseRoom(args[0])
		if err != nil {
			return err
		}
		if r.replace && r.reason == "" {
			return fail(exitUsage, "--reason \"the hub was restored from a backup\", for example", "a copy is not replaced without a reason")
		}
		a, err := c.connect(o)
		if err != nil {
			return err
		}
		if r.replace {
			return c.replaceCopy(cmd.Context(), a, uri, r)
		}
		p, err := a.Resync(cmd.Context(), uri)
		if err != nil {
			return err
		}
		return c.tell(map[string]any{"room": p.Room, "seq": p.Seq, "hash": p.Hash}, "the copy reaches entry %d, hash %s", p.Seq, p.Hash)
	}
	return cmd
}

// replacing are the flags of a resync that gives a frozen copy up.
type replacing struct {
	replace, yes bool
	reason       string
}

func (c *cli) replaceCopy(ctx context.Context, a *devenv.Admin, uri mimi.RoomURI, r replacing) error {
	seen, err := a.CompareRoom(ctx, uri)
	if err != nil {
		return err
	}
	if !r.yes {
		if err := c.confirmReplace(uri, seen); err != nil {
			return err
		}
	}
	done, err := a.ReplaceRoom(ctx, uri, seen.GetFrozen(), r.reason)
	if err != nil {
		return err
	}
	report := map[string]any{"room": uri, "former": done.GetFormer(), "agreed": done.GetAgreed().GetSeq(), "seq": done.GetHead().GetSeq(),
		"hash": fmt.Sprintf("%x", done.GetHead().GetHash()), "devices": append([]string{}, done.GetClients()...)}
	if why := done.GetUnfinished(); why != "" {
		report["unfinished"] = why
		c.progress("the old copy is kept as %s; the new one is not complete yet: %s\n"+
			"what is missing comes by itself, or with: hubbub room resync %s", done.GetFormer(), term.Printable(why), uri)
	}
	return c.tell(report, "the copy follows the hub's log and reaches entry %d\nthe old one is kept as %s\n"+
		"%d devices here have read in the old one; those that have read beyond entry %d are told, and go on with hubbub room join",
		done.GetHead().GetSeq(), done.GetFormer(), len(done.GetClients()), done.GetAgreed().GetSeq())
}

// confirmReplace says what is given up and has the room's name typed.
func (c *cli) confirmReplace(uri mimi.RoomURI, seen *clientpb.CompareRoomResponse) error {
	here, agreed := seen.GetHere(), seen.GetAgreed().GetSeq()
	c.progress("%s\n  frozen: %s\n  the copy here ends at entry %d, hash %.8x", uri, term.Printable(seen.GetFrozen()), here.GetSeq(), here.GetHash())
	if there := seen.GetThere(); there != nil {
		c.progress("  the hub's log ends at entry %d, hash %.8x", there.GetSeq(), there.GetHash())
	}
	switch {
	case agreed == here.GetSeq():
		c.progress("  The hub's log has everything that is here.")
	case agreed > 0:
		c.progress("  Both have the entries up to %d. Those from %d to %d are given up: they stay as evidence, under another\n"+
			"  name. Devices that have read them are told so, and have to join the chat again.", agreed, agreed+1, here.GetSeq())
	default:
		c.progress("  Nothing of what is here is known to be in the hub's log. All of it is given up: it stays as evidence, under\n" +
			"  another name. Devices that have read it are told so, and have to join the chat again.")
	}
	return c.typed(string(uri))
}
