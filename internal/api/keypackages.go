package api

import (
	"context"

	"connectrpc.com/connect"

	"hubbub/client/clientpb"
	"hubbub/internal/store"
	"hubbub/mimi"
)

func (s clientService) PublishKeyPackages(ctx context.Context, req *connect.Request[clientpb.PublishKeyPackagesRequest]) (*connect.Response[clientpb.PublishKeyPackagesResponse], error) {
	kps := req.Msg.KeyPackages
	if len(kps) == 0 {
		return nil, malformed("no key packages")
	}
	if len(kps) > maxKeyPackages {
		return nil, tooMany("key packages", maxKeyPackages)
	}
	c := caller(ctx)
	if err := s.KeyPackages.Publish(ctx, c.URI, kps); err != nil {
		return nil, s.fromRole(ctx, err, "")
	}
	n, err := s.stock(ctx, c.URI)
	if err != nil {
		return nil, s.fromRole(ctx, err, "")
	}
	return connect.NewResponse(&clientpb.PublishKeyPackagesResponse{Available: n}), nil
}

func (s clientService) KeyPackageStatus(ctx context.Context, _ *connect.Request[clientpb.KeyPackageStatusRequest]) (*connect.Response[clientpb.KeyPackageStatusResponse], error) {
	n, err := s.stock(ctx, caller(ctx).URI)
	if err != nil {
		return nil, s.fromRole(ctx, err, "")
	}
	return connect.NewResponse(&clientpb.KeyPackageStatusResponse{Available: n}), nil
}

func (s *Server) stock(ctx context.Context, client mimi.ClientURI) (uint32, error) {
	var n int
	err := s.Store.View(ctx, func(tx store.ReadTx) (err error) {
		n, err = tx.KeyPackageCount(client, s.Now())
		return err
	})
	return uint32(n), err
}

func (s clientService) ClaimKeyMaterial(ctx context.Context, req *connect.Request[clientpb.ClaimKeyMaterialRequest]) (*connect.Response[clientpb.ClaimKeyMaterialResponse], error) {
	target, err := mimi.ParseUser(req.Msg.Target)
	if err != nil {
		return nil, malformed("target is not a user URI")
	}
	c := caller(ctx)
	if err := checkClaim(c, target, req.Msg.Body); err != nil {
		return nil, err
	}
	if err := s.Limits.claim(c.User, target); err != nil {
		return nil, s.fromRole(ctx, err, "")
	}
	body, err := s.Rooms.KeyMaterial(ctx, c.URI, target, req.Msg.Body)
	if err != nil {
		return nil, s.fromRole(ctx, err, target.Domain())
	}
	return connect.NewResponse(&clientpb.ClaimKeyMaterialResponse{Body: body}), nil
}
