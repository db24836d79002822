package story

import (
	"context"
	"fmt"
	"sync"
	"time"

	"hubbub/client"
	"hubbub/mimi"
)

// patience is how long the story waits for something that must follow.
const patience = 20 * time.Second

// poll is how often a condition is looked at when no event says that something
// changed.
const poll = 25 * time.Millisecond

// device is one client of a person, with everything it was told so far.
type device struct {
	*client.Client
	name string // "Bob", or "Bob's laptop"
	dir  string

	cancel context.CancelFunc
	ended  chan struct{}

	mu      sync.Mutex
	events  []client.Event
	changed chan struct{} // closed and replaced at each event
}

// openDevice opens a device and listens to it until close.
func openDevice(name, dir string) (*device, error) {
	ctx, cancel := context.WithCancel(context.Background())
	c, err := client.Open(ctx, dir, nil)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("opening %s's client: %w", name, err)
	}
	d := &device{Client: c, name: name, dir: dir, cancel: cancel,
		ended: make(chan struct{}), changed: make(chan struct{})}
	events := c.Events(ctx)
	go func() {
		defer close(d.ended)
		for ev := range events {
			d.mu.Lock()
			d.events = append(d.events, ev)
			close(d.changed)
			d.changed = make(chan struct{})
			d.mu.Unlock()
		}
	}()
	return d, nil
}

func (d *device) close() error {
	err := d.Client.Close()
	d.cancel()
	<-d.ended
	return err
}

// seen is what the device was told so far.
func (d *device) seen() ([]client.Event, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.events, d.changed
}

// until waits until ok says so. ok is asked again after each event of the
// device and every now and then; its error is kept for the report of a wait in
// vain, because what fails now may work in a moment.
func (d *device) until(ctx context.Context, what string, ok func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		_, changed := d.seen()
		done, err := ok()
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			if err != nil {
				return fmt.Errorf("%s waited %s in vain for %s: %w", d.name, patience, what, err)
			}
			return fmt.Errorf("%s waited %s in vain for %s", d.name, patience, what)
		case <-changed:
		case <-tick.C:
		}
	}
}

// untilEvent waits for an event that match approves, old ones included.
func untilEvent[E client.Event](ctx context.Context, d *device, what string, match func(E) bool) (E, error) {
	var found E
	err := d.until(ctx, what, func() (bool, error) {
		events, _ := d.seen()
		for _, ev := range events {
			if e, ok := ev.(E); ok && match(e) {
				found = e
				return true, nil
			}
		}
		return false, nil
	})
	return found, err
}

// message finds a message of a room in the device's own copy.
func (d *device) message(ctx context.Context, room mimi.RoomURI, id client.MessageID) (*client.Message, error) {
	all, err := d.messages(ctx, room)
	if err != nil {
		return nil, err
	}
	for i := range all {
		if all[i].ID == id {
			return &all[i], nil
		}
	}
	return nil, nil
}

// messages is the device's whole own copy of a room.
func (d *device) messages(ctx context.Context, room mimi.RoomURI) ([]client.Message, error) {
	return d.Messages(ctx, room, 0, 10_000)
}

// untilMessage waits until the device's own copy holds the message in a state
// that accept approves, and returns it.
func (d *device) untilMessage(ctx context.Context, room mimi.RoomURI, id client.MessageID, what string,
	accept func(client.Message) bool) (client.Message, error) {
	var found client.Message
	err := d.until(ctx, what, func() (bool, error) {
		m, err := d.message(ctx, room, id)
		if m == nil || !accept(*m) {
			return false, err
		}
		found = *m
		return true, nil
	})
	return found, err
}

// states lists the states of an own message in the order the device was told.
func (d *device) states(id client.MessageID, first client.State) []client.State {
	states := []client.State{first}
	events, _ := d.seen()
	for _, ev := range events {
		c, ok := ev.(client.MessageChanged)
		if ok && c.Message.ID == id && c.Message.State != states[len(states)-1] {
			states = append(states, c.Message.State)
		}
	}
	return states
}
