package main

import (
	"context"

	"github.com/spf13/cobra"

	"hubbub/cmd/hubbub/internal/bench"
)

// benchRun makes the run of a scenario's command.
func (c *cli) benchRun(cmd *cobra.Command, o *bench.Options, run func(context.Context) (printer, error)) *cobra.Command {
	prepare := c.benchOptions(cmd, o)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkClients(*o); err != nil {
			return err
		}
		if err := prepare(); err != nil {
			return err
		}
		r, err := run(cmd.Context())
		if err != nil {
			return err
		}
		return c.benchReport(r)
	}
	return cmd
}

func (c *cli) benchFanCmd() *cobra.Command {
	var o bench.FanOptions
	cmd := &cobra.Command{
		Use:   "fan",
		Short: "measure one post to a room with many users of c",
		Long: "Octets from the hub to c, time until the last connected user has the post, and processor time\n" +
			"of every provider, as the users of c become more. Up to 1,000 of them are connected.",
	}
	cmd.Flags().IntSliceVar(&o.Users, "users", []int{1, 10, 100, 1000}, "users of c in the room, ascending")
	cmd.Flags().IntVar(&o.Posts, "posts", 0, "posts per size (default 50, with --quick 20)")
	return c.benchRun(cmd, &o.Options, func(ctx context.Context) (printer, error) { return bench.Fan(ctx, o) })
}

func (c *cli) benchFetchCmd() *cobra.Command {
	var o bench.FetchOptions
	cmd := &cobra.Command{
		Use:   "fetch",
		Short: "measure how long a client takes to fetch what it missed",
		Long: "Clients of c go away, messages are posted, and the clients come back one after the other. Load\n" +
			"clients show the provider's part; SDK clients decrypt and store what they get.",
	}
	benchClients(cmd, &o.Options)
	cmd.Flags().IntVar(&o.Messages, "messages", 0, "messages missed (default 10000, with --quick 2000)")
	cmd.Flags().IntVar(&o.Rounds, "rounds", 0, "clients that come back (default 3)")
	return c.benchRun(cmd, &o.Options, func(ctx context.Context) (printer, error) { return bench.Fetch(ctx, o) })
}
