package mls

import (
	"bytes"
	"errors"
	"fmt"
	"math/bits"
	"slices"
)

// treePrivate is what one member knows of the private keys in a tree: its
// leaf's and those of ancestors whose path secret it was told. It is immutable.
type treePrivate struct {
	index       LeafIndex
	leafPublic  []byte
	leafPrivate []byte
	nodes       []nodeKey // by level; the zero value where nothing is known
}

// nodeKey is the HPKE key pair of a parent.
type nodeKey struct{ public, private []byte }

// errPathSecret: a path secret does not fit the tree it is meant for.
var errPathSecret = errors.New("path secret does not match the tree")

// newTreePrivate is the state of a member that knows its leaf key only.
func newTreePrivate(t *tree, i LeafIndex, private []byte) (*treePrivate, error) {
	leaf := t.leaf(i)
	if leaf == nil {
		return nil, fmt.Errorf("leaf %d is blank", i)
	}
	return &treePrivate{
		index: i, leafPublic: leaf.EncryptionKey, leafPrivate: private, nodes: make([]nodeKey, t.level+1),
	}, nil
}

// commonLevel is the level of the lowest common ancestor of two leaves.
func commonLevel(a, b LeafIndex) uint8 { return uint8(bits.Len32(uint32(a ^ b))) }

// deriveNodeKey turns a path secret into the key pair of its node
// (RFC 9420 §7.4).
func deriveNodeKey(suite CipherSuite, pathSecret []byte) (nodeKey, error) {
	secret, err := suite.DeriveSecret(pathSecret, "node")
	if err != nil {
		return nodeKey{}, err
	}
	priv, pub, err := suite.deriveKeyPair(secret)
	return nodeKey{public: pub, private: priv}, err
}

// follow carries the state over to another version of the tree: it forgets the
// keys of nodes that are gone, blank or rekeyed. newLeaf, if not nil, is the
// private key of the member's own leaf in t, for a committed Update.
func (p *treePrivate) follow(t *tree, newLeaf []byte) (*treePrivate, error) {
	leaf := t.leaf(p.index)
	if leaf == nil {
		return nil, fmt.Errorf("leaf %d is blank", p.index)
	}
	next := &treePrivate{index: p.index, leafPublic: p.leafPublic, leafPrivate: p.leafPrivate, nodes: make([]nodeKey, t.level+1)}
	switch {
	case newLeaf != nil:
		next.leafPublic, next.leafPrivate = leaf.EncryptionKey, newLeaf
	case !bytes.Equal(leaf.EncryptionKey, p.leafPublic):
		return nil, errors.New("no private key for the own leaf")
	}
	for level := 1; level < len(next.nodes) && level < len(p.nodes); level++ {
		if n := t.parentAt(uint8(level), p.index); n != nil && bytes.Equal(n.EncryptionKey, p.nodes[level].public) {
			next.nodes[level] = p.nodes[level]
		}
	}
	return next, nil
}

// privateFor returns the private key for an entry of a resolution, if this
// member has it.
func (p *treePrivate) privateFor(e resolved) []byte {
	switch {
	case e.level == 0:
		if LeafIndex(e.first) == p.index && bytes.Equal(e.key, p.leafPublic) {
			return p.leafPrivate
		}
	case int(e.level) < len(p.nodes) && e.first>>e.level == uint32(p.index)>>e.level:
		if k := p.nodes[e.level]; bytes.Equal(k.public, e.key) {
			return k.private
		}
	}
	return nil
}

// decryptPath finds the path secret meant for this member in a merged path and
// derives the keys above (RFC 9420 §7.5). t is the tree after the merge; p
// follows the tree before it. context is the encoded provisional GroupContext.
func (p *treePrivate) decryptPath(t *tree, sender LeafIndex, path *UpdatePath, added []LeafIndex, context []byte) (next *treePrivate, commitSecret []byte, err error) {
	steps := t.filteredPath(sender)
	level := commonLevel(sender, p.index)
	at := slices.IndexFunc(steps, func(s pathStep) bool { return s.level == level })
	if at < 0 || len(path.Nodes) != len(steps) {
		return nil, nil, errPathSecret
	}
	secret, err := p.openSecret(t.suite, &steps[at], &path.Nodes[at], added, context)
	if err != nil {
		return nil, nil, err
	}
	if next, err = p.follow(t, nil); err != nil {
		return nil, nil, err
	}
	commitSecret, err = next.climb(t, steps[at:], secret)
	return next, commitSecret, err
}

func (p *treePrivate) openSecret(suite CipherSuite, s *pathStep, node *UpdatePathNode, added []LeafIndex, context []byte) ([]byte, error) {
	resolution := s.copathResolution(added)
	if len(resolution) != len(node.EncryptedPathSecret) {
		return nil, errPathSecret
	}
	for k, e := range resolution {
		if private := p.privateFor(e); private != nil {
			return suite.DecryptWithLabel(private, "UpdatePathNode", context, node.EncryptedPathSecret[k])
		}
	}
	return nil, errors.New("no key to decrypt the path secret with")
}

// climb sets the keys of the given steps from the path secret of the first and
// returns the commit secret. It is used on a state not yet handed out.
func (p *treePrivate) climb(t *tree, steps []pathStep, secret []byte) ([]byte, error) {
	for _, s := range steps {
		key, err := deriveNodeKey(t.suite, secret)
		if err != nil {
			return nil, err
		}
		n := t.parentAt(s.level, p.index)
		if n == nil || !bytes.Equal(n.EncryptionKey, key.public) {
			return nil, errPathSecret
		}
		p.nodes[s.level] = key
		if secret, err = t.suite.DeriveSecret(secret, "path"); err != nil {
			return nil, err
		}
	}
	return secret, nil
}

// withPathSecret is the state of a member that joined at the given leaf and
// was told the path secret of its lowest common ancestor with the committer
// (RFC 9420 §12.4.3.1).
func (p *treePrivate) withPathSecret(t *tree, committer LeafIndex, secret []byte) (*treePrivate, error) {
	next, err := p.follow(t, nil)
	if err != nil {
		return nil, err
	}
	level := commonLevel(committer, p.index)
	steps := slices.DeleteFunc(t.filteredPath(committer), func(s pathStep) bool { return s.level < level })
	if len(steps) == 0 || steps[0].level != level {
		return nil, errPathSecret
	}
	_, err = next.climb(t, steps, secret)
	return next, err
}
