package main

import (
	"context"
	"errors"

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
		if err := c.benchReport(r); err != nil {
			return err
		}
		if v, ok := r.(interface{ Verdict() error }); ok {
			return v.Verdict()
		}
		return nil
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

func (c *cli) benchCatchUpCmd() *cobra.Command {
	var o bench.CatchUpOptions
	cmd := &cobra.Command{
		Use:   "catchup",
		Short: "measure how long a provider takes that was down",
		Long: "c is down while the hub takes posts; the clock runs until c's head is the hub's, Seq and hash.\n" +
			"Peak memory of both is told as well.",
	}
	cmd.Flags().IntVar(&o.Entries, "entries", 0, "posts that c missed (default 100000, with --quick 10000)")
	return c.benchRun(cmd, &o.Options, func(ctx context.Context) (printer, error) { return bench.CatchUp(ctx, o) })
}

func (c *cli) benchIdleCmd() *cobra.Command {
	var o bench.IdleOptions
	cmd := &cobra.Command{Use: "idle", Short: "measure the memory of clients that are connected and do nothing"}
	cmd.Flags().IntVar(&o.Connected, "clients", 0, "clients of c (default 5000, with --quick 500)")
	cmd.Flags().DurationVar(&o.Settle, "settle", 0, "pause before memory is read (default 20s)")
	return c.benchRun(cmd, &o.Options, func(ctx context.Context) (printer, error) { return bench.Idle(ctx, o) })
}

func (c *cli) benchCrashCmd() *cobra.Command {
	var o bench.CrashOptions
	cmd := &cobra.Command{
		Use:   "crash",
		Short: "kill the hub while a client posts, and count",
		Long: "SIGKILL to the hub when half of the posts are due, and a new start while b goes on posting. Fails\n" +
			"unless every post is received exactly once and in order. Then the hub is killed for good, and\n" +
			"all of them must be readable at c.",
	}
	cmd.Flags().IntVar(&o.Posts, "posts", 0, "posts (default 5000, with --quick 1000)")
	cmd.Flags().Float64Var(&o.Rate, "rate", 0, "posts per second (default 500)")
	cmd.Flags().DurationVar(&o.Down, "down", 0, "how long the hub is away (default 3s)")
	return c.benchRun(cmd, &o.Options, func(ctx context.Context) (printer, error) { return bench.Crash(ctx, o) })
}

func (c *cli) benchSoakCmd() *cobra.Command {
	var o bench.SoakOptions
	cmd := &cobra.Command{
		Use:   "soak",
		Short: "a mixed load for a long time: does anything grow without end?",
		Long: "Posts on schedule in several rooms while members come and go and connections are cut. Fails if a\n" +
			"post is lost or heap, resident memory, goroutines, write-ahead log or file descriptors of a\n" +
			"provider reach no plateau: the median of the last third of the run (its first tenth left out)\n" +
			"may exceed that of the middle third by a tenth and a small constant.",
	}
	cmd.Flags().Float64Var(&o.Minutes, "minutes", 0, "length (default 10, with --quick 1)")
	cmd.Flags().Float64Var(&o.Rate, "rate", 0, "posts per second over all rooms (default 200)")
	cmd.Flags().IntVar(&o.Rooms, "rooms", 0, "rooms; each must take some 5,000 posts in the first third, for caches to fill (default 4)")
	cmd.Flags().StringVar(&o.Memory, "memory-limit", "", "GOMEMLIMIT of every provider (default 96MiB)")
	return c.benchRun(cmd, &o.Options, func(ctx context.Context) (printer, error) { return bench.Soak(ctx, o) })
}

func (c *cli) benchCompareCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "compare A.json B.json",
		Short: "ratios of the figures of two runs of one scenario",
		Args:  cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, files []string) error {
			r, err := bench.Compare(files[0], files[1])
			if errors.Is(err, bench.ErrCompare) {
				return fail(exitUsage, "give two reports that the same hubbub bench … --json wrote", "%v", err)
			}
			if err != nil {
				return err
			}
			return c.benchReport(r)
		},
	}
}
