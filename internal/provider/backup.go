package provider

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"hubbub/client/clientpb"
	"hubbub/internal/store/sqlstore"
	"hubbub/mimi"
)

// Names in a backup, and of what a data directory is told by one that was restored.
const (
	manifestFile = "manifest.json"
	keysDir      = "keys"
	restoredFile = "restored"
)

// Manifest says what a backup holds. It is written last: a directory without one is
// no backup.
type Manifest struct {
	Format   int            `json:"format"` // 1
	Identity string         `json:"identity"`
	Made     time.Time      `json:"made"` // the database is as it was then or a little later
	Files    []ManifestFile `json:"files"`
}

// ManifestFile is one file of a backup.
type ManifestFile struct {
	Path   string `json:"path"` // with slashes, in the backup as in the data directory
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// backups makes copies of a running provider's data.
type backups struct {
	cfg   Config
	store *sqlstore.Store
}

// Backup writes a copy of everything in the data directory into dir, which must not
// exist or be empty: the database as it stands at one moment, then the keys made here
// and the attachments, of which none is changed once it is whole. The file of heads
// goes first, so that it never says more than the database.
func (b *backups) Backup(ctx context.Context, dir string) (*clientpb.BackupResponse, error) {
	if !filepath.IsAbs(dir) {
		return nil, mimi.NewProblem(http.StatusBadRequest, mimi.CodeMalformed, "the directory is no absolute path")
	}
	if err := emptyDir(dir); err != nil {
		return nil, mimi.NewProblem(http.StatusConflict, mimi.CodeConflict, "%v", err)
	}
	m := &Manifest{Format: 1, Identity: b.cfg.Identity, Made: time.Now().UTC().Truncate(time.Millisecond)}
	if err := m.take(ctx, b.cfg.HeadsFile, dir, headsFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := b.store.Backup(ctx, dir); err != nil {
		return nil, err
	}
	if err := m.add(filepath.Join(dir, databaseFile), databaseFile); err != nil {
		return nil, err
	}
	for _, sub := range []string{keysDir, assetsDir} {
		if err := m.takeAll(ctx, b.cfg.DataDir, dir, sub); err != nil {
			return nil, err
		}
	}
	if err := m.write(dir); err != nil {
		return nil, err
	}
	out := &clientpb.BackupResponse{Files: uint32(len(m.Files)), Made: ms(m.Made)}
	for _, f := range m.Files {
		out.Bytes += uint64(f.Bytes)
	}
	return out, nil
}

// emptyDir makes a directory that only we can read, unless there is one and it is
// empty.
func emptyDir(dir string) error {
	list, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return os.MkdirAll(dir, 0o700)
	case err == nil && len(list) > 0:
		return fmt.Errorf("%s is not empty: a backup has a directory of its own", dir)
	}
	return err
}

// takeAll copies the files of a part of the data directory. One that vanishes
// meanwhile was deleted by its owner.
func (m *Manifest) takeAll(ctx context.Context, from, to, sub string) error {
	return filepath.WalkDir(filepath.Join(from, sub), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			var rel string
			if rel, err = filepath.Rel(from, path); err == nil {
				err = m.take(ctx, path, to, filepath.ToSlash(rel))
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
}

// take copies a file into the backup.
func (m *Manifest) take(ctx context.Context, path, dir, name string) error {
	f, err := copyFile(ctx, path, filepath.Join(dir, filepath.FromSlash(name)))
	if err == nil {
		f.Path = name
		m.Files = append(m.Files, f)
	}
	return err
}

// add lists a file that is in the backup already.
func (m *Manifest) add(path, name string) error {
	f, err := sumFile(path)
	f.Path = name
	m.Files = append(m.Files, f)
	return err
}

func (m *Manifest) write(dir string) error {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, manifestFile)
	if err := writeSynced(path+".new", append(b, '\n')); err != nil {
		return err
	}
	return errors.Join(os.Rename(path+".new", path), syncDir(dir))
}

func writeSynced(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// copyFile copies a file, makes the copy durable and sums it up.
func copyFile(ctx context.Context, from, to string) (f ManifestFile, err error) {
	in, err := os.Open(from)
	if err != nil {
		return f, err
	}
	defer in.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return f, err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return f, err
	}
	sum := sha256.New()
	f.Bytes, err = io.Copy(io.MultiWriter(out, sum), in)
	f.SHA256 = hex.EncodeToString(sum.Sum(nil))
	return f, errors.Join(err, out.Sync(), out.Close(), ctx.Err())
}

func sumFile(path string) (f ManifestFile, err error) {
	in, err := os.Open(path)
	if err != nil {
		return f, err
	}
	defer in.Close()
	sum := sha256.New()
	f.Bytes, err = io.Copy(sum, in)
	f.SHA256 = hex.EncodeToString(sum.Sum(nil))
	return f, err
}

// ErrBackup says that a directory holds no backup that can be restored here.
var ErrBackup = errors.New("not a backup of this provider")

// readBackup reads what a backup holds, and checks every file of it.
func readBackup(dir string, cfg Config) (*Manifest, error) {
	b, err := os.ReadFile(filepath.Join(dir, manifestFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s holds no %s: it was not finished, or is none", ErrBackup, dir, manifestFile)
	}
	if err != nil {
		return nil, err
	}
	m := &Manifest{}
	switch err := json.Unmarshal(b, m); {
	case err != nil:
		return nil, fmt.Errorf("%w: %s: %w", ErrBackup, manifestFile, err)
	case m.Format != 1:
		return nil, fmt.Errorf("%w: it is of format %d, which a newer version writes", ErrBackup, m.Format)
	case m.Identity != cfg.Identity:
		return nil, fmt.Errorf("%w: it is of %s, and the configuration is of %s", ErrBackup, m.Identity, cfg.Identity)
	}
	for _, want := range m.Files {
		if !filepath.IsLocal(filepath.FromSlash(want.Path)) {
			return nil, fmt.Errorf("%w: %q is no name of a file in it", ErrBackup, want.Path)
		}
		have, err := sumFile(filepath.Join(dir, filepath.FromSlash(want.Path)))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBackup, err)
		}
		if have.Bytes != want.Bytes || have.SHA256 != want.SHA256 {
			return nil, fmt.Errorf("%w: %s is not what was written", ErrBackup, want.Path)
		}
	}
	return m, nil
}

// Restore puts a backup into the data directory of a provider that does not run and
// has no database there. Files of ours that are there already, as on a disk of which
// only the database was lost, stay: a newer file of heads says what the backup lacks.
// Nothing is left behind if it fails before the end.
//
// The next start knows of it: it takes no write to a room until the room's followers
// have said what they hold, or the time has passed that the configuration gives them.
func Restore(ctx context.Context, cfg Config, dir string) (*Manifest, error) {
	m, err := readBackup(dir, cfg)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return nil, err
	}
	target := filepath.Join(cfg.DataDir, databaseFile)
	if _, err := os.Lstat(target); err == nil {
		return nil, fmt.Errorf("%s: %w: move it away, with %s-wal beside it: it may hold more than the backup", target, fs.ErrExist, databaseFile)
	}
	for _, left := range []string{target + "-wal", target + "-shm"} {
		if _, err := os.Lstat(left); err == nil {
			return nil, fmt.Errorf("%s: %w: it belongs to another copy of the database: move it away", left, fs.ErrExist)
		}
	}
	var made []string
	err = m.putAll(ctx, cfg, dir, &made)
	if err == nil { // last, and by rename: only now is there a database
		err = errors.Join(writeSynced(filepath.Join(cfg.DataDir, restoredFile), []byte(m.Made.Format(time.RFC3339)+"\n")),
			os.Rename(target+".new", target), syncDir(cfg.DataDir))
	}
	if err != nil {
		for _, path := range made {
			os.Remove(path)
		}
		return nil, fmt.Errorf("restoring: %w", err)
	}
	return m, nil
}

// putAll copies the files of a backup to where they belong, the database under
// another name.
func (m *Manifest) putAll(ctx context.Context, cfg Config, dir string, made *[]string) error {
	for _, f := range m.Files {
		to := filepath.Join(cfg.DataDir, filepath.FromSlash(f.Path))
		switch f.Path {
		case headsFile:
			to = cfg.HeadsFile
		case databaseFile:
			to += ".new"
			os.Remove(to) // of an attempt that broke off
		}
		have, err := copyFile(ctx, filepath.Join(dir, filepath.FromSlash(f.Path)), to)
		if errors.Is(err, fs.ErrExist) && f.Path != databaseFile {
			if there, err := sumFile(to); err != nil || f.Path == hubKeyFile && there.SHA256 != f.SHA256 {
				return errors.Join(err, fmt.Errorf("%w: %s is there already and is another key", ErrBackup, to))
			}
			continue
		}
		*made = append(*made, to)
		if err == nil && have.SHA256 != f.SHA256 {
			err = fmt.Errorf("%w: %s changed while it was read", ErrBackup, f.Path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
