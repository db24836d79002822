package sqlstore

import (
	"errors"
	"fmt"

	"hubbub/internal/store"
	"hubbub/mimi"
)

func (t *readTx) Unjudged() ([]store.Unjudged, error) {
	return list(t.s, func(row row) (u store.Unjudged, err error) {
		err = row.Scan(&u.Room, &u.Since)
		return u, err
	}, "SELECT room, since FROM unjudged ORDER BY room")
}

func (t *readTx) UnjudgedSince(uri mimi.RoomURI) (since uint64, err error) {
	err = t.s.one([]any{&since}, "SELECT since FROM unjudged WHERE room = $1", string(uri))
	return since, err
}

func (t *readTx) EarlyWelcomes(uri mimi.RoomURI) ([]store.EarlyWelcome, error) {
	return list(t.s, func(row row) (w store.EarlyWelcome, err error) {
		err = row.Scan(&w.Room, (*hash)(&w.Hash), &w.Seq, &w.Body)
		return w, err
	}, "SELECT room, hash, seq, body FROM early_welcomes WHERE room = $1 ORDER BY id", string(uri))
}

func (t *readTx) BroughtFor(uri mimi.RoomURI) ([]store.BroughtState, error) {
	return list(t.s, func(row row) (b store.BroughtState, err error) {
		err = row.Scan(&b.Client, &b.Room, &b.Body)
		return b, err
	}, "SELECT client, room, body FROM brought WHERE room = $1 ORDER BY client", string(uri))
}

func (t *tx) StopJudging(uri mimi.RoomURI, since uint64) error {
	id, err := t.roomID(uri)
	if err != nil {
		return err
	}
	if err := t.putState(id, nil); err != nil {
		return err
	}
	_, err = t.write("INSERT INTO unjudged (room, since) VALUES ($1, $2) ON CONFLICT (room) DO NOTHING", string(uri), ordinal(since))
	return err
}

func (t *tx) PutEarlyWelcome(w store.EarlyWelcome) error {
	_, err := t.write("INSERT INTO early_welcomes (room, hash, seq, body) VALUES ($1, $2, $3, $4) ON CONFLICT (room, hash) DO NOTHING",
		string(w.Room), w.Hash[:], ordinal(w.Seq), bytesOf(w.Body))
	return err
}

func (t *tx) PutBrought(b store.BroughtState) error {
	_, err := t.write(`INSERT INTO brought (client, room, body) VALUES ($1, $2, $3)
		ON CONFLICT (client) DO UPDATE SET room = excluded.room, body = excluded.body`,
		string(b.Client), string(b.Room), bytesOf(b.Body))
	return err
}

func (t *tx) OpenSpans(uri mimi.RoomURI, spans []store.Membership) error {
	id, err := t.roomID(uri)
	if err != nil {
		return err
	}
	t.touch(id)
	for _, m := range spans {
		if err := t.openSpan(id, m); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) BeginJudging(j store.Judged) error {
	id, err := t.roomID(j.Room)
	if err != nil {
		return err
	}
	if _, err := t.UnjudgedSince(j.Room); errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("begin judging %s: %w", j.Room, store.ErrConflict)
	} else if err != nil {
		return err
	}
	if err := distinct(j.Participants); err != nil {
		return fmt.Errorf("begin judging %s: %w", j.Room, err)
	}
	t.touch(id)
	if err := t.putState(id, j.State); err != nil {
		return err
	}
	if _, err := t.write("UPDATE rooms SET epoch = $1 WHERE id = $2", int64(j.Epoch), id); err != nil {
		return err
	}
	at, place := uint64(0), 0
	for _, c := range j.Changes {
		if c.Seq != at {
			at, place = c.Seq, 0
		}
		if err := t.putChange(id, place, c); err != nil {
			return err
		}
		place++
	}
	for _, m := range j.Left {
		if err := t.closeSpan(id, m.Client, m.Until); err != nil {
			return err
		}
	}
	if err := t.project(id, nil, j.Participants, j.Joined, nil, 0); err != nil {
		return err
	}
	for _, table := range []string{"unjudged", "early_welcomes", "brought"} {
		if _, err := t.write("DELETE FROM "+table+" WHERE room = $1", string(j.Room)); err != nil {
			return err
		}
	}
	return nil
}
