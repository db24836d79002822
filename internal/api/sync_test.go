package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/encoding/protojson"

	"hubbub/client/clientpb"
	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

func entryFrame(uri mimi.RoomURI, seq int, text string) string {
	return fmt.Sprintf("entry %s %d %s", uri, seq, text)
}

func roomFrame(uri mimi.RoomURI, in, member bool) string {
	return fmt.Sprintf("room %s in=%t member=%t", uri, in, member)
}

func TestStreamResumesWhereTheClientAcked(t *testing.T) {
	h := newHarness(t)
	phone := h.client(alice, "phone")
	h.room(lobby, 1, []mimi.UserURI{alice}, phone)
	h.post(lobby, "one")
	h.post(lobby, "two")
	s := h.tail(phone)
	s.want(roomFrame(lobby, true, true), entryFrame(lobby, 1, "one"), entryFrame(lobby, 2, "two"), "live")
	h.post(lobby, "three")
	s.want(entryFrame(lobby, 3, "three"))
	s.ack(lobby, 2)
	h.acked(phone, lobby, 2)
	s.conn.CloseNow()
	h.post(lobby, "four")
	s = h.tail(phone)
	s.want(roomFrame(lobby, true, true), entryFrame(lobby, 3, "three"), entryFrame(lobby, 4, "four"), "live")
}

// An entry that is stored while the stream looks elsewhere is not forgotten:
// every entry comes once and in order, whatever the interleaving.
func TestStreamUnderLoad(t *testing.T) {
	h := newHarness(t)
	phone := h.client(alice, "phone")
	h.room(lobby, 1, []mimi.UserURI{alice}, phone)
	h.room(attic, 1, []mimi.UserURI{alice}, phone)
	s := h.tail(phone)
	const n = pageEntries + pageEntries/2
	go func() {
		for i := range n {
			h.post(lobby, fmt.Sprint("l", i))
			h.post(attic, fmt.Sprint("a", i))
		}
	}()
	next := map[mimi.RoomURI]int{lobby: 1, attic: 1}
	for next[lobby]+next[attic] < 2*n+2 {
		got := s.next()
		if !strings.HasPrefix(got, "entry ") {
			continue
		}
		uri := mimi.RoomURI(strings.Fields(got)[1])
		if want := entryFrame(uri, next[uri], fmt.Sprint(map[mimi.RoomURI]string{lobby: "l", attic: "a"}[uri], next[uri]-1)); got != want {
			t.Fatalf("frame %q, want %q", got, want)
		}
		next[uri]++
	}
}

// hooked is a store that lets something happen right after the snapshot of the
// next View was taken.
type hooked struct {
	store.Store
	mu   sync.Mutex
	hook func()
}

func (s *hooked) View(ctx context.Context, fn func(store.ReadTx) error) error {
	return s.Store.View(ctx, func(tx store.ReadTx) error {
		if _, err := tx.Users(); err != nil { // fixes the snapshot
			return err
		}
		s.mu.Lock()
		hook := s.hook
		s.hook = nil
		s.mu.Unlock()
		if hook != nil {
			hook()
		}
		return fn(tx)
	})
}

// An entry stored between a stream's first look and the moment from which the
// room rings for the stream is not forgotten.
func TestNothingIsLostWhileAStreamBegins(t *testing.T) {
	h := newHarness(t)
	phone := h.client(alice, "phone")
	h.room(lobby, 1, []mimi.UserURI{alice}, phone)
	st := &hooked{Store: h.store}
	h.s.Store = st
	st.hook = func() { // the look-up of the token; the next View is the first look
		st.mu.Lock()
		st.hook = func() { h.post(lobby, "in between") }
		st.mu.Unlock()
	}
	s := h.tail(phone)
	s.want(roomFrame(lobby, true, true), entryFrame(lobby, 1, "in between"), "live")
}

