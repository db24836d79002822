package provider

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"hubbub/internal/federation"
	"hubbub/internal/peer"
	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

func TestParseLimit(t *testing.T) {
	for text, want := range map[string]peer.Limit{
		"60 + 1/s": {Rate: 1, Burst: 60}, "6+1/10m": {Rate: 1.0 / 600, Burst: 6}, "100 + 100/h": {Rate: 100.0 / 3600, Burst: 100},
		"1 + 0.5/s": {Rate: 0.5, Burst: 1}, "off": {},
	} {
		if got, err := parseLimit(text); err != nil || got.Burst != want.Burst || math.Abs(got.Rate-want.Rate) > 1e-9 {
			t.Errorf("%q: %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"60", "60 + 1", "60 + x/s", "0 + 1/s", "60 + -1/s", "60 + 1/0s", "60 + 1/y", "none", "60 + NaN/s", "60 + Inf/s"} {
		if got, err := parseLimit(text); err == nil {
			t.Errorf("%q was taken as %+v", text, got)
		}
	}
	_, _, err := load(t, goodConfig+"\n[limits]\nposts_per_device = \"many\"\n")
	if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "limits.posts_per_device") {
		t.Errorf("a bad limit in the file: %v", err)
	}
}

// TestHoldAndTest: a peer on hold gets nothing, also after a restart, and is
// reachable again the moment it is resumed; a test goes through meanwhile.
func TestHoldAndTest(t *testing.T) {
	w := newWorld(t, "a.localhost", "b.localhost")
	a := w.start("a.localhost")
	w.start("b.localhost")
	ops := func() *operations { return a.api.Config.Operations.(*operations) }
	theirs := mimi.RoomURI("mimi://b.localhost/r/x")
	ask := func() error {
		return unreachable("b.localhost", errorOf(a.remote.Delivery(t.Context(), "b.localhost", theirs)))
	}
	var p *mimi.Problem
	if err := ask(); !errors.As(err, &p) || p.Status != 404 {
		t.Fatalf("before: %v", err)
	}
	if err := ops().HoldPeer(t.Context(), "b.localhost", "maintenance"); err != nil {
		t.Fatal(err)
	}
	w.stop("a.localhost")
	a = w.start("a.localhost")
	if err := ask(); !errors.As(err, &p) || p.Status != 504 || !strings.Contains(p.Detail, "on hold") {
		t.Errorf("on hold: %v", err)
	}
	trial, err := ops().TestPeer(t.Context(), "b.localhost")
	if err != nil || trial.Error != "" || trial.SeenAs != "a.localhost" || trial.CertificateExpires < uint64(time.Now().UnixMilli()) {
		t.Errorf("test: %v, %v", trial, err)
	}
	list, err := ops().Peers(t.Context(), "b.localhost")
	if err != nil || len(list.Peers) != 1 || list.Peers[0].HoldReason != "maintenance" || list.Peers[0].Out.LastSuccess == 0 ||
		list.Peers[0].CertificateExpires == 0 || list.CertificateExpires == 0 {
		t.Errorf("list: %v, %v", list, err)
	}
	if held, _, err := ops().ResumePeer(t.Context(), "b.localhost"); err != nil || !held {
		t.Errorf("resume: %t, %v", held, err)
	}
	if err := ask(); !errors.As(err, &p) || p.Status != 404 {
		t.Errorf("after: %v", err)
	}
	w.stop("b.localhost")
	if trial, err := ops().TestPeer(t.Context(), "b.localhost"); err != nil || trial.Error == "" || trial.Answered {
		t.Errorf("test of one that is down: %v, %v", trial, err)
	}
}

func errorOf(_ []byte, err error) error { return err }

// claimRoles counts the claims that get through.
type claimRoles struct {
	federation.Roles
	claims int
}

func (c *claimRoles) KeyMaterial(context.Context, mimi.Domain, mimi.UserURI, []byte) ([]byte, error) {
	c.claims++
	return nil, nil
}

// TestPeerClaims: a peer beyond its rate takes nothing out of stock, and the next
// peer is not affected.
func TestPeerClaims(t *testing.T) {
	l := NoLimits()
	l.ClaimsPerPeer = "2 + 1/h"
	_, r := limitsOf(l)
	inner := &claimRoles{}
	roles := claimsCounted{inner, r}
	for i, from := range []mimi.Domain{"b.localhost", "b.localhost", "b.localhost", "c.localhost"} {
		_, err := roles.KeyMaterial(t.Context(), from, "mimi://a.localhost/u/alice", nil)
		var p *mimi.Problem
		if refused := errors.As(err, &p); refused != (i == 2) || refused && (p.Status != 429 || p.RetryAfter <= 0) {
			t.Errorf("claim %d by %s: %v", i+1, from, err)
		}
	}
	if inner.claims != 3 {
		t.Errorf("%d claims got through, want 3", inner.claims)
	}
	if r.request("b.localhost") != nil || r.writesOf("a.localhost")("b.localhost") != nil {
		t.Error("what is off limits")
	}
}

// TestResumeUnparks: what a peer refused goes out again, room by room, and nobody
// else's queue is touched.
func TestResumeUnparks(t *testing.T) {
	w := newWorld(t, "a.localhost")
	a := w.start("a.localhost")
	uri := mimi.RoomURI("mimi://a.localhost/r/x")
	start := room.StartPos(uri)
	err := a.store.Update(t.Context(), func(tx store.Tx) error {
		rec := store.RoomRecord{URI: uri, Hub: "a.localhost", Head: start, Start: start, State: []byte("x")}
		if err := tx.CreateRoom(rec, nil, nil, nil); err != nil {
			return err
		}
		for _, d := range []mimi.Domain{"b.localhost", "c.localhost"} {
			if err := tx.PutFanout(store.FanoutState{Room: uri, Peer: d, Parked: "refused 3 times: 400 bad-entry"}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	ops := a.api.Config.Operations
	list, err := ops.Peers(t.Context(), "b.localhost")
	if err != nil || len(list.Peers) != 1 || len(list.Peers[0].Queues) != 1 || list.Peers[0].Queues[0].Parked == "" {
		t.Errorf("before: %v, %v", list, err)
	}
	if held, unparked, err := ops.ResumePeer(t.Context(), "b.localhost"); err != nil || held || len(unparked) != 1 || unparked[0] != uri {
		t.Errorf("resume: %t %v, %v", held, unparked, err)
	}
	err = a.store.View(t.Context(), func(tx store.ReadTx) error {
		states, err := tx.Fanouts()
		for _, f := range states {
			if (f.Parked != "") != (f.Peer == "c.localhost") {
				t.Errorf("after: %+v", f)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
