package client

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"hubbub/mimi"
)

// refusedLink demands that a hub does not take a link.
func (w *world) refusedLink(c *Client, l mimi.JoinLink) {
	w.t.Helper()
	err := c.JoinByLink(w.ctx(), l)
	if !errors.Is(err, ErrNotMember) || !strings.Contains(err.Error(), "does not take this link") || strings.Contains(err.Error(), l.Text()) {
		w.t.Errorf("%s joins by a link that is no good: %v", c.URI(), err)
	}
}

// TestJoinByLink has people come by links: one of the hub's own provider, one of a
// provider that takes part, and one of a provider that has no part in the room yet.
func TestJoinByLink(t *testing.T) {
	w := newWorld(t, "a.localhost", "b.localhost", "c.localhost")
	alice, bob := w.device("alice@a.localhost", "phone"), w.device("bob@b.localhost", "phone")
	uri := w.room(alice, bob)
	link, err := alice.CreateLink(w.ctx(), uri, LinkOptions{})
	w.ok(err)
	if given, err := mimi.ParseJoinLink(link.Text()); err != nil || given.Room != uri {
		t.Fatalf("the link's text is no link: %v", err)
	}

	cathy, dave, eve := w.device("cathy@c.localhost", "phone"), w.device("dave@a.localhost", "phone"), w.device("eve@b.localhost", "phone")
	for _, c := range []*Client{cathy, dave, eve} {
		if err := c.Join(w.ctx(), uri); !errors.Is(err, ErrNotMember) {
			t.Errorf("%s joins without a link: %v", c.URI(), err)
		}
		w.ok(c.JoinByLink(w.ctx(), link))
		w.member(c, uri)
		w.roleOf(alice, uri, c, "member")
		w.ok(c.JoinByLink(w.ctx(), link)) // is in already
	}
	hello := w.posted(cathy, uri, w.send(cathy, uri, "hello"))
	for _, c := range []*Client{alice, bob, cathy, dave, eve} {
		w.texts(c, uri, hello.Text)
	}
	laptop := w.device("cathy@c.localhost", "laptop")
	w.ok(laptop.Join(w.ctx(), uri)) // further devices need no link

	// Everybody sees which links there are, and nobody what they are.
	w.until(bob, "the link", func() bool {
		s, err := bob.rooms[uri].policyOf()
		return err == nil && len(s.Participants.Participants) == 5
	})
	links, err := bob.Links(uri)
	w.ok(err)
	if len(links) != 1 || links[0].Once || links[0].Foreign || time.Until(links[0].Expires) > 7*24*time.Hour || time.Until(links[0].Expires) < 7*24*time.Hour-2*patience {
		t.Errorf("links: %+v", links)
	}
	for _, c := range []*Client{alice, bob} {
		c.mu.Lock()
		d := c.rooms[uri].group.Public().Dictionary()
		c.mu.Unlock()
		if data, _ := d.Get(mimi.ComponentJoinLinks); len(data) == 0 || strings.Contains(string(data), string(link.Code())) {
			t.Error("the room holds the code")
		}
	}
}

