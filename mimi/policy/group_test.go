package policy

import (
	"crypto/rand"
	"errors"
	"testing"

	"hubbub/mimi"
	"hubbub/mls"
	"hubbub/mls/wire"
)

// party is a client of a user with its keys and, once it is in, its group.
type party struct {
	mimi.Identity
	signer *mls.SignatureKey
	group  *mls.Group
	sent   [][]byte // proposals
}

func newParty(t *testing.T, u mimi.UserURI, name string) *party {
	t.Helper()
	key, err := mls.NewSignatureKey(1, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &party{Identity: device(u, name), signer: key}
}

func (p *party) credential() mls.Credential { return mls.BasicCredential([]byte(p.Client)) }

func groupConfig() *mls.Config { return &mls.Config{Components: Components()} }

// start makes the group of a new room.
func (p *party) start(t *testing.T) {
	t.Helper()
	hub, err := mls.NewSignatureKey(1, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x, err := GroupExtensions(room, "Clubhouse", p.User, mls.ExternalSender{SignatureKey: hub.Public, Credential: mimi.ProviderCredential("a.example")})
	if err != nil {
		t.Fatal(err)
	}
	p.group, err = mls.NewGroup(mls.GroupOptions{GroupID: []byte("mimi://a.example/g/clubhouse"), Suite: 1, Signer: p.signer,
		Credential: p.credential(), Extensions: x, LeafExtensions: mls.Extensions{LeafExtension()}}, groupConfig())
	if err != nil {
		t.Fatal(err)
	}
	s, err := StateOf(room, p.group.Public())
	if err != nil {
		t.Fatal(err)
	}
	checkDenied(t, Transition(nil, s), "")
}

func (p *party) keyPackage(t *testing.T) *mls.KeyPackageSecret {
	t.Helper()
	kp, err := mls.NewKeyPackage(mls.KeyPackageOptions{Suite: 1, Signer: p.signer, Credential: p.credential(),
		LeafExtensions: mls.Extensions{LeafExtension()}})
	if err != nil {
		t.Fatal(err)
	}
	return kp
}

func add(kp *mls.KeyPackageSecret) mls.Proposal {
	return mls.Proposal{Type: mls.ProposalTypeAdd, Add: &mls.Add{KeyPackage: *kp.KeyPackage}}
}

func update(t *testing.T, id mls.ComponentID, e wire.Encoder) mls.Proposal {
	t.Helper()
	b, err := wire.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return mls.Proposal{Type: mls.ProposalTypeAppDataUpdate,
		AppDataUpdate: &mls.AppDataUpdate{Component: id, Op: mls.AppDataUpdateOpUpdate, Data: b}}
}

func listed(users ...mimi.UserURI) *mimi.ParticipantListUpdate {
	u := new(mimi.ParticipantListUpdate)
	for _, x := range users {
		u.Added = append(u.Added, mimi.Participant{User: x, Role: Member})
	}
	return u
}

// commit has p commit, and judges it as the hub does.
func (p *party) commit(t *testing.T, o mls.CommitOptions) (*mls.PendingCommit, error) {
	t.Helper()
	pending, err := p.group.Commit(o)
	if err != nil {
		t.Fatal(err)
	}
	return pending, judge(t, p.group.Public(), pending.Message())
}

func judge(t *testing.T, g *mls.PublicGroup, message []byte) error {
	t.Helper()
	m, err := mls.ParseMessage(message)
	if err != nil {
		t.Fatal(err)
	}
	c, err := g.Commit(m.Public)
	if err != nil {
		t.Fatal(err)
	}
	return JudgeCommit(room, g, c)
}

// propose has p propose, judges that, and gives the next public group of the hub.
func (p *party) propose(t *testing.T, hub *mls.PublicGroup, proposals ...mls.Proposal) (*mls.PublicGroup, error) {
	t.Helper()
	var bundle []*mls.CachedProposal
	next := hub
	for _, x := range proposals {
		g, b, err := p.group.Propose(x, mls.ProposeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		p.group, p.sent = g, append(p.sent, b)
		m, err := mls.ParseMessage(b)
		if err != nil {
			t.Fatal(err)
		}
		c, err := hub.Proposal(m.Public)
		if err != nil {
			t.Fatal(err)
		}
		bundle, next = append(bundle, c), next.WithProposal(c)
	}
	return next, JudgeProposals(room, hub, bundle...)
}

// withBob gives a room of alice and two clients of bob, in the same epoch.
func withBob(t *testing.T) (a, b, tablet *party) {
	t.Helper()
	a, b, tablet = newParty(t, alice, "phone"), newParty(t, bob, "phone"), newParty(t, bob, "tablet")
	a.start(t)
	kp, kp2 := b.keyPackage(t), tablet.keyPackage(t)
	pending, err := a.commit(t, mls.CommitOptions{Proposals: []mls.Proposal{
		update(t, mimi.ComponentParticipantList, listed(bob)), add(kp), add(kp2)}})
	checkDenied(t, err, "")
	a.group = pending.Merge()
	for p, secret := range map[*party]*mls.KeyPackageSecret{b: kp, tablet: kp2} {
		var err error
		if p.group, err = mls.JoinWelcome(pending.Welcome(), secret, mls.JoinOptions{Tree: pending.Tree()}, groupConfig()); err != nil {
			t.Fatal(err)
		}
	}
	return a, b, tablet
}

func TestJudgeCommit(t *testing.T) {
	a, b, _ := withBob(t)
	c := newParty(t, cathy, "phone")
	leafOf := func(p *party) mls.Proposal {
		return mls.Proposal{Type: mls.ProposalTypeRemove, Remove: &mls.Remove{Removed: p.group.OwnLeaf()}}
	}
	unlist := func(i ...uint32) mls.Proposal {
		return update(t, mimi.ComponentParticipantList, &mimi.ParticipantListUpdate{Removed: i})
	}
	for _, tc := range []struct {
		name      string
		by        *party
		proposals []mls.Proposal
		words     string
	}{
		{"empty", b, nil, ""},
		{"member adds user and client", b, []mls.Proposal{update(t, mimi.ComponentParticipantList, listed(cathy)), add(c.keyPackage(t))}, ""},
		{"client without its user", b, []mls.Proposal{add(c.keyPackage(t))}, "cathy@c.example: not a participant"},
		{"user without a client", b, []mls.Proposal{update(t, mimi.ComponentParticipantList, listed(cathy))}, ""},
		{"own client", b, []mls.Proposal{add(newParty(t, bob, "watch").keyPackage(t))}, ""},
		{"client of the active", b, []mls.Proposal{add(newParty(t, alice, "watch").keyPackage(t))}, "add their clients themselves"},
		{"client twice", b, []mls.Proposal{add(newParty(t, bob, "phone").keyPackage(t))}, "twice"},
		{"member removes admin", b, []mls.Proposal{unlist(0), leafOf(a)}, "lacks canRemoveParticipant"},
		{"admin leaves clients behind", a, []mls.Proposal{unlist(1)}, "without being a participant"},
		{"admin kicks", a, []mls.Proposal{leafOf(b)}, ""},
		{"member renames", b, []mls.Proposal{update(t, mimi.ComponentRoomMetadata, &mimi.RoomMetaData{Room: room, Name: "x"})}, "lacks canChangeRoomName"},
		{"admin renames", a, []mls.Proposal{update(t, mimi.ComponentRoomMetadata, &mimi.RoomMetaData{Room: room, Name: "x"})}, ""},
		{"member rewrites the roles", b, []mls.Proposal{update(t, mimi.ComponentRolesList, DefaultRoles())}, "lacks canChangeRoleDefinitions"},
		{"admin bans halfway", a, []mls.Proposal{update(t, mimi.ComponentParticipantList,
			&mimi.ParticipantListUpdate{ChangedRoles: []mimi.RoleChange{{UserIndex: 1, Role: Banned}}})}, "is banned"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := tc.by.commit(t, mls.CommitOptions{Proposals: tc.proposals})
			checkDenied(t, err, tc.words)
		})
	}
	_, err := a.commit(t, mls.CommitOptions{ForcePath: true, Leaf: &mls.LeafChange{Credential: ptr(b.credential())}})
	checkDenied(t, err, "take over") // alice's leaf would become a second one of bob's client
}

// TestLeave is UPD-18: bob asks for his own removal, and alice commits it.
func TestLeave(t *testing.T) {
	a, b, tablet := withBob(t)
	hub := a.group.Public()
	gone := func(p *party) mls.Proposal {
		return mls.Proposal{Type: mls.ProposalTypeRemove, Remove: &mls.Remove{Removed: p.group.OwnLeaf()}}
	}
	list := update(t, mimi.ComponentParticipantList, &mimi.ParticipantListUpdate{Removed: []uint32{1}})

	_, err := (&party{Identity: b.Identity, group: b.group}).propose(t, hub, list)
	checkDenied(t, err, "all their clients have to leave")

	next, err := b.propose(t, hub, list, mls.Proposal{Type: mls.ProposalTypeSelfRemove, SelfRemove: new(mls.SelfRemove)}, gone(tablet))
	checkDenied(t, err, "")
	effective, err := EffectiveState(room, next)
	if err != nil {
		t.Fatal(err)
	}
	checkDenied(t, AuthorizeMessage(effective, bob), "not a participant") // UPD-9, before any commit
	checkDenied(t, AuthorizeMessage(effective, alice), "")

	// What bob's other client may still do (UPD-10), and what not.
	_, err = tablet.propose(t, next, update(t, mimi.ComponentRoomMetadata, &mimi.RoomMetaData{Room: room, Name: "x"}))
	checkDenied(t, err, "role outside lacks")

	commitLeave(t, a, b, next)
}

// TestPendingConflicts keeps proposals out that no commit could cover together with
// those accepted before: they would close the room (UPD-17).
func TestPendingConflicts(t *testing.T) {
	const contradiction = "contradiction"
	list := func(u mimi.ParticipantListUpdate) mls.Proposal { return update(t, mimi.ComponentParticipantList, &u) }
	rename := func(name string) mls.Proposal {
		return update(t, mimi.ComponentRoomMetadata, &mimi.RoomMetaData{Room: room, Name: name})
	}
	removal := mls.Proposal{Type: mls.ProposalTypeAppDataUpdate,
		AppDataUpdate: &mls.AppDataUpdate{Component: mimi.ComponentRoomMetadata, Op: mls.AppDataUpdateOpRemove}}
	for _, tc := range []struct {
		name          string
		first, second mls.Proposal // of alice, then of bob, who is an admin too
		words         string
	}{
		{"names of two", rename("x"), rename("y"), contradiction},
		{"name, then none", rename("x"), removal, contradiction},
		{"none, then a name", removal, rename("x"), contradiction},
		{"the same user twice", list(*listed(cathy)), list(*listed(cathy)), "listed already"},
		{"name and user", rename("x"), list(*listed(cathy)), ""},
		{"two users", list(*listed(cathy)), list(*listed(dave)), ""},
		{"user, then roles", list(*listed(cathy)), update(t, mimi.ComponentRolesList, &RoleData{Roles: DefaultRoles().Roles[:4:4]}), ""},
		{"user, then other roles", list(*listed(cathy)), update(t, mimi.ComponentRolesList, otherRoles()), "roles and participants"},
		{"list removal that leaves clients", rename("x"), list(mimi.ParticipantListUpdate{Removed: []uint32{0}}), "without being a participant"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, b, _ := withBob(t)
			promoted, err := a.commit(t, mls.CommitOptions{Proposals: []mls.Proposal{
				list(mimi.ParticipantListUpdate{ChangedRoles: []mimi.RoleChange{{UserIndex: 1, Role: Admin}}})}})
			checkDenied(t, err, "")
			got, err := b.group.Process(promoted.Message())
			if err != nil {
				t.Fatal(err)
			}
			a.group, b.group = promoted.Merge(), got.(*mls.CommitReceived).Merge()
			hub, err := a.propose(t, a.group.Public(), tc.first)
			checkDenied(t, err, "")
			_, err = b.propose(t, hub, tc.second)
			if tc.words == contradiction {
				if !errors.Is(err, mimi.ErrBadUpdate) {
					t.Errorf("got %v", err)
				}
				return
			}
			checkDenied(t, err, tc.words)
		})
	}
}

func otherRoles() *RoleData {
	d := DefaultRoles()
	d.Roles[2].Description = "other"
	return d
}

// TestExtensionsKept is H53: no commit may cut the hub off or free members from
// understanding the room's data.
func TestExtensionsKept(t *testing.T) {
	a, _, _ := withBob(t)
	x := a.group.Context().Extensions
	for name, tc := range map[string]struct {
		x     mls.Extensions
		words string
	}{
		"the same":                 {x, ""},
		"without the hub":          {x.Without(mls.ExtensionTypeExternalSenders), "no longer be an external sender"},
		"without the requirements": {x.Without(mls.ExtensionTypeRequiredCapabilities), "no longer require"},
	} {
		_, err := a.commit(t, mls.CommitOptions{Proposals: []mls.Proposal{{Type: mls.ProposalTypeGroupContextExtensions,
			GroupContextExtensions: &mls.GroupContextExtensions{Extensions: tc.x}}}})
		if tc.words == "" && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if tc.words != "" {
			checkDenied(t, err, tc.words)
		}
	}
}

// commitLeave hands alice what the hub has cached, and judges her commit.
func commitLeave(t *testing.T, a, b *party, hub *mls.PublicGroup) {
	t.Helper()
	for _, octets := range b.sent {
		got, err := a.group.Process(octets)
		if err != nil {
			t.Fatal(err)
		}
		a.group = got.(*mls.ProposalReceived).Next
	}
	pending, err := a.group.Commit(mls.CommitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	checkDenied(t, judge(t, hub, pending.Message()), "")
	s, err := StateOf(room, pending.Merge().Public())
	if err != nil {
		t.Fatal(err)
	}
	if s.Participants.Role(bob) != Outside || s.IsActive(bob) || len(s.Members) != 1 {
		t.Errorf("bob is still in: %+v", s.Members)
	}
}

func TestExternalJoin(t *testing.T) {
	a, b, _ := withBob(t)
	hub := a.group.Public()
	info, err := a.group.GroupInfo()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name    string
		who     *party
		byValue []mls.Proposal
		words   string
	}{
		{"another device of a participant", newParty(t, bob, "watch"), nil, ""},
		{"a stranger", newParty(t, cathy, "phone"), nil, "not a participant"},
		{"a stranger who lists itself", newParty(t, cathy, "phone"),
			[]mls.Proposal{update(t, mimi.ComponentParticipantList, listed(cathy))}, "lacks canOpenJoin"},
		{"a device again", newParty(t, bob, "phone"),
			[]mls.Proposal{{Type: mls.ProposalTypeRemove, Remove: &mls.Remove{Removed: b.group.OwnLeaf()}}}, ""},
		{"in place of another's device", newParty(t, bob, "watch"),
			[]mls.Proposal{{Type: mls.ProposalTypeRemove, Remove: &mls.Remove{Removed: a.group.OwnLeaf()}}}, "its own old one"},
		{"a device twice", newParty(t, bob, "phone"), nil, "twice"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			pending, err := mls.JoinExternal(info, mls.ExternalJoinOptions{Tree: a.group.Tree(), Signer: tc.who.signer,
				Credential: tc.who.credential(), LeafExtensions: mls.Extensions{LeafExtension()}, ByValue: tc.byValue}, groupConfig())
			if err != nil {
				t.Fatal(err)
			}
			checkDenied(t, judge(t, hub, pending.Message()), tc.words)
		})
	}
}
