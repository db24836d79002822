package mlspeer

import (
	"bytes"
	"errors"
	"fmt"

	"hubbub/mls"
	"hubbub/mls/wire"
)

// state is the part of an answer that tells where the client is.
func (m *membership) state() answer {
	return answer{"group": m.group.GroupID(), "epoch": m.group.Epoch(),
		"epoch_authenticator": m.group.EpochAuthenticator(), "active": !m.removed && m.group.Public().ReInit() == nil}
}

// with adds entries to an answer.
func (a answer) with(key string, value any) answer {
	a[key] = value
	return a
}

// enter makes the client a member; a membership of the same group ends.
func (c *client) enter(g *mls.Group) *membership {
	m := &membership{group: g.WithPSKs(c.psks...)}
	c.groups[string(g.GroupID())] = m
	return m
}

func (c *client) createGroup(r *request) (answer, error) {
	if m := c.groups[string(r.Group)]; m != nil && !m.removed {
		return nil, errors.New("the client is in this group already")
	}
	g, err := mls.NewGroup(mls.GroupOptions{GroupID: r.Group, Suite: c.suite, Signer: c.signer, Credential: c.credential,
		Capabilities: c.capabilities, Extensions: extensions(r.GroupExtensions), LeafExtensions: extensions(r.LeafExtensions)}, c.cfg)
	if err != nil {
		return nil, err
	}
	return c.enter(g).state(), nil
}

func (c *client) joinWelcome(r *request) (answer, error) {
	w, err := welcome(r.Welcome)
	if err != nil {
		return nil, err
	}
	tree, err := r.tree()
	if err != nil {
		return nil, err
	}
	at, err := c.addressed(w)
	if err != nil {
		return nil, err
	}
	o := mls.JoinOptions{Tree: tree, PSKs: c.joinPSKs()}
	g, err := mls.JoinWelcome(w, c.keyPackages[at], o, c.cfg)
	if err != nil {
		return nil, err
	}
	if r.Group != nil && !bytes.Equal(r.Group, g.GroupID()) {
		return nil, mls.ErrWrongGroup
	}
	if !c.keyPackages[at].KeyPackage.IsLastResort() {
		c.keyPackages = append(c.keyPackages[:at:at], c.keyPackages[at+1:]...)
	}
	return c.enter(g).state(), nil
}

// joinPSKs are the keys a Welcome may ask for: those stored, and the resumption
// keys of the client's groups.
func (c *client) joinPSKs() []mls.PSK {
	psks := append([]mls.PSK{}, c.psks...)
	for _, m := range c.groups {
		psks = append(psks, m.group.ResumptionPSK(mls.ResumptionPSKUsageApplication))
	}
	return psks
}

// addressed finds the KeyPackage that a Welcome is for.
func (c *client) addressed(w *mls.Welcome) (int, error) {
	for i, s := range c.keyPackages {
		ref, err := s.KeyPackage.Ref()
		if err != nil {
			return 0, err
		}
		for k := range w.Secrets {
			if bytes.Equal(w.Secrets[k].NewMember, ref) {
				return i, nil
			}
		}
	}
	return 0, mls.ErrNoMatchingKeyPackage
}

func (c *client) externalJoin(r *request) (answer, error) {
	gi, err := groupInfo(r.GroupInfo)
	if err != nil {
		return nil, err
	}
	tree, err := r.tree()
	if err != nil {
		return nil, err
	}
	o := mls.ExternalJoinOptions{Tree: tree, Signer: c.signer, Credential: c.credential, Capabilities: c.capabilities,
		LeafExtensions: extensions(r.LeafExtensions), PSKs: c.psks, AAD: r.AAD}
	for _, p := range r.Proposals {
		v, err := p.build(nil)
		if err != nil {
			return nil, err
		}
		o.ByValue = append(o.ByValue, v)
	}
	if r.Resync {
		old, err := c.formerLeaf(gi, tree)
		if err != nil {
			return nil, err
		}
		o.ByValue = append(o.ByValue, mls.Proposal{Type: mls.ProposalTypeRemove, Remove: &mls.Remove{Removed: old}})
	}
	pending, err := mls.JoinExternal(gi, o, c.cfg)
	if err != nil {
		return nil, err
	}
	return c.enter(pending.Merge()).state().with("commit", pending.Message()), nil
}

// formerLeaf finds the client in a group it is about to join again.
func (c *client) formerLeaf(gi *mls.GroupInfo, tree mls.RatchetTree) (mls.LeafIndex, error) {
	p, err := mls.NewPublicGroup(gi, tree, c.cfg)
	if err != nil {
		return 0, err
	}
	return findMember(p.Members(), identityOf(&c.credential))
}

// findMember finds a member by its identity.
func findMember(members []mls.Member, identity []byte) (mls.LeafIndex, error) {
	for _, m := range members {
		if bytes.Equal(identityOf(&m.Leaf.Credential), identity) {
			return m.Index, nil
		}
	}
	return 0, fmt.Errorf("%w: nobody has this identity", mls.ErrNotMember)
}

func (c *client) state(m *membership, _ *request) (answer, error) {
	a := m.state()
	members := []answer{}
	for _, x := range m.group.Members() {
		members = append(members, answer{"leaf": x.Index, "identity": identityOf(&x.Leaf.Credential), "signature_key": x.Leaf.SignatureKey})
	}
	list := []extension{}
	for _, x := range m.group.Context().Extensions {
		list = append(list, extension{x.Type, x.Data})
	}
	a["tree_hash"] = m.group.Context().TreeHash
	a["members"], a["extensions"] = members, list
	a["suite"] = m.group.Suite()
	if !m.removed {
		a["own_leaf"] = m.group.OwnLeaf()
	}
	return a, nil
}

func (c *client) exportGroupInfo(m *membership, r *request) (answer, error) {
	gi, err := m.group.GroupInfo()
	if err != nil {
		return nil, err
	}
	tree, err := wire.Marshal(m.group.Tree())
	if err != nil {
		return nil, err
	}
	a := answer{}
	if r.WithTree == nil || *r.WithTree {
		gi.Extensions = gi.Extensions.Set(mls.ExtensionTypeRatchetTree, tree)
		if err := gi.Sign(m.group.Signer().Private); err != nil {
			return nil, err
		}
	} else {
		a["ratchet_tree"] = tree
	}
	b, err := mls.NewMessage(gi).Marshal()
	if err != nil {
		return nil, err
	}
	return a.with("group_info", b), nil
}

func (c *client) exporter(m *membership, r *request) (answer, error) {
	secret, err := m.group.Export(r.Label, r.Context, r.Length)
	if err != nil {
		return nil, err
	}
	return answer{"secret": secret}, nil
}
