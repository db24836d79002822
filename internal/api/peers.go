package api

import (
	"context"
	"errors"
	"net/http"

	"connectrpc.com/connect"

	"hubbub/client/clientpb"
	"hubbub/internal/room"
	"hubbub/mimi"
)

// Operations is what an operator may do to the way to other providers and to
// frozen rooms. Errors are *mimi.Problem for refusals, anything else is our own
// failure.
type Operations interface {
	// Peers says how the peers are doing; one of them, if it is named.
	Peers(ctx context.Context, only mimi.Domain) (*clientpb.ListPeersResponse, error)
	// TestPeer makes one round trip; what goes wrong on it is in the answer.
	TestPeer(ctx context.Context, peer mimi.Domain) (*clientpb.TestPeerResponse, error)
	// HoldPeer stops sending to a peer for as long as ResumePeer is not called.
	// ResumePeer also sets parked queues going, and says which.
	HoldPeer(ctx context.Context, peer mimi.Domain, reason string) error
	ResumePeer(ctx context.Context, peer mimi.Domain) (held bool, unparked []mimi.RoomURI, err error)
	// RetryPeer ends all waiting for the next attempt.
	RetryPeer(ctx context.Context, peer mimi.Domain) error
	// Thaw lets a room that is frozen for the reason given go on.
	Thaw(ctx context.Context, uri mimi.RoomURI, reason string) (room.Pos, error)
}

// maxReasonBytes bounds what an operator may note with a hold.
const maxReasonBytes = 200

// peerName reads the name of another provider.
func (s adminService) peerName(name string) (mimi.Domain, error) {
	peer, err := mimi.ParseDomain(name)
	if err != nil {
		return "", malformed("peer is not the domain of a provider")
	}
	if peer == s.Domain {
		return "", malformed("%s is this provider itself", peer)
	}
	return peer, nil
}

func (s adminService) operations() (Operations, error) {
	if s.Config.Operations == nil {
		return nil, refuse(connect.CodeUnimplemented, clientpb.Reason_REASON_UNAVAILABLE, "this provider has no such operation", "")
	}
	return s.Config.Operations, nil
}

// onPeer runs an operation on one peer.
func onPeer[T any](ctx context.Context, s adminService, name string, do func(Operations, mimi.Domain) (*T, error)) (*connect.Response[T], error) {
	peer, err := s.peerName(name)
	if err != nil {
		return nil, err
	}
	ops, err := s.operations()
	if err != nil {
		return nil, err
	}
	out, err := do(ops, peer)
	if err != nil {
		return nil, s.fromRole(ctx, err, "")
	}
	return connect.NewResponse(out), nil
}

func (s adminService) ListPeers(ctx context.Context, req *connect.Request[clientpb.ListPeersRequest]) (*connect.Response[clientpb.ListPeersResponse], error) {
	if req.Msg.Peer != "" {
		return onPeer(ctx, s, req.Msg.Peer, func(ops Operations, peer mimi.Domain) (*clientpb.ListPeersResponse, error) {
			out, err := ops.Peers(ctx, peer)
			if err == nil && len(out.Peers) == 0 {
				return nil, mimi.NewProblem(http.StatusNotFound, mimi.CodeNotFound, "nothing is known of %s: no room is shared with it", peer)
			}
			return out, err
		})
	}
	ops, err := s.operations()
	if err != nil {
		return nil, err
	}
	out, err := ops.Peers(ctx, "")
	if err != nil {
		return nil, s.fromRole(ctx, err, "")
	}
	return connect.NewResponse(out), nil
}

func (s adminService) TestPeer(ctx context.Context, req *connect.Request[clientpb.TestPeerRequest]) (*connect.Response[clientpb.TestPeerResponse], error) {
	return onPeer(ctx, s, req.Msg.Peer, func(ops Operations, peer mimi.Domain) (*clientpb.TestPeerResponse, error) {
		return ops.TestPeer(ctx, peer)
	})
}

func (s adminService) HoldPeer(ctx context.Context, req *connect.Request[clientpb.HoldPeerRequest]) (*connect.Response[clientpb.HoldPeerResponse], error) {
	if len(req.Msg.Reason) > maxReasonBytes {
		return nil, tooLarge("reason", maxReasonBytes)
	}
	return onPeer(ctx, s, req.Msg.Peer, func(ops Operations, peer mimi.Domain) (*clientpb.HoldPeerResponse, error) {
		return &clientpb.HoldPeerResponse{}, ops.HoldPeer(ctx, peer, req.Msg.Reason)
	})
}

func (s adminService) ResumePeer(ctx context.Context, req *connect.Request[clientpb.ResumePeerRequest]) (*connect.Response[clientpb.ResumePeerResponse], error) {
	return onPeer(ctx, s, req.Msg.Peer, func(ops Operations, peer mimi.Domain) (*clientpb.ResumePeerResponse, error) {
		held, unparked, err := ops.ResumePeer(ctx, peer)
		out := &clientpb.ResumePeerResponse{WasHeld: held}
		for _, uri := range unparked {
			out.Unparked = append(out.Unparked, string(uri))
		}
		return out, err
	})
}

func (s adminService) RetryPeer(ctx context.Context, req *connect.Request[clientpb.RetryPeerRequest]) (*connect.Response[clientpb.RetryPeerResponse], error) {
	return onPeer(ctx, s, req.Msg.Peer, func(ops Operations, peer mimi.Domain) (*clientpb.RetryPeerResponse, error) {
		return &clientpb.RetryPeerResponse{}, ops.RetryPeer(ctx, peer)
	})
}

func (s adminService) ThawRoom(ctx context.Context, req *connect.Request[clientpb.ThawRoomRequest]) (*connect.Response[clientpb.ThawRoomResponse], error) {
	uri, err := mimi.ParseRoom(req.Msg.Room)
	if err != nil {
		return nil, malformed("room is not a room URI")
	}
	ops, err := s.operations()
	if err != nil {
		return nil, err
	}
	head, err := ops.Thaw(ctx, uri, req.Msg.Reason)
	var p *mimi.Problem
	if errors.As(err, &p) && p.Status == http.StatusConflict {
		return nil, refuse(connect.CodeFailedPrecondition, clientpb.Reason_REASON_ROOM_FROZEN, p.Detail, "look at the room again")
	}
	if err != nil {
		return nil, s.fromRole(ctx, err, "")
	}
	return connect.NewResponse(&clientpb.ThawRoomResponse{Head: posPB(head)}), nil
}
