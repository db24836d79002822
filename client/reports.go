package client

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	"hubbub/mimi"
	"hubbub/mimi/content"
	"hubbub/mimi/policy"
	"hubbub/mls"
)

// ReceiptSettings are what a user wants others to know. Where a room's policy
// requires or forbids it, that holds instead (POL-20).
type ReceiptSettings struct {
	Delivered bool `json:"delivered"` // that this device has a message
	Read      bool `json:"read"`      // that its user has read it
}

// keyReceipts holds the ReceiptSettings.
const keyReceipts = "receipts"

// maxReport bounds the messages of one report, so that it fits into a message.
const maxReport = 1024

func (c *Client) loadWish() error {
	b, err := getKey(c.db, keyReceipts)
	if b == nil || err != nil {
		return err
	}
	if err := json.Unmarshal(b, &c.wish); err != nil {
		return fmt.Errorf("device state: %w", err)
	}
	return nil
}

// Receipts gives the settings of this device; at first nothing is told.
func (c *Client) Receipts() ReceiptSettings {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wish
}

// SetReceipts changes the settings of this device, for what comes from now on.
// Errors: [ErrClosed], one of the disk.
func (c *Client) SetReceipts(s ReceiptSettings) error {
	v, err := json.Marshal(s)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.stepLocked(func(b *batch) error { return putKey(b.tx, keyReceipts, v) }); err != nil {
		return err
	}
	c.wish = s
	return nil
}

// MarkRead says that the user has read a room up to a Seq; one beyond what this
// device has counts as the newest it has. Messages that vanish after they were read
// begin to do so, and if the room's policy and the user's [ReceiptSettings] say so,
// the others are told. Errors: [ErrUnknownRoom], [ErrClosed], one of the disk.
func (c *Client) MarkRead(ctx context.Context, room mimi.RoomURI, seq uint64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return c.step(func(b *batch) error {
		r := b.room(room)
		if r == nil {
			return ErrUnknownRoom
		}
		from := r.readTo
		if err := b.read(r, seq); err != nil || r.readTo == from {
			return err
		}
		if !b.tells(r, content.StatusRead) {
			return nil
		}
		list, err := b.c.records("room = ? AND seq > ? AND seq <= ? AND kind = 0 AND gone = 0 AND sender <> ?",
			string(room), from, r.readTo, string(b.c.user))
		if err != nil {
			return err
		}
		var ids []MessageID
		for _, rec := range list {
			ids = append(ids, rec.ID)
		}
		return b.report(r, content.StatusRead, ids)
	})
}

// read notes what the user has read. The time of messages that vanish after that
// begins.
func (b *batch) read(r *room, seq uint64) error {
	seq = min(seq, r.pos.Seq)
	if seq <= r.readTo {
		return nil
	}
	now := b.c.opts.Now().UnixMilli()
	res, err := b.tx.Exec("UPDATE message SET expires = ? - expires WHERE room = ? AND seq > ? AND seq <= ? AND expires < 0",
		now, string(r.uri), r.readTo, seq)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n > 0 {
		b.expiring = true
	}
	r.readTo = seq
	return nil
}

// tells says whether others are told of a status in a room (STS-3).
func (b *batch) tells(r *room, status content.Status) bool {
	if r.member() != nil {
		return false
	}
	s, err := b.policyState(r)
	if err != nil {
		return false
	}
	p, err := policy.Policy(s, mimi.ComponentStatusNotification, policy.ParseStatusNotificationPolicy)
	if err != nil {
		return false
	}
	wish := b.c.wish.Read
	if status == content.StatusDelivered {
		wish = b.c.wish.Delivered
	}
	return p.Reports(status, wish)
}

// toReport notes that a message has come, for the report of this step.
func (b *batch) toReport(r *room, id MessageID) {
	if b.reports == nil {
		b.reports = map[mimi.RoomURI][]MessageID{}
	}
	b.reports[r.uri] = append(b.reports[r.uri], id)
}

// sendReports tells of what came with this step, a report for each room.
func (b *batch) sendReports() error {
	for uri, ids := range b.reports {
		r := b.room(uri)
		if !b.tells(r, content.StatusDelivered) {
			continue
		}
		if err := b.report(r, content.StatusDelivered, ids); err != nil {
			return err
		}
	}
	b.reports = nil
	return nil
}

