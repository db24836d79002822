package policy

import (
	"slices"

	"hubbub/mimi"
	"hubbub/mls"
)

// An Envelope is what a hub allows in the policies of its rooms, whatever their members
// decide (POL-32). Nil fields allow everything. The zero Envelope does.
type Envelope struct {
	Persistent   *bool // the value [BaseRoomPolicy.PersistentRoom] must have
	Discoverable *bool
	Pseudonyms   *bool
	MaxUsers     *uint32 // a room must set a limit, at most this
	MaxClients   *uint32
	Frozen       []mls.ComponentID // components that stay as they are
}

// Check says whether a room may go from one state to the next as far as the hub is
// concerned; before is nil for a new room. What did not change is not judged again. The
// error is a *[Denied].
func (e *Envelope) Check(before, after *State) error {
	for _, id := range e.Frozen {
		if before != nil && before.changes(after, id) {
			return deny("the hub does not let anybody change %s", componentName(id))
		}
	}
	if before != nil && !before.changes(after, mimi.ComponentBaseRoomPolicy) {
		return nil
	}
	b := after.Base
	switch {
	case differs(e.Persistent, b.PersistentRoom):
		return deny("the hub decides whether rooms outlive their last client")
	case differs(e.Discoverable, b.Discoverable):
		return deny("the hub decides whether rooms can be found")
	case differs(e.Pseudonyms, b.PseudonymsAllowed):
		return deny("the hub decides whether pseudonyms are allowed")
	case above(e.MaxUsers, b.MaxUsers):
		return deny("rooms of this hub hold at most %d users, and have to say so", *e.MaxUsers)
	case above(e.MaxClients, b.MaxClients):
		return deny("rooms of this hub hold at most %d clients, and have to say so", *e.MaxClients)
	}
	return nil
}

func differs(want *bool, have bool) bool { return want != nil && *want != have }

func above(most, have *uint32) bool { return most != nil && (have == nil || *have > *most) }

// CheckParent says whether a room may depend on another: it names that one, is at the same
// hub, and its participants are some but not all of the parent's (POL-13). Banned users
// count for neither. The error is a *[Denied].
func CheckParent(child, parent *State) error {
	switch {
	case !child.Base.ParentDependant || child.Base.ParentRoom != parent.Room:
		return deny("the room does not name that parent")
	case child.Room.Domain() != parent.Room.Domain():
		return deny("the parent room is at another hub")
	}
	if orphans := Orphans(child, parent); len(orphans) > 0 {
		return deny("%s is not in the parent room", orphans[0].Handle())
	}
	if child.userCount() >= parent.userCount() {
		return deny("the room has everybody of its parent")
	}
	return nil
}

// Orphans lists the participants of a room that its parent does not have, or has banned:
// the hub proposes to remove them (POL-13).
func Orphans(child, parent *State) []mimi.UserURI {
	var out []mimi.UserURI
	for _, p := range child.Participants.Participants {
		if child.IsParticipant(p.User) && !parent.IsParticipant(p.User) {
			out = append(out, p.User)
		}
	}
	return out
}

// ParticipantSet gives the participants of a room in an order of their own: two rooms of
// fixed membership with equal sets are the same room (POL-12).
func (s *State) ParticipantSet() []mimi.UserURI {
	var out []mimi.UserURI
	for _, p := range s.Participants.Participants {
		if s.IsParticipant(p.User) {
			out = append(out, p.User)
		}
	}
	slices.Sort(out)
	return out
}
