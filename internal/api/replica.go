package api

import (
	"context"
	"net/http"

	"connectrpc.com/connect"

	"hubbub/client/clientpb"
	"hubbub/internal/room"
	"hubbub/mimi"
)

// Replicas is how a provider learns from devices what rooms are. Errors are
// *mimi.Problem for refusals, anything else is our own failure.
type Replicas interface {
	// Bring takes what a client knows of a room of another hub.
	Bring(ctx context.Context, by mimi.ClientURI, in *room.Brought) (clientpb.BroughtState, error)
}

// replicaService serves ReplicaService.
type replicaService struct{ *Server }

func (s *Server) handleReplicas(mux *http.ServeMux, options ...connect.HandlerOption) {
	if s.Replicas != nil {
		mux.Handle(clientpb.NewReplicaServiceHandler(replicaService{s}, options...))
	}
}

// maxWaiting bounds the proposals that are brought along.
const maxWaiting = 1000

func (s replicaService) BringState(ctx context.Context, req *connect.Request[clientpb.BringStateRequest]) (*connect.Response[clientpb.BringStateResponse], error) {
	uri, err := mimi.ParseRoom(req.Msg.Room)
	switch {
	case err != nil:
		return nil, malformed("room is not a room URI")
	case len(req.Msg.GroupInfo) > maxBodyBytes:
		return nil, tooLarge("group_info", maxBodyBytes)
	case len(req.Msg.RatchetTree) > maxBodyBytes:
		return nil, tooLarge("ratchet_tree", maxBodyBytes)
	case len(req.Msg.Waiting) > maxWaiting:
		return nil, tooMany("waiting", maxWaiting)
	}
	in := &room.Brought{Room: uri, GroupInfo: req.Msg.GroupInfo, Tree: req.Msg.RatchetTree}
	size := 0
	for _, p := range req.Msg.Waiting {
		if size += len(p.Message); size > maxBodyBytes {
			return nil, tooLarge("waiting", maxBodyBytes)
		}
		in.Pending = append(in.Pending, room.Pending{Message: p.Message, Timestamp: p.Timestamp})
	}
	if len(in.Tree) > 0 { // checking it takes as long as checking a room that is made
		if p := s.Limits.Rooms.Take(caller(ctx).User, 1); p != nil {
			return nil, s.fromRole(ctx, p, "")
		}
	}
	state, err := s.Replicas.Bring(ctx, caller(ctx).URI, in)
	if err != nil {
		return nil, s.fromRole(ctx, err, "")
	}
	return connect.NewResponse(&clientpb.BringStateResponse{State: state}), nil
}
