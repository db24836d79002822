package mls

import (
	"hubbub/mls/wire"
)

// LeafIndex counts the leaves of a ratchet tree from the left (RFC 9420 §4.1).
type LeafIndex uint32

// LeafNodeSource says how a leaf entered the tree (RFC 9420 §7.2).
type LeafNodeSource uint8

// Leaf node sources.
const (
	LeafNodeSourceKeyPackage LeafNodeSource = 1
	LeafNodeSourceUpdate     LeafNodeSource = 2
	LeafNodeSourceCommit     LeafNodeSource = 3
)

// Capabilities lists what a client supports beyond the defaults of RFC 9420
// (RFC 9420 §7.2). Unknown values are kept and mean nothing.
type Capabilities struct {
	Versions     []ProtocolVersion
	CipherSuites []CipherSuite
	Extensions   []ExtensionType
	Proposals    []ProposalType
	Credentials  []CredentialType
}

// Encode appends the capabilities.
func (c *Capabilities) Encode(w *wire.Writer) {
	encodeUint16s(w, c.Versions)
	encodeUint16s(w, c.CipherSuites)
	encodeUint16s(w, c.Extensions)
	encodeUint16s(w, c.Proposals)
	encodeUint16s(w, c.Credentials)
}

// Decode reads capabilities.
func (c *Capabilities) Decode(r *wire.Reader) {
	c.Versions = decodeUint16s[ProtocolVersion](r)
	c.CipherSuites = decodeUint16s[CipherSuite](r)
	c.Extensions = decodeUint16s[ExtensionType](r)
	c.Proposals = decodeUint16s[ProposalType](r)
	c.Credentials = decodeUint16s[CredentialType](r)
}

// Lifetime bounds the use of a KeyPackage, in seconds since the Unix epoch
// (RFC 9420 §7.2).
type Lifetime struct {
	NotBefore uint64
	NotAfter  uint64
}

// Encode appends the lifetime.
func (l *Lifetime) Encode(w *wire.Writer) {
	w.Uint64(l.NotBefore)
	w.Uint64(l.NotAfter)
}

// Decode reads a lifetime.
func (l *Lifetime) Decode(r *wire.Reader) {
	l.NotBefore = r.Uint64()
	l.NotAfter = r.Uint64()
}

// LeafNode describes one client in the tree (RFC 9420 §7.2). Treat it as
// immutable once it is part of a group.
type LeafNode struct {
	EncryptionKey []byte // HPKE public key
	SignatureKey  []byte
	Credential    Credential
	Capabilities  Capabilities
	Source        LeafNodeSource
	Lifetime      Lifetime // only for source key_package
	ParentHash    []byte   // only for source commit
	Extensions    Extensions
	Signature     []byte
}

// Encode appends the leaf.
func (l *LeafNode) Encode(w *wire.Writer) {
	l.encodeUnsigned(w)
	w.Opaque(l.Signature)
}

func (l *LeafNode) encodeUnsigned(w *wire.Writer) {
	w.Opaque(l.EncryptionKey)
	w.Opaque(l.SignatureKey)
	l.Credential.Encode(w)
	l.Capabilities.Encode(w)
	w.Uint8(uint8(l.Source))
	switch l.Source {
	case LeafNodeSourceKeyPackage:
		l.Lifetime.Encode(w)
	case LeafNodeSourceUpdate:
	case LeafNodeSourceCommit:
		w.Opaque(l.ParentHash)
	default:
		w.Fail(wire.ErrBadValue)
	}
	l.Extensions.Encode(w)
}

// Decode reads a leaf.
func (l *LeafNode) Decode(r *wire.Reader) {
	*l = LeafNode{EncryptionKey: r.Opaque(), SignatureKey: r.Opaque()}
	l.Credential.Decode(r)
	l.Capabilities.Decode(r)
	l.Source = LeafNodeSource(r.Uint8())
	switch l.Source {
	case LeafNodeSourceKeyPackage:
		l.Lifetime.Decode(r)
	case LeafNodeSourceUpdate:
	case LeafNodeSourceCommit:
		l.ParentHash = r.Opaque()
	default:
		r.FailValue()
	}
	l.Extensions.Decode(r)
	l.Signature = r.Opaque()
}

// tbs is the signed content, LeafNodeTBS. The place in the group is part of it
// for leaves made for one group (sources update and commit).
func (l *LeafNode) tbs(groupID []byte, index LeafIndex) ([]byte, error) {
	var w wire.Writer
	l.encodeUnsigned(&w)
	if l.Source != LeafNodeSourceKeyPackage {
		w.Opaque(groupID)
		w.Uint32(uint32(index))
	}
	return w.Bytes()
}

