package policy

import (
	"fmt"
	"slices"

	"hubbub/mimi"
	"hubbub/mls"
)

// A State is what the rules of a room look at. It must not be changed once in use; it
// is then safe for concurrent use.
type State struct {
	Room         mimi.RoomURI
	Base         *BaseRoomPolicy
	Roles        *RoleData
	Participants *mimi.ParticipantListData
	Metadata     *mimi.RoomMetaData     // nil if the room has none
	PreAuth      *PreAuthData           // nil if nobody is preauthorised
	Operational  *OperationalParameters // nil if the room sets none
	Members      []mimi.Identity        // the clients in the group, in any order

	components map[mls.ComponentID]string   // every policy component's octets
	users      map[mimi.UserURI]participant // by NewState and With; nil in a State built by hand
}

// participant is what every message asks about its sender.
type participant struct {
	role    uint32
	clients int // in the group
}

// indexed fills in users, so that judging a message does not walk the room.
func (s *State) indexed() *State {
	s.users = make(map[mimi.UserURI]participant, len(s.Participants.Participants))
	for _, p := range s.Participants.Participants {
		s.users[p.User] = participant{role: p.Role}
	}
	for _, m := range s.Members {
		u := s.users[m.User]
		u.clients++
		s.users[m.User] = u
	}
	return s
}

func (s *State) roleOf(u mimi.UserURI) uint32 {
	if s.users != nil {
		return s.users[u].role
	}
	return s.Participants.Role(u)
}

// NewState reads the policy of a room from the application data of its group. Members
// are the clients in the group. The error wraps [ErrMalformed] or
// [mimi.ErrMalformed]; a room without participants, roles or base policy is one
// (EXT-28).
func NewState(room mimi.RoomURI, d *mls.AppDataDictionary, members []mimi.Identity) (*State, error) {
	s := &State{Room: room, Members: members, components: make(map[mls.ComponentID]string)}
	for _, e := range d.Entries {
		if isPolicy(e.Component) {
			s.components[e.Component] = string(e.Data)
		}
	}
	var err error
	if s.Participants, err = component(d, mimi.ComponentParticipantList, mimi.ParseParticipantList); err != nil {
		return nil, err
	}
	if s.Roles, err = component(d, mimi.ComponentRolesList, ParseRoleData); err != nil {
		return nil, err
	}
	if s.Base, err = component(d, mimi.ComponentBaseRoomPolicy, ParseBaseRoomPolicy); err != nil {
		return nil, err
	}
	if _, ok := d.Get(mimi.ComponentRoomMetadata); ok {
		if s.Metadata, err = component(d, mimi.ComponentRoomMetadata, mimi.ParseRoomMetaData); err != nil {
			return nil, err
		}
	}
	if _, ok := d.Get(mimi.ComponentPreauthList); ok {
		if s.PreAuth, err = component(d, mimi.ComponentPreauthList, ParsePreAuthData); err != nil {
			return nil, err
		}
	}
	if _, ok := d.Get(mimi.ComponentOperationalPolicy); ok {
		if s.Operational, err = component(d, mimi.ComponentOperationalPolicy, ParseOperationalParameters); err != nil {
			return nil, err
		}
	}
	return s.indexed(), nil
}

// Policy reads a policy component of the room with one of the Parse functions of this
// package; nil without an error if the room does not have it. The error wraps
// [ErrMalformed].
func Policy[T any](s *State, id mls.ComponentID, parse func([]byte) (*T, error)) (*T, error) {
	data, ok := s.components[id]
	if !ok {
		return nil, nil
	}
	v, err := parse([]byte(data))
	if err != nil {
		return nil, fmt.Errorf("component %v: %w", id, err)
	}
	return v, nil
}

func component[T any](d *mls.AppDataDictionary, id mls.ComponentID, parse func([]byte) (T, error)) (T, error) {
	var none T
	data, ok := d.Get(id)
	if !ok {
		return none, fmt.Errorf("%w: component %v is missing", ErrMalformed, id)
	}
	v, err := parse(data)
	if err != nil {
		return none, fmt.Errorf("component %v: %w", id, err)
	}
	return v, nil
}

// isPolicy says whether a component is one of mimi-room-policy-03.
func isPolicy(id mls.ComponentID) bool {
	return id >= mimi.ComponentOperationalPolicy && id <= mimi.ComponentMessageExpiration
}

// With gives the state with other participants and members, such as those that will be
// once everything pending is committed (D-26).
func (s *State) With(participants *mimi.ParticipantListData, members []mimi.Identity) *State {
	next := *s
	next.Participants, next.Members = participants, members
	return next.indexed()
}

// Role gives the role a user has, role 0 if it is not listed; nil if the room does not
// define it.
func (s *State) Role(u mimi.UserURI) *Role { return s.Roles.Role(s.roleOf(u)) }

// Can says whether a user holds a capability by its role (POL-8).
func (s *State) Can(u mimi.UserURI, c Capability) bool { return s.Role(u).Can(c) }

// IsParticipant says whether a user takes part: it is listed and not banned.
func (s *State) IsParticipant(u mimi.UserURI) bool {
	return s.roleOf(u) != Outside && !s.Role(u).isBanned()
}

// Clients gives a user's clients in the group.
func (s *State) Clients(u mimi.UserURI) []mimi.ClientURI {
	var list []mimi.ClientURI
	for _, m := range s.Members {
		if m.User == u {
			list = append(list, m.Client)
		}
	}
	return list
}

// IsActive says whether a user has a client in the group.
func (s *State) IsActive(u mimi.UserURI) bool {
	if s.users != nil {
		return s.users[u].clients > 0
	}
	return slices.ContainsFunc(s.Members, func(m mimi.Identity) bool { return m.User == u })
}

// roleName names a user's role for people.
func (s *State) roleName(u mimi.UserURI) string {
	index := s.roleOf(u)
	if r := s.Roles.Role(index); r != nil && r.Name != "" {
		return "role " + r.Name
	}
	return fmt.Sprintf("role %d", index)
}
