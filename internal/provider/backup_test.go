package provider

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"hubbub/client"
	"hubbub/client/clientpb"
	"hubbub/mimi"
)

// drilled is what drill leaves.
type drilled struct {
	*world
	room       mimi.RoomURI
	alice, bob *client.Client
	at         client.Pos // what the log had reached
	dir        string     // of the backup
}

// drill backs a up while both users post, has more posted after it, and then loses
// a's whole directory and restores it. Everything is stopped then.
func drill(t *testing.T) *drilled {
	t.Helper()
	w, room, alice, bob := twoProviders(t)
	post(t, alice, room, "a picture", "p.png", bytes.Repeat([]byte("x"), 100_000))
	dir := filepath.Join(t.TempDir(), "backup")
	backup := func(to string) error {
		_, err := w.admin("a.localhost").Backup(t.Context(), connect.NewRequest(&clientpb.BackupRequest{Directory: to}))
		return err
	}
	if err := backup("backup"); connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("into a relative path: %v", err)
	}
	var posting sync.WaitGroup
	began, enough := make(chan struct{}), make(chan struct{})
	for _, c := range []*client.Client{alice, bob} {
		posting.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-enough:
					return
				case began <- struct{}{}:
				default:
				}
				m, err := c.Send(t.Context(), room, fmt.Sprintf("%s %d", c.User(), i))
				if err == nil {
					_, err = c.WaitPosted(t.Context(), room, m.ID)
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	<-began
	<-began
	err := backup(dir)
	close(enough)
	posting.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if err := backup(dir); err == nil {
		t.Error("over another backup")
	}
	posted(t, bob, room, send(t, bob, room, "not in the backup"))
	at := equalReplicas(t, room, alice, bob)
	w.stop("a.localhost")
	w.stop("b.localhost")
	cfg := w.cfgs["a.localhost"]
	if err := os.RemoveAll(cfg.DataDir); err != nil {
		t.Fatal(err)
	}
	if m, err := Restore(t.Context(), cfg, dir); err != nil || len(m.Files) < 5 { // database, heads, two keys and more, an attachment
		t.Fatalf("%+v, %v", m, err)
	}
	w.clean("a.localhost")
	return &drilled{w, room, alice, bob, at, dir}
}

// P25: a provider that was backed up under load is lost, and restored. It takes no
// write before it has heard what its follower holds, and ends with everything that
// was ever accepted.
func TestBackupDrill(t *testing.T) {
	w := drill(t)
	room, alice, bob := w.room, w.alice, w.bob
	w.start("a.localhost")
	m := send(t, alice, room, "after the restore")
	short, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if m, err := alice.WaitPosted(short, room, m.ID); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a write was decided before the follower had been heard: %+v, %v", m, err)
	}
	w.start("b.localhost")
	if m := posted(t, alice, room, m); m.Seq <= w.at.Seq {
		t.Errorf("posted at %d, the log had reached %s", m.Seq, w.at)
	}
	posted(t, bob, room, send(t, bob, room, "from b"))
	equalReplicas(t, room, alice, bob)
	until(t, "one history", func(ctx context.Context) error {
		if v, err := bob.Verify(ctx, room); err != nil || len(v.Problems) > 0 || v.Signed == nil || v.Own != v.Pos {
			return fmt.Errorf("%+v, %w", v, err)
		}
		return nil
	})
	until(t, "the end of the restore", func(context.Context) error {
		if w.running["a.localhost"].wasRestored() {
			return errors.New("not yet")
		}
		return nil
	})
	pictured, picture := attachmentOf(t, bob, room, "a picture")
	var got bytes.Buffer
	if err := bob.ReadAttachment(t.Context(), pictured, picture, &got); err != nil || got.Len() != 100_000 {
		t.Errorf("%d octets of the picture, %v", got.Len(), err)
	}
	w.stop("a.localhost")
	w.stop("b.localhost")
	w.clean("a.localhost", "b.localhost")
	wrongBackups(t, w.cfgs["a.localhost"], w.cfgs["b.localhost"], w.dir)
}

// wrongBackups: nothing is overwritten, and nothing comes of what is no backup.
func wrongBackups(t *testing.T, cfg, other Config, dir string) {
	t.Helper()
	if _, err := Restore(t.Context(), cfg, dir); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over a database: %v", err)
	}
	fresh := func(c Config) Config {
		c.DataDir = filepath.Join(t.TempDir(), "data")
		c.HeadsFile = filepath.Join(c.DataDir, headsFile)
		return c
	}
	refused := func(what string, c Config) {
		t.Helper()
		if _, err := Restore(t.Context(), c, dir); !errors.Is(err, ErrBackup) {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := os.Stat(filepath.Join(c.DataDir, databaseFile)); err == nil {
			t.Errorf("%s: there is a database", what)
		}
	}
	refused("another provider's", fresh(other))
	mixed := fresh(cfg)
	if err := errors.Join(os.MkdirAll(filepath.Join(mixed.DataDir, keysDir), 0o700),
		os.WriteFile(filepath.Join(mixed.DataDir, hubKeyFile), []byte("another"), 0o600)); err != nil {
		t.Fatal(err)
	}
	refused("under another hub key", mixed)
	db := filepath.Join(dir, databaseFile)
	b, err := os.ReadFile(db)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(db, b, 0o600); err != nil {
		t.Fatal(err)
	}
	refused("with a bit flipped", fresh(cfg))
	if err := os.Remove(filepath.Join(dir, manifestFile)); err != nil {
		t.Fatal(err)
	}
	refused("unfinished", fresh(cfg))
}

// A follower that is gone keeps a restored room from going on for a while only.
func TestRestoredGoesOnWithoutFollower(t *testing.T) {
	w := drill(t)
	room, alice := w.room, w.alice
	testingOnlyGrace = 3 * time.Second
	defer func() { testingOnlyGrace = restoreGrace }()
	w.start("a.localhost")
	posted(t, alice, room, send(t, alice, room, "alone"))
	until(t, "the end of the restore", func(context.Context) error {
		if w.running["a.localhost"].wasRestored() {
			return errors.New("not yet")
		}
		return nil
	})
}
