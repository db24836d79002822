package asset

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"hubbub/internal/failpoint"
	"hubbub/internal/store"
	"hubbub/mimi"
)

const (
	// unfinishedAge is how long an upload may rest before it is thrown away.
	unfinishedAge = 24 * time.Hour
	// maxUnfinished is how many uploads of one user may be under way.
	maxUnfinished = 16
	// pieceBytes is how much of an upload becomes durable at a time.
	pieceBytes = 1 << 20
	idBytes    = 26 // characters of an ID: 130 random bits
	partial    = "unfinished"
)

// Config is what a Service needs; all of it is required but for Now.
type Config struct {
	Store store.Store
	// Dir holds the files. It is made if need be.
	Dir string
	// MaxBytes bounds a file, MaxUserBytes all of one user together.
	MaxBytes, MaxUserBytes int64
	Now                    func() time.Time // [time.Now]
}

// Service keeps files. Safe for concurrent use.
type Service struct {
	cfg Config

	mu   sync.Mutex
	busy map[string]bool // uploads that somebody writes to; guarded by mu
}

// Open makes a Service over a directory.
func Open(cfg Config) (*Service, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	for _, dir := range []string{cfg.Dir, filepath.Join(cfg.Dir, partial)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("directory of attachments: %w", err)
		}
	}
	if err := syncDir(cfg.Dir); err != nil {
		return nil, fmt.Errorf("directory of attachments: %w", err)
	}
	return &Service{cfg: cfg, busy: map[string]bool{}}, nil
}

// validID says whether a name from outside can be one of ours. Nothing else ever becomes
// part of a path.
func validID(id string) bool {
	return len(id) == idBytes && strings.Trim(id, "abcdefghijklmnopqrstuvwxyz234567") == ""
}

func (s *Service) partPath(id string) string { return filepath.Join(s.cfg.Dir, partial, id) }
func (s *Service) path(id string) string     { return filepath.Join(s.cfg.Dir, id[:2], id) }

func notThere() *mimi.Problem {
	return mimi.NewProblem(http.StatusNotFound, mimi.CodeNotFound, "there is no such attachment")
}

// Create announces a file of a user. Nothing is written but a row.
func (s *Service) Create(ctx context.Context, owner mimi.UserURI, size int64) (id string, err error) {
	switch {
	case size <= 0:
		return "", mimi.NewProblem(http.StatusBadRequest, mimi.CodeMalformed, "an attachment has at least one octet")
	case size > s.cfg.MaxBytes:
		return "", mimi.NewProblem(http.StatusRequestEntityTooLarge, mimi.CodeTooLarge,
			"an attachment may have %d octets at this provider, and this one has %d", s.cfg.MaxBytes, size)
	}
	id = strings.ToLower(rand.Text())
	err = s.cfg.Store.Update(ctx, func(tx store.Tx) error {
		u, err := tx.AssetUsage(owner)
		if err != nil {
			return err
		}
		if u.Bytes+size > s.cfg.MaxUserBytes {
			return mimi.NewProblem(http.StatusInsufficientStorage, "quota",
				"your attachments may have %d octets together, and %d are taken", s.cfg.MaxUserBytes, u.Bytes)
		}
		if u.Unfinished >= maxUnfinished {
			return mimi.NewProblem(http.StatusTooManyRequests, mimi.CodeTooMany, "%d uploads of yours are not finished", u.Unfinished)
		}
		return tx.PutAsset(store.Asset{ID: id, Owner: owner, Size: size, Created: s.cfg.Now()})
	})
	return id, err
}

// get finds a file, of a certain user if owner is not empty. A file of somebody else is
// one that is not there.
func (s *Service) get(ctx context.Context, owner mimi.UserURI, id string) (a *store.Asset, err error) {
	if !validID(id) {
		return nil, notThere()
	}
	err = s.cfg.Store.View(ctx, func(tx store.ReadTx) error {
		a, err = tx.Asset(id)
		return err
	})
	if errors.Is(err, store.ErrNotFound) || err == nil && owner != "" && a.Owner != owner {
		return nil, notThere()
	}
	return a, err
}

// Status says how far an upload of a user has come.
func (s *Service) Status(ctx context.Context, owner mimi.UserURI, id string) (*store.Asset, error) {
	return s.get(ctx, owner, id)
}

// Append adds octets from src at offset, which must be where the upload stands, and
// says where it stands now. What has arrived when src fails is kept, so that err and a
// higher offset come together. More octets than were announced are refused.
func (s *Service) Append(ctx context.Context, owner mimi.UserURI, id string, offset int64, src io.Reader) (now int64, err error) {
	leave, err := s.enter(id)
	if err != nil {
		return 0, err
	}
	defer leave()
	a, err := s.get(ctx, owner, id)
	if err != nil {
		return 0, err
	}
	if a.Complete && offset == a.Size {
		return a.Size, nil // the answer to the last piece was lost
	}
	if offset != a.Received || a.Complete {
		return a.Received, mimi.NewProblem(http.StatusConflict, "offset", "the upload stands at %d, not at %d", a.Received, offset)
	}
	f, err := os.OpenFile(s.partPath(id), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return a.Received, noSpace(err)
	}
	defer f.Close()
	// What lies behind the durable part was never answered for.
	if err := f.Truncate(a.Received); err != nil {
		return a.Received, noSpace(err)
	}
	if _, err := f.Seek(a.Received, io.SeekStart); err != nil {
		return a.Received, err
	}
	err = s.pieces(ctx, a, f, src)
	return a.Received, err
}

