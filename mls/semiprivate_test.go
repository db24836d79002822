package mls

import (
	"bytes"
	"crypto/rand"
	"errors"
	"strings"
	"testing"

	"hubbub/mls/wire"
)

// semiPrivate is a group with a hub that reads its handshakes.
type semiPrivate struct {
	*chat
	hub     *PublicGroup
	self    ExternalReceiver
	private []byte
}

func newSemiPrivate(t *testing.T, change func(Extensions) Extensions) *semiPrivate {
	t.Helper()
	private, public, err := CipherSuite(1).GenerateHPKEKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &semiPrivate{self: ExternalReceiver{PublicKey: public, Credential: BasicCredential([]byte("hub"))}, private: private}
	x := Extensions{RequiredWireFormats(WireFormatSemiPrivateMessage),
		{Type: ExtensionTypeExternalReceivers, Data: encoded(ExternalReceivers{s.self})}}
	if change != nil {
		x = change(x)
	}
	caps := DefaultCapabilities()
	caps.Extensions = append(caps.Extensions, ExtensionTypeSupportedWireFormats, ExtensionTypeRequiredWireFormats, ExtensionTypeExternalReceivers)
	leaf := Extensions{SupportedWireFormats(WireFormatSemiPrivateMessage)}
	s.chat = &chat{t: t, suite: 1, members: map[string]*Group{}, used: map[string]bool{}, signers: map[string]*SignatureKey{}}
	g, err := NewGroup(GroupOptions{Suite: 1, Signer: s.signer("alice"), Credential: BasicCredential([]byte("alice")),
		Capabilities: caps, LeafExtensions: leaf, Extensions: x}, nil)
	s.ok(err)
	var adds []Proposal
	kps := map[string]*KeyPackageSecret{}
	for _, name := range []string{"bob", "carol"} {
		kps[name], err = NewKeyPackage(KeyPackageOptions{Suite: 1, Signer: s.signer(name), Credential: BasicCredential([]byte(name)), Capabilities: caps, LeafExtensions: leaf})
		s.ok(err)
		adds = append(adds, addOf(kps[name]))
	}
	p, err := g.Commit(CommitOptions{Proposals: adds})
	s.ok(err)
	s.members["alice"] = p.Merge()
	for name, kp := range kps {
		s.members[name], err = JoinWelcome(p.Welcome(), kp, JoinOptions{Tree: p.Tree()}, nil)
		s.ok(err)
	}
	s.hub, err = NewPublicGroup(p.GroupInfo(), p.Tree(), nil)
	s.ok(err)
	return s
}

// open reads a message at the hub.
func (s *semiPrivate) open(msg []byte) (*AuthenticatedContent, error) {
	m, err := ParseMessage(msg)
	s.ok(err)
	if m.SemiPrivate == nil {
		s.t.Fatal("message is not semi-private")
	}
	return s.hub.OpenSemiPrivate(m.SemiPrivate, &s.self, s.private)
}

// TestSemiPrivate: members and hub follow the same proposals and commits, and
// the hub's tree stays the members' (SPM-1 to SPM-3).
func TestSemiPrivate(t *testing.T) {
	s := newSemiPrivate(t, nil)
	next, msg, err := s.members["bob"].Propose(removeOf(2), ProposeOptions{SemiPrivate: true, PadTo: 256})
	s.ok(err)
	s.members["bob"] = next
	s.deliver("bob", msg)
	a, err := s.open(msg)
	s.ok(err)
	c, err := s.hub.ProposalContent(a)
	s.ok(err)
	if c.Proposal.Type != ProposalTypeRemove || c.Sender != member(1) {
		t.Errorf("hub sees %v of %v", c.Proposal.Type, c.Sender)
	}
	s.hub = s.hub.WithProposal(c)
	for round := range 2 {
		pending, err := s.members["alice"].Commit(CommitOptions{SemiPrivate: true})
		s.ok(err)
		if bytes.Contains(pending.Message(), []byte("alice")) {
			t.Error("the commit is readable")
		}
		if h, err := Peek(pending.Message()); err != nil || h.WireFormat != WireFormatSemiPrivateMessage || h.ContentType != ContentTypeCommit || h.Epoch != s.hub.Epoch() {
			t.Errorf("header %+v, %v", h, err)
		}
		s.deliver("alice", pending.Message())
		echo, err := pending.Base().Process(pending.Message())
		if _, ok := echo.(*OwnMessage); !ok {
			t.Errorf("own echo gives %T, %v", echo, err)
		}
		s.members["alice"] = pending.Merge()
		s.agree()
		if a, err = s.open(pending.Message()); err != nil {
			t.Fatal(err)
		}
		commit, err := s.hub.CommitContent(a)
		s.ok(err)
		s.ok(commit.VerifyGroupInfo(pending.GroupInfo()))
		s.hub = commit.Next
		wantBytes(t, "the hub's context", encoded(s.hub.Context()), encoded(s.members["alice"].Context()))
		if round == 0 && s.members["carol"] != nil {
			t.Error("carol is still there")
		}
	}
	s.commit("bob", CommitOptions{}) // a public one goes as well
}

