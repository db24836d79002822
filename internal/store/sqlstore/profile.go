package sqlstore

import (
	"fmt"

	"hubbub/internal/store"
	"hubbub/mimi"
)

func (t *readTx) Profile(user mimi.UserURI) ([]store.ProfileField, error) {
	return list(t.s, func(row row) (f store.ProfileField, err error) {
		err = row.Scan(&f.Source, &f.Name, &f.Value, &f.Search)
		return f, err
	}, "SELECT source, name, value, searchable FROM profile_fields WHERE user_uri = $1 ORDER BY source, name", string(user))
}

func (t *readTx) EachProfile(fn func(mimi.UserURI, []store.ProfileField) error) error {
	var user mimi.UserURI
	var fields []store.ProfileField
	flush := func() error {
		if len(fields) == 0 {
			return nil
		}
		defer func() { fields = fields[:0] }()
		return fn(user, fields)
	}
	err := t.s.each(func(row row) (bool, error) {
		var next mimi.UserURI
		var f store.ProfileField
		if err := row.Scan(&next, &f.Source, &f.Name, &f.Value, &f.Search); err != nil {
			return false, err
		}
		if next != user {
			if err := flush(); err != nil {
				return false, err
			}
			user = next
		}
		fields = append(fields, f)
		return true, nil
	}, "SELECT user_uri, source, name, value, searchable FROM profile_fields WHERE searchable > 0 ORDER BY user_uri, source, name")
	if err != nil {
		return err
	}
	return flush()
}

func (t *tx) PutProfile(user mimi.UserURI, fields []store.ProfileField) error {
	if err := t.userExists(user); err != nil {
		return err
	}
	type key struct {
		source mimi.SearchType
		name   string
	}
	seen := make(map[key]bool, len(fields))
	for _, f := range fields {
		if seen[key{f.Source, f.Name}] {
			return fmt.Errorf("profile: field %q: %w", f.Name, store.ErrExists)
		}
		seen[key{f.Source, f.Name}] = true
	}
	if _, err := t.write("DELETE FROM profile_fields WHERE user_uri = $1", string(user)); err != nil {
		return err
	}
	for _, f := range fields {
		if _, err := t.write("INSERT INTO profile_fields (user_uri, source, name, value, searchable) VALUES ($1, $2, $3, $4, $5)",
			string(user), int64(f.Source), f.Name, f.Value, int64(f.Search)); err != nil {
			return err
		}
	}
	return nil
}
