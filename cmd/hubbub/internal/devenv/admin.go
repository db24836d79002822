package devenv

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"

	"connectrpc.com/connect"

	"hubbub/client/clientpb"
	"hubbub/mimi"
)

// Admin is an operator's connection to a provider, over its Unix socket. Safe
// for concurrent use.
type Admin struct {
	http *http.Client
	rpc  clientpb.AdminServiceClient
}

// NewAdmin talks to the provider behind that socket; nothing is dialled yet.
func NewAdmin(socket string) *Admin {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
		DisableKeepAlives: true,
	}
	c := &http.Client{Transport: transport}
	return &Admin{http: c, rpc: clientpb.NewAdminServiceClient(c, "http://admin")}
}

// Refusal is a provider's no to its operator.
type Refusal struct {
	Reason  string // class, in lower case, such as "exists"
	Message string
	Remedy  string // may be empty
	cause   error
}

func (r *Refusal) Error() string { return r.Message }

// Unwrap gives the transport's error.
func (r *Refusal) Unwrap() error { return r.cause }

// refusal turns a transport error into a Refusal where the provider said why.
func refusal(err error) error {
	var ce *connect.Error
	if !errors.As(err, &ce) {
		return err
	}
	for _, d := range ce.Details() {
		v, derr := d.Value()
		if detail, ok := v.(*clientpb.ErrorDetail); derr == nil && ok {
			reason := strings.ToLower(strings.TrimPrefix(detail.GetReason().String(), "REASON_"))
			return &Refusal{reason, detail.GetMessage(), detail.GetRemedy(), err}
		}
	}
	return err
}

// Ready asks whether the provider answers.
func (a *Admin) Ready(ctx context.Context) error {
	_, err := a.Status(ctx)
	return err
}

// Status asks for rooms, followers and the outbox.
func (a *Admin) Status(ctx context.Context) (*clientpb.StatusResponse, error) {
	r, err := a.rpc.Status(ctx, connect.NewRequest(&clientpb.StatusRequest{}))
	if err != nil {
		return nil, refusal(err)
	}
	return r.Msg, nil
}

// AddUser makes a local user.
func (a *Admin) AddUser(ctx context.Context, user mimi.UserURI) error {
	_, err := a.rpc.AddUser(ctx, connect.NewRequest(&clientpb.AddUserRequest{User: string(user)}))
	return refusal(err)
}

// ListUsers lists the local users with their clients.
func (a *Admin) ListUsers(ctx context.Context) ([]*clientpb.User, error) {
	r, err := a.rpc.ListUsers(ctx, connect.NewRequest(&clientpb.ListUsersRequest{}))
	if err != nil {
		return nil, refusal(err)
	}
	return r.Msg.GetUsers(), nil
}

// Code makes a one-time code for one more client of a user.
func (a *Admin) Code(ctx context.Context, user mimi.UserURI) (*clientpb.CreateEnrolmentCodeResponse, error) {
	r, err := a.rpc.CreateEnrolmentCode(ctx, connect.NewRequest(&clientpb.CreateEnrolmentCodeRequest{User: string(user)}))
	if err != nil {
		return nil, refusal(err)
	}
	return r.Msg, nil
}
