package federation

import (
	"context"
	"net/http"
	"testing"
	"time"

	limits "hubbub/internal/peer"
	"hubbub/mimi"
)

// slowRoles answers submissions when told to.
type slowRoles struct {
	*fakeRoles
	in  chan mimi.Domain
	out chan struct{}
}

func (s *slowRoles) SubmitMessage(_ context.Context, peer mimi.Domain, _ mimi.RoomURI, _ []byte) ([]byte, error) {
	s.in <- peer
	<-s.out
	return []byte("done"), nil
}

// TestPlacesOfAPeer: of five requests at once two run, two wait and get their turn,
// and one is refused and told when to come again. Another peer does not notice.
func TestPlacesOfAPeer(t *testing.T) {
	w := newWorld(t)
	roles := &slowRoles{&fakeRoles{}, make(chan mimi.Domain, 10), make(chan struct{})}
	places := limits.NewPlaces[mimi.Domain](2, 2)
	_, addr := w.server("a.localhost", roles, func(c *ServerConfig) { c.Enter = places.Enter })
	addrs := map[mimi.Domain]string{"a.localhost": addr}
	b, c := w.client("b.localhost", addrs, nil), w.client("c.localhost", addrs, nil)
	results := make(chan error)
	for range 5 {
		go func() {
			_, err := b.SubmitMessage(t.Context(), "a.localhost", testRoom, []byte("x"))
			results <- err
		}()
	}
	p := asProblem(<-results) // nobody else can be done yet
	if p == nil || p.Status != http.StatusTooManyRequests || p.RetryAfter != time.Second ||
		p.Detail != "too many requests at once: 2 run and 2 wait" || !p.Retryable() {
		t.Errorf("one too many: %+v", p)
	}
	<-roles.in
	<-roles.in
	go func() {
		_, err := c.SubmitMessage(t.Context(), "a.localhost", testRoom, []byte("x"))
		results <- err
	}()
	if from := <-roles.in; from != "c.localhost" {
		t.Errorf("a third request of %s runs beside two", from)
	}
	close(roles.out)
	for range 5 {
		if err := <-results; err != nil {
			t.Errorf("one that had a place or waited: %v", err)
		}
	}
}

// TestAsksInTurn: a client of ours does not send a peer more at once than that one
// would take by default; the others wait for theirs instead of being refused.
func TestAsksInTurn(t *testing.T) {
	w := newWorld(t)
	roles := &slowRoles{&fakeRoles{}, make(chan mimi.Domain, 100), make(chan struct{})}
	places := limits.NewPlaces[mimi.Domain](16, 50)
	_, addr := w.server("a.localhost", roles, func(c *ServerConfig) { c.Enter = places.Enter })
	b := w.client("b.localhost", map[mimi.Domain]string{"a.localhost": addr}, nil)
	results := make(chan error)
	for range 90 {
		go func() {
			_, err := b.SubmitMessage(t.Context(), "a.localhost", testRoom, []byte("x"))
			results <- err
		}()
	}
	for range 16 {
		<-roles.in
	}
	close(roles.out)
	for range 90 {
		if err := <-results; err != nil {
			t.Fatal(err)
		}
	}
}
