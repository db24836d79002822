package mls

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

// chat is a group seen by all its members at once. Between any two steps every
// member is stored and restored, as if each had restarted.
type chat struct {
	t       testing.TB
	suite   CipherSuite
	cfg     *Config
	members map[string]*Group
	used    map[string]bool // message keys seen: epoch, sender, ratchet, generation
	signers map[string]*SignatureKey
}

// newChat starts a group with a creator and adds others in one commit.
func newChat(t testing.TB, suite CipherSuite, cfg *Config, extensions Extensions, creator string, others ...string) *chat {
	t.Helper()
	c := &chat{t: t, suite: suite, cfg: cfg, members: map[string]*Group{}, used: map[string]bool{}, signers: map[string]*SignatureKey{}}
	g, err := NewGroup(GroupOptions{Suite: suite, Signer: c.signer(creator), Credential: BasicCredential([]byte(creator)), Extensions: extensions}, cfg)
	c.ok(err)
	c.members[creator] = g
	if len(others) > 0 {
		c.add(creator, others...)
	}
	return c
}

func (c *chat) ok(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *chat) signer(name string) *SignatureKey {
	c.t.Helper()
	key, err := NewSignatureKey(c.suite, nil)
	c.ok(err)
	c.signers[name] = key
	return key
}

// keyPackage makes a KeyPackage and stores and restores it.
func (c *chat) keyPackage(name string) *KeyPackageSecret {
	c.t.Helper()
	kp, err := NewKeyPackage(KeyPackageOptions{Suite: c.suite, Signer: c.signer(name), Credential: BasicCredential([]byte(name))})
	c.ok(err)
	b, err := kp.MarshalBinary()
	c.ok(err)
	out := new(KeyPackageSecret)
	c.ok(out.UnmarshalBinary(b))
	return out
}

// restart stores and restores everybody.
func (c *chat) restart() {
	c.t.Helper()
	for name, g := range c.members {
		c.members[name] = c.reload(g)
	}
}

func (c *chat) reload(g *Group) *Group {
	c.t.Helper()
	b, err := g.MarshalBinary()
	c.ok(err)
	next, err := UnmarshalGroup(b, c.cfg)
	c.ok(err)
	return next
}

// note fails if a private message uses a key that another one has used.
func (c *chat) note(g *Group, msg []byte) {
	c.t.Helper()
	m, err := ParseMessage(msg)
	c.ok(err)
	if m.Private == nil {
		return
	}
	sd, err := openSenderData(c.suite, g.secrets.senderData, m.Private)
	c.ok(err)
	key := fmt.Sprint(m.Private.Epoch, sd.leaf, ratchetOf(m.Private.ContentType), sd.generation)
	if c.used[key] {
		c.t.Fatalf("message key used twice: epoch, leaf, ratchet, generation = %s", key)
	}
	c.used[key] = true
}

// commit makes, stores, restores and merges a commit and brings it to everyone.
func (c *chat) commit(from string, o CommitOptions) *PendingCommit {
	c.t.Helper()
	g := c.members[from]
	pending, err := g.Commit(o)
	c.ok(err)
	b, err := pending.MarshalBinary()
	c.ok(err)
	pending, err = UnmarshalPendingCommit(b, c.cfg)
	c.ok(err)
	c.note(g, pending.Message())
	c.deliver(from, pending.Message())
	c.members[from], err = pending.MergeFrom(pending.Base())
	c.ok(err)
	c.agree()
	return pending
}

// deliver has everyone but the sender process a handshake message.
func (c *chat) deliver(from string, msg []byte) {
	c.t.Helper()
	for name, g := range c.members {
		if name == from {
			continue
		}
		got, err := g.Process(msg)
		if err != nil {
			c.t.Fatalf("%s: %v", name, err)
		}
		switch r := got.(type) {
		case *ProposalReceived:
			c.members[name] = r.Next
		case *CommitReceived:
			if c.members[name] = r.Merge(); r.Removed {
				delete(c.members, name)
			}
		default:
			c.t.Fatalf("%s: %T", name, got)
		}
	}
	c.restart()
}

// agree fails unless all members are in the same state.
func (c *chat) agree() {
	c.t.Helper()
	c.restart()
	var first *Group
	for _, g := range c.members {
		if first == nil {
			first = g
		}
		if !bytes.Equal(g.EpochAuthenticator(), first.EpochAuthenticator()) || g.Epoch() != first.Epoch() {
			c.t.Fatal("members disagree about the epoch")
		}
		checkAgainstRebuilt(c.t, g.public.tree)
	}
}

