package mls

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"hubbub/mls/wire"
)

// joinExternal has a newcomer join by external commit.
func (c *chat) joinExternal(name string, from string, o ExternalJoinOptions) {
	c.t.Helper()
	gi, err := c.members[from].GroupInfo()
	c.ok(err)
	if o.Tree == nil {
		o.Tree = c.members[from].Tree()
	}
	if o.Signer == nil {
		o.Signer = c.signer(name)
	}
	o.Credential = BasicCredential([]byte(name))
	pending, err := JoinExternal(gi, o, c.cfg)
	c.ok(err)
	b, err := pending.MarshalBinary()
	c.ok(err)
	pending, err = UnmarshalPendingCommit(b, c.cfg)
	c.ok(err)
	c.deliver(name, pending.Message())
	c.members[name] = pending.Merge()
	if pending.Base() != nil || pending.Welcome() != nil {
		c.t.Fatal("external join has a base or a welcome")
	}
	c.agree()
}

func TestExternalJoin(t *testing.T) {
	for _, suite := range append(SupportedSuites(), PostQuantumSuites()...) {
		t.Run(suite.String(), func(t *testing.T) {
			c := newChat(t, suite, nil, nil, "alice", "bob")
			c.joinExternal("carol", "bob", ExternalJoinOptions{})
			c.joinExternal("dave", "carol", ExternalJoinOptions{})
			for _, name := range []string{"alice", "dave", "carol", "bob"} {
				c.send(name, "from "+name)
				c.commit(name, CommitOptions{})
			}
		})
	}
}

// A member that lost its state comes back in place of its former leaf, and
// carries out a SelfRemove that is pending.
func TestResync(t *testing.T) {
	c := newChat(t, 1, nil, nil, "alice", "bob", "carol")
	old := c.members["bob"].OwnLeaf()
	signer := c.signers["bob"]
	delete(c.members, "bob")
	msg := c.propose("carol", selfRemove(), ProposeOptions{})
	m, err := ParseMessage(msg)
	c.ok(err)
	c.joinExternal("bob", "alice", ExternalJoinOptions{
		Signer: signer, ByValue: []Proposal{removeOf(old)}, Proposals: []*PublicMessage{m.Public},
	})
	if len(c.members) != 2 || c.members["alice"].public.MemberCount() != 2 {
		t.Fatalf("%d members", c.members["alice"].public.MemberCount())
	}
	c.send("bob", "back again")
}

func TestExternalJoinNeedsKey(t *testing.T) {
	c := newChat(t, 1, nil, nil, "alice")
	gi, err := c.members["alice"].GroupInfo()
	c.ok(err)
	gi.Extensions = nil
	c.ok(gi.Sign(c.signers["alice"].Private))
	_, err = JoinExternal(gi, ExternalJoinOptions{Tree: c.members["alice"].Tree(), Signer: c.signer("bob")}, nil)
	var invalid *ValidationError
	if !errors.As(err, &invalid) {
		t.Fatal(err)
	}
}

// appendLogic is a component whose data is the list of its updates.
type appendLogic struct{}

var errRefused = errors.New("refused")

func (appendLogic) Update(id ComponentID, old []byte, exists bool, updates [][]byte) ([]byte, error) {
	for _, u := range updates {
		if string(u) == "bad" {
			return nil, errRefused
		}
		old = append(bytes.Clone(old), u...)
	}
	return old, nil
}

func (appendLogic) Remove(ComponentID, []byte) error { return nil }

func TestAppDataUpdate(t *testing.T) {
	c := newChat(t, 1, &Config{Components: appendLogic{}}, nil, "alice", "bob")
	c.propose("bob", appData(0x22, "b"), ProposeOptions{})
	c.commit("alice", CommitOptions{Proposals: []Proposal{appData(0x22, "a"), appData(0x23, "x")}})
	want := func(id ComponentID, data string) {
		t.Helper()
		for name, g := range c.members {
			if got, _ := g.Public().Dictionary().Get(id); string(got) != data {
				t.Fatalf("%s: component %v = %q", name, id, got)
			}
		}
	}
	want(0x22, "ab")
	want(0x23, "x")
	for _, bad := range [][]Proposal{
		{appData(0x22, "bad")}, {appDataRemove(0x24)}, {appDataRemove(0x22), appData(0x22, "c")},
	} {
		_, err := c.members["alice"].Commit(CommitOptions{Proposals: bad})
		var invalid *ValidationError
		if !errors.As(err, &invalid) {
			t.Fatalf("%v: %v", bad, err)
		}
	}
	c.commit("bob", CommitOptions{Proposals: []Proposal{appDataRemove(0x23)}})
	want(0x23, "")
	c.joinExternal("carol", "bob", ExternalJoinOptions{ByValue: []Proposal{appData(0x22, "c")}})
	want(0x22, "abc")
	c.send("carol", "hello")
}

