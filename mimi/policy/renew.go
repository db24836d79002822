package policy

import (
	"fmt"
	"slices"

	"hubbub/mimi"
	"hubbub/mls"
)

// Renewals gives the proposals a hub has to make anew because an external commit dropped
// them, as external commits do with everything but SelfRemove (D-30, FAN-13): its own, and
// those by which users leave. They are for the epoch the commit begins. The error is about
// a group that is not one of a room.
func Renewals(room mimi.RoomURI, before *mls.PublicGroup, c *mls.PublicCommit) ([]mls.Proposal, error) {
	if !c.External {
		return nil, nil
	}
	lost, err := dropped(room, before)
	if err != nil || len(lost) == 0 {
		return nil, err
	}
	list, err := component(c.Next.Dictionary(), mimi.ComponentParticipantList, mimi.ParseParticipantList)
	if err != nil {
		return nil, err
	}
	var update mimi.ParticipantListUpdate
	var out []mls.Proposal
	for _, l := range lost {
		if l.whole {
			out = append(out, *l.proposal)
			continue
		}
		switch x := l.change.(type) {
		case RemoveParticipant:
			if i := list.Index(x.User); i >= 0 {
				update.Removed = append(update.Removed, uint32(i))
			}
		case ChangeRole:
			if i := list.Index(x.User); i >= 0 {
				update.ChangedRoles = append(update.ChangedRoles, mimi.RoleChange{UserIndex: uint32(i), Role: x.Role})
			}
		case AddParticipant:
			if list.Index(x.User) < 0 {
				update.Added = append(update.Added, mimi.Participant{User: x.User, Role: x.Role})
			}
		case RemoveClient:
			leaf := l.proposal.Remove.Removed
			if id, err := leavesOf(c.Next)(leaf); err == nil && id == x.Identity {
				out = append(out, *l.proposal)
			}
		}
	}
	if len(update.ChangedRoles)+len(update.Removed)+len(update.Added) == 0 {
		return out, nil
	}
	data, err := update.Marshal()
	if err != nil {
		return nil, err
	}
	return append([]mls.Proposal{{Type: mls.ProposalTypeAppDataUpdate, AppDataUpdate: &mls.AppDataUpdate{
		Component: mimi.ComponentParticipantList, Op: mls.AppDataUpdateOpUpdate, Data: data}}}, out...), nil
}

// JudgeRenewed says whether proposals a hub attached to an external commit are allowed:
// they are its own, and ask for what was pending and was dropped, whose authority they
// carry on, or for what the hub may ask for by itself. Before is the group the commit was
// made in and next the one it leads to. Refusals are as for [JudgeProposals].
func JudgeRenewed(room mimi.RoomURI, before, next *mls.PublicGroup, bundle ...*mls.CachedProposal) error {
	if len(bundle) == 0 {
		return nil
	}
	lost, err := dropped(room, before)
	if err != nil {
		return err
	}
	list, err := component(next.Dictionary(), mimi.ComponentParticipantList, mimi.ParseParticipantList)
	if err != nil {
		return err
	}
	by, err := proposer(next, bundle[0])
	if err != nil {
		return err
	}
	if by.Provider != room.Domain() {
		return deny("only the hub attaches proposals to a commit")
	}
	var fresh []Change
	for _, p := range bundle {
		if p.Sender != bundle[0].Sender {
			return deny("the proposals of one bundle are not all of one sender")
		}
		changes, err := ChangesOf(p.Proposal, p.Sender, list, leavesOf(next))
		if err != nil {
			return err
		}
		fresh = append(fresh, slices.DeleteFunc(changes, func(c Change) bool {
			return slices.ContainsFunc(lost, func(l lostChange) bool { return l.change == c })
		})...)
	}
	effective, err := EffectiveState(room, next)
	if err != nil {
		return err
	}
	if err := AuthorizeProposals(effective, by, fresh); err != nil {
		return err
	}
	return checkCommittable(room, next, bundle)
}

// lostChange is something that was pending and has to be asked for anew.
type lostChange struct {
	change   Change
	proposal *mls.Proposal
	whole    bool // the proposal can be made again as it is
}

// dropped collects what the hub has to renew of what is pending in a group that goes on
// by an external commit.
func dropped(room mimi.RoomURI, before *mls.PublicGroup) ([]lostChange, error) {
	cached := before.Cached()
	if len(cached) == 0 {
		return nil, nil
	}
	list, err := component(before.Dictionary(), mimi.ComponentParticipantList, mimi.ParseParticipantList)
	if err != nil {
		return nil, err
	}
	var out []lostChange
	leaving := map[mimi.UserURI]bool{}
	var own []lostChange // removals of clients by their own user
	for _, p := range cached {
		if p.Proposal.Type == mls.ProposalTypeSelfRemove {
			continue // the joiner had to include it
		}
		by, err := proposer(before, p)
		if err != nil {
			return nil, fmt.Errorf("mimi/policy: a pending proposal: %w", err)
		}
		changes, err := ChangesOf(p.Proposal, p.Sender, list, leavesOf(before))
		if err != nil {
			return nil, err
		}
		for _, c := range changes {
			l := lostChange{change: c, proposal: p.Proposal}
			switch x := c.(type) {
			case RemoveParticipant:
				leaving[x.User] = leaving[x.User] || by.User == x.User
				if by.User == x.User || by.Provider == room.Domain() {
					out = append(out, l)
				}
				continue
			case RemoveClient:
				if by.User == x.User {
					own = append(own, l)
					continue
				}
			case AddParticipant, ChangeRole:
			case ChangeExtensions:
				continue // it repeats extensions that the commit may have changed; the hub makes another
			default:
				l.whole = true
			}
			if by.Provider == room.Domain() {
				out = append(out, l)
			}
		}
	}
	for _, l := range own {
		if leaving[l.change.(RemoveClient).User] {
			out = append(out, l)
		}
	}
	return out, nil
}
