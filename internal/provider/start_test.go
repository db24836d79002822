package provider

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hubbub/client"
	"hubbub/internal/fsck"
	"hubbub/internal/heads"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// twoProviders has alice of a and bob of b in one chat that a hosts.
func twoProviders(t *testing.T) (w *world, room mimi.RoomURI, alice, bob *client.Client) {
	t.Helper()
	w = newWorld(t, "a.localhost", "b.localhost")
	w.start("a.localhost")
	w.start("b.localhost")
	alice, bob = w.device("alice@a.localhost", "phone"), w.device("bob@b.localhost", "phone")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	room, _, err := alice.CreateRoom(ctx, client.RoomOptions{Name: "club", Members: []mimi.UserURI{bob.User()}})
	if err != nil {
		t.Fatal(err)
	}
	until(t, "membership", func(ctx context.Context) error {
		if info, err := bob.Room(ctx, room); err != nil || !info.Member {
			return fmt.Errorf("%+v, %w", info, err)
		}
		return nil
	})
	posted(t, alice, room, send(t, alice, room, "first"))
	sees(t, bob, room, "first")
	return w, room, alice, bob
}

// clean runs fsck on a stopped provider and expects nothing.
func (w *world) clean(domains ...mimi.Domain) {
	w.t.Helper()
	for _, d := range domains {
		r, err := Fsck(w.t.Context(), w.cfgs[d])
		if err != nil {
			w.t.Fatalf("%s: %v", d, err)
		}
		if len(r.Findings) != 0 || len(r.Skipped) != 0 || r.Entries == 0 {
			w.t.Errorf("%s: fsck: %+v", d, r)
		}
	}
}

