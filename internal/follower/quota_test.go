package follower_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"hubbub/internal/follower"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// full asks for places in the outbox that it must not have.
func (o *office) full(want string, list ...store.Submission) {
	o.Helper()
	before := o.queued()
	_, err := o.follower.EnqueueAll(context.Background(), list)
	if len(list) == 1 {
		_, err = o.follower.Enqueue(context.Background(), list[0])
	}
	var p *mimi.Problem
	if !errors.As(err, &p) || p.Status != http.StatusInsufficientStorage || p.Code != "outbox-full" || p.Detail != want || p.RetryAfter != 10*time.Second {
		o.Errorf("%v, want %q", err, want)
	}
	if o.queued() != before {
		o.Error("what was refused left something behind")
	}
}

// queued names what waits.
func (o *office) queued() (text string) {
	o.Helper()
	if err := o.store.View(context.Background(), func(tx store.ReadTx) error {
		rows, err := tx.QueuedSubmissions(0, 1000)
		for _, s := range rows {
			text += fmt.Sprintln(s.ID, s.Client, s.Txn)
		}
		return err
	}); err != nil {
		o.Fatal(err)
	}
	return text
}

// TestQuota: at the bound of a user and of a hub the next write is refused, whole
// batches too; repeats are answered; what is posted makes room; a restart counts
// what the store holds.
func TestQuota(t *testing.T) {
	size := len(submission("bob", "a.localhost", "0", 1).Body)
	for name, tc := range map[string]struct {
		quota          follower.Quota
		want           string
		ben, elsewhere bool // who may still write
	}{
		"user":   {follower.Quota{RowsPerUser: 3}, "3 writes of this user wait for other providers, and no more may", true, false},
		"hub":    {follower.Quota{RowsPerHub: 3}, "3 writes wait for a.localhost, and no more may", false, true},
		"octets": {follower.Quota{BytesPerHub: 4*size - 1}, fmt.Sprintf("writes of %d octets wait for a.localhost, and no more may", 3*size), false, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOffice(t)
				o.quota = tc.quota
				o.answers(func(question) ([]byte, error) { return nil, errNetwork })
				o.kill()
				o.start()
				for i := range 3 {
					o.enqueue("bob", "a.localhost", fmt.Sprint(i))
				}
				for range 2 {
					o.full(tc.want, submission("bob", "a.localhost", "3", 1))
					o.full(tc.want, submission("bob", "a.localhost", "3", 1), submission("bob", "a.localhost", "4", 1))
					o.enqueue("bob", "a.localhost", "1") // a repeat
					o.kill()
					o.start()
					synctest.Wait() // until what the store holds is counted
				}
				if tc.ben {
					o.enqueue("ben", "a.localhost", "x")
				} else {
					o.full(tc.want, submission("ben", "a.localhost", "x", 1))
				}
				if tc.elsewhere {
					o.enqueue("bob", "c.localhost", "y")
				} else {
					o.full(tc.want, submission("bob", "c.localhost", "y", 1))
				}
				o.answers(nil) // the hubs are there again
				pass(10 * time.Minute)
				for i := range 3 {
					o.enqueue("bob", "a.localhost", fmt.Sprint("later", i))
				}
			})
		})
	}
}
