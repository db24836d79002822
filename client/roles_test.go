package client

import (
	"errors"
	"strings"
	"testing"

	"hubbub/mimi"
	"hubbub/mls"
)

// roleOf waits until a device holds that a user has a role, "" for none.
func (w *world) roleOf(c *Client, uri mimi.RoomURI, user *Client, want string) {
	w.t.Helper()
	w.until(c, user.user.Handle()+" to be "+want, func() bool {
		r := c.rooms[uri]
		if r.member() != nil {
			return false
		}
		s, err := r.policyOf()
		w.ok(err)
		role := s.Role(user.user)
		return want == "" && !s.IsParticipant(user.user) || role != nil && s.Participants.Role(user.user) != 0 && role.Name == want
	})
}

// out waits until a device is in a room's group no more.
func (w *world) out(c *Client, uri mimi.RoomURI) {
	w.t.Helper()
	w.until(c, "being out", func() bool { return c.rooms[uri] != nil && c.rooms[uri].phase == phaseOut })
}

// denied demands a refusal that was known before anything was sent, in these words.
func (w *world) denied(err error, words string) {
	w.t.Helper()
	if !errors.Is(err, ErrDenied) || !strings.Contains(err.Error(), words) {
		w.t.Fatalf("%v, want it denied because %s", err, words)
	}
}

func (w *world) add(by *Client, uri mimi.RoomURI, who *Client) error {
	w.t.Helper()
	results, err := by.AddUsers(w.ctx(), uri, who.user)
	w.ok(err)
	if results[0].Added {
		w.member(who, uri)
	}
	return results[0].Err
}

func (w *world) remove(by *Client, uri mimi.RoomURI, who *Client) error {
	w.t.Helper()
	_, err := by.RemoveUsers(w.ctx(), uri, who.user)
	return err
}

// TestPresets plays in each kind of room who may add, remove, ban, promote and rename
// (POL-56, FLOW-7).
func TestPresets(t *testing.T) {
	w := newWorld(t, "a.localhost", "b.localhost")
	alice, bob := w.device("alice@a.localhost", "phone"), w.device("bob@a.localhost", "phone")
	cathy, dave := w.device("cathy@b.localhost", "phone"), w.device("dave@b.localhost", "phone")
	room := func(policy string) mimi.RoomURI {
		uri, added, err := alice.CreateRoom(w.ctx(), RoomOptions{Name: policy, Policy: policy, Members: []mimi.UserURI{bob.user},
			Orgs: []mimi.Domain{"a.localhost", "b.localhost"}})
		w.ok(err)
		w.ok(added[0].Err)
		w.member(bob, uri)
		return uri
	}

	t.Run("default", func(t *testing.T) {
		uri := room("")
		w.ok(w.add(bob, uri, cathy))
		w.ok(w.add(bob, uri, dave)) // keeps their provider in the room
		w.denied(w.remove(bob, uri, cathy), "bob@a.localhost may not remove cathy@b.localhost: role member lacks canRemoveParticipant")
		w.denied(bob.Rename(w.ctx(), uri, "mine"), "role member lacks canChangeRoomName")
		w.denied(bob.Kick(w.ctx(), uri, cathy.user), "role member lacks canKick")
		w.ok(alice.Ban(w.ctx(), uri, cathy.user))
		w.out(cathy, uri)
		w.roleOf(bob, uri, cathy, "banned")
		var refused *Error
		if err := w.add(bob, uri, cathy); !errors.As(err, &refused) || refused.Reason != "banned" {
			t.Errorf("adding somebody who is banned gives %v", err)
		}
		if err := cathy.Join(w.ctx(), uri); err == nil {
			t.Error("somebody who is banned joins")
		}
		w.denied(bob.Unban(w.ctx(), uri, cathy.user), "bob@a.localhost may not unban cathy@b.localhost")
		w.ok(alice.Unban(w.ctx(), uri, cathy.user))
		w.ok(cathy.Join(w.ctx(), uri))
		w.roleOf(bob, uri, cathy, "member")
		w.ok(alice.Kick(w.ctx(), uri, cathy.user))
		w.out(cathy, uri)
		w.roleOf(bob, uri, cathy, "member")
		w.ok(cathy.Join(w.ctx(), uri)) // one who was kicked may return (POL-47)
		w.ok(alice.SetRole(w.ctx(), uri, bob.user, "admin"))
		w.roleOf(bob, uri, bob, "admin")
		w.ok(bob.Rename(w.ctx(), uri, "ours"))
		w.until(cathy, "the new name", func() bool { return cathy.rooms[uri].name() == "ours" })
		if err := bob.SetRole(w.ctx(), uri, cathy.user, "queen"); !errors.Is(err, ErrBadArgument) {
			t.Errorf("a role nobody has heard of gives %v", err)
		}
		w.denied(bob.SetRole(w.ctx(), uri, bob.user, "member"), "role admin lacks canChangeOwnRole")
	})
	t.Run("cooperative", func(t *testing.T) {
		uri := room("cooperative")
		w.roleOf(bob, uri, bob, "ordinary_user")
		w.ok(w.add(bob, uri, cathy))
		w.ok(bob.Rename(w.ctx(), uri, "friends"))
		w.denied(bob.Ban(w.ctx(), uri, cathy.user), "bob@a.localhost may not change the role of cathy@b.localhost: role ordinary_user lacks canBan")
		w.ok(w.remove(bob, uri, cathy))
		w.out(cathy, uri)
	})
	t.Run("strict", func(t *testing.T) {
		uri := room("strict")
		w.denied(w.add(bob, uri, cathy), "bob@a.localhost may not add cathy@b.localhost: role ordinary_user lacks canAddParticipant")
		w.ok(alice.SetRole(w.ctx(), uri, bob.user, "group_admin"))
		w.roleOf(bob, uri, bob, "group_admin")
		w.ok(w.add(bob, uri, cathy))
		w.denied(cathy.Rename(w.ctx(), uri, "x"), "role ordinary_user lacks canChangeRoomName")
		w.ok(bob.Ban(w.ctx(), uri, cathy.user))
		w.out(cathy, uri)
	})
	t.Run("moderated", func(t *testing.T) {
		uri := room("moderated")
		w.roleOf(bob, uri, bob, "guest")
		w.denied(w.add(bob, uri, cathy), "role guest lacks canAddParticipant")
		w.ok(alice.SetRole(w.ctx(), uri, bob.user, "moderator"))
		w.roleOf(bob, uri, bob, "moderator")
		w.ok(w.add(bob, uri, cathy))
		w.denied(bob.SetRole(w.ctx(), uri, cathy.user, "super_admin"), "role moderator may not move anybody")
		w.ok(bob.SetRole(w.ctx(), uri, cathy.user, "speaker"))
		w.roleOf(cathy, uri, cathy, "speaker")
		w.posted(cathy, uri, w.send(cathy, uri, "hello"))
	})
	t.Run("multi-org", func(t *testing.T) {
		uri := room("multi-org")
		w.roleOf(bob, uri, bob, "a.localhost_user")
		w.ok(w.add(alice, uri, cathy))
		w.roleOf(cathy, uri, cathy, "b.localhost_user")
		w.ok(alice.SetRole(w.ctx(), uri, cathy.user, "b.localhost_admin"))
		w.roleOf(cathy, uri, cathy, "b.localhost_admin")
		w.ok(w.add(cathy, uri, dave))
		w.denied(w.remove(cathy, uri, bob), "role b.localhost_admin may not move anybody")
		w.ok(w.remove(cathy, uri, dave))
	})
	for _, bad := range []RoomOptions{{Policy: "poem"}, {Policy: "multi-org", Orgs: make([]mimi.Domain, 9)}} {
		if _, _, err := alice.CreateRoom(w.ctx(), bad); !errors.Is(err, ErrBadArgument) {
			t.Errorf("a room of policy %q gives %v", bad.Policy, err)
		}
	}
}

