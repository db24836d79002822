package mls

import (
	"errors"
	"strings"
	"testing"
	"time"

	"hubbub/mls/wire"
)

// The lines H of the list of hostile inputs (reliability.md) that are decided in
// this package. Those about rooms and requests are decided above it; H16 to H19
// are in decoders_test.go.

// refusal is an attempt and what its error must match: a sentinel, or a part of
// a ValidationError.
type refusal struct {
	name string
	err  error
	want any
}

func (r refusal) check(t *testing.T) {
	t.Helper()
	switch want := r.want.(type) {
	case error:
		if !errors.Is(r.err, want) {
			t.Errorf("%s: %v, want %v", r.name, r.err, want)
		}
	case string:
		if r.err == nil || !strings.Contains(r.err.Error(), want) {
			t.Errorf("%s: %v, want %q", r.name, r.err, want)
		}
	}
}

func commitError(p *PublicGroup, m *PublicMessage) error {
	_, err := p.Commit(m)
	return err
}

func proposalError(p *PublicGroup, m *PublicMessage) error {
	_, err := p.Proposal(m)
	return err
}

// TestHostileHandshakes: H33 to H39, H42 to H45, H51.
func TestHostileHandshakes(t *testing.T) {
	cfg := &Config{Successor: func(old, new *Credential) error { return errors.New("another identity") }}
	f := newFixture(t, 4, cfg, nil)
	kp, rejoin := f.keyPackage(nil), f.keyPackage(nil)
	at := func(epoch uint64) *PublicMessage {
		m := f.commit(0, nil)
		m.Content.Epoch = epoch
		a := m.Authenticated()
		if err := a.Sign(1, f.keys[0].Private, f.group.Context()); err != nil {
			t.Fatal(err)
		}
		m.Auth = a.Auth
		return m
	}
	first, second := f.commit(0, nil), f.commit(1, nil)
	next, err := f.group.Commit(first)
	if err != nil {
		t.Fatal(err)
	}
	forged := f.commit(0, nil)
	forged.Auth.Signature[0] ^= 1
	nowhere := f.commit(0, nil)
	nowhere.Content.Sender = member(99)
	elsewhere := f.commit(0, nil)
	elsewhere.Content.GroupID = []byte("another")
	missing := f.bare(0, []ProposalOrRef{{Ref: []byte("unknown")}})
	changed := f.commit(0, nil).Content.Commit
	changed.Path.LeafNode.Credential = BasicCredential([]byte("somebody else"))
	renamed := f.message(member(0), f.keys[0], nil, changed)
	twin := f.keyPackage(func(o *KeyPackageOptions) { o.Signer = f.keys[2] })
	stolen := f.keyPackage(nil)
	stolen.KeyPackage.LeafNode.EncryptionKey = f.group.Leaf(2).EncryptionKey
	resign(t, stolen)
	takeover := f.keyPackage(nil)
	proposal := removeOf(2)
	asCommit := f.message(member(1), f.keys[1], &proposal, nil)
	for _, r := range []refusal{
		{"H33 past epoch", commitError(f.group, at(f.group.Epoch()-1)), ErrWrongEpoch},
		{"H34 future epoch", commitError(f.group, at(f.group.Epoch()+1)), ErrFutureEpoch},
		{"H36 second commit of an epoch", commitError(next.Next, second), ErrWrongEpoch},
		{"H36 the first again", commitError(next.Next, first), ErrWrongEpoch},
		{"H37 proposal as commit", commitError(f.group, asCommit), "not a commit"},
		{"H38 bad signature", commitError(f.group, forged), ErrBadSignature},
		{"H38 sender out of range", commitError(f.group, nowhere), ErrNotMember},
		{"H38 another's leaf", commitError(f.group, f.message(member(1), f.keys[0], nil, first.Content.Commit)), ErrBadSignature},
		{"H39 unknown proposals", commitError(f.group, missing), ErrUnknownProposal},
		{"H42 removed twice", commitError(f.group, f.bare(0, values(removeOf(2), removeOf(2)))), "several updates or removals"},
		{"H42 index out of range", commitError(f.group, f.bare(0, values(removeOf(1<<32-1)))), "blank leaf"},
		{"H43 path changes the identity", commitError(f.group, renamed), "no successor"},
		{"H43 update changes the identity", func() error {
			_, err := f.propose(member(1), f.keys[1], f.update(1, func(l *LeafNode) { l.Credential = BasicCredential([]byte("x")) }))
			return err
		}(), "no successor"},
		{"H44 signature key in use", commitError(f.group, f.bare(0, values(addOf(twin)))), "member already"},
		{"H44 encryption key in use", commitError(f.group, f.bare(0, values(addOf(stolen)))), "in use"},
		{"H44 the same client twice", commitError(f.group, f.bare(0, values(addOf(kp), addOf(kp)))), "member already"},
		{"H45 no external_init", commitError(f.group, hostileJoin(f, kp, nil)), "0 external_inits"},
		{"H45 two of them", commitError(f.group, hostileJoin(f, kp, values(externalInit(), externalInit()))), "2 external_inits"},
		{"H45 two removals", commitError(f.group, hostileJoin(f, kp, values(externalInit(), removeOf(1), removeOf(2)))), "several removals"},
		{"H45 removes another", commitError(f.group, hostileJoin(f, takeover, values(externalInit(), removeOf(1)))), "no successor"},
		{"H45 leaves its old leaf", commitError(f.group, twinJoin(f)), "not unique"},
		{"H45 adds somebody", commitError(f.group, hostileJoin(f, kp, values(externalInit(), addOf(rejoin)))), "in an external commit"},
		{"H51 commit among proposals", proposalError(f.group, first), "not a proposal"},
		{"H51 another group", commitError(f.group, elsewhere), ErrWrongGroup},
		{"H51 proposal of a past epoch", proposalError(next.Next, asCommit), ErrWrongEpoch},
	} {
		r.check(t)
	}
	var unknown *UnknownProposalError
	if err := commitError(f.group, missing); !errors.As(err, &unknown) || string(unknown.Refs[0]) != "unknown" {
		t.Errorf("H39: references are not named: %v", err)
	}
}