// TestSemiPrivateTampering changes each field; nobody accepts the result
// (SPM-3).
func TestSemiPrivateTampering(t *testing.T) {
	s := newSemiPrivate(t, nil)
	pending, err := s.members["alice"].Commit(CommitOptions{SemiPrivate: true})
	s.ok(err)
	flip := func(b []byte) { b[len(b)-1] ^= 1 }
	for name, change := range map[string]func(m *SemiPrivateMessage){
		"group":                func(m *SemiPrivateMessage) { flip(m.GroupID) },
		"epoch before":         func(m *SemiPrivateMessage) { m.Epoch-- },
		"epoch after":          func(m *SemiPrivateMessage) { m.Epoch++ },
		"content type":         func(m *SemiPrivateMessage) { m.ContentType = ContentTypeProposal },
		"authenticated data":   func(m *SemiPrivateMessage) { m.AuthenticatedData = []byte("x") },
		"partial context":      func(m *SemiPrivateMessage) { flip(m.PartialContextHash) },
		"content hash":         func(m *SemiPrivateMessage) { flip(m.FramedContentTBSHash) },
		"ciphertext":           func(m *SemiPrivateMessage) { flip(m.Ciphertext) },
		"receiver":             func(m *SemiPrivateMessage) { flip(m.Keys[0].Receiver) },
		"no receivers":         func(m *SemiPrivateMessage) { m.Keys = nil },
		"receiver named twice": func(m *SemiPrivateMessage) { m.Keys = append(m.Keys, m.Keys[0]) },
		"wrapped key":          func(m *SemiPrivateMessage) { flip(m.Keys[0].EncryptedKeysAndNonces.Ciphertext) },
		"encapsulation":        func(m *SemiPrivateMessage) { flip(m.Keys[0].EncryptedKeysAndNonces.KEMOutput) },
	} {
		m, err := ParseMessage(pending.Message())
		s.ok(err)
		change(m.SemiPrivate)
		msg, err := wire.Marshal(m)
		s.ok(err)
		if _, err := s.open(msg); err == nil {
			t.Errorf("%s: hub accepts", name)
		}
		if _, err := s.members["bob"].Process(msg); err == nil {
			t.Errorf("%s: member accepts", name)
		}
	}
	m, err := ParseMessage(pending.Message())
	s.ok(err)
	flip(m.SemiPrivate.EncryptedSenderData) // which the hub cannot read
	msg, _ := wire.Marshal(m)
	if _, err := s.members["bob"].Process(msg); !errors.Is(err, ErrDecrypt) {
		t.Errorf("sender data: %v", err)
	}
	other := ExternalReceiver{PublicKey: s.self.PublicKey, Credential: BasicCredential([]byte("other"))}
	if _, err := s.hub.OpenSemiPrivate(m.SemiPrivate, &other, s.private); err == nil {
		t.Error("opened by somebody who is no receiver")
	}
	if _, err := s.hub.OpenSemiPrivate(m.SemiPrivate, &s.self, make([]byte, 32)); !errors.Is(err, ErrDecrypt) {
		t.Errorf("wrong private key: %v", err)
	}
}