// TestLinkRules says who makes and revokes links, and which of them are good.
func TestLinkRules(t *testing.T) {
	w := newWorld(t, "a.localhost", "b.localhost")
	alice, bob := w.device("alice@a.localhost", "phone"), w.device("bob@b.localhost", "phone")
	cathy, dave := w.device("cathy@b.localhost", "phone"), w.device("dave@b.localhost", "phone")
	uri := w.room(alice, bob)

	_, err := bob.CreateLink(w.ctx(), uri, LinkOptions{})
	w.denied(err, "bob@b.localhost may not change the room's join links: role member lacks canCreateJoinCode")
	for _, o := range []LinkOptions{{Expires: 8 * 24 * time.Hour}, {Expires: -time.Second}, {Expires: time.Millisecond}} {
		if _, err := alice.CreateLink(w.ctx(), uri, o); !errors.Is(err, ErrBadArgument) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	once, err := alice.CreateLink(w.ctx(), uri, LinkOptions{Once: true, Expires: time.Hour})
	w.ok(err)
	many, err := alice.CreateLink(w.ctx(), uri, LinkOptions{})
	w.ok(err)
	w.ok(cathy.JoinByLink(w.ctx(), once))
	w.refusedLink(dave, once)
	w.refusedLink(dave, mimi.NewJoinLink(uri, [mimi.JoinCodeBytes]byte{1}))
	w.refusedLink(dave, mimi.NewJoinLink("mimi://a.localhost/r/none", [mimi.JoinCodeBytes]byte(many.Code())))

	links, err := alice.Links(uri)
	w.ok(err)
	if len(links) != 2 || !links[0].Once || links[1].Once {
		t.Fatalf("links: %+v", links)
	}
	w.denied(bob.RevokeLinks(w.ctx(), uri, many.Text()), "role member lacks canDeleteJoinCode")
	if err := alice.RevokeLinks(w.ctx(), uri, "01234567"); !errors.Is(err, ErrBadArgument) {
		t.Errorf("revoking what is not there: %v", err)
	}
	w.ok(alice.RevokeLinks(w.ctx(), uri, links[0].ID[:8], many.Text()))
	w.refusedLink(dave, many)
	if links, err := alice.Links(uri); err != nil || len(links) != 0 {
		t.Errorf("after revoking: %+v, %v", links, err)
	}

	// One who was taken out does not come back by a link for one; one who was banned by none.
	again, err := alice.CreateLink(w.ctx(), uri, LinkOptions{Once: true})
	w.ok(err)
	w.ok(dave.JoinByLink(w.ctx(), again))
	w.roleOf(alice, uri, dave, "member")
	w.ok(w.remove(alice, uri, dave))
	w.out(dave, uri)
	w.refusedLink(dave, again)
	many, err = alice.CreateLink(w.ctx(), uri, LinkOptions{})
	w.ok(err)
	w.ok(dave.JoinByLink(w.ctx(), many))
	w.roleOf(alice, uri, dave, "member")
	w.ok(alice.Ban(w.ctx(), uri, dave.user))
	w.out(dave, uri)
	w.refusedLink(dave, many)

	t.Run("presets", func(t *testing.T) {
		friends, _, err := alice.CreateRoom(w.ctx(), RoomOptions{Name: "friends", Policy: "cooperative"})
		w.ok(err)
		_, err = alice.CreateLink(w.ctx(), friends, LinkOptions{})
		w.denied(err, "this room has no join links")
		strict, _, err := alice.CreateRoom(w.ctx(), RoomOptions{Name: "strict", Policy: "strict"})
		w.ok(err)
		one, err := alice.CreateLink(w.ctx(), strict, LinkOptions{})
		w.ok(err)
		w.ok(dave.JoinByLink(w.ctx(), one))
		w.roleOf(alice, strict, dave, "ordinary_user")
		w.refusedLink(cathy, one)
		_, err = dave.CreateLink(w.ctx(), strict, LinkOptions{})
		w.denied(err, "role ordinary_user lacks canCreateJoinCode")
		p, err := alice.Policy(strict)
		w.ok(err)
		if !slices.Contains(p.Words(), "links to join by are valid for 7 days") {
			t.Errorf("in words: %q", p.Words())
		}
		moderated, _, err := alice.CreateRoom(w.ctx(), RoomOptions{Name: "moderated", Policy: "moderated"})
		w.ok(err)
		two, err := alice.CreateLink(w.ctx(), moderated, LinkOptions{})
		w.ok(err)
		for _, c := range []*Client{cathy, dave} {
			w.ok(c.JoinByLink(w.ctx(), two))
			w.roleOf(alice, moderated, c, "guest")
		}
	})
}

// TestLinksAreCounted has a user be wrong too often (H76).
func TestLinksAreCounted(t *testing.T) {
	w := newWorld(t, "a.localhost", "b.localhost")
	w.stop("a.localhost")
	cfg := w.cfgs["a.localhost"]
	cfg.Limits.JoinCodesPerUser = "5 + 5/10m"
	w.cfgs["a.localhost"] = cfg
	w.start("a.localhost")
	alice, bob, cathy := w.device("alice@a.localhost", "phone"), w.device("bob@b.localhost", "phone"), w.device("cathy@b.localhost", "phone")
	uri := w.room(alice, bob)
	link, err := alice.CreateLink(w.ctx(), uri, LinkOptions{})
	w.ok(err)
	for i := range 5 {
		w.refusedLink(cathy, mimi.NewJoinLink(uri, [mimi.JoinCodeBytes]byte{byte(i)}))
	}
	var e *Error
	if err := cathy.JoinByLink(w.ctx(), link); !errors.As(err, &e) || e.RetryAfter <= 0 || e.RetryAfter > 2*time.Minute {
		t.Errorf("the sixth: %v", err)
	} else {
		t.Logf("refused: %v, again after %v", err, e.RetryAfter)
	}
}
