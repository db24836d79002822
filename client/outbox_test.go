package client

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"hubbub/client/clientpb"
	"hubbub/mimi"
)

// refusals makes a provider refuse the writes to a room for as long as told.
func (f *fake) refusals(uri mimi.RoomURI, d *clientpb.ErrorDetail) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuse = func(n *clientpb.NewSubmission) *clientpb.ErrorDetail {
		if n.Room == string(uri) {
			return d
		}
		return nil
	}
}

// held waits until the device has been refused a number of times in a row.
func (f *fake) held(c *Client, uri mimi.RoomURI, failures int) {
	f.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for begin := time.Now(); time.Since(begin) < patience; <-tick.C {
		c.mu.Lock()
		h := c.holds[uri]
		done := h != nil && h.failures >= failures
		c.mu.Unlock()
		if done {
			return
		}
	}
	f.t.Fatalf("%s was not refused", c.URI())
}

// taken waits until the device knows that the provider has taken all it wrote: that may
// be after the stream has shown it the entries.
func (f *fake) taken(c *Client) {
	f.t.Helper()
	ctx := f.ctx()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		c.mu.Lock()
		done := len(c.holds) == 0 && (len(c.answers) > 0 || len(c.outbox.rows) == 0)
		c.mu.Unlock()
		if done {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			f.t.Fatalf("%s has no answer", c.URI())
		}
	}
}

// TestRetryAfter: a device waits as long as its provider asks for before it sends
// again, and only with what goes to that room.
func TestRetryAfter(t *testing.T) {
	f := newFake(t)
	alice := f.open(f.enrol("alice", "phone"), nil)
	uri, other := f.room(alice), f.room(alice)
	const asked = 700 * time.Millisecond
	f.refusals(uri, &clientpb.ErrorDetail{Reason: clientpb.Reason_REASON_RATE_LIMITED, RetryAfterMs: uint64(asked.Milliseconds())})
	begin := time.Now()
	m, err := alice.Send(f.ctx(), uri, "slowly")
	f.ok(err)
	f.held(alice, uri, 1)
	f.refusals("", nil)
	quick, err := alice.Send(f.ctx(), other, "quickly")
	f.ok(err)
	if _, err = alice.WaitPosted(f.ctx(), other, quick.ID); err != nil {
		t.Fatal(err)
	}
	if m, err := alice.message(alice.db, uri, m.ID); err != nil || m.State != Sending {
		t.Errorf("the message that was refused overtook the other: %+v, %v", m, err)
	}
	if _, err := alice.WaitPosted(f.ctx(), uri, m.ID); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took < asked {
		t.Errorf("sent again after %s, asked for %s", took, asked)
	}
}

// TestPauseIsAsLongAsAsked: but not for ever, and without a wish as short as ever.
func TestPauseIsAsLongAsAsked(t *testing.T) {
	for range 100 {
		if d := pause(1, &Error{RetryAfter: 3 * time.Second}); d < 3*time.Second || d > 4*time.Second {
			t.Fatal(d)
		}
		if d := pause(30, &Error{RetryAfter: 10 * 365 * 24 * time.Hour}); d < maxRetryAfter || d > maxRetryAfter+time.Second {
			t.Fatal(d)
		}
		if d := pause(1, errors.New("broken connection")); d > time.Second {
			t.Fatal(d)
		}
	}
}

