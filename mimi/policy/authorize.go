package policy

import (
	"fmt"
	"slices"

	"hubbub/mimi"
)

// AuthorizeMessage says whether a user may send an application message: it is listed,
// not banned, has a client in the group, and its role lets it (SUB-3, SUB-4). The state
// is the effective one: clients about to be removed do not count. The error is a
// *[Denied].
func AuthorizeMessage(s *State, sender mimi.UserURI) error {
	switch {
	case !s.IsParticipant(sender):
		return denyAction(sender.Handle(), "send", "not a participant")
	case !s.IsActive(sender):
		return denyAction(sender.Handle(), "send", "no client of theirs is in the group")
	case !s.Can(sender, CanSendMessage):
		return denyRight(sender.Handle(), "send", s.roleName(sender), CanSendMessage)
	}
	return nil
}

func denyAction(actor, action, cause string) error {
	return &Denied{Reason: actor + " may not " + action + ": " + cause, Actor: actor, Action: action, Cause: cause}
}

func denyRight(actor, action, role string, right Capability) error {
	d := denyAction(actor, action, role+" lacks "+right.String()).(*Denied)
	d.Lacks = &right
	return d
}

// AuthorizeProposals says whether an actor may ask for all of the changes, which belong
// together: one bundle of proposals, or what one committer adds by value (POL-8, PL-6).
// The state is the effective one (D-26): committed, and changed by everything pending.
// The error is a *[Denied].
func AuthorizeProposals(s *State, by Actor, changes []Change) error {
	r := request{State: s, by: by, changes: changes}
	for _, c := range changes {
		if err := r.judge(c); err != nil {
			return err
		}
	}
	return nil
}

// request is a set of changes one actor asks for at once.
type request struct {
	*State
	by      Actor
	changes []Change
}

func (r *request) judge(c Change) error {
	if _, ok := c.(ChangeExtensions); ok && r.by.Provider != "" && r.by.Provider == r.Room.Domain() {
		return nil // the hub keeps the list of external senders, whatever its role (D-52, D-59)
	}
	if r.by.Provider != "" && !r.isEnforcer() {
		return r.refuse(c, "servers have no role in this room")
	}
	switch c := c.(type) {
	case AddParticipant:
		return r.addParticipant(c)
	case RemoveParticipant:
		return r.removeParticipant(c)
	case ChangeRole:
		return r.changeRole(c)
	case AddClient:
		return r.addClient(c)
	case RemoveClient:
		return r.removeClient(c)
	case ChangeMetadata:
		return r.changeMetadata(c)
	case ChangeComponent:
		return r.changeComponent(c)
	case ChangeExtensions, UsePSK: // D-59
		return r.need(c, CanChangeMLSOperationalPolicies)
	case ReInit:
		return r.need(c, CanSendMLSReinitProposal)
	}
	return r.refuse(c, "this room has no rule for it")
}

// isEnforcer says whether a server has a preauthorised role, by which it is judged like a
// user (RS-11). Without one it may ask for nothing.
func (r *request) isEnforcer() bool { return r.roleOfActor(r.by) != nil }

func (r *request) refuse(c Change, why string) error {
	return denyAction(r.by.String(), c.verb(), why)
}

// need refuses unless the actor's role holds a capability.
func (r *request) need(c Change, right Capability) error {
	if role := r.roleOfActor(r.by); !role.Can(right) {
		return denyRight(r.by.String(), c.verb(), r.actorRoleName(), right)
	}
	return nil
}

func (r *request) actorRoleName() string {
	if r.by.Provider != "" {
		if role := r.roleOfActor(r.by); role != nil {
			return "role " + role.Name
		}
	}
	return r.roleName(r.by.User)
}

// needMove refuses unless the actor's role may move somebody from one role to another.
func (r *request) needMove(c Change, from, to uint32) error {
	if !r.roleOfActor(r.by).MayMove(from, to) {
		return r.refuse(c, fmt.Sprintf("%s may not move anybody from role %d to role %d", r.actorRoleName(), from, to))
	}
	return nil
}

