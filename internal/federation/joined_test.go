package federation

import (
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"hubbub/internal/room"
	"hubbub/mimi"
)

// tally counts the writes of connections.
type tally struct {
	net.Conn
	writes *atomic.Int64
}

func (c tally) Write(b []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(b)
}

// tallied is a client whose writes to a.localhost are counted, once it has its
// directory.
func (w *world) tallied(change func(*ServerConfig)) (*Client, *atomic.Int64) {
	_, addr := w.server("a.localhost", &fakeRoles{}, change)
	c := w.client("b.localhost", map[mimi.Domain]string{"a.localhost": addr}, nil)
	writes := &atomic.Int64{}
	dial := c.dialer("a.localhost")
	c.peer("a.localhost").transport.DialContext = joining(func(ctx context.Context, network, to string) (net.Conn, error) {
		conn, err := dial(ctx, network, to)
		return tally{conn, writes}, err
	})
	if err := c.Greet(w.t.Context(), "a.localhost"); err != nil {
		w.t.Fatal(err)
	}
	return c, writes
}

// TestRequestsLeaveInOnePiece: the headers of a small request and its body are one
// write; to a provider that may be of another kind, and with large bodies, two.
func TestRequestsLeaveInOnePiece(t *testing.T) {
	w := newWorld(t)
	c, writes := w.tallied(nil)
	const requests = 20
	post := func(body string) int64 {
		before := writes.Load()
		for range requests {
			if err := c.Notify(t.Context(), "a.localhost", testRoom, room.Pos{}, []byte(body)); err != nil {
				t.Fatal(err)
			}
		}
		return writes.Load() - before
	}
	post("what comes once in a connection")
	if n := post("small"); n >= 3*requests/2 { // net/http may have something to say besides
		t.Errorf("%d small requests took %d writes", requests, n)
	}
	if n := post(strings.Repeat("x", maxJoined+1)); n < 2*requests {
		t.Errorf("%d large requests took %d writes: this counts nothing", requests, n)
	}
	delete(c.peer("a.localhost").directory.doc, mimi.EndpointSubmitBatch)
	if n := post("small"); n < 2*requests {
		t.Errorf("%d requests to a stranger took %d writes", requests, n)
	}
}

// TestJoinedRequestsShareAConnection: whatever else is written, nothing is kept for
// good, not even what belongs to a request that is given up.
func TestJoinedRequestsShareAConnection(t *testing.T) {
	c, _ := newWorld(t).tallied(nil)
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			for k := range 50 {
				ctx, cancel := context.WithCancel(t.Context())
				given := (i+k)%5 == 0
				if given {
					go cancel()
				}
				body := strings.Repeat("x", (i*97+k*311)%(2*maxJoined))
				if err := c.Notify(ctx, "a.localhost", testRoom, room.Pos{}, []byte(body)); err != nil && !given {
					t.Error(err)
				}
				cancel()
			}
		})
	}
	all.Wait()
}
