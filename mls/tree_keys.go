package mls

import (
	"bytes"
	"hash/maphash"
	"math/bits"
	"slices"
)

// keySet is a persistent multiset of public keys: a 16-way hash trie whose
// versions share all nodes but those on the changed path. It counts the keys
// held more than once, so that uniqueness in a tree is one comparison however
// many leaves the tree has. The zero value is empty.
type keySet struct {
	root       *keyNode
	duplicates int
}

// keySeed keeps the trie's shape out of the hands of whoever chooses the keys.
var keySeed = maphash.MakeSeed()

// keyNode is an entry (kids is empty) or a branch (kids is not).
type keyNode struct {
	hash  uint64
	key   []byte
	count int
	next  *keyNode // entries whose 64-bit hashes collide

	bitmap uint16
	kids   []*keyNode
}

// has reports whether the set holds the key.
func (s keySet) has(key []byte) bool {
	h := maphash.Bytes(keySeed, key)
	n := s.root
	for shift := uint(0); n != nil && len(n.kids) > 0; shift += 4 {
		bit, at := n.slot(h, shift)
		if n.bitmap&bit == 0 {
			return false
		}
		n = n.kids[at]
	}
	for ; n != nil; n = n.next {
		if n.hash == h && bytes.Equal(n.key, key) {
			return true
		}
	}
	return false
}

// add returns the set with one more occurrence of key, which it retains.
func (s keySet) add(key []byte) keySet {
	root, count := s.root.add(maphash.Bytes(keySeed, key), 0, key)
	s.root = root
	if count == 2 {
		s.duplicates++
	}
	return s
}

// remove returns the set with one occurrence of key less.
func (s keySet) remove(key []byte) keySet {
	root, count := s.root.remove(maphash.Bytes(keySeed, key), 0, key)
	s.root = root
	if count == 1 {
		s.duplicates--
	}
	return s
}

func (n *keyNode) slot(h uint64, shift uint) (bit uint16, at int) {
	bit = 1 << (h >> shift & 15)
	return bit, bits.OnesCount16(n.bitmap & (bit - 1))
}

// add returns the new subtrie and how often it holds the key now.
func (n *keyNode) add(h uint64, shift uint, key []byte) (*keyNode, int) {
	if n == nil {
		return &keyNode{hash: h, key: key, count: 1}, 1
	}
	if len(n.kids) == 0 {
		if n.hash == h {
			return n.addChained(h, key)
		}
		branch := &keyNode{bitmap: 1 << (n.hash >> shift & 15), kids: []*keyNode{n}}
		return branch.add(h, shift, key)
	}
	bit, at := n.slot(h, shift)
	if n.bitmap&bit == 0 {
		kid := &keyNode{hash: h, key: key, count: 1}
		return &keyNode{bitmap: n.bitmap | bit, kids: slices.Insert(slices.Clone(n.kids), at, kid)}, 1
	}
	c := &keyNode{bitmap: n.bitmap, kids: slices.Clone(n.kids)}
	kid, count := n.kids[at].add(h, shift+4, key)
	c.kids[at] = kid
	return c, count
}

func (n *keyNode) addChained(h uint64, key []byte) (*keyNode, int) {
	if n == nil {
		return &keyNode{hash: h, key: key, count: 1}, 1
	}
	c := *n
	if bytes.Equal(n.key, key) {
		c.count++
		return &c, c.count
	}
	var count int
	c.next, count = n.next.addChained(h, key)
	return &c, count
}

// remove returns the new subtrie and how often it still holds the key; -1 says
// that it never did.
func (n *keyNode) remove(h uint64, shift uint, key []byte) (*keyNode, int) {
	if n == nil {
		return nil, -1
	}
	if len(n.kids) == 0 {
		return n.removeChained(key)
	}
	bit, at := n.slot(h, shift)
	if n.bitmap&bit == 0 {
		return n, -1
	}
	kid, count := n.kids[at].remove(h, shift+4, key)
	if kid != nil {
		c := &keyNode{bitmap: n.bitmap, kids: slices.Clone(n.kids)}
		c.kids[at] = kid
		return c.collapse(), count
	}
	if len(n.kids) == 1 {
		return nil, count
	}
	c := &keyNode{bitmap: n.bitmap &^ bit, kids: slices.Delete(slices.Clone(n.kids), at, at+1)}
	return c.collapse(), count
}

// collapse replaces a branch over a single entry by that entry.
func (n *keyNode) collapse() *keyNode {
	if len(n.kids) == 1 && len(n.kids[0].kids) == 0 {
		return n.kids[0]
	}
	return n
}

func (n *keyNode) removeChained(key []byte) (*keyNode, int) {
	if n == nil {
		return nil, -1
	}
	if bytes.Equal(n.key, key) {
		if n.count == 1 {
			return n.next, 0
		}
		c := *n
		c.count--
		return &c, c.count
	}
	next, count := n.next.removeChained(key)
	if count < 0 {
		return n, count
	}
	c := *n
	c.next = next
	return &c, count
}