// TestRoomMissing: that the provider has no copy of a room just now ends neither a
// message nor a commit of a member; that it never has one again does.
func TestRoomMissing(t *testing.T) {
	f := newFake(t)
	alice := f.open(f.enrol("alice", "phone"), nil)
	uri := f.room(alice)
	gone := &clientpb.ErrorDetail{Reason: clientpb.Reason_REASON_NOT_FOUND, Message: "no such room"}
	f.refusals(uri, gone)
	m, err := alice.Send(f.ctx(), uri, "one")
	f.ok(err)
	done := make(chan error, 1)
	go func() { done <- alice.selfUpdate(f.ctx(), uri) }()
	f.until(alice, func() bool { return alice.rooms[uri].pending != nil })
	f.held(alice, uri, 2)
	f.refusals("", nil)
	f.ok(<-done)
	if m, err := alice.WaitPosted(f.ctx(), uri, m.ID); err != nil || m.Seq != 1 {
		t.Errorf("the message: %+v, %v", m, err)
	}
	f.until(alice, func() bool { return alice.rooms[uri].group.Epoch() == 1 && alice.rooms[uri].suspicious == "" })
	f.taken(alice)

	f.refusals(uri, gone)
	m, err = alice.Send(f.ctx(), uri, "two")
	f.ok(err)
	f.held(alice, uri, 1)
	alice.mu.Lock()
	alice.holds[uri].missing = time.Now().Add(-missingFor - time.Hour)
	alice.mu.Unlock()
	if m, err := alice.WaitPosted(f.ctx(), uri, m.ID); !errors.Is(err, ErrRejected) || m.Reason != "not_found" {
		t.Errorf("after a day: %+v, %v", m, err)
	}
}

// TestCloseStoresAnswers: what the provider has taken is not sent again by the next
// process, although storing that is not urgent.
func TestCloseStoresAnswers(t *testing.T) {
	f := newFake(t)
	dir := f.enrol("alice", "phone")
	alice := f.open(dir, nil)
	uri := f.room(alice)
	f.mu.Lock()
	delete(f.members, uri) // so that nothing but the answer says it
	f.mu.Unlock()
	m, err := alice.Send(f.ctx(), uri, "one")
	f.ok(err)
	f.taken(alice)
	f.ok(alice.Close())
	alice, err = load(dir, nil)
	f.ok(err)
	defer alice.abandon()
	if n := len(alice.outbox.rows); n != 0 {
		t.Errorf("%d writes are left", n)
	}
	if m, err := alice.message(alice.db, uri, m.ID); err != nil || m.State != Posted || m.Seq != 1 {
		t.Errorf("%+v, %v", m, err)
	}
}

// TestEarlierSchemas: a device made by an earlier version keeps all it had.
func TestEarlierSchemas(t *testing.T) {
	for _, dump := range []string{"device-v1.sql", "device-v2.sql"} {
		t.Run(dump, func(t *testing.T) { openDump(t, dump) })
	}
}

func openDump(t *testing.T, dump string) {
	f := newFake(t)
	dir := f.enrol("alice", "phone")
	path := filepath.Join(dir, "device.db")
	db, err := sql.Open("sqlite", path)
	f.ok(err)
	var device []byte
	f.ok(db.QueryRow("SELECT value FROM device WHERE key = 'device'").Scan(&device))
	f.ok(db.Close())
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	old, err := os.ReadFile("testdata/" + dump)
	f.ok(err)
	db, err = sql.Open("sqlite", path)
	f.ok(err)
	_, err = db.Exec(string(old))
	f.ok(err)
	_, err = db.Exec("INSERT INTO device VALUES ('device', ?)", device)
	f.ok(err)
	f.ok(db.Close())

	alice := f.open(dir, nil)
	uri := mimi.RoomURI("mimi://a.localhost/r/old")
	list, err := alice.Messages(f.ctx(), uri, 0, 0)
	f.ok(err)
	if len(list) != 2 || list[0].Text != "posted" || list[0].Seq != 7 || list[1].Text != "on its way" || list[1].State != Queued {
		t.Errorf("messages: %+v", list)
	}
	alice.mu.Lock()
	defer alice.mu.Unlock()
	rows := alice.outbox.rows
	if len(rows) != 1 || rows[0].n != 5 || rows[0].txn != "txn5" || rows[0].message == nil || rows[0].message.hash[0] != 0xdd {
		t.Errorf("outbox: %+v", rows)
	}
	if alice.rooms[uri] == nil || alice.rooms[uri].pos.Seq != 9 {
		t.Errorf("room: %+v", alice.rooms[uri])
	}
}
