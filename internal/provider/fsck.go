package provider

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"hubbub/internal/fsck"
	"hubbub/internal/heads"
	"hubbub/internal/identity"
	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/internal/store/sqlstore"
	"hubbub/mimi"
)

// databaseFile is what a data directory is known by.
const databaseFile = "hubbub.db"

// ErrNoData: the directory holds no provider's data.
var ErrNoData = errors.New("no provider's data there")

// ConfigOf is what can be said of a data directory alone: enough to check it, but
// not by the rules of rooms, which takes the roots of credentials.
func ConfigOf(dataDir string) Config { return Config{DataDir: dataDir}.withDefaults() }

// Fsck checks the data of a provider that does not run. An error is what kept it
// from looking; store.ErrLocked if the provider runs after all.
func Fsck(ctx context.Context, cfg Config) (*fsck.Report, error) {
	c := fsck.Config{Domain: cfg.domain(), Files: filepath.Join(cfg.DataDir, assetsDir)}
	var damaged int
	var err error
	if c.Heads, damaged, err = heads.Read(cfg.HeadsFile); err != nil {
		return nil, err
	}
	if cfg.IdentityCA.RootsFile != "" {
		roots, _, err := identity.LoadRoots(cfg.IdentityCA.RootsFile)
		if err != nil {
			return nil, fmt.Errorf("identity_ca.roots_file: %w", err)
		}
		c.Env = &room.Env{Verifier: &mimi.Verifier{Roots: roots}}
	}
	st, err := openStopped(cfg.DataDir)
	if err != nil {
		return nil, err
	}
	c.Store = st
	report, err := fsck.Run(ctx, c)
	if err == nil && damaged > 1 { // the last line may be torn
		report.Findings = append(report.Findings, fsck.Finding{What: "file of heads", Wrong: fmt.Sprintf("%d lines are damaged", damaged)})
	}
	return report, errors.Join(err, st.Close())
}

func openStopped(dir string) (*sqlstore.Store, error) {
	if _, err := os.Stat(filepath.Join(dir, databaseFile)); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", dir, ErrNoData)
	} else if err != nil {
		return nil, err
	}
	return sqlstore.Open(dir)
}

// AcceptLoss takes what the database holds of a room for all there is: what the
// operator decides when nothing else can be had. It gives what was lost. Followers
// that hold more will find the room to be forked.
func AcceptLoss(ctx context.Context, cfg Config, uri mimi.RoomURI) (lost *heads.Loss, err error) {
	st, err := openStopped(cfg.DataDir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	file, err := heads.Open(cfg.HeadsFile)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	var losses []heads.Loss
	var head room.Pos
	err = st.View(ctx, func(tx store.ReadTx) error {
		if losses, err = heads.Compare(tx, file.Known()); err != nil {
			return err
		}
		r, err := tx.Room(uri)
		if err == nil {
			head = r.Head
		} else if errors.Is(err, store.ErrNotFound) {
			err = nil
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for i := range losses {
		if losses[i].Room == uri {
			lost = &losses[i]
		}
	}
	if lost == nil {
		return nil, nil
	}
	if lost.Missing {
		return lost, file.Forget(uri)
	}
	err = st.Update(ctx, func(tx store.Tx) error {
		r, err := tx.Room(uri)
		if err == nil && r.Frozen == heads.Frozen {
			err = tx.Freeze(uri, "")
		}
		if err != nil {
			return err
		}
		return tx.Audit(time.Now(), "operator", "accept-loss", lost.String())
	})
	if err == nil {
		file.Begin(uri, head)
	}
	return lost, err
}
