package mls

import (
	"encoding/binary"
	"hash"
	"slices"

	"hubbub/mls/wire"
)

// fill computes the tree hashes and capability summaries that are still
// missing. Filled subtrees are skipped, so after a change only the nodes on the
// changed paths are hashed. It must run before the tree is shared.
func (t *tree) fill() error {
	t.root.capabilities()
	_, err := t.root.fillHash(t.suite, t.level, 0)
	return err
}

// hash returns the tree hash of the root (RFC 9420 §7.8).
func (t *tree) hash() ([]byte, error) { return t.root.fillHash(t.suite, t.level, 0) }

// fillHash returns the hash of the subtree at the given level that starts at
// leaf first, computing and caching what is missing below it.
func (n *treeNode) fillHash(suite CipherSuite, level uint8, first uint32) ([]byte, error) {
	if n.hash != nil {
		return n.hash, nil
	}
	var err error
	switch {
	case level == 0:
		n.hash, err = leafHash(suite, first, n.leaf)
	case n.left == nil:
		n.hash, err = blankHash(suite, level, first)
	default:
		var left, right []byte
		if left, err = n.left.fillHash(suite, level-1, first); err != nil {
			return nil, err
		}
		if right, err = n.right.fillHash(suite, level-1, first|1<<(level-1)); err != nil {
			return nil, err
		}
		n.hash, err = parentTreeHash(suite, n.parent, left, right)
	}
	return n.hash, err
}

// blankHash is the hash of an all-blank subtree. It depends on the place of
// the subtree because leaves are hashed with their index, so a wide tree of
// blanks, which takes an attacker one octet a node, costs two hashes a leaf:
// they are computed without allocating.
func blankHash(suite CipherSuite, level uint8, first uint32) ([]byte, error) {
	a, err := suite.algorithms()
	if err != nil {
		return nil, err
	}
	b := &blankHasher{h: a.hash.New()}
	size := b.h.Size()
	// TreeHashInput of a blank parent: type, presence, two vectors. Each level
	// has its own buffer, of which its children fill in the hashes.
	prefix := append([]byte(nil), encoded(opaque(make([]byte, size)))...)
	for range level {
		input := append([]byte{uint8(NodeTypeParent), 0}, prefix...)
		b.inputs = append(b.inputs, append(input, prefix...))
	}
	b.at = [2]int{2 + len(prefix) - size, 2 + 2*len(prefix) - size}
	return b.sum(level, first, make([]byte, 0, size)), nil
}

// opaque encodes as one vector.
type opaque []byte

func (o opaque) Encode(w *wire.Writer) { w.Opaque(o) }

type blankHasher struct {
	h      hash.Hash
	inputs [][]byte // of the parents, by level - 1
	at     [2]int   // where in them the children's hashes are
	leaf   [6]byte  // TreeHashInput of a blank leaf: type, index, presence
}

// sum appends the hash of a blank subtree to out.
func (b *blankHasher) sum(level uint8, first uint32, out []byte) []byte {
	if level == 0 {
		b.h.Reset()
		b.leaf[0] = uint8(NodeTypeLeaf)
		binary.BigEndian.PutUint32(b.leaf[1:], first)
		b.h.Write(b.leaf[:])
		return b.h.Sum(out)
	}
	input := b.inputs[level-1]
	b.sum(level-1, first, input[:b.at[0]])
	b.sum(level-1, first|1<<(level-1), input[:b.at[1]])
	b.h.Reset()
	b.h.Write(input)
	return b.h.Sum(out)
}

// leafHash hashes TreeHashInput of a leaf.
func leafHash(suite CipherSuite, index uint32, leaf *LeafNode) ([]byte, error) {
	var w wire.Writer
	w.Uint8(uint8(NodeTypeLeaf))
	w.Uint32(index)
	w.Optional(leaf != nil)
	if leaf != nil {
		leaf.Encode(&w)
	}
	return hashWritten(suite, &w)
}

// parentTreeHash hashes TreeHashInput of a parent.
func parentTreeHash(suite CipherSuite, p *ParentNode, left, right []byte) ([]byte, error) {
	var w wire.Writer
	w.Uint8(uint8(NodeTypeParent))
	w.Optional(p != nil)
	if p != nil {
		p.Encode(&w)
	}
	w.Opaque(left)
	w.Opaque(right)
	return hashWritten(suite, &w)
}

// parentHash is the parent hash of p with a copath child whose original tree
// hash is given (RFC 9420 §7.9).
func parentHash(suite CipherSuite, p *ParentNode, sibling []byte) ([]byte, error) {
	var w wire.Writer
	w.Opaque(p.EncryptionKey)
	w.Opaque(p.ParentHash)
	w.Opaque(sibling)
	return hashWritten(suite, &w)
}

func hashWritten(suite CipherSuite, w *wire.Writer) ([]byte, error) {
	b, err := w.Bytes()
	if err != nil {
		return nil, err
	}
	return suite.Hash(b)
}

// originalHash is the tree hash of a filled subtree as if the leaves in
// without (sorted) were blank and unmerged nowhere: the
// original_sibling_tree_hash of RFC 9420 §7.9. Subtrees that hold none of them
// contribute their cached hash.
func (n *treeNode) originalHash(suite CipherSuite, level uint8, first uint32, without []LeafIndex) ([]byte, error) {
	without = within(without, level, first)
	switch {
	case len(without) == 0 || level > 0 && n.left == nil:
		return n.fillHash(suite, level, first)
	case level == 0:
		return leafHash(suite, first, nil)
	}
	left, err := n.left.originalHash(suite, level-1, first, without)
	if err != nil {
		return nil, err
	}
	right, err := n.right.originalHash(suite, level-1, first|1<<(level-1), without)
	if err != nil {
		return nil, err
	}
	p := n.parent
	if p != nil {
		c := *p
		c.UnmergedLeaves = difference(p.UnmergedLeaves, without)
		p = &c
	}
	return parentTreeHash(suite, p, left, right)
}

// within narrows a sorted list to the leaves of one subtree.
func within(leaves []LeafIndex, level uint8, first uint32) []LeafIndex {
	from, _ := slices.BinarySearch(leaves, LeafIndex(first))
	to, found := slices.BinarySearch(leaves, LeafIndex(first|(1<<level-1)))
	if found {
		to++
	}
	return leaves[from:to]
}

// difference returns the elements of a that are not in b; both are sorted.
func difference(a, b []LeafIndex) []LeafIndex {
	out := make([]LeafIndex, 0, len(a))
	for _, i := range a {
		if _, ok := slices.BinarySearch(b, i); !ok {
			out = append(out, i)
		}
	}
	return out
}
