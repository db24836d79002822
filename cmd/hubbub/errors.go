package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"connectrpc.com/connect"

	"hubbub/client"
	"hubbub/cmd/hubbub/internal/devenv"
	"hubbub/cmd/hubbub/internal/term"
	"hubbub/mimi"
)

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitConfig      = 3
	exitUnreachable = 4
	exitDenied      = 5
)

// failure is an error with what a person can do about it.
type failure struct {
	code  int
	cause error
	hint  string
}

func (f *failure) Error() string { return f.cause.Error() }
func (f *failure) Unwrap() error { return f.cause }

// fail makes an error with an exit code and a remedy.
func fail(code int, hint, format string, args ...any) error {
	return &failure{code, fmt.Errorf(format, args...), hint}
}

func usage(err error) error {
	return &failure{exitUsage, err, "hubbub help shows the verbs, hubbub VERB --help what one takes"}
}

// report prints an error as one line of cause and one of remedy, and returns
// the exit code.
func (c *cli) report(err error) int {
	if errors.Is(err, syscall.EPIPE) {
		return exitFailed // nobody is left to be told
	}
	f := explain(err)
	style := term.StyleFor(c.err)
	if f.cause != nil && f.cause.Error() != "" {
		cause := strings.ReplaceAll(strings.TrimSpace(f.cause.Error()), "\n", "\n  ")
		fmt.Fprintf(c.err, "%s %s\n", style.Bad("error:"), cause)
	}
	if f.hint != "" {
		fmt.Fprintf(c.err, "%s %s\n", style.Warn("hint:"), f.hint)
	}
	return f.code
}

// hintRunning is the remedy when nobody answers.
const hintRunning = "is the provider running? In a dev environment: hubbub dev status"

// known are the errors with a remedy of their own.
var known = []struct {
	is   error
	code int
	hint string
}{
	{devenv.ErrRunning, exitFailed, "use it (hubbub room list --as bob@b.localhost), end it with Ctrl-C in its terminal, or choose another --dir"},
	{devenv.ErrKept, exitFailed, "remove that directory, or choose another --dir"},
	{devenv.ErrForeign, exitUsage, "choose an empty or new directory with --dir"},
	{devenv.ErrNone, exitUnreachable, "start one with hubbub dev, or name its directory with --dir"},
	{devenv.ErrState, exitFailed, "hubbub dev status shows what runs"},
	{client.ErrLocked, exitFailed, "use another device with --device NAME; in a dev environment a new name is enrolled by itself"},
	{client.ErrNotEnrolled, exitFailed, "make the device first: hubbub user enrol"},
	{client.ErrEnrolled, exitFailed, "choose another --device or --state"},
	{client.ErrNotMember, exitDenied, "hubbub room list shows where this device may write; hubbub room join enters with a further device"},
	{client.ErrBadArgument, exitUsage, ""},
	{client.ErrUnknownRoom, exitFailed, "hubbub room list shows the chats of this user"},
	{client.ErrDenied, exitDenied, "hubbub room show tells who has which role, hubbub room role what roles there are"},
	{client.ErrDeclined, exitDenied, "hubbub room wishes shows and changes what this device stays out of"},
	{client.ErrRejected, exitDenied, "hubbub room show tells who is in the chat and with which role"},
	{client.ErrSuspicious, exitFailed, "tell the provider's operator; once it is settled there, hubbub room join goes on"},
	{client.ErrBusy, exitFailed, "try again"},
	{client.ErrSearchAmbiguous, exitFailed, "a part must have at least three characters"},
	{client.ErrSearchForbidden, exitDenied, "search for a whole value, such as handle=bob@b.localhost"},
	{client.ErrSearchField, exitFailed, "the fields are those of OpenID Connect (given_name) and vCard (ORG)"},
	{mimi.ErrBadURI, exitUsage, "users are written bob@b.localhost, chats mimi://a.localhost/r/ID or by their name"},
	{context.DeadlineExceeded, exitUnreachable, hintRunning},
}

// reasons maps what a provider says to an exit code.
var reasons = map[string]int{
	"unauthenticated": exitDenied, "policy_denied": exitDenied, "wrong_identity": exitDenied,
	"consent_required": exitDenied, "code_refused": exitDenied, "peer_blocked": exitDenied,
	"peer_unreachable": exitUnreachable, "unavailable": exitUnreachable,
}

// explain finds exit code and remedy for an error.
func explain(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	var ce *client.Error
	if errors.As(err, &ce) && !errors.Is(err, client.ErrRejected) {
		code, ok := reasons[ce.Reason]
		if !ok {
			code = exitFailed
		}
		hint := ce.Remedy
		if hint == "" && code == exitUnreachable {
			hint = hintRunning
		}
		return &failure{code, err, hint}
	}
	var refusal *devenv.Refusal
	if errors.As(err, &refusal) {
		return &failure{exitFailed, err, refusal.Remedy}
	}
	for _, k := range known {
		if errors.Is(err, k.is) {
			return &failure{k.code, err, k.hint}
		}
	}
	if unreachable(err) {
		return &failure{exitUnreachable, err, hintRunning}
	}
	return &failure{exitFailed, err, ""}
}

func unreachable(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) || connect.CodeOf(err) == connect.CodeUnavailable
}
