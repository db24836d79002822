package policy

import (
	"slices"

	"hubbub/mimi"
	"hubbub/mls"
)

// A Commit is what one commit does to a room.
type Commit struct {
	Before    *State // as committed until now
	Effective *State // with everything pending, what the committer's rights are judged by; nil: Before
	After     *State // as committed by this
	Committer Actor
	ByValue   []Change // what the committer asks for itself; the rest was judged when it arrived
}

// Authorize says whether the committer may do what it does by value, and whether the
// room that results is one that may be. The error is a *[Denied].
func (c *Commit) Authorize() error {
	effective := c.Effective
	if effective == nil {
		effective = c.Before
	}
	if err := AuthorizeProposals(effective, c.Committer, c.ByValue); err != nil {
		return err
	}
	return Transition(c.Before, c.After)
}

// Transition says whether a room may go from one committed state to the next, however
// it gets there (D-26, POL-9, PL-11). Limits hold back only what takes the room further
// past them, so a room that once broke one can still be mended. Before is nil for a new
// room: then minima do not count (D-58). The error is a *[Denied].
func Transition(before, after *State) error {
	return firstError(
		after.checkMembers(),
		after.checkRoles(),
		after.checkMetadata(),
		checkTogether(before, after),
		checkPolicies(before, after),
		checkLimits(before, after),
		checkRoleCounts(before, after),
	)
}

// checkMembers is PL-11, and with it UPD-7 and UPD-8: whoever has a client in the group
// is a participant.
func (s *State) checkMembers() error {
	seen := make(map[mimi.ClientURI]bool, len(s.Members))
	roles := s.roleIndex()
	for _, m := range s.Members {
		switch index := roles[m.User]; {
		case index == Outside:
			return deny("%s would have a client in the group without being a participant", m.User.Handle())
		case s.Roles.Role(index).isBanned():
			return deny("%s is banned and would have a client in the group", m.User.Handle())
		case seen[m.Client]:
			return deny("a client of %s would be in the group twice", m.User.Handle())
		}
		seen[m.Client] = true
	}
	return nil
}

// checkRoles is PL-7 and POL-4: every participant has a role the room defines.
func (s *State) checkRoles() error {
	for _, p := range s.Participants.Participants {
		if p.Role == Outside || s.Roles.Role(p.Role) == nil {
			return deny("%s would have role %d, which the room does not define", p.User.Handle(), p.Role)
		}
	}
	return nil
}

// checkMetadata is META-6.
func (s *State) checkMetadata() error {
	if s.Metadata != nil && s.Metadata.Room != s.Room {
		return deny("the room's metadata would name another room")
	}
	return nil
}

// roleIndex looks up roles at once rather than user by user.
func (s *State) roleIndex() map[mimi.UserURI]uint32 {
	roles := make(map[mimi.UserURI]uint32, len(s.Participants.Participants))
	for _, p := range s.Participants.Participants {
		roles[p.User] = p.Role
	}
	return roles
}

// checkTogether is POL-3 and POL-5: what may not change in one commit.
func checkTogether(before, after *State) error {
	if before == nil || slices.Equal(before.Participants.Participants, after.Participants.Participants) {
		return nil
	}
	if before.changes(after, mimi.ComponentRolesList) {
		return deny("roles and participants may not change in one commit")
	}
	if before.changes(after, mimi.ComponentPreauthList) && !onlyRemovals(before, after) {
		return deny("preauthorisation and participants may not change in one commit, except for removals")
	}
	return nil
}

func onlyRemovals(before, after *State) bool {
	was := before.roleIndex()
	for _, p := range after.Participants.Participants {
		if was[p.User] != p.Role {
			return false
		}
	}
	return true
}

// changes says whether a component differs between the states.
func (s *State) changes(after *State, id mls.ComponentID) bool {
	a, hadOne := s.components[id]
	b, hasOne := after.components[id]
	return a != b || hadOne != hasOne
}

// checkPolicies judges the policy components as a whole, when one of them changed
// (POL-11, POL-19).
func checkPolicies(before, after *State) error {
	if before != nil && sameComponents(before, after) {
		return nil
	}
	listed := make(map[mls.ComponentID]bool)
	for _, id := range after.Base.Components {
		if _, ok := after.components[id]; !ok || id == mimi.ComponentBaseRoomPolicy {
			return deny("the base policy lists component %v, which is missing", id)
		}
		listed[id] = true
	}
	for id := range after.components {
		if id != mimi.ComponentBaseRoomPolicy && !listed[id] {
			return deny("the base policy does not list component %v", id)
		}
	}
	if after.Base.ParentDependant {
		return deny("this room cannot depend on another")
	}
	if err := after.checkFeatures(before); err != nil {
		return err
	}
	for i := range after.Roles.Roles {
		r := &after.Roles.Roles[i]
		if after.Base.FixedMembership && r.Index != Outside && !r.isBanned() && r.Can(CanAddParticipant) {
			return deny("role %s may not hold %v: the room's participants are fixed", r.Name, CanAddParticipant)
		}
	}
	return nil
}

