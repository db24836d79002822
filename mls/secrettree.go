package mls

import (
	"slices"

	"hubbub/mls/wire"
)

// secretTree holds the message keys of one epoch (RFC 9420 §9). It is
// immutable: taking a key returns a new tree that no longer holds it and
// shares everything else.
type secretTree struct {
	suite CipherSuite
	size  uint32 // leaves, a power of two
	root  *secretNode
}

// secretNode is either untouched, when it has only its secret, or opened, when
// the secret is gone and what it led to is there instead.
type secretNode struct {
	secret      []byte
	left, right *secretNode // opened parent
	ratchets    *[2]ratchet // opened leaf: handshake, application
}

// newSecretTree starts a tree from encryption_secret. size is the number of
// leaves of the full ratchet tree, not of its trimmed form.
func newSecretTree(suite CipherSuite, encryption []byte, size uint32) *secretTree {
	return &secretTree{suite: suite, size: size, root: &secretNode{secret: encryption}}
}

// ratchetOf tells which of a leaf's ratchets protects a content type.
func ratchetOf(t ContentType) int {
	if t == ContentTypeApplication {
		return 1
	}
	return 0
}

// ratchetChange turns the ratchet of one leaf into its successor.
type ratchetChange func(ratchet) (ratchet, messageKey, error)

// change applies fn to a leaf's ratchet and returns the tree that follows.
func (t *secretTree) change(leaf LeafIndex, content ContentType, fn ratchetChange) (*secretTree, messageKey, error) {
	if uint32(leaf) >= t.size {
		return nil, messageKey{}, ErrNotMember
	}
	root, key, err := t.changeNode(t.root, rootOf(t.size), leaf, ratchetOf(content), fn)
	if err != nil {
		return nil, messageKey{}, err
	}
	return &secretTree{suite: t.suite, size: t.size, root: root}, key, nil
}

func (t *secretTree) changeNode(n *secretNode, at NodeIndex, leaf LeafIndex, which int, fn ratchetChange) (*secretNode, messageKey, error) {
	opened, err := t.open(n, at.isLeaf())
	if err != nil {
		return nil, messageKey{}, err
	}
	if at.isLeaf() {
		ratchets := *opened.ratchets
		next, key, err := fn(ratchets[which])
		ratchets[which] = next
		return &secretNode{ratchets: &ratchets}, key, err
	}
	next := &secretNode{left: opened.left, right: opened.right}
	child, below := &next.right, at
	if leaf.Node() < at {
		child = &next.left
		below, _ = at.left()
	} else {
		below, _ = at.right()
	}
	node, key, err := t.changeNode(*child, below, leaf, which, fn)
	*child = node
	return next, key, err
}

// open derives what is below a node that is still untouched.
func (t *secretTree) open(n *secretNode, leaf bool) (*secretNode, error) {
	if n.secret == nil {
		return n, nil
	}
	size := t.suite.HashSize()
	labels, contexts := [2]string{"tree", "tree"}, [2]string{"left", "right"}
	if leaf {
		labels, contexts = [2]string{"handshake", "application"}, [2]string{}
	}
	var secrets [2][]byte
	for i := range secrets {
		var err error
		secrets[i], err = t.suite.ExpandWithLabel(n.secret, labels[i], []byte(contexts[i]), size)
		if err != nil {
			return nil, err
		}
	}
	if leaf {
		return &secretNode{ratchets: &[2]ratchet{{secret: secrets[0]}, {secret: secrets[1]}}}, nil
	}
	return &secretNode{left: &secretNode{secret: secrets[0]}, right: &secretNode{secret: secrets[1]}}, nil
}

// next takes the leaf's next unused key, for sending.
func (t *secretTree) next(leaf LeafIndex, content ContentType) (*secretTree, messageKey, error) {
	return t.change(leaf, content, func(r ratchet) (ratchet, messageKey, error) {
		return r.step(t.suite)
	})
}

// take takes the key of one generation, for receiving. It returns ErrReplay,
// ErrTooOld or ErrTooFarAhead.
func (t *secretTree) take(leaf LeafIndex, content ContentType, generation uint32, forward, skipped int) (*secretTree, messageKey, error) {
	return t.change(leaf, content, func(r ratchet) (ratchet, messageKey, error) {
		return r.take(t.suite, generation, forward, skipped)
	})
}

// messageKey protects one message.
type messageKey struct {
	generation uint32
	key, nonce []byte
}

// ratchet is a sender ratchet (RFC 9420 §9.1) with the keys that were passed
// over because their messages have not arrived.
type ratchet struct {
	secret     []byte
	generation uint32       // of secret
	spent      bool         // the last generation has been used
	skipped    []messageKey // ascending
	dropped    uint32       // keys below this generation were given up
}

