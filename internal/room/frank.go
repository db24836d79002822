package room

import (
	"hubbub/mimi"
	"hubbub/mimi/policy"
	"hubbub/mls"
)

// A Franker makes a hub's proof that it accepted a message, nil if it cannot: the agent
// has another key than ours, or the suite is not that of our key. What it gives has to
// follow from its arguments alone, so that a step which is taken again makes the same.
type Franker func(suite mls.CipherSuite, agent *mimi.FrankingAgent, tag mimi.FrankTag, c *mimi.FrankingContext) (*mimi.Frank, error)

// frank is the proof for a message that is being accepted; nil if the room has no agent
// or the message no tag (FRK-5, D-35).
func (s *State) frank(env *Env, in *Submission, timestamp uint64) (*mimi.Frank, error) {
	if s.view.agent == nil || env.Frank == nil {
		return nil, nil
	}
	tag, ok := mimi.FrankTagOf(in.message.Private.AuthenticatedData)
	if !ok {
		return nil, nil
	}
	return env.Frank(s.group.Context().CipherSuite, s.view.agent, tag,
		&mimi.FrankingContext{Sender: in.Sender, Room: s.Room, Timestamp: timestamp})
}

// FrankingAgent is whoever franks the room's messages, nil if nobody does.
func (s *State) FrankingAgent() *mimi.FrankingAgent { return s.view.agent }

// MayReport says whether a user may report abuse in the room.
func (s *State) MayReport(u mimi.UserURI) bool { return s.view.now.Can(u, policy.CanReportAbuse) }

// RoleMayReport says whether a role may, as the room defines it now.
func (s *State) RoleMayReport(role uint32) bool {
	return s.view.now.Roles.Role(role).Can(policy.CanReportAbuse)
}
