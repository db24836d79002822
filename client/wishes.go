package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"hubbub/mimi"
	"hubbub/mimi/policy"
	"hubbub/mls"
)

// ErrDeclined: the room's policy goes against the user's [RoomWishes]; the text says how.
var ErrDeclined = errors.New("client: the room is not as this user wants rooms to be")

// RoomWishes are what a user does not want of rooms (POL-58). The zero value wants for
// nothing. They are kept with the device.
type RoomWishes struct {
	NoLogging bool `json:"no_logging,omitempty"` // messages are not logged, and logging is not required
	NoBots    bool `json:"no_bots,omitempty"`    // no bots are allowed
	NoHistory bool `json:"no_history,omitempty"` // what was written before is not shown to newcomers
}

// keyWishes holds the RoomWishes.
const keyWishes = "wishes"

// Against says in words what of a room's policy goes against wishes; nothing if all is well.
func (p *RoomPolicy) Against(w RoomWishes) []string {
	var out []string
	if l := p.Logging; w.NoLogging && l != nil && (l.Active() || l.Logging == policy.Required) {
		out = append(out, "its messages are logged by "+strings.Join(l.Clients, ", "))
	}
	if b := p.Bots; w.NoBots && b != nil && len(b.Allowed) > 0 {
		out = append(out, fmt.Sprintf("it lets in %d bots", len(b.Allowed)))
	}
	if h := p.History; w.NoHistory && h != nil && h.Sharing != policy.Forbidden && h.MaxAge > 0 {
		out = append(out, "what is written in it may be shown to newcomers")
	}
	return out
}

func (c *Client) loadRoomWishes() error {
	b, err := getKey(c.db, keyWishes)
	if b == nil || err != nil {
		return err
	}
	if err := json.Unmarshal(b, &c.wishes); err != nil {
		return fmt.Errorf("device state: %w", err)
	}
	return nil
}

// RoomWishes gives the wishes of this device; at first there are none.
func (c *Client) RoomWishes() RoomWishes {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wishes
}

// SetRoomWishes changes the wishes of this device. [Client.Join] and [Client.JoinByLink] do
// not enter a room that goes against them, and one into which somebody else brings this
// device is left again at once, by [Client.Leave] and so by the user with all devices; if
// the device ends before that is done, or the room lets nobody leave, it stays in the room.
// Rooms the device is in already are not left. Errors: [ErrClosed], one of the disk.
func (c *Client) SetRoomWishes(w RoomWishes) error {
	v, err := json.Marshal(w)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.stepLocked(func(b *batch) error { return putKey(b.tx, keyWishes, v) }); err != nil {
		return err
	}
	c.wishes = w
	return nil
}

// unwanted says what of a group's policy goes against the wishes. mu is held.
func (c *Client) unwanted(uri mimi.RoomURI, g *mls.PublicGroup) ([]string, error) {
	if c.wishes == (RoomWishes{}) {
		return nil, nil
	}
	s, err := policy.StateOf(uri, g)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSuspicious, err)
	}
	p, err := readPolicy(s)
	if err != nil {
		return nil, err
	}
	return p.Against(c.wishes), nil
}

// decline leaves a room into which somebody has brought this device. mu is held.
func (b *batch) decline(uri mimi.RoomURI, why []string) {
	c := b.c
	b.emit(RoomDeclined{Room: uri, Why: why})
	c.wg.Go(func() {
		ctx, cancel := context.WithTimeout(c.ctx, 10*time.Minute)
		defer cancel()
		c.Leave(ctx, uri) // what becomes of it is seen as after every Leave
	})
}

// RoomDeclined says that this device leaves a room again, into which somebody had brought
// it, as its policy goes against the user's [RoomWishes].
type RoomDeclined struct {
	Room mimi.RoomURI
	Why  []string // in words
}

func (RoomDeclined) isEvent() {}
