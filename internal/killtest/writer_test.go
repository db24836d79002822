package killtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"hubbub/client"
	"hubbub/client/clientpb"
	"hubbub/mimi"
)

// settlePatience is how long everything may take to come to rest once the last
// fault is over.
const settlePatience = 60 * time.Second

// pace is the time between two posts of a client: enough traffic for every place
// to be reached soon, and no more.
const pace = 8 * time.Millisecond

// admin speaks to a provider's operator socket.
func (p *process) admin() clientpb.AdminServiceClient {
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", p.cfg.AdminSocket)
	}}
	return clientpb.NewAdminServiceClient(&http.Client{Transport: tr}, "http://admin")
}

// device enrols the device of a new user and opens it.
func (f *federation) device(handle string) *client.Client {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), startPatience)
	defer cancel()
	user, err := mimi.ParseHandle(handle)
	ok(f.t, err)
	p := f.providers[user.Domain()]
	admin := p.admin()
	_, err = admin.AddUser(ctx, connect.NewRequest(&clientpb.AddUserRequest{User: handle}))
	ok(f.t, err)
	code, err := admin.CreateEnrolmentCode(ctx, connect.NewRequest(&clientpb.CreateEnrolmentCodeRequest{User: handle}))
	ok(f.t, err)
	dir := filepath.Join(f.t.TempDir(), "device")
	ok(f.t, client.Enrol(ctx, client.EnrolOptions{
		Dir: dir, Server: "https://" + p.cfg.API.Listen, ServerName: string(user.Domain()),
		CA: f.ca.CertPEM(), User: user, Device: "phone", Code: code.Msg.Code,
	}))
	c, err := client.Open(f.t.Context(), dir, nil)
	ok(f.t, err)
	f.t.Cleanup(func() { c.Close() })
	until(f.t, "key packages of "+handle, func(ctx context.Context) error { return stocked(ctx, admin, c.URI()) })
	return c
}

// stocked says whether others can add a device to their rooms.
func stocked(ctx context.Context, admin clientpb.AdminServiceClient, uri mimi.ClientURI) error {
	users, err := admin.ListUsers(ctx, connect.NewRequest(&clientpb.ListUsersRequest{}))
	if err != nil {
		return err
	}
	for _, u := range users.Msg.Users {
		for _, c := range u.Clients {
			if c.Client == string(uri) && c.KeyPackages > 0 {
				return nil
			}
		}
	}
	return errors.New("none yet")
}

// until looks again and again until holds says nil.
func until(t *testing.T, what string, holds func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), settlePatience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := holds(ctx)
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// ack is what a client was told of a post of its own.
type ack struct {
	by   mimi.ClientURI
	text string
	seq  uint64 // 0: not yet
}

// writer posts without end and keeps what it is told. Its posts are durable on
// the device when Send returns: each has to come through.
type writer struct {
	c    *client.Client
	room mimi.RoomURI

	mu   sync.Mutex
	acks map[client.MessageID]*ack
}

// post sends until ctx ends, then waits until all is posted.
func (w *writer) post(ctx context.Context) error {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	var waiting sync.WaitGroup
	errs := make(chan error, 1)
	fail := func(err error) {
		select {
		case errs <- err:
		default:
		}
	}
	inFlight := make(chan struct{}, 16)
	for n := 0; ctx.Err() == nil; n++ {
		text := fmt.Sprintf("%s %d", w.c.User().Handle(), n)
		m, err := w.c.Send(context.WithoutCancel(ctx), w.room, text)
		if err != nil {
			return fmt.Errorf("sending %q: %w", text, err)
		}
		w.note(m)
		inFlight <- struct{}{}
		waiting.Go(func() {
			defer func() { <-inFlight }()
			if err := w.posted(context.WithoutCancel(ctx), m.ID); err != nil {
				fail(err)
			}
		})
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	waiting.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

func (w *writer) note(m client.Message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.acks[m.ID] = &ack{by: w.c.URI(), text: m.Text}
}

// posted waits for the answer and keeps the place that was told.
func (w *writer) posted(ctx context.Context, id client.MessageID) error {
	ctx, cancel := context.WithTimeout(ctx, 4*settlePatience)
	defer cancel()
	m, err := w.c.WaitPosted(ctx, w.room, id)
	if err != nil || m.State != client.Posted {
		return fmt.Errorf("%s: %q is %s (%s): %w", w.c.URI(), m.Text, m.State, m.Reason, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.acks[id].seq = m.Seq
	return nil
}
