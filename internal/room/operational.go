package room

import (
	"hubbub/mimi"
	"hubbub/mls"
)

// checkOperational judges a handshake that is submitted to the hub by what the room and
// the hub take at all (POL-31). The followers take the hub's word for it.
func (s *State) checkOperational(b *mimi.HandshakeBundle) error {
	if !s.view.effective.Operational.AllowsHandshake(b.Message.WireFormat) {
		return refuse(NotAllowed, "the room's policy does not take handshakes as %v", b.Message.WireFormat)
	}
	if b.IsCommit() {
		for _, p := range b.Message.Public.Content.Commit.Proposals {
			if p.Proposal != nil && p.Proposal.Type == mls.ProposalTypeReInit {
				return refuseReInit()
			}
		}
		return nil
	}
	for _, m := range b.Proposals() {
		if p := m.Public.Content.Proposal; p != nil && p.Type == mls.ProposalTypeReInit {
			return refuseReInit()
		}
	}
	return nil
}

// refuseReInit keeps a room from ending in a group nobody can move it out of: our hub
// cannot begin the next one yet.
func refuseReInit() error {
	return refuse(NotAllowed, "this hub cannot move a room to another group (ReInit)")
}

// checkLifetime holds a KeyPackage to the longest life the room allows.
func (s *State) checkLifetime(kp *mls.KeyPackage) error {
	l := kp.LeafNode.Lifetime
	if l.NotAfter < l.NotBefore || !s.view.effective.Operational.AcceptsLifetime(l.NotAfter-l.NotBefore) {
		return refuse(NotAllowed, "a KeyPackage lives longer than the room's policy allows")
	}
	return nil
}