// add has a member add others, who join by the Welcome.
func (c *chat) add(by string, names ...string) {
	c.t.Helper()
	var o CommitOptions
	secrets := map[string]*KeyPackageSecret{}
	for _, n := range names {
		secrets[n] = c.keyPackage(n)
		o.Proposals = append(o.Proposals, addOf(secrets[n]))
	}
	o.TreeInWelcome = len(names)%2 == 0
	pending := c.commit(by, o)
	b, err := NewMessage(pending.Welcome()).Marshal()
	c.ok(err)
	m, err := ParseMessage(b)
	c.ok(err)
	for _, n := range names {
		var join JoinOptions
		if !o.TreeInWelcome {
			join.Tree = pending.Tree()
		}
		c.members[n], err = JoinWelcome(m.Welcome, secrets[n], join, c.cfg)
		c.ok(err)
	}
	c.agree()
}

// send encrypts a message and has everyone else read it.
func (c *chat) send(from, text string) {
	c.t.Helper()
	msg := c.encrypt(from, text)
	for name := range c.members {
		if name != from {
			c.receive(name, from, msg, text)
		}
	}
}

func (c *chat) encrypt(from, text string) []byte {
	c.t.Helper()
	g := c.members[from]
	next, msg, err := g.Encrypt([]byte(text), EncryptOptions{PadTo: 32})
	c.ok(err)
	c.members[from] = c.reload(next)
	c.note(g, msg)
	return msg
}

func (c *chat) receive(name, from string, msg []byte, text string) {
	c.t.Helper()
	got, err := c.members[name].Process(msg)
	if err != nil {
		c.t.Fatalf("%s: %v", name, err)
	}
	a, ok := got.(*Application)
	if !ok || string(a.Data) != text || string(a.Credential.Identity) != from {
		c.t.Fatalf("%s got %+v", name, got)
	}
	c.members[name] = c.reload(a.Next)
}

// propose makes a proposal and brings it to everyone.
func (c *chat) propose(from string, p Proposal, o ProposeOptions) []byte {
	c.t.Helper()
	g := c.members[from]
	next, msg, err := g.Propose(p, o)
	c.ok(err)
	c.note(g, msg)
	c.members[from] = next
	c.deliver(from, msg)
	return msg
}

func (c *chat) wantError(name string, msg []byte, want error) {
	c.t.Helper()
	if got, err := c.members[name].Process(msg); !errors.Is(err, want) {
		c.t.Fatalf("%s: got %v, %v, want %v", name, got, err, want)
	}
}

func TestThreeMemberChat(t *testing.T) {
	for _, suite := range append(SupportedSuites(), PostQuantumSuites()...) {
		t.Run(suite.String(), func(t *testing.T) {
			c := newChat(t, suite, nil, nil, "alice", "bob", "carol")
			for i := range 3 {
				c.send("alice", fmt.Sprint("hello ", i))
				c.send("bob", "hi")
			}
			c.commit("bob", CommitOptions{})
			c.send("carol", "in the next epoch")
			c.commit("carol", CommitOptions{Private: true})
			c.propose("alice", Proposal{Type: ProposalTypeUpdate}, ProposeOptions{})
			c.commit("bob", CommitOptions{})
			c.propose("bob", Proposal{Type: ProposalTypeUpdate}, ProposeOptions{Private: true})
			c.add("carol", "dave")
			for name := range c.members {
				c.send(name, "from "+name)
			}
		})
	}
}

func TestRemoveMember(t *testing.T) {
	c := newChat(t, 1, nil, nil, "alice", "bob", "carol", "dave")
	late := c.encrypt("bob", "sent before the removal")
	bob := c.members["bob"]
	c.commit("carol", CommitOptions{Proposals: []Proposal{removeOf(bob.OwnLeaf())}})
	if _, still := c.members["bob"]; still {
		t.Fatal("bob was not told that he is removed")
	}
	c.receive("dave", "bob", late, "sent before the removal")
	next := c.encrypt("dave", "without bob")
	if _, err := bob.Process(next); !errors.Is(err, ErrFutureEpoch) {
		t.Fatalf("removed member: %v", err)
	}
	c.add("alice", "erin")
	c.send("erin", "in bob's place")
	if got := c.members["erin"].OwnLeaf(); got != bob.OwnLeaf() {
		t.Fatalf("erin is at leaf %d", got)
	}
	// The same leaf has another occupant now; late messages keep theirs.
	c.receive("carol", "bob", late, "sent before the removal")
}

