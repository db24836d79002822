package mls

import (
	"slices"

	"hubbub/mls/wire"
)

// PendingCommit is a commit that has been made but not accepted. Store it
// before sending: only with it can the committer follow its own commit.
// Dropping it abandons the commit.
type PendingCommit struct {
	message   []byte
	welcome   *Welcome
	groupInfo *GroupInfo
	proposals []ResolvedProposal
	base      *Group // nil for an external join
	next      *Group
}

// Message returns the octets of the commit's MLSMessage. They must not be
// changed.
func (p *PendingCommit) Message() []byte { return p.message }

// Welcome returns the Welcome for all members the commit adds, nil if it adds
// none. It must not leave before the commit is accepted (RFC 9420 §14).
func (p *PendingCommit) Welcome() *Welcome { return p.welcome }

// GroupInfo returns the signed GroupInfo of the new epoch with external_pub,
// without the ratchet tree.
func (p *PendingCommit) GroupInfo() *GroupInfo { return p.groupInfo }

// Tree returns the ratchet tree of the new epoch.
func (p *PendingCommit) Tree() RatchetTree { return p.next.Tree() }

// Proposals returns what the commit contains; nil after UnmarshalPendingCommit.
func (p *PendingCommit) Proposals() []ResolvedProposal { return p.proposals }

// Base returns the group of the old epoch to go on with if the commit is not
// accepted; nil for an external join. For a commit sent as PrivateMessage it
// differs from the group the commit was made from: the message has used up a
// key, so the caller must continue from Base.
func (p *PendingCommit) Base() *Group { return p.base }

// Merge returns the group in the new epoch, once the commit is accepted.
func (p *PendingCommit) Merge() *Group { return p.next }

// Encode appends the commit in a form private to this package.
func (p *PendingCommit) Encode(w *wire.Writer) {
	w.Opaque(p.message)
	w.Optional(p.welcome != nil)
	if p.welcome != nil {
		p.welcome.Encode(w)
	}
	p.groupInfo.Encode(w)
	w.Optional(p.base != nil)
	if p.base != nil {
		p.base.Encode(w)
	}
	p.next.Encode(w)
}

func (p *PendingCommit) decode(r *wire.Reader, cfg *Config) {
	p.message = r.Opaque()
	if r.Optional() {
		p.welcome = new(Welcome)
		p.welcome.Decode(r)
	}
	p.groupInfo = new(GroupInfo)
	p.groupInfo.Decode(r)
	if r.Optional() {
		p.base = decodeGroup(r, cfg)
	}
	p.next = decodeGroup(r, cfg)
}

// MarshalBinary returns an encoding for storage; it contains secrets.
func (p *PendingCommit) MarshalBinary() ([]byte, error) { return marshalState(p) }

// UnmarshalPendingCommit reads what MarshalBinary returned, or returns
// ErrBadState.
func UnmarshalPendingCommit(b []byte, cfg *Config) (*PendingCommit, error) {
	p := new(PendingCommit)
	err := unmarshalState(b, decodeFunc(func(r *wire.Reader) { p.decode(r, cfg) }))
	if err != nil {
		return nil, err
	}
	return p, nil
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
	encodeVector(w, g.updates)
	encodeVector(w, g.psks)
}

// decodeGroup reads what Encode wrote and verifies that the parts fit, so that
// later operations need not.
func decodeGroup(r *wire.Reader, cfg *Config) *Group {
	g := &Group{signer: new(SignatureKey), private: new(treePrivate), secrets: new(epochSecrets), keys: new(secretTree)}
	public := r.Opaque()
	if r.Err() != nil {
		return nil
	}
	var err error
	if g.public, err = UnmarshalPublicGroup(public, cfg); err != nil {
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
		p.Decode(v)
		g.past = append(g.past, p)
	}
	g.updates = decodeVector[ownUpdate](r)
	g.psks = decodeVector[PSK](r)
	if r.Err() == nil && (g.public.Leaf(g.own) == nil || g.private.index != g.own ||
		len(g.private.nodes) != int(g.public.tree.level)+1 || g.keys.size != g.public.tree.width()) {
		r.FailValue()
	}
	return g
}

// MarshalBinary returns an encoding of everything in the group, for storage. It
// contains secrets; its size is linear in that of the group.
func (g *Group) MarshalBinary() ([]byte, error) { return marshalState(g) }

// UnmarshalGroup reads what MarshalBinary returned, or returns ErrBadState.
// cfg is not stored and has to be given again.
func UnmarshalGroup(b []byte, cfg *Config) (g *Group, err error) {
	err = unmarshalState(b, decodeFunc(func(r *wire.Reader) { g = decodeGroup(r, cfg) }))
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
}

func (u *ownUpdate) Decode(r *wire.Reader) {
	u.encryptionKey = r.Opaque()
	u.private = r.Opaque()
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
