package federation

import (
	"context"
	"crypto/tls"
	"net"
	"net/http/httptrace"
	"sync"

	"hubbub/mimi"
)

// maxJoined is up to which size a request's body leaves in one piece with its
// headers.
const maxJoined = 8 * kib

// joined is a connection below TLS that can be told to keep what is written next
// until something follows. net/http writes the headers of a request and its body one
// after the other: two records, two system calls here, and two times that the peer is
// woken.
type joined struct {
	net.Conn

	mu   sync.Mutex
	keep bool // the next write is to be kept
	kept []byte
}

// Write implements net.Conn. An error may come one write late.
func (c *joined) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keep {
		c.keep = false
		c.kept = append(c.kept, b...)
		return len(b), nil
	}
	if len(c.kept) == 0 {
		return c.Conn.Write(b)
	}
	whole := append(c.kept, b...)
	c.kept = whole[:0]
	if _, err := c.Conn.Write(whole); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (c *joined) keepNext() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keep = true
}

// joining makes a dialer's connections joined ones.
func joining(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &joined{Conn: conn}, nil
	}
}

// withJoinedBody has the headers of a request wait for its body, which net/http
// writes next, or resets the stream. That must not be held up by the peer, so it is
// for those only whose windows are known to be wide: providers of our kind.
func (p *peer) withJoinedBody(ctx context.Context, body []byte) context.Context {
	if len(body) == 0 || len(body) > maxJoined || !p.ofOurKind() {
		return ctx
	}
	var conn *joined
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			if t, ok := info.Conn.(*tls.Conn); ok {
				conn, _ = t.NetConn().(*joined)
			}
		},
		// Called while net/http holds the connection, right before it writes them.
		WroteHeaderField: func(string, []string) {
			if conn != nil {
				conn.keepNext()
				conn = nil
			}
		},
	})
}

func (p *peer) ofOurKind() bool {
	_, ours := p.directory.stale()[mimi.EndpointSubmitBatch]
	return ours
}
