package mls

import (
	"slices"

	"hubbub/mls/wire"
)

// pastEpoch keeps what late application messages of an epoch need. Members are
// stored as differences from the current tree, so that its size follows from
// the changes since and not from the size of the group.
type pastEpoch struct {
	epoch      uint64
	ended      uint64 // Unix seconds
	context    []byte // encoded GroupContext
	safeAAD    bool
	senderData []byte
	resumption []byte
	keys       *secretTree
	changed    []pastMember // leaves that differ from the current tree
}

// pastMember is the occupant of a leaf in a past epoch.
type pastMember struct {
	index        LeafIndex
	signatureKey []byte // empty: the leaf was blank
	credential   Credential
}

// retire turns the current epoch into a past one. changed lists the leaves that
// the commit to the next epoch has touched. The list returned is what the next
// Group keeps.
func (g *Group) retire(changed []LeafIndex) ([]*pastEpoch, error) {
	keep := g.config().pastEpochs()
	if keep == 0 {
		return nil, nil
	}
	context, err := g.public.encodedContext()
	if err != nil {
		return nil, err
	}
	current := &pastEpoch{
		epoch: g.Epoch(), ended: uint64(max(g.config().now().Unix(), 0)), context: context, safeAAD: g.Context().RequiresSafeAAD(),
		senderData: g.secrets.senderData, resumption: g.secrets.resumption, keys: g.keys,
	}
	past := append([]*pastEpoch{current}, g.keptPast()...)
	if len(past) > keep {
		past = past[:keep]
	}
	for i, p := range past {
		past[i] = p.remember(g.public, changed)
	}
	return past, nil
}

// keptPast lists the past epochs that have not expired.
func (g *Group) keptPast() []*pastEpoch {
	return slices.DeleteFunc(slices.Clone(g.past), func(p *pastEpoch) bool { return g.config().expired(p.ended) })
}

// Prune returns the group without the keys of past epochs that have outlived
// Config.MaxPastAge. Changes of epoch do the same; a client in a quiet group
// calls Prune now and then and stores the result (RFC 9420 §9.2).
func (g *Group) Prune() *Group {
	kept := g.keptPast()
	if len(kept) == len(g.past) {
		return g
	}
	return g.with(func(next *Group) { next.past = kept })
}

// remember records the present occupants of leaves that are about to change,
// unless an earlier change was recorded already.
func (p *pastEpoch) remember(now *PublicGroup, changed []LeafIndex) *pastEpoch {
	next := *p
	next.changed = slices.Clone(p.changed)
	for _, i := range changed {
		if slices.ContainsFunc(next.changed, func(m pastMember) bool { return m.index == i }) {
			continue
		}
		m := pastMember{index: i, credential: Credential{Type: CredentialTypeBasic}}
		if leaf := now.Leaf(i); leaf != nil {
			m.signatureKey, m.credential = leaf.SignatureKey, leaf.Credential
		}
		next.changed = append(next.changed, m)
	}
	return &next
}

// member returns who was at leaf i in that epoch. now is the current tree.
func (p *pastEpoch) member(i LeafIndex, now *PublicGroup) (*pastMember, error) {
	for k := range p.changed {
		if p.changed[k].index == i {
			if len(p.changed[k].signatureKey) == 0 {
				return nil, ErrNotMember
			}
			return &p.changed[k], nil
		}
	}
	if leaf := now.Leaf(i); leaf != nil {
		return &pastMember{index: i, signatureKey: leaf.SignatureKey, credential: leaf.Credential}, nil
	}
	return nil, ErrNotMember
}

func (m *pastMember) Encode(w *wire.Writer) {
	w.Uint32(uint32(m.index))
	w.Opaque(m.signatureKey)
	m.credential.Encode(w)
}

func (m *pastMember) Decode(r *wire.Reader) {
	m.index = LeafIndex(r.Uint32())
	m.signatureKey = r.Opaque()
	m.credential.Decode(r)
}

func (p *pastEpoch) Encode(w *wire.Writer) {
	w.Uint64(p.epoch)
	w.Uint64(p.ended)
	w.Opaque(p.context)
	w.Optional(p.safeAAD)
	w.Opaque(p.senderData)
	w.Opaque(p.resumption)
	p.keys.Encode(w)
	encodeVector(w, p.changed)
}

// decode reads an epoch stored in a version of the state. Version 1 did not
// note when it ended; such an epoch counts as just ended.
func (p *pastEpoch) decode(r *wire.Reader, version uint16, cfg *Config) {
	p.epoch = r.Uint64()
	p.ended = uint64(max(cfg.now().Unix(), 0))
	if version > 1 {
		p.ended = r.Uint64()
	}
	p.context = r.Opaque()
	p.safeAAD = r.Optional()
	p.senderData = r.Opaque()
	p.resumption = r.Opaque()
	p.keys = new(secretTree)
	p.keys.Decode(r)
	p.changed = decodeVector[pastMember](r)
}
