package hub

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"hubbub/internal/room"
	"hubbub/mimi"
	"hubbub/mimi/policy"
	"hubbub/mls"
	"hubbub/mls/wire"
)

// GroupInfo answers a client that wants to join by external commit: GroupInfo,
// tree and pending proposals, encrypted to the client so that its provider
// cannot read them, and signed by the hub (mimi-protocol-06 §5.6). It is for
// participants who add a client of their own and for those whom the room lets in by
// themselves, preauthorised or by a joining code (GI-3). Whoever may not have it is told
// notAuthorized, in a room or out of one, whatever is wrong with the code. Codes that are
// not good are counted (reliability.md §5).
func (h *Hub) GroupInfo(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI, body []byte) ([]byte, error) {
	req, err := mimi.ParseGroupInfoRequest(slices.Clone(body))
	if err != nil {
		return nil, malformed(err)
	}
	refused := mimi.GroupInfoResponse{Room: uri, Status: mimi.GroupInfoNotAuthorized}
	if req.Suite != h.cfg.SignatureKey.Suite || req.Verify() != nil {
		return refused.Marshal()
	}
	id, err := h.cfg.Env.Verifier.Identify(&req.Credential, req.SignatureKey, h.cfg.Now())
	if err != nil || id.User.Domain() != peer { // GI-14
		return refused.Marshal()
	}
	if len(req.JoiningCode) > 0 && h.cfg.Codes != nil {
		if p := h.cfg.Codes.Take(id.User, 1); p != nil {
			return nil, p
		}
	}
	content, sender, err := h.joinable(ctx, uri, policy.Actor{User: id.User, Credential: req.Credential.Type}, req.JoiningCode)
	if err == nil && len(req.JoiningCode) > 0 && h.cfg.Codes != nil {
		h.cfg.Codes.Return(id.User, 1)
	}
	var none *notJoinable
	switch {
	case errors.As(err, &none), isProblem(err):
		return refused.Marshal()
	case errors.Is(err, errNoGroupInfo):
		return nil, mimi.NewProblem(http.StatusServiceUnavailable, "group-info-lost",
			"the hub lost the GroupInfo of this epoch: devices can join again after the room's next change")
	case err != nil:
		return nil, err
	}
	answer, err := mimi.SealGroupInfo(req, uri, content, sender, h.cfg.SignatureKey)
	if err != nil { // a key nothing can be encrypted to
		return refused.Marshal()
	}
	return answer.Marshal()
}

// errNoGroupInfo: the newest commit came back to us from a follower, and its
// GroupInfo, which no follower has, did not. Only a member could sign another.
var errNoGroupInfo = errors.New("hub: no GroupInfo of this epoch")

// notJoinable: the user may not join the room.
type notJoinable struct{}

func (*notJoinable) Error() string { return "hub: not joinable" }

func isProblem(err error) bool {
	var p *mimi.Problem
	return errors.As(err, &p)
}

// joinable collects what a joiner needs. The room is locked only meanwhile.
func (h *Hub) joinable(ctx context.Context, uri mimi.RoomURI, user policy.Actor, code []byte) (*mimi.GroupInfoRatchetTree, mls.ExternalSender, error) {
	r, err := h.lock(ctx, uri)
	if err != nil {
		return nil, mls.ExternalSender{}, err
	}
	s := *r.state
	r.mu.Unlock()

	sender, ok := h.ownSender(&s)
	if !ok {
		return nil, sender, &notJoinable{}
	}
	if !s.MayEnter(user) {
		if user.Code = true; len(code) == 0 || !s.MayEnter(user) {
			return nil, sender, &notJoinable{}
		}
		if err := h.claim(ctx, &s, user.User, code); err != nil {
			return nil, sender, err
		}
	}
	content, err := joinContent(&s)
	return content, sender, err
}

func joinContent(s *room.State) (*mimi.GroupInfoRatchetTree, error) {
	if len(s.GroupInfo()) == 0 {
		return nil, errNoGroupInfo
	}
	content := &mimi.GroupInfoRatchetTree{
		RatchetTree: mimi.RatchetTreeOption{Representation: mimi.TreeFull, Tree: s.Group().Tree()},
	}
	if err := wire.Unmarshal(s.GroupInfo(), &content.GroupInfo); err != nil {
		return nil, err
	}
	for _, p := range s.Pending() {
		m, err := mls.ParseMessage(p.Message)
		if err != nil {
			return nil, err
		}
		content.PendingProposals = append(content.PendingProposals, mimi.PendingProposal{Proposal: *m, Timestamp: p.Timestamp})
	}
	return content, nil
}
