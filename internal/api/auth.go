package api

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"strings"

	"connectrpc.com/connect"

	"hubbub/client/clientpb"
	"hubbub/internal/store"
)

type callerKey struct{}

// open are the calls that need no token.
var open = map[string]bool{
	clientpb.ClientServiceGetProviderProcedure: true,
	clientpb.ClientServiceEnrolProcedure:       true,
}

// authenticate puts the calling client into the context. A missing, malformed
// or unknown token gets one and the same answer.
func (s *Server) authenticate() connect.UnaryInterceptorFunc {
	return func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
			if open[req.Spec().Procedure] {
				return next(ctx, req)
			}
			c, err := s.byToken(ctx, req.Header())
			if err != nil {
				return nil, err
			}
			return next(context.WithValue(ctx, callerKey{}, c), req)
		}
	}
}

// byToken finds the client a request comes from. The token is hashed before it
// is compared with anything, so the time taken says nothing about stored ones.
func (s *Server) byToken(ctx context.Context, h http.Header) (*store.Client, error) {
	token, bearer := strings.CutPrefix(h.Get("Authorization"), "Bearer ")
	if !bearer || len(token) > maxTokenBytes {
		token = ""
	}
	var c *store.Client
	err := s.Store.View(ctx, func(tx store.ReadTx) (err error) {
		c, err = tx.ClientByToken(sha256.Sum256([]byte(token)))
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, refuse(connect.CodeUnauthenticated, clientpb.Reason_REASON_UNAUTHENTICATED,
			"no valid token", "enrol this device")
	}
	if err != nil {
		return nil, s.fromRole(ctx, err, "")
	}
	return c, nil
}

// caller is the client behind an authenticated call.
func caller(ctx context.Context) *store.Client {
	c, _ := ctx.Value(callerKey{}).(*store.Client)
	return c
}
