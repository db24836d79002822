package asset

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"hubbub/internal/store"
)

// checkBatch is how many rows are looked at at a time.
const checkBatch = 1000

// Check compares what is known of files with the files in a directory and tells what does
// not agree. Nothing else may write to either. An upload in the middle agrees, whatever
// place a crash has left it in.
func Check(tx store.AssetReader, dir string, wrong func(id, what string)) error {
	s := &Service{cfg: Config{Dir: dir}}
	known := map[string]bool{}
	for after := ""; ; {
		list, err := tx.Assets(after, checkBatch)
		if err != nil {
			return err
		}
		for i := range list {
			a := &list[i]
			after = a.ID
			if !validID(a.ID) {
				wrong(a.ID, "the name is none of a file")
				continue
			}
			known[a.ID] = true
			if err := s.check(a, wrong); err != nil {
				return err
			}
		}
		if len(list) < checkBatch {
			return s.strangers(known, wrong)
		}
	}
}

// check compares one row with its files.
func (s *Service) check(a *store.Asset, wrong func(id, what string)) error {
	whole, err := length(s.path(a.ID))
	if err != nil {
		return err
	}
	part, err := length(s.partPath(a.ID))
	if err != nil {
		return err
	}
	switch {
	case a.Received < 0 || a.Received > a.Size || a.Complete && a.Received != a.Size:
		wrong(a.ID, fmt.Sprintf("%d of %d octets are said to be here", a.Received, a.Size))
	case whole >= 0 && whole != a.Size:
		wrong(a.ID, fmt.Sprintf("the file has %d octets, not %d", whole, a.Size))
	case whole >= 0 && a.Received < a.Size:
		wrong(a.ID, fmt.Sprintf("the file is finished, and %d of %d octets are said to be here", a.Received, a.Size))
	case whole >= 0 && part >= 0:
		wrong(a.ID, "the file is there twice, finished and not")
	case a.Complete && whole < 0:
		wrong(a.ID, "the file is missing")
	case whole < 0 && part < a.Received && a.Received > 0:
		wrong(a.ID, fmt.Sprintf("the unfinished file has %d octets, and %d are said to be here", max(part, 0), a.Received))
	}
	return nil
}

// length is that of a file, -1 if there is none.
func length(path string) (int64, error) {
	st, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return -1, nil
	case err != nil:
		return 0, err
	case !st.Mode().IsRegular():
		return 0, fmt.Errorf("%s is no file", path)
	}
	return st.Size(), nil
}

// strangers finds files that nothing is known of.
func (s *Service) strangers(known map[string]bool, wrong func(id, what string)) error {
	err := filepath.WalkDir(s.cfg.Dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if id := e.Name(); !known[id] || path != s.path(id) && path != s.partPath(id) {
			wrong(id, "nothing is known of this file")
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil // no file has ever been stored
	}
	return err
}
