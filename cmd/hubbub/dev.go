package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"hubbub/cmd/hubbub/internal/devenv"
	"hubbub/cmd/hubbub/internal/story"
	"hubbub/cmd/hubbub/internal/term"
)

// devFlags are the flags of hubbub dev.
type devFlags struct {
	exit, keep bool
	providers  int
}

func (c *cli) devCmd() *cobra.Command {
	f := &devFlags{}
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "run several providers on this machine and play a story with real clients",
		Long: "Starts providers a.localhost, b.localhost, … as processes of their own, each with its own data,\n" +
			"plays a story with real clients, checks what must hold, and stays up until Ctrl-C, so that you\n" +
			"can take part from other terminals. Exit status 0 only if every comparison held.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.dev(cmd.Context(), f) },
	}
	cmd.Flags().BoolVar(&f.exit, "exit", false, "stop after the story")
	cmd.Flags().BoolVar(&f.keep, "keep", false, "leave the directory behind")
	cmd.Flags().IntVar(&f.providers, "providers", 3, "how many providers, 2 to 5")
	cmd.AddCommand(c.devActionCmd(devenv.ActionStart, "start a provider of the running environment"),
		c.devActionCmd(devenv.ActionStop, "stop a provider in good order (SIGTERM)"),
		c.devActionCmd(devenv.ActionKill, "kill a provider at once (SIGKILL)"),
		c.devStatusCmd())
	return cmd
}

// errStory says that the story did not hold; the transcript has told why.
var errStory = errors.New("the story did not hold")

func (c *cli) dev(ctx context.Context, f *devFlags) error {
	if f.providers < devenv.MinProviders || f.providers > devenv.MaxProviders {
		return fail(exitUsage, "--providers takes 2 to 5", "%d providers are too few or too many", f.providers)
	}
	dir, err := c.placeFor(f)
	if err != nil {
		return err
	}
	env, err := devenv.New(devenv.Options{Dir: dir, Providers: f.providers, Keep: f.keep})
	if err != nil {
		return err
	}
	err = c.devIn(ctx, env, f)
	if f.keep {
		c.progress("kept: %s", env.Dir)
	}
	return errors.Join(err, env.Close())
}

// placeFor chooses the directory. A run that ends by itself needs no place where
// other terminals find it, and so never meets another one.
func (c *cli) placeFor(f *devFlags) (string, error) {
	if c.dir != "" || !f.exit || f.keep {
		return c.devDir(), nil
	}
	return os.MkdirTemp("", "hubbub-dev-")
}

func (c *cli) devIn(ctx context.Context, env *devenv.Env, f *devFlags) error {
	var watch story.Watch
	tr := story.NewTranscript(c.out)
	if c.json {
		watch.Begin = func(n int, name, _ string) { c.progress("%2d  %s", n, name) }
	} else {
		fmt.Fprintf(c.out, "hubbub dev: %d providers under %s\n", len(env.Providers), env.Dir)
		watch.End = tr.Step
	}
	report := story.Play(ctx, env, watch)
	if ctx.Err() != nil {
		c.release()
		return fail(exitFailed, "", "interrupted before the story was over")
	}
	if c.json {
		if err := term.JSON(c.out, report); err != nil {
			return err
		}
	} else {
		tr.End(report)
	}
	if !f.exit {
		if !c.json {
			c.invite(env, f.keep)
		}
		<-ctx.Done()
		c.release()
		c.progress("ending %d providers", len(env.Providers))
	}
	if !report.OK {
		return errStory
	}
	return nil
}

// invite prints the commands with which a person takes part.
func (c *cli) invite(env *devenv.Env, keep bool) {
	style := term.StyleFor(c.out)
	me := selfCommand()
	suffix := ""
	if env.Dir != devenv.DefaultDir() {
		suffix = " --dir " + env.Dir
	}
	fmt.Fprintf(c.out, "\nThe providers stay up. From other terminals:\n\n")
	var rows [][]string
	for _, line := range []struct{ cmd, what string }{
		{"chat --as bob@b.localhost --room Lunch", "take part as Bob"},
		{"chat --as alice@a.localhost --room Lunch", "and as Alice"},
		{"send --as bob@b.localhost --room Lunch Hello", "post one message"},
		{"tail --as alice@a.localhost --device tablet --jsonl", "a new device prints what happens"},
		{"room list --as bob@b.localhost", "Bob's chats"},
		{"room show --as bob@b.localhost --room Lunch", "one of them"},
		{"room history --as alice@a.localhost --room Lunch", "who added and removed whom"},
		{"dev kill a", "kill the hub; then post as Bob"},
		{"dev start a", "and let it come back"},
		{"dev status", "what runs"},
	} {
		rows = append(rows, []string{fmt.Sprintf("%s %s%s", me, line.cmd, suffix), style.Dim("# " + line.what)})
	}
	term.Table(c.out, "  ", rows[0], rows[1:])
	if keep {
		fmt.Fprintf(c.out, "\nCtrl-C ends everything and keeps %s.\n", env.Dir)
		return
	}
	fmt.Fprintf(c.out, "\nCtrl-C ends everything and removes %s.\n", env.Dir)
}

// selfCommand is how this program was called. A binary of `go run` lies in a
// directory that is gone afterwards.
func selfCommand() string {
	exe, err := os.Executable()
	if err != nil || strings.Contains(exe, string(filepath.Separator)+"go-build") {
		return "go run ./cmd/hubbub"
	}
	return os.Args[0]
}

func (c *cli) devActionCmd(action devenv.Action, short string) *cobra.Command {
	return &cobra.Command{
		Use:   string(action) + " NAME",
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := withTimeout(cmd.Context())
			defer cancel()
			states, err := devenv.Control(ctx, c.devDir(), action, args[0])
			if err != nil {
				return err
			}
			return c.tellStates(states)
		},
	}
}

func (c *cli) devStatusCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "show the providers of the running environment",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := withTimeout(cmd.Context())
			defer cancel()
			states, err := devenv.Control(ctx, c.devDir(), devenv.ActionStatus, "")
			if err != nil {
				return err
			}
			return c.tellStates(states)
		},
	}
}

func (c *cli) tellStates(states []devenv.State) error {
	if c.wantJSON() {
		return term.JSON(c.out, states)
	}
	var rows [][]string
	for _, s := range states {
		state := "stopped"
		if s.Running {
			state = fmt.Sprintf("running, process %d", s.PID)
		}
		rows = append(rows, []string{s.Name, s.Domain, state, s.API})
	}
	return term.Table(c.out, "", []string{"NAME", "DOMAIN", "STATE", "CLIENTS AT"}, rows)
}
