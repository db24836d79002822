package mls

import (
	"errors"
	"fmt"

	"hubbub/mls/wire"
)

// vectorGenerations bounds how far a vector turns a ratchet.
const vectorGenerations = 1 << 16

type secretTreeVector struct {
	Suite      CipherSuite `json:"cipher_suite"`
	Encryption octets      `json:"encryption_secret"`
	SenderData struct {
		Secret                 octets `json:"sender_data_secret"`
		Ciphertext, Key, Nonce octets
	} `json:"sender_data"`
	Leaves [][]secretTreeKeys
}

type secretTreeKeys struct {
	Generation uint32
	AppKey     octets `json:"application_key"`
	AppNonce   octets `json:"application_nonce"`
	HSKey      octets `json:"handshake_key"`
	HSNonce    octets `json:"handshake_nonce"`
}

func (v *secretTreeVector) run() error {
	if len(v.Leaves) == 0 || len(v.Leaves) > maxVectorLeaves {
		return fmt.Errorf("%d leaves", len(v.Leaves))
	}
	var c comparison
	key, nonce, err := senderDataKey(v.Suite, v.SenderData.Secret, v.SenderData.Ciphertext)
	c.equal("sender data key", v.SenderData.Key)(key, err)
	c.equal("sender data nonce", v.SenderData.Nonce)(nonce, err)
	tree := newSecretTree(v.Suite, v.Encryption, treeWidth(len(v.Leaves)))
	for leaf, generations := range v.Leaves {
		for i := range generations {
			g := &generations[i]
			app, err := tree.takeForVector(LeafIndex(leaf), ContentTypeApplication, g.Generation, &tree)
			c.equal("application key", g.AppKey)(app.key, err)
			c.equal("application nonce", g.AppNonce)(app.nonce, err)
			hs, err := tree.takeForVector(LeafIndex(leaf), ContentTypeCommit, g.Generation, &tree)
			c.equal("handshake key", g.HSKey)(hs.key, err)
			c.equal("handshake nonce", g.HSNonce)(hs.nonce, err)
			if c.err != nil {
				return fmt.Errorf("leaf %d, generation %d: %w", leaf, g.Generation, c.err)
			}
		}
		if tree, err = storedSecretTree(tree); err != nil {
			return err
		}
	}
	return c.err
}

// treeWidth returns the number of leaves of the smallest full tree for n.
func treeWidth(n int) uint32 {
	w := uint32(1)
	for w < uint32(n) {
		w *= 2
	}
	return w
}

// takeForVector takes a key and lets next follow. The bounds of a client do not
// apply.
func (t *secretTree) takeForVector(leaf LeafIndex, kind ContentType, generation uint32, next **secretTree) (messageKey, error) {
	after, key, err := t.take(leaf, kind, generation, vectorGenerations, vectorGenerations)
	if err == nil {
		*next = after
	}
	return key, err
}

// storedSecretTree stores and reloads a tree.
func storedSecretTree(t *secretTree) (*secretTree, error) {
	b, err := wire.Marshal(t)
	if err != nil {
		return nil, err
	}
	next := new(secretTree)
	return next, wire.Unmarshal(b, next)
}

type scheduleVector struct {
	Suite   CipherSuite `json:"cipher_suite"`
	GroupID octets      `json:"group_id"`
	Init    octets      `json:"initial_init_secret"`
	Epochs  []scheduleEpoch
}

type scheduleEpoch struct {
	TreeHash      octets `json:"tree_hash"`
	Confirmed     octets `json:"confirmed_transcript_hash"`
	Commit        octets `json:"commit_secret"`
	PSK           octets `json:"psk_secret"`
	Context       octets `json:"group_context"`
	Joiner        octets `json:"joiner_secret"`
	Welcome       octets `json:"welcome_secret"`
	NextInit      octets `json:"init_secret"`
	SenderData    octets `json:"sender_data_secret"`
	Encryption    octets `json:"encryption_secret"`
	ExporterS     octets `json:"exporter_secret"`
	Authenticator octets `json:"epoch_authenticator"`
	External      octets `json:"external_secret"`
	Confirmation  octets `json:"confirmation_key"`
	Membership    octets `json:"membership_key"`
	Resumption    octets `json:"resumption_psk"`
	ExternalPub   octets `json:"external_pub"`
	Exporter      *struct {
		Label           string
		Context, Secret octets
		Length          int
	}
}

func (v *scheduleVector) run() error {
	if len(v.Epochs) == 0 {
		return errors.New("no epochs")
	}
	init := []byte(v.Init)
	for i := range v.Epochs {
		e := &v.Epochs[i]
		context, err := wire.Marshal(&GroupContext{Version: MLS10, CipherSuite: v.Suite, GroupID: v.GroupID,
			Epoch: uint64(i), TreeHash: e.TreeHash, ConfirmedTranscriptHash: e.Confirmed})
		if err != nil {
			return err
		}
		if init, err = e.run(v.Suite, init, context); err != nil {
			return fmt.Errorf("epoch %d: %w", i, err)
		}
	}
	return nil
}

