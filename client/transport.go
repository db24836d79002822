package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"connectrpc.com/connect"
	"github.com/coder/websocket"

	"hubbub/client/clientpb"
)

// maxFrameBytes is the largest frame taken from the provider: an entry with a
// commit for a large room.
const maxFrameBytes = 16 << 20

// transport is the way to the own provider.
type transport struct {
	base  *url.URL
	token string
	calls *http.Client // HTTP/2 where the server has it
	ws    *http.Client // HTTP/1.1, which a WebSocket starts from
	api   clientpb.ClientServiceClient
}

func newTransport(server, serverName string, ca []byte, token string) (*transport, error) {
	base, err := url.Parse(server)
	if err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" {
		return nil, fmt.Errorf("%w: server is not a URL such as https://host:port", ErrBadArgument)
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS13, ServerName: serverName}
	if len(ca) > 0 {
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(ca) {
			return nil, fmt.Errorf("%w: CA holds no certificate in PEM form", ErrBadArgument)
		}
	}
	wsConf := conf.Clone()
	wsConf.NextProtos = []string{"http/1.1"}
	t := &transport{
		base: base, token: token,
		calls: &http.Client{Transport: &http.Transport{TLSClientConfig: conf, ForceAttemptHTTP2: true,
			TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: 90 * time.Second}},
		ws: &http.Client{Transport: &http.Transport{TLSClientConfig: wsConf, TLSHandshakeTimeout: 10 * time.Second}},
	}
	t.api = clientpb.NewClientServiceClient(t.calls, base.String(),
		connect.WithInterceptors(connect.UnaryInterceptorFunc(t.authorise)), connect.WithReadMaxBytes(64<<20))
	return t, nil
}

func (t *transport) authorise(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		if t.token != "" {
			req.Header().Set("Authorization", "Bearer "+t.token)
		}
		res, err := next(ctx, req)
		return res, fromConnect(err)
	}
}

// dial opens the sync stream.
func (t *transport) dial(ctx context.Context) (*websocket.Conn, error) {
	conn, res, err := websocket.Dial(ctx, t.base.JoinPath(clientpb.SyncPath).String(), &websocket.DialOptions{
		HTTPClient:   t.ws,
		HTTPHeader:   http.Header{"Authorization": {"Bearer " + t.token}},
		Subprotocols: []string{clientpb.SyncBatch, clientpb.SyncProtocol},
	})
	if err != nil {
		if res != nil && res.StatusCode == http.StatusUnauthorized {
			return nil, &Error{Reason: "unauthenticated", Message: "the provider does not know this device", Remedy: "enrol again", cause: err}
		}
		return nil, fmt.Errorf("opening sync stream: %w", err)
	}
	if p := conn.Subprotocol(); p != clientpb.SyncBatch && p != clientpb.SyncProtocol {
		conn.CloseNow()
		return nil, errors.New("opening sync stream: the server speaks another protocol")
	}
	conn.SetReadLimit(maxFrameBytes)
	return conn, nil
}

func (t *transport) close() {
	t.calls.CloseIdleConnections()
	t.ws.CloseIdleConnections()
}
