package main

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"hubbub/internal/provider"
)

func (c *cli) backupCmd() *cobra.Command {
	o := &operator{}
	cmd := &cobra.Command{
		Use:   "backup DIR",
		Short: "copy everything a running provider stores into a directory (for the operator)",
		Long: "The provider writes the copy itself, while it goes on serving: the database as it stands at one moment, the\n" +
			"keys that were made in the data directory, attachments and the file of heads. DIR must not exist or be empty.\n" +
			"It ends with manifest.json, which says what is in it: a directory without one is no backup. What lies outside\n" +
			"of the data directory (the configuration, certificates, the identity CA) is not in it.\n\n" +
			"Whoever has the copy can sign as this provider. Keep it as safe as the data directory.",
		Args: cobra.ExactArgs(1),
	}
	o.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		dir, err := filepath.Abs(args[0])
		if err != nil {
			return err
		}
		a, err := c.connect(o)
		if err != nil {
			return err
		}
		done, err := a.Backup(cmd.Context(), dir)
		if err != nil {
			return err
		}
		made := time.UnixMilli(int64(done.GetMade()))
		return c.tell(map[string]any{"directory": dir, "files": done.GetFiles(), "bytes": done.GetBytes(), "made": made},
			"%d files, %d octets, as of %s, in %s", done.GetFiles(), done.GetBytes(), made.Format(time.DateTime), dir)
	}
	return cmd
}

func (c *cli) restoreCmd() *cobra.Command {
	var config string
	cmd := &cobra.Command{
		Use:   "restore DIR --config FILE",
		Short: "put a backup into the data directory of a provider that is stopped",
		Long: "Checks every file of the backup, puts it where --config says, and checks the data as hubbub fsck does. There\n" +
			"must be no database there. What else is there stays, such as newer attachments and a newer file of heads.\n\n" +
			"The next start takes no write to a chat that is hosted here until the other providers of the chat have said\n" +
			"what they hold, and fetches from them what the backup lacks.",
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&config, "config", "", "configuration file of the provider")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if config == "" {
			return fail(exitUsage, "name it with --config FILE", "where to restore to is said by a configuration file")
		}
		cfg, err := provider.Load(config)
		if err != nil {
			return &failure{exitConfig, err, "correct " + config}
		}
		return c.restore(cmd.Context(), cfg, args[0])
	}
	return cmd
}

func (c *cli) restore(ctx context.Context, cfg provider.Config, dir string) error {
	m, err := provider.Restore(ctx, cfg, dir)
	if errors.Is(err, provider.ErrBackup) {
		return &failure{exitUsage, err, "hubbub backup makes one"}
	}
	if err != nil {
		return stopped(err)
	}
	c.progress("%d files as of %s are in %s; checking them", len(m.Files), m.Made.Local().Format(time.DateTime), cfg.DataDir)
	if err := c.fsck(ctx, cfg); err != nil {
		return err
	}
	c.progress("start the provider: it hears first what the other providers of its chats hold")
	return nil
}
