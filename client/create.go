package client

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"connectrpc.com/connect"

	"hubbub/client/clientpb"
	"hubbub/mimi"
	"hubbub/mimi/policy"
	"hubbub/mls"
	"hubbub/mls/wire"
)

// RoomOptions describe a new room.
type RoomOptions struct {
	Name    string // shown to people; up to 256 octets of UTF-8
	Members []mimi.UserURI
	// Policy names the rules it starts with: "default" (or empty), or one of the other
	// names of [policy.Presets].
	Policy string
	// Orgs are the providers whose users a room of policy "multi-org" is for, the own
	// one first; empty = the own one and those of Members.
	Orgs []mimi.Domain
	// Franking has the hub vouch for each message to those who receive it, so that one that
	// is reported is proved, see [Client.Report]. It cannot be changed later, costs the hub
	// and each receiver a signature per message, and keeps out clients that do not know it.
	Franking bool
}

const maxNameBytes = 256

// CreateRoom makes a room hosted by the own provider and adds its members as
// [Client.AddUsers] does, whose results and errors it gives. The caller becomes
// its admin. If the room was made but adding failed, the room is given together
// with the error.
//
// Errors besides: [ErrBadArgument], an *[Error], ctx's.
func (c *Client) CreateRoom(ctx context.Context, o RoomOptions) (mimi.RoomURI, []AddResult, error) {
	if len(o.Name) > maxNameBytes {
		return "", nil, fmt.Errorf("%w: a room's name has at most %d octets", ErrBadArgument, maxNameBytes)
	}
	var id [16]byte
	rand.Read(id[:])
	uri, err := mimi.NewRoom(c.domain, hex.EncodeToString(id[:]))
	if err != nil {
		return "", nil, err
	}
	if err := c.prepareRoom(uri, hex.EncodeToString(id[:]), o); err != nil {
		return "", nil, err
	}
	if err := c.announceRoom(ctx, uri); err != nil {
		return "", nil, err
	}
	if len(o.Members) == 0 {
		return uri, nil, nil
	}
	results, err := c.AddUsers(ctx, uri, o.Members...)
	return uri, results, err
}

// orgs are the providers a room is for.
func (c *Client) orgs(o RoomOptions) []mimi.Domain {
	if len(o.Orgs) > 0 {
		return o.Orgs
	}
	list := []mimi.Domain{c.domain}
	for _, u := range o.Members {
		if !slices.Contains(list, u.Domain()) {
			list = append(list, u.Domain())
		}
	}
	return list
}

// prepareRoom makes the room's group and stores it before anybody hears of it.
func (c *Client) prepareRoom(uri mimi.RoomURI, id string, o RoomOptions) error {
	template, err := policy.Preset(o.Policy, c.domain, c.orgs(o)...)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBadArgument, err)
	}
	var hub mls.ExternalSender
	if err := wire.Unmarshal(c.facts.Load().hubSender, &hub); err != nil {
		return fmt.Errorf("client: the provider's external sender: %w", err)
	}
	if o.Franking {
		template.Franking = &mimi.FrankingAgent{SignatureKey: hub.SignatureKey, Credential: hub.Credential}
	}
	extensions, err := template.Extensions(uri, o.Name, c.user, hub)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBadArgument, err)
	}
	gid, err := mimi.NewGroup(c.domain, id)
	if err != nil {
		return err
	}
	return c.step(func(b *batch) error {
		g, err := mls.NewGroup(mls.GroupOptions{GroupID: []byte(gid), Suite: suite, Signer: c.key, Credential: c.credential(),
			Extensions: extensions, LeafExtensions: mls.Extensions{policy.LeafExtension()}}, c.config)
		if err != nil {
			return fmt.Errorf("making group: %w", err)
		}
		r := b.newRoom(uri)
		r.phase, r.group, r.pos, r.positioned = phaseCreating, g, startPos(uri), true
		return nil
	})
}

// announceRoom makes the room at the provider. Repeating it is harmless, so a
// lost answer does not matter.
func (c *Client) announceRoom(ctx context.Context, uri mimi.RoomURI) error {
	c.mu.Lock()
	r := c.rooms[uri]
	c.mu.Unlock()
	if r == nil || r.phase != phaseCreating {
		return nil
	}
	gi, err := r.group.GroupInfo()
	if err != nil {
		return err
	}
	info, err := wire.Marshal(gi)
	if err != nil {
		return err
	}
	tree, err := wire.Marshal(r.group.Tree())
	if err != nil {
		return err
	}
	_, err = c.t.api.CreateRoom(ctx, connect.NewRequest(&clientpb.CreateRoomRequest{Room: string(uri), GroupInfo: info, RatchetTree: tree}))
	var refused *Error
	final := errors.As(err, &refused) && refused.Reason != "unavailable" && !passingReasons[refused.Reason]
	if err != nil && !final {
		return err // the chores try again
	}
	serr := c.step(func(b *batch) error {
		r := b.room(uri)
		switch {
		case r.phase != phaseCreating: // it was asked twice, and the other answer came first
		case final:
			r.phase, r.group = phaseOut, nil
		default:
			r.phase, r.announced = phaseMember, true
			b.emit(RoomAdded{Room: uri, Hub: c.domain, Member: true})
		}
		return nil
	})
	return errors.Join(err, serr)
}
