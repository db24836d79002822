package room

import (
	"fmt"

	"hubbub/mimi"
	"hubbub/mimi/policy"
	"hubbub/mls"
)

// renewals are the proposals our hub makes anew, in the epoch a joiner's commit begins,
// because that commit dropped them (FAN-13, D-30): somebody who is leaving leaves even
// though a device of somebody else joined first.
func (c *commit) renewals(env *Env, next *State) ([]mls.Message, error) {
	if env.Signer == nil {
		return nil, nil
	}
	proposals, err := policy.Renewals(c.before.Room, c.before.group, c.PublicCommit)
	if err != nil || len(proposals) == 0 {
		return nil, err
	}
	index, ok := next.hubSender()
	if !ok {
		return nil, nil // checkHub has refused that
	}
	out := make([]mls.Message, len(proposals))
	for i, p := range proposals {
		octets, err := mls.ExternalProposal(next.group.Context(), index, env.Signer, p)
		if err != nil {
			return nil, fmt.Errorf("room: renewing a proposal: %w", err)
		}
		m, err := mls.ParseMessage(octets)
		if err != nil {
			return nil, fmt.Errorf("room: renewing a proposal: %w", err)
		}
		out[i] = *m
	}
	return out, nil
}

// hubSender is the hub's place among the external senders.
func (s *State) hubSender() (uint32, bool) {
	for i, e := range s.group.ExternalSenders() {
		if d, err := mimi.ProviderIdentity(&e.Credential); err == nil && d == s.Hub {
			return uint32(i), true
		}
	}
	return 0, false
}

// renew caches what a hub attached to a commit. It is judged by what was pending before,
// for it carries on the authority of what the commit dropped.
func (c *commit) renew(next State, list []*mls.Message, timestamp uint64) (State, error) {
	if len(list) == 0 {
		return next, nil
	}
	if !c.External {
		return next, refuse(InvalidProposal, "proposals are attached to a commit that drops none")
	}
	bundle := make([]*mls.CachedProposal, len(list))
	for i, m := range list {
		if m.Public == nil {
			return next, refuse(InvalidProposal, "an attached proposal is not a PublicMessage")
		}
		var err error
		if bundle[i], err = next.group.Proposal(m.Public); err != nil {
			return next, classify(err)
		}
	}
	if err := policy.JudgeRenewed(next.Room, c.before.group, next.group, bundle...); err != nil {
		return next, blame(classify(err), bundle[0].Ref)
	}
	return next.cache(list, bundle, timestamp)
}

// renewedLeave says whether a proposal of the hub carries on that a user leaves: the hub
// could not remove the user by itself. Where it could, whoever commits stands for it.
func (c *commit) renewedLeave(p *proposed, user mimi.UserURI) bool {
	senders := c.before.group.ExternalSenders()
	if p.sender.Type != mls.SenderTypeExternal || uint64(p.sender.SenderIndex) >= uint64(len(senders)) {
		return false
	}
	credential := &senders[p.sender.SenderIndex].Credential
	d, err := mimi.ProviderIdentity(credential)
	return err == nil && d == c.before.Hub && !policy.Ask(c.before.view.now,
		policy.Actor{Provider: d, Credential: credential.Type}, policy.RemoveParticipant{User: user}).Allowed
}
