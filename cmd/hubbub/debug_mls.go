package main

import "github.com/spf13/cobra"

// debugMLSCmds are the verbs that measure package mls against the outside.
func (c *cli) debugMLSCmds() []*cobra.Command {
	return []*cobra.Command{c.debugMLSVectorsCmd(), c.debugMLSPeerCmd()}
}
