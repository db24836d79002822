package client

import (
	"context"
	"iter"
	"sync"
)

// maxEvents bounds what is kept for a listener that does not listen.
const maxEvents = 10_000

// broadcaster hands events to all listeners. Until there is a first one it
// keeps them, so that a program that calls Events right after Open misses
// nothing.
type broadcaster struct {
	mu        sync.Mutex
	listeners map[*listener]struct{}
	early     []Event // before the first listener
	started   bool
	closed    bool
}

// listener is one queue; bell has a value if the queue is to be looked at.
type listener struct {
	queue []Event
	bell  chan struct{}
	ended bool
}

func newBroadcaster() *broadcaster {
	return &broadcaster{listeners: map[*listener]struct{}{}}
}

func (b *broadcaster) send(events []Event) {
	if len(events) == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.started {
		b.early = append(b.early, events...)
		if over := len(b.early) - maxEvents; over > 0 {
			b.early = b.early[over:]
		}
	}
	for l := range b.listeners {
		if len(l.queue)+len(events) > maxEvents {
			l.ended = true
			delete(b.listeners, l)
		} else {
			l.queue = append(l.queue, events...)
		}
		signal(l.bell)
	}
}

func (b *broadcaster) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for l := range b.listeners {
		l.ended = true
		delete(b.listeners, l)
		signal(l.bell)
	}
}

func (b *broadcaster) listen() *listener {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := &listener{bell: make(chan struct{}, 1), ended: b.closed}
	if !b.started {
		b.started = true
		l.queue, b.early = b.early, nil
	}
	if !b.closed {
		b.listeners[l] = struct{}{}
	}
	signal(l.bell)
	return l
}

func (b *broadcaster) take(l *listener) (queue []Event, ended bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	queue, l.queue = l.queue, nil
	return queue, l.ended
}

func (b *broadcaster) leave(l *listener) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.listeners, l)
}

// Events gives what happens from the call on, and to the first caller also what
// happened since Open. The sequence ends when ctx does, when the Client is
// closed, or when the caller is 10,000 events behind; [Client.Messages] knows
// what was missed. It can be ranged over once.
func (c *Client) Events(ctx context.Context) iter.Seq[Event] {
	l := c.events.listen()
	return func(yield func(Event) bool) {
		defer c.events.leave(l)
		for {
			select {
			case <-ctx.Done():
				return
			case <-l.bell:
			}
			queue, ended := c.events.take(l)
			for _, e := range queue {
				if ctx.Err() != nil || !yield(e) {
					return
				}
			}
			if ended {
				return
			}
		}
	}
}
