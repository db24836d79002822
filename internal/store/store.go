// Package store is the contract between a provider and its database.
//
// It is written as verbs that mirror one decision of a role (append an entry
// with its projections, claim a KeyPackage, settle a submission), all on one
// transaction type, so that whatever must become true together does. The SQL
// lives in package sqlstore; every promise stated here is checked against an
// engine by storetest.Run.
//
// Two rules hold everywhere. A nil error from Update means the effects are on
// stable storage. An error means none of that call's effects are, with one
// exception: ErrUnknownOutcome, after which the caller must drop what it holds
// in memory and load it again.
package store

import (
	"context"
	"errors"
	"time"

	"hubbub/internal/room"
	"hubbub/mimi"
)

// Errors that callers act on. Engines map their own onto these.
var (
	// ErrNotFound: the row asked for does not exist.
	ErrNotFound = errors.New("store: not found")
	// ErrExists: a row with that key is already there; nothing was written.
	ErrExists = errors.New("store: already exists")
	// ErrConflict: the room's head is not where the writer believed it was
	// (compare-and-swap on Seq and Hash), or the room is not in the state the
	// verb is for. The caller reloads the room.
	ErrConflict = errors.New("store: room is not as expected")
	// ErrUnknownOutcome: the commit itself failed. The effects may or may not
	// be durable; the caller must forget its memory state and reload.
	ErrUnknownOutcome = errors.New("store: outcome of commit unknown")
	// ErrFull: the disk is full or a quota is reached; nothing was written.
	ErrFull = errors.New("store: no space")
	// ErrClosed: the store is closed.
	ErrClosed = errors.New("store: closed")
	// ErrFailed: an earlier commit failed, so that nothing more is written by
	// this process; nothing was written. Reading still works. The way out is
	// to end the process and start it again.
	ErrFailed = errors.New("store: failed, restart needed")
	// ErrLocked: another process has the database open.
	ErrLocked = errors.New("store: in use by another process")
	// ErrSchema: the database was written by another version of this program,
	// one that is newer or whose schema was never released.
	ErrSchema = errors.New("store: made by another version of this program")
)

// Store is a provider's database. It is safe for concurrent use.
type Store interface {
	// Update runs fn in a write transaction and returns once fn's effects are
	// durable. Calls that wait at the same time share one commit (group
	// commit); each fn is still atomic by itself: if fn returns an error only
	// its own effects are undone and that error is returned. fn runs on the
	// writer and must neither block nor do network I/O, must not call Update,
	// end its goroutine (a fatal test failure) or use its Tx after returning.
	// If it panics its effects are undone and the caller of Update panics.
	// Calls from one goroutine take effect in call order. When ctx ends while
	// the call still waits for its turn, nothing happens and its error is
	// returned; later ctx has no influence.
	Update(ctx context.Context, fn func(Tx) error) error

	// View runs fn on a consistent snapshot that includes every Update that
	// returned before View was called.
	View(ctx context.Context, fn func(ReadTx) error) error

	// Close waits for running calls, then closes the database.
	Close() error
}

// RoomRecord is what is stored of a room at its hub or at a follower.
type RoomRecord struct {
	URI mimi.RoomURI
	Hub mimi.Domain // the provider whose log this is; ours when we host the room
	// Head is the position after the newest stored entry.
	Head room.Pos
	// Start is the position this log begins after: Seq 0 at the hub, the
	// position of the snapshot at a follower that joined later.
	Start         room.Pos
	LastTimestamp uint64 // AcceptedTimestamp of the newest entry, Unix ms; 0 = none
	Epoch         uint64
	State         []byte // encoding of room.State; rewritten by handshakes only
	Frozen        string // reason why nothing more is accepted; "" = not frozen
	// Former is the name the room had until SetAside; "" = it was not set aside.
	// Its hashes continue those of that name.
	Former mimi.RoomURI
}

