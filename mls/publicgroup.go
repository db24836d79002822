package mls

import (
	"bytes"
	"fmt"

	"hubbub/mls/wire"
)

// PublicGroup is the public state of one epoch of a group: ratchet tree,
// GroupContext, transcript hash and pending proposals. It holds no secrets, so
// a Delivery Service can follow a group with it; a member's Group contains one
// (RFC 9420 §4 and §8).
//
// A PublicGroup is an immutable snapshot. Operations return new snapshots that
// share almost everything with the old one. It is safe for concurrent use.
//
// What a party without the group's secrets cannot check is left to members:
// membership tags, confirmation tags and the contents of HPKE ciphertexts.
type PublicGroup struct {
	config          *Config
	context         *GroupContext
	tree            *tree // filled
	confirmationTag []byte
	interim         []byte            // interim transcript hash
	proposals       []*CachedProposal // of this epoch, in order of arrival
	reInit          *ReInit           // not nil once the group is closed
}

// Member is an occupied leaf of a group.
type Member struct {
	Index LeafIndex
	Leaf  *LeafNode
}

// Context returns the GroupContext of the epoch. It must not be changed.
func (p *PublicGroup) Context() *GroupContext { return p.context }

// GroupID returns the group's id. It must not be changed.
func (p *PublicGroup) GroupID() []byte { return p.context.GroupID }

// Epoch returns the number of the epoch.
func (p *PublicGroup) Epoch() uint64 { return p.context.Epoch }

// Suite returns the group's cipher suite.
func (p *PublicGroup) Suite() CipherSuite { return p.context.CipherSuite }

// Tree returns the ratchet tree in the form of the ratchet_tree extension. The
// nodes are shared with the group and must not be changed. The cost is linear
// in the size of the group.
func (p *PublicGroup) Tree() RatchetTree { return p.tree.array() }

// Members returns the occupied leaves from left to right. The leaves must not
// be changed.
func (p *PublicGroup) Members() []Member {
	out := make([]Member, 0, p.tree.root.leaves)
	p.tree.eachLeaf(func(i LeafIndex, l *LeafNode) bool {
		out = append(out, Member{Index: i, Leaf: l})
		return true
	})
	return out
}

// MemberCount returns the number of occupied leaves.
func (p *PublicGroup) MemberCount() int { return int(p.tree.root.leaves) }

// Leaf returns the leaf at i, or nil if it is blank or does not exist. It must
// not be changed.
func (p *PublicGroup) Leaf(i LeafIndex) *LeafNode { return p.tree.leaf(i) }

// ConfirmationTag returns the tag of the commit that began the epoch. It must
// not be changed.
func (p *PublicGroup) ConfirmationTag() []byte { return p.confirmationTag }

// Cached returns the pending proposals of the epoch in the order in which they
// were added with WithProposal. The slice must not be changed.
func (p *PublicGroup) Cached() []*CachedProposal {
	return p.proposals[:len(p.proposals):len(p.proposals)]
}

// ReInit returns the ReInit that closed the group, or nil. A closed group
// accepts nothing more (RFC 9420 §11.2).
func (p *PublicGroup) ReInit() *ReInit { return p.reInit }

// Dictionary returns the application data in the GroupContext, empty if there
// is none. It is a fresh copy whose data slices must not be changed.
func (p *PublicGroup) Dictionary() *AppDataDictionary {
	d, err := p.context.Extensions.Dictionary()
	if err != nil {
		return new(AppDataDictionary) // validated when it entered the context
	}
	return d
}

// ExternalSenders returns who may propose from outside, nil if nobody may.
func (p *PublicGroup) ExternalSenders() ExternalSenders {
	s, err := p.context.Extensions.ExternalSenders()
	if err != nil {
		return nil // validated when it entered the context
	}
	return s
}

