package store

import "hubbub/mimi"

// Searchable says how a field of a profile may be found.
type Searchable uint8

// The settings of a field.
const (
	SearchOff     Searchable = 0 // not at all
	SearchExact   Searchable = 1 // by its whole value
	SearchPartial Searchable = 2 // also by a part of it
)

// ProfileField is one line of a user's profile.
type ProfileField struct {
	// Source is mimi.SearchOIDCClaim or mimi.SearchVCardField, or mimi.SearchHandle
	// for the setting of the handle, which has neither Name nor Value.
	Source      mimi.SearchType
	Name, Value string
	Search      Searchable
}

// ProfileReader reads profiles.
type ProfileReader interface {
	// Profile lists a user's fields, by Source and Name.
	Profile(user mimi.UserURI) ([]ProfileField, error)
	// EachProfile calls fn for each user that has fields which may be found, by URI,
	// with those fields. The slice is used again.
	EachProfile(fn func(user mimi.UserURI, fields []ProfileField) error) error
}

// ProfileWriter writes them.
type ProfileWriter interface {
	// PutProfile replaces a local user's fields. ErrNotFound if there is no such
	// user; ErrExists if a field is there twice.
	PutProfile(user mimi.UserURI, fields []ProfileField) error
}
