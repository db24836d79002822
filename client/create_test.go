package client

import (
	"errors"
	"testing"

	"connectrpc.com/connect"

	"hubbub/client/clientpb"
	"hubbub/mimi"
)

// TestCreatedTwice: a room that was asked for twice at once stays, whatever the later
// answer says; one that is refused for good is given up.
func TestCreatedTwice(t *testing.T) {
	f := newFake(t)
	alice, err := load(f.enrol("alice", "phone"), nil) // it does nothing by itself
	f.ok(err)
	defer alice.abandon()
	exists := connect.NewError(connect.CodeAlreadyExists, errors.New("the room exists"))
	detail, err := connect.NewErrorDetail(&clientpb.ErrorDetail{Reason: clientpb.Reason_REASON_EXISTS, Message: "the room exists"})
	f.ok(err)
	exists.AddDetail(detail)

	uri := mimi.RoomURI("mimi://a.localhost/r/twice")
	f.created = func() error {
		f.created = nil // the second request gets its answer before this one
		if err := alice.announceRoom(f.ctx(), uri); err != nil {
			t.Error(err)
		}
		return exists
	}
	f.ok(alice.prepareRoom(uri, "twice", RoomOptions{Name: "twice"}))
	if err := alice.announceRoom(f.ctx(), uri); err == nil {
		t.Error("the refusal is lost")
	}
	if info, err := alice.Room(f.ctx(), uri); err != nil || !info.Member {
		t.Errorf("the room: %+v, %v", info, err)
	}

	f.created = func() error { return exists }
	gone, _, err := alice.CreateRoom(f.ctx(), RoomOptions{Name: "refused"})
	var refused *Error
	if !errors.As(err, &refused) || refused.Reason != "exists" || gone != "" {
		t.Errorf("refused: %q, %v", gone, err)
	}
}
