package client

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"hubbub/mimi"
)

// LocalRooms lists the rooms of this device from its own copy, by URI, without
// asking anybody: what [Client.Rooms] is for while the provider is down. What only
// the provider knows, such as how a hub is doing, is missing; AsOf says how old
// the copy may be. Errors: [ErrClosed], one of the disk.
func (c *Client) LocalRooms(ctx context.Context) ([]RoomInfo, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fatal != nil {
		return nil, c.fatal
	}
	asOf, err := c.syncedAt()
	if err != nil {
		return nil, err
	}
	out := []RoomInfo{}
	for _, r := range c.rooms {
		info, err := c.localRoom(r)
		if err != nil {
			return nil, err
		}
		info.AsOf = asOf
		out = append(out, info)
	}
	slices.SortFunc(out, func(a, b RoomInfo) int { return compareURIs(a.Room, b.Room) })
	return out, nil
}

func compareURIs(a, b mimi.RoomURI) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// localRoom describes a room from what the device holds. mu is held.
func (c *Client) localRoom(r *room) (RoomInfo, error) {
	info := RoomInfo{Room: r.uri, Name: c.nameOf(r), Hub: r.uri.Domain(), Pos: r.pos, Member: r.phase == phaseMember,
		Participant: r.phase == phaseKnown, Suspicious: r.suspicious, Missed: r.missed}
	if err := c.db.QueryRow("SELECT COUNT(*) FROM message WHERE room = ? AND mine = 1 AND kind <> 4 AND state IN ('sending', 'queued')", string(r.uri)).
		Scan(&info.Queued); err != nil {
		return info, fmt.Errorf("reading rooms: %w", err)
	}
	if r.group == nil {
		return info, nil
	}
	info.Epoch = r.group.Epoch()
	list, err := r.participants()
	if err != nil {
		return info, nil // a room that broke is listed all the same
	}
	for _, p := range list.Participants {
		info.Participants = append(info.Participants, Participant{User: p.User, Role: p.Role})
		info.Participant = info.Participant || p.User == c.user
	}
	return info, nil
}

// nameOf is what people call a room, or called it when this device was in its
// group. mu is held.
func (c *Client) nameOf(r *room) string {
	if r.group != nil || c.db == nil {
		return r.name()
	}
	name, err := getKey(c.db, keyName+string(r.uri))
	if err != nil {
		return ""
	}
	return string(name)
}

// syncedAt is when the device last was in step with its provider, zero if never.
func (c *Client) syncedAt() (time.Time, error) {
	b, err := getKey(c.db, keySynced)
	if err != nil || b == nil {
		return time.Time{}, err
	}
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("device state: %w", err)
	}
	return time.UnixMilli(n), nil
}
