package mls

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"hubbub/mls/wire"
)

// vectorTree reads a ratchet tree and fills its caches.
func vectorTree(suite CipherSuite, b []byte) (*tree, error) {
	var nodes RatchetTree
	if err := wire.Unmarshal(b, &nodes); err != nil {
		return nil, err
	}
	t, err := buildTree(suite, nodes)
	if err != nil {
		return nil, err
	}
	return t, t.fill()
}

type treeOperationVector struct {
	Suite      CipherSuite `json:"cipher_suite"`
	Before     octets      `json:"tree_before"`
	Proposal   octets
	Sender     LeafIndex `json:"proposal_sender"`
	HashBefore octets    `json:"tree_hash_before"`
	After      octets    `json:"tree_after"`
	HashAfter  octets    `json:"tree_hash_after"`
}

func (v *treeOperationVector) run() error {
	before, err := vectorTree(v.Suite, v.Before)
	if err != nil {
		return fmt.Errorf("tree_before: %w", err)
	}
	var p Proposal
	if err := wire.Unmarshal(v.Proposal, &p); err != nil {
		return fmt.Errorf("proposal: %w", err)
	}
	var c comparison
	c.equal("tree hash before", v.HashBefore)(before.hash())
	after, err := v.apply(before, &p)
	if err != nil {
		return err
	}
	c.equal("tree hash after", v.HashAfter)(after.hash())
	c.equal("tree after", v.After)(wire.Marshal(after.array()))
	c.equal("the tree that was changed", v.Before)(wire.Marshal(before.array()))
	return c.err
}

func (v *treeOperationVector) apply(t *tree, p *Proposal) (*tree, error) {
	switch p.Type {
	case ProposalTypeAdd:
		after, _ := t.add(&p.Add.KeyPackage.LeafNode)
		return after, nil
	case ProposalTypeUpdate:
		if t.leaf(v.Sender) == nil {
			return nil, fmt.Errorf("sender %d is no member", v.Sender)
		}
		return t.update(v.Sender, &p.Update.LeafNode), nil
	case ProposalTypeRemove:
		if t.leaf(p.Remove.Removed) == nil {
			return nil, fmt.Errorf("removed leaf %d is no member", p.Remove.Removed)
		}
		return t.remove(p.Remove.Removed), nil
	}
	return nil, fmt.Errorf("proposal of type %v does not change a tree", p.Type)
}

type treeValidationVector struct {
	Suite       CipherSuite `json:"cipher_suite"`
	Tree        octets
	GroupID     octets   `json:"group_id"`
	Hashes      []octets `json:"tree_hashes"`
	Resolutions [][]uint32
}

func (v *treeValidationVector) run() error {
	t, err := vectorTree(v.Suite, v.Tree)
	if err != nil {
		return err
	}
	var c comparison
	c.ok("parent hashes", t.verifyParentHashes())
	t.eachLeaf(func(i LeafIndex, l *LeafNode) bool {
		c.ok(fmt.Sprintf("signature of leaf %d", i), l.VerifySignature(v.Suite, v.GroupID, i))
		return true
	})
	c.equal("encoding of the tree", v.Tree)(wire.Marshal(t.array()))
	nodes := int(2*t.width() - 1)
	if len(v.Hashes) != nodes || len(v.Resolutions) != nodes {
		return fmt.Errorf("%d hashes and %d resolutions for %d nodes", len(v.Hashes), len(v.Resolutions), nodes)
	}
	t.root.eachNode(t.level, 0, func(n *treeNode, level uint8, first uint32) {
		x := nodeIndex(level, first)
		c.equal(fmt.Sprintf("hash of node %d", x), v.Hashes[x])(n.fillHash(v.Suite, level, first))
		var got []uint32
		for _, r := range n.resolution(level, first, nil, nil) {
			got = append(got, nodeIndex(r.level, r.first))
		}
		c.that(fmt.Sprintf("resolution of node %d differs", x), slices.Equal(got, v.Resolutions[x]))
	})
	return c.err
}

// eachNode visits every node, expanding blank subtrees.
func (n *treeNode) eachNode(level uint8, first uint32, fn func(n *treeNode, level uint8, first uint32)) {
	if level > 0 {
		left, right := n.children()
		left.eachNode(level-1, first, fn)
		right.eachNode(level-1, first|1<<(level-1), fn)
	}
	fn(n, level, first)
}

type treeKEMVector struct {
	Suite     CipherSuite `json:"cipher_suite"`
	GroupID   octets      `json:"group_id"`
	Epoch     uint64
	Confirmed octets `json:"confirmed_transcript_hash"`
	Tree      octets `json:"ratchet_tree"`
	Private   []struct {
		Index          LeafIndex
		EncryptionPriv octets `json:"encryption_priv"`
		SignaturePriv  octets `json:"signature_priv"`
		PathSecrets    []struct {
			Node       NodeIndex
			PathSecret octets `json:"path_secret"`
		} `json:"path_secrets"`
	} `json:"leaves_private"`
	Paths []treeKEMPath `json:"update_paths"`
}

type treeKEMPath struct {
	Sender        LeafIndex
	UpdatePath    octets   `json:"update_path"`
	PathSecrets   []octets `json:"path_secrets"`
	CommitSecret  octets   `json:"commit_secret"`
	TreeHashAfter octets   `json:"tree_hash_after"`
}

