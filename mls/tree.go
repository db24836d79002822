package mls

// tree is one immutable version of a group's ratchet tree.
//
// It is persistent: an operation copies the nodes between the changed leaf and
// the root and shares everything else with the version it started from, so an
// epoch costs O(log n) new nodes. Every node caches its tree hash and the
// capabilities that all leaves under it share, and two persistent key sets
// answer whether a key is already in use, so nothing that a commit needs is
// ever recomputed over the whole tree.
//
// Caches are written only while a tree is private to the goroutine that builds
// it; fill completes them, and only filled trees are handed out. From then on
// a tree is safe for concurrent use.
type tree struct {
	suite CipherSuite
	root  *treeNode
	level uint8 // the tree is 1<<level leaves wide

	encryption keySet // encryption keys of leaves and parents
	signature  keySet // signature keys of leaves
}

// treeNode is a node together with its subtree. A node above the leaves whose
// children are nil stands for an all-blank subtree that was never populated;
// it is expanded only along the paths that get written.
type treeNode struct {
	left, right *treeNode
	leaf        *LeafNode
	parent      *ParentNode
	leaves      uint32 // non-blank leaves in the subtree

	hash []byte             // tree hash, nil until filled
	caps *capabilitySummary // parents only, nil until asked for
}

// maxTreeLevel bounds the width at maxLeaves.
const maxTreeLevel = 30

// emptyTree is a tree of one blank leaf.
func emptyTree(suite CipherSuite) *tree {
	return &tree{suite: suite, root: &treeNode{}}
}

// width is the number of leaf slots, blank ones included.
func (t *tree) width() uint32 { return 1 << t.level }

// children returns both halves of a subtree, making up blank ones for a
// subtree that was never populated.
func (n *treeNode) children() (left, right *treeNode) {
	if n.left == nil {
		return &treeNode{}, &treeNode{}
	}
	return n.left, n.right
}

// leaf returns the leaf at i, or nil when i is blank or out of range.
func (t *tree) leaf(i LeafIndex) *LeafNode {
	if uint64(i) >= uint64(t.width()) {
		return nil
	}
	if n := t.root.at(t.level, 0, uint32(i)); n != nil {
		return n.leaf
	}
	return nil
}

// at descends from a node at the given level to the ancestor of leaf i at
// level to; nil stands for a blank subtree.
func (n *treeNode) at(level, to uint8, i uint32) *treeNode {
	for ; level > to; level-- {
		if n.left == nil {
			return nil
		}
		if i>>(level-1)&1 == 0 {
			n = n.left
		} else {
			n = n.right
		}
	}
	return n
}

// parentAt returns the parent node above leaf i at a level, nil when blank.
func (t *tree) parentAt(level uint8, i LeafIndex) *ParentNode {
	if level == 0 || level > t.level {
		return nil
	}
	if n := t.root.at(t.level, level, uint32(i)); n != nil {
		return n.parent
	}
	return nil
}

// eachLeaf calls fn for every non-blank leaf from left to right until it
// returns false.
func (t *tree) eachLeaf(fn func(i LeafIndex, leaf *LeafNode) bool) {
	t.root.eachLeaf(t.level, 0, fn)
}

func (n *treeNode) eachLeaf(level uint8, first uint32, fn func(LeafIndex, *LeafNode) bool) bool {
	switch {
	case n.leaves == 0:
		return true
	case level == 0:
		return fn(LeafIndex(first), n.leaf)
	}
	return n.left.eachLeaf(level-1, first, fn) &&
		n.right.eachLeaf(level-1, first|1<<(level-1), fn)
}

// leftmostBlank is the slot that the next member takes. It equals the width
// when the tree is full and has to be extended first (RFC 9420 §12.1.1).
func (t *tree) leftmostBlank() LeafIndex {
	if t.root.leaves == t.width() {
		return LeafIndex(t.width())
	}
	n, first := t.root, uint32(0)
	for level := t.level; level > 0; level-- {
		if n.left == nil {
			return LeafIndex(first)
		}
		if n.left.leaves < 1<<(level-1) {
			n = n.left
			continue
		}
		n, first = n.right, first|1<<(level-1)
	}
	return LeafIndex(first)
}

// nodeIndex is the position in the array form of the tree of the node at the
// given level whose subtree starts at leaf first (RFC 9420 Appendix C).
func nodeIndex(level uint8, first uint32) uint32 {
	return first<<1 + (1<<level - 1)
}
