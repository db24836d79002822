package client

import (
	"context"
	"errors"
	"time"

	"connectrpc.com/connect"

	"hubbub/client/clientpb"
	"hubbub/mimi"
)

// A ConsentState is what a [Consent] is.
type ConsentState uint8

// Requests are asked or answered, decisions granted or revoked.
const (
	ConsentAsked    ConsentState = ConsentState(clientpb.ConsentState_CONSENT_STATE_ASKED)
	ConsentAnswered ConsentState = ConsentState(clientpb.ConsentState_CONSENT_STATE_ANSWERED)
	ConsentGranted  ConsentState = ConsentState(clientpb.ConsentState_CONSENT_STATE_GRANTED)
	ConsentRevoked  ConsentState = ConsentState(clientpb.ConsentState_CONSENT_STATE_REVOKED)
)

// String names the state in one word.
func (s ConsentState) String() string {
	switch s {
	case ConsentAsked:
		return "asked"
	case ConsentAnswered:
		return "answered"
	case ConsentGranted:
		return "granted"
	case ConsentRevoked:
		return "revoked"
	}
	return "unknown"
}

// A Consent is a request by Requester, or a decision by Target, about whether
// Requester may bring Target into rooms (mimi-protocol-06, Convey explicit
// consent). Of all decisions that cover a room the latest counts.
type Consent struct {
	Requester, Target mimi.UserURI
	Room              mimi.RoomURI // "" = any room
	State             ConsentState
	At                time.Time // of the request or decision, by the own provider's clock
	Undelivered       bool      // the other provider has still to hear of it; it is told as soon as it answers
	Problem           string    // why it has not heard, or did not take it; "" = none is known
}

// RequestConsent asks a user for leave to bring it into a room or, if room is
// empty, into any. It is stored at the own provider when it returns. Nothing tells
// whether the user exists, sees the request or refuses; see [Client.Consents] for
// an answer. Repeats change nothing.
//
// Errors: an *[Error] ("not_found" if the provider says that there is no such
// user, "rate_limited"), ctx's.
func (c *Client) RequestConsent(ctx context.Context, target mimi.UserURI, room mimi.RoomURI) error {
	_, err := c.consents().RequestConsent(ctx, connect.NewRequest(&clientpb.RequestConsentRequest{Target: string(target), Room: string(room)}))
	return err
}

// CancelConsent takes a request back; room is that of the request. It never takes
// back what was granted, and has no effect without a request. Errors: an *[Error],
// ctx's.
func (c *Client) CancelConsent(ctx context.Context, target mimi.UserURI, room mimi.RoomURI) error {
	_, err := c.consents().CancelConsent(ctx, connect.NewRequest(&clientpb.CancelConsentRequest{Target: string(target), Room: string(room)}))
	return err
}

// GrantConsent lets a user bring this device's user into a room or, if room is
// empty, into any, whether or not it has asked. Errors: an *[Error], ctx's.
func (c *Client) GrantConsent(ctx context.Context, requester mimi.UserURI, room mimi.RoomURI) error {
	return c.decideConsent(ctx, requester, room, true)
}

// RevokeConsent forbids it, from now on and for whatever that user asks later in
// the same scope. It is also how a request is refused; who asked is not told.
// Errors: an *[Error], ctx's.
func (c *Client) RevokeConsent(ctx context.Context, requester mimi.UserURI, room mimi.RoomURI) error {
	return c.decideConsent(ctx, requester, room, false)
}

func (c *Client) decideConsent(ctx context.Context, requester mimi.UserURI, room mimi.RoomURI, grant bool) error {
	_, err := c.consents().DecideConsent(ctx, connect.NewRequest(&clientpb.DecideConsentRequest{
		Requester: string(requester), Room: string(room), Grant: grant}))
	return err
}

// Consents lists, oldest first, the requests and decisions of this device's user
// and those of others that concern it. Requests to it that it has decided on are
// not listed. Errors: an *[Error], ctx's.
func (c *Client) Consents(ctx context.Context) ([]Consent, error) {
	res, err := c.consents().ListConsents(ctx, connect.NewRequest(&clientpb.ListConsentsRequest{}))
	if err != nil {
		return nil, err
	}
	out := make([]Consent, 0, len(res.Msg.Consents))
	for _, p := range res.Msg.Consents {
		out = append(out, Consent{Requester: mimi.UserURI(p.Requester), Target: mimi.UserURI(p.Target), Room: mimi.RoomURI(p.Room),
			State: ConsentState(p.State), At: time.UnixMilli(int64(p.At)), Undelivered: p.Undelivered, Problem: p.Error})
	}
	return out, nil
}

// NeedsConsent says whether err, such as the Err of an [AddResult], means that a
// user has to consent before it can be added: [Client.RequestConsent] asks.
func NeedsConsent(err error) bool {
	var refusal *Error
	return errors.As(err, &refusal) && refusal.Reason == "consent_required"
}

func (c *Client) consents() clientpb.ConsentServiceClient {
	return clientpb.NewConsentServiceClient(c.t.calls, c.t.base.String(), connect.WithInterceptors(connect.UnaryInterceptorFunc(c.t.authorise)))
}
