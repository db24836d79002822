package client

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"hubbub/client/clientpb"
	chain "hubbub/internal/room"
	"hubbub/mimi"
)

func TestChainIsTheProviders(t *testing.T) {
	const uri = "mimi://a.localhost/r/x"
	want, got := chain.StartPos(uri), startPos(uri)
	for i := range 3 {
		if got.Seq != want.Seq || got.Hash != want.Hash || got.String() != want.String() {
			t.Fatalf("step %d: %v, want %v", i, got, want)
		}
		entry := []byte(fmt.Sprint("entry", i))
		want, got = want.Next(entry), got.next(entry)
	}
}

func TestChatAndLeave(t *testing.T) {
	w := newWorld(t, "a.localhost", "b.localhost")
	alice, bob := w.device("alice@a.localhost", "phone"), w.device("bob@b.localhost", "phone")
	carol := w.device("carol@a.localhost", "phone")
	uri := w.room(alice, bob, carol)
	w.posted(bob, uri, w.send(bob, uri, "one"))
	w.posted(alice, uri, w.send(alice, uri, "two"))
	for _, c := range []*Client{alice, bob, carol} {
		w.texts(c, uri, "one", "two")
	}
	w.ok(bob.Leave(w.ctx(), uri))
	if _, err := bob.Send(w.ctx(), uri, "no"); !errors.Is(err, ErrNotMember) {
		t.Errorf("Send after Leave: %v", err)
	}
	w.until(bob, "the removal", func() bool { return bob.rooms[uri].phase == phaseOut && bob.rooms[uri].group == nil })
	w.posted(alice, uri, w.send(alice, uri, "three"))
	w.texts(carol, uri, "one", "two", "three")
	w.texts(bob, uri, "one", "two")
	info, err := alice.Room(w.ctx(), uri)
	w.ok(err)
	if len(info.Participants) != 2 {
		t.Errorf("participants after Leave: %v", info.Participants)
	}
	if info, err := bob.Room(w.ctx(), uri); err != nil || info.Participant || info.Member || len(info.Participants) != 0 {
		t.Errorf("what bob is told: %+v, %v", info, err)
	}
	// He can be added again, and sees what comes then.
	results, err := alice.AddUsers(w.ctx(), uri, bob.User())
	if err != nil || results[0].Err != nil {
		t.Fatal(err, results)
	}
	w.member(bob, uri)
	w.posted(alice, uri, w.send(alice, uri, "four"))
	w.texts(bob, uri, "one", "two", "four")
}

func TestAddReportsEachUser(t *testing.T) {
	w := newWorld(t, "a.localhost", "b.localhost")
	alice, bob := w.device("alice@a.localhost", "phone"), w.device("bob@b.localhost", "phone")
	w.enrol("dora@b.localhost", "never-opened")
	uri := w.room(alice)
	user := func(s string) mimi.UserURI {
		u, err := mimi.ParseHandle(s)
		w.ok(err)
		return u
	}
	results, err := alice.AddUsers(w.ctx(), uri, user("nobody@b.localhost"), bob.User(), user("dora@b.localhost"), user("x@no.such.provider"), "rubbish", alice.User())
	w.ok(err)
	want := []string{"not_found", "", "no_key_packages", "peer_unreachable", "bad argument", "exists"}
	for i, r := range results {
		text := ""
		if r.Err != nil {
			text = r.Err.Error()
		}
		if r.Added != (want[i] == "") || !strings.Contains(text, want[i]) {
			t.Errorf("%s: %+v, want %q", r.User, r, want[i])
		}
	}
	w.member(bob, uri)
}

