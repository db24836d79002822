package api

import (
	"context"

	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// Run looks at the rooms the notifier was told of and wakes the streams of
// users whose place in a room changed, among them clients that are in no group
// yet and so do not listen to the room. It returns when ctx ends, and ends all
// sync streams with it. It is called once.
func (s *Server) Run(ctx context.Context) {
	defer close(s.stopping)
	seen := map[mimi.RoomURI]uint64{} // history up to here has been looked at
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.Notifier.kick:
		}
		for _, uri := range s.Notifier.takeWatched() {
			s.look(ctx, uri, seen)
		}
	}
}

func (s *Server) look(ctx context.Context, uri mimi.RoomURI, seen map[mimi.RoomURI]uint64) {
	from, known := seen[uri]
	if known {
		from++
	}
	var changes []room.Change
	err := s.Store.View(ctx, func(tx store.ReadTx) (err error) {
		changes, err = tx.History(uri, from)
		return err
	})
	if err != nil {
		if ctx.Err() == nil {
			s.Log.ErrorContext(ctx, "reading membership history", "error", err)
		}
		return
	}
	users := map[mimi.UserURI]struct{}{}
	for _, c := range changes {
		seen[uri] = max(seen[uri], c.Seq)
		if c.User.Domain() == s.Domain {
			users[c.User] = struct{}{}
		}
	}
	for u := range users {
		s.Notifier.wakeUser(u)
	}
}