// sign sets the leaf's signature. groupID and index are ignored for source
// key_package.
func (l *LeafNode) sign(suite CipherSuite, priv SignaturePrivateKey, groupID []byte, index LeafIndex) error {
	sign, err := suite.signer(priv)
	if err != nil {
		return err
	}
	return l.signBy(sign, groupID, index)
}

// signBy is sign with a key that signs more.
func (l *LeafNode) signBy(sign labelSigner, groupID []byte, index LeafIndex) error {
	content, err := l.tbs(groupID, index)
	if err != nil {
		return err
	}
	l.Signature, err = sign("LeafNodeTBS", content)
	return err
}

// VerifySignature checks the leaf's own signature (RFC 9420 §7.2). groupID and
// index are ignored for source key_package. It returns ErrBadSignature.
func (l *LeafNode) VerifySignature(suite CipherSuite, groupID []byte, index LeafIndex) error {
	content, err := l.tbs(groupID, index)
	if err != nil {
		return err
	}
	return suite.VerifyWithLabel(l.SignatureKey, "LeafNodeTBS", content, l.Signature)
}

// ParentNode is an inner node of the tree (RFC 9420 §7.1).
type ParentNode struct {
	EncryptionKey  []byte
	ParentHash     []byte
	UnmergedLeaves []LeafIndex // ascending
}

// Encode appends the node.
func (p *ParentNode) Encode(w *wire.Writer) {
	w.Opaque(p.EncryptionKey)
	w.Opaque(p.ParentHash)
	w.Vector(func(w *wire.Writer) {
		for _, i := range p.UnmergedLeaves {
			w.Uint32(uint32(i))
		}
	})
}

// Decode reads a node. That unmerged leaves ascend is checked by validation.
func (p *ParentNode) Decode(r *wire.Reader) {
	*p = ParentNode{EncryptionKey: r.Opaque(), ParentHash: r.Opaque()}
	v := r.Vector()
	if n := len(v.Remaining()) / 4; n > 0 {
		p.UnmergedLeaves = make([]LeafIndex, 0, n)
	}
	for !v.Empty() {
		p.UnmergedLeaves = append(p.UnmergedLeaves, LeafIndex(v.Uint32()))
	}
}

// NodeType tells leaves from parents in the ratchet_tree extension and in tree
// hashes (RFC 9420 §7.8).
type NodeType uint8

// Node types.
const (
	NodeTypeLeaf   NodeType = 1
	NodeTypeParent NodeType = 2
)

// Node is a non-blank node of a RatchetTree: exactly one field is set.
type Node struct {
	Leaf   *LeafNode
	Parent *ParentNode
}

// Encode appends the node with its type.
func (n *Node) Encode(w *wire.Writer) {
	switch {
	case n.Leaf != nil:
		w.Uint8(uint8(NodeTypeLeaf))
		n.Leaf.Encode(w)
	case n.Parent != nil:
		w.Uint8(uint8(NodeTypeParent))
		n.Parent.Encode(w)
	default:
		w.Fail(wire.ErrBadValue)
	}
}

// Decode reads a node.
func (n *Node) Decode(r *wire.Reader) {
	*n = Node{}
	switch NodeType(r.Uint8()) {
	case NodeTypeLeaf:
		n.Leaf = new(LeafNode)
		n.Leaf.Decode(r)
	case NodeTypeParent:
		n.Parent = new(ParentNode)
		n.Parent.Decode(r)
	default:
		r.FailValue()
	}
}

// RatchetTree is a whole tree in the array form of the ratchet_tree extension
// (RFC 9420 §12.4.3.3): nodes from left to right, nil for blank, without blanks
// at the right end.
type RatchetTree []*Node

// Encode appends the vector of optional nodes.
func (t RatchetTree) Encode(w *wire.Writer) {
	w.Vector(func(w *wire.Writer) {
		for _, n := range t {
			w.Optional(n != nil)
			if n != nil {
				n.Encode(w)
			}
		}
	})
}

// Decode reads the vector. Shape and content are checked by NewPublicGroup.
func (t *RatchetTree) Decode(r *wire.Reader) {
	*t = nil
	for v := r.Vector(); !v.Empty(); {
		var n *Node
		if v.Optional() {
			n = new(Node)
			n.Decode(v)
		}
		*t = append(room(*t), n)
	}
}
