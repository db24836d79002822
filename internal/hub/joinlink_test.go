package hub_test

import (
	"crypto/rand"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"hubbub/internal/hub"
	"hubbub/internal/peer"
	"hubbub/internal/room/roomtest"
	"hubbub/internal/store"
	"hubbub/mimi"
	"hubbub/mimi/policy"
	"hubbub/mls"
	"hubbub/mls/wire"
)

// doors is a room with join links, made by alice, at a hub with a clock of its own. Bob is
// in it.
type doors struct {
	*bench
	now time.Time
}

// newDoors makes the room with a policy on links. Codes are counted if tries is not 0.
func newDoors(t *testing.T, links policy.JoinLinkPolicy, tries int, more ...[]byte) *doors {
	t.Helper()
	x := &doors{bench: newBench(t), now: time.Now().Truncate(time.Second)}
	x.world.Now = func() time.Time { return x.now }
	cfg := hub.Config{Domain: "a.localhost", Store: x.store, Env: roomtest.Env(), SignatureKey: x.key, Now: x.world.Now}
	if tries > 0 {
		cfg.Codes = peer.NewLimits[mimi.UserURI]("joining codes", peer.Limit{Rate: float64(tries) / 600, Burst: tries}, x.world.Now)
	}
	x.hub = hub.New(cfg)
	template, err := policy.Preset("default", "a.localhost")
	x.must(err)
	template.Links = &links
	var components map[mls.ComponentID]wire.Encoder
	if len(more) > 0 {
		components = map[mls.ComponentID]wire.Encoder{mimi.ComponentJoinLinks: &mimi.JoinLinks{Links: more}}
	}
	in := x.alice.CreateAs(chat, x.key, template, components)
	x.must(x.hub.Create(t.Context(), x.alice.URI, hub.CreateRequest{Room: chat, GroupInfo: in.GroupInfo, Tree: in.Tree}))
	x.update(x.alice, x.alice.Add(x.bob.KeyPackage()))
	x.view(func(tx store.ReadTx) error {
		list, err := tx.OutWelcomes(chat, "b.localhost", 0)
		if err == nil {
			x.bob.Join(list[0].Body)
			x.read[x.bob] = 1
		}
		return err
	})
	return x
}

// change updates the room's links by a commit of alice's.
func (x *doors) change(u *mimi.JoinLinksUpdate) {
	x.Helper()
	x.now = x.now.Add(time.Second) // entries of one moment are a millisecond apart
	data, err := u.Marshal()
	x.must(err)
	x.update(x.alice, x.alice.Commit(mls.Proposal{Type: mls.ProposalTypeAppDataUpdate, AppDataUpdate: &mls.AppDataUpdate{
		Component: mimi.ComponentJoinLinks, Op: mls.AppDataUpdateOpUpdate, Data: data}}))
}

// link makes a link.
func (x *doors) link(single bool, notAfter time.Time) mimi.JoinLink {
	x.Helper()
	var code [mimi.JoinCodeBytes]byte
	rand.Read(code[:])
	l := mimi.NewJoinLink(chat, code)
	e := mimi.JoinLinkEntry{Hash: l.Hash(), Single: single}
	if !notAfter.IsZero() {
		e.NotAfter = uint64(notAfter.Unix())
	}
	x.change(&mimi.JoinLinksUpdate{Added: [][]byte{e.Marshal()}})
	return l
}

// ask shows a code; nil if the hub refuses.
func (x *doors) ask(c *roomtest.Client, uri mimi.RoomURI, code []byte) (*mimi.GroupInfoRatchetTree, error) {
	x.Helper()
	private, public, err := roomtest.Suite.GenerateHPKEKey(rand.Reader)
	x.must(err)
	req := &mimi.GroupInfoRequest{Credential: c.Credential(), PublicKey: public, JoiningCode: code}
	x.must(req.Sign(c.Key()))
	body, err := req.Marshal()
	x.must(err)
	b, err := x.hub.GroupInfo(x.Context(), c.User.Domain(), uri, body)
	if err != nil {
		return nil, err
	}
	a, err := mimi.ParseGroupInfoResponse(b)
	x.must(err)
	if a.Status == mimi.GroupInfoNotAuthorized {
		return nil, nil
	}
	content, err := a.Open(private)
	x.must(err)
	return content, nil
}