// run derives an epoch and returns the init_secret for the next.
func (e *scheduleEpoch) run(s CipherSuite, init, context []byte) ([]byte, error) {
	var c comparison
	c.equal("group_context", e.Context)(context, nil)
	psk := []byte(e.PSK)
	if len(psk) == 0 { // no PSKs: a string of zeros (RFC 9420 §8.4)
		psk = make([]byte, s.HashSize())
	}
	joiner, err := joinerSecret(s, init, e.Commit, context)
	c.equal("joiner_secret", e.Joiner)(joiner, err)
	member, err := memberSecret(s, joiner, psk)
	c.ok("member_secret", err)
	c.equal("welcome_secret", e.Welcome)(s.DeriveSecret(member, "welcome"))
	got, roots, err := deriveEpoch(s, joiner, psk, context)
	if err != nil {
		return nil, err
	}
	c.equal("encryption_secret", e.Encryption)(roots.encryption, nil)
	c.equal("sender_data_secret", e.SenderData)(got.senderData, nil)
	c.equal("exporter_secret", e.ExporterS)(got.exporter, nil)
	c.equal("epoch_authenticator", e.Authenticator)(got.authenticator, nil)
	c.equal("external_secret", e.External)(got.external, nil)
	c.equal("confirmation_key", e.Confirmation)(got.confirmation, nil)
	c.equal("membership_key", e.Membership)(got.membership, nil)
	c.equal("resumption_psk", e.Resumption)(got.resumption, nil)
	c.equal("init_secret", e.NextInit)(got.init, nil)
	_, pub, err := s.deriveKeyPair(got.external)
	c.equal("external_pub", e.ExternalPub)(pub, err)
	if c.that("no exporter", e.Exporter != nil); e.Exporter != nil {
		c.equal("exporter", e.Exporter.Secret)(got.export(s, e.Exporter.Label, e.Exporter.Context, e.Exporter.Length))
	}
	return got.init, c.err
}

type transcriptVector struct {
	Suite           CipherSuite `json:"cipher_suite"`
	ConfirmationKey octets      `json:"confirmation_key"`
	Content         octets      `json:"authenticated_content"`
	InterimBefore   octets      `json:"interim_transcript_hash_before"`
	Confirmed       octets      `json:"confirmed_transcript_hash_after"`
	InterimAfter    octets      `json:"interim_transcript_hash_after"`
}

func (v *transcriptVector) run() error {
	var c comparison
	a := new(AuthenticatedContent)
	if err := wire.Unmarshal(v.Content, a); err != nil {
		return fmt.Errorf("authenticated_content: %w", err)
	}
	if a.Content.ContentType != ContentTypeCommit {
		return errors.New("authenticated_content is not a commit")
	}
	c.equal("encoding of authenticated_content", v.Content)(wire.Marshal(a))
	confirmed, err := confirmedTranscriptHash(v.Suite, v.InterimBefore, a)
	c.equal("confirmed transcript hash", v.Confirmed)(confirmed, err)
	c.equal("confirmation tag", a.Auth.ConfirmationTag)(v.Suite.MAC(v.ConfirmationKey, confirmed))
	c.equal("interim transcript hash", v.InterimAfter)(interimTranscriptHash(v.Suite, confirmed, a.Auth.ConfirmationTag))
	return c.err
}

type welcomeVector struct {
	Suite      CipherSuite `json:"cipher_suite"`
	InitPriv   octets      `json:"init_priv"`
	KeyPackage octets      `json:"key_package"`
	SignerPub  octets      `json:"signer_pub"`
	Welcome    octets
}

func (v *welcomeVector) run() error {
	kp, err := parseAs(v.KeyPackage, WireFormatKeyPackage)
	if err != nil {
		return fmt.Errorf("key_package: %w", err)
	}
	w, err := parseAs(v.Welcome, WireFormatWelcome)
	if err != nil {
		return fmt.Errorf("welcome: %w", err)
	}
	secrets, err := openGroupSecrets(w.Welcome, kp.KeyPackage, v.InitPriv)
	if err != nil {
		return fmt.Errorf("group secrets: %w", err)
	}
	psk := make([]byte, v.Suite.HashSize())
	gi, err := openGroupInfo(w.Welcome, secrets.JoinerSecret, psk)
	if err != nil {
		return fmt.Errorf("group info: %w", err)
	}
	var c comparison
	c.ok("signature of the group info", gi.VerifySignature(v.SignerPub))
	context, err := wire.Marshal(&gi.GroupContext)
	c.ok("group context", err)
	epoch, _, err := deriveEpoch(v.Suite, secrets.JoinerSecret, psk, context)
	if err != nil {
		return err
	}
	c.equal("confirmation tag", gi.ConfirmationTag)(v.Suite.MAC(epoch.confirmation, gi.GroupContext.ConfirmedTranscriptHash))
	return c.err
}

// parseAs decodes an MLSMessage that must have the given format.
func parseAs(b []byte, format WireFormat) (*Message, error) {
	m, err := ParseMessage(b)
	if err == nil && m.WireFormat != format {
		err = fmt.Errorf("%w: wire format %d, not %d", wire.ErrBadValue, m.WireFormat, format)
	}
	return m, err
}
