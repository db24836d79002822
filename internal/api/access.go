package api

import (
	"errors"
	"slices"

	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// roleBanned is the highest role index that gives no place in a room: 0 is
// outside, 1 is banned.
const roleBanned = 1

// Standings is what Rooms may offer besides: MayPost says whether a client is
// known, without asking the store, to be a member of the group of a room that
// takes messages, and its user a participant. false: the store has to tell.
type Standings interface {
	MayPost(room mimi.RoomURI, client mimi.ClientURI) bool
}

// mayPost says whether a message needs no look at the store: what else can be
// wrong with it is found by whoever stores it, or is the hub's to say.
func (s *Server) mayPost(sub *store.Submission) bool {
	known, ok := s.Rooms.(Standings)
	return ok && sub.Kind == store.SubmitMessage && known.MayPost(sub.Room, sub.Client)
}

// access is what a user may see of a room.
type access struct {
	rec          *store.RoomRecord
	participants []room.Participant
	in           bool   // the user is a participant now
	until        uint64 // if not: nothing after this Seq is the user's business
}

// accessTo judges what the user may see of a room. Rooms that do not exist and
// rooms the user never was in give the same error.
func accessTo(tx store.ReadTx, user mimi.UserURI, uri mimi.RoomURI) (*access, error) {
	rec, err := tx.RoomHead(uri)
	if errors.Is(err, store.ErrNotFound) {
		return nil, noSuchRoom()
	}
	if err != nil {
		return nil, err
	}
	a := &access{rec: rec}
	if a.participants, err = tx.Participants(uri); err != nil {
		return nil, err
	}
	if a.in = isIn(a.participants, user); a.in {
		return a, nil
	}
	history, err := tx.History(uri, 0)
	if err != nil {
		return nil, err
	}
	was := false
	for _, c := range history {
		if c.User == user && c.Client == "" {
			was, a.until = true, c.Seq
		}
	}
	if !was {
		return nil, noSuchRoom()
	}
	return a, nil
}

func isIn(participants []room.Participant, user mimi.UserURI) bool {
	return slices.ContainsFunc(participants, func(p room.Participant) bool {
		return p.User == user && p.Role > roleBanned
	})
}

// inGroup says whether a client is a member of the room's MLS group now.
func inGroup(spans []store.Membership, uri mimi.RoomURI) bool {
	return slices.ContainsFunc(spans, func(m store.Membership) bool {
		return m.Room == uri && m.Until == 0
	})
}

// reach is the last Seq of a span that can be read now.
func reach(m store.Membership, head uint64) uint64 {
	if m.Until != 0 && m.Until < head {
		return m.Until
	}
	return head
}