// shows demands that a code is taken.
func (x *doors) shows(c *roomtest.Client, code []byte) *mimi.GroupInfoRatchetTree {
	x.Helper()
	content, err := x.ask(c, chat, code)
	x.must(err)
	if content == nil {
		x.Fatalf("%s: the code was refused", c)
	}
	return content
}

// refused demands that a code is not taken, and that nothing remembers it.
func (x *doors) refused(why string, c *roomtest.Client, uri mimi.RoomURI, code []byte) {
	x.Helper()
	before := x.dump()
	content, err := x.ask(c, uri, code)
	x.must(err)
	if content != nil {
		x.Errorf("%s: %s is given what joining takes", why, c)
	}
	if x.dump() != before {
		x.Errorf("%s: the refusal changed the database", why)
	}
}

// joins has a client join as a member with what it was given; the answer is why not.
func (x *doors) joins(c *roomtest.Client, content *mimi.GroupInfoRatchetTree) string {
	x.Helper()
	body := c.JoinAs(&content.GroupInfo, content.RatchetTree.Tree, []mls.Proposal{roomtest.ListUpdate(x, &mimi.ParticipantListUpdate{
		Added: []mimi.Participant{{User: c.User, Role: policy.Member}}})})
	before := x.dump()
	b, err := x.hub.Update(x.Context(), c.User.Domain(), chat, body)
	var p *mimi.Problem
	if errors.As(err, &p) {
		c.Drop()
		if x.dump() != before {
			x.Error("a refused join changed the database")
		}
		return p.Code
	}
	x.must(err)
	a := x.parseUpdate(b)
	if a.Code == mimi.UpdateSuccess {
		x.read[c] = x.head().Seq - 1
		x.follow(c, x.alice)
		return ""
	}
	c.Drop()
	if x.dump() != before {
		x.Error("a refused join changed the database")
	}
	return string(a.Description)
}

func (x *doors) want(what, got, words string) {
	x.Helper()
	if words == "" && got != "" || words != "" && !strings.Contains(got, words) {
		x.Errorf("%s: refused because %q, want %q", what, got, words)
	}
}

var week = policy.JoinLinkPolicy{Expiration: 7 * 24 * 3600}

// TestJoinByCode has a user of a provider that has no part in the room come by a link that
// is for one user (GI-13, POL-21, POL-44).
func TestJoinByCode(t *testing.T) {
	x := newDoors(t, week, 0)
	l := x.link(false, time.Time{})
	eve := x.world.Client("eve@c.localhost", "phone")
	x.refused("without a code", eve, chat, nil)
	x.refused("another code", eve, chat, []byte("let me in"))
	x.refused("a code for another room", eve, "mimi://a.localhost/r/none", l.Code())

	content := x.shows(x.cathy, l.Code())
	x.shows(x.cathy, l.Code()) // as often as it likes
	x.refused("shown by another", eve, chat, l.Code())
	x.want("the user who showed it", x.joins(x.cathy, content), "")
	x.view(func(tx store.ReadTx) error { // her own commit is the first thing her provider hears
		f, err := tx.Fanout(chat, "c.localhost")
		if err == nil && f.Sent != x.head().Seq-1 {
			t.Errorf("the queue of her provider begins after %d, her commit is %d", f.Sent, x.head().Seq)
		}
		return err
	})
	x.refused("used", eve, chat, l.Code())
	x.refused("used, and its user in the room", x.world.Client("cathy@c.localhost", "laptop"), "mimi://a.localhost/r/none", l.Code())

	// A further device needs no code. Taken out, its user cannot come back by what is used.
	if laptop, err := x.ask(x.world.Client("cathy@c.localhost", "laptop"), chat, nil); err != nil || laptop == nil {
		t.Errorf("a further device: %v", err)
	}
	x.update(x.alice, x.alice.Commit(x.alice.Removal(x.cathy.User)...))
	x.refused("used, and its user out again", x.world.Client("cathy@c.localhost", "tablet"), chat, l.Code())
}

