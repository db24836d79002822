package mls

import (
	"errors"
	"slices"
	"testing"
	"time"
)

// TestRemovedClient: MLSD-17. What a removed client is left with answers
// ErrRemoved and holds no secret.
func TestRemovedClient(t *testing.T) {
	c := newChat(t, 1, nil, nil, "alice", "bob")
	pending, err := c.members["alice"].Commit(CommitOptions{Proposals: []Proposal{removeOf(1)}})
	c.ok(err)
	got, err := c.members["bob"].Process(pending.Message())
	c.ok(err)
	r := got.(*CommitReceived)
	g := r.Merge()
	if !r.Removed || g != nil {
		t.Fatal("removal was not noticed")
	}
	_, _, err1 := g.Encrypt(nil, EncryptOptions{})
	_, _, err2 := g.Propose(selfRemove(), ProposeOptions{})
	_, err3 := g.Commit(CommitOptions{})
	_, err4 := g.Process(pending.Message())
	_, err5 := g.Export("label", nil, 32)
	_, _, err6 := g.SafeExport(1)
	_, err7 := g.GroupInfo()
	_, err8 := g.MarshalBinary()
	_, err9 := g.Branch(GroupOptions{}, nil, CommitOptions{})
	_, err10 := g.Reinitialize(GroupOptions{}, nil, CommitOptions{})
	_, err11 := pending.MergeFrom(g)
	for _, err := range []error{err1, err2, err3, err4, err5, err6, err7, err8, err9, err10, err11} {
		if !errors.Is(err, ErrRemoved) {
			t.Error(err)
		}
	}
}

// TestUpdateChangesLeaf: an Update may bring a new signature key, which counts
// from the commit on that covers it, and not before.
func TestUpdateChangesLeaf(t *testing.T) {
	c := newChat(t, 1, nil, nil, "alice", "bob")
	key := newSigner(t)
	msg := c.propose("bob", Proposal{Type: ProposalTypeUpdate}, ProposeOptions{Leaf: &LeafChange{Signer: key}})
	_ = msg
	if equalKey(c.members["bob"].Signer().Public, key.Public) {
		t.Error("key changed before the commit")
	}
	c.commit("alice", CommitOptions{})
	if !equalKey(c.members["bob"].Signer().Public, key.Public) || !equalKey(c.members["alice"].Public().Leaf(1).SignatureKey, key.Public) {
		t.Error("key did not change with the commit")
	}
	c.send("bob", "signed by the new key")
	c.commit("bob", CommitOptions{})
	if _, _, err := c.members["bob"].Propose(removeOf(0), ProposeOptions{Leaf: &LeafChange{Signer: key}}); err == nil {
		t.Error("change of the leaf beside a Remove accepted")
	}
}

// TestPastEpochsExpire: past epochs are kept for a bounded time (RFC 9420 §9.2).
func TestPastEpochsExpire(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	cfg := &Config{Now: func() time.Time { return now }, MaxPastAge: time.Hour, MaxLifetime: -1}
	c := &chat{t: t, suite: 1, cfg: cfg, members: map[string]*Group{}, used: map[string]bool{}, signers: map[string]*SignatureKey{}}
	g, err := NewGroup(GroupOptions{Suite: 1, Signer: c.signer("alice"), Credential: BasicCredential([]byte("alice"))}, cfg)
	c.ok(err)
	c.members["alice"] = g
	kp, err := NewKeyPackage(KeyPackageOptions{Suite: 1, Signer: c.signer("bob"), Credential: BasicCredential([]byte("bob")), Now: cfg.Now})
	c.ok(err)
	p := c.commit("alice", CommitOptions{Proposals: []Proposal{addOf(kp)}})
	c.members["bob"], err = JoinWelcome(p.Welcome(), kp, JoinOptions{Tree: p.Tree()}, cfg)
	c.ok(err)
	first, second := c.encrypt("alice", "first"), c.encrypt("alice", "second")
	c.commit("alice", CommitOptions{})
	now = now.Add(time.Hour)
	if c.members["bob"].Prune() != c.members["bob"] {
		t.Error("pruned too early")
	}
	c.receive("bob", "alice", second, "second")
	now = now.Add(time.Second)
	c.restart()
	c.wantError("bob", first, ErrTooOld)
	if kept := len(c.members["bob"].Prune().past); kept != 0 {
		t.Errorf("%d epochs kept", kept)
	}
	c.commit("alice", CommitOptions{})
	if kept := len(c.members["bob"].past); kept != 1 {
		t.Errorf("%d epochs kept after a commit, want the last", kept)
	}
}