func TestStreamKeepsToMembership(t *testing.T) {
	h := newHarness(t)
	phone, laptop := h.client(alice, "phone"), h.client(alice, "laptop")
	h.room(lobby, 1, []mimi.UserURI{alice}, phone)
	h.post(lobby, "before")
	s := h.tail(laptop)
	s.want(roomFrame(lobby, true, false), "live") // told of the room, shown nothing of it
	h.post(lobby, "unseen")
	seq := h.post(lobby, "joins", joins(laptop, 2))
	h.s.Notifier.WakeClient(laptop)
	s.wantAmid(roomFrame(lobby, true, true), entryFrame(lobby, int(seq), "joins"))
	h.post(lobby, "seen")
	s.want(entryFrame(lobby, 4, "seen"))
	h.post(lobby, "removed", leaves(laptop))
	h.post(lobby, "after") // which is not shown any more
	s.wantAmid(roomFrame(lobby, true, false), entryFrame(lobby, 5, "removed"), fmt.Sprintf("removed %s 5", lobby))
	s.conn.CloseNow()
	s = h.tail(laptop)
	s.want(roomFrame(lobby, true, false), entryFrame(lobby, 3, "joins"), entryFrame(lobby, 4, "seen"), entryFrame(lobby, 5, "removed"),
		fmt.Sprintf("removed %s 5", lobby), "live")
	s.ack(lobby, 5)
	h.acked(laptop, lobby, 5)
	s.conn.CloseNow()
	s = h.tail(laptop)
	s.want(roomFrame(lobby, true, false), "live")
}

// A Welcome stands before the entries it opens and after those of an earlier
// membership.
func TestWelcomeStandsInOrder(t *testing.T) {
	h := newHarness(t)
	phone := h.client(alice, "phone")
	h.room(lobby, 1, []mimi.UserURI{alice}, phone)
	h.post(lobby, "one")
	h.post(lobby, "out", leaves(phone))
	h.post(lobby, "hidden")
	h.post(lobby, "in", joins(phone, 4))
	h.post(lobby, "five")
	h.ok(h.store.Update(h.ctx, func(tx store.Tx) error {
		return tx.PutInWelcome(store.InWelcome{Client: phone, Room: lobby, Seq: 4, Body: []byte("hi")})
	}))
	s := h.tail(phone)
	s.want(roomFrame(lobby, true, true), entryFrame(lobby, 1, "one"), entryFrame(lobby, 2, "out"), fmt.Sprintf("removed %s 2", lobby),
		fmt.Sprintf("welcome %s 4 hi", lobby), entryFrame(lobby, 5, "five"), "live")
	s.ack(lobby, 5)
	h.acked(phone, lobby, 5)
	s.conn.CloseNow()
	s = h.tail(phone)
	s.want(roomFrame(lobby, true, true), "live")
}

func TestNewRoomReachesStreamsWithoutMembership(t *testing.T) {
	h := newHarness(t)
	laptop := h.client(alice, "laptop")
	s := h.tail(laptop)
	s.want("live")
	h.room(lobby, 1, []mimi.UserURI{alice})
	s.want(roomFrame(lobby, true, false))
	h.post(lobby, "alice goes", func(a *store.Append) {
		a.Participants = []room.Participant{{User: bob, Role: 2}}
		a.Changes = []room.Change{{Seq: a.Entry.Seq, Actor: bob, Action: room.Removed, User: alice}}
	})
	h.post(lobby, "alice comes", func(a *store.Append) {
		a.Participants = []room.Participant{{User: bob, Role: 2}, {User: alice, Role: 2}}
		a.Changes = []room.Change{{Seq: a.Entry.Seq, Actor: bob, Action: room.Added, User: alice, Role: 2}}
	})
	h.room(attic, 1, []mimi.UserURI{alice})
	for {
		if got := s.next(); got == roomFrame(attic, true, false) {
			break
		} else if !strings.HasPrefix(got, "room ") {
			t.Fatalf("frame %q", got)
		}
	}
}

func TestStreamTellsOfSubmissions(t *testing.T) {
	h := newHarness(t)
	phone := h.client(alice, "phone")
	h.room(remote, 1, []mimi.UserURI{alice}, phone)
	var sub store.Submission
	h.ok(h.store.Update(h.ctx, func(tx store.Tx) (err error) {
		sub, err = tx.Enqueue(store.Submission{Client: phone, Txn: "t1", Room: remote, Hub: "b.localhost", Kind: store.SubmitMessage,
			Body: []byte("body"), State: store.Queued})
		return err
	}))
	s := h.tail(phone)
	s.want(roomFrame(remote, true, true), "submission t1 SUBMISSION_STATE_QUEUED seq=0", "live")
	sub.State, sub.Reason = store.Rejected, "notAllowed"
	h.ok(h.store.Update(h.ctx, func(tx store.Tx) error { return tx.PutSubmission(sub) }))
	h.s.Notifier.WakeClient(phone)
	s.want("submission t1 SUBMISSION_STATE_REJECTED seq=0")
	s.send(&clientpb.ClientFrame{Frame: &clientpb.ClientFrame_AckSubmission{AckSubmission: &clientpb.AckSubmission{Txn: "t1"}}})
	s.ack(remote, 0)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for strings.Contains(h.dump(), "notAllowed") {
		<-tick.C
	}
}