// step derives the next key.
func (r ratchet) step(suite CipherSuite) (ratchet, messageKey, error) {
	if r.spent {
		return r, messageKey{}, ErrTooFarAhead
	}
	a, err := suite.algorithms()
	if err != nil {
		return r, messageKey{}, err
	}
	k := messageKey{generation: r.generation}
	if k.key, err = suite.deriveTreeSecret(r.secret, "key", r.generation, a.keySize); err != nil {
		return r, k, err
	}
	if k.nonce, err = suite.deriveTreeSecret(r.secret, "nonce", r.generation, nonceSize); err != nil {
		return r, k, err
	}
	secret, err := suite.deriveTreeSecret(r.secret, "secret", r.generation, suite.HashSize())
	if err != nil {
		return r, k, err
	}
	r.secret = secret
	r.generation++
	r.spent = r.generation == 0
	return r, k, nil
}

// take finds the key of a generation, stepping forward by at most forward
// steps and keeping at most keep of the keys passed over.
func (r ratchet) take(suite CipherSuite, generation uint32, forward, keep int) (ratchet, messageKey, error) {
	if r.spent || generation < r.generation {
		return r.takeSkipped(generation)
	}
	if uint64(generation)-uint64(r.generation) > uint64(forward) {
		return r, messageKey{}, ErrTooFarAhead
	}
	r.skipped = slices.Clone(r.skipped)
	for {
		var k messageKey
		var err error
		if r, k, err = r.step(suite); err != nil {
			return r, messageKey{}, err
		}
		if k.generation == generation {
			r.trim(keep)
			return r, k, nil
		}
		r.skipped = append(r.skipped, k)
		if len(r.skipped) > 2*keep+1 {
			r.trim(keep)
		}
	}
}

// trim gives up the oldest skipped keys beyond keep.
func (r *ratchet) trim(keep int) {
	if excess := len(r.skipped) - keep; excess > 0 {
		r.dropped = r.skipped[excess-1].generation + 1
		r.skipped = slices.Delete(r.skipped, 0, excess)
	}
}

// takeSkipped takes a key that was passed over before.
func (r ratchet) takeSkipped(generation uint32) (ratchet, messageKey, error) {
	for i, k := range r.skipped {
		if k.generation == generation {
			r.skipped = slices.Delete(slices.Clone(r.skipped), i, i+1)
			return r, k, nil
		}
	}
	if generation < r.dropped {
		return r, messageKey{}, ErrTooOld
	}
	return r, messageKey{}, ErrReplay
}

// Encode appends the tree for storage.
func (t *secretTree) Encode(w *wire.Writer) {
	w.Uint16(uint16(t.suite))
	w.Uint32(t.size)
	t.root.encode(w)
}

func (n *secretNode) encode(w *wire.Writer) {
	switch {
	case n.secret != nil:
		w.Uint8(0)
		w.Opaque(n.secret)
	case n.ratchets != nil:
		w.Uint8(1)
		n.ratchets[0].encode(w)
		n.ratchets[1].encode(w)
	default:
		w.Uint8(2)
		n.left.encode(w)
		n.right.encode(w)
	}
}

func (r *ratchet) encode(w *wire.Writer) {
	w.Opaque(r.secret)
	w.Uint32(r.generation)
	w.Optional(r.spent)
	w.Uint32(r.dropped)
	w.Vector(func(w *wire.Writer) {
		for _, k := range r.skipped {
			w.Uint32(k.generation)
			w.Opaque(k.key)
			w.Opaque(k.nonce)
		}
	})
}

// Decode reads a stored tree and checks its shape, so that walking it cannot
// leave it.
func (t *secretTree) Decode(r *wire.Reader) {
	t.suite, t.size = CipherSuite(r.Uint16()), r.Uint32()
	if t.size == 0 || t.size > maxLeaves || t.size&(t.size-1) != 0 || !t.suite.Supported() {
		r.FailValue()
		return
	}
	t.root = decodeSecretNode(r, rootOf(t.size).level())
}

func decodeSecretNode(r *wire.Reader, level uint) *secretNode {
	n := new(secretNode)
	switch kind := r.Uint8(); {
	case kind == 0:
		if n.secret = r.Opaque(); len(n.secret) == 0 {
			r.FailValue()
		}
	case kind == 1 && level == 0:
		n.ratchets = new([2]ratchet)
		n.ratchets[0].decode(r)
		n.ratchets[1].decode(r)
	case kind == 2 && level > 0:
		n.left = decodeSecretNode(r, level-1)
		n.right = decodeSecretNode(r, level-1)
	default:
		r.FailValue()
	}
	return n
}

func (x *ratchet) decode(r *wire.Reader) {
	x.secret, x.generation, x.spent, x.dropped = r.Opaque(), r.Uint32(), r.Optional(), r.Uint32()
	for v := r.Vector(); !v.Empty(); {
		k := messageKey{generation: v.Uint32(), key: v.Opaque(), nonce: v.Opaque()}
		if len(k.nonce) != nonceSize {
			v.FailValue() // an AEAD panics on any other length
		}
		x.skipped = append(x.skipped, k)
	}
}
