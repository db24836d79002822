package main

import (
	"github.com/spf13/cobra"

	"hubbub/cmd/hubbub/internal/devenv"
	"hubbub/internal/provider"
	"hubbub/mimi"
)

// operator are the flags by which an operator's verb finds the provider.
type operator struct{ at, config, socket string }

func (o *operator) flags(cmd *cobra.Command) {
	cmd.PersistentFlags().StringVar(&o.at, "at", "", "provider of the dev environment, such as a.localhost")
	cmd.PersistentFlags().StringVar(&o.config, "config", "", "the provider's configuration file")
	cmd.PersistentFlags().StringVar(&o.socket, "socket", "", "the provider's admin_socket")
}

// connect finds the operator's connection.
func (c *cli) connect(o *operator) (*devenv.Admin, error) {
	switch {
	case o.socket != "":
		return devenv.NewAdmin(o.socket), nil
	case o.config != "":
		cfg, err := provider.Load(o.config)
		if err != nil {
			return nil, &failure{exitConfig, err, "it is the file that hubbub serve was given"}
		}
		return devenv.NewAdmin(cfg.AdminSocket), nil
	case o.at != "":
		return c.admin("", mimi.Domain(o.at))
	}
	return nil, fail(exitUsage, "--config FILE, --socket PATH, or --at a.localhost in a dev environment", "which provider do you operate?")
}
