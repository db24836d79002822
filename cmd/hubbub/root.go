package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"hubbub/cmd/hubbub/internal/devenv"
	"hubbub/cmd/hubbub/internal/term"
)

// cli is what every verb needs to know of the terminal it runs in.
type cli struct {
	in       io.Reader
	out, err io.Writer
	// release gives Ctrl-C back to the kernel: the next one ends the process
	// at once.
	release func()

	json bool
	dir  string // directory of the dev environment
	ran  bool   // the arguments were fine and a verb has begun
}

// run is main without the process: it returns the exit code.
func run(ctx context.Context, release func(), args []string, in io.Reader, out, errw io.Writer) int {
	c := &cli{in: in, out: out, err: errw, release: release}
	root := c.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if !c.ran {
		err = usage(err)
	}
	return c.report(err)
}

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "hubbub",
		Short: "messaging between providers: end-to-end encrypted, replicated, one source of truth",
		Long: "Hubbub lets users of different providers share end-to-end encrypted chats.\n" +
			"Every provider holds a replica; the provider where a chat was created, its hub, decides.\n\n" +
			"Start with: hubbub dev",
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRun: func(*cobra.Command, []string) {
			c.ran = true
		},
	}
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.err)
	root.CompletionOptions.HiddenDefaultCmd = true
	root.PersistentFlags().BoolVar(&c.json, "json", false, "print JSON; most verbs do so by themselves where nobody watches")
	root.PersistentFlags().StringVar(&c.dir, "dir", "", "directory of the dev environment (default "+devenv.DefaultDir()+")")
	root.AddCommand(c.serveCmd(), c.devCmd(), c.chatCmd(), c.sendCmd(), c.tailCmd(), c.roomCmd(),
		c.userCmd(), c.consentCmd(), c.findCmd(), c.profileCmd(), c.peerCmd(), c.reportCmd(), c.messageCmd(), c.fsckCmd(), c.backupCmd(), c.restoreCmd(), c.benchCmd(), c.conformanceCmd(), c.debugCmd(), c.versionCmd())
	return root
}

// devDir is the directory of the dev environment.
func (c *cli) devDir() string {
	if c.dir != "" {
		return c.dir
	}
	return devenv.DefaultDir()
}

// wantJSON says whether the output is for a program.
func (c *cli) wantJSON() bool { return c.json || !term.IsTerminal(c.out) }

// progress tells a person what is going on, on stderr.
func (c *cli) progress(format string, args ...any) {
	fmt.Fprintf(c.err, format+"\n", args...)
}
