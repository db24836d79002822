package mls

import (
	"fmt"
	"io"
	"slices"
	"time"

	"hubbub/mls/wire"
)

// Group is a member's view of a group in one epoch: the public state, the
// secrets, and what is needed for messages of recent epochs.
//
// A Group is an immutable snapshot. Operations that change state return the
// next Group, and until the caller keeps that nothing has happened. Store the
// next Group before sending what was produced with it: sending from an older
// snapshot twice would use a message key twice (RFC 9420 §6.3.1).
type Group struct {
	public  *PublicGroup
	own     LeafIndex
	signer  *SignatureKey
	private *treePrivate
	secrets *epochSecrets
	keys    *secretTree
	exports *exportNode
	past    []*pastEpoch // the latest first
	updates []ownUpdate  // own Update proposals of this epoch
	psks    []PSK        // keys the application has made available
}

// ownUpdate holds what a proposed Update needs once it is committed.
type ownUpdate struct {
	encryptionKey []byte
	private       []byte
	signer        *SignatureKey // of the new leaf; nil: the same as before
}

// with returns a copy of g that change has been applied to.
func (g *Group) with(change func(*Group)) *Group {
	next := *g
	change(&next)
	return &next
}

func (g *Group) config() *Config { return g.public.config }

func (g *Group) rand() io.Reader { return g.config().rand() }

// limit resolves a limit of Config: 0 is the default, negative means none.
func limit(v, otherwise int) int {
	if v == 0 {
		return otherwise
	}
	return max(v, 0)
}

func (c *Config) pastEpochs() int {
	if c == nil {
		return limit(0, 5)
	}
	return limit(c.MaxPastEpochs, 5)
}

func (c *Config) forward() int {
	if c == nil {
		return limit(0, 1000)
	}
	return limit(c.MaxForward, 1000)
}

func (c *Config) skippedKeys() int {
	if c == nil {
		return limit(0, 200)
	}
	return limit(c.MaxSkippedKeys, 200)
}

// GroupOptions describes a group to create. Suite, Signer and Credential are
// required.
type GroupOptions struct {
	GroupID        []byte // nil: random
	Suite          CipherSuite
	Signer         *SignatureKey
	Credential     Credential
	Capabilities   *Capabilities // nil: DefaultCapabilities with GREASE values
	Extensions     Extensions    // of the GroupContext
	LeafExtensions Extensions    // an app_data_dictionary is added if absent
	NotBefore      time.Time     // zero: an hour ago
	NotAfter       time.Time     // zero: DefaultLifetime from now
}

// NewGroup creates a group at epoch 0 whose only member is the caller
// (RFC 9420 §11). It returns ErrUnsupportedSuite, ErrBadKey, or a
// *ValidationError if the creator's leaf does not satisfy the extensions.
func NewGroup(o GroupOptions, cfg *Config) (*Group, error) {
	leaf, err := newLeaf(leafOptions{
		suite: o.Suite, signer: o.Signer, credential: o.Credential, capabilities: o.Capabilities,
		extensions: o.LeafExtensions, notBefore: o.NotBefore, notAfter: o.NotAfter,
	}, cfg)
	if err != nil {
		return nil, err
	}
	private, public, err := o.Suite.GenerateHPKEKey(cfg.rand())
	if err != nil {
		return nil, err
	}
	leaf.EncryptionKey = public
	if err := leaf.sign(o.Suite, o.Signer.Private, nil, 0); err != nil {
		return nil, err
	}
	if o.GroupID == nil {
		if o.GroupID, err = o.Suite.random(cfg.rand()); err != nil {
			return nil, err
		}
	}
	p, err := newCreatorGroup(o.GroupID, leaf, o.Suite, o.Extensions, cfg)
	if err != nil {
		return nil, err
	}
	return startGroup(p, o.Signer, private)
}

// startGroup gives a new group its first epoch secret.
func startGroup(p *PublicGroup, signer *SignatureKey, leafPrivate []byte) (*Group, error) {
	suite := p.Suite()
	epochSecret, err := suite.random(p.config.rand())
	if err != nil {
		return nil, err
	}
	secrets, roots, err := expandEpoch(suite, epochSecret)
	if err != nil {
		return nil, err
	}
	tag, err := suite.MAC(secrets.confirmation, p.context.ConfirmedTranscriptHash)
	if err != nil {
		return nil, err
	}
	if p, err = p.withTag(tag); err != nil {
		return nil, err
	}
	private, err := newTreePrivate(p.tree, 0, leafPrivate)
	if err != nil {
		return nil, err
	}
	g := &Group{public: p, signer: signer, private: private}
	g.plant(secrets, roots)
	return g, nil
}

// Public returns the public state of the epoch.
func (g *Group) Public() *PublicGroup { return g.public }

// GroupID returns the group's id. It must not be changed.
func (g *Group) GroupID() []byte { return g.public.GroupID() }

// Epoch returns the number of the epoch.
func (g *Group) Epoch() uint64 { return g.public.Epoch() }

// Suite returns the group's cipher suite.
func (g *Group) Suite() CipherSuite { return g.public.Suite() }

// Context returns the GroupContext of the epoch. It must not be changed.
func (g *Group) Context() *GroupContext { return g.public.Context() }

// Members returns the members from left to right.
func (g *Group) Members() []Member { return g.public.Members() }

