package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hubbub/client/clientpb"
	"hubbub/mimi"
)

// ErrReplaced says that the provider has replaced its copy of a room by the hub's,
// and that this device has read what the hub's log does not have. It goes on with
// [Client.Join].
var ErrReplaced = errors.New("client: the copy of the room was replaced")

// FormerCopy is a copy of a room's log that the provider has replaced by the hub's,
// because its operator decided so. [Client.Log] reads it by its name.
type FormerCopy struct {
	Room   mimi.RoomURI // the name it is kept under
	Pos    Pos          // where it ends
	Agreed uint64       // Seq of the last entry that the hub's log has as well; 0 = none that is known of
	At     time.Time
	Reason string // the operator's
	// Evidence are two checkpoints of the hub that cannot both be true, if it signed
	// such.
	Evidence []byte
}

func formerCopies(list []*clientpb.FormerCopy) (out []FormerCopy) {
	for _, f := range list {
		out = append(out, FormerCopy{Room: mimi.RoomURI(f.GetRoom()), Pos: position(f.GetHead()), Agreed: f.GetAgreed(),
			At: time.UnixMilli(int64(f.GetReplacedAt())), Reason: f.GetReason(), Evidence: f.GetEvidence()})
	}
	return out
}

// checkFormer finds out whether this device has read what only a copy had that was
// replaced since. Then the room becomes suspicious, with that as the cause.
func (c *Client) checkFormer(ctx context.Context, room mimi.RoomURI, list []FormerCopy) error {
	if len(list) == 0 {
		return nil
	}
	c.mu.Lock()
	var pos Pos
	var distrusted bool
	if r := c.rooms[room]; r != nil && r.positioned && r.phase == phaseMember {
		pos, distrusted = r.pos, r.suspicious != ""
	}
	c.mu.Unlock()
	for _, f := range list {
		if pos.Seq <= f.Agreed || pos.Seq > f.Pos.Seq {
			continue
		}
		if there, err := c.inLog(ctx, room, pos); there || err != nil {
			return err
		}
		there, err := c.inLog(ctx, f.Room, pos)
		if err != nil {
			return err
		}
		if there || pos == f.Pos || distrusted {
			return c.replaced(room, pos, f)
		}
	}
	return nil
}

// inLog says whether a log of the provider's leads through a place.
func (c *Client) inLog(ctx context.Context, room mimi.RoomURI, pos Pos) (bool, error) {
	list, err := c.Log(ctx, room, pos.Seq-1, 1)
	return err == nil && len(list) == 1 && list[0].Seq == pos.Seq && list[0].Hash == pos.Hash, err
}

// replaced stops processing a room at a place that is in no log any more.
func (c *Client) replaced(room mimi.RoomURI, at Pos, f FormerCopy) error {
	return c.step(func(b *batch) error {
		r := b.room(room)
		cause := fmt.Errorf("%w by %s: the hub's log differs from what this device has read after entry %d; join the chat again to go on",
			ErrReplaced, b.c.domain, f.Agreed)
		if r == nil || r.pos != at || r.suspicious == cause.Error() {
			return nil
		}
		return b.distrust(r, at.Seq, cause)
	})
}
