package client

import (
	"context"
	"fmt"
	"slices"

	"hubbub/mimi"
	"hubbub/mimi/policy"
	"hubbub/mls"
	"hubbub/mls/wire"
)

// Role is one role of a room: what those who hold it may do (mimi-room-policy-03).
type Role struct {
	Index       uint32
	Name        string // of the room's own choosing, such as "member"
	Description string // for people; may be empty
	// Rights are the names of its capabilities, such as "canSendMessage".
	Rights []string
}

// Roles lists the roles of a room by index, as this device knows them. Index 0 is
// of those who are not in the room, index 1 of the banned where the room has bans.
//
// Errors: [ErrUnknownRoom], [ErrNotMember].
func (c *Client) Roles(uri mimi.RoomURI) ([]Role, error) {
	c.mu.Lock()
	r := c.rooms[uri]
	c.mu.Unlock()
	if err := r.held(); err != nil {
		return nil, err
	}
	data, ok := r.group.Public().Dictionary().Get(mimi.ComponentRolesList)
	if !ok {
		return nil, fmt.Errorf("%w: no roles in the group", ErrSuspicious)
	}
	list, err := policy.ParseRoleData(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSuspicious, err)
	}
	out := make([]Role, len(list.Roles))
	for i := range list.Roles {
		have := &list.Roles[i]
		out[i] = Role{Index: have.Index, Name: have.Name, Description: have.Description}
		for _, right := range have.Capabilities {
			out[i].Rights = append(out[i].Rights, right.String())
		}
	}
	slices.SortFunc(out, func(a, b Role) int { return int(int64(a.Index) - int64(b.Index)) })
	return out, nil
}

// policyOf is the room by which changes are judged: with all that is pending.
func (r *room) policyOf() (*policy.State, error) {
	return policy.EffectiveState(r.uri, r.group.Public())
}

// denied asks the room's policy before anything is built or sent; nil allows it. The
// hub asks the same, but a refusal that can be known here needs no hub.
func denied(s *policy.State, self mimi.UserURI, changes ...policy.Change) error {
	if d := policy.Ask(s, asUser(self), changes...); !d.Allowed {
		return fmt.Errorf("%w: %s", ErrDenied, d.Explain())
	}
	return nil
}

// asUser is this user as its room sees it: devices have X.509 credentials.
func asUser(u mimi.UserURI) policy.Actor {
	return policy.Actor{User: u, Credential: mls.CredentialTypeX509}
}

// alter makes one change of a room that the policy is asked about first. build names
// the change and the proposals that make it.
func (c *Client) alter(ctx context.Context, uri mimi.RoomURI, build func(r *room, s *policy.State) ([]policy.Change, []mls.Proposal, error)) error {
	unlock, err := c.lockRoom(ctx, uri)
	if err != nil {
		return err
	}
	defer unlock()
	return c.change(ctx, uri, func(r *room) (*mls.PendingCommit, error) {
		s, err := r.policyOf()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrSuspicious, err)
		}
		changes, proposals, err := build(r, s)
		if err != nil || len(proposals) == 0 {
			return nil, err
		}
		if err := denied(s, c.user, changes...); err != nil {
			return nil, err
		}
		return r.group.Commit(mls.CommitOptions{Proposals: proposals})
	})
}

// SetRole gives a user of a room another role and waits until the hub has accepted
// it. Role is a role's name as the room has it, see [Client.Roles]; one's own role
// can be changed only to one the room has in store for the user. The banned role is
// for [Client.Ban].
//
// Errors: [ErrUnknownRoom], [ErrNotMember], [ErrNotParticipant], [ErrBadArgument]
// (no such role), [ErrDenied], [ErrRejected], [ErrBusy], ctx's; after ctx ended the
// change may still happen.
func (c *Client) SetRole(ctx context.Context, uri mimi.RoomURI, user mimi.UserURI, role string) error {
	return c.alter(ctx, uri, func(r *room, s *policy.State) ([]policy.Change, []mls.Proposal, error) {
		for i := range s.Roles.Roles {
			if have := &s.Roles.Roles[i]; have.Name == role && have.Index != policy.Outside && have.Index != policy.Banned {
				return r.roleChange(s, user, have.Index)
			}
		}
		return nil, nil, fmt.Errorf("%w: the room has no role %q", ErrBadArgument, role)
	})
}

// Ban takes all devices of a user out of a room and keeps the user out: it stays
// listed as banned and can neither be added nor join. It waits until the hub has
// accepted it.
//
// Errors: as for [Client.SetRole].
func (c *Client) Ban(ctx context.Context, uri mimi.RoomURI, user mimi.UserURI) error {
	return c.alter(ctx, uri, func(r *room, s *policy.State) ([]policy.Change, []mls.Proposal, error) {
		changes, proposals, err := r.roleChange(s, user, policy.Banned)
		if err != nil || len(proposals) == 0 {
			return nil, nil, err
		}
		removals, removes := r.outOfGroup(user)
		return append(changes, removals...), append(proposals, removes...), nil
	})
}