func TestPSKs(t *testing.T) {
	c := newChat(t, 1, nil, nil, "alice", "bob")
	psk := PSK{ID: PreSharedKeyID{Type: PSKTypeExternal, ID: []byte("shared"), Nonce: make([]byte, 32)}, Secret: []byte("secret")}
	proposal := []Proposal{{Type: ProposalTypePSK, PSK: &psk.ID}}
	if _, err := c.members["alice"].Commit(CommitOptions{Proposals: proposal}); !errors.Is(err, ErrMissingPSK) {
		t.Fatal(err)
	}
	c.members["alice"] = c.members["alice"].WithPSKs(psk)
	pending, err := c.members["alice"].Commit(CommitOptions{Proposals: proposal})
	c.ok(err)
	c.wantError("bob", pending.Message(), ErrMissingPSK)
	wrong := psk
	wrong.Secret = []byte("other")
	c.members["bob"] = c.members["bob"].WithPSKs(wrong)
	c.wantError("bob", pending.Message(), ErrBadMAC)
	c.members["bob"] = c.members["bob"].WithPSKs(psk)
	c.restart()
	c.commit("alice", CommitOptions{Proposals: proposal})

	// The resumption key of an earlier epoch of this group is at hand.
	past := c.members["alice"].ResumptionPSK(ResumptionPSKUsageApplication).ID
	past.Nonce = make([]byte, 32)
	c.commit("bob", CommitOptions{})
	c.commit("bob", CommitOptions{Proposals: []Proposal{{Type: ProposalTypePSK, PSK: &past}}})
	c.send("alice", "hello")
}

// reInitialized closes a group and returns the first commit of its successor.
func reInitialized(t *testing.T, change func(*GroupOptions)) (c *chat, pending *PendingCommit, bob *KeyPackageSecret) {
	c = newChat(t, 1, nil, nil, "alice", "bob")
	next := &ReInit{GroupID: []byte("successor"), Version: MLS10, CipherSuite: 1, Extensions: Extensions{}}
	c.commit("alice", CommitOptions{Proposals: []Proposal{{Type: ProposalTypeReInit, ReInit: next}}})
	o := GroupOptions{GroupID: next.GroupID, Suite: 1, Signer: c.signers["alice"], Credential: BasicCredential([]byte("alice"))}
	change(&o)
	g, err := NewGroup(o, nil)
	c.ok(err)
	psk := c.members["alice"].ResumptionPSK(ResumptionPSKUsageReInit)
	psk.ID.Nonce = make([]byte, 32)
	bob = c.keyPackage("bob")
	pending, err = g.WithPSKs(psk).Commit(CommitOptions{Proposals: []Proposal{addOf(bob), {Type: ProposalTypePSK, PSK: &psk.ID}}})
	c.ok(err)
	return c, pending, bob
}

func TestReInit(t *testing.T) {
	c, pending, kp := reInitialized(t, func(*GroupOptions) {})
	for _, g := range c.members {
		_, _, err := g.Encrypt([]byte("x"), EncryptOptions{})
		_, err2 := g.Commit(CommitOptions{})
		_, _, err3 := g.Propose(removeOf(0), ProposeOptions{})
		if !errors.Is(err, ErrReInitialized) || !errors.Is(err2, ErrReInitialized) || !errors.Is(err3, ErrReInitialized) {
			t.Fatal(err, err2, err3)
		}
	}
	join := JoinOptions{Tree: pending.Tree(), Previous: c.members["bob"]}
	g, err := JoinWelcome(pending.Welcome(), kp, join, nil)
	c.ok(err)
	wantBytes(t, "authenticator", g.EpochAuthenticator(), pending.Merge().EpochAuthenticator())
	join.Previous = nil
	if _, err := JoinWelcome(pending.Welcome(), kp, join, nil); !errors.Is(err, ErrMissingPSK) {
		t.Fatal(err)
	}
	c, pending, kp = reInitialized(t, func(o *GroupOptions) { o.GroupID = []byte("another") })
	join = JoinOptions{Tree: pending.Tree(), Previous: c.members["bob"]}
	if _, err := JoinWelcome(pending.Welcome(), kp, join, nil); err == nil {
		t.Fatal("successor with another id accepted")
	}
}

