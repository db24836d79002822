package client

import (
	"context"
	"fmt"

	"hubbub/mimi"
)

// Resend posts a message of this device that was Rejected once more, say after
// the operators removed the cause, under the same ID and encrypted anew. When it
// returns the message is Sending, as after [Client.Send]. Who already has a message
// of that ID shows it once.
//
// Errors: [ErrBadArgument] (the message was not rejected, or is not of this
// device), [ErrUnknownMessage], [ErrUnknownRoom], [ErrNotMember], [ErrSuspicious].
func (c *Client) Resend(ctx context.Context, room mimi.RoomURI, id MessageID) (Message, error) {
	if err := ctx.Err(); err != nil {
		return Message{}, err
	}
	var m *Message
	err := c.step(func(b *batch) error {
		r := b.room(room)
		if err := r.member(); err != nil {
			return err
		}
		before, err := c.message(b.tx, room, id)
		if err != nil {
			return err
		}
		if before.State != Rejected || before.Device != c.uri {
			return fmt.Errorf("%w: only a rejected message of this device is sent again", ErrBadArgument)
		}
		if err := b.setState(room, id, "state = 'sending', reason = '', hash = NULL, tries = 0", "state = 'rejected' AND mine = 1"); err != nil {
			return err
		}
		if m, err = c.message(b.tx, room, id); err != nil {
			return err
		}
		b.encryptLater(r)
		return nil
	})
	if err != nil {
		return Message{}, err
	}
	return *m, nil
}