// addParticipant is POL-40, and POL-42 for one who brings himself.
func (r *request) addParticipant(c AddParticipant) error {
	switch {
	case r.Base.FixedMembership:
		return r.refuse(c, "the room's participants are fixed")
	case r.Participants.Role(c.User) != Outside:
		return r.refuse(c, "listed already")
	case c.Role == Outside || r.Roles.Role(c.Role) == nil:
		return r.refuse(c, "the room has no such role")
	case c.User == r.by.User && !r.joins(c.User):
		return r.refuse(c, "nobody can put themselves on the list but by joining")
	case c.User == r.by.User:
		return r.join(c)
	}
	return firstError(r.need(c, CanAddParticipant), r.needMove(c, Outside, c.Role))
}

// join is POL-42, POL-43 and POL-44: the three ways in without anybody's help.
func (r *request) join(c AddParticipant) error {
	if pre := r.preauthorised(r.by); pre.Can(CanJoinIfPreauthorized) && pre.Index == c.Role {
		return nil // the role changes are not consulted
	}
	right := CanOpenJoin
	if r.by.Code {
		right = CanUseJoinCode
	}
	return firstError(r.need(c, right), r.needMove(c, Outside, c.Role))
}

// removeParticipant is POL-45, and canRemoveSelf of POL-46 for one who leaves.
func (r *request) removeParticipant(c RemoveParticipant) error {
	from := r.Participants.Role(c.User)
	if r.Base.FixedMembership {
		return r.refuse(c, "the room's participants are fixed")
	}
	if c.User != r.by.User {
		return firstError(r.need(c, CanRemoveParticipant), r.needMove(c, from, Outside))
	}
	if err := firstError(r.need(c, CanRemoveSelf), r.needMove(c, from, Outside)); err != nil {
		return err
	}
	for _, m := range r.Members {
		if m.User == c.User && !slices.Contains(r.changes, Change(RemoveClient{m})) {
			return r.refuse(c, "all their clients have to leave with them")
		}
	}
	return nil
}

// changeRole is POL-48 to POL-51.
func (r *request) changeRole(c ChangeRole) error {
	from, to := r.Participants.Role(c.User), r.Roles.Role(c.Role)
	switch {
	case from == Outside:
		return r.refuse(c, "not listed")
	case to == nil || c.Role == Outside:
		return r.refuse(c, "the room has no such role")
	case c.User == r.by.User:
		return r.changeOwnRole(c)
	case c.Role == Banned && !to.isBanned():
		return r.refuse(c, "the room has no role for the banned")
	case to.isBanned():
		return firstError(r.need(c, CanBan), r.needMove(c, from, c.Role))
	case r.Roles.Role(from).isBanned():
		return firstError(r.need(c, CanUnban), r.needMove(c, from, c.Role))
	}
	return firstError(r.need(c, CanChangeUserRole), r.needMove(c, from, c.Role))
}

// changeOwnRole is POL-49. The role changes are not consulted; a banned user has no
// rights, so it cannot unban itself.
func (r *request) changeOwnRole(c ChangeRole) error {
	if err := r.need(c, CanChangeOwnRole); err != nil {
		return err
	}
	if pre := r.preauthorised(r.by); pre == nil || pre.Index != c.Role {
		return r.refuse(c, "not preauthorised for that role")
	}
	return nil
}

// addClient is POL-41 for one's own, POL-40 and D-59 for somebody else's.
func (r *request) addClient(c AddClient) error {
	if c.Client.Domain() != c.User.Domain() {
		return r.refuse(c, "the client is of another provider")
	}
	if c.User == r.by.User {
		if r.adds(c.User) { // judged there: by joining the user brings this client
			return nil
		}
		if !r.IsParticipant(c.User) {
			return r.refuse(c, "not a participant")
		}
		return r.need(c, CanAddOwnClient)
	}
	if r.adds(c.User) {
		return nil
	}
	switch {
	case !r.IsParticipant(c.User):
		return r.refuse(c, "not a participant")
	case r.IsActive(c.User):
		return r.refuse(c, "they are in the group and add their clients themselves")
	}
	return firstError(r.need(c, CanAddParticipant), r.needMove(c, Outside, r.Participants.Role(c.User)))
}

