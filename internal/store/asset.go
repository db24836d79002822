package store

import (
	"time"

	"hubbub/mimi"
)

// Asset is a file of a user: what is known of it, not what is in it.
type Asset struct {
	ID       string
	Owner    mimi.UserURI
	Size     int64 // octets, as announced
	Received int64 // octets that are durable, from the first
	Complete bool
	Created  time.Time
}

// AssetUsage is what a user's files take.
type AssetUsage struct {
	Bytes      int64 // of all, as announced
	Unfinished int   // files
}

// AssetReader reads what is known of files.
type AssetReader interface {
	// Asset returns one, ErrNotFound if there is none.
	Asset(id string) (*Asset, error)
	// AssetUsage sums up a user's files.
	AssetUsage(owner mimi.UserURI) (AssetUsage, error)
	// UnfinishedAssets lists those made before a time that are not complete.
	UnfinishedAssets(before time.Time) ([]Asset, error)
	// Assets lists those whose ID comes after one, by ID, at most limit.
	Assets(after string, limit int) ([]Asset, error)
}

// AssetWriter writes it.
type AssetWriter interface {
	// PutAsset adds one. ErrExists if the ID is taken, ErrNotFound if there is no
	// such user.
	PutAsset(a Asset) error
	// AdvanceAsset notes how much of a file is durable, and whether it is complete.
	// ErrNotFound if there is no such file.
	AdvanceAsset(id string, received int64, complete bool) error
	// DeleteAsset forgets one; one that is not there is no error.
	DeleteAsset(id string) error
}