// After everything that happens in a chat, both hub and follower are whole; what
// is damaged afterwards is named.
func TestFsckAfterUse(t *testing.T) {
	w, room, alice, bob := twoProviders(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := Fsck(ctx, w.cfgs["a.localhost"]); !errors.Is(err, store.ErrLocked) {
		t.Errorf("fsck of a running provider: %v", err)
	}
	laptop := w.device("bob@b.localhost", "laptop")
	if err := laptop.Join(ctx, room); err != nil {
		t.Fatal(err)
	}
	posted(t, laptop, room, send(t, laptop, room, "second"))
	dora := w.device("dora@b.localhost", "phone")
	if _, err := bob.AddUsers(ctx, room, dora.User()); err != nil {
		t.Fatal(err)
	}
	if _, err := alice.RemoveUsers(ctx, room, dora.User()); err != nil {
		t.Fatal(err)
	}
	if err := bob.Leave(ctx, room); err != nil {
		t.Fatal(err)
	}
	equalReplicas(t, room, alice, bob)
	for _, c := range []*client.Client{alice, bob, laptop, dora} {
		c.Close()
	}
	w.stop("a.localhost")
	w.stop("b.localhost")
	w.clean("a.localhost", "b.localhost")

	cfg := w.cfgs["b.localhost"]
	raw(t, cfg, "UPDATE entries SET body = CAST(substr(body, 1, 40) || x'00' || substr(body, 42) AS BLOB) WHERE seq = 3")
	r, err := Fsck(ctx, cfg)
	if err != nil || len(r.Findings) == 0 || r.Findings[0].Room != room || r.Findings[0].Seq != 3 {
		t.Errorf("a damaged entry: %+v, %v", r, err)
	}
	// Without the configuration there are no roots; the chain can be checked all the same.
	r, err = Fsck(ctx, ConfigOf(cfg.DataDir))
	if err != nil || len(r.Findings) == 0 || r.Findings[0].Seq != 3 || len(r.Skipped) == 0 {
		t.Errorf("by directory: %+v, %v", r, err)
	}
	if _, err := Fsck(ctx, ConfigOf(t.TempDir())); !errors.Is(err, ErrNoData) {
		t.Errorf("an empty directory: %v", err)
	}
}

// raw changes a provider's database behind its back.
func raw(t *testing.T, cfg Config, query string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(cfg.DataDir, databaseFile)+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(query); err != nil {
		t.Fatal(err)
	}
}

// frozen says why a provider has frozen a room, and what it logged at its start.
func (w *world) frozen(d mimi.Domain, room mimi.RoomURI) (reason, log string) {
	w.t.Helper()
	var buf bytes.Buffer
	p, err := New(w.cfgs[d], slog.New(slog.NewTextHandler(&buf, nil)))
	if err != nil {
		w.t.Fatal(err)
	}
	err = p.store.View(w.t.Context(), func(tx store.ReadTx) error {
		r, err := tx.Room(room)
		if err == nil {
			reason = r.Frozen
		}
		return err
	})
	if err = errors.Join(err, p.Close()); err != nil {
		w.t.Fatal(err)
	}
	return reason, buf.String()
}

func keep(t *testing.T, from string) (restore func()) {
	t.Helper()
	saved := filepath.Join(t.TempDir(), "saved")
	if err := os.CopyFS(saved, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return func() {
		for _, name := range []string{databaseFile, databaseFile + "-wal", databaseFile + "-shm"} {
			os.Remove(filepath.Join(from, name))
			if b, err := os.ReadFile(filepath.Join(saved, name)); err == nil {
				if err := os.WriteFile(filepath.Join(from, name), b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// An old copy of the database is put back under a hub. It may be read, but the
// history must not fork: no write is taken until the newest is back, or the
// operator has accepted the loss.
func TestOldDatabaseOfTheHub(t *testing.T) {
	w, room, alice, bob := twoProviders(t)
	cfg := w.cfgs["a.localhost"]
	w.stop("a.localhost")
	old := keep(t, cfg.DataDir)
	w.start("a.localhost")
	posted(t, bob, room, send(t, bob, room, "lost"))
	at := equalReplicas(t, room, alice, bob)
	w.stop("a.localhost")
	newest := keep(t, cfg.DataDir)

	old()
	reason, log := w.frozen("a.localhost", room)
	if reason != heads.Frozen || !strings.Contains(log, string(room)) || !strings.Contains(log, at.String()) || !strings.Contains(log, "remedy") {
		t.Errorf("frozen %q; the log says %s", reason, log)
	}
	w.stop("b.localhost") // nobody there who could give back what is lost
	w.start("a.localhost")
	waiting := send(t, alice, room, "too early")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	until(t, "refused", func(ctx context.Context) error {
		info, err := alice.Room(ctx, room)
		if err == nil && (info.Frozen != heads.Frozen || info.Pos.Seq >= at.Seq || info.Suspicious != "") {
			err = fmt.Errorf("%+v", info)
		}
		return err
	})
	w.stop("a.localhost")

	newest()
	if reason, _ := w.frozen("a.localhost", room); reason != "" {
		t.Errorf("with the newest copy back the room is still frozen: %s", reason)
	}
	w.start("a.localhost")
	w.start("b.localhost")
	if m, err := alice.WaitPosted(ctx, room, waiting.ID); m.State == client.Posted && m.Seq <= at.Seq {
		t.Errorf("a write to the frozen room was taken: %+v, %v", m, err)
	}
	posted(t, alice, room, send(t, alice, room, "at last"))
	equalReplicas(t, room, alice, bob)
	w.stop("a.localhost")
	w.stop("b.localhost")

	old()
	if lost, err := AcceptLoss(ctx, cfg, room); err != nil || lost == nil || lost.Want.Seq <= at.Seq {
		t.Errorf("accepted: %+v, %v", lost, err)
	}
	if reason, _ := w.frozen("a.localhost", room); reason != "" {
		t.Errorf("after the loss was accepted: frozen %q", reason)
	}
}

// A database that lacks whole rooms is not the one the hub ran with: their names
// must not be given out again.
func TestForeignDatabase(t *testing.T) {
	w := newWorld(t, "a.localhost")
	cfg := w.cfgs["a.localhost"]
	w.start("a.localhost")
	alice := w.device("alice@a.localhost", "phone")
	w.stop("a.localhost")
	old := keep(t, cfg.DataDir)
	w.start("a.localhost")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	room, _, err := alice.CreateRoom(ctx, client.RoomOptions{Name: "club"})
	if err != nil {
		t.Fatal(err)
	}
	w.stop("a.localhost")
	old()
	if p, err := New(cfg, slog.New(slog.DiscardHandler)); !errors.Is(err, ErrLost) || !strings.Contains(err.Error(), string(room)) {
		if p != nil {
			p.Close()
		}
		t.Errorf("start over an old copy: %v", err)
	}
	if lost, err := AcceptLoss(ctx, cfg, room); err != nil || lost == nil || !lost.Missing {
		t.Errorf("accepted: %+v, %v", lost, err)
	}
	w.start("a.localhost")
	w.stop("a.localhost")
}

// A provider looks at the end of each log before it serves (P23).
func TestDamagedTail(t *testing.T) {
	w, room, _, _ := twoProviders(t)
	w.stop("a.localhost")
	w.stop("b.localhost")
	for _, d := range []mimi.Domain{"a.localhost", "b.localhost"} {
		raw(t, w.cfgs[d], "UPDATE entries SET body = CAST(body || x'00' AS BLOB) WHERE seq = (SELECT max(seq) FROM entries)")
		if reason, log := w.frozen(d, room); reason != frozenDamaged || !strings.Contains(log, string(room)) {
			t.Errorf("%s: frozen %q; the log says %s", d, reason, log)
		}
		r, err := Fsck(t.Context(), w.cfgs[d])
		if err != nil || len(r.Findings) == 0 || r.Findings[0] != (fsck.Finding{Room: room, Seq: r.Findings[0].Seq, What: "entry", Wrong: r.Findings[0].Wrong}) {
			t.Errorf("%s: fsck: %+v, %v", d, r, err)
		}
	}
}

// Damage far back in a log is found while the provider runs, and the room is
// served no more.
func TestScrub(t *testing.T) {
	w, room, alice, bob := twoProviders(t)
	for i := range 3 {
		posted(t, alice, room, send(t, alice, room, fmt.Sprint(i)))
	}
	equalReplicas(t, room, alice, bob)
	unhurried := func(context.Context) error { return nil }
	for _, d := range []mimi.Domain{"b.localhost", "a.localhost"} {
		if err := w.running[d].scrubOnce(t.Context(), unhurried); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []*client.Client{alice, bob} {
		if info, err := c.Room(t.Context(), room); err != nil || info.Frozen != "" {
			t.Fatalf("a sound room: %+v, %v", info, err)
		}
	}
	for _, d := range []mimi.Domain{"b.localhost", "a.localhost"} {
		raw(t, w.cfgs[d], "UPDATE entries SET body = CAST(body || x'00' AS BLOB) WHERE seq = 3")
		if err := w.running[d].scrubOnce(t.Context(), unhurried); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []*client.Client{alice, bob} {
		if info, err := c.Room(t.Context(), room); err != nil || info.Frozen != frozenDamaged {
			t.Errorf("%s: %+v, %v", c.URI(), info, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	m := send(t, alice, room, "too late")
	if m, err := alice.WaitPosted(ctx, room, m.ID); m.State == client.Posted {
		t.Errorf("a damaged room still takes writes: %+v, %v", m, err)
	}
}

// TestHeadsKeepUp: whatever moves a head, the file of heads knows when the
// provider has stopped, at the hub and at a follower.
func TestHeadsKeepUp(t *testing.T) {
	w, room, alice, bob := twoProviders(t)
	for i := range 20 {
		posted(t, bob, room, send(t, bob, room, fmt.Sprint(i)))
	}
	at := equalReplicas(t, room, alice, bob)
	for _, d := range []mimi.Domain{"a.localhost", "b.localhost"} {
		w.stop(d)
		known, _, err := heads.Read(w.cfgs[d].HeadsFile)
		if err != nil || known[room].Seq != at.Seq || known[room].Hash != at.Hash {
			t.Errorf("%s: the file says %v, %v; the log is at %s", d, known, err, at)
		}
	}
}
