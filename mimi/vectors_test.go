package mimi

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"

	"hubbub/mls"
	"hubbub/mls/wire"
)

const (
	alice = UserURI("mimi://a.example/u/alice")
	bob   = UserURI("mimi://b.example/u/bob")
	cathy = UserURI("mimi://c.example/u/cathy")
	room  = RoomURI(roomUnderTest)
	stamp = 1644387225019
)

func unhexed(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type codec interface {
	wire.Encoder
	wire.Decoder
}

// vectors are the byte vectors of the requirements checklist, section 31.
var vectors = []struct {
	name, hex string
	value     codec
}{
	{"update success", "00 00 0000017edd1dcdbb", &UpdateRoomResponse{Timestamp: stamp}},
	{"update wrongEpoch", "01 05 7374616c65 0000000000000007",
		&UpdateRoomResponse{Code: UpdateWrongEpoch, Description: "stale", CurrentEpoch: 7}},
	{"update notAllowed", "02 00", &UpdateRoomResponse{Code: UpdateNotAllowed}},
	{"update invalidProposal", "03 00 21 20" + strings.Repeat("aa", 32),
		&UpdateRoomResponse{Code: UpdateInvalidProposal, InvalidProposals: [][]byte{bytes.Repeat([]byte{0xaa}, 32)}}},
	{"submit accepted", "01 00 0000017edd1dcdbb 00", &SubmitMessageResponse{Timestamp: stamp}},
	{"submit notAllowed", "01 01", &SubmitMessageResponse{Code: SubmitNotAllowed}},
	{"submit epochTooOld", "01 02 0000000000000007", &SubmitMessageResponse{Code: SubmitEpochTooOld, CurrentEpoch: 7}},
	{"keyMaterial noConsent", "0105166d696d693a2f2f622e6578616d706c652f752f626f6200",
		&KeyMaterialResponse{Status: KeyMaterialNoConsent, User: bob}},
	{"keyMaterial partialSuccess", "0101166d696d693a2f2f622e6578616d706c652f752f626f621b01196d696d693a2f2f622e6578616d706c652f642f626f622f4231",
		&KeyMaterialResponse{Status: KeyMaterialPartialSuccess, User: bob, Clients: []ClientKeyMaterial{
			{Status: ClientKeyMaterialExhausted, Client: "mimi://b.example/d/bob/B1"}}}},
	{"keyMaterial noCompatibleMaterial", "0103166d696d693a2f2f622e6578616d706c652f752f626f621c02196d696d693a2f2f622e6578616d706c652f642f626f622f423100",
		&KeyMaterialResponse{Status: KeyMaterialNoCompatible, User: bob, Clients: []ClientKeyMaterial{
			{Status: ClientKeyMaterialNothingCompatible, Client: "mimi://b.example/d/bob/B1"}}}},
	{"groupInfo notAuthorized", "011c6d696d693a2f2f612e6578616d706c652f722f636c7562686f75736502",
		&GroupInfoResponse{Room: room, Status: GroupInfoNotAuthorized}},
	{"consent request", "01186d696d693a2f2f612e6578616d706c652f752f616c696365166d696d693a2f2f622e6578616d706c652f752f626f620000",
		&ConsentEntry{Operation: ConsentRequest, Requester: alice, Target: bob}},
	{"consent grant", "02186d696d693a2f2f612e6578616d706c652f752f616c696365166d696d693a2f2f622e6578616d706c652f752f626f62011c6d696d693a2f2f612e6578616d706c652f722f636c7562686f7573650000",
		&ConsentEntry{Operation: ConsentGrant, Requester: alice, Target: bob, Room: room}},
	{"identifier query handle", "1a0118696d3a616c6963652e736d69746840612e6578616d706c6500",
		&IdentifierRequest{Elements: []QueryElement{{Type: SearchHandle, Value: "im:alice.smith@a.example"}}}},
	{"identifier query claims", "1c070a676976656e5f6e616d650658617669657208034f52470358595a00",
		&IdentifierRequest{Elements: []QueryElement{{SearchOIDCClaim, "given_name", "Xavier"}, {SearchVCardField, "ORG", "XYZ"}}}},
	{"identifier notFound", "01000000", &IdentifierResponse{Code: IdentifierNotFound}},
	{"identifier one hit", "0015146d696d693a2f2f622e6578616d706c652f752f781e146d696d693a2f2f622e6578616d706c652f752f780807046e616d65015800",
		&IdentifierResponse{Users: []UserURI{"mimi://b.example/u/x"}, Profiles: []UserProfile{
			{User: "mimi://b.example/u/x", Fields: []ProfileField{{SearchOIDCClaim, "name", "X"}}}}}},
	{"abuse report", "00166d696d693a2f2f622e6578616d706c652f752f626f6200047370616d0000", &AbuseReport{Abuser: bob, Note: "spam"}},
	{"participant list", "38186d696d693a2f2f612e6578616d706c652f752f616c69636500000004166d696d693a2f2f622e6578616d706c652f752f626f6200000002",
		&ParticipantListData{Participants: []Participant{{alice, 4}, {bob, 2}}}},
	{"participant list update", "080000000100000003001d186d696d693a2f2f632e6578616d706c652f752f636174687900000002",
		&ParticipantListUpdate{ChangedRoles: []RoleChange{{1, 3}}, Added: []Participant{{cathy, 2}}}},
	{"app_data_update proposal", "000800220128080000000100000003001d186d696d693a2f2f632e6578616d706c652f752f636174687900000002",
		&mls.Proposal{Type: mls.ProposalTypeAppDataUpdate, AppDataUpdate: &mls.AppDataUpdate{
			Component: ComponentParticipantList, Op: mls.AppDataUpdateOpUpdate,
			Data: must(hex.DecodeString("080000000100000003001d186d696d693a2f2f632e6578616d706c652f752f636174687900000002"))}}},
	{"app_data_update removal", "0008002302", &mls.Proposal{Type: mls.ProposalTypeAppDataUpdate,
		AppDataUpdate: &mls.AppDataUpdate{Component: ComponentRoomMetadata, Op: mls.AppDataUpdateOpRemove}}},
	{"dictionary", "3c00223938186d696d693a2f2f612e6578616d706c652f752f616c69636500000004166d696d693a2f2f622e6578616d706c652f752f626f6200000002",
		&mls.AppDataDictionary{Entries: []mls.ComponentData{{Component: ComponentParticipantList,
			Data: must((&ParticipantListData{Participants: []Participant{{alice, 4}, {bob, 2}}}).Marshal())}}}},
	{"room metadata", "1c6d696d693a2f2f612e6578616d706c652f722f636c7562686f75736509436c7562686f757365080002656e0366756e000000",
		&RoomMetaData{Room: room, Name: "Clubhouse", Descriptions: []RichDescription{{LanguageTag: "en", Content: []byte("fun")}}}},
	{"tree distributionService", "04", &RatchetTreeOption{Representation: TreeDistributionService}},
	{"tree outOfBand", "03", &RatchetTreeOption{Representation: TreeOutOfBand}},
	{"tree httpsUri", "021368747470733a2f2f612e6578616d706c652f74", &RatchetTreeOption{Representation: TreeHTTPSURI, URL: "https://a.example/t"}},
	{"ComponentsList", "020020", &mls.ComponentsList{ComponentFrankAAD}},
	{"frank", "a796f2087743fdfb66da947c9eb6536b9e0bd41a8913ce3306af6a3a44f21aaa 0001 4040" + frankSignature,
		&Frank{ServerFrank: [32]byte(must(hex.DecodeString("a796f2087743fdfb66da947c9eb6536b9e0bd41a8913ce3306af6a3a44f21aaa"))),
			Suite: 1, Signature: must(hex.DecodeString(frankSignature))}},
	{"submit accepted with frank", "01 00 0000017edd1dcdbb 01 a796f2087743fdfb66da947c9eb6536b9e0bd41a8913ce3306af6a3a44f21aaa 0001 4040" + frankSignature,
		&SubmitMessageResponse{Timestamp: stamp, Frank: &Frank{
			ServerFrank: [32]byte(must(hex.DecodeString("a796f2087743fdfb66da947c9eb6536b9e0bd41a8913ce3306af6a3a44f21aaa"))),
			Suite:       1, Signature: must(hex.DecodeString(frankSignature))}}},
}

const frankSignature = "c94ca979a6a05e96ba0aa62d22c4f82e4cc773f3900a7bb5e3a1b7a1987e2e5639ff87195b8c5bff1aecf5edbd04b4be728afa06d96584abd968a224c3086702"

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestVectors(t *testing.T) {
	for _, tc := range vectors {
		t.Run(tc.name, func(t *testing.T) {
			want := unhexed(t, tc.hex)
			got, err := wire.Marshal(tc.value)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("encoded to %x, %v\nwant       %x", got, err, want)
			}
			decoded := reflect.New(reflect.TypeOf(tc.value).Elem()).Interface().(codec)
			if err := parseBody(want, decoded); err != nil {
				t.Fatal(err)
			}
			if again, err := wire.Marshal(decoded); err != nil || !bytes.Equal(again, want) {
				t.Fatalf("decoded and encoded to %x, %v", again, err)
			}
			checkEveryCut(t, want, decoded)
		})
	}
}