// Entry is one entry of a room log.
type Entry struct {
	Seq         uint64
	Timestamp   uint64 // AcceptedTimestamp, Unix ms
	Kind        room.Kind
	Body        []byte   // exact octets of the FanoutMessage
	Hash        [32]byte // room.Pos.Hash after this entry
	MessageHash [32]byte // SHA-256 of the MLSMessage octets: key for repeats
}

// Append is one accepted entry with everything that became true through it.
type Append struct {
	Room  mimi.RoomURI
	Prev  room.Pos // head before the entry; ErrConflict if the store disagrees
	Entry Entry
	// State, if not nil, replaces RoomRecord.State and Epoch.
	State []byte
	Epoch uint64
	// Changes are appended to the membership history.
	Changes []room.Change
	// Participants, if not nil, replaces the participant list.
	Participants []room.Participant
	// Joined and Left are local clients that entered or left the MLS group.
	// Left is applied first and closes the open span at the entry's Seq; a
	// client that has none is ignored. Joined opens a span as given, unless
	// one is open already.
	Joined []Membership
	Left   []mimi.ClientURI
}

// Membership is a span of a room log that a client may read.
type Membership struct {
	Room   mimi.RoomURI
	Client mimi.ClientURI
	User   mimi.UserURI
	After  uint64 // entries with Seq > After are visible
	Until  uint64 // entries with Seq <= Until are visible; 0 = still a member
	Acked  uint64 // highest Seq the client has acknowledged
}

// FanoutState is how far one follower has got in one room we host.
// Invariant: Acked <= Sent <= head, and Sent <= Until when Until is not 0.
type FanoutState struct {
	Room  mimi.RoomURI
	Peer  mimi.Domain
	Acked uint64 // the peer has stored everything up to here
	Sent  uint64 // the batch (Acked, Sent] is frozen: a retry repeats its octets
	Until uint64 // last entry this peer may get; 0 = no end
	// Parked is why this queue stands still (the peer refused it for good);
	// "" = it is running.
	Parked string
}

// OutWelcome is a Welcome that a hub has to deliver to one follower, before
// any entry with a higher Seq.
type OutWelcome struct {
	Room mimi.RoomURI
	Seq  uint64 // Seq of the commit it belongs to
	Peer mimi.Domain
	Body []byte // exact octets of the FanoutMessage
	// Snapshot is the room as it stood after that commit, for a follower whose
	// replica starts here; nil if the follower already has the room.
	Snapshot []byte
}

// InWelcome is a Welcome waiting for one of our clients.
type InWelcome struct {
	Client mimi.ClientURI
	Room   mimi.RoomURI
	Seq    uint64
	Body   []byte // exact octets of the FanoutMessage
}

// SubmissionState is where a client's write stands.
type SubmissionState uint8

// The states of a submission. Posted, Rejected and Expired are final.
const (
	Queued   SubmissionState = 1 // durable here, not yet accepted by the hub
	Posted   SubmissionState = 2 // in the room log at Seq
	Rejected SubmissionState = 3 // refused by the hub for Reason
	Expired  SubmissionState = 4 // given up after the retention time
)

// SubmissionKind says which MIMI endpoint a submission goes to.
type SubmissionKind uint8

// The kinds of submission.
const (
	SubmitMessage SubmissionKind = 1 // body: SubmitMessageRequest
	SubmitUpdate  SubmissionKind = 2 // body: UpdateRequest (HandshakeBundle)
)

