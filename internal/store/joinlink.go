package store

import "hubbub/mimi"

// JoinLink is what a hub remembers about a join link of one of its rooms. The link itself
// is in the room's group.
type JoinLink struct {
	Room    mimi.RoomURI
	Link    [32]byte     // SHA-256 of the link as the room has it
	Created uint64       // AcceptedTimestamp of the entry that brought it, Unix ms
	By      mimi.UserURI // who showed its code first; "" = nobody
	Joined  bool         // somebody has joined by it
}

// JoinLinkReader reads what is remembered.
type JoinLinkReader interface {
	// JoinLinks lists those of a room, by Link.
	JoinLinks(room mimi.RoomURI) ([]JoinLink, error)
	// JoinLink finds one.
	JoinLink(room mimi.RoomURI, link [32]byte) (*JoinLink, error)
	// JoinClaim finds the link whose code a user has last shown for a room.
	JoinClaim(room mimi.RoomURI, user mimi.UserURI) (link [32]byte, err error)
}

// JoinLinkWriter writes it.
type JoinLinkWriter interface {
	// PutJoinLink creates or rewrites the record of a link.
	PutJoinLink(l JoinLink) error
	// DeleteJoinLink drops it and all claims by it; one that is not there is ignored.
	DeleteJoinLink(room mimi.RoomURI, link [32]byte) error
	// PutJoinClaim remembers which code a user has shown, in place of an earlier one.
	PutJoinClaim(room mimi.RoomURI, user mimi.UserURI, link [32]byte) error
	// DeleteJoinClaim forgets it; one that is not there is ignored.
	DeleteJoinClaim(room mimi.RoomURI, user mimi.UserURI) error
}
