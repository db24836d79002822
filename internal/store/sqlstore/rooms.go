package sqlstore

import (
	"errors"
	"fmt"

	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

const selectRoom = `SELECT r.uri, r.hub, r.head_seq, r.head_hash, r.start_seq, r.start_hash,
	r.last_timestamp, r.epoch, r.frozen, r.former, s.state FROM rooms r JOIN room_states s ON s.room = r.id `

const selectHead = `SELECT r.uri, r.hub, r.head_seq, r.head_hash, r.start_seq, r.start_hash,
	r.last_timestamp, r.epoch, r.frozen, r.former, NULL FROM rooms r `

func scanRoom(row row) (r store.RoomRecord, err error) {
	err = row.Scan(&r.URI, &r.Hub, &r.Head.Seq, (*hash)(&r.Head.Hash), &r.Start.Seq, (*hash)(&r.Start.Hash),
		&r.LastTimestamp, (*word)(&r.Epoch), &r.Frozen, &r.Former, &r.State)
	return r, err
}

func (t *readTx) Room(uri mimi.RoomURI) (*store.RoomRecord, error) {
	return t.room(uri, selectRoom)
}

func (t *readTx) RoomHead(uri mimi.RoomURI) (*store.RoomRecord, error) {
	return t.room(uri, selectHead)
}

func (t *readTx) room(uri mimi.RoomURI, query string) (*store.RoomRecord, error) {
	rooms, err := list(t.s, scanRoom, query+"WHERE r.uri = $1", string(uri))
	if err != nil {
		return nil, err
	}
	if len(rooms) == 0 {
		return nil, fmt.Errorf("room %s: %w", uri, store.ErrNotFound)
	}
	return &rooms[0], nil
}

func (t *readTx) HasRoom(uri mimi.RoomURI) (bool, error) {
	_, known, err := t.knownRoom(uri)
	return known, err
}

func (t *readTx) Rooms() ([]store.RoomRecord, error) {
	return list(t.s, scanRoom, selectHead+"ORDER BY r.uri")
}

func (t *readTx) RoomsOfUser(user mimi.UserURI) ([]store.RoomRecord, error) {
	return list(t.s, scanRoom, selectHead+
		"JOIN participants p ON p.room = r.id WHERE p.user_uri = $1 AND r.former = '' ORDER BY r.uri", string(user))
}

func (t *readTx) Participants(uri mimi.RoomURI) ([]room.Participant, error) {
	id, known, err := t.knownRoom(uri)
	if err != nil || !known {
		return nil, err
	}
	return list(t.s, func(row row) (p room.Participant, err error) {
		err = row.Scan(&p.User, &p.Role)
		return p, err
	}, "SELECT user_uri, role FROM participants WHERE room = $1 AND place >= 0 ORDER BY place", id)
}

func (t *readTx) IsParticipant(uri mimi.RoomURI, user mimi.UserURI) (in bool, err error) {
	id, known, err := t.knownRoom(uri)
	if err != nil || !known {
		return false, err
	}
	var place int64
	err = t.s.one([]any{&place}, "SELECT place FROM participants WHERE room = $1 AND user_uri = $2", id, string(user))
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil && place >= 0, err
}

func (t *readTx) History(uri mimi.RoomURI, from uint64) ([]room.Change, error) {
	id, known, err := t.knownRoom(uri)
	if err != nil || !known {
		return nil, err
	}
	return list(t.s, func(row row) (c room.Change, err error) {
		err = row.Scan(&c.Seq, &c.Timestamp, &c.Actor, &c.Action, &c.User, &c.Client, &c.Role)
		return c, err
	}, `SELECT seq, timestamp, actor, action, user_uri, client, role FROM changes
		WHERE room = $1 AND seq >= $2 ORDER BY seq, place`, id, ordinal(from))
}

func (t *tx) CreateRoom(r store.RoomRecord, changes []room.Change, participants []room.Participant, joined []store.Membership) error {
	if err := distinct(participants); err != nil {
		return fmt.Errorf("create room %s: %w", r.URI, err)
	}
	var id int64
	err := t.writeOne([]any{&id}, `INSERT INTO rooms (uri, hub, head_seq, head_hash, start_seq, start_hash,
		last_timestamp, epoch, frozen, former, indexed) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, '', $10)
		ON CONFLICT (uri) DO NOTHING RETURNING id`,
		string(r.URI), string(r.Hub), ordinal(r.Head.Seq), r.Head.Hash[:], ordinal(r.Start.Seq), r.Start.Hash[:],
		ordinal(r.LastTimestamp), int64(r.Epoch), r.Frozen, ordinal(r.Start.Seq))
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("create room %s: %w", r.URI, store.ErrExists)
	}
	if err != nil {
		return fmt.Errorf("create room %s: %w", r.URI, err)
	}
	if err := t.note(checkID(id, r.Head.Seq)); err != nil {
		return fmt.Errorf("create room %s: %w", r.URI, err)
	}
	if t.created == nil {
		t.created = make(map[mimi.RoomURI]int64)
	}
	t.created[r.URI] = id
	t.touch(id)
	if _, err := t.write("INSERT INTO room_states (room, state) VALUES ($1, $2)", id, bytesOf(r.State)); err != nil {
		return err
	}
	return t.project(id, changes, participants, joined, nil, 0)
}