// hostileJoin is an external commit with a list of its sender's choice.
func hostileJoin(f *fixture, kp *KeyPackageSecret, list []ProposalOrRef) *PublicMessage {
	c := f.join(kp, values(externalInit())).Content.Commit
	c.Proposals = list
	return f.message(newMember, kp.Signer, nil, c)
}

// twinJoin is the external commit of member 2, which leaves its old leaf there.
func twinJoin(f *fixture) *PublicMessage {
	c := f.join(f.keyPackage(nil), values(externalInit())).Content.Commit
	c.Path.LeafNode.SignatureKey = f.keys[2].Public
	if err := c.Path.LeafNode.sign(1, f.keys[2].Private, f.group.GroupID(), 4); err != nil {
		f.t.Fatal(err)
	}
	return f.message(newMember, f.keys[2], nil, c)
}

// TestHostileWireFormats: H37 for a member. What is no message to the group is
// refused as such, whatever is in it.
func TestHostileWireFormats(t *testing.T) {
	c, msgs := seedMessages(t)
	bob := c.members["bob"]
	for i, name := range map[int]string{3: "welcome", 4: "group info", 5: "key package"} {
		_, err := bob.Process(msgs[i])
		refusal{"H37 " + name, err, "not a message to a group"}.check(t)
	}
	for _, b := range [][]byte{nil, {0}, {0, 1, 0, 99, 0}, {0, 2, 0, 1}, make([]byte, 64)} {
		if _, err := bob.Process(b); err == nil {
			t.Errorf("%x accepted", b)
		}
	}
}

// TestHostileGroupInfo: H46, H49.
func TestHostileGroupInfo(t *testing.T) {
	c := newChat(t, 1, nil, nil, "alice", "bob")
	p, err := c.members["alice"].Commit(CommitOptions{})
	c.ok(err)
	m, err := ParseMessage(p.Message())
	c.ok(err)
	commit, err := c.members["bob"].Public().Commit(m.Public)
	c.ok(err)
	signed := func(change func(*GroupInfo)) *GroupInfo {
		gi := *p.GroupInfo()
		change(&gi)
		c.ok(gi.Sign(c.signers["alice"].Private))
		return &gi
	}
	for _, r := range []refusal{
		{"H46 group id", commit.VerifyGroupInfo(signed(func(g *GroupInfo) { g.GroupContext.GroupID = []byte("x") })), "another state"},
		{"H46 epoch", commit.VerifyGroupInfo(signed(func(g *GroupInfo) { g.GroupContext.Epoch++ })), "another state"},
		{"H46 tree hash", commit.VerifyGroupInfo(signed(func(g *GroupInfo) { g.GroupContext.TreeHash = randomTag() })), "another state"},
		{"H46 signer out of range", commit.VerifyGroupInfo(signed(func(g *GroupInfo) { g.Signer = 1<<32 - 1 })), "not signed by the committer"},
		{"H46 joining by such a signer", func() error {
			_, err := NewPublicGroup(signed(func(g *GroupInfo) { g.Signer = 1<<32 - 1 }), p.Tree(), nil)
			return err
		}(), "not a member"},
		{"H49 other extensions", func() error { _, err := commit.GroupInfoFromPartial(nil, p.GroupInfo().Signature); return err }(), ErrBadSignature},
	} {
		r.check(t)
	}
}