func TestOutOfOrder(t *testing.T) {
	cfg := &Config{MaxSkippedKeys: 3, MaxForward: 10}
	c := newChat(t, 1, cfg, nil, "alice", "bob")
	var msgs [][]byte
	for i := range 24 {
		msgs = append(msgs, c.encrypt("alice", fmt.Sprint(i)))
	}
	receive := func(i int) { c.receive("bob", "alice", msgs[i], fmt.Sprint(i)) }
	receive(2)
	receive(0)
	c.wantError("bob", msgs[0], ErrReplay)
	c.wantError("bob", msgs[2], ErrReplay)
	receive(8)
	receive(7)
	c.wantError("bob", msgs[1], ErrTooOld)
	c.wantError("bob", msgs[20], ErrTooFarAhead)
	receive(19)
	// A forged message must not use up the key of the true one.
	forged := bytes.Clone(msgs[18])
	forged[len(forged)-1] ^= 1
	c.wantError("bob", forged, ErrDecrypt)
	receive(18)
}

func TestPastEpochs(t *testing.T) {
	cfg := &Config{MaxPastEpochs: 2}
	c := newChat(t, 1, cfg, nil, "alice", "bob")
	old := c.encrypt("alice", "0")
	c.commit("alice", CommitOptions{})
	mid := c.encrypt("alice", "1")
	c.commit("bob", CommitOptions{})
	c.receive("bob", "alice", mid, "1")
	c.wantError("bob", mid, ErrReplay)
	c.receive("bob", "alice", old, "0")
	c.commit("bob", CommitOptions{})
	c.wantError("bob", old, ErrTooOld)
	c.wantError("bob", mid, ErrReplay)
}

func TestOwnEcho(t *testing.T) {
	c := newChat(t, 1, nil, nil, "alice", "bob")
	msg := c.encrypt("alice", "hello")
	own := func(msg []byte, want ContentType) {
		t.Helper()
		got, err := c.members["alice"].Process(msg)
		c.ok(err)
		if o, ok := got.(*OwnMessage); !ok || o.ContentType != want {
			t.Fatalf("%+v", got)
		}
	}
	own(msg, ContentTypeApplication)
	own(c.propose("alice", appData(7, "x"), ProposeOptions{}), ContentTypeProposal)
	own(c.propose("alice", appData(8, "y"), ProposeOptions{Private: true}), ContentTypeProposal)
	for _, private := range []bool{false, true} {
		pending, err := c.members["alice"].Commit(CommitOptions{Private: private})
		c.ok(err)
		own(pending.Message(), ContentTypeCommit)
	}
	c.commit("alice", CommitOptions{})
	own(msg, ContentTypeApplication)
}

// An own proposal whose resulting group was lost is taken from its echo.
func TestOwnProposalRecovered(t *testing.T) {
	c := newChat(t, 1, nil, nil, "alice", "bob")
	_, msg, err := c.members["alice"].Propose(appData(7, "x"), ProposeOptions{})
	c.ok(err)
	got, err := c.members["alice"].Process(msg)
	c.ok(err)
	if p, ok := got.(*ProposalReceived); !ok || len(p.Next.PendingProposals()) != 1 {
		t.Fatalf("%+v", got)
	}
}

func TestCommitRace(t *testing.T) {
	c := newChat(t, 1, nil, nil, "alice", "bob", "carol")
	lost, err := c.members["bob"].Commit(CommitOptions{})
	c.ok(err)
	c.commit("alice", CommitOptions{})
	for name := range c.members {
		c.wantError(name, lost.Message(), ErrWrongEpoch)
	}
	behind := c.members["carol"]
	c.commit("bob", CommitOptions{})
	msg := c.encrypt("alice", "ahead of carol")
	if _, err := behind.Process(msg); !errors.Is(err, ErrFutureEpoch) {
		t.Fatal(err)
	}
	other := newChat(t, 1, nil, nil, "alice", "bob")
	other.wantError("bob", msg, ErrWrongGroup)
}

// A commit sent privately uses up a key even if it loses.
func TestLostPrivateCommit(t *testing.T) {
	c := newChat(t, 1, nil, nil, "alice", "bob")
	for range 3 {
		alice := c.members["alice"]
		pending, err := alice.Commit(CommitOptions{Private: true})
		c.ok(err)
		c.note(alice, pending.Message())
		c.members["alice"] = c.reload(pending.Base())
	}
	c.commit("alice", CommitOptions{Private: true})
}