// TestSemiPrivateEquivocation: a member that shows the hub and the members
// different things is found out by those it lies to (SPM-4).
func TestSemiPrivateEquivocation(t *testing.T) {
	s := newSemiPrivate(t, nil)
	alice := s.members["alice"]
	context := encoded(alice.Context())
	signed := func(p Proposal) *AuthenticatedContent {
		a := &AuthenticatedContent{WireFormat: WireFormatSemiPrivateMessage, Content: FramedContent{ContentType: ContentTypeProposal, Proposal: &p}}
		s.ok(alice.frame(a, nil))
		return a
	}
	// protect encrypts content with a wrong statement about it.
	protect := func(shown *AuthenticatedContent, change func(*receiverKeys, *SemiPrivateMessage)) []byte {
		_, key, err := alice.keys.next(0, ContentTypeProposal)
		s.ok(err)
		m, err := sealSemiPrivate(1, alice.secrets.senderData, shown, context, ExternalReceivers{s.self}, key, 0, rand.Reader)
		s.ok(err)
		keys, err := m.openKeys(1, s.private, &m.Keys[0].EncryptedKeysAndNonces)
		s.ok(err)
		change(keys, m)
		var aad wire.Writer
		m.encodeAAD(&aad)
		b, _ := aad.Bytes()
		plaintext, err := paddedContent(shown, 0)
		s.ok(err)
		m.Ciphertext, err = CipherSuite(1).seal(key.key, guardNonce(key.nonce, keys.guard), b, plaintext)
		s.ok(err)
		senderAAD, _, _ := m.private().aads()
		m.EncryptedSenderData, err = sealSenderData(1, alice.secrets.senderData, &senderData{generation: key.generation, reuseGuard: keys.guard}, senderAAD, m.Ciphertext)
		s.ok(err)
		msg, err := wire.Marshal(NewMessage(m))
		s.ok(err)
		return msg
	}
	rewrap := func(keys *receiverKeys, m *SemiPrivateMessage) {
		list, err := m.sealKeys(1, keys, ExternalReceivers{s.self})
		s.ok(err)
		m.Keys = list
	}
	shown, hidden := signed(removeOf(1)), signed(removeOf(2))
	for _, tc := range []struct {
		name        string
		hub, member string // part of the error; empty: accepted
		change      func(*receiverKeys, *SemiPrivateMessage)
	}{
		{"honest", "", "", rewrap},
		{"hash of other content", "committed to", "committed to", func(k *receiverKeys, m *SemiPrivateMessage) {
			m.FramedContentTBSHash, _ = tbsHash(1, &hidden.Content, context)
		}},
		{"another key for the hub", "decryption failed", "", func(k *receiverKeys, m *SemiPrivateMessage) {
			k.key = bytes.Repeat([]byte{1}, 16)
			rewrap(k, m)
		}},
		{"another nonce for the hub", "partial context", "", func(k *receiverKeys, m *SemiPrivateMessage) {
			k.nonce = bytes.Repeat([]byte{1}, nonceSize)
			rewrap(k, m)
		}},
		{"another sender for the hub", "partial context", "", func(k *receiverKeys, m *SemiPrivateMessage) {
			k.leaf = 1
			rewrap(k, m)
		}},
		{"context of the hub's nonce", "decryption failed", "partial context", func(k *receiverKeys, m *SemiPrivateMessage) {
			k.nonce = bytes.Repeat([]byte{1}, nonceSize)
			m.PartialContextHash, _ = partialContextHash(1, 0, k.nonce)
			rewrap(k, m)
		}},
	} {
		msg := protect(shown, tc.change)
		_, hub := s.open(msg)
		_, member := s.members["carol"].Process(msg)
		for i, want := range []string{tc.hub, tc.member} {
			got := []error{hub, member}[i]
			if (got == nil) != (want == "") || got != nil && !strings.Contains(got.Error(), want) {
				t.Errorf("%s: %v, want %q", tc.name, got, want)
			}
		}
	}
}

