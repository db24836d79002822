package room

import (
	"bytes"

	"hubbub/mimi/policy"
	"hubbub/mls"
)

// checkConsistent judges what policy does not of the room that a commit leads
// to: its size, and that the hub can still propose.
func (s *State) checkConsistent(l Limits, before *State) error {
	if err := s.checkSize(l, before); err != nil {
		return err
	}
	return s.checkHub()
}

// checkWhole judges a room that did not grow from one already judged.
func (s *State) checkWhole(l Limits) error {
	if err := policy.Transition(nil, s.view.now); err != nil {
		return classify(err)
	}
	return s.checkConsistent(l, nil)
}

// checkHub demands that the hub stays an external sender (RS-6, H53).
func (s *State) checkHub() error {
	if _, ok := s.hubSender(); ok {
		return nil
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
