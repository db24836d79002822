package room

import (
	"fmt"
	"slices"

	"hubbub/mimi"
	"hubbub/mls"
)

// bannedRole is the role of users who are listed so that they stay out
// (mimi-room-policy-03 §2, POL-1).
const bannedRole = 1

// view is what follows from a State's group: the participant list as committed,
// which all indices refer to, and as it will be once what is pending has been
// committed, by which later events are judged (D-26).
type view struct {
	list      *mimi.ParticipantListData // committed
	committed []Participant             // the same
	effective *mimi.ParticipantListData // with the pending updates
	leaving   map[mls.LeafIndex]bool    // leaves that a pending proposal removes
	rules     *rules                    // the room's policy components
}

// derive fills in the view after the group or its pending proposals changed.
func (s State) derive() (State, error) {
	v := &view{leaving: map[mls.LeafIndex]bool{}}
	var err error
	if v.list, err = participantList(s.group); err != nil {
		return s, err
	}
	v.committed = participants(v.list)
	if v.rules, err = loadRules(s.group.Dictionary()); err != nil {
		return s, err
	}
	updates, err := listUpdates(cachedProposals(s.group))
	if err != nil {
		return s, err
	}
	if v.effective, err = v.list.Apply(updates...); err != nil {
		return s, fmt.Errorf("%w: pending proposals: %w", ErrBadState, err)
	}
	for _, c := range s.group.Cached() {
		switch c.Proposal.Type {
		case mls.ProposalTypeRemove:
			v.leaving[c.Proposal.Remove.Removed] = true
		case mls.ProposalTypeSelfRemove:
			v.leaving[c.Sender.LeafIndex] = true
		}
	}
	s.view = v
	return s, nil
}

// role is the effective role of a user: 0 if it is not listed.
func (v *view) role(u mimi.UserURI) uint32 { return v.effective.Role(u) }

// may says whether a user takes part: it is listed and not banned.
func (v *view) may(u mimi.UserURI) bool {
	r := v.role(u)
	return r != 0 && r != bannedRole
}

// active says whether a user has a client in the group that is not leaving.
func (s *State) active(u mimi.UserURI) bool {
	return slices.ContainsFunc(s.members, func(m Member) bool {
		return m.User == u && !s.view.leaving[m.Leaf]
	})
}

func participantList(g *mls.PublicGroup) (*mimi.ParticipantListData, error) {
	data, ok := g.Dictionary().Get(mimi.ComponentParticipantList)
	if !ok {
		return nil, fmt.Errorf("%w: no participant list", ErrBadState)
	}
	list, err := mimi.ParseParticipantList(data)
	if err != nil {
		return nil, fmt.Errorf("%w: participant list: %w", ErrBadState, err)
	}
	return list, nil
}

func participants(list *mimi.ParticipantListData) []Participant {
	out := make([]Participant, len(list.Participants))
	for i, p := range list.Participants {
		out[i] = Participant(p)
	}
	return out
}

// proposed is a proposal with its sender, pending or part of a commit.
type proposed struct {
	*mls.Proposal
	sender mls.Sender
	ref    []byte // nil if by value
}

func cachedProposals(g *mls.PublicGroup) (list []proposed) {
	for _, c := range g.Cached() {
		list = append(list, proposed{c.Proposal, c.Sender, c.Ref})
	}
	return list
}

func resolvedProposals(c *mls.PublicCommit) (list []proposed) {
	for _, p := range c.Proposals {
		list = append(list, proposed{p.Proposal, p.Sender, p.Ref})
	}
	return list
}

// listUpdate decodes an update of the participant list; nil if p is none.
func (p *proposed) listUpdate() (*mimi.ParticipantListUpdate, error) {
	u := p.AppDataUpdate
	if p.Type != mls.ProposalTypeAppDataUpdate || u.Component != mimi.ComponentParticipantList || u.Op != mls.AppDataUpdateOpUpdate {
		return nil, nil
	}
	return mimi.ParseParticipantListUpdate(u.Data)
}

func listUpdates(list []proposed) (updates []*mimi.ParticipantListUpdate, err error) {
	for i := range list {
		u, err := list[i].listUpdate()
		if err != nil {
			return nil, err
		}
		if u != nil {
			updates = append(updates, u)
		}
	}
	return updates, nil
}
