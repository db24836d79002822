package federation

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"hubbub/mimi"
)

// witness keeps what it observed.
type witness struct {
	mu   sync.Mutex
	errs []error
	cert time.Time
}

func (w *witness) note(_ mimi.Domain, err error, certificateExpires time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.errs, w.cert = append(w.errs, err), certificateExpires
}

func (w *witness) last() (certificate time.Time, calls int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cert, len(w.errs), w.errs[len(w.errs)-1]
}

// TestTrial: a round trip says whom the peer takes us for, past a hold, and both
// sides note it.
func TestTrial(t *testing.T) {
	w := newWorld(t)
	var in, out witness
	_, addr := w.server("a.localhost", &fakeRoles{}, func(c *ServerConfig) { c.Observed = in.note })
	held := false
	c := w.client("b.localhost", map[mimi.Domain]string{"a.localhost": addr, "c.localhost": "127.0.0.1:1"}, func(c *ClientConfig) {
		c.Observed = out.note
		c.Held = func(mimi.Domain) bool { return held }
	})
	held = true
	trial, err := c.Test(t.Context(), "a.localhost")
	if err != nil {
		t.Fatal(err)
	}
	if trial.SeenAs != "b.localhost" || !slices.Contains(trial.Endpoints, mimi.EndpointDelivery) ||
		!trial.CertificateExpires.After(time.Now()) || trial.CertificateIssuer == "" {
		t.Errorf("%+v", trial)
	}
	for name, x := range map[string]*witness{"in": &in, "out": &out} {
		if cert, n, err := x.last(); err != nil || n != 1 || !cert.After(time.Now()) {
			t.Errorf("%s: %v, certificate until %s, %d requests", name, err, cert, n)
		}
	}
	_, err = c.Delivery(t.Context(), "a.localhost", testRoom)
	if _, n, _ := out.last(); !errors.Is(err, ErrHeld) || !errors.Is(err, ErrUnreachable) || n != 1 {
		t.Errorf("on hold: %v, %d requests", err, n)
	}
	if _, err := c.Test(t.Context(), "c.localhost"); !errors.Is(err, ErrUnreachable) {
		t.Errorf("nobody there: %v", err)
	}
	if _, _, err := out.last(); err == nil {
		t.Error("the failure was not noted")
	}
}

// TestPeerLimit: a peer beyond its rate is refused before its request is read,
// told when to come again, and heard of all the same.
func TestPeerLimit(t *testing.T) {
	w := newWorld(t)
	roles := &fakeRoles{body: []byte("yes")}
	var in witness
	var mu sync.Mutex
	left := 2 // the directory and one more
	_, addr := w.server("a.localhost", roles, func(c *ServerConfig) {
		c.Observed = in.note
		c.Limit = func(peer mimi.Domain) error {
			mu.Lock()
			defer mu.Unlock()
			if left--; left >= 0 {
				return nil
			}
			p := mimi.NewProblem(http.StatusTooManyRequests, mimi.CodeTooMany, "too many requests of %s", peer)
			p.RetryAfter = 7 * time.Second
			return p
		}
	})
	c := w.client("b.localhost", map[mimi.Domain]string{"a.localhost": addr}, nil)
	for i := range 2 {
		_, err := c.SubmitMessage(t.Context(), "a.localhost", testRoom, []byte("x"))
		if p := asProblem(err); (i == 0) != (err == nil) || i == 1 && (p == nil || p.Status != 429 || p.RetryAfter != 7*time.Second) {
			t.Errorf("request %d: %v", i+1, err)
		}
	}
	if calls := roles.take(); len(calls) != 1 {
		t.Errorf("got through: %q", calls)
	}
	if _, n, err := in.last(); err == nil || n != 3 {
		t.Errorf("noted %d requests, the last %v", n, err)
	}
}

// TestDeliveryTravels: the answer comes from the hook with the proven peer, and a
// provider without one says that it has none.
func TestDeliveryTravels(t *testing.T) {
	w := newWorld(t)
	_, with := w.server("a.localhost", &fakeRoles{}, func(c *ServerConfig) {
		c.Delivery = func(_ context.Context, peer mimi.Domain, uri mimi.RoomURI) ([]byte, error) {
			return []byte(string(peer) + " " + string(uri)), nil
		}
	})
	_, without := w.server("c.localhost", &fakeRoles{}, nil)
	c := w.client("b.localhost", map[mimi.Domain]string{"a.localhost": with, "c.localhost": without}, nil)
	if body, err := c.Delivery(t.Context(), "a.localhost", testRoom); err != nil || string(body) != "b.localhost "+string(testRoom) {
		t.Errorf("%q, %v", body, err)
	}
	if _, err := c.Delivery(t.Context(), "c.localhost", testRoom); asProblem(err) == nil || asProblem(err).Status != http.StatusNotFound {
		t.Errorf("without: %v", err)
	}
}
