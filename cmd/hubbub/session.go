package main

import (
	"context"
	"iter"
	"sync"
	"time"

	"hubbub/client"
)

// catchUpTimeout is how long a verb waits for its device to catch up before it
// goes on with what the device has.
const catchUpTimeout = 3 * time.Second

// session is an open device whose events are kept from the start, so that a verb
// can first wait for the device to catch up and then still hear of everything.
type session struct {
	*client.Client

	mu     sync.Mutex
	queue  []client.Event
	ended  bool
	bell   chan struct{} // has a value if queue or ended changed
	online chan struct{} // closed when the device has caught up, or cannot
	once   sync.Once
}

// newSession listens to a device and returns once it has caught up, has found
// its provider unreachable, or takes too long.
func newSession(ctx context.Context, cl *client.Client) *session {
	s := &session{Client: cl, bell: make(chan struct{}, 1), online: make(chan struct{})}
	events := cl.Events(context.WithoutCancel(ctx)) // until the device is closed
	go func() {
		for ev := range events {
			s.put(ev)
		}
		s.mu.Lock()
		s.ended = true
		s.mu.Unlock()
		s.ring()
	}()
	wait := time.NewTimer(catchUpTimeout)
	defer wait.Stop()
	select {
	case <-s.online:
	case <-wait.C:
	case <-ctx.Done():
	}
	return s
}

func (s *session) put(ev client.Event) {
	s.mu.Lock()
	s.queue = append(s.queue, ev)
	s.mu.Unlock()
	switch ev.(type) {
	case client.Connected, client.Disconnected:
		s.once.Do(func() { close(s.online) })
	}
	s.ring()
}

func (s *session) ring() {
	select {
	case s.bell <- struct{}{}:
	default:
	}
}

// Events gives what happened since the device was opened and goes on until ctx
// ends or the device is closed. One goroutine at a time may use it.
func (s *session) Events(ctx context.Context) iter.Seq[client.Event] {
	return func(yield func(client.Event) bool) {
		for {
			s.mu.Lock()
			batch, ended := s.queue, s.ended
			s.queue = nil
			s.mu.Unlock()
			for _, ev := range batch {
				if !yield(ev) {
					return
				}
			}
			if ended && len(batch) == 0 {
				return
			}
			if len(batch) > 0 {
				continue
			}
			select {
			case <-s.bell:
			case <-ctx.Done():
				return
			}
		}
	}
}