// checkEveryCut decodes each proper prefix, and the whole with one octet more.
func checkEveryCut(t *testing.T, b []byte, d wire.Decoder) {
	t.Helper()
	for n := range len(b) {
		if err := parseBody(b[:n], d); !errors.Is(err, ErrMalformed) {
			t.Errorf("cut at %d octets: %v", n, err)
		}
	}
	if err := parseBody(append(bytes.Clone(b), 0), d); !errors.Is(err, ErrMalformed) {
		t.Errorf("with an octet more: %v", err)
	}
}

func testKey(t testing.TB) *mls.SignatureKey {
	t.Helper()
	seed := make([]byte, ed25519.SeedSize)
	for i := range seed {
		seed[i] = byte(i)
	}
	pub, err := mls.CipherSuite(1).SignaturePublicKey(seed)
	if err != nil || hex.EncodeToString(pub) != "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8" {
		t.Fatalf("public key %x, %v", pub, err)
	}
	return &mls.SignatureKey{Suite: 1, Private: seed, Public: pub}
}

func keyMaterialRequest() *KeyMaterialRequest {
	return &KeyMaterialRequest{
		Protocol: ProtocolMLS10, RequestingUser: alice, TargetUser: bob, Room: room,
		CipherSuites: []mls.CipherSuite{1},
		RequiredCapabilities: mls.RequiredCapabilities{
			Extensions: []mls.ExtensionType{6}, Proposals: []mls.ProposalType{8, 10}, Credentials: []mls.CredentialType{1}},
		Credential: mls.BasicCredential([]byte("mimi://a.example/d/alice/A1")),
	}
}

