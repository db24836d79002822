package sqlstore

import (
	"bytes"
	"errors"
	"fmt"

	"hubbub/internal/store"
	"hubbub/mimi"
)

const selectFanout = `SELECT r.uri, f.peer, f.acked, f.sent, f.until_seq, f.parked
	FROM fanouts f JOIN rooms r ON r.id = f.room `

func scanFanout(row row) (f store.FanoutState, err error) {
	err = row.Scan(&f.Room, &f.Peer, &f.Acked, &f.Sent, &f.Until, &f.Parked)
	return f, err
}

func (t *readTx) Fanouts() ([]store.FanoutState, error) {
	return list(t.s, scanFanout, selectFanout+"WHERE r.former = '' ORDER BY r.uri, f.peer")
}

func (t *readTx) Fanout(uri mimi.RoomURI, peer mimi.Domain) (*store.FanoutState, error) {
	all, err := list(t.s, scanFanout, selectFanout+"WHERE r.uri = $1 AND f.peer = $2", string(uri), string(peer))
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("fanout of %s to %s: %w", uri, peer, store.ErrNotFound)
	}
	return &all[0], nil
}

func (t *tx) PutFanout(f store.FanoutState) error {
	id, err := t.roomID(f.Room)
	if err != nil {
		return err
	}
	_, err = t.write(`INSERT INTO fanouts (room, peer, acked, sent, until_seq, parked) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (room, peer) DO UPDATE SET acked = excluded.acked, sent = excluded.sent,
		until_seq = excluded.until_seq, parked = excluded.parked`,
		id, string(f.Peer), ordinal(f.Acked), ordinal(f.Sent), ordinal(f.Until), f.Parked)
	return err
}

func (t *tx) ExtendFanout(uri mimi.RoomURI, peer mimi.Domain, acked, from, to uint64) (bool, error) {
	id, err := t.roomID(uri)
	if err != nil {
		return false, err
	}
	n, err := t.write(`UPDATE fanouts SET acked = $1, sent = $2 WHERE room = $3 AND peer = $4
		AND sent = $1 AND acked >= $5 AND until_seq = 0 AND parked = ''`,
		ordinal(from), ordinal(to), id, string(peer), ordinal(acked))
	return n > 0, err
}

const selectOutWelcome = `SELECT r.uri, w.seq, w.peer, w.body, w.snapshot
	FROM out_welcomes w JOIN rooms r ON r.id = w.room WHERE r.uri = $1 AND w.peer = $2 `

func scanOutWelcome(row row) (w store.OutWelcome, err error) {
	err = row.Scan(&w.Room, &w.Seq, &w.Peer, &w.Body, &w.Snapshot)
	return w, err
}

func (t *readTx) OutWelcomes(uri mimi.RoomURI, peer mimi.Domain, after uint64) ([]store.OutWelcome, error) {
	return list(t.s, scanOutWelcome, selectOutWelcome+"AND w.seq > $3 ORDER BY w.seq",
		string(uri), string(peer), ordinal(after))
}

func (t *readTx) OutWelcome(uri mimi.RoomURI, peer mimi.Domain, seq uint64) (*store.OutWelcome, error) {
	all, err := list(t.s, scanOutWelcome, selectOutWelcome+"AND w.seq = $3",
		string(uri), string(peer), ordinal(seq))
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("welcome of %s at %d for %s: %w", uri, seq, peer, store.ErrNotFound)
	}
	return &all[0], nil
}

func (t *tx) PutOutWelcome(w store.OutWelcome) error {
	id, err := t.roomID(w.Room)
	if err != nil {
		return err
	}
	_, err = t.write(`INSERT INTO out_welcomes (room, peer, seq, body, snapshot) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (room, peer, seq) DO NOTHING`,
		id, string(w.Peer), ordinal(w.Seq), bytesOf(w.Body), orNull(w.Snapshot))
	return err
}

func (t *tx) DeleteOutWelcomes(uri mimi.RoomURI, peer mimi.Domain, upTo uint64) error {
	id, err := t.roomID(uri)
	if err != nil {
		return err
	}
	_, err = t.write("DELETE FROM out_welcomes WHERE room = $1 AND peer = $2 AND seq <= $3",
		id, string(peer), ordinal(upTo))
	return err
}

func (t *readTx) InWelcomes(client mimi.ClientURI) ([]store.InWelcome, error) {
	return list(t.s, func(row row) (w store.InWelcome, err error) {
		err = row.Scan(&w.Client, &w.Room, &w.Seq, &w.Body)
		return w, err
	}, `SELECT w.client, r.uri, w.seq, b.body FROM in_welcomes w JOIN rooms r ON r.id = w.room
		JOIN welcomes b ON b.id = w.welcome
		WHERE w.client = $1 AND r.former = '' ORDER BY w.id`, string(client))
}

func (t *tx) PutInWelcome(w store.InWelcome) error {
	room, err := t.roomID(w.Room)
	if err != nil {
		return err
	}
	var id int64
	err = t.s.one([]any{&id}, "SELECT id FROM in_welcomes WHERE client = $1 AND room = $2 AND seq = $3",
		string(w.Client), room, ordinal(w.Seq))
	if !errors.Is(err, store.ErrNotFound) {
		return t.note(err) // it is there
	}
	body, err := t.welcome(room, ordinal(w.Seq), w.Body)
	if err != nil {
		return err
	}
	_, err = t.write("INSERT INTO in_welcomes (client, room, seq, welcome) VALUES ($1, $2, $3, $4)",
		string(w.Client), room, ordinal(w.Seq), body)
	return err
}

// welcome is the body of a Welcome as it is stored, once for all its clients.
type welcome struct {
	id, room, seq int64
	body          []byte
}

// welcome finds or stores the body of a Welcome.
func (t *tx) welcome(room, seq int64, body []byte) (id int64, err error) {
	if last := &t.lastWelcome; last.id != 0 && last.room == room && last.seq == seq && bytes.Equal(last.body, body) {
		return last.id, nil
	}
	err = t.s.one([]any{&id}, "SELECT id FROM welcomes WHERE room = $1 AND seq = $2 AND body = $3", room, seq, bytesOf(body))
	if errors.Is(err, store.ErrNotFound) {
		err = t.writeOne([]any{&id}, "INSERT INTO welcomes (room, seq, body) VALUES ($1, $2, $3) RETURNING id", room, seq, bytesOf(body))
	}
	if err != nil {
		return 0, t.note(err)
	}
	t.lastWelcome = welcome{id, room, seq, body}
	return id, nil
}

// dropWelcomes drops the Welcomes that a client has acknowledged, and their bodies
// if they were the last of theirs.
func (t *tx) dropWelcomes(client mimi.ClientURI, room, upTo int64) error {
	n, err := t.write("DELETE FROM in_welcomes WHERE client = $1 AND room = $2 AND seq <= $3", string(client), room, upTo)
	if err != nil || n == 0 {
		return err
	}
	_, err = t.write(`DELETE FROM welcomes WHERE room = $1 AND seq <= $2
		AND NOT EXISTS (SELECT 1 FROM in_welcomes w WHERE w.welcome = welcomes.id)`, room, upTo)
	t.lastWelcome = welcome{}
	return err
}
