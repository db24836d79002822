package mls

import "hubbub/mls/wire"

// epochSecrets are the secrets of one epoch (RFC 9420 §8, Table 4). The
// epoch_secret and encryption_secret they come from are not kept.
type epochSecrets struct {
	senderData    []byte
	exporter      []byte
	external      []byte
	confirmation  []byte
	membership    []byte
	resumption    []byte
	authenticator []byte
	init          []byte // enters the next epoch
}

// treeRoots are the secrets that become roots of trees and are not kept.
type treeRoots struct {
	encryption []byte // of the secret tree
	export     []byte // of the export tree
}

// joinerSecret mixes the previous epoch with the commit (RFC 9420 §8).
func joinerSecret(suite CipherSuite, initSecret, commitSecret, context []byte) ([]byte, error) {
	s, err := suite.extract(initSecret, commitSecret)
	if err != nil {
		return nil, err
	}
	return suite.ExpandWithLabel(s, "joiner", context, suite.HashSize())
}

// memberSecret is the value between joiner_secret and epoch_secret.
func memberSecret(suite CipherSuite, joiner, psk []byte) ([]byte, error) {
	return suite.extract(joiner, psk)
}

// welcomeKey derives the AEAD key and nonce of a Welcome's group info
// (RFC 9420 §12.4.3.1).
func welcomeKey(suite CipherSuite, joiner, psk []byte) (key, nonce []byte, err error) {
	a, err := suite.algorithms()
	if err != nil {
		return nil, nil, err
	}
	member, err := memberSecret(suite, joiner, psk)
	if err != nil {
		return nil, nil, err
	}
	welcome, err := suite.DeriveSecret(member, "welcome")
	if err != nil {
		return nil, nil, err
	}
	if key, err = suite.ExpandWithLabel(welcome, "key", nil, a.keySize); err != nil {
		return nil, nil, err
	}
	nonce, err = suite.ExpandWithLabel(welcome, "nonce", nil, nonceSize)
	return key, nonce, err
}

// deriveEpoch derives the secrets of an epoch.
func deriveEpoch(suite CipherSuite, joiner, psk, context []byte) (*epochSecrets, *treeRoots, error) {
	member, err := memberSecret(suite, joiner, psk)
	if err != nil {
		return nil, nil, err
	}
	epoch, err := suite.ExpandWithLabel(member, "epoch", context, suite.HashSize())
	if err != nil {
		return nil, nil, err
	}
	return expandEpoch(suite, epoch)
}

// expandEpoch derives what hangs below epoch_secret.
func expandEpoch(suite CipherSuite, epoch []byte) (*epochSecrets, *treeRoots, error) {
	e, roots := new(epochSecrets), new(treeRoots)
	for _, d := range []struct {
		label string
		out   *[]byte
	}{
		{"sender data", &e.senderData}, {"encryption", &roots.encryption}, {"exporter", &e.exporter},
		{"external", &e.external}, {"confirm", &e.confirmation}, {"membership", &e.membership},
		{"resumption", &e.resumption}, {"authentication", &e.authenticator}, {"init", &e.init},
		{"application_export", &roots.export}, // draft-ietf-mls-extensions §4.4
	} {
		var err error
		if *d.out, err = suite.DeriveSecret(epoch, d.label); err != nil {
			return nil, nil, err
		}
	}
	return e, roots, nil
}

// export is the MLS exporter (RFC 9420 §8.5).
func (e *epochSecrets) export(suite CipherSuite, label string, context []byte, length int) ([]byte, error) {
	secret, err := suite.DeriveSecret(e.exporter, label)
	if err != nil {
		return nil, err
	}
	hash, err := suite.Hash(context)
	if err != nil {
		return nil, err
	}
	return suite.ExpandWithLabel(secret, "exported", hash, length)
}

// fields lists the secrets in their stored order.
func (e *epochSecrets) fields() []*[]byte {
	return []*[]byte{&e.senderData, &e.exporter, &e.external, &e.confirmation,
		&e.membership, &e.resumption, &e.authenticator, &e.init}
}

// Encode appends the secrets for storage.
func (e *epochSecrets) Encode(w *wire.Writer) {
	for _, f := range e.fields() {
		w.Opaque(*f)
	}
}

// Decode reads stored secrets.
func (e *epochSecrets) Decode(r *wire.Reader) {
	for _, f := range e.fields() {
		*f = r.Opaque()
	}
}

// externalInitLabel is the HPKE exporter context of external joins.
const externalInitLabel = "MLS 1.0 external init secret"

// externalInitSend makes an init secret for the holders of external_pub
// (RFC 9420 §8.3).
func externalInitSend(suite CipherSuite, externalPub []byte) (kemOutput, initSecret []byte, err error) {
	a, err := suite.algorithms()
	if err != nil {
		return nil, nil, err
	}
	return a.hpke.exportTo(externalPub, externalInitLabel, suite.HashSize())
}

// externalInitReceive recovers the init secret (RFC 9420 §8.3).
func externalInitReceive(suite CipherSuite, externalSecret, kemOutput []byte) ([]byte, error) {
	a, err := suite.algorithms()
	if err != nil {
		return nil, err
	}
	priv, _, err := a.hpke.derive(externalSecret)
	if err != nil {
		return nil, ErrBadKey
	}
	return a.hpke.exportFrom(priv, kemOutput, externalInitLabel, suite.HashSize())
}

// PSK is a pre-shared key with its name. Only the naming fields of ID count,
// not its nonce.
type PSK struct {
	ID     PreSharedKeyID
	Secret []byte
}

// pskSecret chains pre-shared keys in order (RFC 9420 §8.4); without any it is
// all zero.
func pskSecret(suite CipherSuite, psks []PSK) ([]byte, error) {
	zero := make([]byte, suite.HashSize())
	secret := zero
	if len(psks) > 1<<16-1 {
		return nil, invalid("RFC 9420 §8.4", "too many pre-shared keys")
	}
	for i := range psks {
		extracted, err := suite.extract(zero, psks[i].Secret)
		if err != nil {
			return nil, err
		}
		var label wire.Writer
		psks[i].ID.Encode(&label)
		label.Uint16(uint16(i))
		label.Uint16(uint16(len(psks)))
		context, err := label.Bytes()
		if err != nil {
			return nil, err
		}
		input, err := suite.ExpandWithLabel(extracted, "derived psk", context, suite.HashSize())
		if err != nil {
			return nil, err
		}
		if secret, err = suite.extract(input, secret); err != nil {
			return nil, err
		}
	}
	return secret, nil
}

// confirmedTranscriptHash extends the interim hash by a commit up to its
// signature (RFC 9420 §8.2).
func confirmedTranscriptHash(suite CipherSuite, interim []byte, a *AuthenticatedContent) ([]byte, error) {
	var w wire.Writer
	w.Raw(interim)
	w.Uint16(uint16(a.WireFormat))
	a.Content.Encode(&w)
	w.Opaque(a.Auth.Signature)
	b, err := w.Bytes()
	if err != nil {
		return nil, err
	}
	return suite.Hash(b)
}

// interimTranscriptHash extends the confirmed hash by the commit's
// confirmation tag (RFC 9420 §8.2).
func interimTranscriptHash(suite CipherSuite, confirmed, confirmationTag []byte) ([]byte, error) {
	var w wire.Writer
	w.Raw(confirmed)
	w.Opaque(confirmationTag)
	b, err := w.Bytes()
	if err != nil {
		return nil, err
	}
	return suite.Hash(b)
}