func TestKeyMaterialRequestVector(t *testing.T) {
	k := keyMaterialRequest()
	if err := k.Sign(testKey(t)); err != nil {
		t.Fatal(err)
	}
	want := unhexed(t, `01186d696d693a2f2f612e6578616d706c652f752f616c696365166d696d693a2f2f622e6578616d706c652f752f626f62
		1c6d696d693a2f2f612e6578616d706c652f722f636c7562686f757365020001020006040008000a0200012003a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8
		00011b6d696d693a2f2f612e6578616d706c652f642f616c6963652f4131 4040
		fd7d314867485b3add4c197a989e88987123482ac7b6bd2d8b119ed11edd2d58ef8caa2d373f1985827d060d5179c08236ad992296a9849d1c079694a4331b00`)
	got, err := k.Marshal()
	if err != nil || !bytes.Equal(got, want) || len(got) != 221 {
		t.Fatalf("got %x, %v", got, err)
	}
	parsed, err := ParseKeyMaterialRequest(want)
	if err != nil {
		t.Fatal(err)
	}
	if err := parsed.Verify(); err != nil {
		t.Fatal(err)
	}
	// A change anywhere but in the protocol octet must break the parse or the
	// signature.
	for i := 1; i < len(want); i++ {
		changed := bytes.Clone(want)
		changed[i] ^= 1
		if p, err := ParseKeyMaterialRequest(changed); err == nil && !errors.Is(p.Verify(), ErrBadSignature) {
			t.Errorf("octet %d changed: still verifies", i)
		}
	}
}

func TestKeyMaterialRequestEdges(t *testing.T) {
	k := keyMaterialRequest()
	if err := k.Sign(&mls.SignatureKey{Suite: 2}); err == nil {
		t.Error("signed with a suite that is not the first acceptable one")
	}
	k.CipherSuites = nil
	b, err := k.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseKeyMaterialRequest(b); !errors.Is(err, ErrMalformed) {
		t.Errorf("no suites: %v", err)
	}
	foreign, err := ParseKeyMaterialRequest(append([]byte{2}, b[1:]...))
	if err != nil || foreign.Protocol != 2 || foreign.TargetUser != bob {
		t.Errorf("protocol 2 with a well-formed prefix: %+v, %v", foreign, err)
	}
	if err := foreign.Verify(); !errors.Is(err, ErrUnsupportedProtocol) {
		t.Errorf("verify of protocol 2: %v", err)
	}
	other := keyMaterialRequest()
	other.CipherSuites = []mls.CipherSuite{1, 2, 0x0a0a}
	if err := other.Sign(testKey(t)); err != nil {
		t.Fatal(err)
	}
	other.Room = ""
	if err := other.Verify(); !errors.Is(err, ErrBadSignature) {
		t.Errorf("room taken out: %v", err)
	}
	if err := other.Sign(testKey(t)); err != nil {
		t.Fatal(err)
	}
	b, err = other.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if p, err := ParseKeyMaterialRequest(b); err != nil || p.Room != "" || p.Verify() != nil {
		t.Errorf("request without a room: %+v, %v", p, err)
	}
}