// Submission is one write of a local client to a room, kept until the client
// has acknowledged its final state.
type Submission struct {
	ID          uint64 // assigned by Enqueue; ascending; FIFO order per client
	Client      mimi.ClientURI
	Txn         string // the client's own id; unique per client
	Room        mimi.RoomURI
	Hub         mimi.Domain
	Kind        SubmissionKind
	Body        []byte
	MessageHash [32]byte // SHA-256 of the MLSMessage octets
	State       SubmissionState
	EnqueuedAt  uint64 // Unix ms
	// Accepted is the hub's AcceptedTimestamp once its answer is known; a row
	// that is Queued with Accepted != 0 waits for its entry and is not sent
	// again.
	Accepted  uint64
	Seq       uint64 // Posted: place in the log
	Reason    string // Rejected: stable code such as "notAllowed", "wrongEpoch"
	Detail    string // Rejected: the hub's words, if any
	Epoch     uint64 // Rejected for its epoch: the hub's current one
	Attempts  int
	LastError string // why the last attempt failed; "" = none
	// Rev grows with each change of the row across the whole store, so that a
	// client's stream can tell what it has not shown yet.
	Rev uint64
}

// KeyPackage is one stored KeyPackage of a local client.
type KeyPackage struct {
	Ref       []byte // KeyPackageRef
	Client    mimi.ClientURI
	User      mimi.UserURI
	Suite     uint16
	NotBefore time.Time
	NotAfter  time.Time
	Body      []byte // bare KeyPackage octets
}

// Client is an enrolled client of a local user.
type Client struct {
	URI          mimi.ClientURI
	User         mimi.UserURI
	TokenHash    [32]byte // SHA-256 of the bearer token; the token itself is never stored
	SignatureKey []byte
	Certificates [][]byte // DER, leaf first
	CreatedAt    time.Time
}

// ReadTx is a consistent view of the database. Methods that return one thing
// return ErrNotFound if it does not exist; lists are empty then.
type ReadTx interface {
	ConsentReader
	ProfileReader
	AssetReader
	ReportReader
	JoinLinkReader
	UnjudgedReader

	// Room returns a room, ErrNotFound if there is none.
	Room(uri mimi.RoomURI) (*RoomRecord, error)
	// RoomHead is Room without its State, which grows with the members.
	RoomHead(uri mimi.RoomURI) (*RoomRecord, error)
	// HasRoom says whether there is such a room.
	HasRoom(uri mimi.RoomURI) (bool, error)
	// Rooms lists all rooms, by URI, those set aside included, without State.
	Rooms() ([]RoomRecord, error)
	// RoomsOfUser lists the rooms in whose participant list the user is or
	// once was, by URI, without State; none that was set aside.
	RoomsOfUser(user mimi.UserURI) ([]RoomRecord, error)
	// Entries returns entries with Seq > after in order: at most limit of
	// them and, beyond the first, at most maxBytes of bodies.
	Entries(uri mimi.RoomURI, after uint64, limit, maxBytes int) ([]Entry, error)
	// EntryByMessage finds the entry holding the MLSMessage with that hash.
	EntryByMessage(uri mimi.RoomURI, messageHash [32]byte) (*Entry, error)
	// Participants returns the participant list in its order.
	Participants(uri mimi.RoomURI) ([]room.Participant, error)
	// IsParticipant says whether a user is in that list.
	IsParticipant(uri mimi.RoomURI, user mimi.UserURI) (bool, error)
	// History returns the membership history with Seq >= from, in order.
	History(uri mimi.RoomURI, from uint64) ([]room.Change, error)

	// Memberships lists all spans of a client (all rooms but those set aside),
	// oldest first.
	Memberships(client mimi.ClientURI) ([]Membership, error)
	// MembershipsIn is Memberships in one room.
	MembershipsIn(client mimi.ClientURI, uri mimi.RoomURI) ([]Membership, error)
	// RoomMemberships lists the spans of a room's local clients.
	RoomMemberships(uri mimi.RoomURI) ([]Membership, error)

	// Fanouts lists all (room, follower) pairs of rooms we host, but for those
	// set aside.
	Fanouts() ([]FanoutState, error)
	// Fanout returns one of them.
	Fanout(uri mimi.RoomURI, peer mimi.Domain) (*FanoutState, error)
	// OutWelcomes lists Welcomes for a follower with Seq > after, in order.
	OutWelcomes(uri mimi.RoomURI, peer mimi.Domain, after uint64) ([]OutWelcome, error)
	// OutWelcome returns one, for the snapshot endpoint.
	OutWelcome(uri mimi.RoomURI, peer mimi.Domain, seq uint64) (*OutWelcome, error)
	// InWelcomes lists the Welcomes waiting for a client, in arrival order; none
	// of rooms set aside.
	InWelcomes(client mimi.ClientURI) ([]InWelcome, error)

	// QueuedSubmissions lists what is still to be sent (Queued, Accepted == 0)
	// in ID order, at most limit with ID > afterID.
	QueuedSubmissions(afterID uint64, limit int) ([]Submission, error)
	// QueuedOf is QueuedSubmissions for one client and one hub.
	QueuedOf(client mimi.ClientURI, hub mimi.Domain, afterID uint64, limit int) ([]Submission, error)
	// Submissions lists a client's submissions with Rev > afterRev, by Rev,
	// without their bodies.
	Submissions(client mimi.ClientURI, afterRev uint64) ([]Submission, error)
	// Submission finds one by the client's own id.
	Submission(client mimi.ClientURI, txn string) (*Submission, error)

	// Users lists the local users.
	Users() ([]mimi.UserURI, error)
	// Client returns an enrolled client.
	Client(uri mimi.ClientURI) (*Client, error)
	// ClientByToken finds the client a bearer token belongs to.
	ClientByToken(tokenHash [32]byte) (*Client, error)
	// ClientsOfUser lists a user's clients, by URI. ErrNotFound if the user
	// is unknown; an empty list if it has no client.
	ClientsOfUser(user mimi.UserURI) ([]Client, error)
	// KeyPackageCount is the number of unclaimed, unexpired packages.
	KeyPackageCount(client mimi.ClientURI, now time.Time) (int, error)
	// KeyPackageClient says whose KeyPackage a reference names, claimed or not.
	KeyPackageClient(ref []byte) (mimi.ClientURI, error)
	// Route says which provider handed out the KeyPackage with that reference.
	Route(ref []byte) (mimi.Domain, error)

	// Meta returns a small named value, ErrNotFound if absent.
	Meta(key string) ([]byte, error)
	// Dump writes every table except audit, as text in key order: for tests
	// that assert that a refused input left nothing behind, and for fsck.
	Dump() (string, error)
}

