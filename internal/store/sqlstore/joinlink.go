package sqlstore

import (
	"hubbub/internal/store"
	"hubbub/mimi"
)

const selectJoinLink = "SELECT room, link, created, by_user, joined FROM join_links WHERE room = $1"

func scanJoinLink(row row) (l store.JoinLink, err error) {
	var link []byte
	var joined int64
	err = row.Scan(&l.Room, &link, &l.Created, &l.By, &joined)
	copy(l.Link[:], link)
	l.Joined = joined != 0
	return l, err
}

func (t *readTx) JoinLinks(room mimi.RoomURI) ([]store.JoinLink, error) {
	return list(t.s, scanJoinLink, selectJoinLink+" ORDER BY link", string(room))
}

func (t *readTx) JoinLink(room mimi.RoomURI, link [32]byte) (*store.JoinLink, error) {
	found, err := list(t.s, scanJoinLink, selectJoinLink+" AND link = $2", string(room), link[:])
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, store.ErrNotFound
	}
	return &found[0], nil
}

func (t *readTx) JoinClaim(room mimi.RoomURI, user mimi.UserURI) (link [32]byte, err error) {
	var b []byte
	err = t.s.one([]any{&b}, "SELECT link FROM join_claims WHERE room = $1 AND user_uri = $2", string(room), string(user))
	copy(link[:], b)
	return link, err
}

func (t *tx) PutJoinLink(l store.JoinLink) error {
	_, err := t.write(`INSERT INTO join_links (room, link, created, by_user, joined) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (room, link) DO UPDATE SET created = excluded.created, by_user = excluded.by_user, joined = excluded.joined`,
		string(l.Room), l.Link[:], ordinal(l.Created), string(l.By), number(l.Joined))
	return err
}

func (t *tx) DeleteJoinLink(room mimi.RoomURI, link [32]byte) error {
	if _, err := t.write("DELETE FROM join_claims WHERE room = $1 AND link = $2", string(room), link[:]); err != nil {
		return err
	}
	_, err := t.write("DELETE FROM join_links WHERE room = $1 AND link = $2", string(room), link[:])
	return err
}

func (t *tx) PutJoinClaim(room mimi.RoomURI, user mimi.UserURI, link [32]byte) error {
	_, err := t.write(`INSERT INTO join_claims (room, user_uri, link) VALUES ($1, $2, $3)
		ON CONFLICT (room, user_uri) DO UPDATE SET link = excluded.link`, string(room), string(user), link[:])
	return err
}

func (t *tx) DeleteJoinClaim(room mimi.RoomURI, user mimi.UserURI) error {
	_, err := t.write("DELETE FROM join_claims WHERE room = $1 AND user_uri = $2", string(room), string(user))
	return err
}
