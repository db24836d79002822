package policy

import (
	"errors"
	"testing"

	"hubbub/mimi"
	"hubbub/mls"
	"hubbub/mls/wire"
)

const (
	hub  = mimi.Domain("a.example")
	grit = mimi.UserURI("mimi://b.example/u/grit")
)

// roomOf makes a room of a preset in which users have the roles of these names.
func roomOf(t *testing.T, preset string, roles map[mimi.UserURI]string) *State {
	t.Helper()
	tpl, err := Preset(preset, hub, "a.example", "b.example", "c.example")
	if err != nil {
		t.Fatal(err)
	}
	d, err := tpl.Dictionary(room, "x", alice)
	if err != nil {
		t.Fatal(err)
	}
	list := &mimi.ParticipantListData{Participants: []mimi.Participant{{User: alice, Role: tpl.Creator}}}
	members := []mimi.Identity{device(alice, "phone")}
	for _, u := range []mimi.UserURI{bob, cathy, dave, eve, grit} {
		for i := range tpl.Roles.Roles {
			if r := &tpl.Roles.Roles[i]; r.Name == roles[u] {
				list.Participants = append(list.Participants, mimi.Participant{User: u, Role: r.Index})
				if !r.isBanned() {
					members = append(members, device(u, "phone"))
				}
			}
		}
	}
	s, err := NewState(room, d, members)
	if err != nil {
		t.Fatal(err)
	}
	return s.With(list, members)
}

