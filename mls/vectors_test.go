package mls

import (
	"bytes"
	"testing"

	"hubbub/mls/wire"
)

// Official vectors of the parts below the group. Each test asserts how many
// cases it ran, so that a reader that finds nothing cannot pass.

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func wantBytes(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Fatalf("%s = %x, want %x", what, got, want)
	}
}

// counter counts the cases run and those of suites not implemented.
type counter struct{ run, skipped int }

func (c *counter) supported(s CipherSuite) bool {
	if s.Supported() {
		c.run++
		return true
	}
	c.skipped++
	return false
}

func (c *counter) check(t *testing.T, run, skipped int) {
	t.Helper()
	if c.run != run || c.skipped != skipped {
		t.Fatalf("ran %d and skipped %d cases, want %d and %d", c.run, c.skipped, run, skipped)
	}
}

func TestVectorsCryptoBasics(t *testing.T) {
	type labelled struct {
		Secret, Context, Out octets
		Label                string
		Length               int
		Generation           uint32
	}
	var cases []struct {
		Suite   CipherSuite `json:"cipher_suite"`
		RefHash struct {
			Label      string
			Value, Out octets
		} `json:"ref_hash"`
		Expand labelled `json:"expand_with_label"`
		Derive labelled `json:"derive_secret"`
		Tree   labelled `json:"derive_tree_secret"`
		Sign   struct {
			Priv, Pub, Content, Signature octets
			Label                         string
		} `json:"sign_with_label"`
		Encrypt struct {
			Priv, Pub, Context, Plaintext, Ciphertext octets
			KEMOutput                                 octets `json:"kem_output"`
			Label                                     string
		} `json:"encrypt_with_label"`
	}
	readTreeVectors(t, "crypto-basics.json", &cases)
	var n counter
	for _, c := range cases {
		if !n.supported(c.Suite) {
			continue
		}
		s, ok := c.Suite, must[[]byte](t)
		wantBytes(t, "RefHash", ok(s.RefHash(c.RefHash.Label, c.RefHash.Value)), c.RefHash.Out)
		wantBytes(t, "ExpandWithLabel", ok(s.ExpandWithLabel(c.Expand.Secret, c.Expand.Label, c.Expand.Context, c.Expand.Length)), c.Expand.Out)
		wantBytes(t, "DeriveSecret", ok(s.DeriveSecret(c.Derive.Secret, c.Derive.Label)), c.Derive.Out)
		wantBytes(t, "DeriveTreeSecret", ok(s.deriveTreeSecret(c.Tree.Secret, c.Tree.Label, c.Tree.Generation, c.Tree.Length)), c.Tree.Out)
		if err := s.VerifyWithLabel(c.Sign.Pub, c.Sign.Label, c.Sign.Content, c.Sign.Signature); err != nil {
			t.Fatalf("suite %d: %v", s, err)
		}
		sig := ok(s.SignWithLabel(SignaturePrivateKey(c.Sign.Priv), c.Sign.Label, c.Sign.Content))
		if err := s.VerifyWithLabel(c.Sign.Pub, c.Sign.Label, c.Sign.Content, sig); err != nil {
			t.Fatalf("suite %d: own signature: %v", s, err)
		}
		if err := s.VerifyWithLabel(c.Sign.Pub, "other", c.Sign.Content, sig); err == nil {
			t.Fatalf("suite %d: signature verifies under another label", s)
		}
		ct := HPKECiphertext{KEMOutput: c.Encrypt.KEMOutput, Ciphertext: c.Encrypt.Ciphertext}
		wantBytes(t, "DecryptWithLabel", ok(s.DecryptWithLabel(c.Encrypt.Priv, c.Encrypt.Label, c.Encrypt.Context, ct)), c.Encrypt.Plaintext)
		ct = must[HPKECiphertext](t)(s.EncryptWithLabel(c.Encrypt.Pub, c.Encrypt.Label, c.Encrypt.Context, c.Encrypt.Plaintext))
		wantBytes(t, "own ciphertext", ok(s.DecryptWithLabel(c.Encrypt.Priv, c.Encrypt.Label, c.Encrypt.Context, ct)), c.Encrypt.Plaintext)
	}
	n.check(t, 7, 0)
}

func TestVectorsDeserialization(t *testing.T) {
	var cases []struct {
		Header octets `json:"vlbytes_header"`
		Length int
	}
	readTreeVectors(t, "deserialization.json", &cases)
	for _, c := range cases {
		if c.Length < 1<<16 {
			v := append(bytes.Clone(c.Header), make([]byte, c.Length)...)
			r := wire.NewReader(v)
			if got := r.Opaque(); r.Done() != nil || len(got) != c.Length {
				t.Fatalf("%x: %d octets, %v", c.Header, len(got), r.Err())
			}
			var w wire.Writer
			w.Opaque(v[len(c.Header):])
			wantBytes(t, "encoding", must[[]byte](t)(w.Bytes()), v)
			continue
		}
		r := wire.NewReader(c.Header)
		if r.Opaque(); r.Err() == nil {
			t.Fatalf("%x: absent content accepted", c.Header)
		}
	}
	if len(cases) != 14 {
		t.Fatalf("ran %d cases, want 14", len(cases))
	}
}

