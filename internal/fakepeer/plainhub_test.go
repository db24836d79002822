package fakepeer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"connectrpc.com/connect"

	"hubbub/client"
	"hubbub/client/clientpb"
	"hubbub/internal/room/roomtest"
	"hubbub/mimi"
	"hubbub/mimi/content"
	"hubbub/mimi/policy"
)

// plain puts a hub of another make in the place of d.
func (w *world) plain() *PlainHub {
	w.Helper()
	addrs := map[mimi.Domain]string{}
	for other, cfg := range w.cfgs {
		addrs[other] = cfg.Federation.Listen
	}
	h, err := NewPlainHub(w, Config{Domain: d, CA: w.ca, Listen: addrs[d], Peers: addrs}, w.file("plain"))
	w.ok(err)
	w.ok(h.Start())
	w.Cleanup(func() {
		h.Stop()
		h.Close()
	})
	return h
}

// text is a message of a member with that text, as our clients read it.
func (m *Member) text(w *world, text string) []byte {
	w.Helper()
	b, err := content.NewText(m.User, m.Room, text).Encode()
	w.ok(err)
	framed, err := m.Group.Context().FrameContent(nil, b)
	w.ok(err)
	return m.Post(string(framed))
}

// reads waits until a device shows these texts, in order.
func (w *world) reads(dev *client.Client, uri mimi.RoomURI, want ...string) {
	w.Helper()
	w.until(fmt.Sprintf("%s reads %q", dev.URI(), want), func(ctx context.Context) error {
		list, err := dev.Messages(ctx, uri, 0, 1000)
		var got []string
		for _, m := range list {
			got = append(got, m.Text)
		}
		if err == nil && !slices.Equal(got, want) {
			err = fmt.Errorf("%q", got)
		}
		return err
	})
}

// A user of ours takes part in a room of a hub of another make, from being added to
// leaving: reads, sends, reads while the hub is down and after restarts at either end,
// and brings in a second device.
func TestRoomOfAnotherMake(t *testing.T) {
	w := newWorld(t, b)
	h := w.plain()
	const uri = mimi.RoomURI("mimi://d.localhost/r/plain")
	eve, err := h.Member("eve@d.localhost", uri)
	w.ok(err)
	bob := w.device("bob@b.localhost")
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	packages, err := eve.Claim(ctx, bob.User())
	w.ok(err)
	w.ok(eve.Update(ctx, eve.Add(packages...)))
	w.ok(eve.Say(ctx, eve.text(w, "one")))
	w.reads(bob, uri, "one")
	w.until("the room", func(ctx context.Context) error {
		info, err := bob.Room(ctx, uri)
		if err == nil && (!info.Member || !info.Participant || !info.NoProof || info.Frozen != "") {
			err = fmt.Errorf("%+v", info)
		}
		return err
	})
	m := w.send(bob, uri, "two")
	if m.Seq != 2 { // after eve's: its Welcome stands before entry 1
		t.Errorf("posted at %d", m.Seq)
	}
	w.ok(eve.CatchUp(ctx))
	if n := len(eve.Texts); n != 1 {
		t.Errorf("eve read %d messages", n)
	}

	// The hub is down: what is there can be read, what is written waits.
	h.Stop()
	w.reads(bob, uri, "one", "two")
	late, err := bob.Send(ctx, uri, "three")
	w.ok(err)
	w.ok(bob.Close())
	w.stop(b)
	w.start(b)
	bob = w.open("bob@b.localhost")
	w.reads(bob, uri, "one", "two", "three")
	w.ok(h.Start())
	w.until("three is posted", func(ctx context.Context) error {
		list, err := bob.Messages(ctx, uri, 0, 100)
		if err == nil && list[2].State != client.Posted {
			_, nerr := h.Peer.Notify(ctx, b, uri, nil, nil) // a word from the hub ends the wait
			err = errors.Join(fmt.Errorf("%s", list[2].State), nerr)
		}
		return err
	})
	_ = late
	w.ok(eve.CatchUp(ctx))
	w.ok(eve.Update(ctx, eve.Commit()))
	w.ok(eve.Say(ctx, eve.text(w, "four")))
	w.reads(bob, uri, "one", "two", "three", "four")

	// What the hub does not offer is said.
	v, err := bob.Verify(ctx, uri)
	w.ok(err)
	if !v.NoProof || v.Signed != nil || len(v.Problems) > 0 {
		t.Errorf("verified: %+v", v)
	}

	// A second device comes by itself.
	laptop := w.further("bob@b.localhost", "laptop")
	w.until("the laptop joins", func(ctx context.Context) error { return laptop.Join(ctx, uri) })
	w.ok(eve.CatchUp(ctx))
	w.ok(eve.Say(ctx, eve.text(w, "five")))
	w.reads(laptop, uri, "five")
	w.reads(bob, uri, "one", "two", "three", "four", "five")

	w.ok(bob.Leave(ctx, uri))
	w.until("bob has left", func(ctx context.Context) error {
		if err := eve.CatchUp(ctx); err != nil {
			return err
		}
		if len(eve.Group.PendingProposals()) > 0 {
			if err := eve.Update(ctx, eve.Commit()); err != nil {
				return err
			}
		}
		info, err := bob.Room(ctx, uri)
		if err == nil && info.Participant {
			err = fmt.Errorf("%+v", info)
		}
		return err
	})
	for _, e := range []mimi.Endpoint{"x-snapshot", "x-catchUp", "x-submitBatch", "x-checkpoint"} {
		if n := len(h.Received(e)); n > 0 {
			t.Errorf("%d requests to %s, which the hub does not name", n, e)
		}
	}
}

// A provider's first user joins a room of a hub of another make by himself.
func TestFirstUserJoinsRoomOfAnotherMake(t *testing.T) {
	w := newWorld(t, b)
	h := w.plain()
	const uri = mimi.RoomURI("mimi://d.localhost/r/open")
	eve, err := h.Member("eve@d.localhost", uri)
	w.ok(err)
	bob := w.device("bob@b.localhost")
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	w.ok(eve.Update(ctx, eve.Commit(roomtest.ListUpdate(w, &mimi.ParticipantListUpdate{
		Added: []mimi.Participant{{User: bob.User(), Role: policy.Member}}}))))
	w.ok(bob.Join(ctx, uri))
	w.ok(eve.CatchUp(ctx))
	w.ok(eve.Say(ctx, eve.text(w, "welcome")))
	w.reads(bob, uri, "welcome")
	w.send(bob, uri, "thanks")
	info, err := bob.Room(ctx, uri)
	w.ok(err)
	if !info.NoProof || !info.Member || len(info.Participants) != 2 {
		t.Errorf("%+v", info)
	}
}

// further enrols another device of a user who has one.
func (w *world) further(handle, device string) *client.Client {
	w.Helper()
	user, err := mimi.ParseHandle(handle)
	w.ok(err)
	code, err := w.admin(user.Domain()).CreateEnrolmentCode(w.Context(), connect.NewRequest(&clientpb.CreateEnrolmentCodeRequest{User: handle}))
	w.ok(err)
	name := handle + " " + device
	w.devices[name] = w.file("devices", name)
	w.ok(client.Enrol(w.Context(), client.EnrolOptions{
		Dir: w.devices[name], Server: "https://" + w.cfgs[user.Domain()].API.Listen, ServerName: string(user.Domain()),
		CA: w.ca.CertPEM(), User: user, Device: device, Code: code.Msg.Code,
	}))
	return w.open(name)
}
