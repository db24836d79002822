package main

import (
	"bufio"
	"io"
	"os"
	"strings"
)

// maxSecretBytes bounds what is read as a secret.
const maxSecretBytes = 4096

// readSecret reads one line from a file, or from standard input for "-".
// Secrets are never taken from the command line: other users can see it.
func (c *cli) readSecret(file string) (string, error) {
	var r io.Reader
	switch file {
	case "":
		return "", fail(exitUsage, "write it to a file and name that with --code-file, or pipe it in with --code-file -", "the one-time code is missing")
	case "-":
		r = c.in
	default:
		f, err := os.Open(file)
		if err != nil {
			return "", err
		}
		defer f.Close()
		r = f
	}
	line, err := bufio.NewReader(io.LimitReader(r, maxSecretBytes)).ReadString('\n')
	if err != nil && err != io.EOF {
		return "", err
	}
	return strings.TrimSpace(line), nil
}