// TestUninvited has people come into a room that has preauthorised its host's users
// (GI-3, POL-43), and others knock in vain.
func TestUninvited(t *testing.T) {
	w := newWorld(t, "a.localhost", "b.localhost")
	alice, bob := w.device("alice@a.localhost", "phone"), w.device("bob@a.localhost", "phone")
	cathy, dave := w.device("cathy@b.localhost", "phone"), w.device("dave@b.localhost", "phone")
	uri, added, err := alice.CreateRoom(w.ctx(), RoomOptions{Policy: "multi-org", Members: []mimi.UserURI{cathy.user}})
	w.ok(err)
	w.ok(added[0].Err)
	w.member(cathy, uri)
	w.ok(bob.Join(w.ctx(), uri))
	w.roleOf(cathy, uri, bob, "a.localhost_user")
	w.posted(bob, uri, w.send(bob, uri, "I let myself in"))
	w.texts(cathy, uri, "I let myself in")
	if err := dave.Join(w.ctx(), uri); !errors.Is(err, ErrNotMember) {
		t.Errorf("a user of another organisation joins: %v", err)
	}
	strict, _, err := alice.CreateRoom(w.ctx(), RoomOptions{Policy: "strict"})
	w.ok(err)
	if err := bob.Join(w.ctx(), strict); !errors.Is(err, ErrNotMember) {
		t.Errorf("somebody joins a strict room uninvited: %v", err)
	}
}

// TestHubExplains sends what the device's own look at the policy would have held back:
// the hub's answer has to say in words who may not do what and why.
func TestHubExplains(t *testing.T) {
	w := newWorld(t, "a.localhost", "b.localhost")
	alice, bob := w.device("alice@a.localhost", "phone"), w.device("bob@b.localhost", "phone")
	cathy := w.device("cathy@a.localhost", "phone")
	uri := w.room(alice, bob, cathy)
	for _, by := range []*Client{bob, cathy} { // by way of a follower, and at the hub
		other := map[*Client]*Client{bob: cathy, cathy: bob}[by]
		err := by.change(w.ctx(), uri, func(r *room) (*mls.PendingCommit, error) {
			_, proposals := r.outOfGroup(other.user)
			return r.group.Commit(mls.CommitOptions{Proposals: proposals})
		})
		want := by.user.Handle() + " may not remove a client of " + other.user.Handle() + ": role member lacks canKick"
		if !errors.Is(err, ErrRejected) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want the hub to say that %s", err, want)
		}
	}
	w.posted(bob, uri, w.send(bob, uri, "still here"))
}
