package api

import (
	"context"
	"errors"
	"net/http"

	"connectrpc.com/connect"

	"hubbub/client/clientpb"
	"hubbub/internal/record"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// Successions is how an operator takes a hub's log in place of a frozen copy.
type Successions interface {
	// CompareRoom says where the two part. It changes nothing.
	CompareRoom(ctx context.Context, uri mimi.RoomURI) (*clientpb.CompareRoomResponse, error)
	// ReplaceRoom sets a copy aside that is frozen for the reason given.
	ReplaceRoom(ctx context.Context, uri mimi.RoomURI, frozen, reason string) (*clientpb.ReplaceRoomResponse, error)
}

// errSucceeded ends the streams of those who read in a copy that was replaced: they
// begin again with the new one.
var errSucceeded = &closing{closeReplaced, "a chat's copy was replaced by its hub's: reconnect"}

// Restart has the stream of a client begin anew, if there is one.
func (n *Notifier) Restart(client mimi.ClientURI) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if w := n.streams[client]; w != nil {
		go w.end(errSucceeded)
	}
}

func (s adminService) successions(room string) (Successions, mimi.RoomURI, error) {
	uri, err := mimi.ParseRoom(room)
	if err != nil {
		return nil, "", malformed("room is not a room URI")
	}
	if s.Config.Successions == nil {
		return nil, "", refuse(connect.CodeUnimplemented, clientpb.Reason_REASON_UNAVAILABLE, "this provider has no such operation", "")
	}
	return s.Config.Successions, uri, nil
}

// refusedSuccession is what an operator is told: a conflict in the words of whoever
// found it.
func (s adminService) refusedSuccession(ctx context.Context, uri mimi.RoomURI, err error) error {
	var p *mimi.Problem
	if errors.As(err, &p) && p.Status == http.StatusConflict {
		return refuse(connect.CodeFailedPrecondition, clientpb.Reason_REASON_ROOM_FROZEN, p.Detail, "look at the room again")
	}
	return s.fromRole(ctx, err, uri.Domain())
}

func (s adminService) CompareRoom(ctx context.Context, req *connect.Request[clientpb.CompareRoomRequest]) (*connect.Response[clientpb.CompareRoomResponse], error) {
	ops, uri, err := s.successions(req.Msg.Room)
	if err != nil {
		return nil, err
	}
	out, err := ops.CompareRoom(ctx, uri)
	if err != nil {
		return nil, s.refusedSuccession(ctx, uri, err)
	}
	return connect.NewResponse(out), nil
}

func (s adminService) ReplaceRoom(ctx context.Context, req *connect.Request[clientpb.ReplaceRoomRequest]) (*connect.Response[clientpb.ReplaceRoomResponse], error) {
	switch n := len(req.Msg.Reason); {
	case n == 0:
		return nil, malformed("a copy is not replaced without a reason: those who look at it later want to know")
	case n > maxReasonBytes:
		return nil, tooLarge("reason", maxReasonBytes)
	}
	ops, uri, err := s.successions(req.Msg.Room)
	if err != nil {
		return nil, err
	}
	out, err := ops.ReplaceRoom(ctx, uri, req.Msg.Frozen, req.Msg.Reason)
	if err != nil {
		return nil, s.refusedSuccession(ctx, uri, err)
	}
	return connect.NewResponse(out), nil
}

// formerPB lists the copies of a room that were set aside.
func formerPB(tx store.ReadTx, uri mimi.RoomURI) ([]*clientpb.FormerCopy, error) {
	list, err := record.Formers(tx, uri)
	var out []*clientpb.FormerCopy
	if err != nil {
		return nil, err
	}
	for _, f := range list {
		notes, err := tx.Meta(record.NotesKey(f.Room))
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		out = append(out, &clientpb.FormerCopy{Room: string(f.Room), Head: posPB(f.Head), Agreed: f.Agreed, ReplacedAt: f.At,
			Reason: f.Reason, Evidence: notes})
	}
	return out, nil
}
