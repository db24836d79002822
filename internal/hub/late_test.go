package hub

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"hubbub/internal/room/roomtest"
	"hubbub/internal/store/sqlstore"
	"hubbub/mimi"
)

// TestLateRoom: a room that takes long keeps the others of a batch waiting for a
// moment only. Its writes are to be asked for again.
func TestLateRoom(t *testing.T) {
	st, err := sqlstore.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	w := &roomtest.World{T: t, Now: time.Now}
	h := New(Config{Domain: "a.localhost", Store: st, Env: roomtest.Env(), SignatureKey: w.NewKey()})
	h.patience = 10 * time.Millisecond
	items := make([]mimi.BatchItem, 2)
	for i, name := range []string{"slow", "other"} {
		uri := mimi.RoomURI("mimi://a.localhost/r/" + name)
		alice := w.Client("alice@a.localhost", name)
		in := alice.Create(uri, h.cfg.SignatureKey)
		if err := h.Create(t.Context(), alice.URI, CreateRequest{Room: uri, GroupInfo: in.GroupInfo, Tree: in.Tree}); err != nil {
			t.Fatal(err)
		}
		items[i] = mimi.BatchItem{Kind: mimi.BatchMessage, Room: uri, Body: alice.Post("hello")}
	}
	slow := h.hosted(items[0].Room)
	slow.mu.Lock()
	release := sync.OnceFunc(slow.mu.Unlock)
	defer release()
	answers := h.Batch("a.localhost", items)
	for answers[1].Status != http.StatusOK { // a busy disk
		answers = h.Batch("a.localhost", items)
	}
	if answers[0].Status != http.StatusServiceUnavailable || answers[0].RetryAfter == 0 {
		t.Errorf("a write to the slow room: %+v", answers[0])
	}
	release()
	h.patience = time.Minute
	first := h.Batch("a.localhost", items)
	if first[0].Status != http.StatusOK || first[1].Status != http.StatusOK || string(first[1].Body) != string(answers[1].Body) {
		t.Errorf("asked again: %+v", first)
	}
}
