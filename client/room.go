package client

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"hubbub/client/clientpb"
	"hubbub/mimi"
	"hubbub/mls"
)

// phase says what this device has to do with a room.
type phase int

const (
	phaseKnown    phase = 0 // the user is a participant, this device is no member
	phaseCreating phase = 1 // made here, the provider has not confirmed it
	phaseMember   phase = 2 // in the group
	phaseOut      phase = 3 // was in the group; its secrets are gone
)

// room is what this device holds of a room. A room in Client.rooms is never
// changed: a batch works on a copy that takes its place after the commit.
type room struct {
	uri        mimi.RoomURI
	phase      phase
	group      *mls.Group // nil unless creating or member
	pos        Pos        // processed up to here
	positioned bool       // pos.Hash is known
	wantEpoch  uint64     // the hub takes messages from this epoch on
	leaving    bool
	announced  bool
	missed     int
	suspicious string
	readTo     uint64 // the user has read up to here
	pending    *pending
}

// pending is a commit of ours that is on its way.
type pending struct {
	txn    string
	commit *mls.PendingCommit
}

// member says whether the device can use the group now.
func (r *room) member() error {
	switch {
	case r == nil:
		return ErrUnknownRoom
	case r.suspicious != "":
		return fmt.Errorf("%w: %s", ErrSuspicious, r.suspicious)
	case r.phase != phaseMember, r.leaving:
		return ErrNotMember
	}
	return nil
}

// held says whether the device holds the room's group, if only to look at it.
func (r *room) held() error {
	switch {
	case r == nil:
		return ErrUnknownRoom
	case r.group == nil:
		return ErrNotMember
	}
	return nil
}

// participants is the list in the group's state.
func (r *room) participants() (*mimi.ParticipantListData, error) {
	return participantsOf(r.group.Public())
}

func participantsOf(g *mls.PublicGroup) (*mimi.ParticipantListData, error) {
	data, ok := g.Dictionary().Get(mimi.ComponentParticipantList)
	if !ok {
		return nil, fmt.Errorf("%w: no participant list in the group", ErrSuspicious)
	}
	return mimi.ParseParticipantList(data)
}

// name is what the group calls the room.
func (r *room) name() string {
	if r.group == nil {
		return ""
	}
	data, ok := r.group.Public().Dictionary().Get(mimi.ComponentRoomMetadata)
	if !ok {
		return ""
	}
	meta, err := mimi.ParseRoomMetaData(data)
	if err != nil {
		return ""
	}
	return meta.Name
}

// loadRooms reads all rooms into memory. mu is held or not needed yet.
func (c *Client) loadRooms() error {
	rows, err := c.db.Query(`SELECT uri, phase, grp, seq, hash, want_epoch, leaving, announced, missed, suspicious, read_to FROM room`)
	if err != nil {
		return fmt.Errorf("reading rooms: %w", err)
	}
	defer rows.Close()
	rooms := map[mimi.RoomURI]*room{}
	for rows.Next() {
		r, err := c.scanRoom(rows)
		if err != nil {
			return fmt.Errorf("reading rooms: %w", err)
		}
		rooms[r.uri] = r
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("reading rooms: %w", err)
	}
	rows.Close()
	for _, r := range rooms {
		if err := c.loadPending(r); err != nil {
			return fmt.Errorf("reading rooms: %w", err)
		}
	}
	if err := c.loadOutbox(); err != nil {
		return fmt.Errorf("reading outbox: %w", err)
	}
	c.rooms = rooms
	return nil
}

func (c *Client) scanRoom(rows *sql.Rows) (*room, error) {
	r := &room{}
	var group, hash []byte
	if err := rows.Scan(&r.uri, &r.phase, &group, &r.pos.Seq, &hash, &r.wantEpoch, &r.leaving, &r.announced, &r.missed, &r.suspicious, &r.readTo); err != nil {
		return nil, err
	}
	if len(hash) == len(r.pos.Hash) {
		copy(r.pos.Hash[:], hash)
		r.positioned = true
	}
	if group != nil {
		g, err := mls.UnmarshalGroup(group, c.config)
		if err != nil {
			return nil, err
		}
		r.group = g
	}
	return r, nil
}