// project writes what follows from an entry, or from the start of a room.
func (t *tx) project(id int64, changes []room.Change, participants []room.Participant,
	joined []store.Membership, left []mimi.ClientURI, seq uint64) error {
	for place, c := range changes {
		if err := t.putChange(id, place, c); err != nil {
			return err
		}
	}
	if participants != nil {
		if err := t.putParticipants(id, participants); err != nil {
			return err
		}
	}
	for _, client := range left {
		if err := t.closeSpan(id, client, seq); err != nil {
			return err
		}
	}
	for _, m := range joined {
		if err := t.openSpan(id, m); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) putChange(id int64, place int, c room.Change) error {
	_, err := t.write(`INSERT INTO changes (room, seq, place, timestamp, actor, action, user_uri, client, role)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		id, ordinal(c.Seq), place, ordinal(c.Timestamp), string(c.Actor), string(c.Action),
		string(c.User), string(c.Client), int64(c.Role))
	return err
}

// place is where a user stands in a participant list; -1 = no longer in it.
type place struct {
	at   int64
	role uint32
}

// putParticipants makes the list of a room what it is given, writing only the
// rows that differ: those who stay in order keep their place.
func (t *tx) putParticipants(id int64, participants []room.Participant) error {
	old, err := t.places(id)
	if err != nil {
		return err
	}
	last := int64(-1)
	for _, p := range participants {
		was, known := old[p.User]
		delete(old, p.User)
		if known && was.at > last && was.role == p.Role {
			last = was.at
			continue
		}
		last++
		if _, err := t.write(`INSERT INTO participants (room, user_uri, role, place) VALUES ($1, $2, $3, $4)
			ON CONFLICT (room, user_uri) DO UPDATE SET role = excluded.role, place = excluded.place`,
			id, string(p.User), int64(p.Role), last); err != nil {
			return err
		}
	}
	for user, was := range old {
		if was.at < 0 {
			continue
		}
		if _, err := t.write("UPDATE participants SET place = -1 WHERE room = $1 AND user_uri = $2", id, string(user)); err != nil {
			return err
		}
	}
	return nil
}

func (t *readTx) places(id int64) (map[mimi.UserURI]place, error) {
	all := make(map[mimi.UserURI]place)
	err := t.s.each(func(row row) (bool, error) {
		var user mimi.UserURI
		var p place
		err := row.Scan(&user, &p.role, &p.at)
		all[user] = p
		return true, err
	}, "SELECT user_uri, role, place FROM participants WHERE room = $1", id)
	return all, err
}

// distinct refuses a participant list that names a user twice.
func distinct(participants []room.Participant) error {
	seen := make(map[mimi.UserURI]bool, len(participants))
	for _, p := range participants {
		if seen[p.User] {
			return fmt.Errorf("participant list names %s twice", p.User)
		}
		seen[p.User] = true
	}
	return nil
}

func (t *tx) PutState(uri mimi.RoomURI, state []byte) error {
	id, err := t.roomID(uri)
	if err != nil {
		return err
	}
	return t.putState(id, state)
}

func (t *tx) putState(id int64, state []byte) error {
	_, err := t.write("UPDATE room_states SET state = $1 WHERE room = $2", bytesOf(state), id)
	return err
}

func (t *tx) Freeze(uri mimi.RoomURI, reason string) error {
	id, err := t.roomID(uri)
	if err != nil {
		return err
	}
	n, err := t.write("UPDATE rooms SET frozen = $1 WHERE id = $2 AND (former = '' OR $1 <> '')", reason, id)
	if err == nil && n == 0 {
		err = fmt.Errorf("thaw %s, which was set aside: %w", uri, store.ErrConflict)
	}
	return err
}