// TestCodeIsTiedToItsUser is GI-4: what one user was given by a code lets nobody else in.
func TestCodeIsTiedToItsUser(t *testing.T) {
	x := newDoors(t, week, 0)
	content := x.shows(x.cathy, x.link(false, time.Time{}).Code())
	before := x.head()
	x.want("another user of that provider", x.joins(x.world.Client("eve@c.localhost", "phone"), content), mimi.CodeNoSuchRoom)
	x.want("a user of a provider in the room", x.joins(x.world.Client("eve@b.localhost", "phone"), content), "eve@b.localhost may not add eve@b.localhost: role outside lacks canOpenJoin")
	if x.head() != before {
		t.Error("somebody else came in")
	}
	x.want("its user", x.joins(x.cathy, content), "")
}

// TestCodeGoneMeanwhile: between the answer and the join a code can run out or be revoked.
func TestCodeGoneMeanwhile(t *testing.T) {
	for name, spoil := range map[string]func(x *doors){
		"expired": func(x *doors) { x.now = x.now.Add(7 * 24 * time.Hour) },
		"revoked": func(x *doors) { x.change(&mimi.JoinLinksUpdate{Removed: []uint32{0}}) },
	} {
		t.Run(name, func(t *testing.T) {
			x := newDoors(t, week, 0)
			l := x.link(false, time.Time{})
			x.shows(x.cathy, l.Code())
			spoil(x)
			x.refused(name, x.cathy, chat, l.Code())
			gi := new(mls.GroupInfo) // of the present epoch, by whatever way
			var content *mimi.GroupInfoRatchetTree
			if got, err := x.ask(x.world.Client("bob@b.localhost", "laptop"), chat, nil); err == nil && got != nil {
				content, gi = got, &got.GroupInfo
			}
			if content == nil || gi.GroupContext.Epoch != x.alice.Group.Epoch() {
				t.Fatal("no GroupInfo")
			}
			x.want(name, x.joins(x.cathy, content), mimi.CodeNoSuchRoom)
		})
	}
}

