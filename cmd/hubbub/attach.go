package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"hubbub/cmd/hubbub/internal/term"
	"hubbub/mimi"
	"hubbub/mimi/content"
)

// attach uploads files for a message of a chat.
func (c *cli) attach(ctx context.Context, cl *session, room mimi.RoomURI, files []string) (parts []*content.ExternalPart, err error) {
	for _, file := range files {
		p, err := cl.AttachFile(ctx, room, file)
		if err != nil {
			return nil, fmt.Errorf("attaching %s: %w", file, err)
		}
		c.progress("uploaded %s, %d octets, encrypted", term.Printable(filepath.Base(file)), p.Size)
		parts = append(parts, p)
	}
	return parts, nil
}

// savedJSON is what message save prints.
type savedJSON struct {
	Files []string `json:"files"`
}

func (c *cli) messageSaveCmd() *cobra.Command {
	w := &whoami{}
	cmd := &cobra.Command{
		Use:   "save CHAT ID|SEQ [DIR]",
		Short: "fetch the attachments of a message, decrypt and check them, and save them",
		Long: "Saves to DIR, or to the current directory, under the names the sender gave, made safe.\n" +
			"A file that is there already is not replaced.",
		Args: cobra.RangeArgs(2, 3),
	}
	w.flags(cmd, false)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cl, err := c.open(cmd.Context(), w)
		if err != nil {
			return err
		}
		defer cl.Close()
		_, m, err := c.pickMessage(cmd.Context(), cl, args[0], args[1])
		if err != nil {
			return err
		}
		if len(m.Attachments) == 0 {
			return fail(exitUsage, "hubbub tail shows which messages have attachments", "this message has no attachment")
		}
		dir := "."
		if len(args) == 3 {
			dir = args[2]
		}
		out := savedJSON{}
		for _, a := range m.Attachments {
			file, err := cl.SaveAttachment(cmd.Context(), m, a, dir)
			if err != nil {
				return err
			}
			out.Files = append(out.Files, file)
		}
		if c.wantJSON() {
			return term.JSON(c.out, out)
		}
		for _, file := range out.Files {
			fmt.Fprintln(c.out, "saved", term.Printable(file))
		}
		return nil
	}
	return cmd
}
