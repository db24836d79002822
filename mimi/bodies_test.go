package mimi

import (
	"bytes"
	"crypto/rand"
	"errors"
	"testing"

	"hubbub/mls"
	"hubbub/mls/wire"
)

// The messages below are well-formed and mean nothing: these tests are about how
// bodies carry them.
func public(p *mls.Proposal, c *mls.Commit) *mls.Message {
	m := &mls.PublicMessage{Content: mls.FramedContent{
		GroupID: []byte("mimi://a.example/g/clubhouse"), Epoch: 7,
		Sender:      mls.Sender{Type: mls.SenderTypeMember, LeafIndex: 3},
		ContentType: mls.ContentTypeProposal, Proposal: p, Commit: c,
	}, Auth: mls.FramedContentAuthData{Signature: []byte("signature")}, MembershipTag: []byte("tag")}
	if c != nil {
		m.Content.ContentType, m.Auth.ConfirmationTag = mls.ContentTypeCommit, []byte("confirmation")
	}
	return mls.NewMessage(m)
}

func removal(i mls.LeafIndex) *mls.Message {
	return public(&mls.Proposal{Type: mls.ProposalTypeRemove, Remove: &mls.Remove{Removed: i}}, nil)
}

func commit() *mls.Message { return public(nil, new(mls.Commit)) }

func private(t mls.ContentType) *mls.Message {
	return mls.NewMessage(&mls.PrivateMessage{GroupID: []byte("g"), Epoch: 7, ContentType: t,
		EncryptedSenderData: []byte("sender"), Ciphertext: []byte("ciphertext")})
}

func welcome() *mls.Welcome {
	return &mls.Welcome{CipherSuite: 1, EncryptedGroupInfo: []byte("info"), Secrets: []mls.EncryptedGroupSecrets{{NewMember: []byte("ref")}}}
}

func groupInfo(senders mls.ExternalSenders) *mls.GroupInfo {
	return &mls.GroupInfo{GroupContext: mls.GroupContext{Version: mls.MLS10, CipherSuite: 1, GroupID: []byte("g"), Epoch: 8,
		Extensions: mls.Extensions{{Type: mls.ExtensionTypeExternalSenders, Data: must(wire.Marshal(senders))}}}, Signature: []byte("s")}
}

// messageBodies gives an example of each body that carries MLS messages, by the number
// of its kind in FuzzBodies.
func messageBodies(t testing.TB) map[int][]byte {
	t.Helper()
	bodies := make(map[int][]byte)
	for i, e := range map[int]wire.Encoder{
		2: &HandshakeBundle{Message: *commit(), Welcome: welcome(), GroupInfo: GroupInfoOption{Full: groupInfo(nil)},
			RatchetTree: RatchetTreeOption{Representation: TreeFull}},
		4: &SubmitMessageRequest{Message: *private(mls.ContentTypeApplication), Sender: bob},
		6: &FanoutMessage{Timestamp: stamp, Message: *removal(1), MoreProposals: []mls.Message{*removal(2)}},
		7: &GroupInfoRequest{Suite: 1, Credential: mls.BasicCredential([]byte("x")), JoiningCode: []byte("code")},
		9: &GroupInfoRatchetTree{GroupInfo: *groupInfo(nil), RatchetTree: RatchetTreeOption{Representation: TreeFull},
			PendingProposals: []PendingProposal{{Proposal: *removal(1), Timestamp: stamp}}},
	} {
		b, err := wire.Marshal(e)
		if err != nil {
			t.Fatalf("kind %d: %v", i, err)
		}
		bodies[i] = b
	}
	return bodies
}

func TestHandshakeBundle(t *testing.T) {
	partial := &PartialGroupInfo{Extensions: mls.Extensions{{Type: mls.ExtensionTypeExternalPub, Data: []byte{0}}}, Signature: []byte("s")}
	for name, h := range map[string]*HandshakeBundle{
		"commit":         {Message: *commit(), GroupInfo: GroupInfoOption{Full: groupInfo(nil)}, RatchetTree: RatchetTreeOption{Representation: TreeDistributionService}},
		"adding commit":  {Message: *commit(), Welcome: welcome(), GroupInfo: GroupInfoOption{Partial: partial}, RatchetTree: RatchetTreeOption{Representation: TreeFull}},
		"proposal":       {Message: *removal(1)},
		"more proposals": {Message: *removal(1), MoreProposals: []mls.Message{*removal(2), *removal(4)}},
	} {
		b, err := h.Marshal()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		back, err := ParseHandshakeBundle(b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		again, err := back.Marshal()
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s: encoded to %x, %v", name, again, err)
		}
		want := 1 + len(h.MoreProposals)
		if h.IsCommit() {
			want = 0
		}
		if got := len(back.Proposals()); got != want {
			t.Errorf("%s: %d proposals, want %d", name, got, want)
		}
		checkEveryCut(t, b, new(HandshakeBundle))
	}
}

