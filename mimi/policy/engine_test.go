package policy

import (
	"errors"
	"strings"
	"testing"

	"hubbub/mimi"
	"hubbub/mls"
)

const (
	room  = mimi.RoomURI("mimi://a.example/r/clubhouse")
	alice = mimi.UserURI("mimi://a.example/u/alice") // admin
	bob   = mimi.UserURI("mimi://b.example/u/bob")   // member
	cathy = mimi.UserURI("mimi://c.example/u/cathy") // member
	dave  = mimi.UserURI("mimi://c.example/u/dave")  // member without clients
	eve   = mimi.UserURI("mimi://b.example/u/eve")   // banned
	frank = mimi.UserURI("mimi://b.example/u/frank") // not listed
)

func device(u mimi.UserURI, name string) mimi.Identity {
	c, err := mimi.NewClient(u, name)
	if err != nil {
		panic(err)
	}
	return mimi.Identity{User: u, Client: c}
}

// clubhouse is the room most tests start from.
func clubhouse() *State {
	return &State{
		Room: room, Base: DefaultBase(), Roles: DefaultRoles(),
		Participants: &mimi.ParticipantListData{Participants: []mimi.Participant{
			{User: alice, Role: Admin}, {User: bob, Role: Member}, {User: cathy, Role: Member},
			{User: dave, Role: Member}, {User: eve, Role: Banned},
		}},
		Metadata: &mimi.RoomMetaData{Room: room, Name: "Clubhouse"},
		Members:  []mimi.Identity{device(alice, "phone"), device(bob, "phone"), device(bob, "tablet"), device(cathy, "phone")},
		components: map[mls.ComponentID]string{
			mimi.ComponentRolesList: "r", mimi.ComponentPreauthList: "", mimi.ComponentBaseRoomPolicy: "b",
		},
	}
}

func (s *State) role(index uint32) *Role { return s.Roles.Role(index) }

func (s *State) grant(index uint32, c ...Capability) {
	s.role(index).Capabilities = append(s.role(index).Capabilities, c...)
}

func checkDenied(t *testing.T, err error, words string) {
	t.Helper()
	if words == "" {
		if err != nil {
			t.Errorf("refused: %v", err)
		}
		return
	}
	var d *Denied
	if !errors.As(err, &d) || !errors.Is(err, ErrDenied) || !strings.Contains(d.Reason, words) {
		t.Errorf("got %v, want a refusal with %q", err, words)
	}
}

