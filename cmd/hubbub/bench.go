package main

import (
	"os"

	"github.com/spf13/cobra"

	"hubbub/cmd/hubbub/internal/bench"
	"hubbub/cmd/hubbub/internal/term"
)

func (c *cli) benchCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "bench", Short: "measurements on this machine"}
	cmd.AddCommand(c.benchPostCmd())
	return cmd
}

func (c *cli) benchPostCmd() *cobra.Command {
	var quick bool
	cmd := &cobra.Command{
		Use:   "post",
		Short: "measure posts from a client at b through the hub a to a client at c",
		Long: "Starts three providers as hubbub dev does and measures latency, one post at a time, and\n" +
			"throughput, pipelined, in one room and in 50. Everything is durable wherever it passes.",
		Args: cobra.NoArgs,
	}
	cmd.Flags().BoolVar(&quick, "quick", false, "end within 45 seconds")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		dir := c.dir
		if dir == "" {
			var err error
			if dir, err = os.MkdirTemp("", "hubbub-bench-"); err != nil {
				return err
			}
		}
		r, err := bench.Post(cmd.Context(), bench.Options{Dir: dir, Quick: quick, Progress: c.progress})
		if err != nil {
			return err
		}
		if c.wantJSON() {
			return term.JSON(c.out, r)
		}
		return r.Print(c.out)
	}
	return cmd
}
