package sqlstore

import (
	"errors"
	"fmt"
	"time"

	"hubbub/internal/store"
	"hubbub/mimi"
)

const assetColumns = "SELECT id, owner, size, received, complete, created_at FROM assets"

func scanAsset(row row) (a store.Asset, err error) {
	var complete, created int64
	err = row.Scan(&a.ID, &a.Owner, &a.Size, &a.Received, &complete, &created)
	a.Complete, a.Created = complete != 0, fromMillis(created)
	return a, err
}

func (t *readTx) Asset(id string) (*store.Asset, error) {
	found, err := list(t.s, scanAsset, assetColumns+" WHERE id = $1", id)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("asset: %w", store.ErrNotFound)
	}
	return &found[0], nil
}

func (t *readTx) AssetUsage(owner mimi.UserURI) (u store.AssetUsage, err error) {
	err = t.s.one([]any{&u.Bytes, &u.Unfinished},
		"SELECT coalesce(sum(size), 0), coalesce(sum(1 - complete), 0) FROM assets WHERE owner = $1", string(owner))
	return u, err
}

func (t *readTx) UnfinishedAssets(before time.Time) ([]store.Asset, error) {
	return list(t.s, scanAsset, assetColumns+" WHERE complete = 0 AND created_at < $1 ORDER BY created_at, id", millis(before))
}

func (t *readTx) Assets(after string, limit int) ([]store.Asset, error) {
	return list(t.s, scanAsset, assetColumns+" WHERE id > $1 ORDER BY id LIMIT $2", after, limit)
}

func (t *tx) PutAsset(a store.Asset) error {
	if err := t.userExists(a.Owner); err != nil {
		return err
	}
	switch _, err := t.Asset(a.ID); {
	case err == nil:
		return fmt.Errorf("asset: %w", store.ErrExists)
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	_, err := t.write("INSERT INTO assets (id, owner, size, received, complete, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
		a.ID, string(a.Owner), a.Size, a.Received, flag(a.Complete), millis(a.Created))
	return err
}

func (t *tx) AdvanceAsset(id string, received int64, complete bool) error {
	n, err := t.write("UPDATE assets SET received = $2, complete = $3 WHERE id = $1", id, received, flag(complete))
	if err == nil && n == 0 {
		err = fmt.Errorf("asset: %w", store.ErrNotFound)
	}
	return err
}

func (t *tx) DeleteAsset(id string) error {
	_, err := t.write("DELETE FROM assets WHERE id = $1", id)
	return err
}

// flag is how yes and no are stored.
func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
