package main

import (
	"context"
	"io"
	"os"

	"github.com/spf13/cobra"

	"hubbub/cmd/hubbub/internal/bench"
	"hubbub/cmd/hubbub/internal/term"
)

func (c *cli) benchCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "bench", Short: "measurements on this machine"}
	cmd.AddCommand(c.benchPostCmd(), c.benchFanCmd(), c.benchFetchCmd(), c.benchCatchUpCmd(), c.benchIdleCmd(),
		c.benchCrashCmd(), c.benchSoakCmd(), c.benchCompareCmd())
	return cmd
}

// printer is a report.
type printer interface{ Print(w io.Writer) error }

// benchReport prints a report as tables, or with --json for a program.
func (c *cli) benchReport(r printer) error {
	if c.json {
		return term.JSON(c.out, r)
	}
	return r.Print(c.out)
}

// benchOptions adds the flags that all scenarios have; what it returns fills in
// the rest once they are parsed.
func (c *cli) benchOptions(cmd *cobra.Command, o *bench.Options) func() error {
	cmd.Args = cobra.NoArgs
	cmd.Flags().BoolVar(&o.Quick, "quick", false, "a smaller run, for a first look")
	cmd.Flags().StringVar(&o.Profiles, "cpuprofile", "", "write CPU profiles of all processes to this directory")
	return func() (err error) {
		o.Progress = c.progress
		if o.Dir = c.dir; o.Dir == "" {
			o.Dir, err = os.MkdirTemp("", "hubbub-bench-")
		}
		return err
	}
}

func benchClients(cmd *cobra.Command, o *bench.Options) {
	cmd.Flags().StringVar(&o.Clients, "clients", bench.ClientsLoad, "load: clients that keep nothing on disk; sdk: those of package client")
}

func checkClients(o bench.Options) error {
	if o.Clients != "" && o.Clients != bench.ClientsLoad && o.Clients != bench.ClientsSDK {
		return fail(exitUsage, "use load or sdk", "there are no %q clients", o.Clients)
	}
	return nil
}

func (c *cli) benchPostCmd() *cobra.Command {
	var o bench.PostOptions
	cmd := &cobra.Command{
		Use:   "post",
		Short: "measure posts from a client at b through the hub a to a client at c",
		Long: "Starts three providers as hubbub dev does and measures latency, one post at a time, and\n" +
			"throughput, pipelined, in one room and in many. Everything is durable wherever it passes.\n" +
			"With --rate posts go out on schedule whatever the answers, and latency counts from when\n" +
			"each was due.",
	}
	benchClients(cmd, &o.Options)
	cmd.Flags().IntVar(&o.Rooms, "rooms", 0, "rooms, senders and receivers of the last part (default 50)")
	cmd.Flags().IntVar(&o.Posts, "posts", 0, "posts of each pipelined part (default 20000, with --quick 5000)")
	cmd.Flags().IntVar(&o.Window, "window", 0, "posts of one sender under way at once (default 1024)")
	cmd.Flags().Float64Var(&o.Rate, "rate", 0, "posts per second of the pipelined parts (default as fast as the window lets)")
	cmd.Flags().StringVar(&o.Only, "only", "", "one part: single, one or many")
	return c.benchRun(cmd, &o.Options, func(ctx context.Context) (printer, error) {
		switch o.Only {
		case "", bench.OnlySingle, bench.OnlyOne, bench.OnlyMany:
		default:
			return nil, fail(exitUsage, "use single, one or many", "there is no part %q", o.Only)
		}
		if o.Rooms < 0 || o.Posts < 0 || o.Window < 0 || o.Rate < 0 {
			return nil, fail(exitUsage, "", "numbers must not be negative")
		}
		return bench.Post(ctx, o)
	})
}
