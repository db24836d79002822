package main

import (
	"github.com/spf13/cobra"
)

func (c *cli) debugCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "debug", Short: "look into what is on the wire"}
	return cmd
}