// TestHostileTree: H47. Each is refused, and in little time.
func TestHostileTree(t *testing.T) {
	leaf := func(n int) *Node { return &Node{Leaf: plainLeaf(n)} }
	parent := func(unmerged ...LeafIndex) *Node {
		return &Node{Parent: &ParentNode{EncryptionKey: []byte("p"), UnmergedLeaves: unmerged}}
	}
	many := make([]LeafIndex, 1<<16)
	for i := range many {
		many[i] = LeafIndex(i)
	}
	tail := append(RatchetTree{leaf(0)}, make(RatchetTree, 1<<20)...)
	for name, nodes := range map[string]RatchetTree{
		"empty": {}, "only blanks": make(RatchetTree, 1<<20), "blank tail": tail,
		"leaf in a parent's place": {leaf(0), leaf(1), leaf(2)}, "parent in a leaf's place": {parent(), nil, leaf(1)},
		"parent at the end": {leaf(0), parent()}, "parent over blanks": {nil, parent(), nil, nil, leaf(2)},
		"unmerged out of range": {leaf(0), parent(7), leaf(1)}, "unmerged unsorted": {leaf(0), parent(1, 0), leaf(1)},
		"unmerged twice": {leaf(0), parent(1, 1), leaf(1)}, "unmerged blank": {nil, parent(0), leaf(1)},
		"unmerged without end": {leaf(0), parent(many...), leaf(1)}, "one key twice": {leaf(0), nil, leaf(0)},
	} {
		start := time.Now()
		_, err := buildTree(1, nodes)
		if !errors.Is(err, ErrInvalidTree) {
			t.Errorf("H47 %s: %v", name, err)
		}
		if took := time.Since(start); took > time.Second { // 50 ms on an idle machine
			t.Errorf("H47 %s: took %v", name, took)
		}
	}
	// The widest tree an octet a node can buy is legal. It costs two hashes a
	// leaf and no memory.
	wide := append(append(RatchetTree{leaf(0)}, make(RatchetTree, 1<<18)...), nil, leaf(1))
	wide = wide[:len(wide)-len(wide)%2+1]
	wide[len(wide)-1] = leaf(1)
	tr, err := buildTree(1, wide)
	if err != nil {
		t.Fatal(err)
	}
	total, _ := allocated(func() { err = tr.fill() })
	if err != nil || total > 1<<20 {
		t.Errorf("filling %d blanks allocates %d octets (%v)", len(wide), total, err)
	}
	// Nobody has to hash it: what comes from outside is bounded.
	context := &GroupContext{Version: MLS10, CipherSuite: 1}
	for _, c := range []struct {
		cfg    *Config
		refuse bool
	}{{nil, true}, {&Config{MaxLeaves: 2}, true}, {&Config{MaxLeaves: len(wide)/2 + 1}, false}, {&Config{MaxLeaves: -1}, false}} {
		if _, err := newPublicGroup(context, wide, nil, c.cfg); errors.Is(err, ErrInvalidTree) != c.refuse {
			t.Errorf("%d nodes under %+v: %v", len(wide), c.cfg, err)
		}
	}
}

// TestBlankHash: the quick way to hash blanks gives what the definition says.
func TestBlankHash(t *testing.T) {
	for _, suite := range []CipherSuite{1, 4, 7} {
		var want func(level uint8, first uint32) []byte
		want = func(level uint8, first uint32) []byte {
			if level == 0 {
				b, _ := leafHash(suite, first, nil)
				return b
			}
			b, _ := parentTreeHash(suite, nil, want(level-1, first), want(level-1, first|1<<(level-1)))
			return b
		}
		for level := range uint8(6) {
			got, err := blankHash(suite, level, 1<<level)
			if err != nil {
				t.Fatal(err)
			}
			wantBytes(t, "hash", got, want(level, 1<<level))
		}
	}
}

