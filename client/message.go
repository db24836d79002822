package client

import (
	"slices"
	"time"

	"hubbub/mimi"
	"hubbub/mimi/content"
)

// Act says what a message does. Only messages by themselves, of the first kind, are
// shown as such; the others change what is shown of another one.
type Act string

// The acts.
const (
	ActWrite  Act = "message"
	ActEdit   Act = "edit"
	ActDelete Act = "delete" // takes back a message or a reaction
	ActReact  Act = "reaction"
)

// Message is a message of a room as this device decrypted or wrote it, with what has
// been said about it since. Its slices must not be changed.
type Message struct {
	ID        MessageID // of the first version, and so the same after an edit
	Act       Act
	About     MessageID // for other acts than ActWrite: the message they are about
	Room      mimi.RoomURI
	Sender    mimi.UserURI
	Device    mimi.ClientURI // the sender's client
	Seq       uint64         // place in the room's log; 0 until Posted
	Timestamp time.Time      // the hub's acceptance time; until Posted, when it was written
	State     State
	Reason    string // Rejected: a stable code such as "notAllowed"
	// WaitingFor is, while Queued, the provider whose answer is missing, with
	// what is known of it; nil otherwise.
	WaitingFor *PeerStatus

	// Text is what can be shown as text, the newest version: empty if that is
	// nothing, and of messages deleted, expired or hidden. If Markdown is set it is
	// GitHub-flavoured Markdown as written; [Message.Plain] is for terminals.
	Text     string
	Markdown bool
	// Unshown are the content types of parts this package cannot show, in order.
	Unshown []string
	// Alternatives says that the sender gave the same in other forms as well, of
	// which the first that can be shown is the Text. They need not say the same.
	Alternatives bool
	Attachments  []Attachment
	Mentions     []mimi.UserURI // users that the text links to
	Warnings     []string       // links that do not lead where they seem to, in words

	InReplyTo MessageID // zero: no reply; may be a version or a message unknown here
	Topic     string    // opaque octets; empty: none

	Edited bool
	// Versions are all bodies as plain text, the newest last; nil unless Edited.
	Versions []Version
	// Incomplete says that only edits of the message reached this device.
	Incomplete bool
	Deleted    bool
	DeletedBy  mimi.UserURI
	// Expired says that the message's time is over.
	Expired bool
	// Expires is when it will be; zero: never, or not before it was read.
	Expires time.Time
	// ExpiresAfter is how long after it was read the message expires, while this
	// user has not read it; 0 otherwise.
	ExpiresAfter time.Duration
	// Hidden says in words why a message that the room's policy does not allow is
	// not shown; empty = it is allowed.
	Hidden string

	// Reportable says that the hub vouched for this message, which is of somebody else:
	// a report of it proves what was written, see [Client.Report].
	Reportable bool
	// BadProof says that the hub's word about the message does not hold, so that it cannot
	// be reported: hub or own provider is at fault, not the sender.
	BadProof bool

	Reactions []Reaction // most given first
	// Receipts are what others say became of the message, by user. Whether they say
	// anything is up to them and to the room's policy.
	Receipts []Receipt
	Read     bool // by this user: see [Client.MarkRead]; own messages are
}

// Version is a body that a message had or has.
type Version struct {
	ID        MessageID
	Timestamp time.Time
	Text      string
}

// Reaction is a reaction and who gave it, in the order they did.
type Reaction struct {
	Emoji string
	Users []mimi.UserURI
}

// Receipt is what a user says became of a message: delivered, read and so on.
type Receipt struct {
	User   mimi.UserURI
	Status content.Status
	Time   time.Time // when the hub took the word for it
}

// Attachment is a part of a message whose octets lie elsewhere.
type Attachment struct {
	Name        string // file name, may be empty; not to be used as a path
	Description string
	ContentType string
	Bytes       uint64 // as the sender says, of the sealed octets; 0: unknown
	// Inline says that the text refers to it: a display that shows it there need not
	// list it.
	Inline bool
	// Part is the whole of it: where it lies and how to open it.
	Part *content.ExternalPart
}

// MentionsUser says whether the text links to a user.
func (m *Message) MentionsUser(u mimi.UserURI) bool { return slices.Contains(m.Mentions, u) }

// IsZero says whether the ID names no message.
func (id MessageID) IsZero() bool { return id == MessageID{} }
