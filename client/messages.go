package client

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"hubbub/client/clientpb"
	"hubbub/mimi"
	"hubbub/mimi/content"
	"hubbub/mls"
)

const (
	// maxTextBytes leaves room for the envelope below the 64 KiB that
	// providers take.
	maxTextBytes = 48 << 10
	// maxTries is how often one message is encrypted anew because its epoch
	// was over when it reached the hub.
	maxTries = 20
	// padTo hides the exact length of messages.
	padTo = 64
	// defaultPage is how many messages Messages gives unless told otherwise.
	defaultPage = 1000
)

// Send posts text, 1 to 49,152 octets of UTF-8, to a room. When it returns the
// message is safe on this device and goes out in the background, in the order
// of the calls; its State is Sending. It is encrypted for the room as it is at
// that time.
//
// Errors: [ErrBadArgument], [ErrUnknownRoom], [ErrNotMember], [ErrSuspicious].
func (c *Client) Send(ctx context.Context, room mimi.RoomURI, text string) (Message, error) {
	if text == "" || len(text) > maxTextBytes || !utf8.ValidString(text) {
		return Message{}, fmt.Errorf("%w: text must be 1 to %d octets of UTF-8", ErrBadArgument, maxTextBytes)
	}
	if err := ctx.Err(); err != nil {
		return Message{}, err
	}
	encoded, err := content.NewText(c.user, room, text).Encode()
	if err != nil {
		return Message{}, fmt.Errorf("%w: %w", ErrBadArgument, err)
	}
	id, err := content.MessageID(c.user, room, encoded)
	if err != nil {
		return Message{}, fmt.Errorf("%w: %w", ErrBadArgument, err)
	}
	m := Message{ID: MessageID(id), Room: room, Sender: c.user, Device: c.uri, Text: text,
		Timestamp: c.opts.Now().Truncate(time.Millisecond), State: Sending}
	if err := c.sends.do(c, &sendRequest{message: &m, encoded: encoded, done: make(chan struct{})}); err != nil {
		return Message{}, err
	}
	return m, nil
}

// WaitPosted waits until a message of this device is Posted or Rejected and
// gives it as it then is; a rejected one also gives an error wrapping
// [ErrRejected]. Other errors: [ErrUnknownMessage], [ErrClosed], ctx's.
func (c *Client) WaitPosted(ctx context.Context, room mimi.RoomURI, id MessageID) (Message, error) {
	for {
		c.mu.Lock()
		changed, fatal := c.changed, c.fatal
		var m *Message
		err := fatal
		if err == nil {
			m, err = c.message(c.db, room, id)
		}
		c.mu.Unlock()
		switch {
		case err != nil:
			return Message{}, err
		case m.State == Posted && m.Seq != 0:
			return *m, nil
		case m.State == Rejected:
			return *m, fmt.Errorf("%w: %s", ErrRejected, m.Reason)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return *m, ctx.Err()
		}
	}
}

const messageColumns = "id, room, sender, device, text, seq, ts, state, reason"

// Messages gives a room's messages with Seq > after as this device has them, at
// most limit (0 = 1,000): first the posted ones by Seq, then, if there is room,
// the own ones that are not posted, in the order they were written.
//
// Errors: [ErrUnknownRoom], [ErrClosed].
func (c *Client) Messages(ctx context.Context, room mimi.RoomURI, after uint64, limit int) ([]Message, error) {
	if limit <= 0 {
		limit = defaultPage
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fatal != nil {
		return nil, c.fatal
	}
	if c.rooms[room] == nil {
		return nil, ErrUnknownRoom
	}
	posted, err := c.selectMessages(ctx, "room = ? AND seq > ? ORDER BY seq LIMIT ?", string(room), after, limit)
	if err != nil || len(posted) >= limit {
		return posted, err
	}
	rest, err := c.selectMessages(ctx, "room = ? AND seq = 0 ORDER BY ord LIMIT ?", string(room), limit-len(posted))
	return append(posted, rest...), err
}

func (c *Client) selectMessages(ctx context.Context, where string, args ...any) ([]Message, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	rows, err := c.db.Query("SELECT "+messageColumns+" FROM message WHERE "+where, args...)
	if err != nil {
		return nil, fmt.Errorf("reading messages: %w", err)
	}
	defer rows.Close()
	var out []Message
	for rows.Next() {
		m, err := c.scanMessage(rows)
		if err != nil {
			return nil, fmt.Errorf("reading messages: %w", err)
		}
		out = append(out, *m)
	}
	return out, rows.Err()
}

func (c *Client) scanMessage(row interface{ Scan(...any) error }) (*Message, error) {
	var m Message
	var id []byte
	var ts int64
	if err := row.Scan(&id, &m.Room, &m.Sender, &m.Device, &m.Text, &m.Seq, &ts, &m.State, &m.Reason); err != nil {
		return nil, err
	}
	copy(m.ID[:], id)
	m.Timestamp = time.UnixMilli(ts)
	if m.State == Queued && m.Room.Domain() != c.domain {
		m.WaitingFor = c.peers[m.ID]
		if m.WaitingFor == nil {
			m.WaitingFor = &PeerStatus{Provider: m.Room.Domain(), Reachable: true}
		}
	}
	return &m, nil
}

func (c *Client) message(q querier, room mimi.RoomURI, id MessageID) (*Message, error) {
	m, err := c.scanMessage(q.QueryRow("SELECT "+messageColumns+" FROM message WHERE room = ? AND id = ?", string(room), id[:]))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, ErrUnknownMessage
	}
	if err != nil {
		return nil, fmt.Errorf("reading messages: %w", err)
	}
	return m, nil
}

