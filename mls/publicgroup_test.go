package mls

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"testing"

	"hubbub/mls/wire"
)

// fixture is a group seen from outside, with the signature keys of its members
// by leaf. Confirmation tags are random: a PublicGroup cannot check them.
type fixture struct {
	t        testing.TB
	group    *PublicGroup
	keys     map[LeafIndex]*SignatureKey
	external *SignatureKey // external sender 0
	counter  int
}

// fixtureExtensions is a profile like that of our rooms.
func fixtureExtensions(external *SignatureKey) Extensions {
	var d AppDataDictionary
	d.Set(0x0022, []byte("list"))
	return Extensions{
		{Type: ExtensionTypeRequiredCapabilities, Data: encoded(&RequiredCapabilities{
			Extensions: []ExtensionType{ExtensionTypeAppDataDictionary},
			Proposals:  []ProposalType{ProposalTypeAppDataUpdate, ProposalTypeSelfRemove},
		})},
		{Type: ExtensionTypeExternalSenders, Data: encoded(ExternalSenders{
			{SignatureKey: external.Public, Credential: BasicCredential([]byte("hub"))},
		})},
		{Type: ExtensionTypeAppDataDictionary, Data: encoded(&d)},
	}
}

func newSigner(t testing.TB) *SignatureKey {
	t.Helper()
	k, err := NewSignatureKey(1, nil)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// newFixture makes a group of n members who joined in one commit.
func newFixture(t testing.TB, n int, cfg *Config, change func(Extensions) Extensions) *fixture {
	t.Helper()
	f := &fixture{t: t, keys: map[LeafIndex]*SignatureKey{}, external: newSigner(t)}
	x := fixtureExtensions(f.external)
	if change != nil {
		x = change(x)
	}
	creator := f.keyPackage(nil)
	leaf := creator.KeyPackage.LeafNode
	p, err := newCreatorGroup([]byte("group"), &leaf, 1, x, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if f.group, err = p.withTag(randomTag()); err != nil {
		t.Fatal(err)
	}
	f.keys[0] = creator.Signer
	var adds []ProposalOrRef
	var signers []*SignatureKey
	for i := 1; i < n; i++ {
		kp := f.keyPackage(nil)
		adds, signers = append(adds, byValue(addOf(kp))), append(signers, kp.Signer)
	}
	if n > 1 {
		f.apply(f.commit(0, adds))
		for i, s := range signers {
			f.keys[LeafIndex(i+1)] = s
		}
	}
	return f
}

func randomTag() []byte {
	tag := make([]byte, 32)
	rand.Read(tag)
	return tag
}

func (f *fixture) keyPackage(change func(*KeyPackageOptions)) *KeyPackageSecret {
	f.t.Helper()
	f.counter++
	o := KeyPackageOptions{Suite: 1, Signer: newSigner(f.t), Credential: BasicCredential(fmt.Appendf(nil, "client %d", f.counter)), Capabilities: DefaultCapabilities()}
	if change != nil {
		change(&o)
	}
	kp, err := NewKeyPackage(o)
	if err != nil {
		f.t.Fatal(err)
	}
	return kp
}

// resign renews a KeyPackage's signatures after a change to it.
func resign(t testing.TB, kp *KeyPackageSecret) *KeyPackageSecret {
	t.Helper()
	if err := kp.KeyPackage.LeafNode.sign(1, kp.Signer.Private, nil, 0); err != nil {
		t.Fatal(err)
	}
	if err := kp.KeyPackage.sign(kp.Signer.Private); err != nil {
		t.Fatal(err)
	}
	return kp
}

func addOf(kp *KeyPackageSecret) Proposal {
	return Proposal{Type: ProposalTypeAdd, Add: &Add{KeyPackage: *kp.KeyPackage}}
}

func removeOf(i LeafIndex) Proposal {
	return Proposal{Type: ProposalTypeRemove, Remove: &Remove{Removed: i}}
}

func selfRemove() Proposal {
	return Proposal{Type: ProposalTypeSelfRemove, SelfRemove: &SelfRemove{}}
}

func appData(id ComponentID, data string) Proposal {
	return Proposal{Type: ProposalTypeAppDataUpdate, AppDataUpdate: &AppDataUpdate{Component: id, Op: AppDataUpdateOpUpdate, Data: []byte(data)}}
}

func appDataRemove(id ComponentID) Proposal {
	return Proposal{Type: ProposalTypeAppDataUpdate, AppDataUpdate: &AppDataUpdate{Component: id, Op: AppDataUpdateOpRemove}}
}

func ephemeral(id ComponentID, data string) Proposal {
	return Proposal{Type: ProposalTypeAppEphemeral, AppEphemeral: &AppEphemeral{Component: id, Data: []byte(data)}}
}

func contextExtensions(x Extensions) Proposal {
	return Proposal{Type: ProposalTypeGroupContextExtensions, GroupContextExtensions: &GroupContextExtensions{Extensions: x}}
}

func pskOf(id string, nonce int) Proposal {
	return Proposal{Type: ProposalTypePSK, PSK: &PreSharedKeyID{Type: PSKTypeExternal, ID: []byte(id), Nonce: make([]byte, nonce)}}
}

func reInit() Proposal {
	return Proposal{Type: ProposalTypeReInit, ReInit: &ReInit{GroupID: []byte("next"), Version: MLS10, CipherSuite: 1}}
}

func externalInit() Proposal {
	return Proposal{Type: ProposalTypeExternalInit, ExternalInit: &ExternalInit{KEMOutput: make([]byte, 32)}}
}

// update makes an Update of leaf i, changed before it is signed.
func (f *fixture) update(i LeafIndex, change func(*LeafNode)) Proposal {
	f.t.Helper()
	leaf := *f.group.Leaf(i)
	_, pub, err := leafSuite.GenerateHPKEKey(rand.Reader)
	if err != nil {
		f.t.Fatal(err)
	}
	leaf.EncryptionKey, leaf.Source, leaf.ParentHash, leaf.Lifetime = pub, LeafNodeSourceUpdate, nil, Lifetime{}
	if change != nil {
		change(&leaf)
	}
	if err := leaf.sign(1, f.keys[i].Private, f.group.GroupID(), i); err != nil {
		f.t.Fatal(err)
	}
	return Proposal{Type: ProposalTypeUpdate, Update: &Update{LeafNode: leaf}}
}

const leafSuite CipherSuite = 1

func byValue(p Proposal) ProposalOrRef { return ProposalOrRef{Proposal: &p} }

func values(list ...Proposal) (out []ProposalOrRef) {
	for _, p := range list {
		out = append(out, byValue(p))
	}
	return out
}

func member(i LeafIndex) Sender { return Sender{Type: SenderTypeMember, LeafIndex: i} }

var newMember = Sender{Type: SenderTypeNewMemberCommit}

// message signs a proposal or commit.
func (f *fixture) message(sender Sender, key *SignatureKey, p *Proposal, c *Commit) *PublicMessage {
	f.t.Helper()
	a := AuthenticatedContent{WireFormat: WireFormatPublicMessage, Content: FramedContent{
		GroupID: f.group.GroupID(), Epoch: f.group.Epoch(), Sender: sender, ContentType: ContentTypeProposal, Proposal: p, Commit: c,
	}}
	if c != nil {
		a.Content.ContentType = ContentTypeCommit
		a.Auth.ConfirmationTag = randomTag()
	}
	if f.group.Context().RequiresSafeAAD() {
		a.Content.AuthenticatedData = []byte{0}
	}
	if err := a.Sign(1, key.Private, f.group.Context()); err != nil {
		f.t.Fatal(err)
	}
	m := &PublicMessage{Content: a.Content, Auth: a.Auth}
	if sender.Type == SenderTypeMember {
		m.MembershipTag = []byte{}
	}
	return m
}

// propose sends a proposal and, if it is valid, caches it.
func (f *fixture) propose(sender Sender, key *SignatureKey, p Proposal) ([]byte, error) {
	f.t.Helper()
	c, err := f.group.Proposal(f.message(sender, key, &p, nil))
	if err != nil {
		return nil, err
	}
	f.group = f.group.WithProposal(c)
	return c.Ref, nil
}

func (f *fixture) mustPropose(i LeafIndex, p Proposal) ProposalOrRef {
	f.t.Helper()
	ref, err := f.propose(member(i), f.keys[i], p)
	if err != nil {
		f.t.Fatal(err)
	}
	return ProposalOrRef{Ref: ref}
}

// path makes the path that a valid commit of list by sender has.
func (f *fixture) path(sender Sender, leaf LeafNode, key *SignatureKey, list []ProposalOrRef) *UpdatePath {
	f.t.Helper()
	resolved, err := f.group.resolve(list, sender)
	if err != nil {
		f.t.Fatal(err)
	}
	s, err := f.group.stage(sender, resolved)
	if err != nil {
		f.t.Fatal(err)
	}
	leaf.Lifetime = Lifetime{}
	own, err := s.createPath(leaf, key.Private, rand.Reader)
	if err != nil {
		f.t.Fatal(err)
	}
	context, err := s.provisionalContext()
	if err != nil {
		f.t.Fatal(err)
	}
	path, err := own.encrypt(1, encoded(context))
	if err != nil {
		f.t.Fatal(err)
	}
	return path
}

// commit makes a valid commit by member i, with a path.
func (f *fixture) commit(i LeafIndex, list []ProposalOrRef) *PublicMessage {
	f.t.Helper()
	path := f.path(member(i), *f.group.Leaf(i), f.keys[i], list)
	return f.message(member(i), f.keys[i], nil, &Commit{Proposals: list, Path: path})
}

// bare makes a commit by member i without a path.
func (f *fixture) bare(i LeafIndex, list []ProposalOrRef) *PublicMessage {
	f.t.Helper()
	return f.message(member(i), f.keys[i], nil, &Commit{Proposals: list})
}

// join makes a valid external commit of a new client.
func (f *fixture) join(kp *KeyPackageSecret, list []ProposalOrRef) *PublicMessage {
	f.t.Helper()
	path := f.path(newMember, kp.KeyPackage.LeafNode, kp.Signer, list)
	return f.message(newMember, kp.Signer, nil, &Commit{Proposals: list, Path: path})
}

// apply processes a commit that must be valid, after a trip over the wire, and
// moves to the next epoch.
func (f *fixture) apply(m *PublicMessage) *PublicCommit {
	f.t.Helper()
	var received PublicMessage
	if err := wire.Unmarshal(encoded(m), &received); err != nil {
		f.t.Fatal(err)
	}
	c, err := f.group.Commit(&received)
	if err != nil {
		f.t.Fatal(err)
	}
	f.group = c.Next
	f.checkTree()
	return c
}

// checkTree recomputes everything about the tree that is cached.
func (f *fixture) checkTree() {
	f.t.Helper()
	checkAgainstRebuilt(f.t, f.group.tree)
	if err := f.group.tree.verifyParentHashes(); err != nil {
		f.t.Fatal(err)
	}
}

func checkAgainstRebuilt(t testing.TB, tr *tree) {
	t.Helper()
	fresh, err := buildTree(tr.suite, tr.array())
	if err != nil {
		t.Fatal(err)
	}
	want, err := fresh.hash()
	if err != nil {
		t.Fatal(err)
	}
	have, err := tr.hash()
	if err != nil || !bytes.Equal(have, want) {
		t.Fatal("cached tree hash differs from the recomputed one")
	}
	if a, b := tr.root.capabilities(), fresh.root.capabilities(); (a == nil) != (b == nil) || a != nil && !a.equal(b) {
		t.Fatal("cached capabilities differ from the recomputed ones")
	}
	if tr.level != fresh.level || tr.root.leaves != fresh.root.leaves {
		t.Fatal("shape differs from that of the array form")
	}
}

func TestPublicGroupLifecycle(t *testing.T) {
	f := newFixture(t, 5, nil, nil)
	before := f.group
	c := f.apply(f.commit(2, nil))
	if c.CommitterLeaf != 2 || c.External || len(c.Adds)+len(c.Removed) != 0 || !c.HasPath {
		t.Errorf("empty commit: %+v", c)
	}
	if before.Epoch() != 1 || f.group.Epoch() != 2 {
		t.Errorf("epochs %d and %d, want 1 and 2", before.Epoch(), f.group.Epoch())
	}
	kp := f.keyPackage(nil)
	c = f.apply(f.join(kp, values(externalInit())))
	if !c.External || c.CommitterLeaf != 5 || f.group.MemberCount() != 6 {
		t.Errorf("external commit put the joiner at %d of %d", c.CommitterLeaf, f.group.MemberCount())
	}
	f.keys[5] = kp.Signer
	c = f.apply(f.commit(5, values(removeOf(1), addOf(f.keyPackage(nil)))))
	if len(c.Adds) != 1 || c.Adds[0].Index != 1 || len(c.Removed) != 1 || c.Removed[0].Index != 1 {
		t.Errorf("adds %v, removed %v", c.Adds, c.Removed)
	}
	ref, err := c.Adds[0].KeyPackage.Ref()
	if err != nil || !bytes.Equal(ref, c.Adds[0].Ref) {
		t.Error("reference of the added KeyPackage")
	}
}

func TestPublicGroupResync(t *testing.T) {
	f := newFixture(t, 3, nil, nil)
	// The returning client keeps its signature key.
	kp := f.keyPackage(func(o *KeyPackageOptions) { o.Signer = f.keys[1] })
	c := f.apply(f.join(kp, values(externalInit(), removeOf(1))))
	if c.CommitterLeaf != 1 || len(c.Removed) != 1 || f.group.MemberCount() != 3 {
		t.Errorf("resync put the client at leaf %d", c.CommitterLeaf)
	}
}

func TestPublicGroupPathless(t *testing.T) {
	f := newFixture(t, 3, nil, nil)
	list := values(addOf(f.keyPackage(nil)), pskOf("a", 32), appData(0x22, "new"), ephemeral(0x77, "x"))
	if c := f.apply(f.bare(0, list)); c.HasPath || len(c.Adds) != 1 {
		t.Errorf("pathless commit: %+v", c)
	}
	c := f.apply(f.bare(0, values(reInit())))
	if c.ReInit == nil || f.group.ReInit() == nil {
		t.Error("the group is not closed")
	}
	if _, err := f.group.Commit(f.bare(0, values(appData(0x22, "more")))); !errors.Is(err, ErrReInitialized) {
		t.Errorf("commit in a closed group: %v", err)
	}
}

// orderLogic records what the application is asked, and appends.
type orderLogic struct{ calls *[]string }

func (l orderLogic) Update(id ComponentID, old []byte, exists bool, updates [][]byte) ([]byte, error) {
	for _, u := range updates {
		if string(u) == "bad" {
			return nil, errors.New("bad update")
		}
		*l.calls = append(*l.calls, fmt.Sprintf("update %v %s", id, u))
		old = append(slices.Clone(old), u...)
	}
	return old, nil
}

func (l orderLogic) Remove(id ComponentID, _ []byte) error {
	*l.calls = append(*l.calls, fmt.Sprintf("remove %v", id))
	return nil
}

func (l orderLogic) Ephemeral(id ComponentID, data []byte) error {
	if string(data) == "bad" {
		return errors.New("bad data")
	}
	*l.calls = append(*l.calls, fmt.Sprintf("ephemeral %v %s", id, data))
	return nil
}

// TestApplicationOrder mixes all kinds that may be together, listed against
// the order of application, and compares with what RFC 9420 §12.3 says.
func TestApplicationOrder(t *testing.T) {
	var calls []string
	f := newFixture(t, 6, &Config{Components: orderLogic{&calls}}, nil)
	x := f.group.Context().Extensions.Set(ExtensionTypeApplicationID, []byte("id"))
	list := []ProposalOrRef{
		byValue(appData(0x30, "b")),
		byValue(addOf(f.keyPackage(nil))),
		byValue(appData(0x22, "+1")),
		byValue(pskOf("p", 32)),
		f.mustPropose(5, removeOf(2)),
		byValue(ephemeral(0x77, "e1")),
		f.mustPropose(3, selfRemove()),
		byValue(addOf(f.keyPackage(nil))),
		f.mustPropose(4, f.update(4, nil)),
		byValue(appData(0x22, "+2")),
		byValue(contextExtensions(x)),
		byValue(ephemeral(0x76, "e2")),
	}
	m := f.commit(0, list)
	calls = nil
	c := f.apply(m)
	want := []string{"ephemeral 0x0077 e1", "ephemeral 0x0076 e2", "update 0x0030 b", "update 0x0022 +1", "update 0x0022 +2"}
	if !slices.Equal(calls, want) {
		t.Errorf("application was asked %q, want %q", calls, want)
	}
	if data, _ := f.group.Dictionary().Get(0x22); string(data) != "list+1+2" {
		t.Errorf("component 0x22 is %q", data)
	}
	if _, ok := f.group.Context().Extensions.Find(ExtensionTypeApplicationID); !ok {
		t.Error("group_context_extensions was not applied")
	}
	// SelfRemove of 3 comes before Remove of 2; the Adds fill 2, then 3.
	if c.Removed[0].Index != 3 || c.Removed[1].Index != 2 || c.Adds[0].Index != 2 || c.Adds[1].Index != 3 {
		t.Errorf("removed %v, added %v", c.Removed, c.Adds)
	}
	if f.group.Leaf(4).Source != LeafNodeSourceUpdate {
		t.Error("update was not applied")
	}
	if len(c.staged.psks) != 1 {
		t.Error("psk was not noted")
	}
}

// TestDictionaryAppended: a missing dictionary becomes the last extension and
// entries stay sorted.
func TestDictionaryAppended(t *testing.T) {
	f := newFixture(t, 2, nil, func(x Extensions) Extensions { return x.Without(ExtensionTypeAppDataDictionary) })
	f.apply(f.bare(0, values(appData(0x30, "b"), appData(0x22, "a"))))
	x := f.group.Context().Extensions
	last := x[len(x)-1]
	if want := []byte{10, 0x00, 0x22, 1, 'a', 0x00, 0x30, 1, 'b'}; last.Type != ExtensionTypeAppDataDictionary || !bytes.Equal(last.Data[1:], want[1:]) {
		t.Errorf("last extension is %v %x", last.Type, last.Data)
	}
	f.apply(f.bare(0, values(appDataRemove(0x30))))
	if _, ok := f.group.Dictionary().Get(0x30); ok {
		t.Error("component was not removed")
	}
}

func TestExternalCommitWithSelfRemove(t *testing.T) {
	f := newFixture(t, 4, nil, nil)
	left := f.mustPropose(2, selfRemove())
	f.mustPropose(1, removeOf(3)) // may not be covered by a joiner
	if got := f.group.Committable(newMember); len(got) != 1 || !bytes.Equal(got[0].Ref, left.Ref) {
		t.Errorf("a joiner may commit %d proposals, want the SelfRemove", len(got))
	}
	kp := f.keyPackage(nil)
	c := f.apply(f.join(kp, append(values(externalInit(), appData(0x22, "joined"), ephemeral(0x77, "e"), pskOf("p", 32)), left)))
	if c.CommitterLeaf != 2 || len(c.Removed) != 1 || c.Removed[0].Index != 2 {
		t.Errorf("joiner at %d, removed %v", c.CommitterLeaf, c.Removed)
	}
	if len(f.group.Cached()) != 0 {
		t.Error("proposals outlived their epoch")
	}
}

func TestExternalProposal(t *testing.T) {
	f := newFixture(t, 3, nil, nil)
	for _, p := range []Proposal{removeOf(1), addOf(f.keyPackage(nil)), pskOf("p", 32), appData(0x22, "x"), ephemeral(0x77, "x"), contextExtensions(f.group.Context().Extensions)} {
		b, err := ExternalProposal(f.group.Context(), 0, f.external, p)
		if err != nil {
			t.Fatal(err)
		}
		m, err := ParseMessage(b)
		if err != nil {
			t.Fatal(err)
		}
		c, err := f.group.Proposal(m.Public)
		if err != nil {
			t.Fatalf("%v: %v", p.Type, err)
		}
		f.group = f.group.WithProposal(c)
	}
	var list []ProposalOrRef
	for _, c := range f.group.Committable(member(0)) {
		list = append(list, ProposalOrRef{Ref: c.Ref})
	}
	if c := f.apply(f.commit(0, list)); len(c.Proposals) != 6 || len(c.Removed) != 1 {
		t.Errorf("commit covered %d proposals", len(c.Proposals))
	}
	for _, p := range []Proposal{selfRemove(), f.update(0, nil), externalInit()} {
		if _, err := ExternalProposal(f.group.Context(), 0, f.external, p); err == nil {
			t.Errorf("%v was made for an external sender", p.Type)
		}
	}
}

func TestNewMemberProposal(t *testing.T) {
	f := newFixture(t, 2, nil, nil)
	kp := f.keyPackage(nil)
	ref, err := f.propose(Sender{Type: SenderTypeNewMemberProposal}, kp.Signer, addOf(kp))
	if err != nil {
		t.Fatal(err)
	}
	c := f.apply(f.bare(1, []ProposalOrRef{{Ref: ref}}))
	if len(c.Adds) != 1 || c.Proposals[0].Sender.Type != SenderTypeNewMemberProposal {
		t.Errorf("adds %v", c.Adds)
	}
}

func TestCommittable(t *testing.T) {
	f := newFixture(t, 6, nil, nil)
	kp := f.keyPackage(nil)
	own := f.mustPropose(0, f.update(0, nil))
	f.mustPropose(1, f.update(1, nil))
	update := f.mustPropose(1, f.update(1, nil)) // the latest counts
	f.mustPropose(2, f.update(2, nil))
	remove := f.mustPropose(3, removeOf(2)) // a Remove beats an Update
	f.mustPropose(3, removeOf(4))
	self := f.mustPropose(4, selfRemove()) // a SelfRemove beats a Remove
	f.mustPropose(1, removeOf(0))          // not by leaf 0 itself
	f.mustPropose(1, reInit())             // only alone
	add := f.mustPropose(5, addOf(kp))
	f.mustPropose(3, addOf(kp)) // the same client again
	want := []ProposalOrRef{update, remove, self, add}
	var got []ProposalOrRef
	for _, c := range f.group.Committable(member(0)) {
		got = append(got, ProposalOrRef{Ref: c.Ref})
	}
	if len(got) != len(want) {
		t.Fatalf("%d proposals are committable, want %d", len(got), len(want))
	}
	for i := range want {
		if !bytes.Equal(got[i].Ref, want[i].Ref) {
			t.Errorf("committable proposal %d is another one", i)
		}
	}
	f.apply(f.commit(0, got))
	_ = own
}

func TestUnknownProposal(t *testing.T) {
	f := newFixture(t, 2, nil, nil)
	known := f.mustPropose(1, pskOf("p", 32))
	_, err := f.group.Commit(f.bare(0, []ProposalOrRef{{Ref: []byte("?")}, known, {Ref: []byte("!")}}))
	var unknown *UnknownProposalError
	if !errors.As(err, &unknown) || len(unknown.Refs) != 2 || string(unknown.Refs[1]) != "!" {
		t.Errorf("got %v", err)
	}
}

func TestPublicGroupState(t *testing.T) {
	f := newFixture(t, 5, nil, nil)
	f.apply(f.commit(3, values(removeOf(1))))
	ref := f.mustPropose(2, selfRemove())
	b, err := f.group.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	restored, err := UnmarshalPublicGroup(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := restored.MarshalBinary(); err != nil || !bytes.Equal(again, b) {
		t.Errorf("restored state encodes differently (%v)", err)
	}
	m := f.commit(3, []ProposalOrRef{ref})
	want, err := f.group.Commit(m)
	if err != nil {
		t.Fatal(err)
	}
	have, err := restored.Commit(m)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(encoded(have.Next.Context()), encoded(want.Next.Context())) {
		t.Error("restored group goes to another epoch")
	}
	b[0]++
	if _, err := UnmarshalPublicGroup(b, nil); !errors.Is(err, ErrBadState) {
		t.Errorf("unknown version: %v", err)
	}
	b[0]--
	for n := range b {
		if _, err := UnmarshalPublicGroup(b[:n], nil); err == nil {
			t.Fatalf("state cut to %d octets was accepted", n)
		}
	}
}

func TestVerifyGroupInfo(t *testing.T) {
	f := newFixture(t, 3, nil, nil)
	c := f.apply(f.commit(1, nil))
	good := func() *GroupInfo {
		return &GroupInfo{GroupContext: *c.Next.Context(), ConfirmationTag: c.ConfirmationTag, Signer: 1}
	}
	for _, tc := range []struct {
		name   string
		change func(*GroupInfo)
		key    LeafIndex
		ok     bool
	}{
		{"good", func(*GroupInfo) {}, 1, true},
		{"epoch", func(g *GroupInfo) { g.GroupContext.Epoch++ }, 1, false},
		{"tree hash", func(g *GroupInfo) { g.GroupContext.TreeHash = randomTag() }, 1, false},
		{"transcript", func(g *GroupInfo) { g.GroupContext.ConfirmedTranscriptHash = randomTag() }, 1, false},
		{"group", func(g *GroupInfo) { g.GroupContext.GroupID = []byte("x") }, 1, false},
		{"context extensions", func(g *GroupInfo) { g.GroupContext.Extensions = nil }, 1, false},
		{"tag", func(g *GroupInfo) { g.ConfirmationTag = randomTag() }, 1, false},
		{"signer", func(g *GroupInfo) { g.Signer = 2 }, 2, false},
		{"key", func(*GroupInfo) {}, 2, false},
		{"tree", func(g *GroupInfo) { g.Extensions = Extensions{{Type: ExtensionTypeRatchetTree}} }, 1, false},
		{"twice", func(g *GroupInfo) { g.Extensions = Extensions{{Type: 0x0a0a}, {Type: 0x0a0a}} }, 1, false},
		{"grease", func(g *GroupInfo) { g.Extensions = Extensions{{Type: 0x0a0a}} }, 1, true},
	} {
		gi := good()
		tc.change(gi)
		if err := gi.Sign(f.keys[tc.key].Private); err != nil {
			t.Fatal(err)
		}
		if err := c.VerifyGroupInfo(gi); (err == nil) != tc.ok {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	gi := good()
	if err := gi.Sign(f.keys[1].Private); err != nil {
		t.Fatal(err)
	}
	p, err := NewPublicGroup(gi, f.group.Tree(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if next, err := p.Commit(f.commit(2, nil)); err != nil || next.Next.Epoch() != 3 {
		t.Errorf("group made from the GroupInfo: %v", err)
	}
	if _, err := NewPublicGroup(gi, nil, nil); !errors.Is(err, ErrMissingTree) {
		t.Errorf("no tree: %v", err)
	}
}
