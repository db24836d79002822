package mls

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"testing"

	"hubbub/mls/wire"
)

func TestVectorsMessages(t *testing.T) {
	var cases []map[string]octets
	readTreeVectors(t, "messages.json", &cases)
	body := func(p proposalBody) wire.Decoder { return p }
	decoders := map[string]func() wire.Decoder{
		"ratchet_tree":                      func() wire.Decoder { return new(RatchetTree) },
		"group_secrets":                     func() wire.Decoder { return new(GroupSecrets) },
		"commit":                            func() wire.Decoder { return new(Commit) },
		"add_proposal":                      func() wire.Decoder { return body(new(Add)) },
		"update_proposal":                   func() wire.Decoder { return body(new(Update)) },
		"remove_proposal":                   func() wire.Decoder { return body(new(Remove)) },
		"pre_shared_key_proposal":           func() wire.Decoder { return body(new(PreSharedKeyID)) },
		"re_init_proposal":                  func() wire.Decoder { return body(new(ReInit)) },
		"external_init_proposal":            func() wire.Decoder { return body(new(ExternalInit)) },
		"group_context_extensions_proposal": func() wire.Decoder { return body(new(GroupContextExtensions)) },
	}
	values := 0
	for i, c := range cases {
		for name, b := range c {
			values++
			var d wire.Decoder = new(Message)
			if make := decoders[name]; make != nil {
				d = make()
			}
			if err := wire.Unmarshal(b, d); err != nil {
				t.Fatalf("case %d, %s: %v", i, name, err)
			}
			got, err := wire.Marshal(d.(wire.Encoder))
			if err != nil || !bytes.Equal(got, b) {
				t.Fatalf("case %d, %s: encodes to %x, want %x (%v)", i, name, got, []byte(b), err)
			}
			if err := wire.Unmarshal(append(bytes.Clone(b), 0), d); err == nil {
				t.Fatalf("case %d, %s: trailing octet accepted", i, name)
			}
		}
	}
	if len(cases) != 300 || values != 300*17 {
		t.Fatalf("ran %d values in %d cases", values, len(cases))
	}
}

// protectionCase is an entry of message-protection.json.
type protectionCase struct {
	Suite         CipherSuite `json:"cipher_suite"`
	GroupID       octets      `json:"group_id"`
	Epoch         uint64
	TreeHash      octets `json:"tree_hash"`
	Confirmed     octets `json:"confirmed_transcript_hash"`
	SignaturePriv octets `json:"signature_priv"`
	SignaturePub  octets `json:"signature_pub"`
	Encryption    octets `json:"encryption_secret"`
	SenderData    octets `json:"sender_data_secret"`
	Membership    octets `json:"membership_key"`
	Fields        map[string]json.RawMessage
}

func (c *protectionCase) context() *GroupContext {
	return &GroupContext{Version: MLS10, CipherSuite: c.Suite, GroupID: c.GroupID, Epoch: c.Epoch,
		TreeHash: c.TreeHash, ConfirmedTranscriptHash: c.Confirmed}
}

