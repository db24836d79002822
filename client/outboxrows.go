package client

import (
	"cmp"
	"slices"

	"hubbub/client/clientpb"
	"hubbub/mimi"
)

// maxKept bounds the bodies of unsent writes that are kept in memory.
const maxKept = 8 << 20

// outboxRow is one write the provider has not settled.
type outboxRow struct {
	n        int64
	txn      string
	room     mimi.RoomURI
	kind     clientpb.SubmissionKind
	body     []byte       // nil if it is to be read from disk
	message  *sentMessage // what it carries, nil for handshakes
	epoch    uint64       // it was made in
	sent     bool         // the provider has it
	answered bool         // it does, but that is not stored yet
}

// sentMessage is a message that was encrypted.
type sentMessage struct {
	id   MessageID
	hash [32]byte // SHA-256 of its MLSMessage
}

// outbox is the table of that name in memory. Whoever changes one changes the
// other with the same step.
type outbox struct {
	rows   []*outboxRow // oldest first
	last   int64        // n of the newest that ever was
	kept   int          // octets of bodies in memory
	byTxn  map[string]*outboxRow
	byHash map[[32]byte]*outboxRow // messages
}

func (o *outbox) find(n int64) (int, bool) {
	return slices.BinarySearchFunc(o.rows, n, func(r *outboxRow, n int64) int { return cmp.Compare(r.n, n) })
}

func (o *outbox) add(row *outboxRow) {
	i, _ := o.find(row.n)
	o.rows = slices.Insert(o.rows, i, row)
	o.last = max(o.last, row.n)
	o.byTxn[row.txn] = row
	if row.message != nil {
		o.byHash[row.message.hash] = row
	}
	if o.kept+len(row.body) > maxKept {
		row.body = nil
	}
	o.kept += len(row.body)
}

func (o *outbox) remove(row *outboxRow) {
	i, found := o.find(row.n)
	if !found {
		return
	}
	o.rows = slices.Delete(o.rows, i, i+1)
	delete(o.byTxn, row.txn)
	if row.message != nil {
		delete(o.byHash, row.message.hash)
	}
	o.kept -= len(row.body)
}

// drop forgets the body of a row that is not to be sent for now.
func (o *outbox) drop(row *outboxRow) {
	o.kept -= len(row.body)
	row.body = nil
}

// load makes sure that a row has its body.
func (o *outbox) load(db *database, row *outboxRow) error {
	if row.body != nil {
		return nil
	}
	if err := db.QueryRow("SELECT body FROM outbox WHERE n = ?", row.n).Scan(&row.body); err != nil {
		return err
	}
	o.kept += len(row.body)
	return nil
}

// loadOutbox reads the outbox into memory, without the bodies. mu is held or not
// needed yet.
func (c *Client) loadOutbox() error {
	rows, err := c.db.Query(`SELECT n, txn, o.room, o.kind, o.message, m.hash, epoch, sent
		FROM outbox o LEFT JOIN message m ON m.room = o.room AND m.id = o.message ORDER BY n`)
	if err != nil {
		return err
	}
	defer rows.Close()
	o := outbox{byTxn: map[string]*outboxRow{}, byHash: map[[32]byte]*outboxRow{}}
	for rows.Next() {
		r := &outboxRow{}
		var id, hash []byte
		if err := rows.Scan(&r.n, &r.txn, &r.room, &r.kind, &id, &hash, &r.epoch, &r.sent); err != nil {
			return err
		}
		if id != nil {
			r.message = &sentMessage{}
			copy(r.message.id[:], id)
			copy(r.message.hash[:], hash)
		}
		o.add(r)
	}
	c.outbox, c.answers = o, nil
	return rows.Err()
}

// holdsOlder says whether messages of a room from before an epoch are unsettled.
func (o *outbox) holdsOlder(room mimi.RoomURI, epoch uint64) bool {
	for _, row := range o.rows {
		if row.room == room && row.message != nil {
			return row.epoch < epoch // the oldest is of the lowest epoch
		}
	}
	return false
}
