package mimi

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"
	"time"

	"hubbub/mls"
	"hubbub/mls/wire"
)

const (
	frankedSender = UserURI("mimi://example.com/u/alice-smith")
	frankedRoom   = RoomURI("mimi://example.com/r/engineering_team")
)

func frankingKeys() FrankKeys {
	k := FrankKey{ID: 1, Since: time.UnixMilli(0)}
	for i := range k.Secret {
		k.Secret[i] = 0x40 + byte(i)
	}
	return FrankKeys{k}
}

// TestFrankingVector is the franking of section 31 of the requirements checklist, from the
// tag on; package content has the tags themselves.
func TestFrankingVector(t *testing.T) {
	tag := FrankTag(unhexed(t, "cac50818a758d500a44109d35073e0ce59d35c81f68eaf911c5b930d014034d0"))
	aad, err := wire.Marshal(&mls.SafeAAD{Items: []mls.ComponentData{tag.Item()}})
	if err != nil || hex.EncodeToString(aad) != "23002020"+hex.EncodeToString(tag[:]) {
		t.Errorf("authenticated data %x, %v", aad, err)
	}
	if back, ok := FrankTagOf(aad); !ok || back != tag {
		t.Errorf("tag %x, %v", back, ok)
	}
	c := &FrankingContext{frankedSender, frankedRoom, stamp}
	if b, err := wire.Marshal(c); err != nil || !bytes.Equal(b, unhexed(t, "20"+hex.EncodeToString([]byte(frankedSender))+"25"+
		hex.EncodeToString([]byte(frankedRoom))+"0000017edd1dcdbb")) {
		t.Errorf("context %x, %v", b, err)
	}
	key := testKey(t)
	f, err := frankingKeys().Frank(tag, c, key)
	if err != nil {
		t.Fatal(err)
	}
	b, err := wire.Marshal(f)
	if err != nil || len(b) != 100 || !bytes.Equal(b, unhexed(t, "a796f2087743fdfb66da947c9eb6536b9e0bd41a8913ce3306af6a3a44f21aaa 0001 4040"+frankSignature)) {
		t.Errorf("frank %x, %v", b, err)
	}
	if err := f.Verify(c, key.Public); err != nil {
		t.Error(err)
	}
	answer, err := (&SubmitMessageResponse{Timestamp: stamp, Frank: f}).Marshal()
	if err != nil || len(answer) != 111 {
		t.Errorf("answer of %d octets, %v", len(answer), err)
	}
}

func TestFrankTagOf(t *testing.T) {
	for name, b := range map[string][]byte{
		"nothing": nil, "no items": {0}, "other item": {4, 0, 0x40, 1, 0}, "short": append([]byte{0x22, 0, 0x20, 0x1f}, make([]byte, 31)...),
		"long": append([]byte{0x24, 0, 0x20, 0x21}, make([]byte, 33)...), "not items": []byte("raw data"),
	} {
		if _, ok := FrankTagOf(b); ok {
			t.Errorf("%s: a tag", name)
		}
	}
}

// franked makes a message as a receiver gets it, and its sender's hub.
func franked(t *testing.T) (*FrankedMessage, FrankKeys) {
	t.Helper()
	key := testKey(t)
	m := &FrankedMessage{ApplicationData: []byte("application data"), Salt: [16]byte{1, 2, 3}, ContentSender: alice, ContentRoom: room,
		Timestamp: stamp, Sender: alice, Room: room, Suite: 1,
		Agent: &FrankingAgent{SignatureKey: key.Public, Credential: ProviderCredential("a.example")}}
	tag := NewFrankTag(m.Salt, m.ApplicationData)
	m.AuthenticatedData = must(wire.Marshal(&mls.SafeAAD{Items: []mls.ComponentData{tag.Item()}}))
	keys := frankingKeys()
	m.Frank = must(keys.Frank(tag, &FrankingContext{alice, room, stamp}, key))
	return m, keys
}

