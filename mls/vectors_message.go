package mls

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"hubbub/mls/wire"
)

// messagesStructs are the fields of format messages that are no MLSMessage.
func messagesStructs() map[string]func() wire.Decoder {
	return map[string]func() wire.Decoder{
		"ratchet_tree":                      func() wire.Decoder { return new(RatchetTree) },
		"group_secrets":                     func() wire.Decoder { return new(GroupSecrets) },
		"commit":                            func() wire.Decoder { return new(Commit) },
		"add_proposal":                      func() wire.Decoder { return new(Add) },
		"update_proposal":                   func() wire.Decoder { return new(Update) },
		"remove_proposal":                   func() wire.Decoder { return new(Remove) },
		"pre_shared_key_proposal":           func() wire.Decoder { return new(PreSharedKeyID) },
		"re_init_proposal":                  func() wire.Decoder { return new(ReInit) },
		"external_init_proposal":            func() wire.Decoder { return new(ExternalInit) },
		"group_context_extensions_proposal": func() wire.Decoder { return new(GroupContextExtensions) },
	}
}

// messagesHeaders are the fields that are an MLSMessage, with its type.
var messagesHeaders = map[string]Header{
	"mls_welcome":                {WireFormat: WireFormatWelcome},
	"mls_group_info":             {WireFormat: WireFormatGroupInfo},
	"mls_key_package":            {WireFormat: WireFormatKeyPackage},
	"public_message_application": {WireFormat: WireFormatPublicMessage, ContentType: ContentTypeApplication},
	"public_message_proposal":    {WireFormat: WireFormatPublicMessage, ContentType: ContentTypeProposal},
	"public_message_commit":      {WireFormat: WireFormatPublicMessage, ContentType: ContentTypeCommit},
	"private_message":            {WireFormat: WireFormatPrivateMessage},
}

