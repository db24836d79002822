package provider

import (
	"context"
	"slices"

	"hubbub/internal/catchup"
	"hubbub/internal/consent"
	"hubbub/internal/federation"
	"hubbub/internal/follower"
	"hubbub/internal/hub"
	"hubbub/internal/keymaterial"
	"hubbub/internal/room"
	"hubbub/mimi"
	"hubbub/mimi/checkpoint"
)

// roles gives the requests of peers to those who answer them.
type roles struct {
	hub         *hub.Hub
	follower    *follower.Follower
	keymaterial *keymaterial.Service
	proofs      *proofs
}

func (r *roles) KeyMaterial(ctx context.Context, peer mimi.Domain, target mimi.UserURI, body []byte) ([]byte, error) {
	return r.keymaterial.Claim(ctx, peer, target, body)
}

func (r *roles) Update(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI, body []byte) ([]byte, error) {
	return r.hub.Update(ctx, peer, uri, body)
}

func (r *roles) SubmitMessage(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI, body []byte) ([]byte, error) {
	return r.hub.Submit(ctx, peer, uri, body)
}

func (r *roles) SubmitBatch(ctx context.Context, peer mimi.Domain, body []byte) ([]byte, error) {
	return r.hub.SubmitBatch(ctx, peer, body)
}

func (r *roles) Notify(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI, pos *room.Pos, body []byte) error {
	return r.follower.Notify(ctx, peer, uri, pos, body)
}

func (r *roles) Checkpoint(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI, signed []byte) error {
	return r.follower.Checkpoint(ctx, peer, uri, signed)
}

func (r *roles) Report(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI) (*checkpoint.Report, error) {
	return r.proofs.report(ctx, peer, uri)
}

func (r *roles) GroupInfo(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI, body []byte) ([]byte, error) {
	return r.hub.GroupInfo(ctx, peer, uri, body)
}

func (r *roles) Snapshot(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI, seq uint64) ([]byte, error) {
	return r.hub.Snapshot(ctx, peer, uri, seq)
}

// logs gives peers the part of a room log that they lack: of rooms of ours to
// their followers, of replicas to their hubs.
type logs struct {
	domain   mimi.Domain
	hub      *hub.Hub
	follower *follower.Follower
}

func (l logs) CatchUp(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI, from room.Pos) (*catchup.Part, error) {
	if uri.Domain() == l.domain {
		return l.hub.CatchUp(ctx, peer, uri, from)
	}
	return l.follower.Part(ctx, peer, uri, from)
}

// hubs is how the outbox reaches the hub of a room. Our own is among them: a write
// to a room of ours that was cut short by a crash is in the outbox too.
type hubs struct {
	domain mimi.Domain
	own    *hub.Hub
	remote *federation.Client
}

func (h *hubs) SubmitMessage(ctx context.Context, to mimi.Domain, uri mimi.RoomURI, body []byte) ([]byte, error) {
	if to == h.domain {
		return h.own.Submit(ctx, h.domain, uri, body)
	}
	return h.remote.SubmitMessage(ctx, to, uri, body)
}

func (h *hubs) Update(ctx context.Context, to mimi.Domain, uri mimi.RoomURI, body []byte) ([]byte, error) {
	if to == h.domain {
		return h.own.Update(ctx, h.domain, uri, body)
	}
	return h.remote.Update(ctx, to, uri, body)
}

func (h *hubs) SubmitBatch(ctx context.Context, to mimi.Domain, body []byte) ([]byte, error) {
	if to == h.domain {
		return h.own.SubmitBatch(ctx, h.domain, body)
	}
	return h.remote.SubmitBatch(ctx, to, body)
}

func (h *hubs) Snapshot(ctx context.Context, to mimi.Domain, uri mimi.RoomURI, seq uint64) ([]byte, error) {
	return h.remote.Snapshot(ctx, to, uri, seq)
}

// suppliers is how claims of key material reach another provider, unless a grant
// has brought what is claimed. Nobody repeats them, so silence has to be reported.
type suppliers struct {
	remote *federation.Client
	grants *consent.Service
}

func (s suppliers) KeyMaterial(ctx context.Context, to mimi.Domain, target mimi.UserURI, body []byte) ([]byte, error) {
	if req, err := mimi.ParseKeyMaterialRequest(slices.Clone(body)); err == nil {
		if answer, ok, err := s.grants.Brought(ctx, req); ok || err != nil {
			return answer, err
		}
	}
	answer, err := s.remote.KeyMaterial(ctx, to, target, body)
	return answer, unreachable(to, err)
}
