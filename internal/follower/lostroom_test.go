package follower_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"

	"hubbub/internal/follower"
	"hubbub/internal/room/roomtest"
	"hubbub/mimi"
)

// deaf is a way to a hub whose snapshots cannot be had.
type deaf struct {
	*provider
	err error
}

func (d deaf) Snapshot(context.Context, mimi.Domain, mimi.RoomURI, uint64) ([]byte, error) {
	return nil, d.err
}

// TestRoomIsNotDeniedInHaste: a follower that does not know a room, and cannot
// find out now whether it lost it, says so. A 404 would have the hub park the
// queue, and the room would never come back. Found by the simulator.
func TestRoomIsNotDeniedInHaste(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTrio(t)
		x.say(1)
		_, head, entries := x.providers["a.localhost"].log()
		x.b.kill()
		x.b.dir = t.TempDir()
		x.b.start()
		for _, c := range []struct {
			cause error
			want  int
		}{
			{errNetwork, http.StatusServiceUnavailable},
			{mimi.NewProblem(http.StatusServiceUnavailable, mimi.CodeUnavailable, "later"), http.StatusServiceUnavailable},
			{mimi.NewProblem(http.StatusNotFound, mimi.CodeNoSuchRoom, "no such room"), http.StatusNotFound},
		} {
			f := follower.New(follower.Config{
				Domain: "b.localhost", Store: x.b.store, Env: roomtest.Env(), Remote: deaf{x.b, c.cause}, Entries: x.b,
			})
			err := f.Notify(t.Context(), "a.localhost", chat, &head, entries[len(entries)-1].Body)
			var p *mimi.Problem
			if !errors.As(err, &p) || p.Status != c.want {
				t.Errorf("snapshot %v: notify answered %v, want %d", c.cause, err, c.want)
			}
		}
	})
}