func TestWelcomeErrors(t *testing.T) {
	c := newChat(t, 1, nil, nil, "alice")
	kp, other := c.keyPackage("bob"), c.keyPackage("carol")
	pending, err := c.members["alice"].Commit(CommitOptions{Proposals: []Proposal{addOf(kp)}})
	c.ok(err)
	if _, err := JoinWelcome(pending.Welcome(), other, JoinOptions{Tree: pending.Tree()}, nil); !errors.Is(err, ErrNoMatchingKeyPackage) {
		t.Fatal(err)
	}
	if _, err := JoinWelcome(pending.Welcome(), kp, JoinOptions{}, nil); !errors.Is(err, ErrMissingTree) {
		t.Fatal(err)
	}
	if _, err := JoinWelcome(pending.Welcome(), kp, JoinOptions{Tree: c.members["alice"].Tree()}, nil); err == nil {
		t.Fatal("tree of another epoch accepted")
	}
	bad := *kp
	bad.InitPrivate = other.InitPrivate
	if _, err := JoinWelcome(pending.Welcome(), &bad, JoinOptions{Tree: pending.Tree()}, nil); !errors.Is(err, ErrDecrypt) {
		t.Fatal(err)
	}
}

func TestSafeAAD(t *testing.T) {
	var d AppDataDictionary
	d.Set(ComponentSafeAAD, []byte{0})
	c := newChat(t, 1, nil, Extensions{{Type: ExtensionTypeAppDataDictionary, Data: encoded(&d)}}, "alice", "bob")
	c.send("alice", "with an empty SafeAAD")
	c.commit("bob", CommitOptions{})
	item := encoded(&SafeAAD{Items: []ComponentData{{Component: 0x20, Data: []byte("tag")}}})
	_, msg, err := c.members["alice"].Encrypt([]byte("x"), EncryptOptions{AAD: item})
	c.ok(err)
	got, err := c.members["bob"].Process(msg)
	c.ok(err)
	wantBytes(t, "authenticated data", got.(*Application).AAD, item)
	if _, _, err := c.members["alice"].Encrypt([]byte("x"), EncryptOptions{AAD: []byte("raw")}); err == nil {
		t.Fatal("raw authenticated data accepted")
	}
	// A sender that breaks the rule is refused by receivers.
	alice := c.members["alice"]
	a := &AuthenticatedContent{WireFormat: WireFormatPrivateMessage, Content: FramedContent{
		GroupID: alice.GroupID(), Epoch: alice.Epoch(), AuthenticatedData: []byte("raw"),
		Sender: member(alice.own), ContentType: ContentTypeApplication, ApplicationData: []byte("x")}}
	c.ok(a.Sign(1, alice.signer.Private, alice.Context()))
	_, raw, err := alice.protect(a, 0)
	c.ok(err)
	if _, err := c.members["bob"].Process(raw); err == nil {
		t.Fatal("raw authenticated data received")
	}
}

func TestOwnLeafProfile(t *testing.T) {
	kp := newChat(t, 1, nil, nil, "alice").keyPackage("bob")
	l := &kp.KeyPackage.LeafNode
	for _, want := range []CredentialType{CredentialTypeBasic, CredentialTypeX509} {
		if !slices.Contains(l.Capabilities.Credentials, want) {
			t.Errorf("credential %v is not listed", want)
		}
	}
	for _, want := range []ProposalType{8, 9, 10} {
		if !slices.Contains(l.Capabilities.Proposals, want) {
			t.Errorf("proposal %v is not listed", want)
		}
	}
	if !slices.Contains(l.Capabilities.Extensions, ExtensionTypeAppDataDictionary) {
		t.Error("app_data_dictionary is not listed")
	}
	d, err := l.Extensions.Dictionary()
	if err != nil {
		t.Fatal(err)
	}
	var components ComponentsList
	data, _ := d.Get(ComponentAppComponents)
	if err := wire.Unmarshal(data, &components); err != nil || !slices.Contains(components, ComponentAppComponents) {
		t.Errorf("components %v, %v", components, err)
	}
	for _, list := range [][]uint16{
		asUint16(l.Capabilities.CipherSuites), asUint16(l.Capabilities.Extensions),
		asUint16(l.Capabilities.Proposals), asUint16(l.Capabilities.Credentials),
	} {
		if !isGREASE(list[len(list)-1]) {
			t.Errorf("no GREASE value in %v", list)
		}
	}
	if !slices.ContainsFunc(asUint16(components), isGREASE) {
		t.Errorf("no GREASE value among the components %v", components)
	}
	for name, list := range map[string]Extensions{"leaf": l.Extensions, "key package": kp.KeyPackage.Extensions} {
		if !slices.ContainsFunc(list, func(e Extension) bool { return isGREASE(uint16(e.Type)) }) {
			t.Errorf("no GREASE extension in the %s", name)
		}
	}
	if life := l.Lifetime.NotAfter - l.Lifetime.NotBefore; life > 84*24*3600+3600 {
		t.Errorf("lifetime of %d seconds", life)
	}
}

