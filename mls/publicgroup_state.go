package mls

import (
	"fmt"

	"hubbub/mls/wire"
)

// publicGroupVersion is the version of the stored form of a PublicGroup. A
// change of the form takes a new number.
const publicGroupVersion = 1

// MarshalBinary returns the group in a versioned form for storage. It contains
// the whole tree and the pending proposals, and no secrets.
func (p *PublicGroup) MarshalBinary() ([]byte, error) {
	var w wire.Writer
	p.encode(&w)
	return w.Bytes()
}

// UnmarshalPublicGroup reads what MarshalBinary returned. The tree is checked
// against the stored tree hash, but signatures are not verified again: the
// storage is trusted. It returns ErrBadState. b may be reused afterwards.
func UnmarshalPublicGroup(b []byte, cfg *Config) (*PublicGroup, error) {
	return ownedPublicGroup(append([]byte(nil), b...), cfg)
}

// ownedPublicGroup is UnmarshalPublicGroup for octets that nobody changes any
// more.
func ownedPublicGroup(b []byte, cfg *Config) (*PublicGroup, error) {
	r := wire.NewReader(b)
	p, err := decodePublicGroup(r, cfg)
	if err != nil {
		return nil, err
	}
	if err := r.Done(); err != nil {
		return nil, badState(err)
	}
	return p, nil
}

func badState(err error) error { return fmt.Errorf("%w: public group: %w", ErrBadState, err) }

// encode appends the stored form.
func (p *PublicGroup) encode(w *wire.Writer) {
	w.Uint8(publicGroupVersion)
	p.context.Encode(w)
	w.Opaque(p.confirmationTag)
	p.tree.array().Encode(w)
	w.Optional(p.reInit != nil)
	if p.reInit != nil {
		p.reInit.Encode(w)
	}
	w.Vector(func(w *wire.Writer) {
		for _, c := range p.proposals {
			c.Content.Encode(w)
		}
	})
}

// decodePublicGroup reads the stored form from r, which may hold more.
func decodePublicGroup(r *wire.Reader, cfg *Config) (*PublicGroup, error) {
	if v := r.Uint8(); r.Err() == nil && v != publicGroupVersion {
		return nil, fmt.Errorf("%w: public group of version %d", ErrBadState, v)
	}
	context := new(GroupContext)
	context.Decode(r)
	tag := r.Opaque()
	var nodes RatchetTree
	nodes.Decode(r)
	var reInit *ReInit
	if r.Optional() {
		reInit = new(ReInit)
		reInit.Decode(r)
	}
	contents := decodeVector[AuthenticatedContent](r)
	if err := r.Err(); err != nil {
		return nil, badState(err)
	}
	nodes.shareCapabilities()
	p, err := newPublicGroup(context, nodes, tag, cfg)
	if err != nil {
		return nil, badState(err)
	}
	p.reInit = reInit
	for k := range contents {
		c, err := storedProposal(&contents[k], p.Suite())
		if err != nil {
			return nil, badState(err)
		}
		p.proposals = append(p.proposals, c)
	}
	return p, nil
}

func storedProposal(a *AuthenticatedContent, suite CipherSuite) (*CachedProposal, error) {
	if a.Content.Proposal == nil {
		return nil, wire.ErrBadValue
	}
	ref, err := a.ProposalRef(suite)
	return &CachedProposal{Ref: ref, Proposal: a.Content.Proposal, Sender: a.Content.Sender, Content: a}, err
}
