package federation

import (
	"context"
	"net/http"

	"hubbub/mimi"
)

// reportAbuse takes a mimi.AbuseReport about a room of ours; nil is 201.
func (s *Server) reportAbuse(c *call) ([]byte, error) {
	if s.cfg.ReportAbuse == nil {
		return nil, mimi.NewProblem(http.StatusNotFound, mimi.CodeNotFound, "not offered")
	}
	return c.withRoom(func(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI, body []byte) ([]byte, error) {
		return nil, s.cfg.ReportAbuse(ctx, peer, uri, body)
	})
}

// ReportAbuse tells a hub of abuse in a room of its: a mimi.AbuseReport.
func (c *Client) ReportAbuse(ctx context.Context, to mimi.Domain, uri mimi.RoomURI, body []byte) error {
	return accepted(c.do(ctx, to, outgoing{mimi.EndpointReportAbuse, http.MethodPost, string(uri), "", nil, body}))
}
