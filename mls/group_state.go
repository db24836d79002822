package mls

import (
	"encoding/binary"
	"fmt"
	"slices"

	"hubbub/mls/wire"
)

// stateVersion begins every stored state. Version 2 added the time at which past
// epochs ended and the signers of own Updates; version 1 is still read.
const stateVersion = 2

// marshalState encodes a value for storage, with the version in front.
func marshalState(e wire.Encoder) ([]byte, error) {
	var w wire.Writer
	w.Uint16(stateVersion)
	e.Encode(&w)
	return w.Bytes()
}

// unmarshalState reads what marshalState returned, now or in an earlier version
// of the state, which decode is told. It copies b.
func unmarshalState(b []byte, decode func(r *wire.Reader, version uint16)) error {
	if len(b) < 2 {
		return fmt.Errorf("%w: unknown version", ErrBadState)
	}
	version := binary.BigEndian.Uint16(b)
	if version < 1 || version > stateVersion {
		return fmt.Errorf("%w: unknown version", ErrBadState)
	}
	err := wire.Unmarshal(slices.Clone(b[2:]), decodeFunc(func(r *wire.Reader) { decode(r, version) }))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBadState, err)
	}
	return nil
}

// decodeFunc makes a Decoder of a function.
type decodeFunc func(*wire.Reader)

func (f decodeFunc) Decode(r *wire.Reader) { f(r) }

// Encode appends the group in a form private to this package.
func (g *Group) Encode(w *wire.Writer) {
	public, err := g.public.MarshalBinary()
	if err != nil {
		w.Fail(err)
		return
	}
	w.Opaque(public)
	w.Uint32(uint32(g.own))
	g.signer.Encode(w)
	g.private.encode(w)
	g.secrets.Encode(w)
	g.keys.Encode(w)
	g.exports.encode(w)
	w.Vector(func(w *wire.Writer) {
		for _, p := range g.past {
			p.Encode(w)
		}
	})
	w.Vector(func(w *wire.Writer) {
		for i := range g.updates {
			g.updates[i].Encode(w)
		}
	})
	encodeVector(w, g.psks)
}

// decodeGroup reads what Encode wrote and verifies that the parts fit, so that
// later operations need not.
func decodeGroup(r *wire.Reader, version uint16, cfg *Config) *Group {
	g := &Group{signer: new(SignatureKey), private: new(treePrivate), secrets: new(epochSecrets), keys: new(secretTree)}
	public := r.Opaque()
	if r.Err() != nil {
		return nil
	}
	var err error
	if g.public, err = ownedPublicGroup(public, cfg); err != nil {
		r.Fail(err)
		return nil
	}
	g.own = LeafIndex(r.Uint32())
	g.signer.Decode(r)
	g.private.decode(r)
	g.secrets.Decode(r)
	g.keys.Decode(r)
	g.exports = decodeExportNode(r, exportLevels)
	for v := r.Vector(); !v.Empty(); {
		p := new(pastEpoch)
		p.decode(v, version, cfg)
		g.past = append(g.past, p)
	}
	for v := r.Vector(); !v.Empty(); {
		var u ownUpdate
		u.decode(v, version)
		g.updates = append(g.updates, u)
	}
	g.psks = decodeVector[PSK](r)
	if r.Err() == nil && (g.public.Leaf(g.own) == nil || g.private.index != g.own ||
		len(g.private.nodes) != int(g.public.tree.level)+1 || g.keys.size != g.public.tree.width()) {
		r.FailValue()
	}
	return g
}

// MarshalBinary returns an encoding of everything in the group, for storage. It
// contains secrets; its size is linear in that of the group.
func (g *Group) MarshalBinary() ([]byte, error) {
	if g == nil {
		return nil, ErrRemoved
	}
	return marshalState(g)
}

// UnmarshalGroup reads what MarshalBinary returned, or returns ErrBadState.
// cfg is not stored and has to be given again.
func UnmarshalGroup(b []byte, cfg *Config) (g *Group, err error) {
	err = unmarshalState(b, func(r *wire.Reader, version uint16) { g = decodeGroup(r, version, cfg) })
	if err != nil {
		return nil, err
	}
	return g, nil
}

func (p *treePrivate) encode(w *wire.Writer) {
	w.Uint32(uint32(p.index))
	w.Opaque(p.leafPublic)
	w.Opaque(p.leafPrivate)
	w.Vector(func(w *wire.Writer) {
		for _, n := range p.nodes {
			w.Opaque(n.public)
			w.Opaque(n.private)
		}
	})
}

func (p *treePrivate) decode(r *wire.Reader) {
	p.index = LeafIndex(r.Uint32())
	p.leafPublic = r.Opaque()
	p.leafPrivate = r.Opaque()
	for v := r.Vector(); !v.Empty(); {
		n := nodeKey{public: v.Opaque(), private: v.Opaque()}
		if len(n.public) == 0 {
			n = nodeKey{}
		}
		p.nodes = append(p.nodes, n)
	}
	p.nodes = slices.Clip(p.nodes)
}

func (u *ownUpdate) Encode(w *wire.Writer) {
	w.Opaque(u.encryptionKey)
	w.Opaque(u.private)
	w.Optional(u.signer != nil)
	if u.signer != nil {
		u.signer.Encode(w)
	}
}

func (u *ownUpdate) decode(r *wire.Reader, version uint16) {
	u.encryptionKey = r.Opaque()
	u.private = r.Opaque()
	if version > 1 && r.Optional() {
		u.signer = new(SignatureKey)
		u.signer.Decode(r)
	}
}

// Encode appends the key with its name.
func (p *PSK) Encode(w *wire.Writer) {
	p.ID.Encode(w)
	w.Opaque(p.Secret)
}

// Decode reads a key with its name.
func (p *PSK) Decode(r *wire.Reader) {
	p.ID.Decode(r)
	p.Secret = r.Opaque()
}