// OwnLeaf returns the caller's place in the tree.
func (g *Group) OwnLeaf() LeafIndex { return g.own }

// Tree returns the ratchet tree, to hand to newcomers.
func (g *Group) Tree() RatchetTree { return g.public.Tree() }

// Signer returns the key the caller signs with. It must not be changed.
func (g *Group) Signer() *SignatureKey { return g.signer }

// EpochAuthenticator returns a value that is equal for all members in the same
// state and secret to others (RFC 9420 §8.7).
func (g *Group) EpochAuthenticator() []byte { return slices.Clone(g.secrets.authenticator) }

// Export derives length octets for use outside MLS, bound to the epoch
// (RFC 9420 §8.5).
func (g *Group) Export(label string, context []byte, length int) ([]byte, error) {
	if g == nil {
		return nil, ErrRemoved
	}
	return g.secrets.export(g.Suite(), label, context, length)
}

// PendingProposals returns the proposals of the epoch that have not been
// committed.
func (g *Group) PendingProposals() []*CachedProposal { return g.public.Cached() }

// ResumptionPSK returns the resumption key of the current epoch, named for the
// given usage and without a nonce (RFC 9420 §8.6).
func (g *Group) ResumptionPSK(usage ResumptionPSKUsage) PSK {
	return PSK{
		ID:     PreSharedKeyID{Type: PSKTypeResumption, Usage: usage, GroupID: g.GroupID(), Epoch: g.Epoch()},
		Secret: slices.Clone(g.secrets.resumption),
	}
}

// WithPSKs returns the group with pre-shared keys available to commits made
// and processed from now on. A key of the same name is replaced. Resumption
// keys of this group's kept epochs need not be given.
func (g *Group) WithPSKs(psks ...PSK) *Group {
	return g.with(func(next *Group) {
		next.psks = slices.Clone(g.psks)
		for _, p := range psks {
			next.psks = slices.DeleteFunc(next.psks, func(q PSK) bool { return q.ID.sameKey(&p.ID) })
			next.psks = append(next.psks, p)
		}
	})
}

// sameKey reports whether both ids name the same key, whatever the usage and
// nonce of this occasion.
func (p *PreSharedKeyID) sameKey(o *PreSharedKeyID) bool {
	return p.Type == o.Type && equalKey(p.ID, o.ID) && p.Component == o.Component &&
		equalKey(p.GroupID, o.GroupID) && p.Epoch == o.Epoch
}

// findPSK returns the secret of a key, or ErrMissingPSK.
func findPSK(psks []PSK, id *PreSharedKeyID) ([]byte, error) {
	for i := range psks {
		if psks[i].ID.sameKey(id) {
			return psks[i].Secret, nil
		}
	}
	return nil, ErrMissingPSK
}

// psk looks a key up among those given and the group's own resumption keys.
func (g *Group) psk(id *PreSharedKeyID) ([]byte, error) {
	if id.Type == PSKTypeResumption && equalKey(id.GroupID, g.GroupID()) {
		if id.Epoch == g.Epoch() {
			return g.secrets.resumption, nil
		}
		for _, p := range g.past {
			if p.epoch == id.Epoch {
				return p.resumption, nil
			}
		}
	}
	return findPSK(g.psks, id)
}

// pskSecret computes the psk_secret of a commit.
func (g *Group) pskSecret(ids []PreSharedKeyID) ([]byte, error) {
	return gatherPSKs(g.Suite(), ids, g.psk)
}

// gatherPSKs finds the keys that ids name and computes their psk_secret.
func gatherPSKs(suite CipherSuite, ids []PreSharedKeyID, find func(*PreSharedKeyID) ([]byte, error)) ([]byte, error) {
	psks := make([]PSK, len(ids))
	for i := range ids {
		secret, err := find(&ids[i])
		if err != nil {
			return nil, err
		}
		psks[i] = PSK{ID: ids[i], Secret: secret}
	}
	return pskSecret(suite, psks)
}

// GroupInfo returns a signed GroupInfo of the epoch with external_pub, without
// the ratchet tree (RFC 9420 §12.4.3). If the caller's leaf lists a GREASE
// extension, the GroupInfo has it too (RFC 9420 §13.5).
func (g *Group) GroupInfo() (*GroupInfo, error) {
	if g == nil {
		return nil, ErrRemoved
	}
	return g.groupInfo(nil)
}

// groupInfo is GroupInfo with further extensions.
func (g *Group) groupInfo(more Extensions) (*GroupInfo, error) {
	_, pub, err := g.Suite().deriveKeyPair(g.secrets.external)
	if err != nil {
		return nil, err
	}
	external := Extension{Type: ExtensionTypeExternalPub, Data: encoded(&ExternalPub{Key: pub})}
	gi := &GroupInfo{
		GroupContext:    *g.public.context,
		Extensions:      append(Extensions{external}.greased(g.public.Leaf(g.own).Capabilities.grease()), more...),
		ConfirmationTag: g.public.confirmationTag,
		Signer:          g.own,
	}
	return gi, gi.Sign(g.signer.Private)
}

// treeExtension returns the ratchet_tree extension of the group.
func (g *Group) treeExtension() (Extension, error) {
	b, err := wire.Marshal(g.Tree())
	if err != nil {
		return Extension{}, fmt.Errorf("mls: ratchet tree: %w", err)
	}
	return Extension{Type: ExtensionTypeRatchetTree, Data: b}, nil
}
