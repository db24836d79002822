package api

import (
	"errors"

	"connectrpc.com/connect"

	"hubbub/client/clientpb"
	"hubbub/internal/store"
	"hubbub/mimi"
	"hubbub/mls"
)

// write is what a submission's body says about itself.
type write struct {
	message *mls.Message
}

// parseWrite decodes a submission as its endpoint would and refuses what could
// not be the caller's.
func parseWrite(c *store.Client, kind store.SubmissionKind, body []byte) (*write, *connect.Error) {
	switch kind {
	case store.SubmitMessage:
		if len(body) > maxMessageBytes {
			return nil, tooLarge("message", maxMessageBytes)
		}
		req, err := mimi.ParseSubmitMessageRequest(body)
		if err != nil {
			return nil, malformed("body is not a SubmitMessageRequest")
		}
		if req.Sender != c.User {
			return nil, wrongIdentity("the sender is another user")
		}
		return &write{message: &req.Message}, nil
	case store.SubmitUpdate:
		if len(body) > maxBodyBytes {
			return nil, tooLarge("handshake bundle", maxBodyBytes)
		}
		h, err := mimi.ParseHandshakeBundle(body)
		if err != nil {
			return nil, malformed("body is not a HandshakeBundle")
		}
		return &write{message: &h.Message}, nil
	}
	return nil, malformed("kind is neither message nor update")
}

// checkWrite checks a new write against what this provider holds of the room.
// The room's own rules are the hub's to apply; what is refused here could not
// be accepted by any hub.
func checkWrite(tx store.ReadTx, c *store.Client, sub *store.Submission, w *write) error {
	a, err := accessTo(tx, c.User, sub.Room)
	if w.joins() && (err != nil || !a.in) { // who may come uninvited is the room's to say
		a, err = knock(tx, sub.Room, c.URI.Domain())
	}
	if err != nil {
		return err
	}
	if !a.in {
		return noSuchRoom()
	}
	if a.rec.Frozen != "" {
		return refuse(connect.CodeFailedPrecondition, clientpb.Reason_REASON_ROOM_FROZEN,
			"the room is frozen", "the operators must look at the room")
	}
	head := w.message.Header()
	if w.message.Public != nil && head.Sender.Type == mls.SenderTypeMember || w.message.Private != nil {
		spans, err := tx.Memberships(c.URI)
		if err != nil {
			return err
		}
		if !inGroup(spans, sub.Room) {
			return refuse(connect.CodeFailedPrecondition, clientpb.Reason_REASON_POLICY_DENIED,
				"the client is not a member of the room's group", "join the room first")
		}
	}
	// Our copy of the room is never ahead of its hub: what is too old here is
	// too old there. Messages are left to the hub, which may tolerate some age.
	if w.message.Public != nil && head.Epoch < a.rec.Epoch {
		return withDetail(connect.CodeFailedPrecondition, &clientpb.ErrorDetail{
			Reason: clientpb.Reason_REASON_STALE_EPOCH, Message: "the room has moved to another epoch",
			Remedy: "take in the newer entries, then build the change again", Epoch: a.rec.Epoch})
	}
	return nil
}

// joins says whether the write is a client's own entry into the group.
func (w *write) joins() bool {
	return w.message.Public != nil && w.message.Header().Sender.Type == mls.SenderTypeNewMemberCommit
}

// knock is access for somebody who is about to join a room without being in it. Of
// rooms of other providers nothing need be known here yet.
func knock(tx store.ReadTx, uri mimi.RoomURI, self mimi.Domain) (*access, error) {
	rec, err := tx.RoomHead(uri)
	switch {
	case errors.Is(err, store.ErrNotFound) && uri.Domain() == self:
		return nil, noSuchRoom()
	case errors.Is(err, store.ErrNotFound):
		return &access{rec: &store.RoomRecord{URI: uri, Hub: uri.Domain()}, in: true}, nil
	}
	return &access{rec: rec, in: true}, err
}

// checkClaim refuses requests for key material that are not the caller's own.
func checkClaim(c *store.Client, target mimi.UserURI, body []byte) *connect.Error {
	if len(body) > maxMessageBytes {
		return tooLarge("key material request", maxMessageBytes)
	}
	req, err := mimi.ParseKeyMaterialRequest(body)
	switch {
	case err != nil:
		return malformed("body is not a KeyMaterialRequest")
	case req.RequestingUser != c.User, string(req.SignatureKey) != string(c.SignatureKey):
		return wrongIdentity("the request is in another client's name")
	case req.TargetUser != target:
		return malformed("target and body name different users")
	case req.Verify() != nil:
		return wrongIdentity("the request's signature is not valid")
	}
	return nil
}

// checkGroupInfoRequest refuses requests that are not the caller's own.
func checkGroupInfoRequest(c *store.Client, body []byte) *connect.Error {
	if len(body) > maxMessageBytes {
		return tooLarge("group info request", maxMessageBytes)
	}
	req, err := mimi.ParseGroupInfoRequest(body)
	switch {
	case err != nil:
		return malformed("body is not a GroupInfoRequest")
	case string(req.SignatureKey) != string(c.SignatureKey):
		return wrongIdentity("the request is in another client's name")
	case req.Verify() != nil:
		return wrongIdentity("the request's signature is not valid")
	}
	return nil
}