// Unban ends a user's ban: it gets the lowest role the caller may give, and its
// devices can [Client.Join] again where that role may add own devices. It waits until
// the hub has accepted it.
//
// Errors: as for [Client.SetRole]; [ErrNotParticipant] for one who is not banned.
func (c *Client) Unban(ctx context.Context, uri mimi.RoomURI, user mimi.UserURI) error {
	return c.alter(ctx, uri, func(r *room, s *policy.State) ([]policy.Change, []mls.Proposal, error) {
		if s.Participants.Role(user) != policy.Banned {
			return nil, nil, fmt.Errorf("%w: %s is not banned", ErrNotParticipant, user.Handle())
		}
		var lowest *policy.Role
		for i := range s.Roles.Roles {
			to := &s.Roles.Roles[i]
			if to.Index > policy.Banned && (lowest == nil || to.Index < lowest.Index) && s.Role(c.user).MayMove(policy.Banned, to.Index) {
				lowest = to
			}
		}
		if lowest == nil {
			return nil, nil, fmt.Errorf("%w: %s may not unban %s: role %s may give the banned no role",
				ErrDenied, c.user.Handle(), user.Handle(), s.Role(c.user).Name)
		}
		return r.roleChange(s, user, lowest.Index)
	})
}

// Kick takes all devices of a user out of a room and leaves the user in it: its
// devices may join again. It waits until the hub has accepted it. A user without
// devices in the room is kicked already.
//
// Errors: as for [Client.SetRole].
func (c *Client) Kick(ctx context.Context, uri mimi.RoomURI, user mimi.UserURI) error {
	return c.alter(ctx, uri, func(r *room, s *policy.State) ([]policy.Change, []mls.Proposal, error) {
		switch {
		case user == c.user:
			return nil, nil, fmt.Errorf("%w: use Leave to leave", ErrBadArgument)
		case !s.IsParticipant(user):
			return nil, nil, fmt.Errorf("%w: %s", ErrNotParticipant, user.Handle())
		}
		changes, proposals := r.outOfGroup(user)
		return changes, proposals, nil
	})
}

// Rename gives a room another name, of at most 256 octets of UTF-8, and waits until
// the hub has accepted it.
//
// Errors: as for [Client.SetRole].
func (c *Client) Rename(ctx context.Context, uri mimi.RoomURI, name string) error {
	if len(name) > maxNameBytes {
		return fmt.Errorf("%w: a room's name has at most %d octets", ErrBadArgument, maxNameBytes)
	}
	return c.alter(ctx, uri, func(r *room, s *policy.State) ([]policy.Change, []mls.Proposal, error) {
		meta := mimi.RoomMetaData{Room: uri}
		if s.Metadata != nil {
			meta = *s.Metadata
		}
		if meta.Name == name {
			return nil, nil, nil
		}
		meta.Name = name
		data, err := wire.Marshal(&meta)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: %w", ErrBadArgument, err)
		}
		return []policy.Change{policy.ChangeMetadata{To: &meta}}, []mls.Proposal{{Type: mls.ProposalTypeAppDataUpdate,
			AppDataUpdate: &mls.AppDataUpdate{Component: mimi.ComponentRoomMetadata, Op: mls.AppDataUpdateOpUpdate, Data: data}}}, nil
	})
}

// roleChange is the change of one user's role; nothing if the user has it. Indices
// are those of the list as committed.
func (r *room) roleChange(s *policy.State, user mimi.UserURI, role uint32) ([]policy.Change, []mls.Proposal, error) {
	list, err := r.participants()
	if err != nil {
		return nil, nil, err
	}
	i := list.Index(user)
	if i < 0 || s.Participants.Role(user) == policy.Outside {
		return nil, nil, fmt.Errorf("%w: %s", ErrNotParticipant, user.Handle())
	}
	if s.Participants.Role(user) == role {
		return nil, nil, nil
	}
	p, err := listUpdate(&mimi.ParticipantListUpdate{ChangedRoles: []mimi.RoleChange{{UserIndex: uint32(i), Role: role}}})
	return []policy.Change{policy.ChangeRole{User: user, Role: role}}, []mls.Proposal{p}, err
}

// outOfGroup is the removal of a user's clients.
func (r *room) outOfGroup(user mimi.UserURI) (changes []policy.Change, removes []mls.Proposal) {
	g := r.group.Public()
	for _, leaf := range leavesOf(g, user) {
		id, err := mimi.ClaimedIdentity(&g.Leaf(leaf).Credential)
		if err != nil {
			continue // leavesOf has read it
		}
		changes = append(changes, policy.RemoveClient{Identity: id})
		removes = append(removes, mls.Proposal{Type: mls.ProposalTypeRemove, Remove: &mls.Remove{Removed: leaf}})
	}
	return changes, removes
}
