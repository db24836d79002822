package room

import (
	"slices"

	"hubbub/mimi"
	"hubbub/mimi/policy"
)

// LinkPolicy is what the room says of join links with all that is pending, nil if it has
// none, and its links (D-26): one that is about to be revoked is good no more.
func (s *State) LinkPolicy() (*policy.JoinLinkPolicy, *mimi.JoinLinks, error) {
	return policy.LinksOf(s.view.effective)
}

// Listed says whether a user is in the committed participant list, if only as banned.
func (s *State) Listed(u mimi.UserURI) bool {
	return s.view.now.Participants.Role(u) != policy.Outside
}

// LinksBetween compares the join links of a room before and after a step, as committed:
// which have come and which are gone. Before is nil for a new room.
func LinksBetween(before, after *State) (came, gone [][]byte, err error) {
	if before != nil && before.view == after.view {
		return nil, nil, nil // nothing but messages in between
	}
	var had [][]byte
	if before != nil {
		if had, err = before.links(); err != nil {
			return nil, nil, err
		}
	}
	has, err := after.links()
	if err != nil {
		return nil, nil, err
	}
	return without(has, had), without(had, has), nil
}

func (s *State) links() ([][]byte, error) {
	p, links, err := policy.LinksOf(s.view.now)
	if err != nil {
		return nil, err
	}
	return p.Links(links), nil
}

// without gives what of a list is not in another.
func without(list, other [][]byte) (out [][]byte) {
	for _, l := range list {
		if !slices.ContainsFunc(other, func(o []byte) bool { return string(o) == string(l) }) {
			out = append(out, l)
		}
	}
	return out
}
