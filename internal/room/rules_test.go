package room_test

import (
	"strings"
	"testing"
	"time"

	"hubbub/internal/room"
	"hubbub/internal/room/roomtest"
	"hubbub/mimi"
	"hubbub/mimi/policy"
	"hubbub/mls"
	"hubbub/mls/wire"
)

// rules is a room of some policy at its hub, with a replica beside it.
type rules struct {
	*testing.T
	env     *room.Env
	world   *roomtest.World
	state   room.State
	alice   *roomtest.Client
	clients []*roomtest.Client
}

func newRules(t *testing.T, change func(*policy.Template), more map[mls.ComponentID]wire.Encoder) *rules {
	t.Helper()
	r := &rules{T: t, env: roomtest.Env()}
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	r.world = &roomtest.World{T: t, Now: func() time.Time { return now }}
	key := r.world.NewKey()
	r.env.Signer = key
	template, err := policy.Preset("strict", "a.localhost")
	if err != nil {
		t.Fatal(err)
	}
	change(template)
	for id := range more {
		template.Base.Components = append(template.Base.Components, id)
	}
	r.alice = r.world.Client("alice@a.localhost", "phone")
	s, eff, err := room.Create(r.env, r.alice.CreateAs(storyRoom, key, template, more), r.nowMS())
	if err != nil || eff.Refusal != nil {
		t.Fatalf("%v, %v", eff.Refusal, err)
	}
	r.state, r.clients = s, []*roomtest.Client{r.alice}
	return r
}

func (r *rules) nowMS() uint64 { return uint64(r.world.Now().UnixMilli()) }

// try submits a handshake; "" if hub and replica accept it, else why the hub does not.
func (r *rules) try(peer mimi.Domain, code bool, body []byte) string {
	r.Helper()
	in, err := room.ParseHandshake(peer, body)
	if err != nil {
		r.Fatal(err)
	}
	in.Code = code
	return r.step(in)
}

func (r *rules) step(in room.Input) string {
	r.Helper()
	next, eff, err := room.Step(r.env, r.state, in, r.nowMS())
	if err != nil {
		r.Fatal(err)
	}
	if eff.Refusal != nil {
		return eff.Refusal.Description
	}
	list, err := room.ParseAnnouncements(eff.Entry.Body)
	if err != nil {
		r.Fatal(err)
	}
	replica, told, err := room.Step(r.env, r.state, list[0], r.nowMS())
	if err != nil || told.Refusal != nil || replica.Pos != next.Pos {
		r.Fatalf("the replica differs: %v, %v", told.Refusal, err)
	}
	r.state = next
	for _, c := range r.clients {
		c.Follow(eff.Entry.Body)
	}
	if eff.Welcome != nil {
		r.clients[len(r.clients)-1].Join(eff.Welcome.Body)
	}
	return ""
}

func (r *rules) want(got, words string) {
	r.Helper()
	if words == "" && got != "" || words != "" && !strings.Contains(got, words) {
		r.Errorf("refused because %q, want %q", got, words)
	}
}

// join has a user come by itself in a role.
func (r *rules) join(handle string, role uint32, code bool) string {
	r.Helper()
	c := r.world.Client(handle, "phone")
	gi := new(mls.GroupInfo)
	if err := wire.Unmarshal(r.state.GroupInfo(), gi); err != nil {
		r.Fatal(err)
	}
	body := c.JoinAs(gi, r.state.Group().Tree(), []mls.Proposal{roomtest.ListUpdate(r, &mimi.ParticipantListUpdate{
		Added: []mimi.Participant{{User: c.User, Role: role}}})})
	return r.try(c.User.Domain(), code, body)
}

// ownRole has a client change the role of its own user.
func (r *rules) ownRole(c *roomtest.Client, role uint32) string {
	r.Helper()
	index := c.Participants().Index(c.User)
	return r.try(c.User.Domain(), false, c.Commit(roomtest.ListUpdate(r, &mimi.ParticipantListUpdate{
		ChangedRoles: []mimi.RoleChange{{UserIndex: uint32(index), Role: role}}})))
}

// add brings a client in whose entries follow from now on.
func (r *rules) add(handle string) (*roomtest.Client, string) {
	r.Helper()
	c := r.world.Client(handle, "phone")
	body := r.alice.Add(c.KeyPackage())
	r.clients = append(r.clients, c)
	c.Group = nil
	why := r.try("a.localhost", false, body)
	if why != "" {
		r.clients = r.clients[:len(r.clients)-1]
	}
	return c, why
}

