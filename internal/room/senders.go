package room

import (
	"fmt"

	"hubbub/mimi"
	"hubbub/mls"
	"hubbub/mls/wire"
)

// Upkeep is the update our hub owes a room of its own: a proposal to take out of the
// external senders every other provider without a participant (RS-8, D-52). The order of
// those that stay is kept, and so is every other extension (RS-10). Nil: there is nothing
// to do, or it is pending already. Senders that come are for members to add (RS-7).
func Upkeep(env *Env, s *State) ([]byte, error) {
	if env.Signer == nil || s.Frozen != "" {
		return nil, nil
	}
	for _, c := range s.group.Cached() {
		if c.Proposal.Type == mls.ProposalTypeGroupContextExtensions {
			return nil, nil
		}
	}
	index, ok := s.hubSender()
	stay, gone := s.presentSenders()
	if !ok || !gone {
		return nil, nil
	}
	data, err := wire.Marshal(stay)
	if err != nil {
		return nil, fmt.Errorf("room: external senders: %w", err)
	}
	ctx := s.group.Context()
	octets, err := mls.ExternalProposal(ctx, index, env.Signer, mls.Proposal{Type: mls.ProposalTypeGroupContextExtensions,
		GroupContextExtensions: &mls.GroupContextExtensions{Extensions: ctx.Extensions.Set(mls.ExtensionTypeExternalSenders, data)}})
	if err != nil {
		return nil, fmt.Errorf("room: proposing external senders: %w", err)
	}
	m, err := mls.ParseMessage(octets)
	if err != nil {
		return nil, fmt.Errorf("room: proposing external senders: %w", err)
	}
	return (&mimi.HandshakeBundle{Message: *m}).Marshal()
}

// presentSenders are the external senders that stay: the hub, providers of participants,
// and what names no provider, which is none of ours to judge.
func (s *State) presentSenders() (stay mls.ExternalSenders, gone bool) {
	present := map[mimi.Domain]bool{s.Hub: true}
	for _, p := range s.view.now.Participants.Participants {
		if s.view.now.IsParticipant(p.User) {
			present[p.User.Domain()] = true
		}
	}
	for _, e := range s.group.ExternalSenders() {
		if d, err := mimi.ProviderIdentity(&e.Credential); err == nil && !present[d] {
			gone = true
			continue
		}
		stay = append(stay, e)
	}
	return stay, gone
}
