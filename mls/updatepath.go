package mls

import "hubbub/mls/wire"

// HPKECiphertext is a single-shot HPKE encryption (RFC 9420 §5.1.3).
type HPKECiphertext struct {
	KEMOutput  []byte
	Ciphertext []byte
}

// Encode appends the ciphertext.
func (c *HPKECiphertext) Encode(w *wire.Writer) {
	w.Opaque(c.KEMOutput)
	w.Opaque(c.Ciphertext)
}

// Decode reads a ciphertext.
func (c *HPKECiphertext) Decode(r *wire.Reader) {
	c.KEMOutput = r.Opaque()
	c.Ciphertext = r.Opaque()
}

// UpdatePathNode is the new key of one node on the committer's filtered direct
// path (RFC 9420 §7.6).
type UpdatePathNode struct {
	EncryptionKey       []byte
	EncryptedPathSecret []HPKECiphertext // one per node in the copath resolution
}

// Encode appends the node.
func (n *UpdatePathNode) Encode(w *wire.Writer) {
	w.Opaque(n.EncryptionKey)
	encodeVector(w, n.EncryptedPathSecret)
}

// Decode reads a node.
func (n *UpdatePathNode) Decode(r *wire.Reader) {
	n.EncryptionKey = r.Opaque()
	n.EncryptedPathSecret = decodeVector[HPKECiphertext](r)
}

// UpdatePath renews the committer's leaf and the nodes above it
// (RFC 9420 §7.6).
type UpdatePath struct {
	LeafNode LeafNode
	Nodes    []UpdatePathNode
}

// Encode appends the path.
func (p *UpdatePath) Encode(w *wire.Writer) {
	p.LeafNode.Encode(w)
	encodeVector(w, p.Nodes)
}

// Decode reads a path.
func (p *UpdatePath) Decode(r *wire.Reader) {
	p.LeafNode.Decode(r)
	p.Nodes = decodeVector[UpdatePathNode](r)
}

// ProposalOrRef is an entry of a Commit: a proposal by value, or the reference
// of one sent before (RFC 9420 §12.4). Ref counts when Proposal is nil.
type ProposalOrRef struct {
	Proposal *Proposal
	Ref      []byte
}

// Encode appends the entry.
func (p *ProposalOrRef) Encode(w *wire.Writer) {
	if p.Proposal != nil {
		w.Uint8(1)
		p.Proposal.Encode(w)
		return
	}
	w.Uint8(2)
	w.Opaque(p.Ref)
}

// Decode reads an entry.
func (p *ProposalOrRef) Decode(r *wire.Reader) {
	*p = ProposalOrRef{}
	switch r.Uint8() {
	case 1:
		p.Proposal = new(Proposal)
		p.Proposal.Decode(r)
	case 2:
		p.Ref = r.Opaque()
	default:
		r.FailValue()
	}
}

// Commit ends an epoch: it applies proposals and may renew the committer's
// path (RFC 9420 §12.4).
type Commit struct {
	Proposals []ProposalOrRef
	Path      *UpdatePath // nil if absent
}

// Encode appends the commit.
func (c *Commit) Encode(w *wire.Writer) {
	encodeVector(w, c.Proposals)
	w.Optional(c.Path != nil)
	if c.Path != nil {
		c.Path.Encode(w)
	}
}

// Decode reads a commit.
func (c *Commit) Decode(r *wire.Reader) {
	*c = Commit{Proposals: decodeVector[ProposalOrRef](r)}
	if r.Optional() {
		c.Path = new(UpdatePath)
		c.Path.Decode(r)
	}
}