func TestPendingProposalsBlockSending(t *testing.T) {
	c := newChat(t, 1, nil, nil, "alice", "bob", "carol")
	c.propose("bob", Proposal{Type: ProposalTypeUpdate}, ProposeOptions{})
	for _, g := range c.members {
		if _, _, err := g.Encrypt([]byte("x"), EncryptOptions{}); !errors.Is(err, ErrPendingProposals) {
			t.Fatal(err)
		}
	}
	before := c.members["bob"].public.Leaf(c.members["bob"].own).EncryptionKey
	c.commit("carol", CommitOptions{})
	bob := c.members["bob"]
	if bytes.Equal(before, bob.public.Leaf(bob.own).EncryptionKey) {
		t.Fatal("the update was not applied")
	}
	c.send("bob", "after the update")
	c.commit("carol", CommitOptions{}) // encrypts to bob's new key
}

func TestSelfRemove(t *testing.T) {
	c := newChat(t, 1, nil, nil, "alice", "bob", "carol")
	c.propose("alice", removeOf(c.members["bob"].OwnLeaf()), ProposeOptions{})
	c.propose("bob", selfRemove(), ProposeOptions{})
	if _, _, err := c.members["bob"].Propose(selfRemove(), ProposeOptions{Private: true}); err == nil {
		t.Fatal("private self_remove was made")
	}
	bob := c.members["bob"]
	pending, err := c.members["carol"].Commit(CommitOptions{})
	c.ok(err)
	if list := pending.Proposals(); len(list) != 1 || list[0].Proposal.Type != ProposalTypeSelfRemove {
		t.Fatalf("committed %v", list)
	}
	got, err := bob.Process(pending.Message())
	c.ok(err)
	if r := got.(*CommitReceived); !r.Removed || r.Merge() != nil {
		t.Fatal("bob is still in the group")
	}
	c.commit("carol", CommitOptions{})
	if len(c.members) != 2 {
		t.Fatalf("%d members", len(c.members))
	}
	c.send("alice", "two left")
}

// A pending proposal that contradicts one by value gives way.
func TestCommitDropsConflicting(t *testing.T) {
	c := newChat(t, 1, nil, nil, "alice", "bob", "carol")
	bob := c.members["bob"].OwnLeaf()
	c.propose("bob", Proposal{Type: ProposalTypeUpdate}, ProposeOptions{})
	c.commit("alice", CommitOptions{Proposals: []Proposal{removeOf(bob)}})
	if len(c.members) != 2 {
		t.Fatal("bob was not removed")
	}
	_, err := c.members["alice"].Commit(CommitOptions{Proposals: []Proposal{removeOf(bob)}})
	var invalid *ValidationError
	if !errors.As(err, &invalid) {
		t.Fatalf("removal of a blank leaf: %v", err)
	}
}

func TestTampering(t *testing.T) {
	c := newChat(t, 1, nil, nil, "alice", "bob")
	pending, err := c.members["alice"].Commit(CommitOptions{})
	c.ok(err)
	app := c.encrypt("alice", "hello")
	for _, msg := range [][]byte{pending.Message(), app} {
		for i := range msg {
			forged := bytes.Clone(msg)
			forged[i] ^= 0x10
			if got, err := c.members["bob"].Process(forged); err == nil {
				t.Fatalf("octet %d: %+v", i, got)
			}
		}
	}
	m, err := ParseMessage(pending.Message())
	c.ok(err)
	m.Raw, m.Public.MembershipTag = nil, make([]byte, 32)
	b, err := m.Marshal()
	c.ok(err)
	c.wantError("bob", b, ErrBadMAC)
	m, err = ParseMessage(pending.Message())
	c.ok(err)
	m.Raw, m.Public.Auth.ConfirmationTag = nil, make([]byte, 32)
	context, err := c.members["bob"].public.encodedContext()
	c.ok(err)
	m.Public.MembershipTag, err = membershipTag(1, c.members["bob"].secrets.membership, m.Public, context)
	c.ok(err)
	b, err = m.Marshal()
	c.ok(err)
	c.wantError("bob", b, ErrBadMAC)
}

