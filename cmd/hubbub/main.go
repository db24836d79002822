// Command hubbub is the whole of Hubbub in one program: a messaging provider
// (serve), a federation of several on one machine to try it out (dev), a client
// for the terminal (chat, send, tail, room) and the tools around them.
//
// Each verb has its own file. Exit codes: 0 ok, 1 failed, 2 usage, 3 invalid
// configuration, 4 not reachable, 5 denied.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	if len(os.Args) > 1 && (os.Args[1] == "serve" || os.Args[1] == "bench") {
		widenTimers()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A reader that went away makes a write fail; it does not end the process
	// before it has cleaned up.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	code := run(ctx, stop, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