func TestStreamRefusesBadFrames(t *testing.T) {
	h := newHarness(t)
	phone := h.client(alice, "phone")
	h.room(lobby, 1, []mimi.UserURI{alice}, phone)
	h.room(attic, 1, []mimi.UserURI{eve}, h.client(eve, "phone"))
	h.post(lobby, "one")
	before := h.dump()
	for name, send := range map[string]func(*feed){
		"ack of what was not sent": func(s *feed) { s.ack(lobby, 2) },
		"ack of the largest Seq":   func(s *feed) { s.ack(lobby, 1<<64-1) },
		"ack of another's room":    func(s *feed) { s.ack(attic, 0) },
		"empty frame":              func(s *feed) { s.send(&clientpb.ClientFrame{}) },
		"bad txn": func(s *feed) {
			s.send(&clientpb.ClientFrame{Frame: &clientpb.ClientFrame_AckSubmission{AckSubmission: &clientpb.AckSubmission{Txn: "a\nb"}}})
		},
		"text frame": func(s *feed) { h.ok(s.conn.Write(h.ctx, websocket.MessageText, []byte("{}"))) },
		"garbage":    func(s *feed) { h.ok(s.conn.Write(h.ctx, websocket.MessageBinary, []byte{0xff, 0xff})) },
	} {
		t.Run(name, func(t *testing.T) {
			s := h.tail(phone)
			s.want(roomFrame(lobby, true, true), entryFrame(lobby, 1, "one"), "live")
			send(s)
			s.closed(closeBadFrame)
		})
	}
	if after := h.dump(); after != before {
		t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
	}
}

func TestNewerStreamReplacesOlder(t *testing.T) {
	h := newHarness(t)
	phone := h.client(alice, "phone")
	old := h.tail(phone)
	old.want("live")
	h.tail(phone).want("live")
	old.closed(closeReplaced)
}

// A client that does not read is cut off, and gets everything after it comes
// back.
func TestSlowReaderIsCutAndResumes(t *testing.T) {
	h := newHarness(t)
	h.s.WriteTimeout = 200 * time.Millisecond
	phone := h.client(alice, "phone")
	h.room(lobby, 1, []mimi.UserURI{alice}, phone)
	const n = 60
	for i := range n {
		h.post(lobby, fmt.Sprintf("%d %s", i, strings.Repeat("x", 512<<10)))
	}
	s := h.tail(phone)
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for connected := true; connected; { // until the server has given up
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatal("the slow reader was not cut off")
		}
		h.s.Notifier.mu.Lock()
		connected = h.s.Notifier.streams[phone] != nil
		h.s.Notifier.mu.Unlock()
	}
	s.conn.CloseNow()
	h.s.WriteTimeout = patience
	s = h.tail(phone)
	s.want(roomFrame(lobby, true, true))
	for i := range n {
		if got := s.next(); !strings.HasPrefix(got, fmt.Sprintf("entry %s %d %d ", lobby, i+1, i)) {
			t.Fatalf("frame %q is not entry %d", got, i+1)
		}
	}
}

func TestStreamInJSON(t *testing.T) {
	h := newHarness(t)
	phone := h.client(alice, "phone")
	conn, _, err := websocket.Dial(h.ctx, h.server.URL+clientpb.SyncPath, &websocket.DialOptions{
		HTTPHeader: http.Header{"Authorization": {"Bearer " + string(phone)}}, Subprotocols: []string{clientpb.SyncJSON}})
	h.ok(err)
	defer conn.CloseNow()
	kind, data, err := conn.Read(h.ctx)
	h.ok(err)
	var f clientpb.ServerFrame
	h.ok(protojson.Unmarshal(data, &f))
	if kind != websocket.MessageText || describe(&f) != "hello "+string(phone) {
		t.Errorf("%v frame %s", kind, data)
	}
}

func TestStreamEndsWithTheServer(t *testing.T) {
	h := newHarness(t)
	s := h.tail(h.client(alice, "phone"))
	s.want("live")
	h.stop()
	s.closed(websocket.StatusGoingAway)
}
