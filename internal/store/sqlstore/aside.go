package sqlstore

import (
	"fmt"

	"hubbub/internal/store"
	"hubbub/mimi"
)

// The number of a room is remembered by its name for as long as the store is
// open, by readers too. Only SetAside takes a name from a room: then what is
// remembered goes, and a reader whose snapshot began earlier adds nothing.

// setAside stands for the number of a room in what a write transaction knows of
// a name that is free again.
const setAside = 0

func (t *tx) SetAside(uri, as mimi.RoomURI) error {
	id, err := t.roomID(uri)
	if err != nil {
		return err
	}
	switch _, taken, err := t.knownRoom(as); {
	case err != nil:
		return err
	case taken:
		return fmt.Errorf("set aside %s as %s: %w", uri, as, store.ErrExists)
	}
	n, err := t.write("UPDATE rooms SET uri = $1, former = uri WHERE id = $2 AND frozen <> '' AND former = ''", string(as), id)
	if err != nil {
		return err
	}
	if n == 0 {
		return fmt.Errorf("set aside %s, which is not frozen or was set aside before: %w", uri, store.ErrConflict)
	}
	if t.created == nil {
		t.created = make(map[mimi.RoomURI]int64)
	}
	t.created[uri], t.created[as] = setAside, id
	return nil
}

func (t *tx) DeleteMeta(key string) error {
	_, err := t.write("DELETE FROM meta WHERE name = $1", key)
	return err
}

// learn remembers what a committed transaction came to know.
func (s *Store) learn(found map[mimi.RoomURI]int64) {
	s.roomsMu.Lock()
	defer s.roomsMu.Unlock()
	for uri, id := range found {
		if id == setAside {
			s.moved.Add(1)
			s.rooms.Delete(uri)
		} else {
			s.rooms.Store(uri, id)
		}
	}
}

// remember keeps what a snapshot says unless a room has lost its name since it
// began; moved is from before the snapshot.
func (s *Store) remember(uri mimi.RoomURI, id, moved int64) {
	s.roomsMu.Lock()
	defer s.roomsMu.Unlock()
	if s.moved.Load() == moved {
		s.rooms.LoadOrStore(uri, id)
	}
}