// Tx is a write transaction. It sees its own writes. A verb that fails has
// written nothing, so that fn may go on after ErrExists, ErrConflict and
// ErrNotFound; after an error of the engine Update fails whatever fn returns.
// Verbs about a room that is not stored return ErrNotFound.
type Tx interface {
	ReadTx
	ConsentWriter
	ProfileWriter
	AssetWriter
	ReportWriter
	JoinLinkWriter
	UnjudgedWriter

	// CreateRoom adds a room with its first projections. ErrExists if known.
	CreateRoom(r RoomRecord, changes []room.Change, participants []room.Participant, joined []Membership) error
	// Append adds one entry and its projections; compare-and-swap on Prev.
	// ErrExists if the log already holds an entry with that MessageHash, even
	// if the head has moved. Entry must continue the chain from Prev. It also
	// settles the local submission with that MessageHash, if there is
	// one: Posted, with Seq and Accepted.
	Append(a Append) error
	// AppendAll is Append for entries of one room that follow each other: all
	// of them or none. Many that only add to the log cost little more than one.
	// On ErrExists any of them may be the one that the log holds already.
	AppendAll(list []Append) error
	// PutState rewrites State without an entry (a changed cache, never Head).
	PutState(uri mimi.RoomURI, state []byte) error
	// Freeze stops a room for the reason given; "" thaws it. ErrConflict if it
	// was set aside: that is never thawed.
	Freeze(uri mimi.RoomURI, reason string) error
	// SetAside gives a frozen room another name, under which all that is stored
	// of it stays as evidence, and frozen, while the old name is free for a fresh
	// copy. Submissions keep the old name. No client and no user has the room in
	// its lists any more; whoever asks by its new name finds it. ErrConflict if
	// the room is not frozen or was set aside before, ErrExists if the new name
	// is taken.
	SetAside(uri, as mimi.RoomURI) error

	// Ack records that a client has everything up to seq in a room, and drops
	// the Welcomes with Seq <= seq. Going backwards is ignored, and so is what
	// lies beyond the head.
	Ack(client mimi.ClientURI, uri mimi.RoomURI, seq uint64) error
	// PutInWelcome stores a Welcome for a client. Repeats are ignored.
	PutInWelcome(w InWelcome) error

	// PutFanout creates or rewrites a fanout state.
	PutFanout(f FanoutState) error
	// ExtendFanout sets Acked to from and Sent to to for a follower whose Sent
	// is from, whose Acked is at least acked, and that is neither parked nor
	// at its end. Others are left as they are: false.
	ExtendFanout(uri mimi.RoomURI, peer mimi.Domain, acked, from, to uint64) (bool, error)
	// PutOutWelcome stores a Welcome for a follower. Repeats are ignored.
	PutOutWelcome(w OutWelcome) error
	// DeleteOutWelcomes drops those with Seq <= upTo.
	DeleteOutWelcomes(uri mimi.RoomURI, peer mimi.Domain, upTo uint64) error

	// Enqueue stores a new submission and returns it with ID and Rev set. If
	// the client used that Txn before with the same room, kind and body the
	// stored row is returned unchanged; with other ones, ErrExists. If the
	// room's log already holds an entry with that MessageHash the row is Posted
	// from the start.
	Enqueue(s Submission) (Submission, error)
	// EnqueueAll is Enqueue for several, in order: all of them or none.
	EnqueueAll(list []Submission) ([]Submission, error)
	// PutSubmission rewrites State, Accepted, Seq, Reason, Detail, Epoch,
	// Attempts and LastError of the row with s.ID and gives it a new Rev. A
	// final state is never left again; such a call is ignored. ErrNotFound if
	// there is no such row.
	PutSubmission(s Submission) error
	// DeleteSubmission drops a row in a final state; others are left alone.
	DeleteSubmission(client mimi.ClientURI, txn string) error
	// DeleteSubmissions is DeleteSubmission for several.
	DeleteSubmissions(client mimi.ClientURI, txns []string) error

	// CreateUser adds a local user. ErrExists if known.
	CreateUser(user mimi.UserURI, now time.Time) error
	// PutEnrolment stores the hash of a one-time code that lets its holder
	// enrol one client of the user until the time given.
	PutEnrolment(codeHash [32]byte, user mimi.UserURI, until time.Time) error
	// Enrol spends a code and adds the client, in one step. ErrNotFound if the
	// code is unknown, spent, expired or another user's; ErrExists if the
	// client URI is taken (the code is then not spent).
	Enrol(codeHash [32]byte, c Client, now time.Time) error

	// PutKeyPackages stores all of them or none. ErrExists if a reference is
	// already known.
	PutKeyPackages(kps []KeyPackage) error
	// ClaimKeyPackage takes an unclaimed package of the client out of stock,
	// for ever: one that is valid at now and that accept approves (oldest
	// first). ErrNotFound if none fits; any reports whether the client has
	// unclaimed, valid packages at all.
	ClaimKeyPackage(client mimi.ClientURI, now time.Time, by string, accept func(KeyPackage) bool) (kp *KeyPackage, any bool, err error)
	// PutRoute remembers which provider handed out a KeyPackage.
	PutRoute(ref []byte, provider mimi.Domain, notAfter time.Time) error

	// PutMeta stores a small named value.
	PutMeta(key string, value []byte) error
	// DeleteMeta drops one; none is no error.
	DeleteMeta(key string) error
	// Audit appends a line to the audit log.
	Audit(now time.Time, actor, action, detail string) error
}
