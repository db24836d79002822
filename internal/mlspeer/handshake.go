package mlspeer

import (
	"crypto/rand"
	"fmt"

	"hubbub/mls"
	"hubbub/mls/wire"
)

func (c *client) add(m *membership, r *request) (answer, error) {
	if len(r.KeyPackages) == 0 {
		return nil, fmt.Errorf("%w: key_packages", errMissing)
	}
	var list []mls.Proposal
	for _, b := range r.KeyPackages {
		p, err := (&proposal{Type: "add", KeyPackage: b}).build(m.group)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return m.commit(r, mls.CommitOptions{Proposals: list, ForcePath: r.Path})
}

func (c *client) remove(m *membership, r *request) (answer, error) {
	p, err := (&proposal{Type: "remove", Identity: r.Identity, Leaf: r.Leaf}).build(m.group)
	if err != nil {
		return nil, err
	}
	return m.commit(r, mls.CommitOptions{Proposals: []mls.Proposal{p}})
}

func (c *client) update(m *membership, r *request) (answer, error) {
	return m.commit(r, mls.CommitOptions{ForcePath: true})
}

func (c *client) commit(m *membership, r *request) (answer, error) {
	var list []mls.Proposal
	for _, p := range r.Proposals {
		v, err := p.build(m.group)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return m.commit(r, mls.CommitOptions{Proposals: list, ForcePath: r.Path})
}

// commit makes a commit and merges it.
func (m *membership) commit(r *request, o mls.CommitOptions) (answer, error) {
	var err error
	if o.Private, err = r.private(); err != nil {
		return nil, err
	}
	o.AAD = r.AAD
	o.TreeInWelcome = r.TreeInWelcome == nil || *r.TreeInWelcome
	pending, err := m.group.Commit(o)
	if err != nil {
		return nil, err
	}
	a := answer{"commit": pending.Message()}
	if w := pending.Welcome(); w != nil {
		if a["welcome"], err = mls.NewMessage(w).Marshal(); err != nil {
			return nil, err
		}
		if !o.TreeInWelcome {
			if a["ratchet_tree"], err = wire.Marshal(pending.Tree()); err != nil {
				return nil, err
			}
		}
	}
	m.group = pending.Merge()
	for k, v := range m.state() {
		a[k] = v
	}
	return a, nil
}

func (c *client) propose(m *membership, r *request) (answer, error) {
	if r.Proposal == nil {
		return nil, fmt.Errorf("%w: proposal", errMissing)
	}
	p, err := r.Proposal.build(m.group)
	if err != nil {
		return nil, err
	}
	private, err := r.private()
	if err != nil {
		return nil, err
	}
	next, msg, err := m.group.Propose(p, mls.ProposeOptions{AAD: r.AAD, Private: private})
	if err != nil {
		return nil, err
	}
	m.group = next
	return m.state().with("message", msg), nil
}

// build makes the proposal for a group; g is nil for an external joiner.
func (p *proposal) build(g *mls.Group) (mls.Proposal, error) {
	if p == nil {
		return mls.Proposal{}, fmt.Errorf("%w: proposal", errMissing)
	}
	switch p.Type {
	case "add":
		kp, err := keyPackage(p.KeyPackage)
		if err != nil {
			return mls.Proposal{}, err
		}
		return mls.Proposal{Type: mls.ProposalTypeAdd, Add: &mls.Add{KeyPackage: *kp}}, nil
	case "remove":
		leaf, err := p.removed(g)
		return mls.Proposal{Type: mls.ProposalTypeRemove, Remove: &mls.Remove{Removed: leaf}}, err
	case "update":
		return mls.Proposal{Type: mls.ProposalTypeUpdate}, nil
	case "psk":
		return p.psk(g)
	case "gce":
		return mls.Proposal{Type: mls.ProposalTypeGroupContextExtensions,
			GroupContextExtensions: &mls.GroupContextExtensions{Extensions: extensions(p.Extensions)}}, nil
	case "self_remove":
		return mls.Proposal{Type: mls.ProposalTypeSelfRemove, SelfRemove: &mls.SelfRemove{}}, nil
	case "reinit":
		return mls.Proposal{Type: mls.ProposalTypeReInit, ReInit: &mls.ReInit{GroupID: p.Group, Version: mls.MLS10,
			CipherSuite: p.Suite, Extensions: extensions(p.Extensions)}}, nil
	case "custom":
		return p.custom()
	}
	return mls.Proposal{}, fmt.Errorf("unknown proposal type %q", p.Type)
}

// custom makes a proposal of any type from the content of its body, which is
// read as the type demands.
func (p *proposal) custom() (mls.Proposal, error) {
	var w wire.Writer
	w.Uint16(uint16(p.ProposalType))
	var known mls.Proposal
	if head, err := w.Bytes(); err == nil && wire.Unmarshal(append(head, p.Data...), &known) == nil && known.Raw == nil {
		return known, nil
	}
	return mls.Proposal{Type: p.ProposalType, Raw: p.Data}, nil
}

// removed finds the leaf that a proposal removes.
func (p *proposal) removed(g *mls.Group) (mls.LeafIndex, error) {
	switch {
	case p.Leaf != nil:
		return mls.LeafIndex(*p.Leaf), nil
	case p.Identity == nil || g == nil:
		return 0, fmt.Errorf("%w: identity or leaf", errMissing)
	}
	return findMember(g.Members(), p.Identity)
}

// psk names a stored key, or the resumption key of an epoch of the group.
func (p *proposal) psk(g *mls.Group) (mls.Proposal, error) {
	id := &mls.PreSharedKeyID{Type: mls.PSKTypeExternal, ID: p.PSKID}
	switch {
	case p.PSKID != nil:
	case p.Epoch != nil && g != nil:
		id = &mls.PreSharedKeyID{Type: mls.PSKTypeResumption, Usage: mls.ResumptionPSKUsageApplication,
			GroupID: g.GroupID(), Epoch: *p.Epoch}
	default:
		return mls.Proposal{}, fmt.Errorf("%w: psk_id", errMissing)
	}
	size := mls.SuiteX25519AES128SHA256Ed25519.HashSize()
	if g != nil {
		size = g.Suite().HashSize()
	}
	id.Nonce = make([]byte, size)
	_, err := rand.Read(id.Nonce)
	return mls.Proposal{Type: mls.ProposalTypePSK, PSK: id}, err
}
