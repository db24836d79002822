package api

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"strings"
	"sync"

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

// maxKnown bounds how many clients are remembered by their token.
const maxKnown = 10_000

// tokens remembers who has which token. A client is never changed once it is
// enrolled, nor taken away: whoever builds that has to empty this.
type tokens struct {
	mu      sync.RWMutex
	byToken map[[32]byte]*store.Client
}

func (t *tokens) get(token [32]byte) *store.Client {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.byToken[token]
}

func (t *tokens) put(token [32]byte, c *store.Client) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byToken == nil || len(t.byToken) >= maxKnown {
		t.byToken = map[[32]byte]*store.Client{}
	}
	t.byToken[token] = c
}

// byToken finds the client a request comes from. The token is hashed before it
// is compared with anything, so the time taken says nothing about stored ones.
func (s *Server) byToken(ctx context.Context, h http.Header) (*store.Client, error) {
	token, bearer := strings.CutPrefix(h.Get("Authorization"), "Bearer ")
	if !bearer || len(token) > maxTokenBytes {
		token = ""
	}
	hash := sha256.Sum256([]byte(token))
	c := s.tokens.get(hash)
	if c != nil {
		return c, nil
	}
	err := s.Store.View(ctx, func(tx store.ReadTx) (err error) {
		c, err = tx.ClientByToken(hash)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, refuse(connect.CodeUnauthenticated, clientpb.Reason_REASON_UNAUTHENTICATED,
			"no valid token", "enrol this device")
	}
	if err != nil {
		return nil, s.fromRole(ctx, err, "")
	}
	s.tokens.put(hash, c)
	return c, nil
}

// caller is the client behind an authenticated call.
func caller(ctx context.Context) *store.Client {
	c, _ := ctx.Value(callerKey{}).(*store.Client)
	return c
}
