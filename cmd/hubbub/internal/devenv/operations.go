package devenv

import (
	"context"

	"connectrpc.com/connect"

	"hubbub/client/clientpb"
	"hubbub/mimi"
)

// Peers says how the other providers are doing; one of them if it is named.
func (a *Admin) Peers(ctx context.Context, only mimi.Domain) (*clientpb.ListPeersResponse, error) {
	r, err := a.rpc.ListPeers(ctx, connect.NewRequest(&clientpb.ListPeersRequest{Peer: string(only)}))
	if err != nil {
		return nil, refusal(err)
	}
	return r.Msg, nil
}

// TestPeer makes one round trip to a peer.
func (a *Admin) TestPeer(ctx context.Context, peer mimi.Domain) (*clientpb.TestPeerResponse, error) {
	r, err := a.rpc.TestPeer(ctx, connect.NewRequest(&clientpb.TestPeerRequest{Peer: string(peer)}))
	if err != nil {
		return nil, refusal(err)
	}
	return r.Msg, nil
}

// HoldPeer stops sending to a peer.
func (a *Admin) HoldPeer(ctx context.Context, peer mimi.Domain, reason string) error {
	_, err := a.rpc.HoldPeer(ctx, connect.NewRequest(&clientpb.HoldPeerRequest{Peer: string(peer), Reason: reason}))
	return refusal(err)
}

// ResumePeer ends a hold and sets parked queues going.
func (a *Admin) ResumePeer(ctx context.Context, peer mimi.Domain) (*clientpb.ResumePeerResponse, error) {
	r, err := a.rpc.ResumePeer(ctx, connect.NewRequest(&clientpb.ResumePeerRequest{Peer: string(peer)}))
	if err != nil {
		return nil, refusal(err)
	}
	return r.Msg, nil
}

// RetryPeer ends all waiting for a peer.
func (a *Admin) RetryPeer(ctx context.Context, peer mimi.Domain) error {
	_, err := a.rpc.RetryPeer(ctx, connect.NewRequest(&clientpb.RetryPeerRequest{Peer: string(peer)}))
	return refusal(err)
}

// ThawRoom lets a room go on that is frozen for the reason given.
func (a *Admin) ThawRoom(ctx context.Context, room mimi.RoomURI, reason string) (*clientpb.Position, error) {
	r, err := a.rpc.ThawRoom(ctx, connect.NewRequest(&clientpb.ThawRoomRequest{Room: string(room), Reason: reason}))
	if err != nil {
		return nil, refusal(err)
	}
	return r.Msg.GetHead(), nil
}
