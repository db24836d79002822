package mls

import (
	"errors"
	"fmt"
	"slices"
)

// ErrInvalidTree: a ratchet tree is malformed or does not satisfy the rules of
// RFC 9420 §7 and §12.4.3.1.
var ErrInvalidTree = errors.New("mls: invalid ratchet tree")

// buildTree turns the array form into a tree and checks its shape: no blank at
// the right end, leaves and parents in their places, unmerged leaves sorted
// and naming leaves below, keys distinct. The result is not filled.
//
// The work is linear in the length of the array, and runs of blanks take no
// memory.
func buildTree(suite CipherSuite, nodes RatchetTree) (*tree, error) {
	if len(nodes) == 0 || nodes[len(nodes)-1] == nil {
		return nil, fmt.Errorf("%w: last node is blank", ErrInvalidTree)
	}
	if nodes[len(nodes)-1].Leaf == nil {
		// The right end of a minimal tree is a leaf: a parent there would
		// have nothing but blanks in its right half.
		return nil, fmt.Errorf("%w: last node is not a leaf", ErrInvalidTree)
	}
	if uint64(len(nodes)) >= 1<<(maxTreeLevel+1) {
		return nil, fmt.Errorf("%w: too wide", ErrInvalidTree)
	}
	t := &tree{suite: suite}
	for 1<<(t.level+1)-1 < len(nodes) {
		t.level++
	}
	root, err := buildNode(nodes, t.level, 0)
	if err != nil {
		return nil, err
	}
	t.root = root
	t.collectKeys(root)
	if t.encryption.duplicates > 0 || t.signature.duplicates > 0 {
		return nil, fmt.Errorf("%w: repeated key", ErrInvalidTree)
	}
	return t, nil
}

// buildNode builds the subtree at a level from the part of the array that
// covers it; the array may end early, which stands for blanks.
func buildNode(nodes RatchetTree, level uint8, first uint32) (*treeNode, error) {
	if !slices.ContainsFunc(nodes, func(n *Node) bool { return n != nil }) {
		return &treeNode{}, nil
	}
	if level == 0 {
		leaf := nodes[0].Leaf
		if leaf == nil {
			return nil, fmt.Errorf("%w: parent in the place of leaf %d", ErrInvalidTree, first)
		}
		return &treeNode{leaf: leaf, leaves: 1}, nil
	}
	mid := min(1<<level-1, len(nodes))
	left, err := buildNode(nodes[:mid], level-1, first)
	if err != nil {
		return nil, err
	}
	n := &treeNode{left: left, right: &treeNode{}, leaves: left.leaves}
	if mid == len(nodes) {
		return n, nil
	}
	if n.right, err = buildNode(nodes[mid+1:], level-1, first|1<<(level-1)); err != nil {
		return nil, err
	}
	n.leaves += n.right.leaves
	return n, n.setBuilt(nodes[mid], level, first)
}

// setBuilt fills in the parent itself once its subtree is built.
func (n *treeNode) setBuilt(node *Node, level uint8, first uint32) error {
	if node == nil {
		return nil
	}
	index := nodeIndex(level, first)
	switch {
	case node.Parent == nil:
		return fmt.Errorf("%w: leaf in the place of parent node %d", ErrInvalidTree, index)
	case n.leaves == 0:
		return fmt.Errorf("%w: node %d has no leaf below it", ErrInvalidTree, index)
	}
	n.parent = node.Parent
	return n.checkUnmerged(level, first)
}

// checkUnmerged verifies the unmerged_leaves of a parent: sorted, not
// repeated, non-blank leaves of its subtree, and known to every non-blank node
// in between (RFC 9420 §12.4.3.1). Membership is all that is asked of the
// nodes in between; their lists may well be longer.
func (n *treeNode) checkUnmerged(level uint8, first uint32) error {
	list := n.parent.UnmergedLeaves
	for k, i := range list {
		if k > 0 && i <= list[k-1] {
			return fmt.Errorf("%w: unmerged leaves of node %d are not ascending", ErrInvalidTree, nodeIndex(level, first))
		}
	}
	for _, i := range list {
		if uint32(i)>>level != first>>level || !n.knowsUnmerged(level, i) {
			return fmt.Errorf("%w: unmerged leaf %d does not belong under node %d", ErrInvalidTree, i, nodeIndex(level, first))
		}
	}
	return nil
}

// knowsUnmerged reports whether leaf i exists under n and is unmerged in every
// non-blank node between.
func (n *treeNode) knowsUnmerged(level uint8, i LeafIndex) bool {
	for level--; ; level-- {
		if n.left == nil {
			return false
		}
		if uint32(i)>>level&1 == 0 {
			n = n.left
		} else {
			n = n.right
		}
		if level == 0 {
			return n.leaf != nil
		}
		if n.parent != nil {
			if _, ok := slices.BinarySearch(n.parent.UnmergedLeaves, i); !ok {
				return false
			}
		}
	}
}

// collectKeys enters the keys of a freshly built subtree.
func (t *tree) collectKeys(n *treeNode) {
	if n.leaves == 0 {
		return
	}
	if n.leaf != nil {
		t.encryption = t.encryption.add(n.leaf.EncryptionKey)
		t.signature = t.signature.add(n.leaf.SignatureKey)
		return
	}
	if n.parent != nil {
		t.encryption = t.encryption.add(n.parent.EncryptionKey)
	}
	t.collectKeys(n.left)
	t.collectKeys(n.right)
}

// array returns the array form of the tree, without blanks at the right end.
// Nodes are shared with the tree and must not be changed.
func (t *tree) array() RatchetTree {
	out := make(RatchetTree, 2*uint64(t.width())-1)
	t.root.fillArray(t.level, 0, out)
	for len(out) > 0 && out[len(out)-1] == nil {
		out = out[:len(out)-1]
	}
	return out
}

func (n *treeNode) fillArray(level uint8, first uint32, out RatchetTree) {
	switch {
	case n.leaves == 0:
		return
	case n.leaf != nil:
		out[nodeIndex(0, first)] = &Node{Leaf: n.leaf}
		return
	case n.parent != nil:
		out[nodeIndex(level, first)] = &Node{Parent: n.parent}
	}
	n.left.fillArray(level-1, first, out)
	n.right.fillArray(level-1, first|1<<(level-1), out)
}
