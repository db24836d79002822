package mls

import "hubbub/mls/wire"

// exportLevels is the height of the export tree: one leaf per ComponentID
// (draft-ietf-mls-extensions §4.4).
const exportLevels = 16

// exportNode is a node of the export tree of one epoch. It is untouched, when
// it has only its secret; opened, when it has only children; or, for a leaf,
// spent, when it has nothing. It is immutable.
type exportNode struct {
	secret      []byte
	left, right *exportNode
}

// SafeExport derives the secret of a component from the epoch. Each component
// gets it once: the group returned no longer holds it, so store that group and
// the secret together. A second call in the epoch returns ErrExported
// (draft-ietf-mls-extensions §4.4).
func (g *Group) SafeExport(id ComponentID) (next *Group, secret []byte, err error) {
	if g == nil {
		return nil, nil, ErrRemoved
	}
	exports, secret, err := g.exports.take(g.Suite(), exportLevels, id)
	if err != nil {
		return nil, nil, err
	}
	return g.with(func(n *Group) { n.exports = exports }), secret, nil
}

// take removes the secret of a leaf below a node at the given level.
func (n *exportNode) take(suite CipherSuite, level uint, id ComponentID) (*exportNode, []byte, error) {
	if level == 0 {
		if n.secret == nil {
			return nil, nil, ErrExported
		}
		return &exportNode{}, n.secret, nil
	}
	left, right, err := n.open(suite)
	if err != nil {
		return nil, nil, err
	}
	next := &exportNode{left: left, right: right}
	child := &next.left
	if id>>(level-1)&1 == 1 {
		child = &next.right
	}
	below, secret, err := (*child).take(suite, level-1, id)
	*child = below
	return next, secret, err
}

// open returns the children of a parent, deriving them if it is untouched.
func (n *exportNode) open(suite CipherSuite) (left, right *exportNode, err error) {
	if n.secret == nil {
		return n.left, n.right, nil
	}
	left, right = new(exportNode), new(exportNode)
	if left.secret, err = suite.ExpandWithLabel(n.secret, "tree", []byte("left"), suite.HashSize()); err != nil {
		return nil, nil, err
	}
	right.secret, err = suite.ExpandWithLabel(n.secret, "tree", []byte("right"), suite.HashSize())
	return left, right, err
}

func (n *exportNode) encode(w *wire.Writer) {
	switch {
	case n.secret != nil:
		w.Uint8(0)
		w.Opaque(n.secret)
	case n.left != nil:
		w.Uint8(1)
		n.left.encode(w)
		n.right.encode(w)
	default:
		w.Uint8(2)
	}
}

func decodeExportNode(r *wire.Reader, level uint) *exportNode {
	n := new(exportNode)
	switch kind := r.Uint8(); {
	case kind == 0:
		if n.secret = r.Opaque(); len(n.secret) == 0 {
			r.FailValue()
		}
	case kind == 1 && level > 0:
		n.left = decodeExportNode(r, level-1)
		n.right = decodeExportNode(r, level-1)
	case kind == 2 && level == 0:
	default:
		r.FailValue()
	}
	return n
}
