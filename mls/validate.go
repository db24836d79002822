package mls

import (
	"bytes"
	"slices"
	"time"
)

// Clauses that several rules cite.
const (
	leafClause       = "RFC 9420 §7.3"
	keyPackageClause = "RFC 9420 §10.1"
	extensionClause  = "RFC 9420 §13.4"
	selfRemoveClause = "draft-ietf-mls-extensions §6.3"
)

// leafRules are what a leaf must satisfy to be in a group whose GroupContext
// holds the given extensions.
type leafRules struct {
	group      *PublicGroup
	extensions Extensions
	required   *RequiredCapabilities // nil if there are none
	formats    WireFormats           // required
	components requiredComponents
}

func (p *PublicGroup) leafRules(extensions Extensions) (*leafRules, error) {
	r := &leafRules{group: p, extensions: extensions}
	var err error
	if r.required, err = extensions.RequiredCapabilities(); err != nil {
		return nil, malformed(ExtensionTypeRequiredCapabilities, err)
	}
	if r.formats, err = extensions.WireFormats(ExtensionTypeRequiredWireFormats); err != nil {
		return nil, malformed(ExtensionTypeRequiredWireFormats, err)
	}
	d, err := extensions.Dictionary()
	if err != nil {
		return nil, malformed(ExtensionTypeAppDataDictionary, err)
	}
	r.components, err = parseRequiredComponents(d)
	return r, err
}

func malformed(t ExtensionType, err error) error {
	return &ValidationError{Clause: extensionClause, Reason: "malformed extension " + t.String(), Err: err}
}

// checkSigned is check together with the leaf's signature.
func (r *leafRules) checkSigned(l *LeafNode, i LeafIndex) error {
	if err := r.check(l); err != nil {
		return err
	}
	if err := l.VerifySignature(r.group.Suite(), r.group.GroupID(), i); err != nil {
		return &ValidationError{Clause: leafClause, Reason: "leaf signature", Err: err}
	}
	return nil
}

// check verifies everything about a leaf that does not depend on the other
// leaves: that it can serve in the group and describes itself consistently.
// That the leaf lists the group's cipher suite is not asked for: RFC 9420 §7.3
// does not, deployed stacks omit suite 7, and keys and signature prove it.
func (r *leafRules) check(l *LeafNode) error {
	suite, c := r.group.Suite(), &l.Capabilities
	switch {
	case !slices.Contains(c.Versions, r.group.context.Version):
		return invalid(leafClause, "leaf does not support the protocol version")
	case !slices.Contains(c.Credentials, l.Credential.Type):
		return invalid(leafClause, "leaf does not list its own credential type")
	}
	if err := checkUniqueExtensions(l.Extensions); err != nil {
		return err
	}
	if e, ok := firstUnsupported(l.Extensions, c.Extensions); ok {
		return invalid(leafClause, "leaf does not list its own extension %v", e)
	}
	if e, ok := firstUnsupported(r.extensions, c.Extensions); ok {
		return invalid(extensionClause, "leaf does not support extension %v of the group", e)
	}
	if err := r.checkRequired(c); err != nil {
		return err
	}
	if err := suite.checkHPKEPublicKey(l.EncryptionKey); err != nil {
		return &ValidationError{Clause: leafClause, Reason: "leaf encryption key", Err: err}
	}
	if err := r.components.check(l); err != nil {
		return err
	}
	if err := r.checkFormats(l); err != nil {
		return err
	}
	if err := l.Credential.checkKey(suite, l.SignatureKey); err != nil {
		return err
	}
	if err := r.group.config.checkMulti(l); err != nil {
		return err
	}
	if err := r.group.config.validate(&l.Credential, l.SignatureKey); err != nil {
		return &ValidationError{Clause: "RFC 9420 §5.3.1", Reason: "credential refused", Err: err}
	}
	return nil
}