func TestWrongWireFormats(t *testing.T) {
	encode := func(ms ...*mls.Message) []byte {
		var w wire.Writer
		for _, m := range ms {
			m.Encode(&w)
		}
		return must(w.Bytes())
	}
	withMore := func(m *mls.Message) []byte {
		var w wire.Writer
		removal(1).Encode(&w)
		w.Vector(func(w *wire.Writer) { m.Encode(w) })
		return must(w.Bytes())
	}
	fanout := func(m *mls.Message) []byte { return append(make([]byte, 8), append(encode(m), 0)...) }
	application := mls.NewMessage(&mls.PublicMessage{Content: mls.FramedContent{Sender: mls.Sender{Type: mls.SenderTypeMember},
		ContentType: mls.ContentTypeApplication}})
	for name, tc := range map[string]struct {
		b []byte
		d wire.Decoder
	}{
		"private handshake":          {append(encode(private(mls.ContentTypeProposal)), 0), new(HandshakeBundle)},
		"private application":        {append(encode(private(mls.ContentTypeApplication)), 0), new(HandshakeBundle)},
		"welcome":                    {append(encode(mls.NewMessage(welcome())), 0), new(HandshakeBundle)},
		"public application":         {append(encode(application), 0), new(HandshakeBundle)},
		"commit among proposals":     {withMore(commit()), new(HandshakeBundle)},
		"private among proposals":    {withMore(private(mls.ContentTypeProposal)), new(HandshakeBundle)},
		"submit of a proposal":       {append([]byte{1}, encode(private(mls.ContentTypeProposal))...), new(SubmitMessageRequest)},
		"submit of a commit":         {append([]byte{1}, encode(commit())...), new(SubmitMessageRequest)},
		"submit in the clear":        {append([]byte{1}, encode(application)...), new(SubmitMessageRequest)},
		"fanout of a group info":     {fanout(mls.NewMessage(groupInfo(nil))), new(FanoutMessage)},
		"fanout of a private commit": {fanout(private(mls.ContentTypeCommit)), new(FanoutMessage)},
	} {
		if err := parseBody(tc.b, tc.d); !errors.Is(err, ErrWrongWireFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFanout(t *testing.T) {
	list := []FanoutMessage{
		{Timestamp: stamp, Message: *private(mls.ContentTypeApplication)},
		{Timestamp: stamp + 1, Message: *private(mls.ContentTypeApplication), Frank: &Frank{Suite: 1, Signature: []byte("x")}},
		{Timestamp: stamp + 2, Message: *mls.NewMessage(welcome()), RatchetTree: RatchetTreeOption{Representation: TreeFull}},
		{Timestamp: stamp + 3, Message: *removal(1), MoreProposals: []mls.Message{*removal(2)}},
		{Timestamp: stamp + 4, Message: *commit(), ExternalProposals: []mls.Message{*removal(5)}},
		{Timestamp: stamp + 5, Message: *commit()},
	}
	kinds := []FanoutKind{FanoutApplication, FanoutApplication, FanoutWelcome, FanoutProposal, FanoutCommit, FanoutCommit}
	proposals := []int{0, 0, 0, 2, 1, 0}
	var body []byte
	var parts [][]byte
	for i := range list {
		b, err := list[i].Marshal()
		if err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		body, parts = append(body, b...), append(parts, b)
	}
	got, err := ParseFanout(body)
	if err != nil || len(got) != len(list) {
		t.Fatalf("%d messages, %v", len(got), err)
	}
	for i := range got {
		inner, err := wire.Marshal(&list[i].Message)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got[i].Raw, parts[i]) || !bytes.Equal(got[i].Message.Raw, inner) {
			t.Errorf("message %d does not keep its octets", i)
		}
		if got[i].Kind() != kinds[i] || got[i].Timestamp != list[i].Timestamp || len(got[i].Proposals()) != proposals[i] {
			t.Errorf("message %d: %v at %d with %d proposals", i, got[i].Kind(), got[i].Timestamp, len(got[i].Proposals()))
		}
		if one, err := ParseFanoutMessage(got[i].Raw); err != nil || one.Kind() != kinds[i] {
			t.Errorf("message %d alone: %v", i, err)
		}
	}
	if more := got[4].ExternalProposals[0].Raw; !bytes.Equal(more, must(wire.Marshal(removal(5)))) {
		t.Errorf("external proposal kept as %x", more)
	}
	ends := map[int]bool{0: false}
	n := 0
	for _, p := range parts {
		n += len(p)
		ends[n] = true
	}
	for n := range body {
		if _, err := ParseFanout(body[:n]); (err == nil) != ends[n] {
			t.Errorf("cut at %d octets: %v", n, err)
		}
	}
	if _, err := ParseFanout(append(body, 0)); !errors.Is(err, ErrMalformed) {
		t.Errorf("with an octet more: %v", err)
	}
}

func TestGroupInfoRequestVector(t *testing.T) {
	g := &GroupInfoRequest{Credential: mls.BasicCredential([]byte("mimi://c.example/d/cathy/C3")), PublicKey: bytes.Repeat([]byte{0x33}, 32)}
	if err := g.Sign(testKey(t)); err != nil {
		t.Fatal(err)
	}
	want := unhexed(t, `0100012003a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b800011b6d696d693a2f2f632e6578616d706c652f642f63617468792f4333
		20 3333333333333333333333333333333333333333333333333333333333333333 00 4040
		8b836049d1327d0188e58b71a301d303436e9c37e9dbed751fb6a2af7bbf7278859d2f81d712794a93274b88a4f47e1b43c0d504ce378cabb487ce69598de407`)
	got, err := g.Marshal()
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("got  %x, %v\nwant %x", got, err, want)
	}
	parsed, err := ParseGroupInfoRequest(want)
	if err != nil || parsed.Verify() != nil {
		t.Fatalf("%v, %v", err, parsed.Verify())
	}
	checkEveryCut(t, want, new(GroupInfoRequest))
	for i := range want {
		changed := bytes.Clone(want)
		changed[i] ^= 1
		if p, err := ParseGroupInfoRequest(changed); err == nil && !errors.Is(p.Verify(), ErrBadSignature) {
			t.Errorf("octet %d changed: still verifies", i)
		}
	}
	g.JoiningCode = []byte("code")
	if err := g.Sign(testKey(t)); err != nil || g.Verify() != nil {
		t.Fatalf("with a joining code: %v, %v", err, g.Verify())
	}
	g.JoiningCode = nil
	if err := g.Verify(); !errors.Is(err, ErrBadSignature) {
		t.Errorf("joining code taken out: %v", err)
	}
}

func TestGroupInfoSealOpen(t *testing.T) {
	key := testKey(t)
	priv, pub, err := mls.CipherSuite(1).GenerateHPKEKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	req := &GroupInfoRequest{Suite: 1, PublicKey: pub}
	hub := mls.ExternalSender{SignatureKey: key.Public, Credential: ProviderCredential("a.example")}
	seal := func(t *testing.T, sender mls.ExternalSender, senders mls.ExternalSenders) *GroupInfoResponse {
		t.Helper()
		content := &GroupInfoRatchetTree{GroupInfo: *groupInfo(senders), RatchetTree: RatchetTreeOption{Representation: TreeFull},
			PendingProposals: []PendingProposal{{Proposal: *removal(1), Timestamp: stamp}}}
		sealed, err := SealGroupInfo(req, room, content, sender, key)
		if err != nil {
			t.Fatal(err)
		}
		b, err := sealed.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte("signature")) {
			t.Error("the proposal can be read in transit")
		}
		parsed, err := ParseGroupInfoResponse(b)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	opened, err := seal(t, hub, mls.ExternalSenders{hub}).Open(priv)
	if err != nil || len(opened.PendingProposals) != 1 || opened.PendingProposals[0].Timestamp != stamp {
		t.Fatalf("%+v, %v", opened, err)
	}
	if !bytes.Equal(opened.PendingProposals[0].Proposal.Raw, must(wire.Marshal(removal(1)))) {
		t.Error("pending proposal does not keep its octets")
	}
	if _, err := seal(t, hub, nil).Open(priv); !errors.Is(err, ErrWrongHub) {
		t.Errorf("hub is not an external sender: %v", err)
	}
	impostor := mls.ExternalSender{SignatureKey: key.Public, Credential: ProviderCredential("b.example")}
	if _, err := seal(t, impostor, mls.ExternalSenders{impostor}).Open(priv); !errors.Is(err, ErrWrongHub) {
		t.Errorf("signed by another provider: %v", err)
	}
	for name, change := range map[string]func(g *GroupInfoResponse){
		"room":       func(g *GroupInfoResponse) { g.Room = "mimi://a.example/r/other" },
		"status":     func(g *GroupInfoResponse) { g.Status = GroupInfoNotAuthorized },
		"sender":     func(g *GroupInfoResponse) { g.HubSender = impostor },
		"ciphertext": func(g *GroupInfoResponse) { g.Encrypted.Ciphertext[0] ^= 1 },
		"signature":  func(g *GroupInfoResponse) { g.Signature[0] ^= 1 },
	} {
		g := seal(t, hub, mls.ExternalSenders{hub})
		change(g)
		if _, err := g.Open(priv); !errors.Is(err, ErrBadSignature) {
			t.Errorf("%s changed: %v", name, err)
		}
	}
	if _, err := SealGroupInfo(&GroupInfoRequest{Suite: 2, PublicKey: pub}, room, &GroupInfoRatchetTree{}, hub, key); err == nil {
		t.Error("sealed for a suite the hub cannot sign with")
	}
}