// TestCodeKinds goes through what the room's policy and the author of a link allow.
func TestCodeKinds(t *testing.T) {
	several := policy.JoinLinkPolicy{MultiUser: true, Expiration: 60}
	eve := func(x *doors) *roomtest.Client { return x.world.Client("eve@b.localhost", "phone") }
	t.Run("for several", func(t *testing.T) {
		x := newDoors(t, several, 0)
		l := x.link(false, time.Time{})
		x.want("the first", x.joins(x.cathy, x.shows(x.cathy, l.Code())), "")
		e := eve(x)
		x.want("the second", x.joins(e, x.shows(e, l.Code())), "")
	})
	t.Run("for one among several", func(t *testing.T) {
		x := newDoors(t, several, 0)
		l := x.link(true, time.Time{})
		x.want("the first", x.joins(x.cathy, x.shows(x.cathy, l.Code())), "")
		x.refused("the second", eve(x), chat, l.Code())
	})
	t.Run("expires", func(t *testing.T) {
		x := newDoors(t, several, 0)
		l := x.link(false, time.Time{})
		x.now = x.now.Add(59 * time.Second)
		x.shows(eve(x), l.Code())
		x.now = x.now.Add(time.Second)
		x.refused("expired", eve(x), chat, l.Code())
	})
	t.Run("expires as its author says", func(t *testing.T) {
		x := newDoors(t, several, 0)
		l := x.link(false, x.now.Add(11*time.Second))
		x.now = x.now.Add(9 * time.Second)
		x.shows(eve(x), l.Code())
		x.now = x.now.Add(time.Second)
		x.refused("expired", eve(x), chat, l.Code())
	})
	t.Run("never valid", func(t *testing.T) { // D-83
		x := newDoors(t, policy.JoinLinkPolicy{MultiUser: true}, 0)
		x.refused("0 seconds", eve(x), chat, x.link(false, time.Time{}).Code())
	})
	t.Run("revoked, and made anew", func(t *testing.T) {
		x := newDoors(t, week, 0)
		l := x.link(false, time.Time{})
		x.shows(x.cathy, l.Code())
		x.change(&mimi.JoinLinksUpdate{Removed: []uint32{0}})
		x.refused("revoked", x.cathy, chat, l.Code())
		again := mimi.JoinLinkEntry{Hash: l.Hash()}
		x.change(&mimi.JoinLinksUpdate{Added: [][]byte{again.Marshal()}})
		x.shows(eve(x), l.Code())
	})
	t.Run("of another make, there from the start", func(t *testing.T) {
		x := newDoors(t, week, 0, []byte("https://a.localhost/join/123"))
		x.refused("part of it", eve(x), chat, []byte("https://a.localhost/join/12"))
		x.want("the link itself", x.joins(x.cathy, x.shows(x.cathy, []byte("https://a.localhost/join/123"))), "")
	})
	t.Run("banned", func(t *testing.T) {
		x := newDoors(t, several, 0)
		l := x.link(false, time.Time{})
		ban := []mls.Proposal{roomtest.ListUpdate(t, &mimi.ParticipantListUpdate{
			ChangedRoles: []mimi.RoleChange{{UserIndex: uint32(x.alice.Participants().Index(x.bob.User)), Role: policy.Banned}}})}
		for _, leaf := range x.alice.Leaves(x.bob.User) {
			ban = append(ban, mls.Proposal{Type: mls.ProposalTypeRemove, Remove: &mls.Remove{Removed: leaf}})
		}
		x.update(x.alice, x.alice.Commit(ban...))
		x.refused("banned", x.world.Client("bob@b.localhost", "laptop"), chat, l.Code())
	})
}

// TestCodesSurvive: what is remembered of codes is in the database.
func TestCodesSurvive(t *testing.T) {
	x := newDoors(t, week, 0)
	used, shown := x.link(false, time.Time{}), x.link(false, time.Time{})
	x.want("the first", x.joins(x.cathy, x.shows(x.cathy, used.Code())), "")
	eve := x.world.Client("eve@b.localhost", "phone")
	content := x.shows(eve, shown.Code())
	x.open()
	x.refused("used before", x.world.Client("frank@b.localhost", "phone"), chat, used.Code())
	x.refused("shown before", x.world.Client("frank@b.localhost", "phone"), chat, shown.Code())
	x.want("by what was shown before", x.joins(eve, content), "")
}

// TestCodesAreCounted lets a user be wrong five times in ten minutes, in rooms that exist
// and in others (H76).
func TestCodesAreCounted(t *testing.T) {
	x := newDoors(t, policy.JoinLinkPolicy{MultiUser: true, Expiration: 3600}, 5)
	l := x.link(false, time.Time{})
	eve := x.world.Client("eve@c.localhost", "phone")
	for range 6 {
		x.shows(x.cathy, l.Code()) // codes that are good do not count
	}
	for i := range 5 {
		uri := chat
		if i%2 == 1 {
			uri = "mimi://a.localhost/r/none"
		}
		x.refused("wrong", eve, uri, []byte{byte(i)})
	}
	var p *mimi.Problem
	if _, err := x.ask(eve, chat, l.Code()); !errors.As(err, &p) || p.Status != http.StatusTooManyRequests ||
		p.RetryAfter <= 0 || p.RetryAfter > 2*time.Minute || strings.Contains(p.Error(), string(l.Code())) {
		t.Errorf("the sixth: %v", err)
	}
	x.shows(x.cathy, l.Code()) // each user for themselves
	x.now = x.now.Add(2 * time.Minute)
	x.want("later", x.joins(eve, x.shows(eve, l.Code())), "")
}
