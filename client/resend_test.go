package client

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

// TestResend: a rejected message goes out once more, under the same ID, once.
func TestResend(t *testing.T) {
	w := newWorld(t, "a.localhost", "b.localhost")
	alice, bob := w.device("alice@a.localhost", "phone"), w.device("bob@b.localhost", "phone")
	uri := w.room(alice, bob)
	w.stop("b.localhost")
	m := w.send(bob, uri, "again")
	if _, err := bob.Resend(w.ctx(), uri, m.ID); !errors.Is(err, ErrBadArgument) {
		t.Errorf("one that is on its way: %v", err)
	}
	w.ok(bob.step(func(b *batch) error {
		for len(bob.outbox.rows) > 0 {
			w.ok(b.deleteRow(bob.outbox.rows[0]))
		}
		return b.rejectWaiting(uri, "bad-entry")
	}))
	if _, err := bob.Resend(w.ctx(), uri, MessageID{1}); !errors.Is(err, ErrUnknownMessage) {
		t.Errorf("one that is not: %v", err)
	}
	again, err := bob.Resend(w.ctx(), uri, m.ID)
	if err != nil || again.ID != m.ID || again.State != Sending || again.Reason != "" {
		t.Errorf("%+v, %v", again, err)
	}
	w.start("b.localhost")
	if got := w.posted(bob, uri, m); got.State != Posted {
		t.Errorf("%+v", got)
	}
	w.texts(alice, uri, "again")
	w.texts(bob, uri, "again")
	if _, err := alice.Resend(w.ctx(), uri, m.ID); !errors.Is(err, ErrBadArgument) {
		t.Errorf("somebody else's: %v", err)
	}
}

// TestBeyondTheRate: a device that posts faster than it may has everything posted
// in the end, once and in order, at the rate.
func TestBeyondTheRate(t *testing.T) {
	w := newWorld(t, "a.localhost")
	alice := w.device("alice@a.localhost", "phone")
	uri := w.room(alice)
	w.stop("a.localhost")
	cfg := w.cfgs["a.localhost"]
	cfg.Limits.PostsPerDevice = "4 + 20/s"
	w.cfgs["a.localhost"] = cfg
	var want []string
	var last Message
	for i := range 14 {
		want = append(want, fmt.Sprint("message ", i))
		last = w.send(alice, uri, want[i])
	}
	begin := time.Now()
	w.start("a.localhost")
	w.posted(alice, uri, last)
	if took := time.Since(begin); took < 500*time.Millisecond { // ten beyond the burst, at 20 a second
		t.Errorf("14 messages were posted within %s", took)
	}
	w.texts(alice, uri, want...)
}