// TestGREASEInGroupInfo: RFC 9420 §13.5 allows it there, and never in a
// GroupContext (EXT-15).
func TestGREASEInGroupInfo(t *testing.T) {
	c := newChat(t, 1, nil, nil, "alice")
	gi, err := c.members["alice"].GroupInfo()
	c.ok(err)
	reserved := func(e Extension) bool { return isGREASE(uint16(e.Type)) }
	if !slices.ContainsFunc(gi.Extensions, reserved) || slices.ContainsFunc(gi.GroupContext.Extensions, reserved) {
		t.Errorf("extensions %v, of the context %v", gi.Extensions, gi.GroupContext.Extensions)
	}
	plain, err := NewGroup(GroupOptions{Suite: 1, Signer: c.signer("bob"), Credential: BasicCredential([]byte("bob")), Capabilities: DefaultCapabilities()}, nil)
	c.ok(err)
	if gi, err = plain.GroupInfo(); err != nil || slices.ContainsFunc(gi.Extensions, reserved) {
		t.Errorf("GREASE although the leaf lists none: %v, %v", gi.Extensions, err)
	}
}

func asUint16[T ~uint16](list []T) (out []uint16) {
	for _, v := range list {
		out = append(out, uint16(v))
	}
	return out
}

func TestLastResort(t *testing.T) {
	key := must[*SignatureKey](t)(NewSignatureKey(1, nil))
	for _, last := range []bool{false, true} {
		kp, err := NewKeyPackage(KeyPackageOptions{Suite: 1, Signer: key, Credential: BasicCredential([]byte("a")), LastResort: last})
		if err != nil || kp.KeyPackage.IsLastResort() != last {
			t.Fatal(last, err)
		}
		if err := kp.KeyPackage.VerifySignature(); err != nil {
			t.Fatal(err)
		}
	}
	if !(&KeyPackage{Extensions: Extensions{{Type: 0x000a, Data: []byte{}}}}).IsLastResort() {
		t.Fatal("deployed extension is not recognised")
	}
}

// Damaged state is an error, never a panic.
func TestDamagedState(t *testing.T) {
	c := newChat(t, 1, nil, nil, "alice", "bob")
	c.encrypt("alice", "hello")
	c.commit("bob", CommitOptions{})
	c.propose("bob", Proposal{Type: ProposalTypeUpdate}, ProposeOptions{})
	b, err := c.members["bob"].MarshalBinary()
	c.ok(err)
	for i := 0; i < len(b); i += 7 {
		if _, err := UnmarshalGroup(b[:i], nil); !errors.Is(err, ErrBadState) {
			t.Fatalf("cut at %d: %v", i, err)
		}
		damaged := bytes.Clone(b)
		damaged[i] ^= 0x40
		if g, err := UnmarshalGroup(damaged, nil); err == nil {
			g.Commit(CommitOptions{})
			g.Encrypt(nil, EncryptOptions{})
		}
	}
}

func TestLargerGroup(t *testing.T) {
	c := newChat(t, 1, nil, nil, "m0")
	for i := 1; i < 9; i++ {
		c.add(fmt.Sprint("m", i-1), fmt.Sprint("m", i))
	}
	for i := range 9 {
		c.commit(fmt.Sprint("m", i), CommitOptions{})
	}
	for i := 8; i > 4; i-- {
		c.commit("m0", CommitOptions{Proposals: []Proposal{removeOf(LeafIndex(i))}})
		c.send("m1", "fewer")
	}
	if w := c.members["m0"].public.tree.width(); w != 8 {
		t.Fatalf("tree has room for %d", w)
	}
}