func TestExport(t *testing.T) {
	c := newChat(t, 1, nil, nil, "alice", "bob")
	export := func(name, label, context string) string {
		b, err := c.members[name].Export(label, []byte(context), 24)
		c.ok(err)
		return string(b)
	}
	a := export("alice", "test", "x")
	if len(a) != 24 || a != export("bob", "test", "x") || a == export("bob", "test", "y") || a == export("bob", "other", "x") {
		t.Fatal("exported values are wrong")
	}
	c.commit("bob", CommitOptions{})
	if a == export("alice", "test", "x") {
		t.Fatal("exported value survives the epoch")
	}
}

func TestLeafChange(t *testing.T) {
	c := newChat(t, 1, nil, nil, "alice", "bob")
	c.commit("alice", CommitOptions{Leaf: &LeafChange{}})
	credential := BasicCredential([]byte("alice renewed"))
	key := must[*SignatureKey](t)(NewSignatureKey(1, nil))
	late := c.encrypt("alice", "as before")
	pending := c.commit("alice", CommitOptions{Leaf: &LeafChange{Credential: &credential, Signer: key}})
	if err := pending.GroupInfo().VerifySignature(key.Public); err != nil {
		t.Fatal(err)
	}
	c.receive("bob", "alice", late, "as before")
	late = c.encrypt("alice", "renewed")
	c.receive("bob", "alice renewed", late, "renewed")
	c.commit("bob", CommitOptions{})
	c.commit("alice", CommitOptions{})
}

func TestAloneInGroup(t *testing.T) {
	c := newChat(t, 1, nil, nil, "alice")
	c.commit("alice", CommitOptions{})
	c.add("alice", "bob")
	c.commit("alice", CommitOptions{Proposals: []Proposal{removeOf(c.members["bob"].OwnLeaf())}})
	c.send("alice", "to nobody")
	c.joinExternal("carol", "alice", ExternalJoinOptions{})
	c.send("carol", "hello")
}

func TestMissedProposal(t *testing.T) {
	c := newChat(t, 1, nil, nil, "alice", "bob")
	bob := c.members["bob"]
	c.propose("alice", Proposal{Type: ProposalTypeUpdate}, ProposeOptions{})
	c.propose("alice", appData(7, "x"), ProposeOptions{})
	ref := c.members["bob"].PendingProposals()[1].Ref
	pending, err := c.members["alice"].Commit(CommitOptions{})
	c.ok(err)
	_, err = bob.Process(pending.Message())
	var unknown *UnknownProposalError
	if !errors.Is(err, ErrUnknownProposal) || !errors.As(err, &unknown) || len(unknown.Refs) != 1 || !bytes.Equal(unknown.Refs[0], ref) {
		t.Fatal(err)
	}
}

// A sender cannot make receivers derive keys without end.
func TestFarGeneration(t *testing.T) {
	tree := newSecretTree(1, make([]byte, 32), 4)
	if _, _, err := tree.take(3, ContentTypeApplication, 1<<32-1, 1000, 200); !errors.Is(err, ErrTooFarAhead) {
		t.Fatal(err)
	}
	if _, _, err := tree.take(4, ContentTypeApplication, 0, 1000, 200); !errors.Is(err, ErrNotMember) {
		t.Fatal(err)
	}
	r := ratchet{secret: make([]byte, 32), generation: 1<<32 - 1}
	r, k, err := r.take(1, 1<<32-1, 1000, 200)
	if err != nil || k.generation != 1<<32-1 {
		t.Fatal(err)
	}
	if _, _, err := r.step(1); !errors.Is(err, ErrTooFarAhead) {
		t.Fatalf("the ratchet starts over: %v", err)
	}
	if _, _, err := r.take(1, 0, 1000, 200); !errors.Is(err, ErrReplay) {
		t.Fatal(err)
	}
}

// What is read while a commit is under way stays read after the merge.
func TestMergeFrom(t *testing.T) {
	c := newChat(t, 1, nil, nil, "alice", "bob")
	pending, err := c.members["alice"].Commit(CommitOptions{})
	c.ok(err)
	msg := c.encrypt("bob", "meanwhile")
	late := c.encrypt("bob", "late")
	c.receive("alice", "bob", msg, "meanwhile")
	next, err := pending.MergeFrom(c.members["alice"])
	c.ok(err)
	c.members["alice"] = next
	c.wantError("alice", msg, ErrReplay)
	c.receive("alice", "bob", late, "late")
	if _, err := pending.MergeFrom(next); !errors.Is(err, ErrWrongEpoch) {
		t.Fatal(err)
	}
}