func (c *Client) loadPending(r *room) error {
	var state []byte
	p := &pending{}
	err := c.db.QueryRow("SELECT txn, state FROM pending WHERE room = ?", string(r.uri)).Scan(&p.txn, &state)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	if p.commit, err = mls.UnmarshalPendingCommit(state, c.config); err != nil {
		return err
	}
	r.pending = p
	return nil
}

// batch is one durable step: what it changes becomes true on disk and in
// memory together, or not at all. Only the holder of Client.mu has one.
type batch struct {
	c        *Client
	tx       *database              // in its transaction
	rooms    map[mimi.RoomURI]*room // working copies
	events   []Event
	settled  map[string]outcome // what waiting operations are told
	acks     []string           // submissions the provider may forget
	due      map[*room]bool     // rooms where waiting messages may be encrypted now
	ahead    map[*clientpb.Entry]opened
	reports  map[mimi.RoomURI][]MessageID // received, to be told of
	expiring bool                         // something got a time to vanish at
	wiped    bool                         // something is to be gone from the disk
	answers  int                          // how many of Client.answers were taken in
	undo     []func()                     // what a step that fails did to the outbox in memory
}

// step runs fn in a batch.
func (c *Client) step(fn func(b *batch) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stepLocked(fn)
}

func (c *Client) stepLocked(fn func(b *batch) error) error {
	if c.fatal != nil {
		return c.fatal
	}
	if err := c.db.begin(); err != nil {
		return fmt.Errorf("device state: %w", err)
	}
	b := &batch{c: c, tx: c.db, rooms: map[mimi.RoomURI]*room{}, settled: map[string]outcome{}, ahead: map[*clientpb.Entry]opened{}, due: map[*room]bool{}}
	if err := b.run(fn); err != nil {
		b.abort()
		return err
	}
	if err := c.testingStop(false); err != nil {
		b.abort()
		return err
	}
	if err := c.db.commit(); err != nil {
		return c.unknownOutcome(err)
	}
	if err := c.testingStop(true); err != nil {
		return err
	}
	for uri, r := range b.rooms {
		c.rooms[uri] = r
	}
	c.answers = c.answers[b.answers:]
	if b.wiped {
		c.emptyLog()
	}
	c.finish(b)
	return nil
}

// abort gives up a step.
func (b *batch) abort() {
	b.c.db.rollback()
	for _, undo := range slices.Backward(b.undo) {
		undo()
	}
}

// run does what a step is for, and after it what that has made due. Answers come
// after it, for what it brings often says more.
func (b *batch) run(fn func(b *batch) error) error {
	if err := fn(b); err != nil {
		return err
	}
	if err := b.settle(); err != nil {
		return err
	}
	if err := b.sendReports(); err != nil {
		return err
	}
	for r := range b.due {
		if err := b.encryptWaiting(r); err != nil {
			return err
		}
	}
	for _, r := range b.rooms {
		if err := b.save(r); err != nil {
			return fmt.Errorf("device state: %w", err)
		}
	}
	return nil
}

// encryptLater makes the messages that wait in a room be looked at when the step
// ends: by then it is known what has become of those before them.
func (b *batch) encryptLater(r *room) { b.due[r] = true }

func (c *Client) testingStop(committed bool) error {
	if c.opts.testingOnlyStep == nil {
		return nil
	}
	if c.fatal = c.opts.testingOnlyStep(committed); c.fatal != nil {
		c.wakeAll()
	}
	return c.fatal
}

// unknownOutcome follows a commit that failed: it may have happened. What is in
// memory is dropped for what is on disk; if that cannot be read the device
// stops, for going on could use a key twice.
func (c *Client) unknownOutcome(cause error) error {
	err := fmt.Errorf("device state: %w", cause)
	c.db.rollback()
	if lerr := c.loadRooms(); lerr != nil {
		c.fatal = errors.Join(err, lerr)
	}
	c.wakeAll()
	return err
}

