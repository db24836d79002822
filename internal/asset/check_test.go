package asset

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hubbub/internal/store"
)

// Whatever is done to a file or its row is found, and what a crash leaves is not.
func TestCheck(t *testing.T) {
	s := newPlace(t).Service
	whole, cut := s.upload(t, 1000, 1000), s.upload(t, 1000, 400)
	findings := func() (list []string) {
		t.Helper()
		err := s.cfg.Store.View(t.Context(), func(tx store.ReadTx) error {
			return Check(tx, s.cfg.Dir, func(id, what string) { list = append(list, id+": "+what) })
		})
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	if list := findings(); len(list) > 0 {
		t.Fatalf("an untouched directory: %q", list)
	}
	for name, tc := range map[string]struct {
		file string
		do   func(path string) error
		id   string
		want string
	}{
		"missing":            {s.path(whole), os.Remove, whole, "missing"},
		"shorter":            {s.path(whole), func(p string) error { return os.Truncate(p, 999) }, whole, "999 octets"},
		"longer":             {s.path(whole), func(p string) error { return os.Truncate(p, 1001) }, whole, "1001 octets"},
		"unfinished, gone":   {s.partPath(cut), os.Remove, cut, "0 octets"},
		"unfinished, cut":    {s.partPath(cut), func(p string) error { return os.Truncate(p, 399) }, cut, "399 octets"},
		"a stranger":         {filepath.Join(s.cfg.Dir, "stranger"), func(p string) error { return os.WriteFile(p, nil, 0o600) }, "stranger", "nothing is known"},
		"in another place":   {filepath.Join(s.cfg.Dir, "unfinished", whole), func(p string) error { return os.WriteFile(p, nil, 0o600) }, whole, "twice"},
		"more than is known": {s.partPath(cut), func(p string) error { return os.Truncate(p, 700) }, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			before, err := os.ReadFile(tc.file)
			if err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			if err := tc.do(tc.file); err != nil {
				t.Fatal(err)
			}
			list := findings()
			if tc.want == "" && len(list) > 0 || tc.want != "" && !slices.ContainsFunc(list, func(f string) bool {
				return strings.HasPrefix(f, tc.id) && strings.Contains(f, tc.want)
			}) {
				t.Errorf("%q, want one about %s that says %q", list, tc.id, tc.want)
			}
			if before == nil {
				err = os.Remove(tc.file)
			} else {
				err = os.WriteFile(tc.file, before, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		})
	}
	for _, tc := range []struct {
		name   string
		change func(store.Tx) error
	}{
		{"a row that says 9", func(tx store.Tx) error { return tx.AdvanceAsset(whole, 9, false) }},
		{"complete in part", func(tx store.Tx) error { return tx.AdvanceAsset(cut, 400, true) }},
		{"no row", func(tx store.Tx) error { return tx.DeleteAsset(whole) }}, // last: the first needs it
	} {
		if err := s.cfg.Store.Update(t.Context(), tc.change); err != nil {
			t.Fatal(err)
		}
		if len(findings()) == 0 {
			t.Errorf("%s: nothing was found", tc.name)
		}
	}
}

// upload announces a file and sends the first octets of it.
func (s *Service) upload(t *testing.T, size, sent int) string {
	t.Helper()
	id, err := s.Create(t.Context(), alice, int64(size))
	if err == nil {
		_, err = s.Append(t.Context(), alice, id, 0, bytes.NewReader(make([]byte, sent)))
	}
	if err != nil {
		t.Fatal(fmt.Errorf("uploading: %w", err))
	}
	return id
}
