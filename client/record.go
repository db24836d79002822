package client

import (
	"database/sql"
	"errors"
	"fmt"
	"time"

	"hubbub/mimi"
	"hubbub/mimi/content"
)

// kind is what a row of table message is.
type kind int

const (
	kindWrite    kind = 0
	kindEdit     kind = 1
	kindDelete   kind = 2
	kindReaction kind = 3
	kindReport   kind = 4 // a status report of this device on its way
)

var acts = [...]Act{kindWrite: ActWrite, kindEdit: ActEdit, kindDelete: ActDelete, kindReaction: ActReact, kindReport: "report"}

// Flags of a row.
const (
	flagRich     = 1 << iota // more than text: its content says what
	flagRelated              // there are rows about it
	flagOrphan               // an edit that is shown in place of the message it is about
	flagReceipt              // there are rows in table receipt
	flagProved               // a report of it is proved; there is a row in table frank
	flagBadProof             // what the hub vouches for is not so
)

// Why text and content of a row are gone, or not shown.
const (
	there       = 0
	goneDeleted = 1 // why: by whom
	goneExpired = 2
	goneDenied  = 3 // kept, but not shown; why: in words
)

// record is a row of table message.
type record struct {
	Message // what the row alone says
	kind    kind
	root    MessageID // zero for kindWrite and kindReport
	flags   int
	rights  content.Rights
	expires int64 // as in the schema; 0: never
	gone    int
	why     string
	content []byte
}

const recordColumns = "id, room, sender, device, text, seq, ts, state, reason, kind, root, topic, flags, rights, expires, gone, why, content"

func scanRecord(row interface{ Scan(...any) error }) (*record, error) {
	var r record
	var id, root, topic []byte
	var ts int64
	var expires sql.NullInt64
	if err := row.Scan(&id, &r.Room, &r.Sender, &r.Device, &r.Text, &r.Seq, &ts, &r.State, &r.Reason,
		&r.kind, &root, &topic, &r.flags, &r.rights, &expires, &r.gone, &r.why, &r.content); err != nil {
		return nil, err
	}
	copy(r.ID[:], id)
	copy(r.root[:], root)
	r.Topic, r.expires, r.Timestamp = string(topic), expires.Int64, time.UnixMilli(ts)
	if int(r.kind) < len(acts) {
		r.Act = acts[r.kind]
	}
	if r.kind != kindWrite {
		r.About = r.root
	}
	return &r, nil
}

// records reads rows to the end, so that others may be read after it.
func (c *Client) records(where string, args ...any) ([]*record, error) {
	rows, err := c.db.Query("SELECT "+recordColumns+" FROM message WHERE "+where, args...)
	if err != nil {
		return nil, fmt.Errorf("reading messages: %w", err)
	}
	defer rows.Close()
	var out []*record
	for rows.Next() {
		r, err := scanRecord(rows)
		if err != nil {
			return nil, fmt.Errorf("reading messages: %w", err)
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

// record reads one row by its id, nil if there is none.
func (c *Client) record(room mimi.RoomURI, id MessageID) (*record, error) {
	r, err := scanRecord(c.db.QueryRow("SELECT "+recordColumns+" FROM message WHERE id = ? AND room = ?", id[:], string(room)))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading messages: %w", err)
	}
	return r, nil
}

// insert stores a row; an id that is known adds nothing. Hash is that of its
// MLSMessage if it has been encrypted here.
func (b *batch) insert(r *record, mine bool, hash []byte) (bool, error) {
	tries := 0
	if hash != nil {
		tries = 1
	}
	var root, topic []byte
	var expires any
	if !r.root.IsZero() {
		root = r.root[:]
	}
	if r.Topic != "" {
		topic = []byte(r.Topic)
	}
	if r.expires != 0 {
		expires, b.expiring = r.expires, true
	}
	res, err := b.tx.Exec(`INSERT INTO message (room, id, sender, device, text, content, seq, ts, state, mine, hash, tries,
			kind, root, topic, flags, rights, expires, gone, why)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`,
		string(r.Room), r.ID[:], string(r.Sender), string(r.Device), r.Text, r.content, r.Seq, r.Timestamp.UnixMilli(), string(r.State), mine, hash, tries,
		r.kind, root, topic, r.flags, r.rights, expires, r.gone, r.why)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

// newRecord is the row of a message that was decoded; m says where it comes from.
func newRecord(m Message, msg *content.Message, encoded []byte) *record {
	r := &record{Message: m, content: encoded}
	r.Topic = string(msg.Topic)
	switch {
	case msg.IsDelete():
		r.kind, r.root = kindDelete, MessageID(*msg.Replaces)
	case msg.Replaces != nil:
		r.kind, r.root = kindEdit, MessageID(*msg.Replaces)
	case msg.IsReaction() && len(msg.Reactions()) > 0: // else it is shown as the reply it also is (CNT-46)
		r.kind, r.root = kindReaction, MessageID(*msg.InReplyTo)
	}
	r.Act = acts[r.kind]
	r.About = r.root
	if r.kind == kindWrite && !isPlain(msg) {
		r.flags |= flagRich
	}
	if e := msg.Expires; e != nil && r.kind != kindDelete {
		if r.expires = max(int64(e.Seconds), 1) * 1000; e.Relative {
			r.expires = -r.expires
		}
	}
	r.Text, _ = msg.Text()
	return r
}

// isPlain says whether a message is nothing but a line of text.
func isPlain(m *content.Message) bool {
	p, ok := m.Body.(*content.SinglePart)
	return ok && p.ContentType == content.PlainText && p.Disposition.Effective() == content.Render &&
		m.InReplyTo == nil && m.Replaces == nil && m.Expires == nil && len(m.Topic) == 0
}

// startExpiry begins the time of a message that vanishes after it was read.
func (r *record) startExpiry(read time.Time) {
	if r.expires < 0 {
		r.expires = read.UnixMilli() - r.expires
	}
}
