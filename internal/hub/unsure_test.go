package hub_test

import (
	"slices"
	"testing"

	"hubbub/internal/hub"
	"hubbub/internal/room/roomtest"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// shipper notes whom it is told about.
type shipper struct {
	hub.Shipper
	told []mimi.Domain
}

func (s *shipper) Follow(_ mimi.RoomURI, peer mimi.Domain)                  { s.told = append(s.told, peer) }
func (s *shipper) Extend(store.Tx, mimi.RoomURI, uint64, uint64, int) error { return nil }

// TestUnsureCommitIsAnnounced: a commit that brought in a follower was stored,
// but the store could not say so. Once the hub has looked again the follower is
// shipped to and the room's readers are woken. Found by the simulator, seed 5062.
func TestUnsureCommitIsAnnounced(t *testing.T) {
	x := newBench(t)
	ship := &shipper{}
	x.hub = hub.New(hub.Config{
		Domain: "a.localhost", Store: x.store, Env: roomtest.Env(), SignatureKey: x.key, Shipper: ship,
		Wake: func(mimi.RoomURI) { x.woken++ },
	})
	x.must(x.hub.Create(t.Context(), x.alice.URI, x.creation(x.alice, chat)))
	body := x.alice.Add(x.bob.KeyPackage())
	x.store.keep = true
	if _, err := x.hub.Update(t.Context(), "a.localhost", chat, body); err == nil {
		t.Fatal("an unknown outcome was answered")
	}
	woken := x.woken
	x.update(x.alice, body) // the writer asks again
	if !slices.Contains(ship.told, "b.localhost") {
		t.Errorf("the shipper was told about %q", ship.told)
	}
	if x.woken == woken {
		t.Error("nobody was woken")
	}
}
