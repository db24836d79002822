package main

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hubbub/client"
	"hubbub/mimi"
)

// TestMarks: what changed is told once, questions become rare, and a message that
// everybody has is asked for no more. Nobody's silence becomes a mark.
func TestMarks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var mu sync.Mutex // held while what others look at is looked at or changed
		state, down, asked := client.Waiting, true, 0
		k := newMarks("mimi://a.localhost/r/x", func(_ context.Context, uri mimi.RoomURI, seq uint64) (client.Delivery, error) {
			mu.Lock()
			defer mu.Unlock()
			asked++
			if down {
				return client.Delivery{}, errors.New("no answer")
			}
			return client.Delivery{Room: uri, Seq: seq, Providers: []client.ProviderDelivery{
				{Provider: "a.localhost", Hub: true, State: client.Stored, StoredTo: 7},
				{Provider: "b.localhost", State: state, StoredTo: 6}, {Provider: "c.localhost", State: client.NotForIt}}}, nil
		})
		var told []string
		go func() {
			for {
				select {
				case x := <-k.told:
					mu.Lock()
					told = append(told, deliveryMarks(x.delivery))
					mu.Unlock()
				case <-ctx.Done():
					return
				}
			}
		}()
		go k.run(ctx)
		k.follow(client.Message{ID: client.MessageID{1}, Seq: 7})
		<-time.After(10 * time.Minute)
		synctest.Wait()
		mu.Lock()
		if len(told) != 0 || asked < 5 || asked > 30 {
			t.Errorf("while nobody answers: told %q, asked %d times in 10 minutes", told, asked)
		}
		down = false
		mu.Unlock()
		<-time.After(10 * time.Minute)
		mu.Lock()
		state = client.Stored
		mu.Unlock()
		<-time.After(time.Minute)
		synctest.Wait()
		mu.Lock()
		if want := "✓ a.localhost  … b.localhost|✓ a.localhost  ✓ b.localhost"; strings.Join(told, "|") != want {
			t.Errorf("told %q, want %q", told, want)
		}
		before := asked
		mu.Unlock()
		<-time.After(time.Hour)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if asked != before {
			t.Errorf("asked %d times for what everybody has", asked-before)
		}
	})
}

func TestDeliveryLine(t *testing.T) {
	now := time.UnixMilli(1_000_000)
	for want, p := range map[string]client.ProviderDelivery{
		"✓ stored by b.localhost": {Provider: "b.localhost", State: client.Stored, AsOf: now.Add(-time.Hour)},
		"… not yet at b.localhost, which has the chat up to Seq 3, as of 1h0m0s ago": {Provider: "b.localhost", State: client.Waiting, StoredTo: 3, AsOf: now.Add(-time.Hour)},
		"? b.localhost: unknown": {Provider: "b.localhost", State: client.Unknown},
		"✗ b.localhost does not get it: it joined later or had left": {Provider: "b.localhost", State: client.NotForIt},
	} {
		if mark, text := deliveryLine(p, now); mark+" "+text != want {
			t.Errorf("%q, want %q", mark+" "+text, want)
		}
	}
}
