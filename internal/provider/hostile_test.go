package provider

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"hubbub/client"
	"hubbub/internal/federation"
	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// stranger is a client of the federation with a good certificate, in the place of
// a provider that is not running.
func (w *world) stranger(d mimi.Domain) *federation.Client {
	w.t.Helper()
	pair, err := w.ca.IssueTLS(d)
	if err != nil {
		w.t.Fatal(err)
	}
	cert, err := pair.TLS()
	if err != nil {
		w.t.Fatal(err)
	}
	addrs := map[mimi.Domain]string{}
	for domain, cfg := range w.cfgs {
		addrs[domain] = cfg.Federation.Listen
	}
	c := federation.NewClient(federation.ClientConfig{Domain: d, Certificate: cert, Roots: w.ca.Pool(), Address: addrs})
	w.t.Cleanup(c.Close)
	return c
}

// dump is everything a provider stores, except the audit log.
func (w *world) dump(d mimi.Domain) (text string) {
	w.t.Helper()
	err := w.running[d].store.View(w.t.Context(), func(tx store.ReadTx) (err error) {
		text, err = tx.Dump()
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return text
}

// target is a room with a history, all clients gone and all queues at rest.
type target struct {
	room    mimi.RoomURI
	entries []client.Entry
	bob     mimi.UserURI
}

func (w *world) target() target {
	w.t.Helper()
	alice, bob := w.device("alice@a.localhost", "phone"), w.device("bob@b.localhost", "phone")
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	uri, _, err := alice.CreateRoom(ctx, client.RoomOptions{Members: []mimi.UserURI{bob.User()}})
	if err != nil {
		w.t.Fatal(err)
	}
	until(w.t, "bob's membership", func(ctx context.Context) error {
		if info, err := bob.Room(ctx, uri); err != nil || !info.Member {
			return fmt.Errorf("%+v, %w", info, err)
		}
		return nil
	})
	posted(w.t, bob, uri, send(w.t, bob, uri, "first"))
	// A later epoch, so that there is an old one.
	dave := w.device("dave@b.localhost", "phone")
	if _, err := alice.AddUsers(ctx, uri, dave.User()); err != nil {
		w.t.Fatal(err)
	}
	sees(w.t, alice, uri, "first")
	equalReplicas(w.t, uri, alice, bob)
	entries, err := alice.Log(ctx, uri, 0, 100)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, c := range []*client.Client{alice, bob, dave} {
		if err := c.Close(); err != nil {
			w.t.Error(err)
		}
	}
	until(w.t, "rest", func(context.Context) error { return w.atRest() })
	return target{uri, entries, bob.User()}
}

// atRest says whether every follower has everything.
func (w *world) atRest() error {
	for _, r := range w.running {
		if n := r.notifier.Streams(); n > 0 {
			return fmt.Errorf("%d streams of %s are open", n, r.cfg.Identity)
		}
	}
	before := w.dump("a.localhost") + w.dump("b.localhost")
	err := w.running["a.localhost"].store.View(w.t.Context(), func(tx store.ReadTx) error {
		list, err := tx.Fanouts()
		for _, f := range list {
			rec, err := tx.Room(f.Room)
			if err != nil {
				return err
			}
			if f.Acked != rec.Head.Seq {
				return fmt.Errorf("%+v, head %s", f, rec.Head)
			}
		}
		return err
	})
	if err == nil && before != w.dump("a.localhost")+w.dump("b.localhost") {
		err = errors.New("still writing")
	}
	return err
}

// staleMessage is bob's first message with another ciphertext: never seen before,
// and of an epoch that is over.
func (g target) staleMessage(t *testing.T) []byte {
	t.Helper()
	for _, e := range g.entries {
		if e.Kind != client.KindApplication {
			continue
		}
		f, err := mimi.ParseFanoutMessage(e.Body)
		if err != nil {
			t.Fatal(err)
		}
		m := f.Message
		old := *m.Private
		old.Epoch = 0
		old.Ciphertext = bytes.Clone(old.Ciphertext)
		old.Ciphertext[0] ^= 1
		m.Private, m.Raw = &old, nil
		req := mimi.SubmitMessageRequest{Message: m, Sender: g.bob}
		body, err := req.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
	t.Fatal("no message in the log")
	return nil
}

// What a peer may send that must leave nothing behind: each gets an answer of its
// own, and every table is as it was (P8).
func TestHostilePeerLeavesNothing(t *testing.T) {
	w := newWorld(t, "a.localhost", "b.localhost")
	w.start("a.localhost")
	w.start("b.localhost")
	g := w.target()
	const a, b = "a.localhost", "b.localhost"
	peer, stranger := w.stranger(b), w.stranger("c.localhost")
	stale := g.staleMessage(t)
	last := g.entries[len(g.entries)-1]
	pos := room.Pos{Seq: last.Seq, Hash: last.Hash}
	other := mimi.RoomURI("mimi://a.localhost/r/other")
	foreign := mimi.RoomURI("mimi://z.localhost/r/x")
	ctx := t.Context()

	if text := w.dump(a); !strings.Contains(text, string(g.room)) {
		t.Fatalf("the dump does not hold the room:\n%s", text)
	}
	for name, tc := range map[string]struct {
		call func() ([]byte, error)
		want int // HTTP status; 200 = a refusal in the body, 0 = nothing to refuse
	}{
		"update: empty":          {func() ([]byte, error) { return peer.Update(ctx, a, g.room, nil) }, 400},
		"update: garbage":        {func() ([]byte, error) { return peer.Update(ctx, a, g.room, garbage) }, 400},
		"update: a message":      {func() ([]byte, error) { return peer.Update(ctx, a, g.room, stale) }, 400},
		"update: unknown room":   {func() ([]byte, error) { return peer.Update(ctx, a, other, garbage) }, 400},
		"update: foreign room":   {func() ([]byte, error) { return peer.Update(ctx, a, foreign, garbage) }, 400},
		"update: stranger":       {func() ([]byte, error) { return stranger.Update(ctx, a, g.room, garbage) }, 400},
		"submit: empty":          {func() ([]byte, error) { return peer.SubmitMessage(ctx, a, g.room, nil) }, 400},
		"submit: garbage":        {func() ([]byte, error) { return peer.SubmitMessage(ctx, a, g.room, garbage) }, 400},
		"submit: cut short":      {func() ([]byte, error) { return peer.SubmitMessage(ctx, a, g.room, stale[:len(stale)-1]) }, 400},
		"submit: one octet more": {func() ([]byte, error) { return peer.SubmitMessage(ctx, a, g.room, append(bytes.Clone(stale), 0)) }, 400},
		"submit: stale epoch":    {func() ([]byte, error) { return peer.SubmitMessage(ctx, a, g.room, stale) }, 200},
		"submit: unknown room":   {func() ([]byte, error) { return peer.SubmitMessage(ctx, a, other, stale) }, 404},
		"submit: foreign room":   {func() ([]byte, error) { return peer.SubmitMessage(ctx, a, foreign, stale) }, 404},
		"submit: stranger":       {func() ([]byte, error) { return stranger.SubmitMessage(ctx, a, g.room, stale) }, 404},
		"groupInfo: empty":       {func() ([]byte, error) { return peer.GroupInfo(ctx, a, g.room, nil) }, 400},
		"groupInfo: garbage":     {func() ([]byte, error) { return peer.GroupInfo(ctx, a, g.room, garbage) }, 400},
		"keyMaterial: empty":     {func() ([]byte, error) { return peer.KeyMaterial(ctx, a, "mimi://a.localhost/u/alice", nil) }, 400},
		"keyMaterial: garbage":   {func() ([]byte, error) { return peer.KeyMaterial(ctx, a, "mimi://a.localhost/u/alice", garbage) }, 400},
		"snapshot: stranger":     {func() ([]byte, error) { return stranger.Snapshot(ctx, a, g.room, pos.Seq) }, 404},
		"snapshot: at the wrong": {func() ([]byte, error) { return peer.Snapshot(ctx, b, g.room, pos.Seq) }, 404},
		"notify: empty":          {notify(ctx, w.stranger(a), b, g.room, pos, nil), 400},
		"notify: garbage":        {notify(ctx, w.stranger(a), b, g.room, pos, garbage), 400},
		"notify: cut short":      {notify(ctx, w.stranger(a), b, g.room, pos, last.Body[:len(last.Body)-1]), 400},
		"notify: not the hub":    {notify(ctx, stranger, b, g.room, pos, last.Body), 403},
		"notify: to the hub":     {notify(ctx, peer, a, g.room, pos, last.Body), 403},
		"notify: unknown room":   {notify(ctx, w.stranger(a), b, other, pos, last.Body), 404},
		"notify: repeat":         {notify(ctx, w.stranger(a), b, g.room, pos, last.Body), 0},
	} {
		before := w.dump(a) + w.dump(b)
		answer, err := tc.call()
		status := 0
		var p *mimi.Problem
		switch {
		case errors.As(err, &p):
			status = p.Status
			if p.Code == "" || p.Detail == "" {
				t.Errorf("%s: the refusal does not explain itself: %+v", name, p)
			}
		case err != nil:
			t.Errorf("%s: %v", name, err)
			continue
		case answer != nil:
			status = 200
			if r, err := mimi.ParseSubmitMessageResponse(answer); err != nil || r.Code == mimi.SubmitAccepted {
				t.Errorf("%s: accepted: %+v, %v", name, r, err)
			}
		}
		if status != tc.want {
			t.Errorf("%s: status %d (%v), want %d", name, status, err, tc.want)
		}
		if after := w.dump(a) + w.dump(b); after != before {
			t.Errorf("%s: the tables changed", name)
		}
	}
}

var garbage = bytes.Repeat([]byte{0xff, 0x00, 0x41}, 100)

// notify delivers as a hub would, in the shape of the other calls.
func notify(ctx context.Context, c *federation.Client, to mimi.Domain, uri mimi.RoomURI, pos room.Pos, body []byte) func() ([]byte, error) {
	return func() ([]byte, error) { return nil, c.Notify(ctx, to, uri, pos, body) }
}