func TestReportable(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(m *FrankedMessage)
		ok     bool
		err    error
	}{
		{"all well", func(*FrankedMessage) {}, true, nil},
		{"no tag", func(m *FrankedMessage) { m.AuthenticatedData = []byte{0} }, false, nil},
		{"no agent", func(m *FrankedMessage) { m.Agent = nil }, false, nil},
		{"no frank", func(m *FrankedMessage) { m.Frank = nil }, false, nil},
		{"other message", func(m *FrankedMessage) { m.ApplicationData = []byte("application date") }, false, ErrBadFrankTag},
		{"other salt", func(m *FrankedMessage) { m.Salt[0]++ }, false, ErrBadFrankTag},
		{"impersonation", func(m *FrankedMessage) { m.Sender = bob }, false, ErrBadFrankTag},
		{"another room", func(m *FrankedMessage) { m.Room = "mimi://a.example/r/other" }, false, ErrBadFrankTag},
		{"names another in the content", func(m *FrankedMessage) { m.ContentSender = bob }, false, ErrBadFrankTag},
		{"both another", func(m *FrankedMessage) { m.Sender, m.ContentSender = bob, bob }, false, ErrBadFrank},
		{"time", func(m *FrankedMessage) { m.Timestamp++ }, false, ErrBadFrank},
		{"frank", func(m *FrankedMessage) { m.Frank.ServerFrank[0] ^= 1 }, false, ErrBadFrank},
		{"signature", func(m *FrankedMessage) { m.Frank.Signature[0] ^= 1 }, false, ErrBadFrank},
		{"suite", func(m *FrankedMessage) { m.Frank.Suite = 3 }, false, ErrBadFrank},
		{"unknown suite", func(m *FrankedMessage) { m.Frank.Suite, m.Suite = 999, 999 }, false, ErrBadFrank},
		{"agent of another hub", func(m *FrankedMessage) { m.Agent.Credential = ProviderCredential("b.example") }, false, ErrBadFrank},
		{"agent that is a user", func(m *FrankedMessage) { m.Agent.Credential = mls.BasicCredential([]byte(alice)) }, false, ErrBadFrank},
		{"agent with another key", func(m *FrankedMessage) { m.Agent.SignatureKey = bytes.Repeat([]byte{7}, 32) }, false, ErrBadFrank},
	} {
		m, _ := franked(t)
		tc.change(m)
		ok, err := m.Reportable(nil)
		if ok != tc.ok || !errors.Is(err, tc.err) || tc.err == nil && err != nil {
			t.Errorf("%s: %v, %v", tc.name, ok, err)
		}
	}
	m, _ := franked(t)
	broken := errors.New("unknown authority")
	if ok, err := m.Reportable(func(*FrankingAgent) (Domain, error) { return "", broken }); ok || !errors.Is(err, broken) || !errors.Is(err, ErrBadFrank) {
		t.Errorf("credential refused: %v, %v", ok, err)
	}
}