func (v *treeKEMVector) run() error {
	t, err := vectorTree(v.Suite, v.Tree)
	if err != nil {
		return err
	}
	if err := t.verifyParentHashes(); err != nil {
		return err
	}
	private, err := v.private(t)
	if err != nil {
		return err
	}
	for k := range v.Paths {
		if err := v.checkReceived(t, private, &v.Paths[k]); err != nil {
			return fmt.Errorf("update path %d: %w", k, err)
		}
	}
	for _, l := range v.Private {
		signer := vectorSigner(v.Suite, l.SignaturePriv, t.leaf(l.Index).SignatureKey)
		if err := v.checkOwn(t, private, l.Index, signer); err != nil {
			return fmt.Errorf("own update path of leaf %d: %w", l.Index, err)
		}
	}
	return nil
}

// private builds each member's keys from the path secrets the vector lists.
func (v *treeKEMVector) private(t *tree) (map[LeafIndex]*treePrivate, error) {
	out := map[LeafIndex]*treePrivate{}
	for _, l := range v.Private {
		p, err := newTreePrivate(t, l.Index, l.EncryptionPriv)
		if err != nil {
			return nil, err
		}
		var c comparison
		c.equal(fmt.Sprintf("encryption key of leaf %d", l.Index), p.leafPublic)(v.Suite.hpkePublic(l.EncryptionPriv))
		for _, s := range l.PathSecrets {
			level := uint8(s.Node.level())
			if level == 0 || level > t.level || nodeIndex(level, uint32(l.Index)>>level<<level) != uint32(s.Node) {
				return nil, fmt.Errorf("node %d is not above leaf %d", s.Node, l.Index)
			}
			parent := t.parentAt(level, l.Index)
			if parent == nil {
				return nil, fmt.Errorf("node %d is blank", s.Node)
			}
			key, err := deriveNodeKey(v.Suite, s.PathSecret)
			c.equal(fmt.Sprintf("key of node %d", s.Node), parent.EncryptionKey)(key.public, err)
			p.nodes[level] = key
		}
		if c.err != nil {
			return nil, c.err
		}
		out[l.Index] = p
	}
	return out, nil
}

// context is the encoded GroupContext that a path is encrypted under.
func (v *treeKEMVector) context(after *tree) ([]byte, error) {
	hash, err := after.hash()
	if err != nil {
		return nil, err
	}
	return wire.Marshal(&GroupContext{Version: MLS10, CipherSuite: v.Suite, GroupID: v.GroupID, Epoch: v.Epoch,
		TreeHash: hash, ConfirmedTranscriptHash: v.Confirmed})
}

func (v *treeKEMVector) checkReceived(t *tree, private map[LeafIndex]*treePrivate, u *treeKEMPath) error {
	var path UpdatePath
	if err := wire.Unmarshal(u.UpdatePath, &path); err != nil {
		return err
	}
	if t.leaf(u.Sender) == nil {
		return fmt.Errorf("sender %d is no member", u.Sender)
	}
	after, err := t.mergePath(u.Sender, &path, nil)
	if err != nil {
		return err
	}
	var c comparison
	c.equal("encoding", u.UpdatePath)(wire.Marshal(&path))
	c.equal("tree hash", u.TreeHashAfter)(after.hash())
	c.ok("parent hashes", after.verifyParentHashes())
	context, err := v.context(after)
	c.ok("group context", err)
	for i, p := range private {
		if i == u.Sender || c.err != nil {
			continue
		}
		at := fmt.Sprintf(" at leaf %d", i)
		next, secret, err := p.decryptPath(after, u.Sender, &path, nil, context)
		c.equal("commit secret"+at, u.CommitSecret)(secret, err)
		if int(i) >= len(u.PathSecrets) || u.PathSecrets[i] == nil {
			return errors.New("no path secret" + at)
		}
		key, err := deriveNodeKey(v.Suite, u.PathSecrets[i])
		if c.ok("path secret"+at, err); c.err == nil {
			c.equal("path secret"+at, key.private)(next.nodes[commonLevel(i, u.Sender)].private, nil)
		}
	}
	return c.err
}

// checkOwn makes a path for a member and lets all others process it.
func (v *treeKEMVector) checkOwn(t *tree, private map[LeafIndex]*treePrivate, from LeafIndex, signer SignaturePrivateKey) error {
	own, err := t.newPath(from, *t.leaf(from), leafSigner{signer, v.GroupID}, nil, (*Config)(nil).rand())
	if err != nil {
		return err
	}
	context, err := v.context(own.tree)
	if err != nil {
		return err
	}
	path, err := own.encrypt(v.Suite, context)
	if err != nil {
		return err
	}
	after, err := t.mergePath(from, path, nil)
	if err != nil {
		return err
	}
	hash, err := own.tree.hash()
	if err != nil {
		return err
	}
	var c comparison
	c.equal("tree hash", hash)(after.hash())
	c.ok("signature", after.leaf(from).VerifySignature(v.Suite, v.GroupID, from))
	for i, p := range private {
		if i == from {
			continue
		}
		_, secret, err := p.decryptPath(after, from, path, nil, context)
		if err == nil && !bytes.Equal(secret, own.commitSecret) {
			err = errPathSecret
		}
		c.ok(fmt.Sprintf("leaf %d", i), err)
	}
	return c.err
}
