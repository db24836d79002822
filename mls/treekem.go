package mls

import (
	"bytes"
	"io"
	"slices"

	"hubbub/mls/wire"
)

// pathClause is where the rules for update paths are.
const pathClause = "RFC 9420 §12.4.2"

// mergePath applies the public part of an UpdatePath to a tree in which leaf i
// is the committer's (RFC 9420 §7.5): it checks the shape against the filtered
// direct path and against the resolutions without the leaves in added (sorted),
// that no key of the path is in use, and the parent hash of the new leaf.
func (t *tree) mergePath(i LeafIndex, path *UpdatePath, added []LeafIndex) (*tree, error) {
	steps := t.filteredPath(i)
	if len(path.Nodes) != len(steps) {
		return nil, invalid(pathClause, "update path has %d nodes, want %d", len(path.Nodes), len(steps))
	}
	if t.encryption.has(path.LeafNode.EncryptionKey) {
		return nil, invalid(pathClause, "encryption key of the new leaf is already in use")
	}
	keys := make([][]byte, len(steps))
	for k := range steps {
		node := &path.Nodes[k]
		if want := len(steps[k].copathResolution(added)); len(node.EncryptedPathSecret) != want {
			return nil, invalid(pathClause, "path secret %d is encrypted %d times, want %d", k, len(node.EncryptedPathSecret), want)
		}
		if t.encryption.has(node.EncryptionKey) {
			return nil, invalid(pathClause, "encryption key %d of the path is already in use", k)
		}
		keys[k] = node.EncryptionKey
	}
	parents, hash, err := t.pathParents(steps, keys)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(hash, path.LeafNode.ParentHash) {
		return nil, invalid(pathClause, "parent hash of the new leaf does not match the path")
	}
	next := t.setPath(i, cloneLeaf(&path.LeafNode), parents)
	if next.encryption.duplicates > t.encryption.duplicates {
		return nil, invalid(pathClause, "encryption key repeated in the path")
	}
	return next, nil
}

// pathParents builds the parents of an update path from their keys and returns
// them with the parent hash of the leaf. Hashes run from the root down, and
// since the path leaves nothing unmerged, a copath child's original tree hash
// is its present one (RFC 9420 §7.9).
func (t *tree) pathParents(steps []pathStep, keys [][]byte) (map[uint8]*ParentNode, []byte, error) {
	parents := make(map[uint8]*ParentNode, len(steps))
	hash := []byte{}
	for k := len(steps) - 1; k >= 0; k-- {
		s := &steps[k]
		p := &ParentNode{EncryptionKey: slices.Clone(keys[k]), ParentHash: hash}
		sibling, err := s.copath.fillHash(t.suite, s.level-1, s.first)
		if err != nil {
			return nil, nil, err
		}
		if hash, err = parentHash(t.suite, p, sibling); err != nil {
			return nil, nil, err
		}
		parents[s.level] = p
	}
	return parents, hash, nil
}

// ownPath is an update path under construction: everything but the encrypted
// path secrets, which need the GroupContext that the finished tree determines.
type ownPath struct {
	tree         *tree        // the tree after the path
	private      *treePrivate // the committer's keys in it
	path         UpdatePath
	steps        []pathStep
	secrets      [][]byte // path secret of each step
	commitSecret []byte
	added        []LeafIndex
}

// leafSigner completes and signs the committer's new leaf.
type leafSigner struct {
	priv    SignaturePrivateKey
	groupID []byte
}

// newPath makes fresh keys for leaf i and the nodes above it (RFC 9420 §7.4
// and §7.5). leaf gives all fields of the new leaf that are not derived here.
func (t *tree) newPath(i LeafIndex, leaf LeafNode, signer leafSigner, added []LeafIndex, random io.Reader) (*ownPath, error) {
	own := &ownPath{steps: t.filteredPath(i), added: added}
	if err := own.derive(t, i, random); err != nil {
		return nil, err
	}
	keys := make([][]byte, len(own.steps))
	for k, s := range own.steps {
		keys[k] = own.private.nodes[s.level].public
	}
	parents, hash, err := t.pathParents(own.steps, keys)
	if err != nil {
		return nil, err
	}
	leaf.EncryptionKey, leaf.Source, leaf.ParentHash = own.private.leafPublic, LeafNodeSourceCommit, hash
	if err := leaf.sign(t.suite, signer.priv, signer.groupID, i); err != nil {
		return nil, err
	}
	own.tree = t.setPath(i, &leaf, parents)
	own.path.LeafNode = leaf
	own.path.Nodes = make([]UpdatePathNode, len(keys))
	for k := range keys {
		own.path.Nodes[k].EncryptionKey = keys[k]
	}
	return own, nil
}

// derive samples the leaf key and the first path secret and derives the rest.
func (o *ownPath) derive(t *tree, i LeafIndex, random io.Reader) error {
	priv, pub, err := t.suite.GenerateHPKEKey(random)
	if err != nil {
		return err
	}
	o.private = &treePrivate{index: i, leafPublic: pub, leafPrivate: priv, nodes: make([]nodeKey, t.level+1)}
	secret, err := t.suite.random(random)
	if err != nil {
		return err
	}
	for _, s := range o.steps {
		o.secrets = append(o.secrets, secret)
		if o.private.nodes[s.level], err = deriveNodeKey(t.suite, secret); err != nil {
			return err
		}
		if secret, err = t.suite.DeriveSecret(secret, "path"); err != nil {
			return err
		}
	}
	o.commitSecret = secret
	return nil
}

// encrypt fills in the encrypted path secrets. context is the encoded
// provisional GroupContext (RFC 9420 §7.6).
func (o *ownPath) encrypt(suite CipherSuite, context []byte) (*UpdatePath, error) {
	for k := range o.steps {
		node := &o.path.Nodes[k]
		for _, to := range o.steps[k].copathResolution(o.added) {
			c, err := suite.EncryptWithLabel(to.key, "UpdatePathNode", context, o.secrets[k])
			if err != nil {
				return nil, err
			}
			node.EncryptedPathSecret = append(node.EncryptedPathSecret, c)
		}
	}
	return &o.path, nil
}

// secretFor returns the path secret that a new member at leaf i is told in its
// Welcome: that of the lowest common ancestor with the committer
// (RFC 9420 §12.4.3.1).
func (o *ownPath) secretFor(i LeafIndex) ([]byte, bool) {
	level := commonLevel(o.private.index, i)
	for k, s := range o.steps {
		if s.level == level {
			return o.secrets[k], true
		}
	}
	return nil, false
}

// cloneLeaf copies a leaf that aliases a whole message, so that the tree does
// not keep the message alive.
func cloneLeaf(l *LeafNode) *LeafNode {
	b, err := wire.Marshal(l)
	if err != nil {
		return l
	}
	c := new(LeafNode)
	if wire.Unmarshal(b, c) != nil {
		return l
	}
	return c
}