func TestAuthorizeProposals(t *testing.T) {
	type changes = []Change
	user := func(u mimi.UserURI) Actor { return Actor{User: u} }
	out := func(u mimi.UserURI, names ...string) (list changes) {
		for _, n := range names {
			list = append(list, RemoveClient{device(u, n)})
		}
		return list
	}
	in := func(u mimi.UserURI, name string) Change { return AddClient{Identity: device(u, name)} }
	join := func(u mimi.UserURI, name string) Change { return AddClient{Identity: device(u, name), External: true} }
	meta := func(m mimi.RoomMetaData) Change { return ChangeMetadata{&m} }
	for _, tc := range []struct {
		name    string
		by      Actor
		changes changes
		words   string // empty: allowed
		setup   func(s *State)
	}{
		// POL-40
		{"member adds user", user(bob), changes{AddParticipant{frank, Member}}, "", nil},
		{"member adds user with clients", user(bob), changes{AddParticipant{frank, Member}, in(frank, "a"), in(frank, "b")}, "", nil},
		{"member adds admin", user(bob), changes{AddParticipant{frank, Admin}}, "may not move anybody from role 0 to role 3", nil},
		{"adds with unknown role", user(alice), changes{AddParticipant{frank, 9}}, "no such role", nil},
		{"adds with role 0", user(alice), changes{AddParticipant{frank, Outside}}, "no such role", nil},
		{"adds the listed", user(alice), changes{AddParticipant{bob, Member}}, "listed already", nil},
		{"adds the banned", user(alice), changes{AddParticipant{eve, Member}}, "listed already", nil},
		{"right missing", user(bob), changes{AddParticipant{frank, Member}}, "role member lacks canAddParticipant",
			func(s *State) { s.role(Member).Capabilities = nil }},
		{"outsider adds", user(frank), changes{AddParticipant{dave, Member}}, "listed already", nil},
		{"outsider adds another", user("mimi://b.example/u/x"), changes{AddParticipant{frank, Member}}, "role outside lacks canAddParticipant", nil},
		{"banned adds", user(eve), changes{AddParticipant{frank, Member}}, "role banned lacks canAddParticipant", nil},
		{"adds himself", user(frank), changes{AddParticipant{frank, Member}}, "nobody can put themselves on the list", nil},
		{"fixed membership", user(alice), changes{AddParticipant{frank, Member}}, "fixed", func(s *State) { s.Base.FixedMembership = true }},
		// D-59
		{"adds client of the inactive", user(bob), changes{in(dave, "a")}, "", nil},
		{"adds client of the active", user(bob), changes{in(cathy, "a")}, "they are in the group", nil},
		{"adds client of the unlisted", user(bob), changes{in(frank, "a")}, "not a participant", nil},
		{"adds client of the banned", user(alice), changes{in(eve, "a")}, "not a participant", nil},
		{"adds client of an inactive admin", user(bob), changes{in(dave, "a")}, "role 0 to role 3",
			func(s *State) { s.Participants.Participants[3].Role = Admin }},
		{"client of another provider", user(bob), changes{AddClient{Identity: mimi.Identity{User: dave, Client: "mimi://b.example/d/dave/a"}}},
			"another provider", nil},
		// POL-41
		{"own client", user(bob), changes{in(bob, "watch")}, "", nil},
		{"own client joins", user(dave), changes{join(dave, "a")}, "", nil},
		{"own client, right missing", user(bob), changes{in(bob, "watch")}, "lacks canAddOwnClient",
			func(s *State) { s.role(Member).Capabilities = []Capability{CanSendMessage} }},
		{"outsider joins", user(frank), changes{join(frank, "a")}, "not a participant", nil},
		{"banned joins", user(eve), changes{join(eve, "a")}, "not a participant", nil},
		{"rejoins with its old leaf", user(bob), changes{join(bob, "phone"), RemoveClient{device(bob, "phone")}}, "",
			func(s *State) { s.role(Member).Capabilities = []Capability{CanAddOwnClient} }},
		// POL-42
		{"open room", user(frank), changes{join(frank, "a"), AddParticipant{frank, Member}}, "", openRoom},
		{"open room, wrong role", user(frank), changes{join(frank, "a"), AddParticipant{frank, Admin}}, "role 0 to role 3", openRoom},
		{"closed room", user(frank), changes{join(frank, "a"), AddParticipant{frank, Member}}, "role outside lacks canOpenJoin", nil},
		// POL-45
		{"admin removes", user(alice), append(out(bob, "phone", "tablet"), RemoveParticipant{bob}), "", nil},
		{"admin unlists the banned", user(alice), changes{RemoveParticipant{eve}}, "", nil},
		{"member removes", user(bob), changes{RemoveParticipant{cathy}},
			"bob@b.example may not remove cathy@c.example: role member lacks canRemoveParticipant", nil},
		{"not from that role", user(alice), changes{RemoveParticipant{bob}}, "role 2 to role 0",
			func(s *State) { s.role(Admin).RoleChanges = nil }},
		{"removes under fixed membership", user(alice), changes{RemoveParticipant{bob}}, "fixed", func(s *State) { s.Base.FixedMembership = true }},
		// POL-46
		{"leaves", user(bob), append(out(bob, "phone", "tablet"), RemoveParticipant{bob}), "", nil},
		{"leaves without clients", user(dave), changes{RemoveParticipant{dave}}, "", nil},
		{"leaves with half", user(bob), append(out(bob, "phone"), RemoveParticipant{bob}), "all their clients", nil},
		{"leaves with none", user(bob), changes{RemoveParticipant{bob}}, "all their clients", nil},
		{"leaves without the right", user(bob), append(out(bob, "phone", "tablet"), RemoveParticipant{bob}), "lacks canRemoveSelf",
			func(s *State) { s.role(Member).Capabilities = []Capability{CanRemoveOwnClient} }},
		{"leaves under fixed membership", user(bob), append(out(bob, "phone", "tablet"), RemoveParticipant{bob}), "fixed",
			func(s *State) { s.Base.FixedMembership = true }},
		{"withdraws all clients", user(bob), out(bob, "phone", "tablet"), "", func(s *State) { s.Base.FixedMembership = true }},
		{"withdraws without the right", user(bob), out(bob, "phone"), "lacks canRemoveOwnClient",
			func(s *State) { s.role(Member).Capabilities = []Capability{CanRemoveSelf} }},
		// POL-47
		{"admin kicks", user(alice), out(bob, "tablet"), "", nil},
		{"member kicks", user(cathy), out(bob, "tablet"), "role member lacks canKick", nil},
		{"member sees to those leaving", user(cathy), out(bob, "tablet"), "", func(s *State) {
			s.Participants.Participants = s.Participants.Participants[:1]
		}},
		// POL-48, POL-50, POL-51
		{"admin promotes", user(alice), changes{ChangeRole{bob, Admin}}, "", nil},
		{"member promotes himself", user(bob), changes{ChangeRole{bob, Admin}}, "lacks canChangeOwnRole", nil},
		{"member promotes", user(bob), changes{ChangeRole{cathy, Admin}}, "lacks canChangeUserRole", nil},
		{"role out of reach", user(alice), changes{ChangeRole{bob, Admin}}, "role 2 to role 3",
			func(s *State) { s.role(Admin).RoleChanges = []RoleChanges{{Member, []uint32{Outside}}} }},
		{"unknown role", user(alice), changes{ChangeRole{bob, 9}}, "no such role", nil},
		{"role of the unlisted", user(alice), changes{ChangeRole{frank, Member}}, "not listed", nil},
		{"bans", user(alice), append(out(bob, "phone", "tablet"), ChangeRole{bob, Banned}), "", nil},
		{"bans without the right", user(cathy), changes{ChangeRole{bob, Banned}}, "lacks canBan", nil},
		{"no role for the banned", user(alice), changes{ChangeRole{bob, Banned}}, "no role for the banned",
			func(s *State) { s.role(Banned).Name = "guest" }},
		{"unbans", user(alice), changes{ChangeRole{eve, Member}}, "", nil},
		{"unbans without the right", user(bob), changes{ChangeRole{eve, Member}}, "lacks canUnban", nil},
		{"unban does not add clients", user(alice), changes{ChangeRole{eve, Member}, in(eve, "a")}, "not a participant", nil},
		// META-4, META-6
		{"admin renames", user(alice), changes{meta(mimi.RoomMetaData{Room: room, Name: "Den", Mood: "merry"})}, "", nil},
		{"member renames", user(bob), changes{meta(mimi.RoomMetaData{Room: room, Name: "Den"})}, "lacks canChangeRoomName", nil},
		{"name only, allowed", user(bob), changes{meta(mimi.RoomMetaData{Room: room, Name: "Den"})}, "",
			func(s *State) { s.grant(Member, CanChangeRoomName) }},
		{"name and mood, one allowed", user(bob), changes{meta(mimi.RoomMetaData{Room: room, Name: "Den", Mood: "merry"})},
			"lacks canChangeRoomMood", func(s *State) { s.grant(Member, CanChangeRoomName) }},
		{"description", user(bob), changes{meta(mimi.RoomMetaData{Room: room, Name: "Clubhouse",
			Descriptions: []mimi.RichDescription{{Content: []byte("x")}}})}, "lacks canChangeRoomDescription", nil},
		{"subject", user(bob), changes{meta(mimi.RoomMetaData{Room: room, Name: "Clubhouse", Subject: "x"})}, "lacks canChangeRoomSubject", nil},
		{"avatar", user(bob), changes{meta(mimi.RoomMetaData{Room: room, Name: "Clubhouse", Avatar: "https://x/"})}, "lacks canChangeRoomAvatar", nil},
		{"metadata removed", user(bob), changes{ChangeMetadata{}}, "lacks canChangeRoomName", nil},
		{"nothing changed", user(bob), changes{meta(mimi.RoomMetaData{Room: room, Name: "Clubhouse"})}, "", nil},
		{"another room", user(alice), changes{meta(mimi.RoomMetaData{Room: "mimi://a.example/r/x", Name: "Clubhouse"})}, "identifier cannot change", nil},
		// POL-52, POL-53
		{"base policy", user(bob), changes{ChangeComponent{Component: mimi.ComponentBaseRoomPolicy}}, "lacks canChangeRoomMembershipStyle", nil},
		{"roles", user(bob), changes{ChangeComponent{Component: mimi.ComponentRolesList}}, "lacks canChangeRoleDefinitions", nil},
		{"preauthorisation", user(bob), changes{ChangeComponent{Component: mimi.ComponentPreauthList}}, "lacks canChangePreauthorizedUserList", nil},
		{"operational policy", user(bob), changes{ChangeComponent{Component: mimi.ComponentOperationalPolicy}}, "lacks canChangeMlsOperationalPolicies", nil},
		{"other policy", user(bob), changes{ChangeComponent{Component: mimi.ComponentStatusNotification}}, "lacks canChangeOtherPolicyAttribute", nil},
		{"admin and all policies", user(alice), changes{ChangeComponent{Component: mimi.ComponentBaseRoomPolicy}, ChangeComponent{Component: mimi.ComponentRolesList},
			ChangeComponent{Component: mimi.ComponentPreauthList}, ChangeComponent{Component: mimi.ComponentBotPolicy}, ReInit{}, UsePSK{}, ChangeExtensions{}}, "", nil},
		{"unknown component", user(alice), changes{ChangeComponent{Component: 1}}, "no rule", nil},
		{"list removed whole", user(alice), changes{ChangeComponent{Component: mimi.ComponentParticipantList}}, "no rule", nil},
		{"reinit", user(bob), changes{ReInit{}}, "lacks canSendMLSReinitProposal", nil},
		{"psk", user(bob), changes{UsePSK{}}, "lacks canChangeMlsOperationalPolicies", nil},
		{"unknown proposal", user(alice), changes{Unsupported{0xF000}}, "no rule", nil},
		// servers
		{"hub and external senders", Actor{Provider: "a.example"}, changes{ChangeExtensions{}}, "", nil},
		{"follower and external senders", Actor{Provider: "b.example"}, changes{ChangeExtensions{}}, "servers have no role", nil},
		{"hub removes", Actor{Provider: "a.example"}, out(bob, "phone"), "a.example may not remove a client of bob@b.example", nil},
		// PL-6
		{"one of two", user(bob), changes{AddParticipant{frank, Member}, RemoveParticipant{cathy}}, "lacks canRemoveParticipant", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := clubhouse()
			if tc.setup != nil {
				tc.setup(s)
			}
			checkDenied(t, AuthorizeProposals(s, tc.by, tc.changes), tc.words)
			checkDenied(t, AuthorizeProposals(s.With(s.Participants, s.Members), tc.by, tc.changes), tc.words)
		})
	}
}