// checkRequired compares a leaf's capabilities with required_capabilities
// (RFC 9420 §11.1).
func (r *leafRules) checkRequired(c *Capabilities) error {
	if r.required == nil {
		return nil
	}
	const clause = "RFC 9420 §11.1"
	extensions, proposals, credentials := newSet(c.Extensions), newSet(c.Proposals), newSet(c.Credentials)
	for _, e := range r.required.Extensions {
		if !e.IsDefault() && !extensions.has(e) {
			return invalid(clause, "leaf does not support required extension %v", e)
		}
	}
	for _, p := range r.required.Proposals {
		if !p.IsDefault() && !proposals.has(p) {
			return invalid(clause, "leaf does not support required proposal %v", p)
		}
	}
	for _, t := range r.required.Credentials {
		if !credentials.has(t) {
			return invalid(clause, "leaf does not support required credential %v", t)
		}
	}
	return nil
}

// firstUnsupported finds an extension that is neither default nor listed.
func firstUnsupported(x Extensions, supported []ExtensionType) (ExtensionType, bool) {
	listed := newSet(supported)
	for i := range x {
		if t := x[i].Type; !t.IsDefault() && !listed.has(t) {
			return t, true
		}
	}
	return 0, false
}

// smallSet looks elements up in a list: one after the other while the list is
// as short as lists of honest senders are, by a map when it is long.
type smallSet[T comparable] struct {
	list  []T
	index map[T]bool
}

func newSet[T comparable](list []T) smallSet[T] {
	s := smallSet[T]{list: list}
	if len(list) > 32 {
		s.list, s.index = nil, make(map[T]bool, len(list))
		for _, v := range list {
			s.index[v] = true
		}
	}
	return s
}

func (s smallSet[T]) has(v T) bool { return s.index[v] || slices.Contains(s.list, v) }

// checkUniqueExtensions verifies that a list holds each type once
// (RFC 9420 §13.4).
func checkUniqueExtensions(x Extensions) error {
	types := make([]ExtensionType, len(x))
	for i := range x {
		types[i] = x[i].Type
	}
	slices.Sort(types)
	for i := 1; i < len(types); i++ {
		if types[i] == types[i-1] {
			return invalid(extensionClause, "extension %v occurs twice", types[i])
		}
	}
	return nil
}

// checkKeyPackage verifies a KeyPackage for use in this group
// (RFC 9420 §10.1). verified says that its signatures were checked before.
func (r *leafRules) checkKeyPackage(k *KeyPackage, verified bool) error {
	l := &k.LeafNode
	switch {
	case k.Version != r.group.context.Version || k.CipherSuite != r.group.Suite():
		return invalid(keyPackageClause, "key package is for another version or cipher suite")
	case l.Source != LeafNodeSourceKeyPackage:
		return invalid(leafClause, "leaf of the key package has another source")
	case bytes.Equal(k.InitKey, l.EncryptionKey):
		return invalid(keyPackageClause, "init key equals the encryption key")
	}
	if err := checkUniqueExtensions(k.Extensions); err != nil {
		return err
	}
	if err := r.group.Suite().checkHPKEPublicKey(k.InitKey); err != nil {
		return &ValidationError{Clause: keyPackageClause, Reason: "init key", Err: err}
	}
	if err := r.group.config.checkLifetime(&l.Lifetime); err != nil {
		return err
	}
	if verified {
		return r.check(l)
	}
	if err := k.VerifySignature(); err != nil {
		return &ValidationError{Clause: keyPackageClause, Reason: "key package signature", Err: err}
	}
	return r.checkSigned(l, 0)
}

// checkLifetime verifies that a lifetime covers the present and is not longer
// than the application allows (RFC 9420 §7.2).
func (c *Config) checkLifetime(l *Lifetime) error {
	now := uint64(max(c.now().Unix(), 0))
	if now < l.NotBefore || now > l.NotAfter {
		return invalid(leafClause, "key package is not valid at this time")
	}
	if limit, ok := c.maxLifetime(); ok && l.NotAfter-l.NotBefore > uint64(limit/time.Second) {
		return invalid("RFC 9420 §7.2", "lifetime of the key package is too long")
	}
	return nil
}