// addMessage stores a message; a message id that is known adds nothing.
func (b *batch) addMessage(m *Message, encoded []byte, mine bool) (bool, error) {
	return b.insertMessage(m, encoded, mine, nil)
}

// insertMessage is addMessage for one that may have been encrypted, with this hash.
func (b *batch) insertMessage(m *Message, encoded []byte, mine bool, hash []byte) (bool, error) {
	tries := 0
	if hash != nil {
		tries = 1
	}
	res, err := b.tx.Exec(`INSERT INTO message (room, id, sender, device, text, content, seq, ts, state, mine, hash, tries)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`,
		string(m.Room), m.ID[:], string(m.Sender), string(m.Device), m.Text, encoded, m.Seq, m.Timestamp.UnixMilli(), string(m.State), mine, hash, tries)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

// ownEcho recognises a message of this device in the log and marks it posted.
func (b *batch) ownEcho(r *room, hash [32]byte, timestamp uint64) (bool, error) {
	var id MessageID
	if row := b.c.outbox.byHash[hash]; row != nil && row.room == r.uri {
		id = row.message.id
		if err := b.deleteRow(row); err != nil {
			return false, err
		}
		b.encryptLater(r) // some may have waited for this one to be settled
		return true, b.posted(r.uri, id, r.pos.Seq, timestamp)
	}
	// Settled before it came: as posted here, or as what turned out to be wrong.
	var raw []byte
	err := b.tx.QueryRow("SELECT id FROM message WHERE room = ? AND seq = ? AND hash = ?", string(r.uri), r.pos.Seq, hash[:]).Scan(&raw)
	if errors.Is(err, sql.ErrNoRows) {
		err = b.tx.QueryRow("SELECT id FROM message WHERE hash = ? AND seq = 0 AND room = ?", hash[:], string(r.uri)).Scan(&raw)
	}
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	copy(id[:], raw)
	b.encryptLater(r)
	return true, b.posted(r.uri, id, r.pos.Seq, timestamp)
}

// posted marks an own message as part of the log.
func (b *batch) posted(uri mimi.RoomURI, id MessageID, seq, timestamp uint64) error {
	return b.setState(uri, id, "state = 'posted', reason = '', seq = ?, ts = ?", "state <> 'posted' OR seq = 0", seq, timestamp)
}

// setState changes an own message if the condition holds, and tells.
func (b *batch) setState(uri mimi.RoomURI, id MessageID, set, condition string, args ...any) error {
	m, err := b.c.scanMessage(b.tx.QueryRow("UPDATE message SET "+set+" WHERE room = ? AND id = ? AND ("+condition+") RETURNING "+messageColumns,
		append(args, string(uri), id[:])...))
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err == nil {
		b.emit(MessageChanged{Message: *m})
	}
	return err
}

// rejectWaiting gives up the messages that have not left the device.
func (b *batch) rejectWaiting(uri mimi.RoomURI, reason string) error {
	rows, err := b.tx.Query("SELECT id FROM message WHERE room = ? AND mine = 1 AND state = 'sending'", string(uri))
	if err != nil {
		return err
	}
	var ids []MessageID
	for rows.Next() {
		var raw []byte
		if err := rows.Scan(&raw); err != nil {
			rows.Close()
			return err
		}
		var id MessageID
		copy(id[:], raw)
		ids = append(ids, id)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	for _, id := range ids {
		if err := b.setState(uri, id, "state = 'rejected', reason = ?", "state = 'sending'", reason); err != nil {
			return err
		}
	}
	return nil
}

// mayEncrypt says whether messages for a room can be encrypted now: not while a
// commit is on its way or due, while the hub wants a later epoch, or while messages
// of an earlier epoch are unsettled, for those may come back and are older.
func (b *batch) mayEncrypt(r *room) bool {
	return r.member() == nil && r.pending == nil && len(r.group.PendingProposals()) == 0 && r.group.Epoch() >= r.wantEpoch &&
		!b.c.outbox.holdsOlder(r.uri, r.group.Epoch())
}

// encryptWaiting encrypts the messages that wait for it, oldest first, and puts
// them into the outbox: the new group state, the ciphertext and its txn become
// durable together, before anything is sent.
func (b *batch) encryptWaiting(r *room) error {
	if !b.mayEncrypt(r) {
		return nil
	}
	waiting, err := b.waiting(r.uri)
	if err != nil {
		return err
	}
	for _, w := range waiting {
		sent, body, err := b.encrypt(r, w.id, w.content)
		if sent == nil || err != nil {
			return err
		}
		if _, err := b.tx.Exec("UPDATE message SET hash = ?, tries = tries + 1 WHERE room = ? AND id = ?", sent.hash[:], string(r.uri), w.id[:]); err != nil {
			return err
		}
		if err := b.enqueue(r, clientpb.SubmissionKind_SUBMISSION_KIND_MESSAGE, newTxn(), body, sent); err != nil {
			return err
		}
	}
	return nil
}

// encrypt makes what is submitted of a message. It gives nil if the group takes no
// messages as it is, say because it was closed: they wait, and the step they would
// be part of does not fail for it.
func (b *batch) encrypt(r *room, id MessageID, content []byte) (*sentMessage, []byte, error) {
	next, octets, err := r.group.Encrypt(content, mls.EncryptOptions{PadTo: padTo})
	if err != nil {
		return nil, nil, nil
	}
	body, err := b.c.messageBody(octets)
	if err != nil {
		return nil, nil, err
	}
	r.group = next
	return &sentMessage{id, sha256.Sum256(octets)}, body, nil
}

// send stores a new message of this device, encrypted at once if the room is ready.
func (b *batch) send(r *room, m *Message, encoded []byte, ready bool) error {
	var sent *sentMessage
	var body []byte
	var err error
	if ready {
		if sent, body, err = b.encrypt(r, m.ID, encoded); err != nil {
			return err
		}
	}
	if sent == nil {
		_, err := b.addMessage(m, encoded, true)
		b.encryptLater(r)
		return err
	}
	if _, err := b.insertMessage(m, encoded, true, sent.hash[:]); err != nil {
		return err
	}
	return b.enqueue(r, clientpb.SubmissionKind_SUBMISSION_KIND_MESSAGE, newTxn(), body, sent)
}

// ready says whether a new message can be encrypted at once, without overtaking
// one that waits.
func (b *batch) ready(r *room) (bool, error) {
	if !b.mayEncrypt(r) {
		return false, nil
	}
	var waits bool
	err := b.tx.QueryRow("SELECT EXISTS (SELECT 1 FROM message WHERE room = ? AND hash IS NULL AND mine = 1 AND state = 'sending')", string(r.uri)).Scan(&waits)
	return !waits, err
}

type waitingMessage struct {
	id      MessageID
	content []byte
}

func (b *batch) waiting(uri mimi.RoomURI) ([]waitingMessage, error) {
	rows, err := b.tx.Query("SELECT id, content FROM message WHERE room = ? AND hash IS NULL AND mine = 1 AND state = 'sending' ORDER BY ord", string(uri))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []waitingMessage
	for rows.Next() {
		var w waitingMessage
		var id []byte
		if err := rows.Scan(&id, &w.content); err != nil {
			return nil, err
		}
		copy(w.id[:], id)
		out = append(out, w)
	}
	return out, rows.Err()
}

func (c *Client) messageBody(octets []byte) ([]byte, error) {
	m, err := mls.ParseMessage(octets)
	if err != nil {
		return nil, err
	}
	return (&mimi.SubmitMessageRequest{Message: *m, Sender: c.user}).Marshal()
}

// newTxn makes an id for a write.
func newTxn() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
