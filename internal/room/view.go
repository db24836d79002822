package room

import (
	"fmt"

	"hubbub/mimi"
	"hubbub/mimi/policy"
	"hubbub/mls"
)

// view is what follows from a State's group: the room as committed, which all
// indices refer to, and as it will be once what is pending has been committed,
// by which later events are judged (D-26).
type view struct {
	committed []Participant // of now
	now       *policy.State
	effective *policy.State          // now, if nothing is pending
	leaving   map[mls.LeafIndex]bool // leaves that a pending proposal removes
	safeAAD   bool                   // authenticated data has to be a SafeAAD
	agent     *mimi.FrankingAgent    // nil: messages are not franked
}

// derive fills in the view after the group or its pending proposals changed.
func (s State) derive() (State, error) {
	identities := make([]mimi.Identity, len(s.members))
	for i, m := range s.members {
		identities[i] = mimi.Identity{User: m.User, Client: m.Client}
	}
	v := &view{safeAAD: s.group.Context().RequiresSafeAAD()}
	var err error
	if v.now, err = policy.NewState(s.Room, s.group.Dictionary(), identities); err != nil {
		return s, fmt.Errorf("%w: %w", ErrBadState, err)
	}
	if v.agent, err = mimi.AgentOf(s.group.Dictionary()); err != nil {
		return s, fmt.Errorf("%w: %w", ErrBadState, err)
	}
	v.committed, v.effective = participants(v.now.Participants), v.now
	if cached := s.group.Cached(); len(cached) > 0 {
		if v.effective, err = policy.EffectiveState(s.Room, s.group); err != nil {
			return s, fmt.Errorf("%w: %w", ErrBadState, err)
		}
		v.leaving = leaving(cached)
	}
	s.view = v
	return s, nil
}

// leaving are the leaves that pending proposals remove.
func leaving(cached []*mls.CachedProposal) map[mls.LeafIndex]bool {
	leaves := map[mls.LeafIndex]bool{}
	for _, c := range cached {
		switch c.Proposal.Type {
		case mls.ProposalTypeRemove:
			leaves[c.Proposal.Remove.Removed] = true
		case mls.ProposalTypeSelfRemove:
			leaves[c.Sender.LeafIndex] = true
		}
	}
	return leaves
}

// onTheWayOut says whether a member has been removed by something pending, or
// its user has: it may then hasten its leaving and do nothing else (UPD-9,
// UPD-10).
func (s *State) onTheWayOut(a actor) bool {
	return a.member && (!s.view.effective.IsParticipant(a.user) || s.view.leaving[a.leaf])
}

// MayJoin says whether a user may bring a client of its own into the group by
// external commit.
func (s *State) MayJoin(u mimi.UserURI) bool {
	return s.Frozen == "" && s.view.now.IsParticipant(u) && s.view.effective.IsParticipant(u) &&
		s.view.effective.Can(u, policy.CanAddOwnClient)
}

// MayEnter says whether a user may come into the group by external commit: as a
// participant with a further client, or by itself as one the room lets in (POL-42, POL-43).
func (s *State) MayEnter(by policy.Actor) bool {
	if s.view.now.Participants.Role(by.User) != policy.Outside {
		return s.MayJoin(by.User)
	}
	_, ok := s.view.effective.JoinRole(by)
	return ok && s.Frozen == ""
}

// MayPost says whether a client is a member of the group whose user takes part,
// in a room that is not frozen. What it posts is judged by Step. It may be called
// at any time, also while the State is stepped from.
func (s *State) MayPost(c mimi.ClientURI) bool {
	if s.Frozen != "" {
		return false
	}
	for i := range s.members {
		if s.members[i].Client == c {
			return s.view.now.IsParticipant(s.members[i].User)
		}
	}
	return false
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
