package mls

import (
	"errors"
	"slices"

	"hubbub/mls/wire"
)

// CredentialBinding is one of the credentials of a multi-credential: its
// holder's statement that the signature key of a leaf is its own
// (draft-ietf-mls-extensions §6.5).
type CredentialBinding struct {
	CipherSuite   CipherSuite // of CredentialKey; any suite, not only the group's
	Credential    Credential
	CredentialKey []byte // signature public key that belongs to Credential
	Signature     []byte
}

// Encode appends the binding.
func (b *CredentialBinding) Encode(w *wire.Writer) {
	b.encodeUnsigned(w)
	w.Opaque(b.Signature)
}

func (b *CredentialBinding) encodeUnsigned(w *wire.Writer) {
	w.Uint16(uint16(b.CipherSuite))
	b.Credential.Encode(w)
	w.Opaque(b.CredentialKey)
}

// Decode reads a binding.
func (b *CredentialBinding) Decode(r *wire.Reader) {
	*b = CredentialBinding{CipherSuite: CipherSuite(r.Uint16())}
	b.Credential.Decode(r)
	b.CredentialKey = r.Opaque()
	b.Signature = r.Opaque()
}

// tbs is CredentialBindingTBS for a leaf's signature key.
func (b *CredentialBinding) tbs(signatureKey []byte) ([]byte, error) {
	var w wire.Writer
	b.encodeUnsigned(&w)
	w.Opaque(signatureKey)
	return w.Bytes()
}

// NewCredentialBinding states with the key of a credential that signatureKey,
// of a leaf to be, belongs to the same holder (draft-ietf-mls-extensions §6.5).
// It returns ErrBadKey or ErrUnsupportedSuite if key is of no use.
func NewCredentialBinding(c Credential, key *SignatureKey, signatureKey []byte) (*CredentialBinding, error) {
	b := &CredentialBinding{CipherSuite: key.Suite, Credential: c, CredentialKey: key.Public}
	content, err := b.tbs(signatureKey)
	if err != nil {
		return nil, err
	}
	b.Signature, err = key.Suite.SignWithLabel(key.Private, "CredentialBindingTBS", content)
	return b, err
}

// VerifySignature checks the holder's statement about a leaf's signature key
// (draft-ietf-mls-extensions §6.5). It returns ErrBadSignature, ErrBadKey or
// ErrUnsupportedSuite.
func (b *CredentialBinding) VerifySignature(signatureKey []byte) error {
	content, err := b.tbs(signatureKey)
	if err != nil {
		return err
	}
	return b.CipherSuite.VerifyWithLabel(b.CredentialKey, "CredentialBindingTBS", content, b.Signature)
}

// MultiCredential returns a credential of type multi, all of whose bindings
// every member must understand, or, if weak, of type weak-multi, of which each
// member must understand one (draft-ietf-mls-extensions §6.5).
func MultiCredential(weak bool, bindings ...CredentialBinding) Credential {
	c := Credential{Type: CredentialTypeMulti}
	if weak {
		c.Type = CredentialTypeWeakMulti
	}
	var w wire.Writer
	for i := range bindings {
		bindings[i].Encode(&w)
	}
	c.Raw, _ = w.Bytes()
	return c
}

// Bindings returns the parts of a credential of type multi or weak-multi, nil
// for another type (draft-ietf-mls-extensions §6.5). Errors are those of
// package wire. The slices alias the credential.
func (c *Credential) Bindings() (list []CredentialBinding, err error) {
	if c.Type != CredentialTypeMulti && c.Type != CredentialTypeWeakMulti {
		return nil, nil
	}
	for r := wire.NewReader(c.Raw); !r.Empty(); err = r.Err() {
		var b CredentialBinding
		b.Decode(r)
		list = append(list, b)
	}
	return list, err
}

const multiClause = "draft-ietf-mls-extensions §6.5"

// maxBindings bounds the signatures that one leaf can make others verify.
const maxBindings = 8

