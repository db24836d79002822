package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"hubbub/internal/provider"
	"hubbub/internal/store"
)

func (c *cli) serveCmd() *cobra.Command {
	var config string
	var measure measuring
	cmd := &cobra.Command{
		Use:   "serve --config FILE",
		Short: "run a provider until SIGTERM or Ctrl-C",
		Args:  cobra.NoArgs,
	}
	cmd.Flags().StringVar(&config, "config", "", "configuration file (TOML)")
	measure.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if config == "" {
			return fail(exitUsage, "name it with --config FILE", "a provider needs a configuration file")
		}
		stop, err := measure.start()
		if err != nil {
			return err
		}
		defer stop()
		return c.serve(cmd.Context(), config)
	}
	return cmd
}

func (c *cli) serve(ctx context.Context, file string) error {
	cfg, err := provider.Load(file)
	if err != nil {
		return &failure{exitConfig, err, "docs/develop.md names the keys; hubbub dev --keep leaves working files to start from"}
	}
	p, err := provider.New(cfg, cfg.Log.NewLogger(c.err))
	switch {
	case errors.Is(err, provider.ErrConfig):
		return &failure{exitConfig, err, "correct " + file}
	case errors.Is(err, store.ErrLocked):
		return &failure{exitFailed, err, "two processes must never share a data directory"}
	case err != nil:
		return err
	}
	go giveBackMemory(ctx)
	return p.Run(ctx)
}