// NewPublicGroup checks a GroupInfo and its tree and returns the public state
// they describe. The tree hash, all parent hashes, the shape of the tree, every
// leaf with its signature, the uniqueness of keys, the members' capabilities
// and the GroupInfo's signature are verified (RFC 9420 §12.4.3.1). Lifetimes of
// leaves are not: a KeyPackage may expire once it is in a group.
//
// tree may be nil if the GroupInfo carries a ratchet_tree extension, else
// ErrMissingTree is returned. Other errors are ErrInvalidTree,
// ErrUnsupportedSuite, ErrBadSignature, or a *ValidationError. The group keeps
// references to gi and tree, which must not be changed afterwards.
func NewPublicGroup(gi *GroupInfo, tree RatchetTree, cfg *Config) (*PublicGroup, error) {
	context := gi.GroupContext
	if tree == nil {
		var err error
		if tree, err = gi.RatchetTree(); err != nil {
			return nil, err
		}
		if tree == nil {
			return nil, ErrMissingTree
		}
	}
	if err := checkUniqueExtensions(gi.Extensions); err != nil {
		return nil, err
	}
	p, err := newPublicGroup(&context, tree, gi.ConfirmationTag, cfg)
	if err != nil {
		return nil, err
	}
	if err := p.validateTree(); err != nil {
		return nil, err
	}
	signer := p.tree.leaf(gi.Signer)
	if signer == nil {
		return nil, invalid(joinClause, "signer of the GroupInfo is not a member")
	}
	return p, gi.VerifySignature(signer.SignatureKey)
}

// joinClause is where the rules for trees of unknown origin are.
const joinClause = "RFC 9420 §12.4.3.1"

// newPublicGroup assembles the state of an epoch and checks that the tree is
// the one the context names.
func newPublicGroup(context *GroupContext, nodes RatchetTree, tag []byte, cfg *Config) (*PublicGroup, error) {
	if context.Version != MLS10 {
		return nil, invalid(joinClause, "protocol version %v", context.Version)
	}
	if !context.CipherSuite.Supported() {
		return nil, ErrUnsupportedSuite
	}
	if cfg.tooWide(len(nodes)) {
		return nil, fmt.Errorf("%w: more leaves than Config.MaxLeaves", ErrInvalidTree)
	}
	t, err := buildTree(context.CipherSuite, nodes)
	if err != nil {
		return nil, err
	}
	if err := t.fill(); err != nil {
		return nil, err
	}
	if hash, err := t.hash(); err != nil || !bytes.Equal(hash, context.TreeHash) {
		return nil, invalid(joinClause, "tree hash differs from the GroupContext")
	}
	interim, err := interimTranscriptHash(context.CipherSuite, context.ConfirmedTranscriptHash, tag)
	if err != nil {
		return nil, err
	}
	return &PublicGroup{config: cfg, context: context, tree: t, confirmationTag: tag, interim: interim}, nil
}

// validateTree checks a tree that did not grow from one already checked.
func (p *PublicGroup) validateTree() error {
	if err := p.tree.verifyParentHashes(); err != nil {
		return err
	}
	if err := p.tree.root.checkParentKeys(p.Suite()); err != nil {
		return err
	}
	if err := p.checkContextExtensions(p.context.Extensions); err != nil {
		return err
	}
	rules, err := p.leafRules(p.context.Extensions)
	if err != nil {
		return err
	}
	p.tree.eachLeaf(func(i LeafIndex, l *LeafNode) bool {
		err = rules.checkSigned(l, i)
		return err == nil
	})
	if err != nil {
		return err
	}
	return p.checkContext(p.tree, p.context.Extensions)
}

// newCreatorGroup is the public state of a group at epoch 0, whose tree is the
// creator's leaf alone. The confirmation tag follows with withTag, since it
// depends on the context (RFC 9420 §11).
func newCreatorGroup(groupID []byte, leaf *LeafNode, suite CipherSuite, extensions Extensions, cfg *Config) (*PublicGroup, error) {
	t, _ := emptyTree(suite).add(leaf)
	if err := t.fill(); err != nil {
		return nil, err
	}
	hash, err := t.hash()
	if err != nil {
		return nil, err
	}
	p := &PublicGroup{config: cfg, tree: t, context: &GroupContext{
		Version: MLS10, CipherSuite: suite, GroupID: groupID, TreeHash: hash,
		ConfirmedTranscriptHash: []byte{}, Extensions: extensions,
	}}
	return p, p.validateTree()
}

// withTag returns the group with the confirmation tag of its epoch.
func (p *PublicGroup) withTag(tag []byte) (*PublicGroup, error) {
	next := *p
	next.confirmationTag = bytes.Clone(tag) // not to keep a whole message alive
	var err error
	next.interim, err = interimTranscriptHash(p.Suite(), p.context.ConfirmedTranscriptHash, tag)
	return &next, err
}

// encodedContext returns the encoded GroupContext.
func (p *PublicGroup) encodedContext() ([]byte, error) { return wire.Marshal(p.context) }
