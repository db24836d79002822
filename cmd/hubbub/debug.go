package main

import (
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"hubbub/cmd/hubbub/internal/dump"
	"hubbub/cmd/hubbub/internal/term"
)

// maxDecodeBytes bounds what debug decode reads.
const maxDecodeBytes = 16 << 20

func (c *cli) debugCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "debug", Short: "look into what is on the wire"}
	cmd.AddCommand(c.debugDecodeCmd(), c.debugContentCmd())
	cmd.AddCommand(c.debugMLSCmds()...)
	return cmd
}

func (c *cli) debugDecodeCmd() *cobra.Command {
	var as string
	cmd := &cobra.Command{
		Use:   "decode FILE | -",
		Short: "print an MLS or MIMI object (raw, hexadecimal or base64)",
		Long:  "Prints an MLS or MIMI object. Kinds: " + strings.Join(dump.Kinds(), " "),
		Args:  cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&as, "as", "", "what it is, instead of trying everything")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if as != "" && !slices.Contains(dump.Kinds(), as) {
			return fail(exitUsage, "kinds: "+strings.Join(dump.Kinds(), " "), "there is no kind %q", as)
		}
		input, err := c.readInput(args[0])
		if err != nil {
			return err
		}
		d, err := dump.Decode(dump.Bytes(input), as)
		if err != nil {
			return err
		}
		if c.json {
			return term.JSON(c.out, d)
		}
		return dump.Print(c.out, d)
	}
	return cmd
}

// readInput reads a file, or standard input for "-".
func (c *cli) readInput(name string) ([]byte, error) {
	r := c.in
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		r = f
	}
	b, err := io.ReadAll(io.LimitReader(r, maxDecodeBytes+1))
	if err == nil && len(b) > maxDecodeBytes {
		return nil, fail(exitUsage, "cut it down to the object in question", "more than %d bytes", maxDecodeBytes)
	}
	return b, err
}
