package provider

import (
	"context"
	"errors"
	"net/http"

	"hubbub/client/clientpb"
	"hubbub/internal/api"
	"hubbub/internal/follower"
	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// successions lets the operator take a hub's log in place of a frozen copy.
type successions struct {
	follower *follower.Follower
	notifier *api.Notifier
}

func (s *successions) CompareRoom(ctx context.Context, uri mimi.RoomURI) (*clientpb.CompareRoomResponse, error) {
	rift, err := s.follower.Compare(ctx, uri)
	if err != nil {
		return nil, noWayTo(uri, err)
	}
	out := &clientpb.CompareRoomResponse{Frozen: rift.Frozen, Here: placePB(rift.Here)}
	if rift.There != (room.Pos{}) {
		out.There = placePB(rift.There)
	}
	if rift.Agreed.Seq > 0 {
		out.Agreed = placePB(rift.Agreed)
	}
	return out, nil
}

// ReplaceRoom also has the devices that read the old copy begin anew: what they were
// sent last may not be followed by what comes next.
func (s *successions) ReplaceRoom(ctx context.Context, uri mimi.RoomURI, frozen, reason string) (*clientpb.ReplaceRoomResponse, error) {
	done, err := s.follower.Replace(ctx, uri, frozen, reason)
	if done == nil {
		return nil, noWayTo(uri, err)
	}
	out := &clientpb.ReplaceRoomResponse{Former: string(done.Former), Head: placePB(done.Reached), Agreed: placePB(done.Agreed)}
	if err != nil {
		out.Unfinished = noWayTo(uri, err).Error()
	}
	for _, c := range done.Clients {
		out.Clients = append(out.Clients, string(c))
		s.notifier.Restart(c)
	}
	return out, nil
}

// noWayTo says in words why a room's hub could not be asked.
func noWayTo(uri mimi.RoomURI, err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return mimi.NewProblem(http.StatusNotFound, mimi.CodeNoSuchRoom, "no such room")
	}
	return unreachable(uri.Domain(), err)
}

func placePB(p room.Pos) *clientpb.Position { return &clientpb.Position{Seq: p.Seq, Hash: p.Hash[:]} }
