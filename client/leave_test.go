package client

import (
	"testing"

	"hubbub/mls"
)

// TestLeaveOutlastsJoin has a device join by itself before anybody has committed that
// somebody leaves: the join drops what the leave consists of, and the hub makes it anew
// (FAN-13, D-30). Everybody who was there checks that the hub added nothing to it.
func TestLeaveOutlastsJoin(t *testing.T) {
	w := newWorld(t, "a.localhost", "b.localhost")
	dir := w.enrol("alice@a.localhost", "phone")
	alice := w.open(dir, nil)
	w.ok(alice.WaitConnected(w.ctx()))
	bob, bobs := w.device("bob@b.localhost", "phone"), w.device("bob@b.localhost", "laptop")
	cathy := w.device("cathy@b.localhost", "phone")
	uri := w.room(alice, bob, cathy)
	w.member(bobs, uri)
	w.ok(cathy.Close())
	w.ok(alice.Close()) // nobody is there to commit

	w.ok(bob.Leave(w.ctx(), uri))
	cathys := w.device("cathy@b.localhost", "laptop")
	w.ok(cathys.Join(w.ctx(), uri))
	alice = w.open(dir, nil)
	w.out(bobs, uri)
	for _, c := range []*Client{cathys, alice} {
		w.until(c, "bob to be gone", func() bool {
			r := c.rooms[uri]
			if r.member() != nil {
				return false
			}
			list, err := r.participants()
			w.ok(err)
			return list.Role(bob.user) == 0 && len(leavesOf(r.group.Public(), bob.user)) == 0
		})
	}
	w.posted(cathys, uri, w.send(cathys, uri, "they are gone"))
	w.texts(alice, uri, "they are gone")
	history, err := alice.History(w.ctx(), uri)
	w.ok(err)
	for _, h := range history {
		if h.User == bob.user && h.Action == "removed" || h.Action == "left" && h.Actor != bob.user {
			t.Errorf("the history says %s %s %s", h.Actor, h.Action, h.User)
		}
	}
}

// TestAttachedToNothing has a hub attach proposals to a commit that dropped none.
func TestAttachedToNothing(t *testing.T) {
	w := newWorld(t, "a.localhost")
	alice := w.device("alice@a.localhost", "phone")
	uri := w.room(alice)
	w.ok(alice.step(func(b *batch) error {
		return b.renewed(b.room(uri), false, nil, []*mls.Message{{}})
	}))
	w.until(alice, "distrust", func() bool { return alice.rooms[uri].suspicious != "" })
}

// TestOwnRemovalIsForOthers: a device commits what waits, but not what takes it out.
func TestOwnRemovalIsForOthers(t *testing.T) {
	f := newFake(t)
	alice, cathy, bob := f.open(f.enrol("alice", "phone"), nil), f.open(f.enrol("cathy", "phone"), nil), f.open(f.enrol("bob", "phone"), nil)
	uri := f.room(alice, cathy, bob)
	group := func(c *Client) *mls.Group {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.rooms[uri].group
	}
	waits := &room{group: group(bob)}
	if waits.mayCommit() {
		t.Error("there is nothing to commit")
	}
	_, msg, err := group(alice).Propose(mls.Proposal{Type: mls.ProposalTypeRemove, Remove: &mls.Remove{Removed: group(cathy).OwnLeaf()}}, mls.ProposeOptions{})
	f.ok(err)
	for c, want := range map[*Client]bool{cathy: false, bob: true} {
		p, err := group(c).Process(msg)
		f.ok(err)
		if r := (&room{group: p.(*mls.ProposalReceived).Next}); r.mayCommit() != want {
			t.Errorf("%s may commit it: %v, want %v", c.URI(), !want, want)
		}
	}
}
