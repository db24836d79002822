package api

import (
	"context"

	"connectrpc.com/connect"

	"hubbub/client/clientpb"
)

func (s adminService) Backup(ctx context.Context, req *connect.Request[clientpb.BackupRequest]) (*connect.Response[clientpb.BackupResponse], error) {
	if s.Config.Backup == nil {
		return nil, refuse(connect.CodeUnimplemented, clientpb.Reason_REASON_UNAVAILABLE, "this provider has no such operation", "")
	}
	out, err := s.Config.Backup(ctx, req.Msg.Directory)
	if err != nil {
		return nil, s.fromRole(ctx, err, "")
	}
	return connect.NewResponse(out), nil
}
