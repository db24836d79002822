package mls

import "math/bits"

// NodeIndex counts the nodes of a ratchet tree from left to right, leaves at
// even indices (RFC 9420 Appendix C).
type NodeIndex uint32

// maxLeaves bounds the number of leaves so that node indices cannot overflow.
const maxLeaves = 1 << 30

// Node returns the leaf's place among all nodes.
func (i LeafIndex) Node() NodeIndex { return NodeIndex(i) * 2 }

// isLeaf reports whether x is a leaf.
func (x NodeIndex) isLeaf() bool { return x&1 == 0 }

// level is 0 for leaves and one more than that of the children for parents:
// the number of trailing one bits.
func (x NodeIndex) level() uint { return uint(bits.TrailingZeros32(^uint32(x))) }

// nodeWidth is the number of nodes of a tree with n leaves, n a power of two.
func nodeWidth(n uint32) uint32 {
	if n == 0 {
		return 0
	}
	return 2*n - 1
}

// rootOf is the root of a tree with n leaves, n a power of two.
func rootOf(n uint32) NodeIndex { return NodeIndex(n - 1) }

// left returns the left child of a parent; ok is false for a leaf.
func (x NodeIndex) left() (NodeIndex, bool) {
	k := x.level()
	if k == 0 {
		return 0, false
	}
	return x ^ 1<<(k-1), true
}

// right returns the right child of a parent; ok is false for a leaf.
func (x NodeIndex) right() (NodeIndex, bool) {
	k := x.level()
	if k == 0 {
		return 0, false
	}
	return x ^ 3<<(k-1), true
}

// parent returns the parent of x in a tree with n leaves; ok is false for the
// root.
func (x NodeIndex) parent(n uint32) (NodeIndex, bool) {
	if x == rootOf(n) {
		return 0, false
	}
	k := x.level()
	b := x >> (k + 1) & 1
	return (x | 1<<k) ^ b<<(k+1), true
}

// sibling returns the other child of x's parent; ok is false for the root.
func (x NodeIndex) sibling(n uint32) (NodeIndex, bool) {
	p, ok := x.parent(n)
	if !ok {
		return 0, false
	}
	if x < p {
		return p.right()
	}
	return p.left()
}

// directPath lists the nodes from x's parent to the root.
func (x NodeIndex) directPath(n uint32) (path []NodeIndex) {
	for p, ok := x.parent(n); ok; p, ok = p.parent(n) {
		path = append(path, p)
	}
	return path
}

// copath lists the siblings of x and of the nodes on its direct path, without
// that of the root.
func (x NodeIndex) copath(n uint32) (path []NodeIndex) {
	for ok := true; ok; x, ok = x.parent(n) {
		if s, has := x.sibling(n); has {
			path = append(path, s)
		}
	}
	return path
}
