package main

import (
	"context"
	"testing"

	"hubbub/client"
)

// Events from before anybody listens are kept, and a listener that leaves takes
// nothing from the next one.
func TestSessionKeepsEvents(t *testing.T) {
	s := &session{bell: make(chan struct{}, 1), online: make(chan struct{})}
	s.put(client.Disconnected{})
	s.put(client.Connected{})
	select {
	case <-s.online:
	default:
		t.Fatal("a device that heard of its provider is still waited for")
	}
	ctx, cancel := context.WithCancel(t.Context())
	var got []client.Event
	for ev := range s.Events(ctx) {
		if got = append(got, ev); len(got) == 2 {
			s.put(client.RoomAdded{})
		}
		if len(got) == 3 {
			break
		}
	}
	if _, ok := got[2].(client.RoomAdded); !ok {
		t.Errorf("events: %v", got)
	}
	cancel()
	for range s.Events(ctx) {
		t.Error("an event came twice")
	}
}