// finish tells everybody about a step that is durable. mu is held.
func (c *Client) finish(b *batch) {
	for txn, o := range b.settled {
		if w := c.waiters[txn]; w != nil {
			delete(c.waiters, txn)
			w <- o
		}
	}
	c.wakeAll()
	c.events.send(b.events)
	signal(c.kickOutbox)
	signal(c.kickChores)
	if b.expiring {
		signal(c.kickExpiry)
	}
}

// room gives the working copy of a room, nil if the device does not know it.
func (b *batch) room(uri mimi.RoomURI) *room {
	if r := b.rooms[uri]; r != nil {
		return r
	}
	r := b.c.rooms[uri]
	if r == nil {
		return nil
	}
	work := *r
	b.rooms[uri] = &work
	return &work
}

// newRoom is room, but makes the room if it is not known.
func (b *batch) newRoom(uri mimi.RoomURI) *room {
	r := b.room(uri)
	if r == nil {
		r = &room{uri: uri}
		b.rooms[uri] = r
	}
	return r
}

func (b *batch) emit(e Event) { b.events = append(b.events, e) }

// save writes a working copy if it differs from what is stored.
func (b *batch) save(r *room) error {
	old := b.c.rooms[r.uri]
	if old != nil && *old == *r {
		return nil
	}
	if err := b.savePending(old, r); err != nil {
		return err
	}
	if old != nil && old.group != nil && r.group == nil {
		// The group's state is gone, and with it what people call the room.
		if err := putKey(b.tx, keyName+string(r.uri), []byte(old.name())); err != nil {
			return err
		}
	}
	var hash []byte
	if r.positioned {
		hash = r.pos.Hash[:]
	}
	if old != nil && old.group == r.group {
		_, err := b.tx.Exec(`UPDATE room SET phase = ?, seq = ?, hash = ?, want_epoch = ?, leaving = ?, announced = ?, missed = ?, suspicious = ?, read_to = ? WHERE uri = ?`,
			r.phase, r.pos.Seq, hash, r.wantEpoch, r.leaving, r.announced, r.missed, r.suspicious, r.readTo, string(r.uri))
		return err
	}
	var group []byte
	if r.group != nil {
		var err error
		if group, err = r.group.MarshalBinary(); err != nil {
			return err
		}
	}
	_, err := b.tx.Exec(`INSERT INTO room (uri, phase, grp, seq, hash, want_epoch, leaving, announced, missed, suspicious, read_to)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (uri) DO UPDATE SET phase = excluded.phase, grp = excluded.grp, seq = excluded.seq, hash = excluded.hash,
			want_epoch = excluded.want_epoch, leaving = excluded.leaving, announced = excluded.announced,
			missed = excluded.missed, suspicious = excluded.suspicious, read_to = excluded.read_to`,
		string(r.uri), r.phase, group, r.pos.Seq, hash, r.wantEpoch, r.leaving, r.announced, r.missed, r.suspicious, r.readTo)
	return err
}

func (b *batch) savePending(old, r *room) error {
	if old != nil && old.pending == r.pending {
		return nil
	}
	if r.pending == nil {
		_, err := b.tx.Exec("DELETE FROM pending WHERE room = ?", string(r.uri))
		return err
	}
	state, err := r.pending.commit.MarshalBinary()
	if err != nil {
		return err
	}
	_, err = b.tx.Exec("INSERT INTO pending (room, txn, state) VALUES (?, ?, ?) ON CONFLICT (room) DO UPDATE SET txn = excluded.txn, state = excluded.state",
		string(r.uri), r.pending.txn, state)
	return err
}

// dropPending gives up our commit. The outbox row goes too: whatever the
// provider still says of it is of no interest.
func (b *batch) dropPending(r *room, o outcome) error {
	p := r.pending
	if p == nil {
		return nil
	}
	r.pending = nil
	b.settled[p.txn] = o
	return b.deleteTxn(p.txn)
}

// isOwn says whether octets are those of our commit.
func (p *pending) isOwn(message []byte) bool {
	return p != nil && bytes.Equal(p.commit.Message(), message)
}
