package api

import (
	"context"
	"net/http"

	"connectrpc.com/connect"

	"hubbub/client/clientpb"
	"hubbub/internal/moderation"
	"hubbub/mimi"
)

// Moderation is what becomes of reports of abuse. Errors are *mimi.Problem for refusals,
// anything else is our own failure.
type Moderation interface {
	// Send takes a mimi.AbuseReport of a user of ours to a room's hub.
	Send(ctx context.Context, user mimi.UserURI, uri mimi.RoomURI, body []byte) error

	// The operator's part.
	Cases(ctx context.Context, after uint64, all bool, limit int) ([]moderation.Case, error)
	Case(ctx context.Context, id uint64) (moderation.Case, error)
	Resolve(ctx context.Context, id uint64, resolution string) error
	// RotateFrankingKey gives the keys there are then.
	RotateFrankingKey(ctx context.Context) (mimi.FrankKeys, error)
}

const (
	maxReports     = 1000 // of one page
	defaultReports = 100  // unless told otherwise
)

// moderationService serves ReportService and ModerationService.
type moderationService struct{ *Server }

// handleReports adds ReportService to the API, if there is somebody who takes reports.
func (s *Server) handleReports(mux *http.ServeMux, options ...connect.HandlerOption) {
	if s.Moderation != nil {
		mux.Handle(clientpb.NewReportServiceHandler(moderationService{s}, options...))
	}
}

// handleModeration adds ModerationService to the operator's API.
func (s *Server) handleModeration(mux *http.ServeMux, options ...connect.HandlerOption) {
	if s.Moderation != nil {
		mux.Handle(clientpb.NewModerationServiceHandler(moderationService{s}, options...))
	}
}

// reply is the end of a call: what went well, or the error as its caller sees it.
func reply[T any](ctx context.Context, s moderationService, msg *T, err error) (*connect.Response[T], error) {
	if err != nil {
		return nil, s.fromRole(ctx, err, "")
	}
	return connect.NewResponse(msg), nil
}

func (s moderationService) ReportAbuse(ctx context.Context, req *connect.Request[clientpb.ReportAbuseRequest]) (*connect.Response[clientpb.ReportAbuseResponse], error) {
	uri, err := mimi.ParseRoom(req.Msg.Room)
	if err != nil {
		return nil, malformed("room is not a room URI")
	}
	err = s.Moderation.Send(ctx, caller(ctx).User, uri, req.Msg.Report)
	return reply(ctx, s, &clientpb.ReportAbuseResponse{}, err)
}

func (s moderationService) ListReports(ctx context.Context, req *connect.Request[clientpb.ListReportsRequest]) (*connect.Response[clientpb.ListReportsResponse], error) {
	limit := int(min(req.Msg.Limit, maxReports))
	if limit == 0 {
		limit = defaultReports
	}
	cases, err := s.Moderation.Cases(ctx, req.Msg.After, req.Msg.All, limit)
	out := &clientpb.ListReportsResponse{}
	for i := range cases {
		out.Reports = append(out.Reports, casePB(&cases[i]))
	}
	return reply(ctx, s, out, err)
}

func (s moderationService) GetReport(ctx context.Context, req *connect.Request[clientpb.GetReportRequest]) (*connect.Response[clientpb.GetReportResponse], error) {
	c, err := s.Moderation.Case(ctx, req.Msg.Id)
	if err != nil {
		return nil, s.fromRole(ctx, err, "")
	}
	out := casePB(&c)
	for _, m := range c.Messages {
		out.Evidence = append(out.Evidence, &clientpb.ReportedMessage{Proved: m.Unproved == "", Why: m.Unproved, Accepted: m.Timestamp, Text: m.Text})
	}
	return connect.NewResponse(&clientpb.GetReportResponse{Report: out}), nil
}

func casePB(c *moderation.Case) *clientpb.AbuseCase {
	return &clientpb.AbuseCase{Id: c.ID, At: c.At, Room: string(c.Room), Peer: string(c.Peer), Reporter: string(c.Claim.Reporter),
		Accused: string(c.Claim.Abuser), Reason: uint32(c.Claim.Reason), Note: c.Claim.Note, Messages: uint32(len(c.Messages)),
		Proved: uint32(c.Proved()), Resolved: c.Resolved, Resolution: c.Resolution}
}

func (s moderationService) ResolveReport(ctx context.Context, req *connect.Request[clientpb.ResolveReportRequest]) (*connect.Response[clientpb.ResolveReportResponse], error) {
	if len(req.Msg.Resolution) > moderation.MaxNoteBytes {
		return nil, tooLarge("resolution", moderation.MaxNoteBytes)
	}
	err := s.Moderation.Resolve(ctx, req.Msg.Id, req.Msg.Resolution)
	return reply(ctx, s, &clientpb.ResolveReportResponse{}, err)
}

func (s moderationService) RotateFrankingKey(ctx context.Context, _ *connect.Request[clientpb.RotateFrankingKeyRequest]) (*connect.Response[clientpb.RotateFrankingKeyResponse], error) {
	keys, err := s.Moderation.RotateFrankingKey(ctx)
	if err != nil || len(keys) == 0 {
		return nil, s.fromRole(ctx, err, "")
	}
	newest := keys[len(keys)-1]
	return connect.NewResponse(&clientpb.RotateFrankingKeyResponse{Id: newest.ID, Since: uint64(newest.Since.UnixMilli()), Keys: uint32(len(keys))}), nil
}
