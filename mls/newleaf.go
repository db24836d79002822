package mls

import (
	"fmt"
	"io"
	"slices"
	"time"

	"hubbub/mls/wire"
)

// DefaultCapabilities returns what this package supports by itself: mls10, the
// suites of RFC 9420, credentials basic and x509, the
// extension app_data_dictionary, and the proposals app_data_update,
// app_ephemeral and self_remove. Both credential types are listed because other
// stacks require both of every member.
func DefaultCapabilities() *Capabilities {
	return &Capabilities{
		Versions:     []ProtocolVersion{MLS10},
		CipherSuites: SupportedSuites(),
		Extensions:   []ExtensionType{ExtensionTypeAppDataDictionary},
		Proposals:    []ProposalType{ProposalTypeAppDataUpdate, ProposalTypeAppEphemeral, ProposalTypeSelfRemove},
		Credentials:  []CredentialType{CredentialTypeBasic, CredentialTypeX509},
	}
}

// withGREASE returns a copy of c with a random reserved value in each list that
// may hold one, so that other clients stay tolerant (RFC 9420 §13.5).
func (c *Capabilities) withGREASE(rand io.Reader) (*Capabilities, error) {
	var b [4]byte
	if _, err := io.ReadFull(rand, b[:]); err != nil {
		return nil, fmt.Errorf("mls: read randomness: %w", err)
	}
	value := func(i int) uint16 { return uint16(b[i]%15)<<4*0x0101 | 0x0a0a }
	return &Capabilities{
		Versions:     c.Versions,
		CipherSuites: append(slices.Clone(c.CipherSuites), CipherSuite(value(0))),
		Extensions:   append(slices.Clone(c.Extensions), ExtensionType(value(1))),
		Proposals:    append(slices.Clone(c.Proposals), ProposalType(value(2))),
		Credentials:  append(slices.Clone(c.Credentials), CredentialType(value(3))),
	}, nil
}

// SupportedComponents returns a leaf extension that advertises components:
// an app_data_dictionary whose app_components entry lists ids besides
// app_components and safe_aad, which every client of this package handles, and
// besides a reserved id that keeps others tolerant (draft-ietf-mls-extensions
// §4.6 and §5.1).
func SupportedComponents(ids ...ComponentID) Extension {
	grease := ComponentID(0x0a0a + 0x1010*(len(ids)%8))
	list := append(ComponentsList{ComponentAppComponents, ComponentSafeAAD, grease}, ids...)
	slices.Sort(list)
	var d AppDataDictionary
	d.Set(ComponentAppComponents, encoded(slices.Compact(list)))
	return Extension{Type: ExtensionTypeAppDataDictionary, Data: encoded(&d)}
}

// encoded marshals a value of this package's making that cannot be too long to
// encode.
func encoded(e wire.Encoder) []byte {
	b, _ := wire.Marshal(e)
	return b
}

// leafOptions is what all ways to make a leaf need.
type leafOptions struct {
	suite        CipherSuite
	signer       *SignatureKey
	credential   Credential
	capabilities *Capabilities
	extensions   Extensions
	notBefore    time.Time
	notAfter     time.Time
}

// DefaultLifetime is how long a KeyPackage is valid unless told otherwise:
// twelve weeks, the longest that other stacks accept. It begins an hour in the
// past, for clocks that are behind.
const DefaultLifetime = 84 * 24 * time.Hour

// newLeaf builds a leaf of source key_package without keys and signature.
func newLeaf(o leafOptions, cfg *Config) (*LeafNode, error) {
	if !o.suite.Supported() {
		return nil, fmt.Errorf("%w: %s", ErrUnsupportedSuite, o.suite)
	}
	if o.signer == nil || o.signer.Suite != o.suite {
		return nil, fmt.Errorf("mls: signature key of another suite: %w", ErrBadKey)
	}
	var grease Extensions
	if o.capabilities == nil {
		var err error
		defaults := DefaultCapabilities()
		if !slices.Contains(defaults.CipherSuites, o.suite) {
			defaults.CipherSuites = append(defaults.CipherSuites, o.suite)
		}
		if o.capabilities, err = defaults.withGREASE(cfg.rand()); err != nil {
			return nil, err
		}
		grease = o.capabilities.grease()
	}
	listed := slices.Contains(o.capabilities.Extensions, ExtensionTypeAppDataDictionary)
	if _, has := o.extensions.Find(ExtensionTypeAppDataDictionary); !has && listed {
		o.extensions = append(slices.Clone(o.extensions), SupportedComponents())
	}
	now := cfg.now()
	if o.notBefore.IsZero() {
		o.notBefore = now.Add(-time.Hour)
	}
	if o.notAfter.IsZero() {
		o.notAfter = now.Add(DefaultLifetime)
	}
	return &LeafNode{
		SignatureKey: o.signer.Public,
		Credential:   o.credential,
		Capabilities: *o.capabilities,
		Source:       LeafNodeSourceKeyPackage,
		Lifetime:     Lifetime{NotBefore: uint64(max(o.notBefore.Unix(), 0)), NotAfter: uint64(max(o.notAfter.Unix(), 0))},
		Extensions:   o.extensions.greased(grease),
	}, nil
}

// isGREASE reports whether a value is one of those that are reserved for values
// nobody knows (RFC 9420 §13.5).
func isGREASE(v uint16) bool { return v&0x0f0f == 0x0a0a && v>>8 == v&0xff && v != 0xfafa }

