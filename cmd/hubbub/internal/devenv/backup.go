package devenv

import (
	"context"

	"connectrpc.com/connect"

	"hubbub/client/clientpb"
)

// Backup has a provider copy everything it stores into a directory of its machine.
func (a *Admin) Backup(ctx context.Context, dir string) (*clientpb.BackupResponse, error) {
	r, err := a.rpc.Backup(ctx, connect.NewRequest(&clientpb.BackupRequest{Directory: dir}))
	if err != nil {
		return nil, refusal(err)
	}
	return r.Msg, nil
}
