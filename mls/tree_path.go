package mls

import "slices"

// pathStep is one node on the direct path of a leaf.
type pathStep struct {
	level  uint8
	first  uint32      // first leaf under the copath child
	copath *treeNode   // the child that is not on the path
	parent *ParentNode // content of the node itself
}

// directPath lists the nodes above leaf i from the bottom up.
func (t *tree) directPath(i LeafIndex) []pathStep {
	path := make([]pathStep, t.level)
	n, first := t.root, uint32(0)
	for level := t.level; level > 0; level-- {
		left, right := n.children()
		half := uint32(1) << (level - 1)
		step := pathStep{level: level, parent: n.parent}
		if uint32(i)&half == 0 {
			step.first, step.copath, n = first|half, right, left
		} else {
			step.first, step.copath, n, first = first, left, right, first|half
		}
		path[level-1] = step
	}
	return path
}

// filteredPath is the direct path without the nodes whose copath child has an
// empty resolution (RFC 9420 §4.1.2). A subtree without leaves holds no parent
// either, which buildTree enforces.
func (t *tree) filteredPath(i LeafIndex) []pathStep {
	return slices.DeleteFunc(t.directPath(i), func(s pathStep) bool { return s.copath.leaves == 0 })
}

// resolved is an entry of a resolution: a node and its encryption key.
type resolved struct {
	level uint8
	first uint32
	key   []byte
}

// resolution appends the resolution of a subtree to out, leaving out the
// leaves in without, which is sorted (RFC 9420 §4.1.1 and §7.5).
func (n *treeNode) resolution(level uint8, first uint32, without []LeafIndex, out []resolved) []resolved {
	switch {
	case n.leaves == 0:
		return out
	case n.leaf != nil:
		if _, skip := slices.BinarySearch(without, LeafIndex(first)); skip {
			return out
		}
		return append(out, resolved{level: 0, first: first, key: n.leaf.EncryptionKey})
	case n.parent != nil:
		out = append(out, resolved{level: level, first: first, key: n.parent.EncryptionKey})
		for _, i := range difference(n.parent.UnmergedLeaves, without) {
			if leaf := n.at(level, 0, uint32(i)); leaf != nil && leaf.leaf != nil {
				out = append(out, resolved{level: 0, first: uint32(i), key: leaf.leaf.EncryptionKey})
			}
		}
		return out
	}
	out = n.left.resolution(level-1, first, without, out)
	return n.right.resolution(level-1, first|1<<(level-1), without, out)
}

// copathResolution is what a path secret for this step is encrypted to.
func (s *pathStep) copathResolution(without []LeafIndex) []resolved {
	return s.copath.resolution(s.level-1, s.first, without, nil)
}