func TestPresetsAreValid(t *testing.T) {
	for _, name := range append(Presets(), "") {
		tpl, err := Preset(name, hub, "a.example", "b.example")
		if err != nil {
			t.Fatal(err)
		}
		d, err := tpl.Dictionary(room, "Clubhouse", alice)
		if err != nil {
			t.Fatal(err)
		}
		s, err := NewState(room, d, []mimi.Identity{device(alice, "phone")})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		checkDenied(t, Transition(nil, s), "")
		if tpl.Summary == "" || !s.Can(alice, CanChangeRoomMembershipStyle) {
			t.Errorf("%s: the creator is %s", name, s.roleName(alice))
		}
		if _, ok := s.RoleFor(Actor{User: alice}, frank); !ok {
			t.Errorf("%s: the creator can bring nobody in", name)
		}
		if _, err := tpl.Extensions(room, "", alice, mls.ExternalSender{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, bad := range []func() (*Template, error){
		func() (*Template, error) { return Preset("poem", hub) },
		func() (*Template, error) { return Preset("multi-org", hub) },
		func() (*Template, error) { return Preset("multi-org", hub, make([]mimi.Domain, 9)...) },
	} {
		if _, err := bad(); !errors.Is(err, ErrNoPreset) {
			t.Errorf("%v", err)
		}
	}
}

// TestPresetScenarios is what the notes of the draft's examples say (POL-56).
func TestPresetScenarios(t *testing.T) {
	user := func(u mimi.UserURI) Actor { return Actor{User: u, Credential: mls.CredentialTypeBasic} }
	server := Actor{Provider: hub, Credential: mls.CredentialTypeBasic}
	join := func(u mimi.UserURI, role uint32) []Change {
		return []Change{AddClient{Identity: device(u, "new"), External: true}, AddParticipant{u, role}}
	}
	withCode := func(u mimi.UserURI) Actor { a := user(u); a.Code = true; return a }
	rename := ChangeMetadata{&mimi.RoomMetaData{Room: room, Name: "new"}}
	coop := map[mimi.UserURI]string{bob: "ordinary_user", cathy: "ordinary_user", dave: "group_admin", eve: "banned"}
	mod := map[mimi.UserURI]string{bob: "attendee", cathy: "guest", dave: "moderator", eve: "banned", grit: "speaker"}
	orgs := map[mimi.UserURI]string{bob: "b.example_admin", cathy: "c.example_user", dave: "c.example_admin", eve: "banned", grit: "b.example_user"}
	for _, tc := range []struct {
		preset  string
		roles   map[mimi.UserURI]string
		name    string
		by      Actor
		changes []Change
		words   string
	}{
		{"cooperative", coop, "users bring in", user(bob), []Change{AddParticipant{frank, 2}}, ""},
		{"cooperative", coop, "users bring in no admins", user(bob), []Change{AddParticipant{frank, 3}}, "may not move"},
		{"cooperative", coop, "users show out users", user(bob), []Change{RemoveParticipant{cathy}}, ""},
		{"cooperative", coop, "users do not show out admins", user(bob), []Change{RemoveParticipant{dave}}, "may not move anybody from role 3"},
		{"cooperative", coop, "users rename", user(bob), []Change{rename}, ""},
		{"cooperative", coop, "users do not kick", user(bob), []Change{RemoveClient{device(cathy, "phone")}}, "role ordinary_user lacks canKick"},
		{"cooperative", coop, "nobody joins unasked", user(frank), join(frank, 2), "role no_role lacks canOpenJoin"},
		{"cooperative", coop, "admins ban", user(dave), []Change{ChangeRole{cathy, Banned}}, ""},
		{"cooperative", coop, "the hub bans", server, []Change{ChangeRole{cathy, Banned}, RemoveClient{device(cathy, "phone")}}, ""},
		{"cooperative", coop, "the hub clears the banned", server, []Change{RemoveParticipant{eve}}, ""},
		{"cooperative", coop, "the hub restores nobody", server, []Change{ChangeRole{eve, 2}}, "may not move anybody from role 1 to role 2"},
		{"cooperative", coop, "another server", Actor{Provider: "b.example", Credential: mls.CredentialTypeBasic}, []Change{RemoveParticipant{cathy}}, "servers have no role"},

		{"strict", coop, "users bring in nobody", user(bob), []Change{AddParticipant{frank, 2}}, "role ordinary_user lacks canAddParticipant"},
		{"strict", coop, "users do not rename", user(bob), []Change{rename}, "lacks canChangeRoomName"},
		{"strict", coop, "admins bring in", user(dave), []Change{AddParticipant{frank, 2}}, ""},
		{"strict", coop, "by code", withCode(frank), join(frank, 2), ""},
		{"strict", coop, "by code as admin", withCode(frank), join(frank, 3), "may not move anybody from role 0 to role 3"},
		{"strict", coop, "without a code", user(frank), join(frank, 2), "lacks canOpenJoin"},
		{"strict", coop, "the banned with a code", withCode(eve), join(eve, 2), "listed already"},
		{"strict", coop, "admins make links", user(dave), []Change{ChangeComponent{Component: mimi.ComponentJoinLinks, Adds: true}}, ""},
		{"strict", coop, "users do not", user(bob), []Change{ChangeComponent{Component: mimi.ComponentJoinLinks, Adds: true}}, "lacks canCreateJoinCode"},

		{"moderated", mod, "by code as guest", withCode(frank), join(frank, 2), ""},
		{"moderated", mod, "by code as speaker", withCode(frank), join(frank, 4), "may not move"},
		{"moderated", mod, "moderators make speakers", user(dave), []Change{ChangeRole{bob, 4}}, ""},
		{"moderated", mod, "attendees do not", user(bob), []Change{ChangeRole{cathy, 4}}, "lacks canChangeUserRole"},
		{"moderated", mod, "guests bring no devices", user(cathy), []Change{AddClient{Identity: device(cathy, "b"), External: true}}, "role guest lacks canAddOwnClient"},

		{"multi-org", orgs, "admins bring in their own", user(bob), []Change{AddParticipant{frank, 3}}, ""},
		{"multi-org", orgs, "not to another's role", user(bob), []Change{AddParticipant{frank, 4}}, "may not move"},
		{"multi-org", orgs, "admins ban their own", user(bob), []Change{ChangeRole{grit, Banned}}, ""},
		{"multi-org", orgs, "not others", user(bob), []Change{ChangeRole{cathy, Banned}}, "may not move anybody from role 4 to role 1"},
		{"multi-org", orgs, "admins do not unban", user(bob), []Change{ChangeRole{eve, 3}}, "lacks canUnban"},
		{"multi-org", orgs, "the super admin does", user(alice), []Change{ChangeRole{eve, 3}}, ""},
		{"multi-org", orgs, "the host's people join", user("mimi://a.example/u/hugo"), join("mimi://a.example/u/hugo", 2), ""},
		{"multi-org", orgs, "not as admins", user("mimi://a.example/u/hugo"), join("mimi://a.example/u/hugo", 5), "lacks canOpenJoin"},
		{"multi-org", orgs, "others do not", user(frank), join(frank, 3), "lacks canOpenJoin"},
		{"multi-org", orgs, "nor those whose credential is not known", Actor{User: "mimi://a.example/u/hugo"}, join("mimi://a.example/u/hugo", 2), "lacks canOpenJoin"},
	} {
		t.Run(tc.preset+"/"+tc.name, func(t *testing.T) {
			checkDenied(t, AuthorizeProposals(roomOf(t, tc.preset, tc.roles), tc.by, tc.changes), tc.words)
		})
	}
	s := roomOf(t, "moderated", mod)
	checkDenied(t, AuthorizeMessage(s, grit), "")
	checkDenied(t, AuthorizeMessage(s, bob), "bob@b.example may not send: role attendee lacks canSendMessage")
	if r, ok := roomOf(t, "multi-org", orgs).RoleFor(user(alice), frank); !ok || r != 3 {
		t.Errorf("frank of b.example would get role %d, %v", r, ok)
	}
	if r, ok := s.RoleFor(user(cathy), frank); !ok || r != 2 {
		t.Errorf("a guest would give role %d, %v", r, ok)
	}
}

func TestPreauthorisation(t *testing.T) {
	s := roomOf(t, "multi-org", map[mimi.UserURI]string{bob: "b.example_user"})
	basic := func(u mimi.UserURI) Actor { return Actor{User: u, Credential: mls.CredentialTypeBasic} }
	if e := s.PreAuth.Match(basic(bob)); e == nil || e.Role.Name != "b.example_user" {
		t.Errorf("bob matches %+v", e)
	}
	for name, a := range map[string]Actor{"unknown credential": {User: bob}, "another domain": basic("mimi://d.example/u/x"),
		"another credential": {User: bob, Credential: 99}, "a user is no server": basic("mimi://a.example/u/x")} {
		if e := s.PreAuth.Match(a); e != nil && (name != "a user is no server" || e.Role.Name == "policy_enforcer") {
			t.Errorf("%s matches %+v", name, e)
		}
	}
	// The first match decides (POL-7), and an entry without claims matches nobody.
	pre := &PreAuthData{Entries: append([]PreAuthEntry{{Role: s.Roles.Roles[4]}}, append(ClaimEntries(ClaimUser, string(bob), s.Roles.Roles[3]),
		ClaimEntries(ClaimDomain, "b.example", s.Roles.Roles[2])...)...)}
	if e := pre.Match(basic(bob)); e == nil || e.Role.Index != s.Roles.Roles[3].Index {
		t.Errorf("first match %+v", e)
	}
	both := &PreAuthData{Entries: []PreAuthEntry{{Claims: []Claim{
		{mls.CredentialTypeBasic, []byte(ClaimUser), []byte(bob)}, {mls.CredentialTypeBasic, []byte(ClaimDomain), []byte("c.example")}}}}}
	if both.Match(basic(bob)) != nil {
		t.Error("one of two claims is enough")
	}
	// POL-49: only to the role preauthorised for, and only with the right.
	t1 := roomOf(t, "multi-org", nil)
	hugo := mimi.UserURI("mimi://a.example/u/hugo")
	list := &mimi.ParticipantListData{Participants: append(t1.Participants.Participants, mimi.Participant{User: hugo, Role: 5})}
	t1 = t1.With(list, t1.Members)
	checkDenied(t, AuthorizeProposals(t1, basic(hugo), []Change{ChangeRole{hugo, 2}}), "")
	checkDenied(t, AuthorizeProposals(t1, basic(hugo), []Change{ChangeRole{hugo, 3}}), "not preauthorised for that role")
	checkDenied(t, AuthorizeProposals(s, basic(bob), []Change{ChangeRole{bob, 2}}), "lacks canChangeOwnRole")

	// D-57: an entry with another role than the room's is invalid.
	if err := pre.Check(s.Roles); err != nil {
		t.Error(err)
	}
	pre.Entries[1].Role.Name = "another"
	if err := pre.Check(s.Roles); !errors.Is(err, ErrMalformed) {
		t.Errorf("another role: %v", err)
	}
	pre.Entries[1].Role.Index = 99
	if err := pre.Check(s.Roles); !errors.Is(err, ErrMalformed) {
		t.Errorf("unknown role: %v", err)
	}
	after := s.With(s.Participants, s.Members)
	after.PreAuth = pre
	after.components = map[mls.ComponentID]string{mimi.ComponentRolesList: "x", mimi.ComponentPreauthList: "y", mimi.ComponentBaseRoomPolicy: "z"}
	checkDenied(t, Transition(s, after), "does not fit the roles")
}

func TestDecision(t *testing.T) {
	s := clubhouse()
	d := Ask(s, Actor{User: bob}, RemoveParticipant{cathy})
	if d.Allowed || d.Lacks == nil || *d.Lacks != CanRemoveParticipant || d.Actor != "bob@b.example" || d.Action != "remove cathy@c.example" ||
		d.Explain() != "bob@b.example may not remove cathy@c.example: role member lacks canRemoveParticipant" {
		t.Errorf("%+v: %s", d, d.Explain())
	}
	if d := Ask(s, Actor{User: alice}, RemoveParticipant{cathy}); !d.Allowed || d.Explain() != "alice@a.example may remove cathy@c.example" {
		t.Errorf("%+v: %s", d, d.Explain())
	}
	if d := Ask(s, Actor{User: alice}); !d.Allowed || d.Explain() != "alice@a.example may" {
		t.Errorf("%+v: %s", d, d.Explain())
	}
	if d := DecisionOf(deny("the room is full")); d.Allowed || d.Explain() != "the room is full" {
		t.Errorf("%+v", d)
	}
	if d := DecisionOf(ErrMalformed); d.Allowed || d.Cause != ErrMalformed.Error() {
		t.Errorf("%+v", d)
	}
}

func TestEnvelope(t *testing.T) {
	yes := true
	e := &Envelope{Persistent: &yes, MaxUsers: ptr(uint32(10)), Frozen: []mls.ComponentID{mimi.ComponentLoggingPolicy}}
	before, after := clubhouse(), clubhouse()
	checkDenied(t, e.Check(nil, after), "outlive")
	checkDenied(t, e.Check(before, after), "") // not judged again
	after.components[mimi.ComponentBaseRoomPolicy] = "changed"
	checkDenied(t, e.Check(before, after), "outlive")
	after.Base.PersistentRoom = true
	checkDenied(t, e.Check(before, after), "at most 10 users")
	after.Base.MaxUsers = ptr(uint32(11))
	checkDenied(t, e.Check(before, after), "at most 10 users")
	after.Base.MaxUsers = ptr(uint32(10))
	checkDenied(t, e.Check(before, after), "")
	after.components[mimi.ComponentLoggingPolicy] = "x"
	checkDenied(t, e.Check(before, after), "the policy on logging")
}

func TestParent(t *testing.T) {
	parent, child := clubhouse(), clubhouse()
	child.Room += "2"
	checkDenied(t, CheckParent(child, parent), "does not name")
	child.Base.ParentDependant, child.Base.ParentRoom = true, parent.Room
	checkDenied(t, CheckParent(child, parent), "everybody")
	child.Participants.Participants = child.Participants.Participants[:2]
	checkDenied(t, CheckParent(child, parent), "")
	parent.Participants.Participants[1].Role = Banned
	checkDenied(t, CheckParent(child, parent), "bob@b.example is not in the parent")
	if o := Orphans(child, parent); len(o) != 1 || o[0] != bob {
		t.Errorf("orphans %v", o)
	}
	child.Room = "mimi://b.example/r/x"
	checkDenied(t, CheckParent(child, parent), "another hub")
	if set := child.ParticipantSet(); len(set) != 2 || set[0] != alice {
		t.Errorf("set %v", set)
	}
}

// Our leaves say which media types they can receive, among them what every room may
// demand (EXT-19), so that a room that demands it takes them in.
func TestLeafListsMediaTypes(t *testing.T) {
	d, err := mls.Extensions{LeafExtension()}.Dictionary()
	if err != nil {
		t.Fatal(err)
	}
	data, _ := d.Get(mls.ComponentContentMediaTypes)
	var list mls.MediaTypeList
	if err := wire.Unmarshal(data, &list); err != nil {
		t.Fatal(err)
	}
	want := []string{"application/mimi-content", "text/plain", "text/markdown"}
	for _, m := range list {
		if len(want) > 0 && m.Type == want[0] {
			want = want[1:]
		}
	}
	if len(want) > 0 {
		t.Errorf("not advertised: %v", want)
	}
}