func TestConcurrentChanges(t *testing.T) {
	w := newWorld(t, "a.localhost", "b.localhost")
	alice, bob := w.device("alice@a.localhost", "phone"), w.device("bob@b.localhost", "phone")
	uri := w.room(alice, bob)
	var wg sync.WaitGroup
	for i, c := range []*Client{alice, bob} {
		newcomer := w.device(fmt.Sprintf("new%d@a.localhost", i), "phone")
		wg.Go(func() {
			results, err := c.AddUsers(w.ctx(), uri, newcomer.User())
			if err != nil || results[0].Err != nil {
				t.Errorf("%s: %v %v", c.URI(), err, results)
			}
		})
		wg.Go(func() {
			for k := range 10 {
				if _, err := c.Send(w.ctx(), uri, fmt.Sprintf("%d from %s", k, c.User().Name())); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	logs := map[*Client][]string{}
	for _, c := range []*Client{alice, bob} {
		w.until(c, "20 messages", func() bool {
			list, err := c.selectMessages(t.Context(), "room = ? AND seq > 0 ORDER BY seq", string(uri))
			w.ok(err)
			logs[c] = nil
			for _, m := range list {
				logs[c] = append(logs[c], m.Text)
			}
			return len(list) == 20
		})
		if m := c.rooms[uri].missed; m != 0 {
			t.Errorf("%s missed %d messages", c.URI(), m)
		}
	}
	if !slices.Equal(logs[alice], logs[bob]) {
		t.Errorf("two orders:\n%q\n%q", logs[alice], logs[bob])
	}
	for _, name := range []string{"alice", "bob"} { // each in the order written
		var own []string
		for _, text := range logs[alice] {
			if strings.HasSuffix(text, " from "+name) {
				own = append(own, text)
			}
		}
		if !slices.IsSorted(own) || len(own) != 10 {
			t.Errorf("%s: %q", name, own)
		}
	}
}

// A device that no longer trusts its copy of a room stops, says so, and gets
// back in by Join, which replaces its old leaf.
func TestBrokenChainAndRejoin(t *testing.T) {
	w := newWorld(t, "a.localhost", "b.localhost")
	alice, bob := w.device("alice@a.localhost", "phone"), w.device("bob@b.localhost", "phone")
	uri := w.room(alice, bob)
	w.posted(bob, uri, w.send(bob, uri, "one"))
	w.texts(bob, uri, "one")
	bob.mu.Lock()
	pos := bob.rooms[uri].pos
	bob.mu.Unlock()
	forged := &clientpb.Entry{Seq: pos.Seq + 1, Body: []byte("body"), Hash: make([]byte, 32)}
	w.ok(bob.step(func(b *batch) error { return b.entry(uri, forged) }))
	if _, err := bob.Send(w.ctx(), uri, "two"); !errors.Is(err, ErrSuspicious) {
		t.Fatalf("Send after a broken chain: %v", err)
	}
	if info, err := bob.Room(w.ctx(), uri); err != nil || info.Suspicious == "" {
		t.Errorf("room: %+v, %v", info, err)
	}
	w.ok(bob.Join(w.ctx(), uri))
	w.ok(bob.Join(w.ctx(), uri)) // nothing left to do
	w.posted(bob, uri, w.send(bob, uri, "three"))
	w.texts(alice, uri, "one", "three")
	w.posted(alice, uri, w.send(alice, uri, "four"))
	w.texts(bob, uri, "one", "three", "four")
	alice.mu.Lock()
	defer alice.mu.Unlock()
	if n := len(clients(alice.rooms[uri].group.Public())); n != 2 {
		t.Errorf("%d devices in the group", n)
	}
}

// A stranger to a room learns nothing and gets nowhere.
func TestJoinOfOthers(t *testing.T) {
	w := newWorld(t, "a.localhost", "b.localhost")
	alice, bob, eve := w.device("alice@a.localhost", "phone"), w.device("bob@b.localhost", "phone"), w.device("eve@b.localhost", "phone")
	uri := w.room(alice, bob)
	if err := eve.Join(w.ctx(), uri); !errors.Is(err, ErrNotMember) {
		t.Errorf("Join of another's room: %v", err)
	}
	if err := eve.Join(w.ctx(), "mimi://a.localhost/r/none"); !errors.Is(err, ErrNotMember) {
		t.Errorf("Join of no room: %v", err)
	}
	if _, err := eve.Room(w.ctx(), uri); !errors.Is(err, ErrUnknownRoom) {
		t.Errorf("Room: %v", err)
	}
	if _, err := eve.Log(w.ctx(), uri, 0, 0); !errors.Is(err, ErrUnknownRoom) {
		t.Errorf("Log: %v", err)
	}
	if _, err := bob.RemoveUsers(w.ctx(), uri, alice.User()); !errors.Is(err, ErrDenied) {
		t.Errorf("RemoveUsers without the right to: %v", err)
	}
	w.posted(bob, uri, w.send(bob, uri, "still here"))
}

func TestLocked(t *testing.T) {
	w := newWorld(t, "a.localhost")
	dir := w.enrol("alice@a.localhost", "phone")
	c := w.open(dir, nil)
	if _, err := Open(t.Context(), dir, nil); !errors.Is(err, ErrLocked) {
		t.Errorf("second Open: %v", err)
	}
	w.ok(c.Close())
	w.ok(c.Close())
	if _, err := c.Send(t.Context(), "mimi://a.localhost/r/x", "text"); !errors.Is(err, ErrClosed) {
		t.Errorf("Send after Close: %v", err)
	}
	w.ok(w.open(dir, nil).Close())
	if _, err := Open(t.Context(), t.TempDir(), nil); !errors.Is(err, ErrNotEnrolled) {
		t.Errorf("Open of nothing: %v", err)
	}
	if err := Enrol(t.Context(), w.enrolment(dir, "alice@a.localhost", "other")); !errors.Is(err, ErrEnrolled) {
		t.Errorf("Enrol again: %v", err)
	}
	var refused *Error
	if err := Enrol(t.Context(), w.enrolment(t.TempDir(), "alice@a.localhost", "phone")); !errors.As(err, &refused) || refused.Reason != "exists" {
		t.Errorf("Enrol of a taken name: %v", err)
	}
	bad := w.enrolment(t.TempDir(), "alice@a.localhost", "third")
	bad.Code = "wrong"
	if err := Enrol(t.Context(), bad); !errors.As(err, &refused) || refused.Reason != "code_refused" {
		t.Errorf("Enrol with a wrong code: %v", err)
	}
}
