package provider

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"connectrpc.com/connect"

	"hubbub/client"
	"hubbub/client/clientpb"
	"hubbub/mimi"
)

// patience is how long anything may take on a busy machine.
const patience = 30 * time.Second

// admin speaks to a provider's operator socket.
func (w *world) admin(d mimi.Domain) clientpb.AdminServiceClient {
	return clientpb.NewAdminServiceClient(w.adminHTTP(d), "http://admin")
}

// adminHTTP is the way to that socket.
func (w *world) adminHTTP(d mimi.Domain) *http.Client {
	socket := w.cfgs[d].AdminSocket
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	w.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// device enrols a device of a user, whom it makes if need be, and opens it.
func (w *world) device(handle, name string) *client.Client {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	user, err := mimi.ParseHandle(handle)
	if err != nil {
		w.t.Fatal(err)
	}
	admin := w.admin(user.Domain())
	if _, err := admin.AddUser(ctx, connect.NewRequest(&clientpb.AddUserRequest{User: handle})); err != nil && connect.CodeOf(err) != connect.CodeAlreadyExists {
		w.t.Fatal(err)
	}
	code, err := admin.CreateEnrolmentCode(ctx, connect.NewRequest(&clientpb.CreateEnrolmentCodeRequest{User: handle}))
	if err != nil {
		w.t.Fatal(err)
	}
	if w.codes != nil {
		w.codes(code.Msg.Code)
	}
	dir := filepath.Join(w.t.TempDir(), "device")
	w.devices = append(w.devices, dir)
	err = client.Enrol(ctx, client.EnrolOptions{
		Dir: dir, Server: "https://" + w.cfgs[user.Domain()].API.Listen, ServerName: string(user.Domain()),
		CA: w.ca.CertPEM(), User: user, Device: name, Code: code.Msg.Code,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := client.Open(w.t.Context(), dir, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	until(w.t, "key packages of "+string(c.URI()), func(ctx context.Context) error { return stocked(ctx, admin, c.URI()) })
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

// until looks again and again until ok says nil.
func until(t testing.TB, what string, ok func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ok(ctx)
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

// sees waits until a device shows exactly these texts, in this order.
func sees(t testing.TB, c *client.Client, room mimi.RoomURI, want ...string) {
	t.Helper()
	until(t, "messages of "+string(c.URI()), func(ctx context.Context) error {
		list, err := c.Messages(ctx, room, 0, 1000)
		if err != nil {
			return err
		}
		var got []string
		for _, m := range list {
			got = append(got, m.Text)
		}
		if !slices.Equal(got, want) {
			return fmt.Errorf("shows %q, want %q", got, want)
		}
		return nil
	})
}

// equalReplicas waits until the devices' providers hold the same room: position,
// participants, log.
func equalReplicas(t testing.TB, room mimi.RoomURI, devices ...*client.Client) client.Pos {
	t.Helper()
	var pos client.Pos
	until(t, "equal replicas", func(ctx context.Context) error {
		first, err := devices[0].Room(ctx, room)
		if err != nil {
			return err
		}
		for _, c := range devices[1:] {
			other, err := c.Room(ctx, room)
			if err != nil {
				return err
			}
			if other.Pos != first.Pos || other.Epoch != first.Epoch || !reflect.DeepEqual(other.Participants, first.Participants) {
				return fmt.Errorf("%s holds %v, %s holds %v", devices[0].URI(), first, c.URI(), other)
			}
		}
		pos = first.Pos
		return nil
	})
	return pos
}

func send(t testing.TB, c *client.Client, room mimi.RoomURI, text string) client.Message {
	t.Helper()
	m, err := c.Send(t.Context(), room, text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func posted(t testing.TB, c *client.Client, room mimi.RoomURI, m client.Message) client.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	m, err := c.WaitPosted(ctx, room, m.ID)
	if err != nil || m.State != client.Posted {
		t.Fatalf("%q at %s: %s, %v", m.Text, c.URI(), m.State, err)
	}
	return m
}

// The main job: three providers, one chat, the hub away for a while.
func TestThreeProvidersOneChat(t *testing.T) {
	w := newWorld(t, "a.localhost", "b.localhost", "c.localhost")
	for d := range w.cfgs {
		w.start(d)
	}
	alice, bob, cathy := w.device("alice@a.localhost", "phone"), w.device("bob@b.localhost", "phone"), w.device("cathy@c.localhost", "phone")
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	room, added, err := alice.CreateRoom(ctx, client.RoomOptions{Name: "club", Members: []mimi.UserURI{bob.User(), cathy.User()}})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range added {
		if r.Err != nil || !r.Added || len(r.Clients) != 1 {
			t.Fatalf("adding %s: %+v", r.User, r)
		}
	}
	for _, c := range []*client.Client{bob, cathy} {
		until(t, "membership of "+string(c.URI()), func(ctx context.Context) error {
			info, err := c.Room(ctx, room)
			if err == nil && (!info.Member || info.Name != "club") {
				err = fmt.Errorf("%+v", info)
			}
			return err
		})
	}
	posted(t, bob, room, send(t, bob, room, "hello from bob"))
	posted(t, alice, room, send(t, alice, room, "hello from alice"))
	for _, c := range []*client.Client{alice, bob, cathy} {
		sees(t, c, room, "hello from bob", "hello from alice")
	}
	before := equalReplicas(t, room, alice, bob, cathy)

	w.stop("a.localhost")
	waiting := send(t, bob, room, "while you were out")
	until(t, "queued", func(ctx context.Context) error {
		list, err := bob.Messages(ctx, room, 0, 1000)
		if err != nil {
			return err
		}
		if m := list[len(list)-1]; m.ID != waiting.ID || m.State != client.Queued {
			return fmt.Errorf("%+v", m)
		}
		return nil
	})
	info, err := cathy.Room(ctx, room) // reads never need the hub
	if err != nil || info.Pos != before {
		t.Errorf("cathy without the hub: %+v, %v", info, err)
	}
	w.start("a.localhost")
	posted(t, bob, room, waiting)
	for _, c := range []*client.Client{alice, bob, cathy} {
		sees(t, c, room, "hello from bob", "hello from alice", "while you were out")
	}
	if after := equalReplicas(t, room, alice, bob, cathy); after.Seq != before.Seq+1 {
		t.Errorf("from %s to %s for one message", before, after)
	}
	sameHistory(t, room, alice, bob, cathy)

	if _, err := alice.RemoveUsers(ctx, room, cathy.User()); err != nil {
		t.Fatal(err)
	}
	posted(t, bob, room, send(t, bob, room, "without cathy"))
	laptop := w.device("bob@b.localhost", "laptop")
	if err := laptop.Join(ctx, room); err != nil {
		t.Fatal(err)
	}
	posted(t, laptop, room, send(t, laptop, room, "from the laptop"))
	for _, c := range []*client.Client{alice, bob} {
		sees(t, c, room, "hello from bob", "hello from alice", "while you were out", "without cathy", "from the laptop")
	}
	equalReplicas(t, room, alice, bob)
	w.noPlaintext("hello from", "while you were out", "without cathy", "from the laptop")
}

// Each provider is away in turn, then all of them; whatever the order in which they
// come back, everybody ends up with the same chat.
func TestEveryProviderAwayInTurn(t *testing.T) {
	domains := []mimi.Domain{"a.localhost", "b.localhost", "c.localhost"}
	w := newWorld(t, domains...)
	for _, d := range domains {
		w.start(d)
	}
	devices := []*client.Client{w.device("alice@a.localhost", "phone"), w.device("bob@b.localhost", "phone"), w.device("cathy@c.localhost", "phone")}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	room, _, err := devices[0].CreateRoom(ctx, client.RoomOptions{Members: []mimi.UserURI{devices[1].User(), devices[2].User()}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range devices {
		until(t, "membership of "+string(c.URI()), func(ctx context.Context) error {
			if info, err := c.Room(ctx, room); err != nil || !info.Member {
				return fmt.Errorf("%+v, %w", info, err)
			}
			return nil
		})
	}
	var sent []client.Message
	say := func(i int, text string) { sent = append(sent, send(t, devices[i], room, text)) }
	for i, away := range domains {
		w.stop(away)
		say((i+1)%3, "while "+string(away)+" is away")
		w.start(away)
		posted(t, devices[(i+1)%3], room, sent[len(sent)-1])
	}
	for _, d := range domains {
		w.stop(d)
	}
	for i := range devices { // nobody's provider is there: the devices keep them
		say(i, fmt.Sprintf("nobody home %d", i))
	}
	for _, d := range slices.Backward(domains) {
		w.start(d)
	}
	for i, m := range sent[3:] {
		posted(t, devices[i], room, m)
	}
	equalReplicas(t, room, devices...)
	onceEach(t, room, sent, devices...)
}

// onceEach waits until every device shows each message exactly once.
func onceEach(t *testing.T, room mimi.RoomURI, sent []client.Message, devices ...*client.Client) {
	t.Helper()
	for _, c := range devices {
		until(t, "messages of "+string(c.URI()), func(ctx context.Context) error {
			list, err := c.Messages(ctx, room, 0, 1000)
			if err != nil {
				return err
			}
			if len(list) != len(sent) {
				return fmt.Errorf("%d messages, want %d", len(list), len(sent))
			}
			for _, m := range sent {
				if !slices.ContainsFunc(list, func(got client.Message) bool { return got.ID == m.ID && got.Text == m.Text }) {
					return fmt.Errorf("%q is missing", m.Text)
				}
			}
			return nil
		})
	}
}

// sameHistory compares what the providers tell of the room's membership. A
// provider that came later does not know the log before its start, but was told
// the history.
func sameHistory(t *testing.T, room mimi.RoomURI, devices ...*client.Client) {
	t.Helper()
	var first []client.Change
	for i, c := range devices {
		list, err := c.History(t.Context(), room)
		if err != nil || len(list) == 0 {
			t.Fatalf("history at %s: %d lines, %v", c.URI(), len(list), err)
		}
		if i == 0 {
			first = list
		} else if !reflect.DeepEqual(list, first) {
			t.Errorf("history at %s:\n%+v\nat %s:\n%+v", c.URI(), list, devices[0].URI(), first)
		}
	}
}

// noPlaintext searches the providers' data directories.
func (w *world) noPlaintext(texts ...string) {
	w.t.Helper()
	for d, cfg := range w.cfgs {
		err := filepath.WalkDir(cfg.DataDir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			b, err := os.ReadFile(path)
			for _, text := range texts {
				if bytes.Contains(b, []byte(text)) {
					w.t.Errorf("%s: %s holds %q", d, path, text)
				}
			}
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			w.t.Error(err)
		}
	}
}