func openRoom(s *State) {
	s.grant(Outside, CanOpenJoin)
	s.role(Outside).RoleChanges = []RoleChanges{{Outside, []uint32{Member}}}
}

func TestAuthorizeMessage(t *testing.T) {
	for _, tc := range []struct {
		sender mimi.UserURI
		words  string
		setup  func(s *State)
	}{
		{alice, "", nil},
		{bob, "", nil},
		{bob, "role member lacks canSendMessage", func(s *State) { s.role(Member).Capabilities = nil }},
		{dave, "no client", nil},
		{eve, "not a participant", nil},
		{frank, "not a participant", nil},
	} {
		s := clubhouse()
		if tc.setup != nil {
			tc.setup(s)
		}
		checkDenied(t, AuthorizeMessage(s, tc.sender), tc.words)
		checkDenied(t, AuthorizeMessage(s.With(s.Participants, s.Members), tc.sender), tc.words)
	}
}

func TestTransition(t *testing.T) {
	list := func(s *State) *[]mimi.Participant { return &s.Participants.Participants }
	add := func(s *State, u mimi.UserURI, role uint32) {
		*list(s) = append(*list(s), mimi.Participant{User: u, Role: role})
	}
	roles := func(s *State) { s.components[mimi.ComponentRolesList] = "other" }
	for _, tc := range []struct {
		name   string
		change func(before, after *State)
		words  string
	}{
		{"nothing", func(_, _ *State) {}, ""},
		{"user added with client", func(_, s *State) { add(s, frank, Member); s.Members = append(s.Members, device(frank, "a")) }, ""},
		{"client of the unlisted", func(_, s *State) { s.Members = append(s.Members, device(frank, "a")) }, "without being a participant"},
		{"client left behind", func(_, s *State) { *list(s) = append((*list(s))[:1:1], (*list(s))[2:]...) },
			"bob@b.example would have a client in the group without being a participant"},
		{"client of the banned", func(_, s *State) { s.Members = append(s.Members, device(eve, "a")) }, "is banned"},
		{"banned with clients", func(_, s *State) { (*list(s))[1].Role = Banned }, "is banned"},
		{"client twice", func(_, s *State) { s.Members = append(s.Members, device(bob, "phone")) }, "twice"},
		{"role not defined", func(_, s *State) { (*list(s))[3].Role = 9 }, "role 9"},
		{"used role dropped", func(_, s *State) { roles(s); s.Roles.Roles = s.Roles.Roles[:3] }, "role 3"},
		{"unused role dropped", func(b, s *State) {
			(*list(b))[0].Role, (*list(s))[0].Role = Member, Member
			roles(s)
			s.Roles.Roles = s.Roles.Roles[:3]
		}, ""},
		{"roles and participants", func(_, s *State) { roles(s); add(s, frank, Member) }, "roles and participants"},
		{"preauthorisation and addition", func(_, s *State) { s.components[mimi.ComponentPreauthList] = "x"; add(s, frank, Member) }, "preauthorisation"},
		{"preauthorisation and removal", func(_, s *State) { s.components[mimi.ComponentPreauthList] = "x"; *list(s) = (*list(s))[:4] }, ""},
		{"metadata of another room", func(_, s *State) { s.Metadata.Room += "x" }, "another room"},
		{"max users", func(_, s *State) { s.Base.MaxUsers = ptr(uint32(4)); add(s, frank, Member) }, "at most 4 users"},
		{"max users, the banned do not count", func(_, s *State) { s.Base.MaxUsers = ptr(uint32(5)); add(s, frank, Member) }, ""},
		{"over max users, one leaves", func(_, s *State) {
			s.Base.MaxUsers = ptr(uint32(2))
			*list(s) = append((*list(s))[:3:3], (*list(s))[4])
		}, ""},
		{"max clients", func(_, s *State) {
			s.Base.MaxClients = ptr(uint32(4))
			s.Members = append(s.Members, device(dave, "a"))
		}, "at most 4 clients"},
		{"at max clients", func(_, s *State) {
			s.Base.MaxClients = ptr(uint32(5))
			s.Members = append(s.Members, device(dave, "a"))
		}, ""},
		{"second device", func(_, s *State) { s.Base.MultiDevice = false; s.Members = append(s.Members, device(cathy, "b")) }, "one client"},
		{"device replaced", func(_, s *State) { s.Base.MultiDevice = false; s.Members[3] = device(cathy, "b") }, ""},
		{"two devices from before", func(_, s *State) { s.Base.MultiDevice = false }, ""},
		{"role full", func(_, s *State) { s.role(Admin).MaxParticipants = ptr(uint32(1)); (*list(s))[1].Role = Admin }, "at most 1 participants may have role admin"},
		{"role overfull before", func(_, s *State) { s.role(Member).MaxParticipants = ptr(uint32(1)) }, ""},
		{"active maximum", func(_, s *State) {
			s.role(Member).MaxActive = ptr(uint32(2))
			s.Members = append(s.Members, device(dave, "a"))
		},
			"at most 2 participants of role member may have clients"},
		{"minimum", func(_, s *State) {
			s.role(Admin).MinParticipants = 1
			*list(s) = (*list(s))[1:]
			s.Members = s.Members[1:]
		}, "must keep role admin"},
		{"minimum, swapped", func(_, s *State) {
			s.role(Admin).MinParticipants = 1
			(*list(s))[0].Role, (*list(s))[1].Role = Member, Admin
		}, ""},
		{"minimum missed before", func(_, s *State) { s.role(Member).MinParticipants = 10 }, ""},
		{"active minimum", func(_, s *State) { s.role(Member).MinActive = 2; s.Members = s.Members[:3] }, "must keep a client"},
		{"active minimum, one of two devices", func(_, s *State) {
			s.role(Member).MinActive = 2
			s.Members = append(s.Members[:2:2], s.Members[3])
		}, ""},
		{"policy missing", func(_, s *State) {
			s.components[mimi.ComponentBaseRoomPolicy] = "x"
			s.Base.Components = append(s.Base.Components, mimi.ComponentBotPolicy)
		}, "which is missing"},
		{"policy not listed", func(_, s *State) { s.components[mimi.ComponentStatusNotification] = "x" }, "does not list"},
		{"fixed, but the members add", func(_, s *State) { s.components[mimi.ComponentBaseRoomPolicy] = "x"; s.Base.FixedMembership = true },
			"may not hold canAddParticipant"},
		{"parent", func(_, s *State) { s.components[mimi.ComponentBaseRoomPolicy] = "x"; s.Base.ParentDependant = true }, "depend on another"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before, after := clubhouse(), clubhouse()
			tc.change(before, after)
			checkDenied(t, Transition(before, after), tc.words)
		})
	}
}

// TestCommit holds a committer to both halves: its rights, and the result.
func TestCommit(t *testing.T) {
	after := clubhouse()
	after.Participants.Participants = after.Participants.Participants[1:] // alice is out …
	c := &Commit{Before: clubhouse(), After: after, Committer: Actor{User: bob}}
	checkDenied(t, c.Authorize(), "alice@a.example would have a client")
	after.Members = after.Members[1:] // … with her client, as she had proposed
	checkDenied(t, c.Authorize(), "")
	c.ByValue = []Change{RemoveClient{device(alice, "phone")}}
	checkDenied(t, c.Authorize(), "lacks canKick")
	c.Effective = c.Before.With(after.Participants, after.Members) // her proposal is pending
	checkDenied(t, c.Authorize(), "")
}
