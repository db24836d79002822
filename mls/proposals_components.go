package mls

import (
	"errors"

	"hubbub/mls/wire"
)

// applyComponents hands AppEphemeral and then AppDataUpdate proposals to the
// application (draft-ietf-mls-extensions §4.7 and §4.8).
func (s *staged) applyComponents() error {
	if logic, ok := s.base.config.components().(ephemeralLogic); ok {
		err := s.each(ProposalTypeAppEphemeral, func(r *ResolvedProposal) error {
			if err := logic.Ephemeral(r.Proposal.AppEphemeral.Component, r.Proposal.AppEphemeral.Data); err != nil {
				return &ValidationError{Clause: "draft-ietf-mls-extensions §4.8", Reason: "application data refused", Err: err}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	var err error
	s.extensions, err = s.base.applyUpdates(s.extensions, s.proposals)
	return err
}

const appDataClause = "draft-ietf-mls-extensions §4.7"

// componentUpdates are the AppDataUpdate proposals for one component.
type componentUpdates struct {
	id      ComponentID
	updates [][]byte
	remove  bool
	refs    [][]byte
}

// applyUpdates applies the AppDataUpdate proposals of a list to the dictionary
// in a GroupContext's extensions, one component after the other in the order
// in which the list first names them.
func (p *PublicGroup) applyUpdates(x Extensions, list []ResolvedProposal) (Extensions, error) {
	groups, err := groupUpdates(list)
	if err != nil || len(groups) == 0 {
		return x, err
	}
	d, err := x.Dictionary()
	if err != nil {
		return nil, malformed(ExtensionTypeAppDataDictionary, err)
	}
	d = d.Clone()
	for _, g := range groups {
		if err := g.apply(p.config.components(), d); err != nil {
			return nil, &ValidationError{Clause: appDataClause, Reason: "update of component " + g.id.String() + " refused", ProposalRefs: g.refs, Err: err}
		}
	}
	data, err := wire.Marshal(d)
	if err != nil {
		return nil, err
	}
	x = x.Set(ExtensionTypeAppDataDictionary, data)
	if _, err := p.leafRules(x); err != nil {
		return nil, err
	}
	return x, nil
}

// groupUpdates sorts the list by component and checks that each has either one
// removal or only updates.
func groupUpdates(list []ResolvedProposal) ([]*componentUpdates, error) {
	var groups []*componentUpdates
	byID := map[ComponentID]*componentUpdates{}
	for k := range list {
		r := &list[k]
		u := r.Proposal.AppDataUpdate
		if r.Proposal.Type != ProposalTypeAppDataUpdate {
			continue
		}
		g := byID[u.Component]
		switch {
		case g == nil:
			g = &componentUpdates{id: u.Component}
			byID[u.Component] = g
			groups = append(groups, g)
		case g.remove || u.Op == AppDataUpdateOpRemove:
			return nil, &ValidationError{Clause: appDataClause, Reason: "removal beside another operation on component " + u.Component.String(), ProposalRefs: r.refs()}
		}
		g.refs = append(g.refs, r.refs()...)
		if g.remove = u.Op == AppDataUpdateOpRemove; !g.remove {
			g.updates = append(g.updates, u.Data)
		}
	}
	return groups, nil
}

var errNothingToRemove = errors.New("component has no data to remove")

func (g *componentUpdates) apply(logic ComponentLogic, d *AppDataDictionary) error {
	old, exists := d.Get(g.id)
	if g.remove {
		if !exists {
			return errNothingToRemove
		}
		if err := logic.Remove(g.id, old); err != nil {
			return err
		}
		d.Delete(g.id)
		return nil
	}
	data, err := logic.Update(g.id, old, exists, g.updates)
	if err != nil {
		return err
	}
	d.Set(g.id, data)
	return nil
}
