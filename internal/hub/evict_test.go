package hub

import (
	"context"
	"runtime"
	"testing"
	"time"

	"hubbub/internal/room"
	"hubbub/internal/room/roomtest"
	"hubbub/internal/store"
	"hubbub/internal/store/sqlstore"
	"hubbub/mimi"
)

// late is a store whose first View waits, and then finds nothing.
type late struct {
	store.Store
	began, end chan struct{}
}

func (l *late) View(ctx context.Context, fn func(store.ReadTx) error) error {
	select {
	case <-l.end:
		return l.Store.View(ctx, fn)
	default:
	}
	close(l.began)
	<-l.end
	return store.ErrNotFound
}

// TestOnePlacePerRoom: who waits for a place in memory that a room loses
// meanwhile does not work on it. Otherwise two would decide on the room, each on
// a state that the other has moved on from, and one of them would refuse a
// message of an epoch that the other has just begun.
func TestOnePlacePerRoom(t *testing.T) {
	st, err := sqlstore.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	const uri, other mimi.RoomURI = "mimi://a.localhost/r/chat", "mimi://a.localhost/r/other"
	slow := &late{st, make(chan struct{}), make(chan struct{})}
	w := &roomtest.World{T: t}
	h := New(Config{Domain: "a.localhost", Store: slow, Env: roomtest.Env(), SignatureKey: w.NewKey(), MaxRooms: 1})

	// One asks for a room before it exists, one as it comes into being.
	go h.lock(t.Context(), uri)
	<-slow.began
	first := h.hosted(uri)
	asks, got := make(chan struct{}), make(chan *hosted)
	go func() {
		close(asks)
		r, err := h.lock(context.Background(), uri)
		if err != nil {
			t.Error(err)
		}
		got <- r
	}()
	<-asks
	for range 1000 {
		runtime.Gosched() // it waits for the first by now, as a rule
	}
	err = st.Update(t.Context(), func(tx store.Tx) error {
		return tx.CreateRoom(created(t, uri), nil, nil, nil)
	})
	if err != nil {
		t.Fatal(err)
	}
	close(slow.end)
	second := <-got
	if second == first || second != h.hosted(uri) {
		t.Error("two places for one room")
	}

	// One that is in use is not pushed out; one that is not is gone for good.
	if h.hosted(other); second.gone {
		t.Error("a room was pushed out while it was in use")
	}
	second.mu.Unlock()
	if h.hosted("mimi://a.localhost/r/third"); len(h.rooms) > 2 || second.gone == (h.rooms[uri] == second) {
		t.Errorf("%d rooms in memory; gone: %v", len(h.rooms), second.gone)
	}
}

// created is a room as it was made.
func created(t *testing.T, uri mimi.RoomURI) store.RoomRecord {
	w := &roomtest.World{T: t, Now: time.Now}
	key := w.NewKey()
	s, eff, err := room.Create(roomtest.Env(), w.Client("alice@a.localhost", "phone").Create(uri, key), uint64(time.Now().UnixMilli()))
	if err != nil || eff.Refusal != nil {
		t.Fatal(err, eff.Refusal)
	}
	b, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return store.RoomRecord{URI: uri, Hub: uri.Domain(), Head: s.Pos, Start: s.Pos, Epoch: s.Epoch(), State: b}
}
