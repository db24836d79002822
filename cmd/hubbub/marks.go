package main

import (
	"context"
	"time"

	"hubbub/client"
	"hubbub/mimi"
)

const (
	marksSoon  = 500 * time.Millisecond // after a message was posted
	marksLate  = 30 * time.Second       // between questions while a provider is away
	marksAtOne = 8                      // messages asked for at a time
	marksKept  = 256                    // messages followed at most
)

// marks follows own messages until every provider that they are for has them. It
// asks less and less often, and tells only what changed.
type marks struct {
	room   mimi.RoomURI
	ask    func(ctx context.Context, room mimi.RoomURI, seq uint64) (client.Delivery, error)
	posted chan client.Message
	told   chan marked
}

// marked is a message and how far it has come.
type marked struct {
	message  client.Message
	delivery client.Delivery
}

func newMarks(room mimi.RoomURI, ask func(context.Context, mimi.RoomURI, uint64) (client.Delivery, error)) *marks {
	return &marks{room: room, ask: ask, posted: make(chan client.Message, marksKept), told: make(chan marked)}
}

// follow takes a posted message; beyond what can be kept it is not followed.
func (k *marks) follow(m client.Message) {
	select {
	case k.posted <- m:
	default:
	}
}

// run asks until ctx ends.
func (k *marks) run(ctx context.Context) {
	var open []client.Message
	shown := map[client.MessageID]string{}
	pause := marksSoon
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-k.posted:
			if len(open) < marksKept {
				open = append(open, m)
			}
			pause = marksSoon
			timer.Reset(pause)
			continue
		case <-timer.C:
		}
		var left []client.Message
		for i, m := range open {
			if i < marksAtOne && k.settle(ctx, m, shown) {
				delete(shown, m.ID)
				continue
			}
			left = append(left, m)
		}
		open = left
		if pause = min(2*pause, marksLate); len(open) > 0 {
			timer.Reset(pause)
		}
	}
}

// settle asks for one message and says whether there is no more to ask.
func (k *marks) settle(ctx context.Context, m client.Message, shown map[client.MessageID]string) bool {
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	d, err := k.ask(asking, k.room, m.Seq)
	if err != nil {
		return false
	}
	if now := deliveryMarks(d); now != shown[m.ID] {
		shown[m.ID] = now
		select {
		case k.told <- marked{m, d}:
		case <-ctx.Done():
		}
	}
	return d.Complete()
}
