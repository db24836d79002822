package client

import (
	"fmt"
	"sync"

	"hubbub/mimi/content"
)

// maxSends bounds how many messages become durable with one step.
const maxSends = 128

// sendQueue gathers what several goroutines send at the same time, so that they
// share one durable step.
type sendQueue struct {
	mu      sync.Mutex
	waiting []*sendRequest
	served  bool // a goroutine is in serve
}

// sendRequest is one message to send.
type sendRequest struct {
	record  *record
	message *content.Message
	err     error
	done    chan struct{}
}

// do waits until the message is durable or refused.
func (q *sendQueue) do(c *Client, r *sendRequest) error {
	q.mu.Lock()
	q.waiting = append(q.waiting, r)
	if !q.served {
		q.served = true
		go q.serve(c)
	}
	q.mu.Unlock()
	<-r.done
	return r.err
}

func (q *sendQueue) serve(c *Client) {
	for {
		q.mu.Lock()
		list := q.waiting[:min(len(q.waiting), maxSends)]
		q.waiting = q.waiting[len(list):]
		q.served = len(list) > 0
		q.mu.Unlock()
		if len(list) == 0 {
			return
		}
		c.sendAll(list)
		for _, r := range list {
			close(r.done)
		}
	}
}

// sendAll stores and encrypts messages in their order, in one step. One that
// its room does not take is left out.
func (c *Client) sendAll(list []*sendRequest) {
	err := c.step(func(b *batch) error {
		ready := map[*room]bool{}
		for _, s := range list {
			r := b.room(s.record.Room)
			if s.err = r.member(); s.err != nil {
				continue
			}
			if s.err = b.expireByPolicy(r, s); s.err != nil {
				continue
			}
			denied, err := b.judge(r, s.record, s.message)
			if err != nil {
				return err
			}
			if denied != "" {
				s.err = fmt.Errorf("%w: %s", ErrDenied, denied)
				continue
			}
			if _, known := ready[r]; !known {
				var err error
				if ready[r], err = b.ready(r); err != nil {
					return err
				}
			}
			if err := b.send(r, s.record, ready[r] && !b.due[r]); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		return
	}
	for _, s := range list {
		if s.err == nil {
			s.err = err
		}
	}
}
