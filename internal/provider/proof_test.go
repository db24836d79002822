package provider

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"hubbub/client"
	"hubbub/internal/identity"
	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
	"hubbub/mimi/checkpoint"
)

// hubKey is the key by which a provider signs its rooms.
func (w *world) hubKey(d mimi.Domain) ed25519.PrivateKey {
	w.t.Helper()
	key, err := identity.LoadHubKey(filepath.Join(w.cfgs[d].DataDir, hubKeyFile))
	if err != nil {
		w.t.Fatal(err)
	}
	return key
}

// verify has a device check a room.
func verify(t *testing.T, c *client.Client, room mimi.RoomURI) *client.Verification {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	v, err := c.Verify(ctx, room)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Everybody can verify the room at their own provider: chain, signature and that
// all copies are one. It does not take the hub.
func TestVerifyAtAnyProvider(t *testing.T) {
	w, uri, alice, bob := twoProviders(t)
	for i := range 5 {
		posted(t, bob, uri, send(t, bob, uri, fmt.Sprint(i)))
	}
	at := equalReplicas(t, uri, alice, bob)
	until(t, "devices at the head", func(ctx context.Context) error {
		for _, c := range []*client.Client{alice, bob} {
			if v, err := c.Verify(ctx, uri); err != nil || v.Own != at {
				return fmt.Errorf("%+v, %w", v, err)
			}
		}
		return nil
	})
	for _, c := range []*client.Client{alice, bob} {
		v := verify(t, c, uri)
		if len(v.Problems) != 0 || v.Pos != at || v.Last != at.Seq || v.Signed == nil || v.Signed.Pos != at || len(v.Reports) != 2 {
			t.Errorf("%s: %+v", c.URI(), v)
		}
		for _, r := range v.Reports {
			if r.Err != "" || r.Pos != at || r.Signed == nil || r.Signed.Err != nil {
				t.Errorf("%s: report %+v", c.URI(), r)
			}
		}
		info, err := c.Room(t.Context(), uri)
		if err != nil || info.Signed != at || info.Suspicious != "" {
			t.Errorf("%s: %+v, %v", c.URI(), info, err)
		}
	}
	w.stop("a.localhost")
	v := verify(t, bob, uri)
	if len(v.Problems) != 0 || v.Signed == nil || v.Signed.Pos != at || v.Reports[0].Provider != "a.localhost" || v.Reports[0].Err == "" {
		t.Errorf("without the hub: %+v", v)
	}
}

// signedAt waits until a provider holds a checkpoint of a room, and gives it.
func (w *world) signedAt(d mimi.Domain, uri mimi.RoomURI) (report *checkpoint.Report) {
	w.t.Helper()
	until(w.t, "a checkpoint at "+string(d), func(ctx context.Context) (err error) {
		report, err = w.running[d].proofs.report(ctx, d, uri)
		if err == nil && len(report.Signed) == 0 {
			err = errors.New("none yet")
		}
		return err
	})
	return report
}

// A hub's word comes with the log, without anybody asking, and what a follower
// keeps of it it keeps over a restart.
func TestFollowerKeepsTheNewest(t *testing.T) {
	w, uri, _, _ := twoProviders(t)
	w.signedAt("b.localhost", uri)
	w.stop("a.localhost") // or a newer word of it could come in between
	report := w.signedAt("b.localhost", uri)
	w.stop("b.localhost")
	w.start("b.localhost")
	if again := w.signedAt("b.localhost", uri); !bytes.Equal(again.Signed, report.Signed) {
		t.Errorf("after a restart: %s", again.Signed)
	}
	w.start("a.localhost")
	// A provider that has no part in the room learns nothing of it.
	for _, d := range []mimi.Domain{"a.localhost", "b.localhost"} {
		var p *mimi.Problem
		_, err := w.running[d].proofs.report(t.Context(), "eve.localhost", uri)
		_, absent := w.running[d].proofs.report(t.Context(), "eve.localhost", "mimi://a.localhost/r/none")
		if !errors.As(err, &p) || p.Status != http.StatusNotFound || fmt.Sprint(err) != fmt.Sprint(absent) {
			t.Errorf("%s tells a stranger %v, of no room %v", d, err, absent)
		}
	}
}

// The hub's word also comes with entries that were asked for.
func TestCatchUpCarriesACheckpoint(t *testing.T) {
	w, uri, _, _ := twoProviders(t)
	r := w.signedAt("b.localhost", uri)
	b := w.running["b.localhost"]
	if err := b.store.Update(t.Context(), func(tx store.Tx) error { return tx.PutMeta("checkpoint/"+string(uri), nil) }); err != nil {
		t.Fatal(err)
	}
	head, body, err := b.remote.CatchUp(t.Context(), "a.localhost", uri, room.Pos{Seq: r.Seq, Hash: r.Hash})
	if err != nil || head.Seq != r.Seq {
		t.Fatalf("%s, %v", head, err)
	}
	body.Close()
	if again := w.signedAt("b.localhost", uri); !bytes.Contains(again.Signed, []byte(fmt.Sprintf("%s\n%d\n", uri, head.Seq))) {
		t.Errorf("%s", again.Signed)
	}
}

// A hub that signs a second history is stopped by the follower at once, with both
// signatures kept as proof, and every member can see it.
func TestTwoSignedHistories(t *testing.T) {
	w, uri, _, bob := twoProviders(t)
	w.signedAt("b.localhost", uri)
	b := w.running["b.localhost"]
	w.stop("a.localhost") // or its true word would come in between
	key := w.hubKey("a.localhost")
	sign := func(pos room.Pos, k ed25519.PrivateKey) []byte {
		signed, err := checkpoint.Checkpoint{Room: uri, Seq: pos.Seq, Hash: pos.Hash}.Sign("a.localhost", k)
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	r := w.signedAt("b.localhost", uri)
	head := room.Pos{Seq: r.Seq, Hash: r.Hash}
	other := room.Pos{Seq: r.Seq, Hash: [32]byte{1}}
	// What proves nothing changes nothing.
	_, stranger, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, signed := range map[string][]byte{
		"another key":      sign(other, stranger),
		"rubbish":          []byte("x"),
		"a future":         sign(room.Pos{Seq: head.Seq + 9, Hash: [32]byte{1}}, key),
		"an old true word": sign(head, key),
	} {
		if err := b.follower.Checkpoint(t.Context(), "a.localhost", uri, signed); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := b.follower.Checkpoint(t.Context(), "c.localhost", uri, sign(other, key)); err == nil {
		t.Error("another provider speaks for the hub")
	}
	if info, err := bob.Room(t.Context(), uri); err != nil || info.Frozen != "" {
		t.Fatalf("frozen by what proves nothing: %+v, %v", info, err)
	}

	forged := sign(other, key)
	var p *mimi.Problem
	if err := b.follower.Checkpoint(t.Context(), "a.localhost", uri, forged); !errors.As(err, &p) || p.Status != http.StatusConflict {
		t.Fatalf("a second history: %v", err)
	}
	v := verify(t, bob, uri)
	if !bytes.Contains(v.Evidence, forged) || strings.Count(string(v.Evidence), string(uri)) != 2 || len(v.Problems) == 0 || v.Frozen == "" {
		t.Errorf("%+v", v)
	}
	// The first proof is not overwritten by later ones.
	if err := b.follower.Checkpoint(t.Context(), "a.localhost", uri, sign(room.Pos{Seq: 1, Hash: [32]byte{7}}, key)); err != nil {
		t.Errorf("in a frozen room: %v", err)
	}
	if again := verify(t, bob, uri); !bytes.Equal(again.Evidence, v.Evidence) {
		t.Error("the evidence has changed")
	}
}

// A provider whose copy is not what the hub signed is found out by the device.
func TestDeviceFindsTheFork(t *testing.T) {
	w, uri, alice, bob := twoProviders(t)
	posted(t, alice, uri, send(t, alice, uri, "second"))
	sees(t, bob, uri, "first", "second")
	at := equalReplicas(t, uri, alice, bob)
	w.stop("a.localhost")
	forged, err := checkpoint.Checkpoint{Room: uri, Seq: at.Seq - 1, Hash: [32]byte{1}}.Sign("a.localhost", w.hubKey("a.localhost"))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.running["b.localhost"].store.Update(t.Context(), func(tx store.Tx) error {
		return tx.PutMeta("checkpoint/"+string(uri), forged)
	}); err != nil {
		t.Fatal(err)
	}
	events := bob.Events(t.Context())
	info, err := bob.Room(t.Context(), uri)
	if err != nil || info.Suspicious == "" || info.Signed != (client.Pos{}) {
		t.Errorf("%+v, %v", info, err)
	}
	for ev := range events {
		if s, ok := ev.(client.RoomSuspicious); ok {
			if s.Room != uri || s.Seq != at.Seq-1 {
				t.Errorf("%+v", s)
			}
			break
		}
	}
	if _, err := bob.Send(t.Context(), uri, "x"); !errors.Is(err, client.ErrSuspicious) {
		t.Errorf("the device still trusts the room: %v", err)
	}
}

// A hub that lost the end of a log gets it back from a follower, and everybody
// can verify that it is the same history as before.
func TestRestoredHubVerifies(t *testing.T) {
	w, uri, alice, bob := twoProviders(t)
	cfg := w.cfgs["a.localhost"]
	w.stop("a.localhost")
	old := keep(t, cfg.DataDir)
	w.start("a.localhost")
	posted(t, bob, uri, send(t, bob, uri, "lost"))
	at := equalReplicas(t, uri, alice, bob)
	w.stop("a.localhost")
	old()
	w.start("a.localhost")
	posted(t, bob, uri, send(t, bob, uri, "after"))
	until(t, "one history", func(ctx context.Context) error {
		v, err := bob.Verify(ctx, uri)
		if err != nil || len(v.Problems) != 0 || v.Signed == nil || v.Signed.Pos.Seq <= at.Seq || v.Own.Seq <= at.Seq {
			return fmt.Errorf("%+v, %w", v, err)
		}
		return nil
	})
	w.stop("a.localhost")
	w.stop("b.localhost")
	w.clean("a.localhost", "b.localhost")
}