// report puts reports on their way, as messages that are shown nowhere and never
// reported on themselves (STS-4).
func (b *batch) report(r *room, status content.Status, ids []MessageID) error {
	for len(ids) > 0 {
		n := min(len(ids), maxReport)
		var report content.StatusReport
		for _, id := range ids[:n] {
			report = append(report, content.MessageStatus{Message: content.ID(id), Status: status})
		}
		ids = ids[n:]
		encoded, err := report.Encode()
		if err != nil {
			return err
		}
		rec := &record{kind: kindReport, content: encoded, Message: Message{Room: r.uri, Sender: b.c.user, Device: b.c.uri,
			State: Sending, Timestamp: b.c.opts.Now()}}
		rand.Read(rec.ID[1:]) // the first octet of no message is 0
		if _, err := b.insert(rec, true, nil); err != nil {
			return err
		}
		b.encryptLater(r)
	}
	return nil
}

// reported takes in a report. What it says of messages that are not of this room, not
// known, or by its sender is of no interest (STS-2).
func (b *batch) reported(r *room, in *incoming) error {
	by, at := in.record.Sender, in.record.Timestamp
	for _, s := range in.report {
		rec, err := b.c.record(r.uri, MessageID(s.Message))
		if err != nil {
			return err
		}
		if rec == nil || rec.kind != kindWrite || rec.Sender == by {
			continue
		}
		if by == b.c.user { // another device of this user
			if s.Status == content.StatusRead {
				if err := b.read(r, rec.Seq); err != nil {
					return err
				}
			}
			continue
		}
		if err := b.receipt(rec, by, s.Status, at); err != nil {
			return err
		}
	}
	return nil
}

// receipt stores one status, unless it makes no sense after the last (STS-5).
func (b *batch) receipt(rec *record, by mimi.UserURI, status content.Status, at time.Time) error {
	have, err := b.c.receipts(rec.ID)
	if err != nil {
		return err
	}
	before, known := content.StatusUnread, false
	for _, r := range have {
		if r.User == by {
			before, known = r.Status, true
		}
	}
	next := before.Next(status)
	if known && next == before || next != status {
		return nil
	}
	if _, err := b.tx.Exec("INSERT INTO receipt (message, user, status, ts) VALUES (?, ?, ?, ?) ON CONFLICT (message, user) DO UPDATE SET status = excluded.status, ts = excluded.ts",
		rec.ID[:], string(by), next, at.UnixMilli()); err != nil {
		return err
	}
	if err := b.flag(rec, flagReceipt); err != nil {
		return err
	}
	return b.updated(rec, Receipted, by)
}

// receipts reads what is known of a message, by user. mu is held.
func (c *Client) receipts(id MessageID) ([]Receipt, error) {
	rows, err := c.db.Query("SELECT user, status, ts FROM receipt WHERE message = ? ORDER BY user", id[:])
	if err != nil {
		return nil, fmt.Errorf("reading receipts: %w", err)
	}
	defer rows.Close()
	var out []Receipt
	for rows.Next() {
		var r Receipt
		var ts int64
		if err := rows.Scan(&r.User, &r.Status, &ts); err != nil {
			return nil, fmt.Errorf("reading receipts: %w", err)
		}
		r.Time = time.UnixMilli(ts)
		out = append(out, r)
	}
	return out, rows.Err()
}

// mediaType is the type that a row's content is framed with in a group that frames
// application data; nil in one that does not.
func mediaType(g *mls.Group, k kind) *mls.MediaType {
	if list, err := g.Context().MediaTypes(); list == nil || err != nil {
		return nil
	}
	if k == kindReport {
		return &mls.MediaType{Type: content.StatusMediaType}
	}
	return &mls.MediaType{Type: content.MediaType}
}

// isReport tells a report from a message. Where nothing frames them their octets do:
// a message is an array of seven whose first element is 16 octets.
func isReport(t *mls.MediaType, data []byte) bool {
	if t != nil {
		return t.Type == content.StatusMediaType
	}
	return len(data) > 0 && data[0]>>5 == 4 && (len(data) < 2 || data[0] != 0x87 || data[1]>>5 == 4)
}