var errNestedCredential = errors.New("binding of a multi-credential within a multi-credential")

// checkMulti verifies the bindings of a leaf with a multi-credential that this
// client supports: all of them for type multi.
func (c *Config) checkMulti(l *LeafNode) error {
	if c == nil || !c.MultiCredentials {
		return nil
	}
	list, err := l.Credential.Bindings()
	if err != nil {
		return &ValidationError{Clause: multiClause, Reason: "malformed multi-credential", Err: err}
	}
	if len(list) == 0 && isMulti(l.Credential.Type) || len(list) > maxBindings {
		return invalid(multiClause, "multi-credential with %d bindings", len(list))
	}
	for i := range list {
		b := &list[i]
		if isMulti(b.Credential.Type) {
			return &ValidationError{Clause: multiClause, Reason: "multi-credential", Err: errNestedCredential}
		}
		known := b.Credential.Type == CredentialTypeBasic || b.Credential.Type == CredentialTypeX509
		if l.Credential.Type == CredentialTypeWeakMulti && (!known || !b.CipherSuite.Supported()) {
			continue
		}
		if err := c.checkBinding(b, l.SignatureKey); err != nil {
			return &ValidationError{Clause: multiClause, Reason: "binding of a multi-credential", Err: err}
		}
	}
	return nil
}

func isMulti(t CredentialType) bool {
	return t == CredentialTypeMulti || t == CredentialTypeWeakMulti
}

func (c *Config) checkBinding(b *CredentialBinding, signatureKey []byte) error {
	if err := b.VerifySignature(signatureKey); err != nil {
		return err
	}
	if err := b.Credential.checkKey(b.CipherSuite, b.CredentialKey); err != nil {
		return err
	}
	return c.validate(&b.Credential, b.CredentialKey)
}

// checkMultiSupport verifies that the members of a tree understand each other's
// multi-credentials. It visits all leaves, if some have such a credential.
func (p *PublicGroup) checkMultiSupport(t *tree, used []CredentialType) error {
	if p.config == nil || !p.config.MultiCredentials || !slices.ContainsFunc(used, isMulti) {
		return nil
	}
	type binding struct {
		suite CipherSuite
		kind  CredentialType
	}
	understands := func(l *LeafNode, b binding) bool {
		return slices.Contains(l.Capabilities.Credentials, b.kind) &&
			(b.suite == p.Suite() || slices.Contains(l.Capabilities.CipherSuites, b.suite))
	}
	// Like clients have like lists: each distinct list is looked at once.
	lists := map[string][]binding{}
	weak := map[string]bool{}
	var err error
	t.eachLeaf(func(_ LeafIndex, l *LeafNode) bool {
		if !isMulti(l.Credential.Type) {
			return true
		}
		parts, e := l.Credential.Bindings()
		if err = e; err != nil {
			return false
		}
		var w wire.Writer
		w.Uint16(uint16(l.Credential.Type))
		list := make([]binding, len(parts))
		for i := range parts {
			list[i] = binding{parts[i].CipherSuite, parts[i].Credential.Type}
			w.Uint16(uint16(list[i].suite))
			w.Uint16(uint16(list[i].kind))
		}
		key, _ := w.Bytes()
		lists[string(key)], weak[string(key)] = list, l.Credential.Type == CredentialTypeWeakMulti
		return true
	})
	if err != nil {
		return &ValidationError{Clause: multiClause, Reason: "malformed multi-credential", Err: err}
	}
	if len(lists) > maxBindings {
		return invalid(multiClause, "too many kinds of multi-credentials in one group")
	}
	t.eachLeaf(func(i LeafIndex, l *LeafNode) bool {
		for key, list := range lists {
			known := 0
			for _, b := range list {
				if understands(l, b) {
					known++
				}
			}
			if known == 0 || known < len(list) && !weak[key] {
				err = invalid(multiClause, "member %d does not support another's multi-credential", i)
				return false
			}
		}
		return true
	})
	return err
}
