package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"connectrpc.com/connect"

	"hubbub/client/clientpb"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// refuse makes the error a client sees. The detail says for programs what the
// text says for people.
func refuse(code connect.Code, reason clientpb.Reason, message, remedy string) *connect.Error {
	return withDetail(code, &clientpb.ErrorDetail{Reason: reason, Message: message, Remedy: remedy})
}

func withDetail(code connect.Code, d *clientpb.ErrorDetail) *connect.Error {
	err := connect.NewError(code, errors.New(d.Message))
	if detail, derr := connect.NewErrorDetail(d); derr == nil {
		err.AddDetail(detail)
	}
	return err
}

func malformed(format string, args ...any) *connect.Error {
	return refuse(connect.CodeInvalidArgument, clientpb.Reason_REASON_MALFORMED, fmt.Sprintf(format, args...), "")
}

func tooLarge(what string, limit int) *connect.Error {
	return refuse(connect.CodeInvalidArgument, clientpb.Reason_REASON_TOO_LARGE,
		fmt.Sprintf("%s is larger than %d octets", what, limit), "send less")
}

func tooMany(what string, limit int) *connect.Error {
	return refuse(connect.CodeInvalidArgument, clientpb.Reason_REASON_TOO_LARGE,
		fmt.Sprintf("more than %d %s in one call", limit, what), "split the call")
}

func wrongIdentity(message string) *connect.Error {
	return refuse(connect.CodePermissionDenied, clientpb.Reason_REASON_WRONG_IDENTITY, message, "act as the enrolled client only")
}

// noSuchRoom is the one answer for rooms that do not exist and rooms that are
// not the caller's.
func noSuchRoom() *connect.Error {
	return refuse(connect.CodeNotFound, clientpb.Reason_REASON_NOT_FOUND, "no such room",
		"list your rooms; a removed user sees no room any more")
}

// problemClass is how one HTTP-level refusal of a role or of another provider
// looks to a client.
type problemClass struct {
	code   connect.Code
	reason clientpb.Reason
	remedy string
}

var problemClasses = map[int]problemClass{
	http.StatusBadRequest:            {connect.CodeInvalidArgument, clientpb.Reason_REASON_MALFORMED, "update the client"},
	http.StatusUnauthorized:          {connect.CodeFailedPrecondition, clientpb.Reason_REASON_PEER_REFUSED, "the operators must check the providers' certificates"},
	http.StatusForbidden:             {connect.CodePermissionDenied, clientpb.Reason_REASON_WRONG_IDENTITY, "act as the enrolled client only"},
	http.StatusNotFound:              {connect.CodeNotFound, clientpb.Reason_REASON_NOT_FOUND, "check the name"},
	http.StatusConflict:              {connect.CodeAlreadyExists, clientpb.Reason_REASON_EXISTS, "choose another name"},
	http.StatusRequestEntityTooLarge: {connect.CodeInvalidArgument, clientpb.Reason_REASON_TOO_LARGE, "send less"},
	http.StatusMisdirectedRequest:    {connect.CodeFailedPrecondition, clientpb.Reason_REASON_NOT_HUB, "create the room at your own provider"},
	http.StatusUnprocessableEntity:   {connect.CodeFailedPrecondition, clientpb.Reason_REASON_POLICY_DENIED, ""},
	http.StatusLocked:                {connect.CodeFailedPrecondition, clientpb.Reason_REASON_ROOM_FROZEN, "the operators must look at the room"},
	http.StatusTooManyRequests:       {connect.CodeResourceExhausted, clientpb.Reason_REASON_RATE_LIMITED, "wait and try again"},
	http.StatusBadGateway:            {connect.CodeUnavailable, clientpb.Reason_REASON_PEER_UNREACHABLE, "try again later"},
	http.StatusServiceUnavailable:    {connect.CodeUnavailable, clientpb.Reason_REASON_UNAVAILABLE, "try again later"},
	http.StatusGatewayTimeout:        {connect.CodeUnavailable, clientpb.Reason_REASON_PEER_UNREACHABLE, "try again later"},
	http.StatusInsufficientStorage:   {connect.CodeResourceExhausted, clientpb.Reason_REASON_QUOTA, "tell the operator"},
}

// fromRole maps an error of a role or the store. at is the provider that a
// refusal comes from when it is not our own.
func (s *Server) fromRole(ctx context.Context, err error, at mimi.Domain) *connect.Error {
	var ce *connect.Error
	if errors.As(err, &ce) {
		return ce
	}
	d := &clientpb.ErrorDetail{Provider: string(at)}
	if d.Provider == "" {
		d.Provider = string(s.Domain)
	}
	code := connect.CodeInternal
	var p *mimi.Problem
	switch {
	case errors.As(err, &p):
		class, ok := problemClasses[p.Status]
		if !ok {
			class = problemClass{connect.CodeUnavailable, clientpb.Reason_REASON_UNAVAILABLE, "try again later"}
			if p.Status < 500 {
				class = problemClass{connect.CodeFailedPrecondition, clientpb.Reason_REASON_PEER_REFUSED, ""}
			}
		}
		if class.reason == clientpb.Reason_REASON_UNAVAILABLE && at != "" && at != s.Domain {
			class.reason = clientpb.Reason_REASON_PEER_UNREACHABLE
		}
		code, d.Reason, d.Remedy = class.code, class.reason, class.remedy
		d.Message, d.RetryAfterMs = p.Detail, uint64(p.RetryAfter.Milliseconds())
		if d.Message == "" {
			d.Message = p.Code
		}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		code, d.Reason, d.Message, d.Remedy = connect.CodeUnavailable, clientpb.Reason_REASON_UNAVAILABLE, "the call took too long", "try again"
	case errors.Is(err, store.ErrFull):
		code, d.Reason, d.Message, d.Remedy = connect.CodeResourceExhausted, clientpb.Reason_REASON_QUOTA, "the provider has no space left", "tell the operator"
	default:
		s.Log.ErrorContext(ctx, "call failed", "error", err)
		d.Reason, d.Message, d.Remedy = clientpb.Reason_REASON_INTERNAL, "the provider made a mistake", "try again; tell the operator if it stays"
	}
	return withDetail(code, d)
}

// detailOf gives the detail inside an error made here.
func detailOf(err *connect.Error) *clientpb.ErrorDetail {
	for _, d := range err.Details() {
		if v, verr := d.Value(); verr == nil {
			if detail, ok := v.(*clientpb.ErrorDetail); ok {
				return detail
			}
		}
	}
	return &clientpb.ErrorDetail{Reason: clientpb.Reason_REASON_INTERNAL, Message: err.Message()}
}
