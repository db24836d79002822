package main

import (
	"github.com/spf13/cobra"

	"hubbub/internal/mlspeer"
)

func (c *cli) debugMLSPeerCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "mls-peer",
		Short: "drive MLS clients by JSON lines on standard input",
		Long: "Answers requests on standard input, one JSON object a line, on standard output. It is\n" +
			"a test instrument to play groups with other MLS implementations: it accepts every\n" +
			"credential and stores nothing. {\"id\":1,\"cmd\":\"info\"} lists the commands.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return mlspeer.New("hubbub", readBuild().Version).Run(c.in, c.out)
		},
	}
}
