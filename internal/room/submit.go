package room

import (
	"hubbub/mimi"
	"hubbub/mimi/policy"
	"hubbub/mls"
	"hubbub/mls/wire"
)

// submit is the hub's decision on an application message.
func (s State) submit(env *Env, in *Submission, timestamp uint64) (State, Effects, error) {
	m := in.message.Private
	switch {
	case in.Sender.Domain() != in.Peer:
		return s, Effects{}, refuse(NotAllowed, "the sender belongs to another provider")
	case string(m.GroupID) != string(s.group.GroupID()):
		return s, Effects{}, refuse(NotAllowed, "the message belongs to another group")
	case !s.view.effective.IsParticipant(in.Sender) || !s.view.effective.IsActive(in.Sender):
		return s, Effects{}, refuse(NotAllowed, "the sender is not an active participant")
	case m.Epoch < s.group.Epoch() && !s.view.effective.Operational.AcceptsEpoch(m.Epoch, s.group.Epoch()):
		r := refuse(EpochTooOld, "the room is in a later epoch")
		r.Epoch = s.group.Epoch()
		return s, Effects{}, r
	case m.Epoch > s.group.Epoch():
		return s, Effects{}, refuse(NotAllowed, "the epoch has not begun")
	case len(in.message.Raw) > env.limits(false).MessageBytes:
		return s, Effects{}, refuse(NotAllowed, "the message is too large")
	case len(m.Ciphertext) == 0:
		return s, Effects{}, refuse(NotAllowed, "the message is empty")
	}
	if err := policy.AuthorizeMessage(s.view.effective, in.Sender); err != nil {
		return s, Effects{}, classify(err)
	}
	if err := s.checkAAD(m); err != nil {
		return s, Effects{}, err
	}
	frank, err := s.frank(env, in, timestamp)
	if err != nil {
		return s, Effects{}, err
	}
	f := mimi.FanoutMessage{Timestamp: timestamp, Message: *in.message, Frank: frank}
	body, err := f.Marshal()
	if err != nil {
		return s, Effects{}, err
	}
	var eff Effects
	next := s.append(&eff, Entry{Timestamp: timestamp, Kind: KindApplication, Body: body, MessageHash: in.hash, Frank: frank})
	return next, eff, nil
}

// checkAAD refuses authenticated data that members would refuse (EXT-12).
func (s *State) checkAAD(m *mls.PrivateMessage) error {
	if !s.view.safeAAD {
		return nil
	}
	if err := wire.Unmarshal(m.AuthenticatedData, new(mls.SafeAAD)); err != nil {
		return refuse(NotAllowed, "the authenticated data is not what the room demands")
	}
	return nil
}

// announceMessage takes an application message from the hub's log. Who sent it
// only the hub knows. An epoch gone by is the hub's to allow.
func (s State) announceMessage(in *Announcement) (State, Effects, error) {
	m := in.message.Message.Private
	switch {
	case string(m.GroupID) != string(s.group.GroupID()):
		return s, Effects{}, refuse(NotAllowed, "the message belongs to another group")
	case m.Epoch > s.group.Epoch():
		return s, Effects{}, refuse(Future, "the epoch has not begun")
	}
	var eff Effects
	next := s.append(&eff, in.entry(KindApplication))
	return next, eff, nil
}

func (a *Announcement) entry(kind Kind) Entry {
	return Entry{Timestamp: a.message.Timestamp, Kind: kind, Body: a.message.Raw, MessageHash: a.hash}
}