// grease returns an extension of a reserved type that the capabilities list,
// none if they list none. It is empty, to cost little.
func (c *Capabilities) grease() Extensions {
	i := slices.IndexFunc(c.Extensions, func(t ExtensionType) bool { return isGREASE(uint16(t)) })
	if i < 0 {
		return nil
	}
	return Extensions{{Type: c.Extensions[i], Data: []byte{}}}
}

// greased returns a copy of the list with the extensions of grease appended,
// unless their types are there already (RFC 9420 §13.5).
func (x Extensions) greased(grease Extensions) Extensions {
	for _, e := range grease {
		if _, ok := x.Find(e.Type); !ok {
			x = append(slices.Clone(x), e)
		}
	}
	return x
}

// KeyPackageOptions describes the KeyPackage to make. Signer and Credential are
// required.
type KeyPackageOptions struct {
	Suite          CipherSuite
	Signer         *SignatureKey
	Credential     Credential
	Capabilities   *Capabilities // nil: DefaultCapabilities, and GREASE values wherever they are allowed
	NotBefore      time.Time     // zero: an hour ago
	NotAfter       time.Time     // zero: DefaultLifetime from now
	Extensions     Extensions    // of the KeyPackage
	LeafExtensions Extensions    // an app_data_dictionary is added if absent
	LastResort     bool          // mark the KeyPackage as reusable (draft-ietf-mls-extensions §6.4)
	Rand           io.Reader     // nil: crypto/rand
	Now            func() time.Time
}

// KeyPackageSecret is a KeyPackage with the private keys needed to join by it.
// Store it before the KeyPackage is published.
type KeyPackageSecret struct {
	KeyPackage        *KeyPackage
	InitPrivate       []byte
	EncryptionPrivate []byte
	Signer            *SignatureKey
}

// NewKeyPackage makes a signed KeyPackage (RFC 9420 §10). It returns
// ErrUnsupportedSuite, or ErrBadKey if the signer is of another suite.
func NewKeyPackage(o KeyPackageOptions) (*KeyPackageSecret, error) {
	cfg := &Config{Rand: o.Rand, Now: o.Now}
	leaf, err := newLeaf(leafOptions{
		suite: o.Suite, signer: o.Signer, credential: o.Credential, capabilities: o.Capabilities,
		extensions: o.LeafExtensions, notBefore: o.NotBefore, notAfter: o.NotAfter,
	}, cfg)
	if err != nil {
		return nil, err
	}
	s := &KeyPackageSecret{Signer: o.Signer}
	if s.EncryptionPrivate, leaf.EncryptionKey, err = o.Suite.GenerateHPKEKey(cfg.rand()); err != nil {
		return nil, err
	}
	sign, err := o.Suite.signer(o.Signer.Private)
	if err != nil {
		return nil, err
	}
	if err := leaf.signBy(sign, nil, 0); err != nil {
		return nil, err
	}
	s.KeyPackage = &KeyPackage{Version: MLS10, CipherSuite: o.Suite, LeafNode: *leaf, Extensions: o.Extensions}
	if s.InitPrivate, s.KeyPackage.InitKey, err = o.Suite.GenerateHPKEKey(cfg.rand()); err != nil {
		return nil, err
	}
	if o.LastResort {
		if s.KeyPackage.Extensions, err = markLastResort(o.Extensions); err != nil {
			return nil, err
		}
	}
	if o.Capabilities == nil {
		s.KeyPackage.Extensions = s.KeyPackage.Extensions.greased(leaf.Capabilities.grease())
	}
	return s, s.KeyPackage.signBy(sign)
}

// markLastResort adds component last_resort_key_package to the dictionary.
func markLastResort(x Extensions) (Extensions, error) {
	d, err := x.Dictionary()
	if err != nil {
		return nil, err
	}
	d.Set(ComponentLastResort, []byte{})
	return x.Set(ExtensionTypeAppDataDictionary, encoded(d)), nil
}

// deployedLastResort is the extension that deployed stacks use instead of the
// component.
const deployedLastResort ExtensionType = 0x000a

// IsLastResort reports whether the KeyPackage may be given out more than once:
// it has component last_resort_key_package with empty data
// (draft-ietf-mls-extensions §6.4), or the extension 0x000a of older stacks.
func (k *KeyPackage) IsLastResort() bool {
	if data, ok := k.Extensions.Find(deployedLastResort); ok && len(data) == 0 {
		return true
	}
	d, err := k.Extensions.Dictionary()
	if err != nil {
		return false
	}
	data, ok := d.Get(ComponentLastResort)
	return ok && len(data) == 0
}

// Encode appends the secret in a form private to this package.
func (s *KeyPackageSecret) Encode(w *wire.Writer) {
	s.KeyPackage.Encode(w)
	w.Opaque(s.InitPrivate)
	w.Opaque(s.EncryptionPrivate)
	s.Signer.Encode(w)
}

// Decode reads what Encode wrote.
func (s *KeyPackageSecret) Decode(r *wire.Reader) {
	s.KeyPackage, s.Signer = new(KeyPackage), new(SignatureKey)
	s.KeyPackage.Decode(r)
	s.InitPrivate = r.Opaque()
	s.EncryptionPrivate = r.Opaque()
	s.Signer.Decode(r)
}

// MarshalBinary returns an encoding for storage; it contains private keys.
func (s *KeyPackageSecret) MarshalBinary() ([]byte, error) { return marshalState(s) }

// UnmarshalBinary reads what MarshalBinary returned, or returns ErrBadState.
func (s *KeyPackageSecret) UnmarshalBinary(b []byte) error {
	return unmarshalState(b, func(r *wire.Reader, _ uint16) { s.Decode(r) })
}
