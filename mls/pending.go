package mls

import "hubbub/mls/wire"

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
	changed   []LeafIndex // leaves whose occupant changes
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

// Base returns the group of the old epoch as it is after making the commit, or
// nil for an external join. A commit sent as PrivateMessage has used up a key,
// so the caller must continue from Base instead of the group it began with, at
// once and not only when the commit is refused: going back to Base later would
// use message keys again.
func (p *PendingCommit) Base() *Group { return p.base }

// Merge returns the group in the new epoch, once the commit is accepted. If the
// caller has processed messages since making the commit, MergeFrom is right.
func (p *PendingCommit) Merge() *Group { return p.next }

// MergeFrom is Merge for a caller that has gone on in the old epoch while the
// commit was under way: what it has read since then stays read, and the keys it
// was given stay available. current is its latest group of the old epoch. It
// returns ErrWrongGroup or ErrWrongEpoch if current is of another, ErrRemoved if
// it is nil.
func (p *PendingCommit) MergeFrom(current *Group) (*Group, error) {
	switch {
	case current == nil:
		return nil, ErrRemoved
	case p.base == nil || !equalKey(current.GroupID(), p.next.GroupID()):
		return nil, ErrWrongGroup
	case current.Epoch() != p.base.Epoch():
		return nil, ErrWrongEpoch
	}
	past, err := current.retire(p.changed)
	if err != nil {
		return nil, err
	}
	return p.next.with(func(next *Group) { next.past, next.psks = past, current.psks }), nil
}

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
	w.Vector(func(w *wire.Writer) {
		for _, i := range p.changed {
			w.Uint32(uint32(i))
		}
	})
}

func (p *PendingCommit) decode(r *wire.Reader, version uint16, cfg *Config) {
	p.message = r.Opaque()
	if r.Optional() {
		p.welcome = new(Welcome)
		p.welcome.Decode(r)
	}
	p.groupInfo = new(GroupInfo)
	p.groupInfo.Decode(r)
	if r.Optional() {
		p.base = decodeGroup(r, version, cfg)
	}
	p.next = decodeGroup(r, version, cfg)
	for v := r.Vector(); !v.Empty(); {
		p.changed = append(p.changed, LeafIndex(v.Uint32()))
	}
}

// MarshalBinary returns an encoding for storage; it contains secrets.
func (p *PendingCommit) MarshalBinary() ([]byte, error) { return marshalState(p) }

// UnmarshalPendingCommit reads what MarshalBinary returned, or returns
// ErrBadState.
func UnmarshalPendingCommit(b []byte, cfg *Config) (*PendingCommit, error) {
	p := new(PendingCommit)
	err := unmarshalState(b, func(r *wire.Reader, version uint16) { p.decode(r, version, cfg) })
	if err != nil {
		return nil, err
	}
	return p, nil
}
