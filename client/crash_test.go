package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"hubbub/mimi"
	"hubbub/mls"
)

var errCrash = errors.New("the process ends here")

// crash ends a device as the end of its process would: nothing is flushed,
// nothing is told to anybody.
func (c *Client) testingOnlyCrash() {
	c.mu.Lock()
	if c.fatal == nil {
		c.fatal = errCrash
	}
	c.mu.Unlock()
	c.cancel()
	c.wg.Wait()
	c.events.close()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fatal = ErrClosed
	c.t.close()
	c.db.Close()
	c.lock.Close()
}

// crashAt gives options for a device that dies at its nth durable step: before
// the step is on disk if n is even, right after if it is odd.
func crashAt(n int, reached *atomic.Bool) *Options {
	var count atomic.Int64
	return &Options{testingOnlyStep: func(bool) error {
		if count.Add(1) > int64(n) {
			reached.Store(true)
			return errCrash
		}
		return nil
	}}
}

// A device dies at each step of sending and of a commit. After the restart what
// Send promised is posted exactly once, nobody missed a message (a key used
// twice would make that), and the group goes on.
func TestCrashAtEachStep(t *testing.T) {
	w := newWorld(t, "a.localhost", "b.localhost")
	alice, carol := w.device("alice@a.localhost", "phone"), w.device("carol@a.localhost", "phone")
	dir := w.enrol("bob@b.localhost", "phone")
	bob := w.open(dir, nil)
	w.stocked(bob)
	uri := w.room(alice, bob)
	w.ok(bob.Close())

	var promised []string
	perhaps := map[string]bool{}
	for n := 0; n < 40; n++ {
		var reached atomic.Bool
		bob = w.open(dir, crashAt(n, &reached))
		ctx, cancel := context.WithCancel(w.ctx())
		for k := range 3 {
			text := fmt.Sprintf("%02d.%d", n, k)
			if _, err := bob.Send(ctx, uri, text); err == nil {
				promised = append(promised, text)
			} else {
				perhaps[text] = true
			}
		}
		done := make(chan error, 1)
		go func() { // a commit on top, in or out by turns
			if n%2 == 0 {
				_, err := bob.AddUsers(ctx, uri, carol.User())
				done <- err
			} else {
				done <- bob.selfUpdate(ctx, uri)
			}
		}()
		w.crashed(bob, &reached, done)
		cancel()
		bob.testingOnlyCrash()

		bob = w.open(dir, nil)
		last := w.posted(bob, uri, w.send(bob, uri, fmt.Sprintf("%02d.restarted", n)))
		promised = append(promised, last.Text)
		w.ok(bob.Close())
		if n%2 == 0 {
			// The addition may have gone through or not; a member takes it back.
			_, err := alice.RemoveUsers(w.ctx(), uri, carol.User())
			w.ok(err)
		}
		if !reached.Load() {
			break
		}
	}
	bob = w.open(dir, nil)
	w.posted(bob, uri, w.send(bob, uri, "end"))
	w.exactlyOnce(alice, uri, append(promised, "end"), perhaps)
	w.exactlyOnce(bob, uri, append(promised, "end"), perhaps)
}

// selfUpdate renews the device's keys: a commit that changes nobody's place.
func (c *Client) selfUpdate(ctx context.Context, uri mimi.RoomURI) error {
	unlock, err := c.lockRoom(ctx, uri)
	if err != nil {
		return err
	}
	defer unlock()
	return c.change(ctx, uri, func(r *room) (*mls.PendingCommit, error) { return r.group.Commit(mls.CommitOptions{ForcePath: true}) })
}

// crashed waits until the device has died or has nothing left to do.
func (w *world) crashed(c *Client, reached *atomic.Bool, done chan error) {
	w.t.Helper()
	select {
	case <-done:
	case <-w.ctx().Done():
		w.t.Fatal("the commit neither ended nor crashed")
	case <-c.dead(reached):
	}
}

// dead is closed once the device has died.
func (c *Client) dead(reached *atomic.Bool) chan struct{} {
	ch := make(chan struct{})
	go func() {
		defer close(ch)
		for !reached.Load() {
			c.mu.Lock()
			changed := c.changed
			c.mu.Unlock()
			select {
			case <-changed:
			case <-c.ctx.Done():
				return
			}
		}
	}()
	return ch
}

// exactlyOnce checks that a device shows all promised texts once and in order,
// of the others none twice, and that it missed nothing.
func (w *world) exactlyOnce(c *Client, uri mimi.RoomURI, promised []string, perhaps map[string]bool) {
	w.t.Helper()
	var got []string
	w.until(c, "the last message", func() bool {
		list, err := c.selectMessages(w.t.Context(), "room = ? AND seq > 0 ORDER BY seq", string(uri))
		w.ok(err)
		got = nil
		for _, m := range list {
			got = append(got, m.Text)
		}
		return slices.Contains(got, "end")
	})
	var kept []string
	seen := map[string]bool{}
	for _, text := range got {
		if seen[text] {
			w.t.Errorf("%s shows %q twice", c.URI(), text)
		}
		seen[text] = true
		if !perhaps[text] {
			kept = append(kept, text)
		}
	}
	if !slices.Equal(kept, promised) {
		w.t.Errorf("%s shows\n%q, want\n%q", c.URI(), kept, promised)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.rooms {
		if r.missed != 0 || r.suspicious != "" {
			w.t.Errorf("%s: missed %d, suspicious %q", c.URI(), r.missed, r.suspicious)
		}
	}
}
