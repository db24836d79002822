package policy

import "hubbub/mimi"

// JoinRole picks the role in which a user who is not listed may put itself on the list by
// an external commit (POL-42 to POL-44): the one it is preauthorised for, else the lowest
// that the room gives to whoever comes, or comes with a code. It says false if the user
// may not come by itself.
func (s *State) JoinRole(by Actor) (uint32, bool) {
	if s.Participants.Role(by.User) != Outside || s.Operational != nil && !s.Operational.ExternalCommitAllowed {
		return 0, false
	}
	if r := s.preauthorised(by); r.Can(CanJoinIfPreauthorized) {
		return r.Index, true
	}
	best, found := uint32(0), false
	for i := range s.Roles.Roles {
		r := &s.Roles.Roles[i]
		if r.Index == Outside || r.isBanned() || found && best < r.Index {
			continue
		}
		add := AddParticipant{User: by.User, Role: r.Index}
		come := AddClient{Identity: mimi.Identity{User: by.User}, External: true}
		if (&request{State: s, by: by, changes: []Change{come, add}}).addParticipant(add) == nil {
			best, found = r.Index, true
		}
	}
	return best, found
}
