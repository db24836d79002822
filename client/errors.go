package client

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"connectrpc.com/connect"

	"hubbub/client/clientpb"
	"hubbub/mimi"
)

// Errors that callers act on.
var (
	// ErrLocked: another process has this device open; the text names it.
	ErrLocked = errors.New("client: device is in use")
	// ErrNotEnrolled: the directory holds no device.
	ErrNotEnrolled = errors.New("client: directory holds no enrolled device")
	// ErrEnrolled: the directory already holds a device.
	ErrEnrolled = errors.New("client: directory already holds a device")
	// ErrClosed: the Client was closed.
	ErrClosed = errors.New("client: closed")
	// ErrBadArgument: an argument has no valid form.
	ErrBadArgument = errors.New("client: bad argument")
	// ErrUnknownRoom: this device has no such room. Providers say the same of
	// rooms that exist but are not the caller's.
	ErrUnknownRoom = errors.New("client: unknown room")
	// ErrNotMember: this device is not, or no longer, in the room's group.
	ErrNotMember = errors.New("client: not a member of the room")
	// ErrUnknownMessage: no message with that ID on this device.
	ErrUnknownMessage = errors.New("client: unknown message")
	// ErrNotParticipant: the user is not in the room's participant list.
	ErrNotParticipant = errors.New("client: not in the room")
	// ErrDenied: the room's policy does not allow it; the text says who may not do
	// what and why. Nothing was sent.
	ErrDenied = errors.New("client: not allowed in this room")
	// ErrRejected: the room's hub refused the operation for good.
	ErrRejected = errors.New("client: refused by the hub")
	// ErrSuspicious: the device no longer trusts its copy of the room.
	ErrSuspicious = errors.New("client: room is not consistent")
	// ErrBusy: other members changed the room faster than this device could
	// rebuild its change; nothing was done.
	ErrBusy = errors.New("client: room changed too often meanwhile")
)

// Error is a refusal by a provider.
type Error struct {
	// Reason is the class, for programs: the name of a Reason of the client
	// API in lower case without prefix, such as "stale_epoch",
	// "no_key_packages" or "peer_unreachable".
	Reason     string
	Provider   mimi.Domain // who is at fault; empty if it is nobody's provider
	Message    string      // what went wrong, one line
	Remedy     string      // what helps, one line; may be empty
	RetryAfter time.Duration
	cause      error
}

// Error gives provider and message in one line.
func (e *Error) Error() string {
	if e.Provider == "" {
		return fmt.Sprintf("%s (%s)", e.Message, e.Reason)
	}
	return fmt.Sprintf("%s: %s (%s)", e.Provider, e.Message, e.Reason)
}

// Unwrap gives the transport's error.
func (e *Error) Unwrap() error { return e.cause }

// Is makes errors.Is(err, ErrUnknownRoom) hold for a provider's answer.
func (e *Error) Is(target error) bool {
	return target == ErrUnknownRoom && e.Reason == "not_found"
}

// fromConnect turns a transport error into *Error where the provider said why.
func fromConnect(err error) error {
	var ce *connect.Error
	if err == nil || !errors.As(err, &ce) {
		return err
	}
	for _, d := range ce.Details() {
		v, derr := d.Value()
		if detail, ok := v.(*clientpb.ErrorDetail); derr == nil && ok {
			e := fromDetail(detail)
			e.cause = err
			return e
		}
	}
	return &Error{Reason: ce.Code().String(), Message: ce.Message(), cause: err}
}

func fromDetail(d *clientpb.ErrorDetail) *Error {
	return &Error{
		Reason:     strings.ToLower(strings.TrimPrefix(d.GetReason().String(), "REASON_")),
		Provider:   mimi.Domain(d.GetProvider()),
		Message:    d.GetMessage(),
		Remedy:     d.GetRemedy(),
		RetryAfter: time.Duration(d.GetRetryAfterMs()) * time.Millisecond,
	}
}