// TestHostileWelcome: H50 for the client it reaches.
func TestHostileWelcome(t *testing.T) {
	c := newChat(t, 1, nil, nil, "alice")
	bob, mallory := c.keyPackage("bob"), c.keyPackage("mallory")
	p, err := c.members["alice"].Commit(CommitOptions{Proposals: []Proposal{addOf(bob)}, TreeInWelcome: true})
	c.ok(err)
	join := func(change func(*Welcome)) error {
		var w Welcome
		c.ok(wire.Unmarshal(encoded(p.Welcome()), &w))
		change(&w)
		_, err := JoinWelcome(&w, bob, JoinOptions{}, nil)
		return err
	}
	ref, err := mallory.KeyPackage.Ref()
	c.ok(err)
	for _, r := range []refusal{
		{"H50 foreign reference", join(func(w *Welcome) { w.Secrets[0].NewMember = ref }), ErrNoMatchingKeyPackage},
		{"H50 nobody", join(func(w *Welcome) { w.Secrets = nil }), ErrNoMatchingKeyPackage},
		{"H50 suite", join(func(w *Welcome) { w.CipherSuite = 2 }), "different cipher suites"},
		{"H50 group info", join(func(w *Welcome) { w.EncryptedGroupInfo[0] ^= 1 }), ErrDecrypt},
		{"H50 empty", join(func(w *Welcome) { w.EncryptedGroupInfo = nil }), ErrDecrypt},
	} {
		r.check(t)
	}
}

// TestHostileKeyPackage: H92. What a server asks of a KeyPackage before it takes
// it in.
func TestHostileKeyPackage(t *testing.T) {
	f := newFixture(t, 1, nil, nil)
	day := 24 * time.Hour
	made := func(o func(*KeyPackageOptions), change func(*KeyPackage)) error {
		kp := f.keyPackage(o)
		if change != nil {
			change(kp.KeyPackage)
			resign(t, kp)
		}
		return kp.KeyPackage.Validate(nil)
	}
	if err := made(nil, nil); err != nil {
		t.Fatal(err)
	}
	raw := func(change func(*KeyPackage)) error {
		kp := f.keyPackage(nil).KeyPackage
		change(kp)
		return kp.Validate(nil)
	}
	for _, r := range []refusal{
		{"H92 suite", raw(func(k *KeyPackage) { k.CipherSuite = 0x0a0a }), ErrUnsupportedSuite},
		{"H92 another suite", raw(func(k *KeyPackage) { k.CipherSuite = 2 }), "init key"},
		{"H92 version", raw(func(k *KeyPackage) { k.Version = 2 }), "protocol version"},
		{"H92 signature", raw(func(k *KeyPackage) { k.Signature[0] ^= 1 }), ErrBadSignature},
		{"H92 leaf signature", raw(func(k *KeyPackage) { k.LeafNode.Signature[0] ^= 1 }), ErrBadSignature},
		{"H92 lifetime too long", made(func(o *KeyPackageOptions) { o.NotAfter = time.Now().Add(400 * day) }, nil), "too long"},
		{"H92 expired", made(func(o *KeyPackageOptions) {
			o.NotBefore, o.NotAfter = time.Now().Add(-2*day), time.Now().Add(-day)
		}, nil), "not valid at this time"},
		{"H92 one key for both", made(nil, func(k *KeyPackage) { k.InitKey = k.LeafNode.EncryptionKey }), "init key equals"},
		{"H92 extension twice", made(nil, func(k *KeyPackage) { k.Extensions = Extensions{{Type: 0x0a0a}, {Type: 0x0a0a}} }), "occurs twice"},
		{"H92 unlisted extension", made(nil, func(k *KeyPackage) { k.LeafNode.Extensions = Extensions{{Type: 0xf00d}} }), "does not list its own extension"},
		{"H92 certificate of another", made(func(o *KeyPackageOptions) { o.Credential = certificate(t, newSigner(t)) }, nil), "another signature key"},
	} {
		r.check(t)
	}
	kp := f.keyPackage(nil).KeyPackage
	refusal{"H92 wrong user", kp.Validate(&Config{Validate: func(*Credential, []byte) error { return errors.New("who?") }}), "credential refused"}.check(t)
}