// checkReplacement verifies a leaf that takes the place of old: an Update, a
// path leaf, or an external joiner's leaf that replaces its former one
// (RFC 9420 §7.3).
func (p *PublicGroup) checkReplacement(old, l *LeafNode) error {
	if bytes.Equal(old.EncryptionKey, l.EncryptionKey) {
		return invalid(leafClause, "encryption key is not new")
	}
	if old.Credential.Equal(&l.Credential) {
		return nil
	}
	if err := p.config.successor(&old.Credential, &l.Credential); err != nil {
		return &ValidationError{Clause: "RFC 9420 §5.3.1", Reason: "credential is no successor", Err: err}
	}
	return nil
}

// checkContext verifies that all leaves of a tree support a GroupContext with
// the given extensions, and each other's credentials (RFC 9420 §7.3, §11.1 and
// §13.4). Thanks to the summaries in the tree it does not visit the leaves.
func (p *PublicGroup) checkContext(t *tree, extensions Extensions) error {
	if err := checkUniqueExtensions(extensions); err != nil {
		return err
	}
	s := t.root.capabilities()
	if s == nil {
		return invalid("RFC 9420 §12.2", "no member is left")
	}
	if e, ok := firstUnsupported(extensions, s.extensions); ok {
		return invalid(extensionClause, "extension %v is not supported by all members", e)
	}
	r, err := p.leafRules(extensions)
	if err != nil {
		return err
	}
	if err := r.checkRequired(&Capabilities{Extensions: s.extensions, Proposals: s.proposals, Credentials: s.credentials}); err != nil {
		return err
	}
	if f, missing := missingFormat(r.formats, s.formats); missing {
		return invalid(wireFormatClause, "wire format %v is not supported by all members", f)
	}
	for _, used := range s.used {
		if !contains(s.credentials, used) {
			return invalid(leafClause, "credential type %v is not supported by all members", used)
		}
	}
	return p.checkMultiSupport(t, s.used)
}

// checkContextExtensions verifies the content of GroupContext extensions that
// this package interprets, and the credentials of external senders.
func (p *PublicGroup) checkContextExtensions(x Extensions) error {
	if err := checkUniqueExtensions(x); err != nil {
		return err
	}
	if _, err := p.leafRules(x); err != nil {
		return err
	}
	receivers, err := x.ExternalReceivers()
	if err != nil {
		return malformed(ExtensionTypeExternalReceivers, err)
	}
	for i := range receivers {
		if err := p.Suite().checkHPKEPublicKey(receivers[i].PublicKey); err != nil {
			return &ValidationError{Clause: semiPrivateClause, Reason: "key of an external receiver", Err: err}
		}
	}
	senders, err := x.ExternalSenders()
	if err != nil {
		return malformed(ExtensionTypeExternalSenders, err)
	}
	for i := range senders {
		if err := senders[i].Credential.checkKey(p.Suite(), senders[i].SignatureKey); err != nil {
			return err
		}
		if err := p.config.validate(&senders[i].Credential, senders[i].SignatureKey); err != nil {
			return &ValidationError{Clause: "RFC 9420 §5.3.1", Reason: "credential of an external sender refused", Err: err}
		}
	}
	return nil
}

// checkParentKeys verifies that parents' keys are public keys of the suite.
func (n *treeNode) checkParentKeys(suite CipherSuite) error {
	if n.leaves == 0 || n.leaf != nil {
		return nil
	}
	if n.parent != nil {
		if err := suite.checkHPKEPublicKey(n.parent.EncryptionKey); err != nil {
			return &ValidationError{Clause: joinClause, Reason: "encryption key of a parent", Err: err}
		}
	}
	if err := n.left.checkParentKeys(suite); err != nil {
		return err
	}
	return n.right.checkParentKeys(suite)
}
