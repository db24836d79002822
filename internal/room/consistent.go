package room

import (
	"bytes"

	"hubbub/mimi"
	"hubbub/mimi/policy"
	"hubbub/mls"
)

const (
	defaultClients = 2000
	defaultUsers   = 1000
)

// checkConsistent judges what policy does not of the room that a commit leads
// to: our own limits, which hold back only what makes the room larger, and that
// the hub can still propose.
func (s *State) checkConsistent(env *Env, before *State) error {
	clients, users := limit(env.Limits.Clients, defaultClients), limit(env.Limits.Users, defaultUsers)
	grew := before == nil || len(s.members) > len(before.members)
	more := before == nil || len(s.view.committed) > len(before.view.committed)
	if grew && len(s.members) > clients || more && len(s.view.committed) > users {
		return refuse(NotAllowed, "the room is full")
	}
	return s.checkHub()
}

// checkWhole judges a room that did not grow from one already judged.
func (s *State) checkWhole(env *Env) error {
	if err := policy.Transition(nil, s.view.now); err != nil {
		return classify(err)
	}
	return s.checkConsistent(env, nil)
}

// checkHub demands that the hub stays an external sender (RS-6, H53).
func (s *State) checkHub() error {
	senders := s.group.ExternalSenders()
	for i := range senders {
		if d, err := mimi.ProviderIdentity(&senders[i].Credential); err == nil && d == s.Hub {
			return nil
		}
	}
	return refuse(NotAllowed, "the hub is not among the external senders")
}

// checkContextExtensions refuses a replacement of the GroupContext's extensions
// that touches the application data: that changes by AppDataUpdate only
// (UPD-6, EXT-9).
func (s *State) checkContextExtensions(p *mls.GroupContextExtensions) error {
	have, _ := s.group.Context().Extensions.Find(mls.ExtensionTypeAppDataDictionary)
	want, _ := p.Extensions.Find(mls.ExtensionTypeAppDataDictionary)
	if !bytes.Equal(have, want) {
		return refuse(NotAllowed, "the application data changes by its own proposals only")
	}
	return nil
}
