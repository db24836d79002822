package mls

import "slices"

// aboveFunc gives the new content of a parent on the way to a changed leaf.
type aboveFunc func(level uint8, old *ParentNode) *ParentNode

// replace returns a copy of the subtree with leaf i set and with the parents
// above it passed through above. Nodes off that path are shared.
func (n *treeNode) replace(level uint8, i uint32, leaf *LeafNode, above aboveFunc) *treeNode {
	if level == 0 {
		c := &treeNode{leaf: leaf}
		if leaf != nil {
			c.leaves = 1
		}
		return c
	}
	c := &treeNode{parent: above(level, n.parent)}
	c.left, c.right = n.children()
	if i>>(level-1)&1 == 0 {
		c.left = c.left.replace(level-1, i, leaf, above)
	} else {
		c.right = c.right.replace(level-1, i, leaf, above)
	}
	c.leaves = c.left.leaves + c.right.leaves
	return c
}

// set is the one place where a leaf changes: it keeps both key sets in step.
func (t *tree) set(i LeafIndex, leaf *LeafNode, above aboveFunc) *tree {
	next := *t
	if old := t.leaf(i); old != nil {
		next.encryption = next.encryption.remove(old.EncryptionKey)
		next.signature = next.signature.remove(old.SignatureKey)
	}
	if leaf != nil {
		next.encryption = next.encryption.add(leaf.EncryptionKey)
		next.signature = next.signature.add(leaf.SignatureKey)
	}
	next.root = t.root.replace(t.level, uint32(i), leaf, func(level uint8, old *ParentNode) *ParentNode {
		p := above(level, old)
		if p == old {
			return p
		}
		if old != nil {
			next.encryption = next.encryption.remove(old.EncryptionKey)
		}
		if p != nil {
			next.encryption = next.encryption.add(p.EncryptionKey)
		}
		return p
	})
	return &next
}

func blankAbove(uint8, *ParentNode) *ParentNode { return nil }

// add puts a leaf into the leftmost blank slot, extending the tree when there
// is none, and notes it as unmerged in every parent above (RFC 9420 §12.1.1).
func (t *tree) add(leaf *LeafNode) (*tree, LeafIndex) {
	t, i := t.reserve()
	t = t.set(i, leaf, func(_ uint8, p *ParentNode) *ParentNode {
		if p == nil {
			return nil
		}
		c := *p
		at, _ := slices.BinarySearch(p.UnmergedLeaves, i)
		c.UnmergedLeaves = slices.Insert(slices.Clone(p.UnmergedLeaves), at, i)
		return &c
	})
	return t, i
}

// reserve finds the slot that the next member takes and makes the tree wide
// enough to hold it.
func (t *tree) reserve() (*tree, LeafIndex) {
	i := t.leftmostBlank()
	if uint32(i) < t.width() {
		return t, i
	}
	next := *t
	next.level++
	next.root = &treeNode{left: t.root, right: &treeNode{}, leaves: t.root.leaves}
	return &next, i
}

// update replaces a leaf and blanks the parents above it (RFC 9420 §12.1.2).
func (t *tree) update(i LeafIndex, leaf *LeafNode) *tree {
	return t.set(i, leaf, blankAbove)
}

// remove blanks a leaf and the parents above it, and drops the right half for
// as long as it holds no leaf (RFC 9420 §12.1.3).
func (t *tree) remove(i LeafIndex) *tree {
	return t.set(i, nil, blankAbove).truncate()
}

func (t *tree) truncate() *tree {
	next := *t
	for next.level > 0 {
		left, right := next.root.children()
		if right.leaves > 0 {
			break
		}
		if p := next.root.parent; p != nil {
			next.encryption = next.encryption.remove(p.EncryptionKey)
		}
		next.root = left
		next.level--
	}
	return &next
}

// setPath replaces the leaf of a committer and everything above it: a level
// without an entry in parents becomes blank (RFC 9420 §7.5).
func (t *tree) setPath(i LeafIndex, leaf *LeafNode, parents map[uint8]*ParentNode) *tree {
	return t.set(i, leaf, func(level uint8, _ *ParentNode) *ParentNode { return parents[level] })
}