func TestKeyMaterialResponseRules(t *testing.T) {
	entry := ClientKeyMaterial{Status: ClientKeyMaterialExhausted, Client: "mimi://b.example/d/bob/B1"}
	for _, bad := range []*KeyMaterialResponse{
		{Status: KeyMaterialNoConsent, User: bob, Clients: []ClientKeyMaterial{entry}},
		{Status: KeyMaterialSuccess, User: bob, Clients: []ClientKeyMaterial{{Client: entry.Client}}},
	} {
		if b, err := bad.Marshal(); err == nil {
			t.Errorf("encoded to %x", b)
		}
	}
	twice := &KeyMaterialResponse{Status: KeyMaterialPartialSuccess, User: bob, Clients: []ClientKeyMaterial{entry, entry}}
	b, err := twice.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseKeyMaterialResponse(b); !errors.Is(err, ErrMalformed) {
		t.Errorf("client listed twice: %v", err)
	}
	b[1] = byte(KeyMaterialNoConsent)
	if _, err := ParseKeyMaterialResponse(b); !errors.Is(err, ErrMalformed) {
		t.Errorf("noConsent with clients: %v", err)
	}
}

// TestUnknownCodes puts values beyond the last defined one into each enumeration.
func TestUnknownCodes(t *testing.T) {
	for _, tc := range []struct {
		hex string
		d   wire.Decoder
	}{
		{"04 00", new(UpdateRoomResponse)}, {"ff 00", new(UpdateRoomResponse)},
		{"01 03", new(SubmitMessageResponse)}, {"02 01", new(SubmitMessageResponse)}, {"00 01", new(SubmitMessageResponse)},
		{"0108166d696d693a2f2f622e6578616d706c652f752f626f6200", new(KeyMaterialResponse)},
		{"011c6d696d693a2f2f612e6578616d706c652f722f636c7562686f75736500", new(GroupInfoResponse)},
		{"011c6d696d693a2f2f612e6578616d706c652f722f636c7562686f75736504", new(GroupInfoResponse)},
		{"05", new(RatchetTreeOption)}, {"00", new(RatchetTreeOption)},
		{"00", new(GroupInfoOption)}, {"03", new(GroupInfoOption)}, {"0201 00 00", new(GroupInfoOption)},
		{"05000000", new(IdentifierResponse)}, {"02 0001 0000", new(IdentifierResponse)},
		{"0000", new(IdentifierRequest)}, {"02090000", new(IdentifierRequest)},
		{"01 00 0000017edd1dcdbb 02", new(SubmitMessageResponse)},
	} {
		if err := parseBody(unhexed(t, tc.hex), tc.d); !errors.Is(err, ErrMalformed) {
			t.Errorf("%T of %s: %v", tc.d, tc.hex, err)
		}
	}
	if err := parseBody([]byte{2, 1}, new(SubmitMessageResponse)); !errors.Is(err, ErrUnsupportedProtocol) {
		t.Errorf("protocol 2: %v", err)
	}
}

// FuzzBodies decodes each kind of body; the first octet picks the kind.
func FuzzBodies(f *testing.F) {
	kinds := []func() codec{
		func() codec { return new(KeyMaterialRequest) }, func() codec { return new(KeyMaterialResponse) },
		func() codec { return new(HandshakeBundle) }, func() codec { return new(UpdateRoomResponse) },
		func() codec { return new(SubmitMessageRequest) }, func() codec { return new(SubmitMessageResponse) },
		func() codec { return new(FanoutMessage) }, func() codec { return new(GroupInfoRequest) },
		func() codec { return new(GroupInfoResponse) }, func() codec { return new(GroupInfoRatchetTree) },
		func() codec { return new(ConsentEntry) }, func() codec { return new(IdentifierRequest) },
		func() codec { return new(IdentifierResponse) }, func() codec { return new(AbuseReport) },
		func() codec { return new(ParticipantListData) }, func() codec { return new(ParticipantListUpdate) },
		func() codec { return new(RoomMetaData) }, func() codec { return new(FrankingAgent) },
		func() codec { return new(FrankingContext) }, func() codec { return new(JoinLinks) },
		func() codec { return new(JoinLinksUpdate) }, func() codec { return new(GroupInfoOption) },
		func() codec { return new(RatchetTreeOption) }, func() codec { return new(Frank) },
	}
	for _, v := range vectors {
		for i, kind := range kinds {
			if reflect.TypeOf(kind()) == reflect.TypeOf(v.value) {
				f.Add(append([]byte{byte(i)}, unhexed(f, v.hex)...))
			}
		}
	}
	for i, b := range messageBodies(f) {
		f.Add(append([]byte{byte(i)}, b...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 {
			return
		}
		v := kinds[int(b[0])%len(kinds)]()
		if err := parseBody(b[1:], v); err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		if k, ok := v.(*KeyMaterialRequest); ok && k.Protocol != ProtocolMLS10 {
			return // its tail is not kept
		}
		if again, err := wire.Marshal(v); err != nil || !bytes.Equal(again, b[1:]) {
			t.Fatalf("%T: %x encodes to %x, %v", v, b[1:], again, err)
		}
	})
}
