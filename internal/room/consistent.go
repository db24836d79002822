package room

import (
	"bytes"

	"hubbub/mimi"
	"hubbub/mls"
	"hubbub/mls/wire"
)

const (
	defaultClients = 2000
	defaultUsers   = 1000
)

// checkConsistent judges the room that a commit leads to, however it got there
// (D-26, PL-11): the group holds clients of participants only, each client
// once, the hub can still propose, and no limit is passed.
func (s *State) checkConsistent(env *Env, before *State) error {
	if err := s.checkMembers(); err != nil {
		return err
	}
	// A limit holds back only what makes the room larger.
	clients, users := limit(env.Limits.Clients, defaultClients), limit(env.Limits.Users, defaultUsers)
	grew := before == nil || len(s.members) > len(before.members)
	more := before == nil || len(s.view.committed) > len(before.view.committed)
	if grew && len(s.members) > clients || more && len(s.view.committed) > users {
		return refuse(NotAllowed, "the room is full")
	}
	if err := s.checkHub(); err != nil {
		return err
	}
	if err := s.checkMetadata(); err != nil {
		return err
	}
	return s.checkPolicy(before)
}

// checkMembers is PL-11: every leaf is a client of a participant that is not
// banned, and no client is there twice.
func (s *State) checkMembers() error {
	seen := make(map[mimi.ClientURI]bool, len(s.members))
	for _, m := range s.members {
		switch role := s.view.list.Role(m.User); {
		case role == 0:
			return refuse(NotAllowed, "the group would hold a client whose user is not a participant")
		case role == bannedRole:
			return refuse(NotAllowed, "the group would hold a client of a banned user")
		case seen[m.Client]:
			return refuse(NotAllowed, "a client would be in the group twice")
		}
		seen[m.Client] = true
	}
	return nil
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

// checkMetadata holds the room's own name in its metadata to the truth (META-6).
func (s *State) checkMetadata() error {
	data, ok := s.group.Dictionary().Get(mimi.ComponentRoomMetadata)
	if !ok {
		return nil
	}
	meta, err := mimi.ParseRoomMetaData(data)
	if err != nil || meta.Room != s.Room {
		return refuse(NotAllowed, "the metadata names another room")
	}
	return nil
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

// equalExtensions compares two extension lists in all but one type.
func equalExtensions(a, b mls.Extensions, but mls.ExtensionType) bool {
	x, errX := wire.Marshal(a.Without(but))
	y, errY := wire.Marshal(b.Without(but))
	return errX == nil && errY == nil && bytes.Equal(x, y)
}