// TestSemiPrivateOff: without the wire format, or without receivers, nothing
// semi-private is made or taken (SPM-2, SPM-7); a SelfRemove never (SPM-6).
func TestSemiPrivateOff(t *testing.T) {
	on := newSemiPrivate(t, nil)
	_, msg, err := on.members["alice"].Propose(removeOf(1), ProposeOptions{SemiPrivate: true})
	on.ok(err)
	m, err := ParseMessage(msg)
	on.ok(err)
	for name, change := range map[string]func(Extensions) Extensions{
		"format":     func(x Extensions) Extensions { return x.Without(ExtensionTypeRequiredWireFormats) },
		"receivers":  func(x Extensions) Extensions { return x.Without(ExtensionTypeExternalReceivers) },
		"empty list": func(x Extensions) Extensions { return x.Set(ExtensionTypeExternalReceivers, []byte{0}) },
	} {
		s := newSemiPrivate(t, change)
		if _, err := s.members["alice"].Commit(CommitOptions{SemiPrivate: true}); err == nil {
			t.Errorf("%s: commit made", name)
		}
		if _, _, err := s.members["alice"].Propose(removeOf(1), ProposeOptions{SemiPrivate: true}); err == nil {
			t.Errorf("%s: proposal made", name)
		}
		moved := *m.SemiPrivate
		moved.GroupID = s.members["bob"].GroupID()
		moved.Epoch = s.members["bob"].Epoch()
		raw, err := wire.Marshal(NewMessage(&moved))
		s.ok(err)
		var refused *ValidationError
		if _, err := s.members["bob"].Process(raw); !errors.As(err, &refused) {
			t.Errorf("%s: member says %v", name, err)
		}
		if _, err := s.hub.OpenSemiPrivate(&moved, &on.self, on.private); !errors.As(err, &refused) {
			t.Errorf("%s: hub says %v", name, err)
		}
	}
	if _, _, err := on.members["alice"].Propose(selfRemove(), ProposeOptions{SemiPrivate: true}); err == nil {
		t.Error("semi-private self_remove made")
	}
	if _, err := on.members["alice"].Commit(CommitOptions{SemiPrivate: true, Private: true}); err == nil {
		t.Error("two wire formats at once")
	}
	bad := *m.SemiPrivate
	bad.ContentType = ContentTypeApplication
	if wire.Unmarshal(encoded(&bad), new(SemiPrivateMessage)) == nil {
		t.Error("application data in a semi-private message (SPM-1)")
	}
	if _, err := NewGroup(GroupOptions{Suite: 1, Signer: newSigner(t), Credential: BasicCredential(nil), Capabilities: &Capabilities{
		Versions: []ProtocolVersion{MLS10}, Credentials: []CredentialType{1}, Extensions: []ExtensionType{ExtensionTypeExternalReceivers}},
		Extensions: Extensions{{Type: ExtensionTypeExternalReceivers, Data: encoded(ExternalReceivers{{PublicKey: []byte{1}, Credential: BasicCredential(nil)}})}}}, nil); err == nil {
		t.Error("receiver with a malformed key accepted")
	}
}

// TestPartialGroupInfo: the hub rebuilds exactly the committer's GroupInfo
// (RTO-6), and only with that signature and those extensions.
func TestPartialGroupInfo(t *testing.T) {
	c := newChat(t, 1, nil, nil, "alice", "bob")
	pending, err := c.members["alice"].Commit(CommitOptions{})
	c.ok(err)
	m, err := ParseMessage(pending.Message())
	c.ok(err)
	commit, err := c.members["bob"].Public().Commit(m.Public)
	c.ok(err)
	gi := pending.GroupInfo()
	got, err := commit.GroupInfoFromPartial(gi.Extensions, gi.Signature)
	c.ok(err)
	wantBytes(t, "rebuilt GroupInfo", encoded(got), encoded(gi))
	if _, err := commit.GroupInfoFromPartial(nil, gi.Signature); !errors.Is(err, ErrBadSignature) {
		t.Errorf("other extensions: %v", err)
	}
	if _, err := commit.GroupInfoFromPartial(gi.Extensions, nil); !errors.Is(err, ErrBadSignature) {
		t.Errorf("no signature: %v", err)
	}
	tree := append(gi.Extensions[:len(gi.Extensions):len(gi.Extensions)], Extension{Type: ExtensionTypeRatchetTree})
	if _, err := commit.GroupInfoFromPartial(tree, gi.Signature); err == nil {
		t.Error("ratchet_tree extension accepted")
	}
}

// TestTreeURL: RTO-4.
func TestTreeURL(t *testing.T) {
	open := &GroupContext{}
	listed := &GroupContext{Extensions: Extensions{{Type: ExtensionTypeRatchetTreeSourceDomains, Data: encoded(RatchetTreeSourceDomains{"a.example", "B.example"})}}}
	for url, want := range map[string][2]bool{
		"https://a.example/tree":           {true, true},
		"https://b.EXAMPLE:8443/tree":      {true, true},
		"HTTPS://a.example":                {true, true},
		"https://c.example/tree":           {true, false},
		"http://a.example/tree":            {false, false},
		"https://a.example@c.example/tree": {false, false},
		"https://c.example\\@a.example/":   {true, false},
		"https:///tree":                    {false, false},
		"https://sub.a.example/":           {true, false},
		"":                                 {false, false},
	} {
		if open.AllowsTreeURL(url) != want[0] || listed.AllowsTreeURL(url) != want[1] {
			t.Errorf("%q", url)
		}
	}
	if wire.Unmarshal([]byte{1, 0}, new(RatchetTreeSourceDomains)) == nil {
		t.Error("empty domain accepted")
	}
}