func TestVectorsTreeMath(t *testing.T) {
	var cases []struct {
		Leaves                       uint32 `json:"n_leaves"`
		Nodes                        uint32 `json:"n_nodes"`
		Root                         NodeIndex
		Left, Right, Parent, Sibling []*NodeIndex
	}
	readTreeVectors(t, "tree-math.json", &cases)
	for _, c := range cases {
		if nodeWidth(c.Leaves) != c.Nodes || rootOf(c.Leaves) != c.Root {
			t.Fatalf("%d leaves: %d nodes, root %d", c.Leaves, nodeWidth(c.Leaves), rootOf(c.Leaves))
		}
		check := func(what string, x int, want *NodeIndex) func(NodeIndex, bool) {
			return func(got NodeIndex, ok bool) {
				t.Helper()
				if ok != (want != nil) || ok && got != *want {
					t.Fatalf("%s of %d among %d leaves = %d, %v", what, x, c.Leaves, got, ok)
				}
			}
		}
		for i := range c.Nodes {
			x := NodeIndex(i)
			check("left", int(i), c.Left[i])(x.left())
			check("right", int(i), c.Right[i])(x.right())
			check("parent", int(i), c.Parent[i])(x.parent(c.Leaves))
			check("sibling", int(i), c.Sibling[i])(x.sibling(c.Leaves))
		}
	}
	if len(cases) != 10 {
		t.Fatalf("ran %d cases, want 10", len(cases))
	}
}

func TestVectorsSecretTree(t *testing.T) {
	var cases []struct {
		Suite      CipherSuite `json:"cipher_suite"`
		Encryption octets      `json:"encryption_secret"`
		SenderData struct {
			Secret                 octets `json:"sender_data_secret"`
			Ciphertext, Key, Nonce octets
		} `json:"sender_data"`
		Leaves [][]struct {
			Generation uint32
			AppKey     octets `json:"application_key"`
			AppNonce   octets `json:"application_nonce"`
			HSKey      octets `json:"handshake_key"`
			HSNonce    octets `json:"handshake_nonce"`
		}
	}
	readTreeVectors(t, "secret-tree.json", &cases)
	var n counter
	for _, c := range cases {
		if !n.supported(c.Suite) {
			continue
		}
		key, nonce, err := senderDataKey(c.Suite, c.SenderData.Secret, c.SenderData.Ciphertext)
		if err != nil {
			t.Fatal(err)
		}
		wantBytes(t, "sender data key", key, c.SenderData.Key)
		wantBytes(t, "sender data nonce", nonce, c.SenderData.Nonce)
		tree := newSecretTree(c.Suite, c.Encryption, uint32(len(c.Leaves)))
		for leaf, generations := range c.Leaves {
			for _, g := range generations {
				for _, kind := range []struct {
					content    ContentType
					key, nonce octets
				}{{ContentTypeApplication, g.AppKey, g.AppNonce}, {ContentTypeCommit, g.HSKey, g.HSNonce}} {
					var k messageKey
					tree, k, err = tree.take(LeafIndex(leaf), kind.content, g.Generation, 1000, 200)
					if err != nil {
						t.Fatal(err)
					}
					wantBytes(t, "key", k.key, kind.key)
					wantBytes(t, "nonce", k.nonce, kind.nonce)
				}
			}
			tree = restored(t, tree)
		}
	}
	n.check(t, 21, 0)
}

// restored stores and reloads a secret tree.
func restored(t *testing.T, tree *secretTree) *secretTree {
	t.Helper()
	next := new(secretTree)
	if err := wire.Unmarshal(must[[]byte](t)(wire.Marshal(tree)), next); err != nil {
		t.Fatal(err)
	}
	return next
}

func TestVectorsKeySchedule(t *testing.T) {
	var cases []struct {
		Suite   CipherSuite `json:"cipher_suite"`
		GroupID octets      `json:"group_id"`
		Init    octets      `json:"initial_init_secret"`
		Epochs  []struct {
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
			Exporter      struct {
				Label           string
				Context, Secret octets
				Length          int
			}
		}
	}
	readTreeVectors(t, "key-schedule.json", &cases)
	var n counter
	for _, c := range cases {
		if !n.supported(c.Suite) {
			continue
		}
		s, ok := c.Suite, must[[]byte](t)
		init := []byte(c.Init)
		for i, e := range c.Epochs {
			context := ok(wire.Marshal(&GroupContext{Version: MLS10, CipherSuite: s, GroupID: c.GroupID,
				Epoch: uint64(i), TreeHash: e.TreeHash, ConfirmedTranscriptHash: e.Confirmed}))
			wantBytes(t, "group context", context, e.Context)
			joiner := ok(joinerSecret(s, init, e.Commit, context))
			wantBytes(t, "joiner_secret", joiner, e.Joiner)
			got, roots, err := deriveEpoch(s, joiner, e.PSK, context)
			if err != nil {
				t.Fatal(err)
			}
			wantBytes(t, "welcome_secret", ok(s.DeriveSecret(ok(memberSecret(s, joiner, e.PSK)), "welcome")), e.Welcome)
			wantBytes(t, "encryption_secret", roots.encryption, e.Encryption)
			wantBytes(t, "sender_data_secret", got.senderData, e.SenderData)
			wantBytes(t, "exporter_secret", got.exporter, e.ExporterS)
			wantBytes(t, "epoch_authenticator", got.authenticator, e.Authenticator)
			wantBytes(t, "external_secret", got.external, e.External)
			wantBytes(t, "confirmation_key", got.confirmation, e.Confirmation)
			wantBytes(t, "membership_key", got.membership, e.Membership)
			wantBytes(t, "resumption_psk", got.resumption, e.Resumption)
			wantBytes(t, "init_secret", got.init, e.NextInit)
			_, pub, err := s.deriveKeyPair(got.external)
			if err != nil {
				t.Fatal(err)
			}
			wantBytes(t, "external_pub", pub, e.ExternalPub)
			wantBytes(t, "exported", ok(got.export(s, e.Exporter.Label, e.Exporter.Context, e.Exporter.Length)), e.Exporter.Secret)
			init = got.init
		}
	}
	n.check(t, 7, 0)
}

