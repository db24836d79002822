package sqlstore

import (
	"fmt"

	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// Limits of the key of table entries.
const (
	seqBits  = 40
	maxSeq   = 1<<seqBits - 1
	maxRooms = 1<<(63-seqBits) - 1
)

// entryID is the key of an entry. Nothing is behind the largest Seq.
func entryID(id int64, seq uint64) int64 { return id<<seqBits | int64(min(seq, maxSeq)) }

// checkID refuses places in a log that have no key.
func checkID(id int64, seq uint64) error {
	if id > maxRooms || seq > maxSeq {
		return fmt.Errorf("room number %d, entry %d: beyond what can be stored", id, seq)
	}
	return nil
}

const selectEntry = "SELECT seq, timestamp, kind, hash, message_hash, body FROM entries "

func scanEntry(row row) (e store.Entry, err error) {
	err = row.Scan(&e.Seq, &e.Timestamp, &e.Kind, (*hash)(&e.Hash), (*hash)(&e.MessageHash), &e.Body)
	return e, err
}

func (t *readTx) Entries(uri mimi.RoomURI, after uint64, limit, maxBytes int) ([]store.Entry, error) {
	id, known, err := t.knownRoom(uri)
	if err != nil || !known {
		return nil, err
	}
	entries := []store.Entry{}
	size := 0
	err = t.s.each(func(row row) (bool, error) {
		e, err := scanEntry(row)
		if size += len(e.Body); err != nil || len(entries) > 0 && size > maxBytes {
			return false, err
		}
		entries = append(entries, e)
		return true, nil
	}, selectEntry+"WHERE id > $1 AND id <= $2 ORDER BY id LIMIT $3", entryID(id, after), entryID(id, maxSeq), max(limit, 0))
	return entries, err
}

// The statements that move the head, if it is where the writer believes it is.
const (
	moveHead      = "UPDATE rooms SET head_seq = $1, head_hash = $2, last_timestamp = $3 WHERE id = $4 AND head_seq = $5 AND head_hash = $6"
	moveHeadEpoch = "UPDATE rooms SET head_seq = $1, head_hash = $2, last_timestamp = $3, epoch = $7 WHERE id = $4 AND head_seq = $5 AND head_hash = $6"
)

func (t *tx) Append(a store.Append) error { return t.AppendAll([]store.Append{a}) }

// checkAppend catches mistakes of the caller that would break the chain.
func checkAppend(a *store.Append) error {
	want := room.Pos{Seq: a.Entry.Seq, Hash: a.Entry.Hash}
	if next := a.Prev.Next(a.Entry.Body); next != want {
		return fmt.Errorf("entry %s does not continue the chain, which gives %s", want, next)
	}
	for _, c := range a.Changes {
		if c.Seq != a.Entry.Seq {
			return fmt.Errorf("change of Seq %d in entry %d", c.Seq, a.Entry.Seq)
		}
	}
	return distinct(a.Participants)
}

const selectSpan = `SELECT r.uri, m.client, m.user_uri, m.after_seq, m.until_seq, m.acked
	FROM memberships m JOIN rooms r ON r.id = m.room `

func scanSpan(row row) (m store.Membership, err error) {
	err = row.Scan(&m.Room, &m.Client, &m.User, &m.After, &m.Until, &m.Acked)
	return m, err
}

func (t *readTx) Memberships(client mimi.ClientURI) ([]store.Membership, error) {
	return list(t.s, scanSpan, selectSpan+"WHERE m.client = $1 AND r.former = '' ORDER BY m.id", string(client))
}

func (t *readTx) MembershipsIn(client mimi.ClientURI, uri mimi.RoomURI) ([]store.Membership, error) {
	id, known, err := t.knownRoom(uri)
	if err != nil || !known {
		return nil, err
	}
	return list(t.s, scanSpan, selectSpan+"WHERE m.client = $1 AND m.room = $2 ORDER BY m.id", string(client), id)
}

func (t *readTx) RoomMemberships(uri mimi.RoomURI) ([]store.Membership, error) {
	id, known, err := t.knownRoom(uri)
	if err != nil || !known {
		return nil, err
	}
	return list(t.s, scanSpan, selectSpan+"WHERE m.room = $1 ORDER BY m.id", id)
}

// openSpan leaves a span that is open already as it is.
func (t *tx) openSpan(id int64, m store.Membership) error {
	_, err := t.write(`INSERT INTO memberships (room, client, user_uri, after_seq, until_seq, acked)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (room, client) WHERE until_seq = 0 DO NOTHING`,
		id, string(m.Client), string(m.User), ordinal(m.After), ordinal(m.Until), ordinal(m.Acked))
	return err
}

func (t *tx) closeSpan(id int64, client mimi.ClientURI, seq uint64) error {
	_, err := t.write("UPDATE memberships SET until_seq = $1 WHERE room = $2 AND client = $3 AND until_seq = 0",
		ordinal(seq), id, string(client))
	return err
}

func (t *tx) Ack(client mimi.ClientURI, uri mimi.RoomURI, seq uint64) error {
	id, err := t.roomID(uri)
	if err != nil {
		return err
	}
	var head int64
	if err := t.s.one([]any{&head}, "SELECT head_seq FROM rooms WHERE id = $1", id); err != nil {
		return err
	}
	// Nobody has what does not exist yet: a mistaken client would otherwise
	// never be sent what comes next.
	acked := min(ordinal(seq), head)
	if _, err := t.write("UPDATE memberships SET acked = $1 WHERE room = $2 AND client = $3 AND acked < $1",
		acked, id, string(client)); err != nil {
		return err
	}
	return t.dropWelcomes(client, id, acked)
}