// checkFeatures judges policies by the roles they speak of (D-57, POL-21, POL-24, POL-28), and
// keeps the franking agent a room has (FRK-14).
func (s *State) checkFeatures(before *State) error {
	if s.PreAuth != nil {
		if err := s.PreAuth.Check(s.Roles); err != nil {
			return deny("who is preauthorised does not fit the roles: %v", err)
		}
	}
	codes, links, err := LinksOf(s)
	if err != nil {
		return deny("%v", err)
	}
	if err := codes.check(links); err != nil {
		return err
	}
	history, err := Policy(s, mimi.ComponentChatHistoryPolicy, ParseHistoryPolicy)
	if err != nil {
		return deny("%v", err)
	}
	if history != nil {
		for _, index := range history.Roles {
			r := s.Roles.Role(index)
			if r == nil || index == Outside || index == Banned || r.MaxActive != nil && *r.MaxActive == 0 {
				return deny("role %d cannot share history", index)
			}
		}
	}
	assets, err := Policy(s, mimi.ComponentAssetPolicy, ParseAssetPolicy)
	if err != nil {
		return deny("%v", err)
	}
	if assets != nil && assets.Location == UploadHub && assets.Domains[0].Provider != s.Room.Domain() {
		return deny("assets are to be kept at the hub, but the policy lists %s", assets.Domains[0].Provider)
	}
	return nil
}

func sameComponents(before, after *State) bool {
	if len(before.components) != len(after.components) {
		return false
	}
	for id := range before.components {
		if before.changes(after, id) {
			return false
		}
	}
	return true
}

// checkLimits is POL-14 and POL-15.
func checkLimits(before, after *State) error {
	base := after.Base
	users, clients := after.userCount(), len(after.Members)
	var usersBefore, clientsBefore int
	var devicesBefore map[mimi.UserURI]int
	if before != nil {
		usersBefore, clientsBefore, devicesBefore = before.userCount(), len(before.Members), before.devices()
	}
	switch {
	case base.MaxUsers != nil && users > usersBefore && uint64(users) > uint64(*base.MaxUsers):
		return deny("the room is full: it holds at most %d users", *base.MaxUsers)
	case base.MaxClients != nil && clients > clientsBefore && uint64(clients) > uint64(*base.MaxClients):
		return deny("the room is full: it holds at most %d clients", *base.MaxClients)
	case base.MultiDevice:
		return nil
	}
	for u, n := range after.devices() {
		if n > 1 && n > devicesBefore[u] {
			return deny("%s may have one client in the room, not %d", u.Handle(), n)
		}
	}
	return nil
}

// userCount is the number of participants that are not banned.
func (s *State) userCount() int {
	n := 0
	for _, p := range s.Participants.Participants {
		if !s.Roles.Role(p.Role).isBanned() {
			n++
		}
	}
	return n
}

func (s *State) devices() map[mimi.UserURI]int {
	n := make(map[mimi.UserURI]int)
	for _, m := range s.Members {
		n[m.User]++
	}
	return n
}

// roleCount is how many participants have a role, and how many of them are active.
type roleCount struct{ listed, active uint64 }

func (s *State) roleCounts() map[uint32]roleCount {
	counts := make(map[uint32]roleCount)
	if s == nil {
		return counts
	}
	devices := s.devices()
	for _, p := range s.Participants.Participants {
		c := counts[p.Role]
		c.listed++
		if devices[p.User] > 0 {
			c.active++
		}
		counts[p.Role] = c
	}
	return counts
}

// checkRoleCounts is POL-2 and POL-9.
func checkRoleCounts(before, after *State) error {
	was, is := before.roleCounts(), after.roleCounts()
	for i := range after.Roles.Roles {
		r := &after.Roles.Roles[i]
		b, a := was[r.Index], is[r.Index]
		switch {
		case r.Index == Outside:
		case tooMany(b.listed, a.listed, r.MaxParticipants):
			return deny("at most %d participants may have role %s", *r.MaxParticipants, r.Name)
		case tooMany(b.active, a.active, r.MaxActive):
			return deny("at most %d participants of role %s may have clients in the room", *r.MaxActive, r.Name)
		case before == nil:
		case a.listed < b.listed && a.listed < uint64(r.MinParticipants):
			return deny("at least %d participants must keep role %s", r.MinParticipants, r.Name)
		case a.active < b.active && a.active < uint64(r.MinActive):
			return deny("at least %d participants of role %s must keep a client in the room", r.MinActive, r.Name)
		}
	}
	return nil
}

func tooMany(before, after uint64, limit *uint32) bool {
	return limit != nil && after > before && after > uint64(*limit)
}
