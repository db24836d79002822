package mls

import "hubbub/mls/wire"

// KeyPackage offers a client's keys for adding it to groups (RFC 9420 §10).
type KeyPackage struct {
	Version     ProtocolVersion
	CipherSuite CipherSuite
	InitKey     []byte // HPKE public key, used once
	LeafNode    LeafNode
	Extensions  Extensions
	Signature   []byte
}

// KeyPackageRef names a KeyPackage: Hash of it under the label of
// RFC 9420 §5.2.
type KeyPackageRef []byte

// Encode appends the KeyPackage (not wrapped in an MLSMessage).
func (k *KeyPackage) Encode(w *wire.Writer) {
	k.encodeUnsigned(w)
	w.Opaque(k.Signature)
}

func (k *KeyPackage) encodeUnsigned(w *wire.Writer) {
	w.Uint16(uint16(k.Version))
	w.Uint16(uint16(k.CipherSuite))
	w.Opaque(k.InitKey)
	k.LeafNode.Encode(w)
	k.Extensions.Encode(w)
}

// Decode reads a KeyPackage. Any version and cipher suite is accepted.
func (k *KeyPackage) Decode(r *wire.Reader) {
	*k = KeyPackage{
		Version:     ProtocolVersion(r.Uint16()),
		CipherSuite: CipherSuite(r.Uint16()),
		InitKey:     r.Opaque(),
	}
	k.LeafNode.Decode(r)
	k.Extensions.Decode(r)
	k.Signature = r.Opaque()
}

// Ref returns the reference of the KeyPackage. It returns ErrUnsupportedSuite
// if the suite's hash is unknown to this package.
func (k *KeyPackage) Ref() ([]byte, error) {
	b, err := wire.Marshal(k)
	if err != nil {
		return nil, err
	}
	return k.CipherSuite.RefHash("MLS 1.0 KeyPackage Reference", b)
}

// VerifySignature checks the signature of the KeyPackage, not the one of its
// leaf (RFC 9420 §10). It returns ErrBadSignature or ErrUnsupportedSuite.
func (k *KeyPackage) VerifySignature() error {
	var w wire.Writer
	k.encodeUnsigned(&w)
	content, err := w.Bytes()
	if err != nil {
		return err
	}
	return k.CipherSuite.VerifyWithLabel(k.LeafNode.SignatureKey, "KeyPackageTBS", content, k.Signature)
}

// sign sets the signature of the KeyPackage.
func (k *KeyPackage) sign(priv SignaturePrivateKey) error {
	sign, err := k.CipherSuite.signer(priv)
	if err != nil {
		return err
	}
	return k.signBy(sign)
}

// signBy is sign with a key that signs more.
func (k *KeyPackage) signBy(sign labelSigner) error {
	var w wire.Writer
	k.encodeUnsigned(&w)
	content, err := w.Bytes()
	if err != nil {
		return err
	}
	k.Signature, err = sign("KeyPackageTBS", content)
	return err
}