func TestVectorsPSKSecret(t *testing.T) {
	var cases []struct {
		Suite CipherSuite `json:"cipher_suite"`
		PSKs  []struct {
			ID    octets `json:"psk_id"`
			PSK   octets
			Nonce octets `json:"psk_nonce"`
		}
		Secret octets `json:"psk_secret"`
	}
	readTreeVectors(t, "psk_secret.json", &cases)
	var n counter
	for _, c := range cases {
		if !n.supported(c.Suite) {
			continue
		}
		var psks []PSK
		for _, p := range c.PSKs {
			psks = append(psks, PSK{PreSharedKeyID{Type: PSKTypeExternal, ID: p.ID, Nonce: p.Nonce}, []byte(p.PSK)})
		}
		wantBytes(t, "psk_secret", must[[]byte](t)(pskSecret(c.Suite, psks)), c.Secret)
	}
	n.check(t, 77, 0)
}

func TestVectorsTranscriptHashes(t *testing.T) {
	var cases []struct {
		Suite           CipherSuite `json:"cipher_suite"`
		ConfirmationKey octets      `json:"confirmation_key"`
		Content         octets      `json:"authenticated_content"`
		InterimBefore   octets      `json:"interim_transcript_hash_before"`
		Confirmed       octets      `json:"confirmed_transcript_hash_after"`
		InterimAfter    octets      `json:"interim_transcript_hash_after"`
	}
	readTreeVectors(t, "transcript-hashes.json", &cases)
	var n counter
	for _, c := range cases {
		if !n.supported(c.Suite) {
			continue
		}
		ok := must[[]byte](t)
		a := new(AuthenticatedContent)
		if err := wire.Unmarshal(c.Content, a); err != nil {
			t.Fatal(err)
		}
		confirmed := ok(confirmedTranscriptHash(c.Suite, c.InterimBefore, a))
		wantBytes(t, "confirmed", confirmed, c.Confirmed)
		wantBytes(t, "confirmation tag", a.Auth.ConfirmationTag, ok(c.Suite.MAC(c.ConfirmationKey, confirmed)))
		wantBytes(t, "interim", ok(interimTranscriptHash(c.Suite, confirmed, a.Auth.ConfirmationTag)), c.InterimAfter)
	}
	n.check(t, 7, 0)
}

func TestVectorsWelcome(t *testing.T) {
	var cases []struct {
		Suite      CipherSuite `json:"cipher_suite"`
		InitPriv   octets      `json:"init_priv"`
		KeyPackage octets      `json:"key_package"`
		SignerPub  octets      `json:"signer_pub"`
		Welcome    octets
	}
	readTreeVectors(t, "welcome.json", &cases)
	var n counter
	for _, c := range cases {
		if !n.supported(c.Suite) {
			continue
		}
		kp := must[*Message](t)(ParseMessage(c.KeyPackage)).KeyPackage
		w := must[*Message](t)(ParseMessage(c.Welcome)).Welcome
		secrets, err := openGroupSecrets(w, kp, c.InitPriv)
		if err != nil {
			t.Fatal(err)
		}
		psk := make([]byte, c.Suite.HashSize())
		gi, err := openGroupInfo(w, secrets.JoinerSecret, psk)
		if err != nil {
			t.Fatal(err)
		}
		if err := gi.VerifySignature(c.SignerPub); err != nil {
			t.Fatal(err)
		}
		context := must[[]byte](t)(wire.Marshal(&gi.GroupContext))
		epoch, _, err := deriveEpoch(c.Suite, secrets.JoinerSecret, psk, context)
		if err != nil {
			t.Fatal(err)
		}
		tag := must[[]byte](t)(c.Suite.MAC(epoch.confirmation, gi.GroupContext.ConfirmedTranscriptHash))
		wantBytes(t, "confirmation tag", gi.ConfirmationTag, tag)
	}
	n.check(t, 7, 0)
}