// TestStateVersion1: state stored before version 2 is still read.
func TestStateVersion1(t *testing.T) {
	c := newChat(t, 1, nil, nil, "alice", "bob")
	b, err := c.members["bob"].MarshalBinary()
	c.ok(err)
	// Without past epochs and own updates both versions look alike but for the
	// number.
	if len(c.members["bob"].past) != 0 {
		t.Fatal("the newcomer has past epochs")
	}
	old := slices.Clone(b)
	old[1] = 1
	if _, err := UnmarshalGroup(old, nil); err != nil {
		t.Error(err)
	}
	for _, v := range []byte{0, 3} {
		old[1] = v
		if _, err := UnmarshalGroup(old, nil); !errors.Is(err, ErrBadState) {
			t.Errorf("version %d: %v", v, err)
		}
	}
}

// TestSuccessors: a group closed by ReInit goes on in another suite, and a
// branch begins beside it, by the two calls made for that (RFC 9420 §11.2 and
// §11.3).
func TestSuccessors(t *testing.T) {
	c := newChat(t, 1, nil, nil, "alice", "bob", "carol")
	alice, bob := c.members["alice"], c.members["bob"]
	if _, err := alice.Reinitialize(GroupOptions{}, nil, CommitOptions{}); err == nil {
		t.Error("open group reinitialized")
	}
	kp := c.keyPackage("bob")
	o := GroupOptions{Signer: c.signers["alice"], Credential: BasicCredential([]byte("alice"))}
	branch, err := alice.Branch(o, []*KeyPackage{kp.KeyPackage}, CommitOptions{TreeInWelcome: true})
	c.ok(err)
	g, err := JoinWelcome(branch.Welcome(), kp, JoinOptions{Previous: bob}, nil)
	c.ok(err)
	wantBytes(t, "authenticator of the branch", g.EpochAuthenticator(), branch.Merge().EpochAuthenticator())
	if _, err := alice.Branch(o, []*KeyPackage{c.keyPackage("stranger").KeyPackage}, CommitOptions{}); err == nil {
		t.Error("branch with a stranger")
	}

	next := &ReInit{GroupID: []byte("successor"), Version: MLS10, CipherSuite: 2, Extensions: Extensions{}}
	c.commit("alice", CommitOptions{Proposals: []Proposal{{Type: ProposalTypeReInit, ReInit: next}}})
	old := c.members
	c.suite, c.members = 2, map[string]*Group{}
	bobs, carols := c.keyPackage("bob"), c.keyPackage("carol")
	o.Signer = c.signer("alice")
	if _, err := old["alice"].Reinitialize(o, []*KeyPackage{bobs.KeyPackage}, CommitOptions{}); err == nil {
		t.Error("successor without carol")
	}
	p, err := old["alice"].Reinitialize(o, []*KeyPackage{bobs.KeyPackage, carols.KeyPackage}, CommitOptions{TreeInWelcome: true})
	c.ok(err)
	c.members["alice"] = p.Merge()
	for name, kp := range map[string]*KeyPackageSecret{"bob": bobs, "carol": carols} {
		c.members[name], err = JoinWelcome(p.Welcome(), kp, JoinOptions{Previous: old[name]}, nil)
		c.ok(err)
	}
	c.agree()
	c.send("carol", "in the successor")
}

// TestNewMemberProposalMessage: a client asks to be added (RFC 9420 §12.1.8).
func TestNewMemberProposalMessage(t *testing.T) {
	c := newChat(t, 1, nil, nil, "alice", "bob")
	kp := c.keyPackage("carol")
	msg, err := NewMemberProposal(c.members["alice"].Context(), kp)
	c.ok(err)
	c.deliver("", msg)
	p := c.commit("bob", CommitOptions{})
	c.members["carol"], err = JoinWelcome(p.Welcome(), kp, JoinOptions{Tree: p.Tree()}, nil)
	c.ok(err)
	c.agree()
	other := *c.members["alice"].Context()
	other.CipherSuite = 2
	if _, err := NewMemberProposal(&other, kp); err == nil {
		t.Error("key package of another suite accepted")
	}
}

