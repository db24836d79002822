package client

import (
	"encoding/hex"
	"fmt"
	"time"

	"hubbub/mimi"
)

// Pos is a place in a room's log: the number of entries up to it and the hash
// chained over them. Two copies of a room with equal Pos hold equal history.
type Pos struct {
	Seq  uint64   // entries 1 to Seq lie at or before this place
	Hash [32]byte // chain hash after entry Seq
}

// String is the form people compare: the Seq and the first eight hex digits.
func (p Pos) String() string {
	return fmt.Sprintf("%d:%s", p.Seq, hex.EncodeToString(p.Hash[:4]))
}

// MessageID names a message in the same way for everybody in its room: the
// MIMI message ID (mimi-content-08, "Message ID").
type MessageID [32]byte

// String gives the ID in hexadecimal.
func (id MessageID) String() string { return hex.EncodeToString(id[:]) }

// ParseMessageID reads what [MessageID.String] wrote. The error wraps
// [ErrBadArgument].
func ParseMessageID(s string) (MessageID, error) {
	var id MessageID
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(id) {
		return id, fmt.Errorf("%w: a message id is 64 hexadecimal digits", ErrBadArgument)
	}
	copy(id[:], b)
	return id, nil
}

// MarshalText writes the ID in hexadecimal.
func (id MessageID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// State says how far a message has come.
type State string

// The states of a message, in order. Posted and Rejected are final. Messages of
// others are always Posted.
const (
	Sending  State = "sending"  // durable on this device
	Queued   State = "queued"   // durable at the own provider, waiting for the hub
	Posted   State = "posted"   // in the room's log at Seq
	Rejected State = "rejected" // refused for Reason
)

// PeerStatus is how another provider is doing, as seen by the own one.
type PeerStatus struct {
	Provider  mimi.Domain
	Reachable bool
	Since     time.Time // since when; zero if unknown
	LastError string    // empty if the last attempt went well
}

// Participant is a user of a room with its role number (mimi-room-policy-03).
type Participant struct {
	User mimi.UserURI
	Role uint32
}

// RoomInfo is a room as the own provider holds it now.
type RoomInfo struct {
	Room mimi.RoomURI
	Name string // from the group's state on this device, as it was last seen
	Hub  mimi.Domain
	Pos  Pos // newest entry the provider holds
	// Signed is the newest place in the log that the hub has signed and that this
	// device found to agree with its own log; zero if there is none, and from
	// [Client.Rooms]. Entries since then are on the provider's word.
	Signed Pos
	Start  Pos // where the provider's copy begins
	// NoProof says that the room's hub offers no proof of its log: it gives entries no
	// places and signs nothing. Pos counts what arrived at the own provider, and can be
	// compared with nobody's.
	NoProof      bool
	Epoch        uint64
	Participants []Participant
	Member       bool        // this device is in the MLS group
	Participant  bool        // this user is in the participant list
	Frozen       string      // why the room takes nothing more; empty = it does
	HubStatus    *PeerStatus // nil when the own provider is the hub
	Queued       int         // own writes waiting for the hub
	// Delivery is how far the room's providers have stored the log, as far as the
	// own one knows without asking; only from [Client.Room]. State is about Pos.
	Delivery []ProviderDelivery
	// Suspicious says why this device stopped trusting its provider's copy of
	// the room, such as a broken hash chain; empty = all is well.
	Suspicious string
	// Missed counts messages of this room that could not be decrypted.
	Missed int
	// Former are copies that the provider has replaced by the hub's, oldest first;
	// only from [Client.Room].
	Former []FormerCopy
	// AsOf is zero for what the provider says now. Otherwise this is the device's
	// own copy, which was in step with the provider at that time.
	AsOf time.Time
}

// Change is one line of a room's membership history.
type Change struct {
	Seq       uint64 // entry that brought it; 0 for the room's creation
	Timestamp time.Time
	Actor     mimi.UserURI
	// Action is created, added, removed, left, role-changed, client-joined or
	// client-left.
	Action string
	User   mimi.UserURI
	Client mimi.ClientURI // for client actions; otherwise empty
	Role   uint32         // role after the change
}

// EntryKind is the kind of a log entry.
type EntryKind string

// The kinds of log entry.
const (
	KindApplication EntryKind = "application"
	KindProposal    EntryKind = "proposal"
	KindCommit      EntryKind = "commit"
)

// Entry is one entry of a room's log, as the own provider stores it.
type Entry struct {
	Seq       uint64
	Timestamp time.Time
	Kind      EntryKind
	Hash      [32]byte // Pos.Hash after this entry
	Body      []byte   // exact octets of the FanoutMessage
}

// AddResult says what became of one user that was to be added.
type AddResult struct {
	User    mimi.UserURI
	Added   bool             // in the participant list through the commit
	Clients []mimi.ClientURI // clients of the user that were added
	// Missing are clients of the user that gave no usable KeyPackage; they can
	// join later by themselves.
	Missing []mimi.ClientURI
	Err     error // why the user was not added; usually an *[Error]
}

// RemoveResult says what became of one user that was to be removed.
type RemoveResult struct {
	User    mimi.UserURI
	Removed bool  // out of the participant list through the commit
	Err     error // why not: [ErrNotParticipant]
}

// Event is something that happened. It is one of [RoomAdded], [RoomRemoved],
// [RoomDeclined], [MessageReceived], [MessageChanged], [MessageUpdated], [MembershipChanged],
// [RoomSuspicious], [Connected] and [Disconnected].
type Event interface{ isEvent() }

// RoomAdded says that a room is new to this user or that this device has just
// entered its group.
type RoomAdded struct {
	Room   mimi.RoomURI
	Hub    mimi.Domain
	Member bool // this device is in the group; if not, [Client.Join] enters it
}

// RoomRemoved says that this device is no longer in a room's group.
type RoomRemoved struct {
	Room mimi.RoomURI
	Seq  uint64         // the commit that did it
	By   mimi.UserURI   // empty if unknown
	Self mimi.ClientURI // this device
}

// MessageReceived brings a new message of somebody else, or of another device
// of this user.
type MessageReceived struct{ Message Message }

// MessageChanged brings an own message, edit, deletion or reaction whose State
// changed.
type MessageChanged struct{ Message Message }

// MessageUpdated brings a message that is shown already as it is now, after
// something that was said about it, or because its time is over.
type MessageUpdated struct {
	Message Message
	What    Update
	By      mimi.UserURI // who did it; empty for Expired
}

// Update says what happened to a message.
type Update string

// What happens to messages.
const (
	Edited    Update = "edited"
	Deleted   Update = "deleted"
	Reacted   Update = "reacted"   // a reaction came, changed or went
	Expired   Update = "expired"   // its time is over: its text is gone from this device
	Receipted Update = "receipted" // somebody's device has it, or somebody has read it
)

// MembershipChanged says who entered or left, as this device verified it from
// the commit.
type MembershipChanged struct {
	Room      mimi.RoomURI
	Seq       uint64
	Timestamp time.Time
	Epoch     uint64
	Actor     mimi.UserURI
	Added     []mimi.UserURI // in the participant list since this commit
	Removed   []mimi.UserURI
	Joined    []mimi.ClientURI // in the group since this commit
	Left      []mimi.ClientURI
}

// RoomSuspicious says that this device stopped processing a room because what
// its provider delivers contradicts itself or the rules.
type RoomSuspicious struct {
	Room mimi.RoomURI
	Seq  uint64
	Err  error
}

// Connected says that the sync stream is up and has caught up.
type Connected struct{}

// Disconnected says that the sync stream is down; it will be tried again.
type Disconnected struct{ Err error }

func (RoomAdded) isEvent()         {}
func (RoomRemoved) isEvent()       {}
func (MessageReceived) isEvent()   {}
func (MessageChanged) isEvent()    {}
func (MessageUpdated) isEvent()    {}
func (MembershipChanged) isEvent() {}
func (RoomSuspicious) isEvent()    {}
func (Connected) isEvent()         {}
func (Disconnected) isEvent()      {}
