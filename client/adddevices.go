package client

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"hubbub/mimi"
	"hubbub/mimi/policy"
	"hubbub/mls"
)

// AddDevices brings the devices of a participant that are not in a room's group into it,
// with one commit, and waits until the hub has accepted it: this user's own further
// devices, which need not [Client.Join] then, or all devices of somebody of whom none is
// in the group, as after [Client.Kick] or when there were no KeyPackages (POL-41, D-59).
// Nobody's role changes. It uses up a KeyPackage of each of the user's devices. The result
// names those that are in the room through the commit, none if there was nothing to do, and
// in Missing those that could not be added.
//
// Errors: [ErrUnknownRoom], [ErrNotMember], [ErrNotParticipant], [ErrDenied] (such as:
// others bring their further devices in themselves), [ErrRejected], [ErrBusy], an *[Error],
// ctx's; after ctx ended the change may still happen.
func (c *Client) AddDevices(ctx context.Context, uri mimi.RoomURI, user mimi.UserURI) (AddResult, error) {
	unlock, err := c.lockRoom(ctx, uri)
	if err != nil {
		return AddResult{}, err
	}
	defer unlock()
	if err := c.settledRoom(ctx, uri); err != nil {
		return AddResult{}, err
	}
	result := AddResult{User: user}
	n := &newcomer{result: &result, present: true}
	n.claim(ctx, c, uri)
	if user == c.user { // one of this device's own was among them
		c.stockDue.Store(true)
		signal(c.kickChores)
	}
	if result.Err != nil {
		return result, result.Err
	}
	var commitErr error
	err = c.change(ctx, uri, func(r *room) (*mls.PendingCommit, error) {
		commit, err := addition(r, c.user, []*newcomer{n})
		commitErr = err
		return commit, err
	})
	if err = errors.Join(commitErr, err); err == nil {
		err = result.Err
	}
	if err != nil {
		result.Clients = nil
	}
	return result, err
}

// mayBring asks the policy whether a user may bring devices of a participant into the
// group; which ones does not matter to it.
func mayBring(s *policy.State, self, user mimi.UserURI) error {
	if !s.IsParticipant(user) {
		return fmt.Errorf("%w: %s", ErrNotParticipant, user.Handle())
	}
	any, err := mimi.NewClient(user, "any")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBadArgument, err)
	}
	return denied(s, self, policy.AddClient{Identity: mimi.Identity{User: user, Client: any}})
}

// inside lists the clients of the user that are in the group, for one who is present.
func (n *newcomer) inside(g *mls.PublicGroup) map[mimi.ClientURI]bool {
	if !n.present {
		return nil
	}
	in := map[mimi.ClientURI]bool{}
	for _, leaf := range leavesOf(g, n.result.User) {
		if id, err := mimi.ClaimedIdentity(&g.Leaf(leaf).Credential); err == nil {
			in[id.Client] = true
		}
	}
	return in
}

// without drops what was claimed for clients that have come in by themselves meanwhile.
func (n *newcomer) without(inside map[mimi.ClientURI]bool) {
	n.packages = slices.DeleteFunc(n.packages, func(kp *mls.KeyPackage) bool {
		id, err := mimi.ClaimedIdentity(&kp.LeafNode.Credential)
		return err != nil || inside[id.Client]
	})
	n.result.Clients = slices.DeleteFunc(n.result.Clients, func(u mimi.ClientURI) bool { return inside[u] })
}
