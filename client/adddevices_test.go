package client

import (
	"errors"
	"slices"
	"testing"

	"hubbub/mimi"
)

// TestAddDevices has devices brought in by an Add: further ones by their own user, and
// those of somebody who was kicked by an admin (POL-41, D-59).
func TestAddDevices(t *testing.T) {
	w := newWorld(t, "a.localhost", "b.localhost")
	alice, bob := w.device("alice@a.localhost", "phone"), w.device("bob@b.localhost", "phone")
	uri := w.room(alice, bob)
	none, err := bob.AddDevices(w.ctx(), uri, bob.user)
	w.ok(err)
	if len(none.Clients)+len(none.Missing) != 0 {
		t.Errorf("there is no other device, but: %+v", none)
	}
	laptop, tablet := w.device("bob@b.localhost", "laptop"), w.device("bob@b.localhost", "tablet")
	desk := w.device("alice@a.localhost", "desk")

	for _, by := range []struct {
		who  *Client
		want []*Client
	}{{bob, []*Client{laptop, tablet}}, {alice, []*Client{desk}}} {
		w.stocked(by.who)
		got, err := by.who.AddDevices(w.ctx(), uri, by.who.user)
		w.ok(err)
		var want []mimi.ClientURI
		for _, c := range by.want {
			want = append(want, c.uri)
			w.member(c, uri)
		}
		slices.Sort(got.Clients)
		if !slices.Equal(got.Clients, want) || len(got.Missing) != 0 {
			t.Errorf("%s added %v, want %v", by.who.URI(), got, want)
		}
	}
	m := w.posted(laptop, uri, w.send(laptop, uri, "from the laptop"))
	for _, c := range []*Client{alice, bob, tablet, desk} {
		w.texts(c, uri, m.Text)
	}
	w.roleOf(alice, uri, bob, "member") // as before

	_, err = alice.AddDevices(w.ctx(), uri, bob.user)
	w.denied(err, "alice@a.localhost may not add a client of bob@b.localhost: they are in the group and add their clients themselves")
	if _, err := bob.AddDevices(w.ctx(), uri, "mimi://a.localhost/u/nobody"); !errors.Is(err, ErrNotParticipant) {
		t.Errorf("devices of somebody who is not in the room: %v", err)
	}

	w.ok(alice.Kick(w.ctx(), uri, bob.user))
	for _, c := range []*Client{bob, laptop, tablet} {
		w.out(c, uri)
		w.stocked(c)
	}
	back, err := alice.AddDevices(w.ctx(), uri, bob.user)
	w.ok(err)
	if len(back.Clients) != 3 {
		t.Errorf("back in the room: %+v", back)
	}
	for _, c := range []*Client{bob, laptop, tablet} {
		w.member(c, uri)
	}
}