// runMessagesVector decodes each field and encodes it again.
func runMessagesVector(f vectorFields) error {
	structs := messagesStructs()
	for _, name := range slices.Sorted(maps.Keys(f)) {
		var b octets
		if err := json.Unmarshal(f[name], &b); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		header, message := messagesHeaders[name]
		make, plain := structs[name]
		var d wire.Decoder
		switch {
		case message:
			d = new(Message)
		case plain:
			d = make()
		default:
			return fmt.Errorf("unknown field %q", name)
		}
		err := roundTrip(d, b)
		if m, ok := d.(*Message); ok && err == nil {
			err = checkHeader(m, header)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// checkHeader verifies that a message is of the type its field is named for.
func checkHeader(m *Message, want Header) error {
	got := m.Header()
	if got.WireFormat != want.WireFormat || want.ContentType != 0 && got.ContentType != want.ContentType {
		return errors.New("message of another type")
	}
	return nil
}

// roundTrip decodes b and expects the same octets from encoding, and an error
// if an octet follows.
func roundTrip(d wire.Decoder, b []byte) error {
	if err := wire.Unmarshal(append(bytes.Clone(b), 0), d); err == nil {
		return errors.New("a trailing octet is accepted")
	}
	if err := wire.Unmarshal(b, d); err != nil {
		return err
	}
	if m, ok := d.(*Message); ok {
		m.Raw = nil // encode afresh
	}
	e, ok := d.(wire.Encoder)
	if !ok {
		return errors.New("cannot be encoded")
	}
	var c comparison
	c.equal("encoding", b)(wire.Marshal(e))
	return c.err
}

type protectionVector struct {
	Suite           CipherSuite `json:"cipher_suite"`
	GroupID         octets      `json:"group_id"`
	Epoch           uint64
	TreeHash        octets `json:"tree_hash"`
	Confirmed       octets `json:"confirmed_transcript_hash"`
	SignaturePriv   octets `json:"signature_priv"`
	SignaturePub    octets `json:"signature_pub"`
	Encryption      octets `json:"encryption_secret"`
	SenderData      octets `json:"sender_data_secret"`
	Membership      octets `json:"membership_key"`
	Proposal        octets
	ProposalPub     octets `json:"proposal_pub"`
	ProposalPriv    octets `json:"proposal_priv"`
	Commit          octets
	CommitPub       octets `json:"commit_pub"`
	CommitPriv      octets `json:"commit_priv"`
	Application     octets
	ApplicationPriv octets `json:"application_priv"`
}

// protectionSender is the member that sends in format message-protection.
const protectionSender LeafIndex = 1

func (v *protectionVector) run() error {
	for _, m := range []struct {
		name            string
		kind            ContentType
		plain, pub, prv octets
	}{
		{"proposal", ContentTypeProposal, v.Proposal, v.ProposalPub, v.ProposalPriv},
		{"commit", ContentTypeCommit, v.Commit, v.CommitPub, v.CommitPriv},
		{"application", ContentTypeApplication, v.Application, nil, v.ApplicationPriv},
	} {
		if err := v.private(m.kind, m.plain, m.prv); err != nil {
			return fmt.Errorf("%s, private: %w", m.name, err)
		}
		if m.kind == ContentTypeApplication {
			continue // nothing in this package makes one public (RFC 9420 §6)
		}
		if err := v.public(m.kind, m.plain, m.pub); err != nil {
			return fmt.Errorf("%s, public: %w", m.name, err)
		}
	}
	return nil
}

func (v *protectionVector) context() *GroupContext {
	return &GroupContext{Version: MLS10, CipherSuite: v.Suite, GroupID: v.GroupID, Epoch: v.Epoch,
		TreeHash: v.TreeHash, ConfirmedTranscriptHash: v.Confirmed}
}

// private opens the vector's PrivateMessage and one of our own.
func (v *protectionVector) private(kind ContentType, plain, sealed []byte) error {
	m, err := parseAs(sealed, WireFormatPrivateMessage)
	if err != nil {
		return err
	}
	var c comparison
	c.that("content of another type", m.Private.ContentType == kind)
	c.equal("content", plain)(v.openPrivate(m.Private))
	a, err := v.content(kind, plain, WireFormatPrivateMessage)
	if err != nil {
		return err
	}
	_, key, err := newSecretTree(v.Suite, v.Encryption, 2).next(protectionSender, kind)
	if err != nil {
		return err
	}
	own, err := sealPrivate(v.Suite, v.SenderData, a, key, 64, (*Config)(nil).rand())
	if err != nil {
		return err
	}
	c.equal("own content", plain)(v.openPrivate(own))
	return c.err
}

// public opens the vector's PublicMessage and one of our own.
func (v *protectionVector) public(kind ContentType, plain, signed []byte) error {
	a, err := v.content(kind, plain, WireFormatPublicMessage)
	if err != nil {
		return err
	}
	context, err := wire.Marshal(v.context())
	if err != nil {
		return err
	}
	own := &PublicMessage{Content: a.Content, Auth: a.Auth}
	if own.MembershipTag, err = membershipTag(v.Suite, v.Membership, own, context); err != nil {
		return err
	}
	var c comparison
	m, err := parseAs(signed, WireFormatPublicMessage)
	if err != nil {
		return err
	}
	c.that("content of another type", m.Public.Content.ContentType == kind)
	c.equal("content", plain)(v.openPublic(m.Public, context))
	c.equal("own content", plain)(v.openPublic(own, context))
	return c.err
}

// content frames and signs a payload as the vectors' sender.
func (v *protectionVector) content(kind ContentType, payload []byte, format WireFormat) (*AuthenticatedContent, error) {
	f := FramedContent{GroupID: v.GroupID, Epoch: v.Epoch, ContentType: kind,
		Sender: Sender{Type: SenderTypeMember, LeafIndex: protectionSender}}
	var err error
	switch kind {
	case ContentTypeProposal:
		f.Proposal = new(Proposal)
		err = wire.Unmarshal(payload, f.Proposal)
	case ContentTypeCommit:
		f.Commit = new(Commit)
		err = wire.Unmarshal(payload, f.Commit)
	default:
		f.ApplicationData = payload
	}
	if err != nil {
		return nil, err
	}
	a := &AuthenticatedContent{WireFormat: format, Content: f}
	if kind == ContentTypeCommit {
		a.Auth.ConfirmationTag = make([]byte, v.Suite.HashSize())
	}
	return a, a.Sign(v.Suite, vectorSigner(v.Suite, v.SignaturePriv, v.SignaturePub), v.context())
}

// contentPayload is the inverse of protectionVector.content.
func contentPayload(f *FramedContent) ([]byte, error) {
	switch f.ContentType {
	case ContentTypeProposal:
		return wire.Marshal(f.Proposal)
	case ContentTypeCommit:
		return wire.Marshal(f.Commit)
	}
	return f.ApplicationData, nil
}

func (v *protectionVector) openPrivate(m *PrivateMessage) ([]byte, error) {
	sd, err := openSenderData(v.Suite, v.SenderData, m)
	if err != nil {
		return nil, err
	}
	if sd.leaf != protectionSender {
		return nil, fmt.Errorf("sender is leaf %d", sd.leaf)
	}
	_, key, err := newSecretTree(v.Suite, v.Encryption, 2).take(sd.leaf, m.ContentType, sd.generation, vectorGenerations, vectorGenerations)
	if err != nil {
		return nil, err
	}
	a, err := openPrivate(v.Suite, m, sd, key)
	if err != nil {
		return nil, err
	}
	if err := a.VerifySignature(v.Suite, v.SignaturePub, v.context()); err != nil {
		return nil, err
	}
	return contentPayload(&a.Content)
}

func (v *protectionVector) openPublic(m *PublicMessage, context []byte) ([]byte, error) {
	if err := verifyMembershipTag(v.Suite, v.Membership, m, context); err != nil {
		return nil, err
	}
	if err := m.Authenticated().VerifySignature(v.Suite, v.SignaturePub, v.context()); err != nil {
		return nil, err
	}
	forged := *m
	forged.MembershipTag = bytes.Clone(m.MembershipTag)
	forged.MembershipTag[0] ^= 1
	if err := verifyMembershipTag(v.Suite, v.Membership, &forged, context); err == nil {
		return nil, errors.New("a forged membership tag is accepted")
	}
	return contentPayload(&m.Content)
}
