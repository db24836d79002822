package mls

import (
	"bytes"
	"fmt"
	"slices"
)

// verifyParentHashes checks that every non-blank parent of a filled tree is
// parent-hash valid: exactly one node below it was written in the same
// UpdatePath and says so (RFC 9420 §7.9.2).
func (t *tree) verifyParentHashes() error {
	return t.root.verifyParentHashes(t.suite, t.level, 0)
}

func (n *treeNode) verifyParentHashes(suite CipherSuite, level uint8, first uint32) error {
	if n.leaves == 0 || level == 0 {
		return nil
	}
	if n.parent != nil {
		if err := n.verifyParentHash(suite, level, first); err != nil {
			return err
		}
	}
	if err := n.left.verifyParentHashes(suite, level-1, first); err != nil {
		return err
	}
	return n.right.verifyParentHashes(suite, level-1, first|1<<(level-1))
}

func (n *treeNode) verifyParentHash(suite CipherSuite, level uint8, first uint32) error {
	second := first | 1<<(level-1)
	left, err := n.authenticatedBy(suite, n.left, first, n.right, second, level-1)
	if err != nil {
		return err
	}
	right, err := n.authenticatedBy(suite, n.right, second, n.left, first, level-1)
	if err != nil {
		return err
	}
	if left == right {
		return fmt.Errorf("%w: parent hash of node %d is not valid", ErrInvalidTree, nodeIndex(level, first))
	}
	return nil
}

// authenticatedBy reports whether the parent n is parent-hash valid with
// respect to a node under its child c, s being the other child; both children
// are at the given level.
func (n *treeNode) authenticatedBy(suite CipherSuite, c *treeNode, cFirst uint32, s *treeNode, sFirst uint32, level uint8) (bool, error) {
	claimed, ok := c.updatedWith(level, cFirst, within(n.parent.UnmergedLeaves, level, cFirst))
	if !ok {
		return false, nil
	}
	sibling, err := s.originalHash(suite, level, sFirst, n.parent.UnmergedLeaves)
	if err != nil {
		return false, err
	}
	want, err := parentHash(suite, n.parent, sibling)
	return err == nil && bytes.Equal(claimed, want), err
}

// updatedWith finds the one node D in the resolution of a child such that the
// rest of the resolution is exactly the parent's unmerged leaves on that side,
// and returns D's parent hash. The resolution is walked no further than that
// answer needs.
func (n *treeNode) updatedWith(level uint8, first uint32, unmerged []LeafIndex) (hash []byte, ok bool) {
	w := resolutionWalk{unmerged: unmerged}
	if !w.walk(n, level, first) || w.found != 1 || w.matched != len(unmerged) {
		return nil, false
	}
	return w.hash, true
}

type resolutionWalk struct {
	unmerged []LeafIndex
	matched  int // resolution entries that are unmerged leaves
	found    int // the others
	hash     []byte
}

// walk visits the resolution and stops when a second candidate turns up.
func (w *resolutionWalk) walk(n *treeNode, level uint8, first uint32) bool {
	switch {
	case n.leaves == 0:
		return true
	case n.leaf != nil:
		return w.leaf(LeafIndex(first), n.leaf)
	case n.parent == nil:
		return w.walk(n.left, level-1, first) && w.walk(n.right, level-1, first|1<<(level-1))
	}
	w.found++
	w.hash = n.parent.ParentHash
	for _, i := range n.parent.UnmergedLeaves {
		if w.found > 1 || !w.leaf(i, n.at(level, 0, uint32(i)).leaf) {
			return false
		}
	}
	return w.found == 1
}

func (w *resolutionWalk) leaf(i LeafIndex, leaf *LeafNode) bool {
	if _, ok := slices.BinarySearch(w.unmerged, i); ok {
		w.matched++
		return true
	}
	w.found++
	w.hash = leaf.ParentHash
	return w.found == 1 && leaf.Source == LeafNodeSourceCommit
}
