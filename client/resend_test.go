package client

import (
	"errors"
	"testing"
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
		if _, err := b.tx.Exec("DELETE FROM outbox"); err != nil {
			return err
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
