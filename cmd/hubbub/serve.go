package main

import (
	"github.com/spf13/cobra"
)

func (c *cli) serveCmd() *cobra.Command {
	var config string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "run a provider",
		Args:  cobra.NoArgs,
	}
	cmd.Flags().StringVar(&config, "config", "", "configuration file (TOML)")
	cmd.MarkFlagRequired("config")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return nil }
	return cmd
}
