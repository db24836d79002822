package devenv

import (
	"context"

	"connectrpc.com/connect"

	"hubbub/client/clientpb"
	"hubbub/mimi"
)

// CompareRoom asks where a provider's frozen copy of a room and its hub's log part.
func (a *Admin) CompareRoom(ctx context.Context, room mimi.RoomURI) (*clientpb.CompareRoomResponse, error) {
	r, err := a.rpc.CompareRoom(ctx, connect.NewRequest(&clientpb.CompareRoomRequest{Room: string(room)}))
	if err != nil {
		return nil, refusal(err)
	}
	return r.Msg, nil
}

// ReplaceRoom has a provider take the hub's log in place of its copy, which is frozen
// for the reason given.
func (a *Admin) ReplaceRoom(ctx context.Context, room mimi.RoomURI, frozen, reason string) (*clientpb.ReplaceRoomResponse, error) {
	r, err := a.rpc.ReplaceRoom(ctx, connect.NewRequest(&clientpb.ReplaceRoomRequest{Room: string(room), Frozen: frozen, Reason: reason}))
	if err != nil {
		return nil, refusal(err)
	}
	return r.Msg, nil
}
