package federation

import (
	"context"
	"net/http"

	"hubbub/mimi"
)

// People is what a provider does with requests that are about users and not about
// a room. The path has named us; who may speak for whom is for People to judge.
type People interface {
	// RequestConsent and UpdateConsent get a mimi.ConsentEntry; nil is 201.
	RequestConsent(ctx context.Context, peer mimi.Domain, body []byte) error
	UpdateConsent(ctx context.Context, peer mimi.Domain, body []byte) error
	// IdentifierQuery gets a mimi.IdentifierRequest and answers with a
	// mimi.IdentifierResponse.
	IdentifierQuery(ctx context.Context, peer mimi.Domain, body []byte) ([]byte, error)
}

func (s *Server) requestConsent(c *call) ([]byte, error) {
	if err := s.forUs(c); err != nil {
		return nil, err
	}
	return nil, s.cfg.People.RequestConsent(c.req.Context(), c.peer, c.body)
}

func (s *Server) updateConsent(c *call) ([]byte, error) {
	if err := s.forUs(c); err != nil {
		return nil, err
	}
	return nil, s.cfg.People.UpdateConsent(c.req.Context(), c.peer, c.body)
}

func (s *Server) identifierQuery(c *call) ([]byte, error) {
	if err := s.forUs(c); err != nil {
		return nil, err
	}
	return s.cfg.People.IdentifierQuery(c.req.Context(), c.peer, c.body)
}

// forUs checks that the domain which ends the path is ours (DIR-9, D-15).
func (s *Server) forUs(c *call) error {
	switch {
	case s.cfg.People == nil:
		return mimi.NewProblem(http.StatusNotFound, mimi.CodeNotFound, "not offered")
	case c.id != string(s.cfg.Domain):
		return mimi.NewProblem(http.StatusBadRequest, mimi.CodeIDMismatch, "the path must end in the domain of this provider")
	}
	return nil
}

// RequestConsent asks a user's provider for consent, or takes that back: a
// mimi.ConsentEntry.
func (c *Client) RequestConsent(ctx context.Context, to mimi.Domain, body []byte) error {
	return accepted(c.do(ctx, to, outgoing{mimi.EndpointRequestConsent, http.MethodPost, string(to), "", nil, body}))
}

// UpdateConsent tells a requester's provider of a decision: a mimi.ConsentEntry.
func (c *Client) UpdateConsent(ctx context.Context, to mimi.Domain, body []byte) error {
	return accepted(c.do(ctx, to, outgoing{mimi.EndpointUpdateConsent, http.MethodPost, string(to), "", nil, body}))
}

// accepted is for calls that answer without a body.
func accepted(_ int, _ []byte, err error) error { return err }

// IdentifierQuery asks a provider for users.
func (c *Client) IdentifierQuery(ctx context.Context, to mimi.Domain, body []byte) ([]byte, error) {
	return c.post(ctx, to, mimi.EndpointIdentifierQuery, string(to), body)
}
