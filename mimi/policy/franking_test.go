package policy

import (
	"crypto/rand"
	"testing"

	"hubbub/mimi"
	"hubbub/mimi/content"
	"hubbub/mls"
	"hubbub/mls/wire"
)

// TestFrankedRoom sends a message through a room with franking: the sender tags it, the hub
// franks it seeing nothing but the tag, the receiver checks both, and a report of it holds.
func TestFrankedRoom(t *testing.T) {
	hubKey, err := mls.NewSignatureKey(1, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tpl, err := Preset("cooperative", hub)
	if err != nil {
		t.Fatal(err)
	}
	tpl.Franking = &mimi.FrankingAgent{SignatureKey: hubKey.Public, Credential: mimi.ProviderCredential(hub)}
	x, err := tpl.Extensions(room, "Clubhouse", alice, mls.ExternalSender{SignatureKey: hubKey.Public, Credential: mimi.ProviderCredential(hub)})
	if err != nil {
		t.Fatal(err)
	}
	a, b := newParty(t, alice, "phone"), newParty(t, bob, "phone")
	a.group, err = mls.NewGroup(mls.GroupOptions{GroupID: []byte("mimi://a.example/g/clubhouse"), Suite: 1, Signer: a.signer,
		Credential: a.credential(), Extensions: x, LeafExtensions: mls.Extensions{LeafExtension()}}, groupConfig())
	if err != nil {
		t.Fatal(err)
	}
	s, err := StateOf(room, a.group.Public())
	if err != nil {
		t.Fatal(err)
	}
	checkDenied(t, Transition(nil, s), "")
	kp := b.keyPackage(t)
	pending, err := a.commit(t, mls.CommitOptions{Proposals: []mls.Proposal{add(kp), update(t, mimi.ComponentParticipantList, listed(bob))}})
	checkDenied(t, err, "")
	a.group = pending.Merge()
	b.group, err = mls.JoinWelcome(pending.Welcome(), kp, mls.JoinOptions{Tree: pending.Tree()}, groupConfig())
	if err != nil {
		t.Fatal(err)
	}

	m := content.NewText(alice, room, "hello")
	encoded, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	tag := mimi.NewFrankTag(m.Salt, encoded)
	aad, err := wire.Marshal(&mls.SafeAAD{Items: []mls.ComponentData{tag.Item()}})
	if err != nil {
		t.Fatal(err)
	}
	_, sent, err := a.group.Encrypt(encoded, mls.EncryptOptions{AAD: aad})
	if err != nil {
		t.Fatal(err)
	}
	message, err := mls.ParseMessage(sent)
	if err != nil {
		t.Fatal(err)
	}
	seen, ok := mimi.FrankTagOf(message.Private.AuthenticatedData)
	if !ok || seen != tag {
		t.Fatal("the hub finds no tag")
	}
	const accepted = 1_767_268_800_000
	keys := mimi.FrankKeys{{ID: 1}}
	frank, err := keys.Frank(seen, &mimi.FrankingContext{Sender: alice, Room: room, Timestamp: accepted}, hubKey)
	if err != nil {
		t.Fatal(err)
	}

	got, err := b.group.Process(sent)
	if err != nil {
		t.Fatal(err)
	}
	agent, err := mimi.AgentOf(b.group.Public().Dictionary())
	if err != nil || agent == nil {
		t.Fatal(agent, err)
	}
	app := got.(*mls.Application)
	found, err := content.Reported(app.Data)
	if err != nil {
		t.Fatal(err)
	}
	received := &mimi.FrankedMessage{ApplicationData: app.Data, Salt: found.Salt, ContentSender: found.Sender, ContentRoom: found.Room,
		AuthenticatedData: app.AAD, Timestamp: accepted, Frank: frank, Sender: alice, Room: room, Suite: 1, Agent: agent}
	if ok, err := received.Reportable(nil); !ok || err != nil {
		t.Errorf("reportable: %v, %v", ok, err)
	}
	evidence, _ := received.Evidence()
	if err := keys.VerifyEvidence(&evidence, found, alice, room, agent.SignatureKey); err != nil {
		t.Error(err)
	}
	// A client that does not know tags is kept out (EXT-13).
	old, err := mls.NewKeyPackage(mls.KeyPackageOptions{Suite: 1, Signer: newParty(t, cathy, "phone").signer,
		Credential: mls.BasicCredential([]byte(device(cathy, "phone").Client)), LeafExtensions: mls.Extensions{mls.SupportedComponents(RequiredComponents()...)}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.group.Commit(mls.CommitOptions{Proposals: []mls.Proposal{add(old)}}); err == nil {
		t.Error("a client without tags was added")
	}
}
