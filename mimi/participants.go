package mimi

import (
	"errors"
	"fmt"
	"slices"

	"hubbub/mls/wire"
)

// ErrBadUpdate is wrapped by the errors about a component update that is well-formed
// but cannot be applied. A commit that carries it is invalid.
var ErrBadUpdate = errors.New("mimi: invalid component update")

// maxParticipantChanges bounds what one commit may do to a list (SEC-1).
const maxParticipantChanges = 1000

// A Participant is a user of a room and the role it has there.
type Participant struct {
	User UserURI
	Role uint32 // index into the room's roles; never 0, which means "not listed"
}

// ParticipantListData is the content of component 0x0022: who takes part in a room,
// each user once (mimi-protocol-06, Participant List). The order is part of the data.
type ParticipantListData struct {
	Participants []Participant
}

// ParseParticipantList reads the component. The error wraps [ErrMalformed].
func ParseParticipantList(b []byte) (*ParticipantListData, error) {
	l := new(ParticipantListData)
	if err := parseBody(b, l); err != nil {
		return nil, err
	}
	return l, nil
}

// Marshal gives the component's octets.
func (l *ParticipantListData) Marshal() ([]byte, error) { return wire.Marshal(l) }

// Encode writes the list to w.
func (l *ParticipantListData) Encode(w *wire.Writer) {
	encodeList(w, l.Participants, encodeParticipant)
}

// Decode reads the list from r; a user listed twice or with role 0 is an error (PL-4,
// PL-7).
func (l *ParticipantListData) Decode(r *wire.Reader) {
	l.Participants = decodeList(r, decodeParticipant)
	seen := make(map[UserURI]bool, len(l.Participants))
	for _, p := range l.Participants {
		if p.Role == 0 || seen[p.User] {
			r.FailValue()
		}
		seen[p.User] = true
	}
}

func encodeParticipant(w *wire.Writer, p *Participant) {
	encodeString(w, p.User)
	w.Uint32(p.Role)
}

func decodeParticipant(r *wire.Reader, p *Participant) {
	p.User = decodeURI(r, ParseUser)
	p.Role = r.Uint32()
}

// Role gives the role of a user, 0 if it is not listed.
func (l *ParticipantListData) Role(u UserURI) uint32 {
	if i := l.Index(u); i >= 0 {
		return l.Participants[i].Role
	}
	return 0
}

// Index gives the place of a user in the list, -1 if it is not listed.
func (l *ParticipantListData) Index(u UserURI) int {
	return slices.IndexFunc(l.Participants, func(p Participant) bool { return p.User == u })
}

// A RoleChange gives a listed user another role.
type RoleChange struct {
	UserIndex uint32 // place in the list of the current epoch
	Role      uint32
}

// A ParticipantListUpdate is an update of component 0x0022. All indices refer to the
// list of the current epoch (PL-3, D-25).
type ParticipantListUpdate struct {
	ChangedRoles []RoleChange
	Removed      []uint32
	Added        []Participant
}

// ParseParticipantListUpdate reads an update. The error wraps [ErrMalformed].
func ParseParticipantListUpdate(b []byte) (*ParticipantListUpdate, error) {
	u := new(ParticipantListUpdate)
	if err := parseBody(b, u); err != nil {
		return nil, err
	}
	return u, nil
}

// Marshal gives the update's octets.
func (u *ParticipantListUpdate) Marshal() ([]byte, error) { return wire.Marshal(u) }

// Encode writes the update to w.
func (u *ParticipantListUpdate) Encode(w *wire.Writer) {
	encodeList(w, u.ChangedRoles, func(w *wire.Writer, c *RoleChange) {
		w.Uint32(c.UserIndex)
		w.Uint32(c.Role)
	})
	encodeList(w, u.Removed, func(w *wire.Writer, i *uint32) { w.Uint32(*i) })
	encodeList(w, u.Added, encodeParticipant)
}

// Decode reads the update from r.
func (u *ParticipantListUpdate) Decode(r *wire.Reader) {
	u.ChangedRoles = decodeList(r, func(r *wire.Reader, c *RoleChange) {
		c.UserIndex = r.Uint32()
		c.Role = r.Uint32()
	})
	u.Removed = decodeList(r, func(r *wire.Reader, i *uint32) { *i = r.Uint32() })
	u.Added = decodeList(r, decodeParticipant)
}

// Apply gives the list after all the updates of one commit, merged: role changes,
// then removals, then additions in the order of the updates (PL-2, PL-10, D-25). It
// is an error, wrapping [ErrBadUpdate], if an index is out of range, a role is 0, or
// the updates together touch a user more than once (PL-5, PL-7). l is not changed.
func (l *ParticipantListData) Apply(updates ...*ParticipantListUpdate) (*ParticipantListData, error) {
	list := slices.Clone(l.Participants)
	touched := make(map[UserURI]bool)
	touch := func(u UserURI) error {
		if touched[u] {
			return fmt.Errorf("%w: %s is changed twice", ErrBadUpdate, u)
		}
		touched[u] = true
		if len(touched) > maxParticipantChanges {
			return fmt.Errorf("%w: more than %d participants changed", ErrBadUpdate, maxParticipantChanges)
		}
		return nil
	}
	removed := make(map[UserURI]bool)
	for _, u := range updates {
		if err := u.applyIndexed(l, list, removed, touch); err != nil {
			return nil, err
		}
	}
	present := make(map[UserURI]bool, len(l.Participants))
	for _, p := range l.Participants {
		present[p.User] = true
	}
	out := slices.DeleteFunc(list, func(p Participant) bool { return removed[p.User] })
	for _, u := range updates {
		for _, p := range u.Added {
			if err := touch(p.User); err != nil {
				return nil, err
			}
			if present[p.User] || p.Role == 0 {
				return nil, fmt.Errorf("%w: %s is listed already, or has no role", ErrBadUpdate, p.User)
			}
			out = append(out, p)
		}
	}
	return &ParticipantListData{Participants: out}, nil
}

// applyIndexed does the parts of an update that refer to the list before it.
func (u *ParticipantListUpdate) applyIndexed(before *ParticipantListData, list []Participant, removed map[UserURI]bool, touch func(UserURI) error) error {
	user := func(i uint32) (UserURI, error) {
		if uint64(i) >= uint64(len(before.Participants)) {
			return "", fmt.Errorf("%w: participant index out of range", ErrBadUpdate)
		}
		name := before.Participants[i].User
		return name, touch(name)
	}
	for _, c := range u.ChangedRoles {
		if _, err := user(c.UserIndex); err != nil {
			return err
		}
		if c.Role == 0 {
			return fmt.Errorf("%w: role 0 cannot be given", ErrBadUpdate)
		}
		list[c.UserIndex].Role = c.Role
	}
	for _, i := range u.Removed {
		name, err := user(i)
		if err != nil {
			return err
		}
		removed[name] = true
	}
	return nil
}
