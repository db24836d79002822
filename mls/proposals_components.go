package mls

import (
	"errors"
	"slices"

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
	entries := make([]ComponentData, 0, len(d.Entries)+len(groups))
	changed := make(map[ComponentID]bool, len(groups))
	for _, g := range groups {
		data, err := g.apply(p.config.components(), d)
		if err != nil {
			return nil, &ValidationError{Clause: appDataClause, Reason: "update of component " + g.id.String() + " refused", ProposalRefs: g.refs, Err: err}
		}
		changed[g.id] = true
		if !g.remove {
			entries = append(entries, ComponentData{Component: g.id, Data: data})
		}
	}
	for _, e := range d.Entries {
		if !changed[e.Component] {
			entries = append(entries, e)
		}
	}
	slices.SortFunc(entries, func(a, b ComponentData) int { return int(a.Component) - int(b.Component) })
	data, err := wire.Marshal(&AppDataDictionary{Entries: entries})
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

// apply asks the application and returns the component's new data, nil if it is
// removed. d is the dictionary before the commit.
func (g *componentUpdates) apply(logic ComponentLogic, d *AppDataDictionary) (data []byte, err error) {
	old, exists := d.Get(g.id)
	switch {
	case !g.remove:
		return logic.Update(g.id, old, exists, g.updates)
	case !exists:
		return nil, errNothingToRemove
	}
	return nil, logic.Remove(g.id, old)
}