// TestApplicationPSK: EXT-27; the component is part of the key's name.
func TestApplicationPSK(t *testing.T) {
	c := newChat(t, 1, nil, nil, "alice", "bob")
	psk := PSK{ID: PreSharedKeyID{Type: PSKTypeApplication, Component: 0x22, ID: []byte("k"), Nonce: make([]byte, 32)}, Secret: []byte("s")}
	wantBytes(t, "encoding", encoded(&psk.ID)[:5], []byte{3, 0, 0x22, 1, 'k'})
	elsewhere := psk
	elsewhere.ID.Component = 0x23
	c.members["alice"] = c.members["alice"].WithPSKs(psk)
	c.members["bob"] = c.members["bob"].WithPSKs(elsewhere)
	proposal := []Proposal{{Type: ProposalTypePSK, PSK: &psk.ID}}
	pending, err := c.members["alice"].Commit(CommitOptions{Proposals: proposal})
	c.ok(err)
	c.wantError("bob", pending.Message(), ErrMissingPSK)
	c.members["bob"] = c.members["bob"].WithPSKs(psk)
	c.commit("alice", CommitOptions{Proposals: proposal})
	c.send("bob", "after the key")
}

// TestRequiredWireFormats: EXT-14 on both sides, for newcomers and for members.
func TestRequiredWireFormats(t *testing.T) {
	caps := DefaultCapabilities()
	caps.Extensions = append(caps.Extensions, ExtensionTypeSupportedWireFormats, ExtensionTypeRequiredWireFormats)
	able := Extensions{SupportedWireFormats(WireFormatSemiPrivateMessage, 0x0a0a)}
	required := RequiredWireFormats(WireFormatSemiPrivateMessage)
	create := func(own, group Extensions) (*Group, error) {
		return NewGroup(GroupOptions{Suite: 1, Signer: newSigner(t), Credential: BasicCredential([]byte("alice")), Capabilities: caps,
			LeafExtensions: own, Extensions: group}, nil)
	}
	if _, err := create(nil, Extensions{required}); err == nil {
		t.Error("creator does not support what the group requires")
	}
	g, err := create(able, Extensions{required})
	if err != nil {
		t.Fatal(err)
	}
	if c := g.Context(); !c.AllowsWireFormat(WireFormatSemiPrivateMessage) || !c.AllowsWireFormat(WireFormatPublicMessage) || c.AllowsWireFormat(0xf00f) {
		t.Error("wrong formats are allowed")
	}
	newcomer := func(x Extensions) Proposal {
		kp, err := NewKeyPackage(KeyPackageOptions{Suite: 1, Signer: newSigner(t), Credential: BasicCredential([]byte("bob")), Capabilities: caps, LeafExtensions: x})
		if err != nil {
			t.Fatal(err)
		}
		return addOf(kp)
	}
	for name, x := range map[string]Extensions{
		"no list": nil, "another format": {SupportedWireFormats(0xf00f)},
		"malformed": {{Type: ExtensionTypeSupportedWireFormats, Data: []byte{3, 0, 1, 2}}},
	} {
		if _, err := g.Commit(CommitOptions{Proposals: []Proposal{newcomer(x)}}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := g.Commit(CommitOptions{Proposals: []Proposal{newcomer(able)}}); err != nil {
		t.Error(err)
	}
	// Members that lack a format keep a group from requiring it.
	for name, own := range map[string]Extensions{"able": able, "unable": nil} {
		g, err := create(own, Extensions{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = g.Commit(CommitOptions{Proposals: []Proposal{contextExtensions(Extensions{required})}})
		if (err == nil) != (name == "able") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPublicApplicationData: application data in a PublicMessage is refused by
// all who could act on it, although the tag and the signature are right
// (RFC 9420 §6).
func TestPublicApplicationData(t *testing.T) {
	c := newChat(t, 1, nil, nil, "alice", "bob")
	alice := c.members["alice"]
	a := &AuthenticatedContent{WireFormat: WireFormatPublicMessage, Content: FramedContent{
		GroupID: alice.GroupID(), Epoch: alice.Epoch(), Sender: member(0), ContentType: ContentTypeApplication, ApplicationData: []byte("x")}}
	c.ok(a.Sign(1, alice.signer.Private, alice.Context()))
	_, msg, err := alice.protect(a, 0)
	c.ok(err)
	var invalid *ValidationError
	if _, err := c.members["bob"].Process(msg); !errors.As(err, &invalid) {
		t.Error(err)
	}
	m, err := ParseMessage(msg)
	c.ok(err)
	if _, err := alice.Public().Proposal(m.Public); !errors.As(err, &invalid) {
		t.Error(err)
	}
	if _, err := alice.Public().Commit(m.Public); !errors.As(err, &invalid) {
		t.Error(err)
	}
}