func TestSafeExport(t *testing.T) {
	c := newChat(t, 1, nil, nil, "alice", "bob")
	take := func(name string, id ComponentID) string {
		t.Helper()
		next, secret, err := c.members[name].SafeExport(id)
		c.ok(err)
		c.members[name] = c.reload(next)
		return string(secret)
	}
	seen := map[string]bool{}
	for range 2 {
		for _, id := range []ComponentID{0, 1, 0x8000, 0xffff} {
			a := take("alice", id)
			if len(a) != 32 || a != take("bob", id) || seen[a] {
				t.Fatalf("secret of component %v is wrong", id)
			}
			seen[a] = true
			if _, _, err := c.members["alice"].SafeExport(id); !errors.Is(err, ErrExported) {
				t.Fatalf("second export: %v", err)
			}
		}
		c.commit("bob", CommitOptions{})
	}
}

// The leaf of component 5 by the definition, step by step from the root.
func TestSafeExportDefinition(t *testing.T) {
	suite, ok := CipherSuite(1), must[[]byte](t)
	secret := bytes.Repeat([]byte{7}, 32)
	root := &exportNode{secret: secret}
	for bit := 15; bit >= 0; bit-- {
		side := []string{"left", "right"}[5>>bit&1]
		secret = ok(suite.ExpandWithLabel(secret, "tree", []byte(side), 32))
	}
	_, got, err := root.take(suite, exportLevels, 5)
	if err != nil {
		t.Fatal(err)
	}
	wantBytes(t, "secret", got, secret)
}

// Trees arrive without their blank right end; keys must not depend on that.
func TestTrimmedTree(t *testing.T) {
	c := newChat(t, 1, nil, nil, "alice")
	c.add("alice", "bob")
	c.add("bob", "carol") // an odd number: joins with the tree beside the Welcome
	if n := len(c.members["carol"].Tree()); n != 5 {
		t.Fatalf("tree of three members has %d nodes", n)
	}
	for name := range c.members {
		c.send(name, "from "+name)
	}
}

// RFC 9420 §5.1.1 wants uncompressed points; a compressed one names the same
// key and would break comparisons.
func TestCompressedPointRefused(t *testing.T) {
	for _, suite := range []CipherSuite{2, 5, 7} {
		key := must[*SignatureKey](t)(NewSignatureKey(suite, nil))
		sig := must[[]byte](t)(suite.SignWithLabel(key.Private, "l", nil))
		compressed := append([]byte{2 + key.Public[len(key.Public)-1]&1}, key.Public[1:1+len(key.Public)/2]...)
		if err := suite.VerifyWithLabel(compressed, "l", nil, sig); !errors.Is(err, ErrBadKey) {
			t.Errorf("suite %d: signature key: %v", suite, err)
		}
		if err := suite.checkHPKEPublicKey(compressed); !errors.Is(err, ErrBadKey) {
			t.Errorf("suite %d: HPKE key: %v", suite, err)
		}
	}
}

// The content of external_pub and of external_senders is a struct whose fields
// have their own lengths (RFC 9420 §12.1.8.1 and §12.4.3.2).
func TestExtensionContent(t *testing.T) {
	wantBytes(t, "external_pub", encoded(&ExternalPub{Key: []byte{1, 2}}), []byte{2, 1, 2})
	senders := ExternalSenders{{SignatureKey: []byte{9}, Credential: BasicCredential([]byte("a"))}}
	wantBytes(t, "external_senders", encoded(senders), []byte{6, 1, 9, 0, 1, 1, 'a'})
}

func TestBranch(t *testing.T) {
	c := newChat(t, 1, nil, nil, "alice", "bob", "carol")
	g, err := NewGroup(GroupOptions{Suite: 1, Signer: c.signers["alice"], Credential: BasicCredential([]byte("alice"))}, nil)
	c.ok(err)
	psk := c.members["alice"].ResumptionPSK(ResumptionPSKUsageBranch)
	psk.ID.Nonce = make([]byte, 32)
	for name, ok := range map[string]bool{"bob": true, "stranger": false} {
		kp := c.keyPackage(name)
		pending, err := g.WithPSKs(psk).Commit(CommitOptions{Proposals: []Proposal{addOf(kp), {Type: ProposalTypePSK, PSK: &psk.ID}}})
		c.ok(err)
		_, err = JoinWelcome(pending.Welcome(), kp, JoinOptions{Tree: pending.Tree(), Previous: c.members["bob"]}, nil)
		if (err == nil) != ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	first := psk.ID
	second := first
	second.Epoch++
	ids := []PreSharedKeyID{first, second}
	if checkResumption(&GroupInfo{GroupContext: GroupContext{Epoch: 1}}, ids) == nil {
		t.Error("two branch keys accepted")
	}
	if checkResumption(&GroupInfo{GroupContext: GroupContext{Epoch: 2}}, ids[:1]) == nil {
		t.Error("branch into epoch 2 accepted")
	}
}