// enter lets one writer at a time to an upload.
func (s *Service) enter(id string) (leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy[id] {
		return nil, mimi.NewProblem(http.StatusLocked, "busy", "somebody writes to this upload")
	}
	s.busy[id] = true
	return func() { s.mu.Lock(); delete(s.busy, id); s.mu.Unlock() }, nil
}

// pieces copies from src until it ends, making each piece durable, and completes the
// file with its last octet. a.Received follows.
func (s *Service) pieces(ctx context.Context, a *store.Asset, f *os.File, src io.Reader) error {
	for a.Received < a.Size {
		n, readErr := io.Copy(f, io.LimitReader(src, min(pieceBytes, a.Size-a.Received)))
		if n > 0 {
			// Also when the reader has gone: what has come need not come again.
			if err := s.keep(context.WithoutCancel(ctx), a, f, a.Received+n); err != nil {
				return err
			}
		}
		if readErr != nil {
			return noSpace(readErr)
		}
		if n == 0 {
			return nil
		}
	}
	var one [1]byte
	if n, _ := io.ReadFull(src, one[:]); n > 0 {
		return mimi.NewProblem(http.StatusRequestEntityTooLarge, mimi.CodeTooLarge, "more octets than were announced")
	}
	return nil
}

// keep makes the file durable up to received, then says so in the database. The last
// piece gives it its final name in between: a crash there is found out by finish.
func (s *Service) keep(ctx context.Context, a *store.Asset, f *os.File, received int64) error {
	if err := f.Sync(); err != nil {
		return noSpace(err)
	}
	failpoint.Hit("asset.synced ", a.ID)
	complete := received == a.Size
	if !complete && a.Received == 0 { // its name has to be durable as well
		if err := syncDir(filepath.Join(s.cfg.Dir, partial)); err != nil {
			return err
		}
	}
	if err := s.advance(ctx, a.ID, received, false); err != nil {
		return err
	}
	a.Received = received
	if !complete {
		return nil
	}
	return s.finish(ctx, a)
}

func (s *Service) advance(ctx context.Context, id string, received int64, complete bool) error {
	return s.cfg.Store.Update(ctx, func(tx store.Tx) error { return tx.AdvanceAsset(id, received, complete) })
}

// finish gives a file of which every octet is durable its name. It may have it already.
func (s *Service) finish(ctx context.Context, a *store.Asset) error {
	dir := filepath.Dir(s.path(a.ID))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return noSpace(err)
	}
	err := os.Rename(s.partPath(a.ID), s.path(a.ID))
	if errors.Is(err, fs.ErrNotExist) {
		_, err = os.Stat(s.path(a.ID))
	}
	for _, d := range []string{dir, s.cfg.Dir, filepath.Join(s.cfg.Dir, partial)} {
		if err == nil {
			err = syncDir(d)
		}
	}
	if err != nil {
		return noSpace(err)
	}
	failpoint.Hit("asset.named ", a.ID)
	if err := s.advance(ctx, a.ID, a.Size, true); err != nil {
		return err
	}
	a.Complete = true
	return nil
}

// Download opens a complete file; anybody may who knows its name. The caller closes it.
func (s *Service) Download(ctx context.Context, id string) (*os.File, *store.Asset, error) {
	a, err := s.get(ctx, "", id)
	if err != nil {
		return nil, nil, err
	}
	if !a.Complete {
		return nil, nil, notThere()
	}
	f, err := os.Open(s.path(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, notThere()
	}
	return f, a, err
}

// Delete throws a user's file away. The row goes last, so that no file is forgotten.
func (s *Service) Delete(ctx context.Context, owner mimi.UserURI, id string) error {
	leave, err := s.enter(id)
	if err != nil {
		return err
	}
	defer leave()
	a, err := s.get(ctx, owner, id)
	if err != nil {
		return err
	}
	return s.remove(ctx, a)
}

func (s *Service) remove(ctx context.Context, a *store.Asset) error {
	for _, path := range []string{s.partPath(a.ID), s.path(a.ID)} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing an attachment: %w", err)
		}
	}
	return s.cfg.Store.Update(ctx, func(tx store.Tx) error { return tx.DeleteAsset(a.ID) })
}

// Scrub ends what was left in the middle: uploads whose octets are all there are
// completed, and those that have rested for a day are thrown away.
func (s *Service) Scrub(ctx context.Context) error {
	var list []store.Asset
	now := s.cfg.Now()
	err := s.cfg.Store.View(ctx, func(tx store.ReadTx) (err error) {
		list, err = tx.UnfinishedAssets(now.Add(time.Millisecond))
		return err
	})
	for i := range list {
		a := &list[i]
		leave, busy := s.enter(a.ID)
		if busy != nil {
			continue
		}
		switch {
		case a.Received == a.Size:
			err = errors.Join(err, s.finish(ctx, a))
		case now.Sub(s.touched(a)) >= unfinishedAge:
			err = errors.Join(err, s.remove(ctx, a))
		}
		leave()
	}
	return err
}

// touched is when something last arrived.
func (s *Service) touched(a *store.Asset) time.Time {
	if st, err := os.Stat(s.partPath(a.ID)); err == nil && st.ModTime().After(a.Created) {
		return st.ModTime()
	}
	return a.Created
}

// noSpace says a full disk in the words of the store.
func noSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", store.ErrFull, err)
	}
	return err
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