// removeClient is POL-46 for one's own and POL-47 for somebody else's. The clients of
// users on their way out have to go (UPD-8), so anybody may see to that.
func (r *request) removeClient(c RemoveClient) error {
	switch {
	case !r.IsParticipant(c.User) || r.putsOut(c.User):
		return nil
	case c.User == r.by.User && r.replaces(c):
		return nil
	case c.User == r.by.User:
		return r.need(c, CanRemoveOwnClient)
	}
	return r.need(c, CanKick)
}

// changeMetadata is META-4 and META-6.
func (r *request) changeMetadata(c ChangeMetadata) error {
	old, next := r.Metadata, c.To
	if old == nil {
		old = &mimi.RoomMetaData{Room: r.Room}
	}
	if next == nil {
		next = &mimi.RoomMetaData{Room: r.Room}
	}
	if next.Room != r.Room {
		return r.refuse(c, "the room's identifier cannot change")
	}
	for _, f := range []struct {
		changed bool
		right   Capability
	}{
		{old.Name != next.Name, CanChangeRoomName},
		{!sameDescriptions(old.Descriptions, next.Descriptions), CanChangeRoomDescription},
		{old.Avatar != next.Avatar, CanChangeRoomAvatar},
		{old.Subject != next.Subject, CanChangeRoomSubject},
		{old.Mood != next.Mood, CanChangeRoomMood},
	} {
		if !f.changed {
			continue
		}
		if err := r.need(c, f.right); err != nil {
			return err
		}
	}
	return nil
}

func sameDescriptions(a, b []mimi.RichDescription) bool {
	return slices.EqualFunc(a, b, func(x, y mimi.RichDescription) bool {
		return x.MediaType == y.MediaType && x.LanguageTag == y.LanguageTag && string(x.Content) == string(y.Content)
	})
}

// changeComponent is POL-52 and POL-53.
func (r *request) changeComponent(c ChangeComponent) error {
	switch {
	case c.Component == mimi.ComponentBaseRoomPolicy:
		return r.need(c, CanChangeRoomMembershipStyle)
	case c.Component == mimi.ComponentRolesList:
		return r.need(c, CanChangeRoleDefinitions)
	case c.Component == mimi.ComponentPreauthList:
		return r.need(c, CanChangePreauthorizedUserList)
	case c.Component == mimi.ComponentOperationalPolicy:
		return r.need(c, CanChangeMLSOperationalPolicies)
	case c.Component == mimi.ComponentJoinLinks:
		if c.Removes || !c.Adds {
			if err := r.need(c, CanDeleteJoinCode); err != nil {
				return err
			}
		}
		if c.Adds {
			return r.need(c, CanCreateJoinCode)
		}
		return nil
	case c.Component == mimi.ComponentFrankingAgent || isPolicy(c.Component):
		return r.need(c, CanChangeOtherPolicyAttribute)
	}
	return r.refuse(c, "this room has no rule for it")
}

// joins says whether one of the user's clients joins by external commit.
func (r *request) joins(u mimi.UserURI) bool {
	return slices.ContainsFunc(r.changes, func(c Change) bool {
		a, ok := c.(AddClient)
		return ok && a.External && a.User == u
	})
}

// adds says whether the same request puts the user on the list.
func (r *request) adds(u mimi.UserURI) bool {
	return slices.ContainsFunc(r.changes, func(c Change) bool {
		a, ok := c.(AddParticipant)
		return ok && a.User == u
	})
}

// putsOut says whether the same request takes the user off the list or bans it.
func (r *request) putsOut(u mimi.UserURI) bool {
	return slices.ContainsFunc(r.changes, func(c Change) bool {
		switch c := c.(type) {
		case RemoveParticipant:
			return c.User == u
		case ChangeRole:
			return c.User == u && r.Roles.Role(c.Role).isBanned()
		}
		return false
	})
}

// replaces says whether the same request brings the client in again, with a new leaf.
func (r *request) replaces(c RemoveClient) bool {
	return slices.ContainsFunc(r.changes, func(x Change) bool {
		a, ok := x.(AddClient)
		return ok && a.Identity == c.Identity
	})
}

// firstError gives the first error.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
