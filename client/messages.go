package client

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"

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
	// maxContentBytes is the same for what a message is with all that goes with its
	// text.
	maxContentBytes = 56 << 10
	// padTo hides the exact length of messages.
	padTo = 64
	// defaultPage is how many messages Messages gives unless told otherwise.
	defaultPage = 1000
)

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

// Messages gives a room's messages with Seq > after as this device has them, at
// most limit (0 = 1,000): first the posted ones by Seq, then, if there is room,
// the own ones that are not posted, in the order they were written. Edits, deletions
// and reactions are not among them but in the messages they are about.
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
	posted, err := c.selectMessages(ctx, "room = ? AND seq > ? AND (kind = 0 OR flags & 4) ORDER BY seq LIMIT ?", string(room), after, limit)
	if err != nil || len(posted) >= limit {
		return posted, err
	}
	rest, err := c.selectMessages(ctx, "room = ? AND seq = 0 AND kind = 0 ORDER BY ord LIMIT ?", string(room), limit-len(posted))
	return append(posted, rest...), err
}

// Message gives one message as it is now, an edit, a deletion or a reaction as such.
// The id of a version gives the message. Errors: [ErrUnknownMessage], [ErrClosed].
func (c *Client) Message(ctx context.Context, room mimi.RoomURI, id MessageID) (Message, error) {
	if err := ctx.Err(); err != nil {
		return Message{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fatal != nil {
		return Message{}, c.fatal
	}
	m, err := c.message(c.db, room, id)
	if err != nil {
		return Message{}, err
	}
	return *m, nil
}

func (c *Client) selectMessages(ctx context.Context, where string, args ...any) ([]Message, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	list, err := c.records(where, args...)
	if err != nil {
		return nil, err
	}
	return c.showAll(list)
}

func (c *Client) message(_ querier, room mimi.RoomURI, id MessageID) (*Message, error) {
	r, err := c.record(room, id)
	if err == nil && r == nil { // a message of which only edits are here
		var list []*record
		if list, err = c.records("root = ? AND +room = ? AND flags & 4 ORDER BY seq LIMIT 1", id[:], string(room)); len(list) > 0 {
			r = list[0]
		}
	}
	if err != nil {
		return nil, err
	}
	if r == nil || r.kind == kindReport {
		return nil, ErrUnknownMessage
	}
	return c.show(r)
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
		return true, b.echoed(r, id, timestamp)
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
	return true, b.echoed(r, id, timestamp)
}

// echoed follows an own message that has come in the log. Reports have done their
// duty then.
func (b *batch) echoed(r *room, id MessageID, timestamp uint64) error {
	if err := b.posted(r.uri, id, r.pos.Seq, timestamp); err != nil {
		return err
	}
	_, err := b.tx.Exec("DELETE FROM message WHERE id = ? AND kind = 4", id[:])
	return err
}

// posted marks an own message as part of the log. An edit, a deletion or a reaction
// takes effect now.
func (b *batch) posted(uri mimi.RoomURI, id MessageID, seq, timestamp uint64) error {
	rec, err := b.changeState(uri, id, "state = 'posted', reason = '', seq = ?, ts = ?", "state <> 'posted' OR seq = 0", seq, timestamp)
	if rec == nil || err != nil || rec.kind == kindReport {
		return err
	}
	if rec.kind == kindWrite {
		if rec.expires >= 0 {
			return nil
		}
		rec.startExpiry(rec.Timestamp) // the author has read it
		b.expiring = true
		_, err := b.tx.Exec("UPDATE message SET expires = ? WHERE id = ?", rec.expires, id[:])
		return err
	}
	msg, err := content.Decode(rec.content)
	r := b.room(uri)
	if err != nil || r == nil {
		return nil
	}
	if denied, err := b.judge(r, rec, msg); denied != "" || err != nil {
		return err // the policy changed while it was on its way: nobody heeds it
	}
	return b.act(rec, true)
}

// setState changes an own message if the condition holds, and tells.
func (b *batch) setState(uri mimi.RoomURI, id MessageID, set, condition string, args ...any) error {
	_, err := b.changeState(uri, id, set, condition, args...)
	return err
}

// changeState is setState and gives the row, nil if the condition did not hold.
func (b *batch) changeState(uri mimi.RoomURI, id MessageID, set, condition string, args ...any) (*record, error) {
	rec, err := scanRecord(b.tx.QueryRow("UPDATE message SET "+set+" WHERE room = ? AND id = ? AND ("+condition+") RETURNING "+recordColumns,
		append(args, string(uri), id[:])...))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil || rec.kind == kindReport {
		return rec, err
	}
	m, err := b.c.show(rec)
	if err == nil {
		b.emit(MessageChanged{Message: *m})
	}
	return rec, err
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
		if len(w.content) == 0 { // its time was over before it could be sent
			if err := b.setState(r.uri, w.id, "state = 'rejected', reason = 'expired'", "state = 'sending'"); err != nil {
				return err
			}
			continue
		}
		sent, body, err := b.encrypt(r, w.id, w.kind, w.content)
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
func (b *batch) encrypt(r *room, id MessageID, k kind, encoded []byte) (*sentMessage, []byte, error) {
	data, err := r.group.Context().FrameContent(mediaType(r.group, k), encoded)
	if err != nil {
		return nil, nil, nil
	}
	aad, err := tagged(r.group, k, data, encoded)
	if err != nil {
		return nil, nil, err
	}
	next, octets, err := r.group.Encrypt(data, mls.EncryptOptions{PadTo: padTo, AAD: aad})
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
func (b *batch) send(r *room, rec *record, ready bool) error {
	var sent *sentMessage
	var body []byte
	var err error
	if ready {
		if sent, body, err = b.encrypt(r, rec.ID, rec.kind, rec.content); err != nil {
			return err
		}
	}
	if sent == nil {
		_, err := b.insert(rec, true, nil)
		b.encryptLater(r)
		return err
	}
	if _, err := b.insert(rec, true, sent.hash[:]); err != nil {
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
	kind    kind
	content []byte
}

func (b *batch) waiting(uri mimi.RoomURI) ([]waitingMessage, error) {
	rows, err := b.tx.Query("SELECT id, kind, content FROM message WHERE room = ? AND hash IS NULL AND mine = 1 AND state = 'sending' ORDER BY ord", string(uri))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []waitingMessage
	for rows.Next() {
		var w waitingMessage
		var id []byte
		if err := rows.Scan(&id, &w.kind, &w.content); err != nil {
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
