package api

import (
	"errors"
	"net/http"

	"connectrpc.com/connect"

	"hubbub/mimi"
)

// assetPaths are those that Config.Assets answers.
var assetPaths = []string{"/assets", "/assets/", "/asset-proxy/", "/ohttp/", "/ohttp-keys/"}

// handleAssets adds attachments to the API, if there is somebody who answers.
func (s *Server) handleAssets(mux *http.ServeMux) {
	if s.Assets == nil {
		return
	}
	for _, path := range assetPaths {
		mux.Handle(path, s.Assets)
	}
}

// Caller finds the user that a plain HTTP request comes from. The error is a
// *mimi.Problem, or a failure of our own.
func (s *Server) Caller(r *http.Request) (mimi.UserURI, error) {
	c, err := s.byToken(r.Context(), r.Header)
	if ce := (*connect.Error)(nil); errors.As(err, &ce) && ce.Code() != connect.CodeUnauthenticated {
		return "", err
	}
	if err != nil {
		return "", mimi.NewProblem(http.StatusUnauthorized, mimi.CodeUnauthenticated, "no valid token: enrol this device")
	}
	return c.User, nil
}
