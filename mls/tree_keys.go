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

// keyNode is an entry, or a branch if it has kids.
type keyNode struct {
	hash  uint64
	key   []byte
	count int
	more  *keyMore // nil for most entries, which keeps them small
}

// keyMore is the rarer part of a keyNode.
type keyMore struct {
	bitmap uint16
	kids   []*keyNode
	next   *keyNode // entries whose 64-bit hashes collide
}

func newBranch(bitmap uint16, kids []*keyNode) *keyNode {
	return &keyNode{more: &keyMore{bitmap: bitmap, kids: kids}}
}

func (n *keyNode) isBranch() bool { return n.more != nil && len(n.more.kids) > 0 }

func (n *keyNode) next() *keyNode {
	if n.more == nil {
		return nil
	}
	return n.more.next
}

// withNext returns a copy of an entry with another rest of its chain.
func (n *keyNode) withNext(next *keyNode) *keyNode {
	c := &keyNode{hash: n.hash, key: n.key, count: n.count}
	if next != nil {
		c.more = &keyMore{next: next}
	}
	return c
}

// has reports whether the set holds the key.
func (s keySet) has(key []byte) bool {
	h := maphash.Bytes(keySeed, key)
	n := s.root
	for shift := uint(0); n != nil && n.isBranch(); shift += 4 {
		bit, at := n.slot(h, shift)
		if n.more.bitmap&bit == 0 {
			return false
		}
		n = n.more.kids[at]
	}
	for ; n != nil; n = n.next() {
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
	return bit, bits.OnesCount16(n.more.bitmap & (bit - 1))
}

// withKid returns a copy of a branch with another kid.
func (n *keyNode) withKid(at int, kid *keyNode) *keyNode {
	kids := slices.Clone(n.more.kids)
	kids[at] = kid
	return newBranch(n.more.bitmap, kids)
}

// add returns the new subtrie and how often it holds the key now.
func (n *keyNode) add(h uint64, shift uint, key []byte) (*keyNode, int) {
	if n == nil {
		return &keyNode{hash: h, key: key, count: 1}, 1
	}
	if !n.isBranch() {
		if n.hash == h {
			return n.addChained(h, key)
		}
		return newBranch(1<<(n.hash>>shift&15), []*keyNode{n}).add(h, shift, key)
	}
	bit, at := n.slot(h, shift)
	if n.more.bitmap&bit == 0 {
		kid := &keyNode{hash: h, key: key, count: 1}
		return newBranch(n.more.bitmap|bit, slices.Insert(slices.Clone(n.more.kids), at, kid)), 1
	}
	kid, count := n.more.kids[at].add(h, shift+4, key)
	return n.withKid(at, kid), count
}

func (n *keyNode) addChained(h uint64, key []byte) (*keyNode, int) {
	if n == nil {
		return &keyNode{hash: h, key: key, count: 1}, 1
	}
	if bytes.Equal(n.key, key) {
		c := *n
		c.count++
		return &c, c.count
	}
	next, count := n.next().addChained(h, key)
	return n.withNext(next), count
}

// remove returns the new subtrie and how often it still holds the key; -1 says
// that it never did.
func (n *keyNode) remove(h uint64, shift uint, key []byte) (*keyNode, int) {
	if n == nil {
		return nil, -1
	}
	if !n.isBranch() {
		return n.removeChained(key)
	}
	bit, at := n.slot(h, shift)
	if n.more.bitmap&bit == 0 {
		return n, -1
	}
	kid, count := n.more.kids[at].remove(h, shift+4, key)
	if kid != nil {
		return n.withKid(at, kid).collapse(), count
	}
	if len(n.more.kids) == 1 {
		return nil, count
	}
	kids := slices.Delete(slices.Clone(n.more.kids), at, at+1)
	return newBranch(n.more.bitmap&^bit, kids).collapse(), count
}

// collapse replaces a branch over a single entry by that entry.
func (n *keyNode) collapse() *keyNode {
	if kids := n.more.kids; len(kids) == 1 && !kids[0].isBranch() {
		return kids[0]
	}
	return n
}

func (n *keyNode) removeChained(key []byte) (*keyNode, int) {
	if n == nil {
		return nil, -1
	}
	if bytes.Equal(n.key, key) {
		if n.count == 1 {
			return n.next(), 0
		}
		c := *n
		c.count--
		return &c, c.count
	}
	next, count := n.next().removeChained(key)
	if count < 0 {
		return n, count
	}
	return n.withNext(next), count
}
