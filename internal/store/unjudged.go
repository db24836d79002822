package store

import (
	"hubbub/internal/room"
	"hubbub/mimi"
)

// Unjudged is a room whose log we keep in order of arrival without being able to judge
// it: its hub offers no snapshot, and no client has brought what it takes yet. Its
// RoomRecord has no State.
type Unjudged struct {
	Room  mimi.RoomURI
	Since uint64 // entries with Seq > Since have not been judged
}

// EarlyWelcome is a Welcome that came when its room could not be judged.
type EarlyWelcome struct {
	Room mimi.RoomURI
	Hash [32]byte // SHA-256 of Body
	Seq  uint64   // of the entry it came after
	Body []byte   // exact octets of the FanoutMessage
}

// BroughtState is what a client brought of a room it is about to join.
type BroughtState struct {
	Client mimi.ClientURI
	Room   mimi.RoomURI
	Body   []byte // an encoded room.Brought
}

// Judged is a room that can be judged from now on, with what follows from its log.
type Judged struct {
	Room         mimi.RoomURI
	State        []byte
	Epoch        uint64
	Participants []room.Participant
	Changes      []room.Change // ascending by Seq
	Joined       []Membership  // spans to open, unless the client has one that is open
	Left         []Membership  // spans to close: Client and Until
}

// UnjudgedReader reads what is kept of rooms that cannot be judged.
type UnjudgedReader interface {
	// Unjudged lists them, by URI.
	Unjudged() ([]Unjudged, error)
	// UnjudgedSince is Since of one of them. ErrNotFound.
	UnjudgedSince(uri mimi.RoomURI) (uint64, error)
	// EarlyWelcomes lists the Welcomes of a room, in order of arrival.
	EarlyWelcomes(uri mimi.RoomURI) ([]EarlyWelcome, error)
	// BroughtFor lists what clients brought of a room, by client.
	BroughtFor(uri mimi.RoomURI) ([]BroughtState, error)
}

// UnjudgedWriter writes it.
type UnjudgedWriter interface {
	// StopJudging drops the State of a room of which entries after since cannot be
	// judged. ErrNotFound.
	StopJudging(uri mimi.RoomURI, since uint64) error
	// PutEarlyWelcome keeps a Welcome. Repeats are ignored.
	PutEarlyWelcome(w EarlyWelcome) error
	// PutBrought keeps what a client brought, in place of what it brought before,
	// whatever room that was of.
	PutBrought(b BroughtState) error
	// OpenSpans lets clients read a room from a place on. Those that may do so are left
	// as they are. ErrNotFound.
	OpenSpans(uri mimi.RoomURI, spans []Membership) error
	// BeginJudging ends what StopJudging began, with all that was kept for it.
	// ErrNotFound; ErrConflict if the room is one that is judged.
	BeginJudging(j Judged) error
}
