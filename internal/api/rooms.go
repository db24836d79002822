package api

import (
	"context"
	"errors"

	"connectrpc.com/connect"

	"hubbub/client/clientpb"
	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

func (s clientService) CreateRoom(ctx context.Context, req *connect.Request[clientpb.CreateRoomRequest]) (*connect.Response[clientpb.CreateRoomResponse], error) {
	uri, err := mimi.ParseRoom(req.Msg.Room)
	switch {
	case err != nil:
		return nil, malformed("room is not a room URI")
	case uri.Domain() != s.Domain:
		return nil, refuse(connect.CodeFailedPrecondition, clientpb.Reason_REASON_NOT_HUB,
			"the room's domain is another provider", "create the room under your own provider's domain")
	case len(req.Msg.GroupInfo) > maxBodyBytes:
		return nil, tooLarge("group_info", maxBodyBytes)
	case len(req.Msg.RatchetTree) > maxBodyBytes:
		return nil, tooLarge("ratchet_tree", maxBodyBytes)
	}
	if p := s.Limits.Rooms.Take(caller(ctx).User, 1); p != nil {
		return nil, s.fromRole(ctx, p, "")
	}
	pos, err := s.Creator.CreateRoom(ctx, caller(ctx).URI, uri, req.Msg.GroupInfo, req.Msg.RatchetTree)
	if err != nil {
		return nil, s.fromRole(ctx, err, "")
	}
	return connect.NewResponse(&clientpb.CreateRoomResponse{Position: posPB(pos)}), nil
}

func (s clientService) ListRooms(ctx context.Context, _ *connect.Request[clientpb.ListRoomsRequest]) (*connect.Response[clientpb.ListRoomsResponse], error) {
	c := caller(ctx)
	out := &clientpb.ListRoomsResponse{}
	err := s.Store.View(ctx, func(tx store.ReadTx) error {
		recs, err := tx.RoomsOfUser(c.User)
		if err != nil {
			return err
		}
		v, err := s.viewOf(tx, c)
		if err != nil {
			return err
		}
		for _, r := range recs {
			a, err := accessTo(tx, c.User, r.URI)
			if err != nil {
				return err
			}
			out.Rooms = append(out.Rooms, v.room(a))
		}
		return nil
	})
	if err != nil {
		return nil, s.fromRole(ctx, err, "")
	}
	return connect.NewResponse(out), nil
}

func (s clientService) GetRoom(ctx context.Context, req *connect.Request[clientpb.GetRoomRequest]) (*connect.Response[clientpb.GetRoomResponse], error) {
	c := caller(ctx)
	out := &clientpb.GetRoomResponse{}
	err := s.withRoom(ctx, req.Msg.Room, func(tx store.ReadTx, a *access) error {
		v, err := s.viewOf(tx, c)
		if err != nil {
			return err
		}
		out.Room = v.room(a)
		if !a.in {
			return nil
		}
		if out.Room.Checkpoint, err = s.Proofs.Checkpoint(tx, a.rec); err != nil {
			return err
		}
		if out.Room.Former, err = formerPB(tx, a.rec.URI); err != nil {
			return err
		}
		known, err := s.known(tx, a.rec)
		out.Room.Delivery = deliveryPB(known)
		return err
	})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(out), nil
}

func (s clientService) GetHistory(ctx context.Context, req *connect.Request[clientpb.GetHistoryRequest]) (*connect.Response[clientpb.GetHistoryResponse], error) {
	out := &clientpb.GetHistoryResponse{}
	err := s.withRoom(ctx, req.Msg.Room, func(tx store.ReadTx, a *access) error {
		history, err := tx.History(a.rec.URI, req.Msg.FromSeq)
		for _, c := range history {
			if a.in || c.Seq <= a.until {
				out.Changes = append(out.Changes, changePB(c))
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(out), nil
}

func (s clientService) GetLog(ctx context.Context, req *connect.Request[clientpb.GetLogRequest]) (*connect.Response[clientpb.GetLogResponse], error) {
	c := caller(ctx)
	limit := int(min(req.Msg.Limit, maxLogEntries))
	if limit == 0 {
		limit = maxLogEntries
	}
	out := &clientpb.GetLogResponse{Next: req.Msg.After}
	err := s.withRoom(ctx, req.Msg.Room, func(tx store.ReadTx, a *access) error {
		spans, err := tx.MembershipsIn(c.URI, a.rec.URI)
		if err != nil {
			return err
		}
		if a.in {
			if out.Checkpoint, err = s.Proofs.Checkpoint(tx, a.rec); err != nil {
				return err
			}
		}
		for _, span := range spans {
			if out.More, err = readSpan(tx, span, a.rec.Head.Seq, limit, out); err != nil || out.More {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(out), nil
}

// readSpan adds what of one span lies after out.Next, and says whether the page
// is full before the span ends.
func readSpan(tx store.ReadTx, span store.Membership, head uint64, limit int, out *clientpb.GetLogResponse) (bool, error) {
	end := reach(span, head)
	after := max(out.Next, span.After)
	for after < end {
		room := limit - len(out.Entries)
		if room == 0 {
			return true, nil
		}
		entries, err := tx.Entries(span.Room, after, room, maxLogBytes)
		if err != nil {
			return false, err
		}
		if len(entries) == 0 {
			break
		}
		for _, e := range entries {
			if after = e.Seq; after > end {
				break
			}
			out.Entries = append(out.Entries, entryPB(e))
			out.Next = e.Seq
		}
		if bodyBytes(out.Entries) >= maxLogBytes {
			return after < end, nil
		}
	}
	if end > out.Next {
		out.Next = end
	}
	return false, nil
}

func bodyBytes(entries []*clientpb.Entry) (n int) {
	for _, e := range entries {
		n += len(e.Body)
	}
	return n
}

func (s clientService) GetGroupInfo(ctx context.Context, req *connect.Request[clientpb.GetGroupInfoRequest]) (*connect.Response[clientpb.GetGroupInfoResponse], error) {
	uri, err := mimi.ParseRoom(req.Msg.Room)
	if err != nil {
		return nil, malformed("room is not a room URI")
	}
	if err := checkGroupInfoRequest(caller(ctx), req.Msg.Body); err != nil {
		return nil, err
	}
	body, err := s.Rooms.GroupInfo(ctx, caller(ctx).URI, uri, req.Msg.Body)
	if err != nil {
		return nil, s.fromRole(ctx, err, uri.Domain())
	}
	return connect.NewResponse(&clientpb.GetGroupInfoResponse{Body: body}), nil
}

// withRoom runs fn on a snapshot with a room the caller may know of.
func (s clientService) withRoom(ctx context.Context, name string, fn func(store.ReadTx, *access) error) error {
	uri, err := mimi.ParseRoom(name)
	if err != nil {
		return malformed("room is not a room URI")
	}
	err = s.Store.View(ctx, func(tx store.ReadTx) error {
		a, err := accessTo(tx, caller(ctx).User, uri)
		if err != nil {
			return err
		}
		return fn(tx, a)
	})
	var refused *connect.Error
	if err == nil || errors.As(err, &refused) {
		return err
	}
	return s.fromRole(ctx, err, "")
}

// roomView is what is needed of a caller to describe rooms to it.
type roomView struct {
	s      *Server
	spans  []store.Membership
	queued map[mimi.RoomURI]uint32
}

func (s *Server) viewOf(tx store.ReadTx, c *store.Client) (*roomView, error) {
	v := &roomView{s: s, queued: map[mimi.RoomURI]uint32{}}
	var err error
	if v.spans, err = tx.Memberships(c.URI); err != nil {
		return nil, err
	}
	subs, err := tx.Submissions(c.URI, 0)
	for _, sub := range subs {
		if sub.State == store.Queued {
			v.queued[sub.Room]++
		}
	}
	return v, err
}

// room describes a room. Who is no longer in it learns only that.
func (v *roomView) room(a *access) *clientpb.Room {
	r := &clientpb.Room{Room: string(a.rec.URI), Hub: string(a.rec.Hub), Participant: a.in, Queued: v.queued[a.rec.URI]}
	if !a.in {
		return r
	}
	r.Head, r.Start = posPB(a.rec.Head), posPB(a.rec.Start)
	r.Epoch, r.LastTimestamp, r.Frozen = a.rec.Epoch, a.rec.LastTimestamp, a.rec.Frozen
	r.Member = inGroup(v.spans, a.rec.URI)
	for _, p := range a.participants {
		r.Participants = append(r.Participants, &clientpb.Participant{User: string(p.User), Role: p.Role})
	}
	r.HubStatus = v.s.peerPB(a.rec.Hub)
	return r
}

// peerPB says how another provider is doing; nil for ourselves.
func (s *Server) peerPB(peer mimi.Domain) *clientpb.PeerStatus {
	if peer == s.Domain {
		return nil
	}
	st := s.Peer(peer)
	out := &clientpb.PeerStatus{Provider: string(peer), Reachable: st.Reachable, LastError: st.LastError}
	if !st.Since.IsZero() {
		out.Since = uint64(st.Since.UnixMilli())
	}
	return out
}

func posPB(p room.Pos) *clientpb.Position {
	return &clientpb.Position{Seq: p.Seq, Hash: p.Hash[:]}
}

func changePB(c room.Change) *clientpb.Change {
	return &clientpb.Change{Seq: c.Seq, Timestamp: c.Timestamp, Actor: string(c.Actor), Action: string(c.Action),
		User: string(c.User), Client: string(c.Client), Role: c.Role}
}

func entryPB(e store.Entry) *clientpb.Entry {
	return &clientpb.Entry{Seq: e.Seq, Timestamp: e.Timestamp, Kind: clientpb.EntryKind(e.Kind), Body: e.Body, Hash: e.Hash[:]}
}
