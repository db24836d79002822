package api

import (
	"context"
	"math"
	"slices"
	"sync"

	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/internal/tail"
	"hubbub/mimi"
)

// Run looks at the rooms the notifier was told of and wakes the streams of
// users whose place in a room changed, among them clients that are in no group
// yet and so do not listen to the room. It also stores what clients acknowledge. It
// returns when ctx ends, and ends all sync streams with it. It is called once.
func (s *Server) Run(ctx context.Context) {
	var acks sync.WaitGroup
	acks.Go(func() {
		s.acks.run(ctx, s.AckEvery, func(err error) { s.Log.ErrorContext(ctx, "storing what clients acknowledge", "error", err) })
	})
	defer acks.Wait()
	defer func() {
		close(s.stopping)
		s.Notifier.endAll(errStopping)
	}()
	if s.Tails != nil {
		s.Notifier.watchOnly(s.Tails.Changed)
	}
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

// plain says whether all that a log has grown by since a place left its history as
// it was, and where the log ends, if that can be told without the store.
func (s *Server) plain(uri mimi.RoomURI, since uint64) (plain bool, last uint64) {
	if s.Tails == nil {
		return false, 0
	}
	list, known := s.Tails.After(uri, since, math.MaxInt, math.MaxInt)
	if !known {
		return false, s.Tails.Last(uri)
	}
	if len(list) == 0 {
		return true, since
	}
	return !slices.ContainsFunc(list, func(e *tail.Entry) bool { return !e.Plain }), list[len(list)-1].Seq
}

func (s *Server) look(ctx context.Context, uri mimi.RoomURI, seen map[mimi.RoomURI]uint64) {
	from, known := seen[uri]
	plain, last := s.plain(uri, from)
	if known && plain {
		seen[uri] = last
		return
	}
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
	seen[uri] = max(seen[uri], last)
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
