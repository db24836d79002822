package devenv

import (
	"context"

	"connectrpc.com/connect"

	"hubbub/client/clientpb"
)

func (a *Admin) moderation() clientpb.ModerationServiceClient {
	return clientpb.NewModerationServiceClient(a.http, "http://admin")
}

// told is the answer of a call, or why there is none.
func told[T any](r *connect.Response[T], err error) (*T, error) {
	if err != nil {
		return nil, refusal(err)
	}
	return r.Msg, nil
}

// Reports lists reports of abuse after one: the open ones, or all.
func (a *Admin) Reports(ctx context.Context, after uint64, all bool) (*clientpb.ListReportsResponse, error) {
	return told(a.moderation().ListReports(ctx, connect.NewRequest(&clientpb.ListReportsRequest{After: after, All: all})))
}

// Report shows one.
func (a *Admin) Report(ctx context.Context, id uint64) (*clientpb.GetReportResponse, error) {
	return told(a.moderation().GetReport(ctx, connect.NewRequest(&clientpb.GetReportRequest{Id: id})))
}

// ResolveReport closes one with a note.
func (a *Admin) ResolveReport(ctx context.Context, id uint64, resolution string) error {
	_, err := told(a.moderation().ResolveReport(ctx, connect.NewRequest(&clientpb.ResolveReportRequest{Id: id, Resolution: resolution})))
	return err
}

// RotateFrankingKey makes a new franking key.
func (a *Admin) RotateFrankingKey(ctx context.Context) (*clientpb.RotateFrankingKeyResponse, error) {
	return told(a.moderation().RotateFrankingKey(ctx, connect.NewRequest(&clientpb.RotateFrankingKeyRequest{})))
}
