package room

import "hubbub/mimi"

// Kind is the kind of a log entry.
type Kind uint8

// The kinds of log entry.
const (
	KindApplication Kind = 1
	KindProposal    Kind = 2
	KindCommit      Kind = 3
)

// Action is what happened to a participant or to one of its clients.
type Action string

// The actions recorded in a room's membership history.
const (
	Created      Action = "created"       // the room, by its first participant
	Added        Action = "added"         // a user, to the participant list
	Removed      Action = "removed"       // a user, from the list by somebody else
	Left         Action = "left"          // a user, from the list by itself
	RoleChanged  Action = "role-changed"  // a participant's role
	ClientJoined Action = "client-joined" // a client of a participant entered the group
	ClientLeft   Action = "client-left"   // a client of a participant left the group
)

// Change is one line of the history of a room's membership: who did what to
// whom, when and at which place in the log.
type Change struct {
	Seq       uint64 // 0 for the creation of the room
	Timestamp uint64 // AcceptedTimestamp of that entry, Unix ms
	Actor     mimi.UserURI
	Action    Action
	User      mimi.UserURI
	Client    mimi.ClientURI // for client actions; otherwise empty
	Role      uint32         // role after the change, for added and role-changed
}

// Participant is one entry of the participant list.
type Participant struct {
	User mimi.UserURI
	Role uint32
}