// TestJoiningByOneself is who may come without being added (POL-43, POL-44), and which
// role of its own a user may take (POL-49): the hub tells the policy which credential was
// shown and whether a code was good.
func TestJoiningByOneself(t *testing.T) {
	r := newRules(t, func(tpl *policy.Template) {
		tpl.PreAuth.Entries = append(tpl.PreAuth.Entries, policy.ClaimEntries(policy.ClaimUser, "mimi://b.localhost/u/cathy", tpl.Roles.Roles[3])...)
		tpl.PreAuth.Entries = append(tpl.PreAuth.Entries, policy.ClaimEntries(policy.ClaimDomain, "b.localhost", tpl.Roles.Roles[2])...)
	}, nil)
	r.want(r.join("bob@b.localhost", 3, false), "bob@b.localhost may not add bob@b.localhost: role no_role lacks canOpenJoin")
	r.want(r.join("bob@b.localhost", 2, false), "")
	r.want(r.join("dave@c.localhost", 2, false), "role no_role lacks canOpenJoin")
	r.want(r.join("dave@c.localhost", 3, true), "may not move anybody from role 0 to role 3")
	r.want(r.join("dave@c.localhost", 2, true), "")
	cathy, why := r.add("cathy@b.localhost")
	r.want(why, "")
	r.want(r.ownRole(cathy, 4), "not preauthorised for that role")
	r.want(r.ownRole(cathy, 3), "")
	r.want(r.ownRole(r.alice, 3), "not preauthorised for that role")
}

// TestOperationalPolicy is what a room's operational parameters keep out (POL-31).
func TestOperationalPolicy(t *testing.T) {
	with := func(p policy.OperationalParameters) *rules {
		t.Helper()
		return newRules(t, func(*policy.Template) {}, map[mls.ComponentID]wire.Encoder{mimi.ComponentOperationalPolicy: &p})
	}
	const day = 24 * 60 * 60
	t.Run("external commits", func(t *testing.T) {
		r := with(policy.OperationalParameters{ExternalProposalAllowed: true})
		r.want(r.join("dave@c.localhost", 2, true), "the room takes no external commits")
		r = with(policy.OperationalParameters{ExternalCommitAllowed: true})
		r.want(r.join("dave@c.localhost", 2, true), "")
	})
	t.Run("lifetime", func(t *testing.T) {
		r := with(policy.OperationalParameters{MaxKeyPackageLifetime: day})
		_, why := r.add("bob@b.localhost")
		r.want(why, "a KeyPackage lives longer than the room's policy allows")
		r = with(policy.OperationalParameters{MaxKeyPackageLifetime: 90 * day})
		_, why = r.add("bob@b.localhost")
		r.want(why, "")
	})
	t.Run("handshakes", func(t *testing.T) {
		r := with(policy.OperationalParameters{HandshakeFormats: []mls.WireFormat{mls.WireFormatPrivateMessage}})
		_, why := r.add("bob@b.localhost")
		r.want(why, "does not take handshakes as")
	})
	t.Run("epochs", func(t *testing.T) {
		r := with(policy.OperationalParameters{EpochTolerance: 1})
		old, late := r.alice.Post("two epochs late"), []byte(nil)
		r.want(r.try("a.localhost", false, r.alice.Commit()), "")
		late = r.alice.Post("one epoch late")
		r.want(r.try("a.localhost", false, r.alice.Commit()), "")
		for body, words := range map[*[]byte]string{&old: "the room is in a later epoch", &late: ""} {
			in, err := room.ParseSubmission("a.localhost", *body)
			if err != nil {
				t.Fatal(err)
			}
			_, eff, err := room.Step(r.env, r.state, in, r.nowMS())
			if err != nil {
				t.Fatal(err)
			}
			if words == "" && eff.Refusal != nil || words != "" && (eff.Refusal == nil || eff.Refusal.Description != words) {
				t.Errorf("%v, want %q", eff.Refusal, words)
			}
		}
	})
}

// TestNotHere is what this hub does not do, and says so (D-42, D-50).
func TestNotHere(t *testing.T) {
	r := newRules(t, func(*policy.Template) {}, nil)
	body := r.alice.Commit(mls.Proposal{Type: mls.ProposalTypeReInit, ReInit: &mls.ReInit{
		GroupID: []byte("mimi://a.localhost/g/next"), Version: mls.MLS10, CipherSuite: roomtest.Suite}})
	r.want(r.try("a.localhost", false, body), "cannot move a room to another group")
	body = r.alice.Propose(mls.Proposal{Type: mls.ProposalTypeReInit, ReInit: &mls.ReInit{
		GroupID: []byte("mimi://a.localhost/g/next"), Version: mls.MLS10, CipherSuite: roomtest.Suite}})
	r.want(r.try("a.localhost", false, body), "cannot move a room to another group")

	semi := &mls.Message{Version: mls.MLS10, WireFormat: mls.WireFormatSemiPrivateMessage, SemiPrivate: &mls.SemiPrivateMessage{
		GroupID: []byte("mimi://a.localhost/g/x"), ContentType: mls.ContentTypeCommit}}
	octets, err := semi.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	begin := strings.Index(string(body), "\x00\x01\x00\x01") // version and wire format of the first message
	if _, err = room.ParseHandshake("a.localhost", append([]byte(body[:begin]), octets...)); err == nil || !strings.Contains(err.Error(), "semi-private handshakes are not taken") {
		t.Errorf("a semi-private handshake: %v", err)
	}
}