func TestVerifyEvidence(t *testing.T) {
	found := ReportedContent{Salt: [16]byte{1, 2, 3}, Sender: alice, Room: room}
	m, keys := franked(t)
	evidence, ok := m.Evidence()
	if !ok {
		t.Fatal("no evidence")
	}
	agent := testKey(t).Public
	if err := keys.VerifyEvidence(&evidence, found, alice, room, []byte("an older key"), agent); err != nil {
		t.Error(err)
	}
	check := func(name string, change func(m *AbusiveMessage, f *ReportedContent)) {
		e, f := evidence, found
		e.Content, e.Frank.Signature = bytes.Clone(e.Content), bytes.Clone(e.Frank.Signature)
		change(&e, &f)
		if err := keys.VerifyEvidence(&e, f, alice, room, agent); !errors.Is(err, ErrBadFrank) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := range evidence.Content {
		check("content", func(m *AbusiveMessage, _ *ReportedContent) { m.Content[i] ^= 1 })
	}
	for i := range evidence.Frank.ServerFrank {
		check("frank", func(m *AbusiveMessage, _ *ReportedContent) { m.Frank.ServerFrank[i] ^= 1 })
	}
	for i := range evidence.Frank.Signature {
		check("signature", func(m *AbusiveMessage, _ *ReportedContent) { m.Frank.Signature[i] ^= 1 })
	}
	check("time", func(m *AbusiveMessage, _ *ReportedContent) { m.Timestamp++ })
	check("suite", func(m *AbusiveMessage, _ *ReportedContent) { m.Frank.Suite = 3 })
	check("salt", func(_ *AbusiveMessage, f *ReportedContent) { f.Salt[0]++ })
	check("sender", func(_ *AbusiveMessage, f *ReportedContent) { f.Sender = bob })
	check("room", func(_ *AbusiveMessage, f *ReportedContent) { f.Room = "mimi://a.example/r/x" })
	if err := keys.VerifyEvidence(&evidence, found, alice, room); !errors.Is(err, ErrBadFrank) {
		t.Errorf("no key of the room: %v", err)
	}
	if err := FrankKeys(nil).VerifyEvidence(&evidence, found, alice, room, agent); !errors.Is(err, ErrNoFrankKey) {
		t.Errorf("no keys: %v", err)
	}
	m.Frank = nil
	if _, ok := m.Evidence(); ok {
		t.Error("evidence without a frank")
	}
}

func TestFrankKeyRotation(t *testing.T) {
	day := 24 * time.Hour
	start := time.UnixMilli(stamp)
	keys := FrankKeys(nil).Rotate(start, 30*day)
	if _, err := keys.At(stamp - 1); !errors.Is(err, ErrNoFrankKey) {
		t.Errorf("before the first key: %v", err)
	}
	first := keys
	for i := 1; i <= 5; i++ {
		keys = keys.Rotate(start.Add(time.Duration(i)*10*day), 30*day)
	}
	// The keys of days 20 to 50: those before had their last message over 30 days ago.
	if len(keys) != 4 || keys[0].ID != 3 || keys[3].ID != 6 || len(first) != 1 {
		t.Errorf("keys %v", keys)
	}
	for day50, want := range map[time.Duration]uint32{25 * day: 3, 30 * day: 4, 30*day - time.Millisecond: 3, 90 * day: 6} {
		if k, err := keys.At(uint64(start.Add(day50).UnixMilli())); err != nil || k.ID != want {
			t.Errorf("after %v: %v, %v", day50, k, err)
		}
	}
	if keys[3].Secret == keys[2].Secret || keys[3].Secret == ([32]byte{}) {
		t.Error("a secret is not random")
	}
}

func TestFrankingAgent(t *testing.T) {
	agent := &FrankingAgent{SignatureKey: []byte("key"), Credential: ProviderCredential("a.example")}
	b := must(agent.Marshal())
	if hex.EncodeToString(b) != "036b6579"+"0001"+"10"+hex.EncodeToString([]byte("mimi://a.example")) {
		t.Errorf("agent %x", b)
	}
	checkEveryCut(t, b, new(FrankingAgent))
	got, err := Components{}.Update(ComponentFrankingAgent, nil, false, [][]byte{b})
	if err != nil || !bytes.Equal(got, b) {
		t.Errorf("added: %x, %v", got, err)
	}
	if _, err := (Components{}).Update(ComponentFrankingAgent, b, true, [][]byte{b}); !errors.Is(err, ErrBadUpdate) {
		t.Errorf("replaced: %v", err)
	}
	if _, err := (Components{}).Update(ComponentFrankingAgent, nil, false, [][]byte{b[:3]}); !errors.Is(err, ErrMalformed) {
		t.Errorf("malformed: %v", err)
	}
	d := new(mls.AppDataDictionary)
	if a, err := AgentOf(d); a != nil || err != nil {
		t.Errorf("no agent: %v, %v", a, err)
	}
	d.Set(ComponentFrankingAgent, b)
	if a, err := AgentOf(d); a != nil || err != nil {
		t.Errorf("no safe AAD: %v, %v", a, err)
	}
	d.Set(mls.ComponentSafeAAD, must(wire.Marshal(mls.ComponentsList{})))
	if a, err := AgentOf(d); a != nil || err != nil {
		t.Errorf("no tags: %v, %v", a, err)
	}
	d.Set(mls.ComponentSafeAAD, must(wire.Marshal(mls.ComponentsList{ComponentFrankAAD})))
	if a, err := AgentOf(d); a == nil || err != nil || string(a.SignatureKey) != "key" {
		t.Errorf("agent: %v, %v", a, err)
	}
	d.Set(mls.ComponentSafeAAD, []byte{1})
	if _, err := AgentOf(d); !errors.Is(err, ErrMalformed) {
		t.Errorf("malformed: %v", err)
	}
}
