package provider

import (
	"context"

	"hubbub/client/clientpb"
	"hubbub/internal/failpoint"
	"hubbub/internal/follower"
	"hubbub/internal/room"
	"hubbub/mimi"
)

// replicas takes what devices bring of rooms whose hubs offer no snapshot.
type replicas struct{ follower *follower.Follower }

var broughtStates = map[follower.Standing]clientpb.BroughtState{
	follower.Judged:     clientpb.BroughtState_BROUGHT_STATE_JUDGED,
	follower.Kept:       clientpb.BroughtState_BROUGHT_STATE_KEPT,
	follower.TreeWanted: clientpb.BroughtState_BROUGHT_STATE_TREE_WANTED,
}

func (r replicas) Bring(ctx context.Context, by mimi.ClientURI, in *room.Brought) (clientpb.BroughtState, error) {
	failpoint.Hit("api.bring", "")
	standing, err := r.follower.Bring(ctx, by, in)
	failpoint.Hit("api.brought", "")
	return broughtStates[standing], err
}
