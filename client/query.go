package client

import (
	"context"
	"fmt"
	"time"

	"connectrpc.com/connect"

	"hubbub/client/clientpb"
	"hubbub/mimi"
)

// Rooms lists the rooms this user is or was in, as the own provider holds them.
// It needs the provider, not the rooms' hubs. Errors: an *[Error], ctx's.
func (c *Client) Rooms(ctx context.Context) ([]RoomInfo, error) {
	res, err := c.t.api.ListRooms(ctx, connect.NewRequest(&clientpb.ListRoomsRequest{}))
	if err != nil {
		return nil, err
	}
	out := make([]RoomInfo, 0, len(res.Msg.Rooms))
	for _, r := range res.Msg.Rooms {
		out = append(out, c.roomInfo(r))
	}
	return out, nil
}

// Room describes one room as the own provider holds it. It also holds the newest
// checkpoint of the hub against what this device processed; if they contradict
// each other the room becomes suspicious, and so it does if this device has read what
// only a copy had that was replaced ([ErrReplaced]). Errors:
// [ErrUnknownRoom] (also for rooms that are not this user's), an *[Error], ctx's.
func (c *Client) Room(ctx context.Context, room mimi.RoomURI) (RoomInfo, error) {
	res, err := c.t.api.GetRoom(ctx, connect.NewRequest(&clientpb.GetRoomRequest{Room: string(room)}))
	if err != nil {
		return RoomInfo{}, err
	}
	signed, err := c.checkSigned(ctx, room, res.Msg.Room.GetCheckpoint())
	if err != nil {
		return RoomInfo{}, err
	}
	former := formerCopies(res.Msg.Room.GetFormer())
	if err := c.checkFormer(ctx, room, former); err != nil {
		return RoomInfo{}, err
	}
	info := c.roomInfo(res.Msg.Room)
	info.Signed, info.Former = signed, former
	return info, nil
}

// roomInfo joins what the provider says with what only this device knows.
func (c *Client) roomInfo(p *clientpb.Room) RoomInfo {
	info := RoomInfo{
		Room: mimi.RoomURI(p.GetRoom()), Hub: mimi.Domain(p.GetHub()), Pos: position(p.GetHead()), Start: position(p.GetStart()),
		Epoch: p.GetEpoch(), Participant: p.GetParticipant(), Frozen: p.GetFrozen(), HubStatus: peerStatus(p.GetHubStatus()),
		Queued: int(p.GetQueued()),
	}
	info.NoProof = info.Start.counted(info.Room)
	info.Delivery = deliveries(p.GetDelivery(), info.Pos.Seq, c.opts.Now())
	for _, u := range p.GetParticipants() {
		info.Participants = append(info.Participants, Participant{User: mimi.UserURI(u.GetUser()), Role: u.GetRole()})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.rooms[info.Room]; r != nil {
		info.Name, info.Member = c.nameOf(r), r.phase == phaseMember
		info.Suspicious, info.Missed = r.suspicious, r.missed
	}
	return info
}

func position(p *clientpb.Position) Pos {
	pos := Pos{Seq: p.GetSeq()}
	copy(pos.Hash[:], p.GetHash())
	return pos
}

// History lists the changes of a room's membership that the own provider knows,
// oldest first. Who was removed sees it up to the removal. Errors:
// [ErrUnknownRoom], an *[Error], ctx's.
func (c *Client) History(ctx context.Context, room mimi.RoomURI) ([]Change, error) {
	res, err := c.t.api.GetHistory(ctx, connect.NewRequest(&clientpb.GetHistoryRequest{Room: string(room)}))
	if err != nil {
		return nil, err
	}
	out := make([]Change, 0, len(res.Msg.Changes))
	for _, h := range res.Msg.Changes {
		out = append(out, Change{Seq: h.GetSeq(), Timestamp: time.UnixMilli(int64(h.GetTimestamp())), Actor: mimi.UserURI(h.GetActor()),
			Action: h.GetAction(), User: mimi.UserURI(h.GetUser()), Client: mimi.ClientURI(h.GetClient()), Role: h.GetRole()})
	}
	return out, nil
}

// Log gives entries of a room's log with Seq > after, at most limit (0 = as many
// as the provider gives at once), as the own provider stores them: those since
// this device joined. Errors: [ErrUnknownRoom], [ErrBadArgument], an *[Error],
// ctx's.
func (c *Client) Log(ctx context.Context, room mimi.RoomURI, after uint64, limit int) ([]Entry, error) {
	if limit < 0 || limit > 1<<20 {
		return nil, fmt.Errorf("%w: limit", ErrBadArgument)
	}
	var out []Entry
	for {
		req := &clientpb.GetLogRequest{Room: string(room), After: after}
		if limit > 0 {
			req.Limit = uint32(limit - len(out))
		}
		res, err := c.t.api.GetLog(ctx, connect.NewRequest(req))
		if err != nil {
			return nil, err
		}
		for _, e := range res.Msg.Entries {
			out = append(out, entry(e))
		}
		if limit == 0 || len(out) >= limit || !res.Msg.More || res.Msg.Next <= after {
			return out, nil
		}
		after = res.Msg.Next
	}
}

var entryKinds = map[clientpb.EntryKind]EntryKind{
	clientpb.EntryKind_ENTRY_KIND_APPLICATION: KindApplication,
	clientpb.EntryKind_ENTRY_KIND_PROPOSAL:    KindProposal,
	clientpb.EntryKind_ENTRY_KIND_COMMIT:      KindCommit,
}

func entry(p *clientpb.Entry) Entry {
	e := Entry{Seq: p.GetSeq(), Timestamp: time.UnixMilli(int64(p.GetTimestamp())), Kind: entryKinds[p.GetKind()], Body: p.GetBody()}
	copy(e.Hash[:], p.GetHash())
	return e
}
