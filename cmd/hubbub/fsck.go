package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"hubbub/cmd/hubbub/internal/term"
	"hubbub/internal/provider"
	"hubbub/internal/store"
	"hubbub/mimi"
)

func (c *cli) fsckCmd() *cobra.Command {
	var config, accept string
	cmd := &cobra.Command{
		Use:   "fsck DATA_DIR | --config FILE",
		Short: "check the data of a provider that is stopped",
		Long: "Goes through every log again, from its first entry: the hash chain, the room's rules, and everything that\n" +
			"follows from the log (history, participants, members, epoch, group), compared with what is stored. Names the\n" +
			"first wrong entry of each room. Exit code 0: all is well; 1: something is wrong.\n\n" +
			"With --config it also applies the rules of rooms, for which it needs the roots of credentials.",
		Args: cobra.MaximumNArgs(1),
	}
	cmd.Flags().StringVar(&config, "config", "", "configuration file of the provider")
	cmd.Flags().StringVar(&accept, "accept-loss", "", "take what the database holds of this chat (URI) for all there is")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := fsckConfig(config, args)
		if err != nil {
			return err
		}
		if accept != "" {
			return stopped(c.acceptLoss(cmd.Context(), cfg, accept))
		}
		return stopped(c.fsck(cmd.Context(), cfg))
	}
	return cmd
}

func fsckConfig(file string, args []string) (provider.Config, error) {
	switch {
	case file != "" && len(args) == 0:
		cfg, err := provider.Load(file)
		if err != nil {
			return cfg, &failure{exitConfig, err, "correct " + file}
		}
		return cfg, nil
	case file == "" && len(args) == 1:
		return provider.ConfigOf(args[0]), nil
	}
	return provider.Config{}, fail(exitUsage, "hubbub fsck --config FILE, or hubbub fsck DATA_DIR", "say whose data to check, in one way")
}

// stopped adds a remedy to what keeps fsck from looking.
func stopped(err error) error {
	switch {
	case errors.Is(err, store.ErrLocked):
		return &failure{exitFailed, err, "stop the provider first; in a dev environment: hubbub dev stop NAME"}
	case errors.Is(err, provider.ErrNoData):
		return &failure{exitUsage, err, "name the directory that holds hubbub.db"}
	}
	return err
}

func (c *cli) fsck(ctx context.Context, cfg provider.Config) error {
	r, err := provider.Fsck(ctx, cfg)
	if err != nil {
		return err
	}
	if c.wantJSON() {
		if err := term.JSON(c.out, r); err != nil {
			return err
		}
	} else {
		for _, f := range r.Findings {
			fmt.Fprintln(c.out, term.Printable(f.String()))
		}
		for _, s := range r.Skipped {
			fmt.Fprintln(c.out, "not checked:", term.Printable(s))
		}
		fmt.Fprintf(c.out, "%d chats, %d entries, %d findings\n", r.Rooms, r.Entries, len(r.Findings))
	}
	if len(r.Findings) == 0 {
		return nil
	}
	return fail(exitFailed, "put back the newest good copy; a chat of another provider can be fetched again from its hub",
		"the data in %s is damaged", cfg.DataDir)
}

func (c *cli) acceptLoss(ctx context.Context, cfg provider.Config, room string) error {
	uri, err := mimi.ParseRoom(room)
	if err != nil {
		return err
	}
	lost, err := provider.AcceptLoss(ctx, cfg, uri)
	if err != nil {
		return err
	}
	if lost == nil {
		return fail(exitFailed, "hubbub fsck tells which chats lost something", "nothing of %s is lost", uri)
	}
	if c.wantJSON() {
		return term.JSON(c.out, map[string]any{"room": uri, "accepted": true, "have": lost.Have.Seq, "lost_up_to": lost.Want.Seq})
	}
	fmt.Fprintf(c.out, "accepted as lost: %s\n", lost)
	return nil
}
