package sqlstore

import (
	"fmt"
	"time"

	"hubbub/internal/store"
	"hubbub/mimi"
)

func (t *readTx) Users() ([]mimi.UserURI, error) {
	return list(t.s, func(row row) (u mimi.UserURI, err error) {
		err = row.Scan(&u)
		return u, err
	}, "SELECT uri FROM users ORDER BY uri")
}

const selectClient = "SELECT uri, user_uri, token_hash, signature_key, certificates, created_at FROM clients "

func scanClient(row row) (c store.Client, err error) {
	var certificates []byte
	var created int64
	if err := row.Scan(&c.URI, &c.User, (*hash)(&c.TokenHash), &c.SignatureKey, &certificates, &created); err != nil {
		return c, err
	}
	c.CreatedAt = fromMillis(created)
	c.Certificates, err = splitBlobs(certificates)
	return c, err
}

func (t *readTx) client(query string, key any) (*store.Client, error) {
	all, err := list(t.s, scanClient, selectClient+query, key)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("client: %w", store.ErrNotFound)
	}
	return &all[0], nil
}

func (t *readTx) Client(uri mimi.ClientURI) (*store.Client, error) {
	return t.client("WHERE uri = $1", string(uri))
}

func (t *readTx) ClientByToken(tokenHash [32]byte) (*store.Client, error) {
	return t.client("WHERE token_hash = $1", tokenHash[:])
}

func (t *readTx) ClientsOfUser(user mimi.UserURI) ([]store.Client, error) {
	if err := t.userExists(user); err != nil {
		return nil, err
	}
	return list(t.s, scanClient, selectClient+"WHERE user_uri = $1 ORDER BY uri", string(user))
}

func (t *readTx) userExists(user mimi.UserURI) error {
	var created int64
	if err := t.s.one([]any{&created}, "SELECT created_at FROM users WHERE uri = $1", string(user)); err != nil {
		return fmt.Errorf("user: %w", err)
	}
	return nil
}

func (t *tx) CreateUser(user mimi.UserURI, now time.Time) error {
	n, err := t.write("INSERT INTO users (uri, created_at) VALUES ($1, $2) ON CONFLICT (uri) DO NOTHING",
		string(user), millis(now))
	if err == nil && n == 0 {
		err = fmt.Errorf("create user: %w", store.ErrExists)
	}
	return err
}

func (t *tx) PutEnrolment(codeHash [32]byte, user mimi.UserURI, until time.Time) error {
	if err := t.userExists(user); err != nil {
		return err
	}
	_, err := t.write(`INSERT INTO enrolments (code_hash, user_uri, until_ms) VALUES ($1, $2, $3)
		ON CONFLICT (code_hash) DO UPDATE SET user_uri = excluded.user_uri, until_ms = excluded.until_ms`,
		codeHash[:], string(user), millis(until))
	return err
}

func (t *tx) Enrol(codeHash [32]byte, c store.Client, now time.Time) error {
	var until int64
	if err := t.s.one([]any{&until}, "SELECT until_ms FROM enrolments WHERE code_hash = $1 AND user_uri = $2 AND until_ms > $3",
		codeHash[:], string(c.User), millis(now)); err != nil {
		return fmt.Errorf("enrol: %w", err)
	}
	n, err := t.write(`INSERT INTO clients (uri, user_uri, token_hash, signature_key, certificates, created_at)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
		string(c.URI), string(c.User), c.TokenHash[:], bytesOf(c.SignatureKey), joinBlobs(c.Certificates), millis(c.CreatedAt))
	if err == nil && n == 0 {
		err = fmt.Errorf("enrol: %w", store.ErrExists)
	}
	if err != nil {
		return err
	}
	// The code is spent; codes that nobody used in time go with it.
	_, err = t.write("DELETE FROM enrolments WHERE code_hash = $1 OR until_ms <= $2", codeHash[:], millis(now))
	return err
}

func (t *readTx) Meta(key string) ([]byte, error) {
	var value []byte
	if err := t.s.one([]any{&value}, "SELECT value FROM meta WHERE name = $1", key); err != nil {
		return nil, fmt.Errorf("meta %s: %w", key, err)
	}
	return value, nil
}

func (t *tx) PutMeta(key string, value []byte) error {
	_, err := t.write("INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
		key, bytesOf(value))
	return err
}

func (t *tx) Audit(now time.Time, actor, action, detail string) error {
	_, err := t.write("INSERT INTO audit (at, actor, action, detail) VALUES ($1, $2, $3, $4)",
		millis(now), actor, action, detail)
	return err
}