// content frames the vector's payload as if member 1 of 2 sent it.
func (c *protectionCase) content(t *testing.T, kind ContentType, payload []byte) FramedContent {
	t.Helper()
	f := FramedContent{GroupID: c.GroupID, Epoch: c.Epoch, ContentType: kind,
		Sender: Sender{Type: SenderTypeMember, LeafIndex: 1}, ApplicationData: payload}
	var err error
	switch kind {
	case ContentTypeProposal:
		f.ApplicationData, f.Proposal = nil, new(Proposal)
		err = wire.Unmarshal(payload, f.Proposal)
	case ContentTypeCommit:
		f.ApplicationData, f.Commit = nil, new(Commit)
		err = wire.Unmarshal(payload, f.Commit)
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// payload is the inverse of content.
func payload(t *testing.T, f *FramedContent) []byte {
	t.Helper()
	switch f.ContentType {
	case ContentTypeProposal:
		return must[[]byte](t)(wire.Marshal(f.Proposal))
	case ContentTypeCommit:
		return must[[]byte](t)(wire.Marshal(f.Commit))
	}
	return f.ApplicationData
}

func (c *protectionCase) openPrivate(t *testing.T, m *PrivateMessage) []byte {
	t.Helper()
	sd, err := openSenderData(c.Suite, c.SenderData, m)
	if err != nil {
		t.Fatal(err)
	}
	_, key, err := newSecretTree(c.Suite, c.Encryption, 2).take(sd.leaf, m.ContentType, sd.generation, 10, 10)
	if err != nil {
		t.Fatal(err)
	}
	a, err := openPrivate(c.Suite, m, sd, key)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.VerifySignature(c.Suite, c.SignaturePub, c.context()); err != nil {
		t.Fatal(err)
	}
	return payload(t, &a.Content)
}

func (c *protectionCase) openPublic(t *testing.T, m *PublicMessage) []byte {
	t.Helper()
	context := must[[]byte](t)(wire.Marshal(c.context()))
	if err := verifyMembershipTag(c.Suite, c.Membership, m, context); err != nil {
		t.Fatal(err)
	}
	if err := m.Authenticated().VerifySignature(c.Suite, c.SignaturePub, c.context()); err != nil {
		t.Fatal(err)
	}
	m.MembershipTag[0] ^= 1
	if err := verifyMembershipTag(c.Suite, c.Membership, m, context); err == nil {
		t.Fatal("forged membership tag accepted")
	}
	return payload(t, &m.Content)
}

func (c *protectionCase) run(t *testing.T, name string, kind ContentType) {
	t.Helper()
	var want, priv, pub octets
	for suffix, into := range map[string]*octets{"": &want, "_priv": &priv, "_pub": &pub} {
		if raw := c.Fields[name+suffix]; raw != nil {
			if err := json.Unmarshal(raw, into); err != nil {
				t.Fatal(err)
			}
		}
	}
	wantBytes(t, name+" private", c.openPrivate(t, must[*Message](t)(ParseMessage(priv)).Private), want)

	a := &AuthenticatedContent{WireFormat: WireFormatPrivateMessage, Content: c.content(t, kind, want)}
	if kind == ContentTypeCommit {
		a.Auth.ConfirmationTag = make([]byte, c.Suite.HashSize())
	}
	if err := a.Sign(c.Suite, SignaturePrivateKey(c.SignaturePriv), c.context()); err != nil {
		t.Fatal(err)
	}
	_, key, err := newSecretTree(c.Suite, c.Encryption, 2).next(1, kind)
	if err != nil {
		t.Fatal(err)
	}
	m, err := sealPrivate(c.Suite, c.SenderData, a, key, 64, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	wantBytes(t, name+" own private", c.openPrivate(t, m), want)
	if pub == nil {
		return
	}
	wantBytes(t, name+" public", c.openPublic(t, must[*Message](t)(ParseMessage(pub)).Public), want)
	a.WireFormat = WireFormatPublicMessage
	if err := a.Sign(c.Suite, SignaturePrivateKey(c.SignaturePriv), c.context()); err != nil {
		t.Fatal(err)
	}
	p := &PublicMessage{Content: a.Content, Auth: a.Auth}
	p.MembershipTag = must[[]byte](t)(membershipTag(c.Suite, c.Membership, p, must[[]byte](t)(wire.Marshal(c.context()))))
	wantBytes(t, name+" own public", c.openPublic(t, p), want)
}

func TestVectorsMessageProtection(t *testing.T) {
	var raw []map[string]json.RawMessage
	var cases []protectionCase
	readTreeVectors(t, "message-protection.json", &raw)
	readTreeVectors(t, "message-protection.json", &cases)
	var n counter
	for i := range cases {
		c := &cases[i]
		if !n.supported(c.Suite) {
			continue
		}
		c.Fields = raw[i]
		c.run(t, "proposal", ContentTypeProposal)
		c.run(t, "commit", ContentTypeCommit)
		c.run(t, "application", ContentTypeApplication)
	}
	n.check(t, 7, 0)
}

func TestPrivateMessagePadding(t *testing.T) {
	suite := SuiteX25519AES128SHA256Ed25519
	signer := must[*SignatureKey](t)(NewSignatureKey(suite, nil))
	secret := make([]byte, suite.HashSize())
	_, key, err := newSecretTree(suite, secret, 1).next(0, ContentTypeApplication)
	if err != nil {
		t.Fatal(err)
	}
	a := &AuthenticatedContent{WireFormat: WireFormatPrivateMessage, Content: FramedContent{
		ContentType: ContentTypeApplication, Sender: Sender{Type: SenderTypeMember}, ApplicationData: []byte("hi")}}
	if err := a.Sign(suite, signer.Private, &GroupContext{}); err != nil {
		t.Fatal(err)
	}
	m, err := sealPrivate(suite, secret, a, key, 256, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Ciphertext) != 256+16 {
		t.Fatalf("ciphertext of %d octets", len(m.Ciphertext))
	}
	sd, err := openSenderData(suite, secret, m)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openPrivate(suite, m, sd, key); err != nil {
		t.Fatal(err)
	}
	// Encrypt the same content with one stray bit in the padding.
	_, aad, _ := m.aads()
	plaintext, err := suite.open(key.key, guardNonce(key.nonce, sd.reuseGuard), aad, m.Ciphertext)
	if err != nil {
		t.Fatal(err)
	}
	plaintext[255] = 1
	m.Ciphertext, err = suite.seal(key.key, guardNonce(key.nonce, sd.reuseGuard), aad, plaintext)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openPrivate(suite, m, sd, key); err == nil {
		t.Fatal("non-zero padding accepted")
	}
}
