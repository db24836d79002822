package load

import (
	"context"

	"hubbub/client/clientpb"
	"hubbub/mimi"
)

// Room asks the device's provider how it holds a room.
func (d *Device) Room(ctx context.Context, room mimi.RoomURI) (*clientpb.Room, error) {
	res, err := d.api.GetRoom(ctx, request(d, &clientpb.GetRoomRequest{Room: string(room)}))
	if err != nil {
		return nil, err
	}
	return res.Msg.GetRoom(), nil
}

// Log reads all entries of a room after a Seq from the device's provider.
func (d *Device) Log(ctx context.Context, room mimi.RoomURI, after uint64) ([]*clientpb.Entry, error) {
	var out []*clientpb.Entry
	for {
		res, err := d.api.GetLog(ctx, request(d, &clientpb.GetLogRequest{Room: string(room), After: after}))
		if err != nil {
			return nil, err
		}
		out = append(out, res.Msg.GetEntries()...)
		if after = res.Msg.GetNext(); !res.Msg.GetMore() {
			return out, nil
		}
	}
}
