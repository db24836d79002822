package room

import (
	"hubbub/mimi"
	"hubbub/mls"
)

// actor is who stands behind a handshake: a client, or a provider's server.
type actor struct {
	user   mimi.UserURI
	client mimi.ClientURI
	member bool          // it is in the group, at leaf
	leaf   mls.LeafIndex // if member
	server mimi.Domain   // not "" for an external sender
}

func (a *actor) domain() mimi.Domain {
	if a.server != "" {
		return a.server
	}
	return a.user.Domain()
}

// actor resolves the sender of a handshake. Its signature is checked by the
// MLS rules, later in the same step.
func (s *State) actor(env *Env, c *mls.FramedContent) (actor, error) {
	switch c.Sender.Type {
	case mls.SenderTypeMember:
		if m, ok := s.member(c.Sender.LeafIndex); ok {
			return actor{user: m.User, client: m.Client, member: true, leaf: m.Leaf}, nil
		}
	case mls.SenderTypeNewMemberCommit:
		if c.Commit != nil && c.Commit.Path != nil {
			return s.newcomer(env, &c.Commit.Path.LeafNode)
		}
	case mls.SenderTypeNewMemberProposal:
		if c.Proposal != nil && c.Proposal.Add != nil {
			return s.newcomer(env, &c.Proposal.Add.KeyPackage.LeafNode)
		}
	case mls.SenderTypeExternal:
		senders := s.group.ExternalSenders()
		if i := c.Sender.SenderIndex; uint64(i) < uint64(len(senders)) {
			if d, err := mimi.ProviderIdentity(&senders[i].Credential); err == nil {
				return actor{server: d}, nil
			}
		}
	}
	return actor{}, refuse(NotAllowed, "the sender is not one of the room's")
}

// newcomer is the actor behind a leaf that is not in the group yet.
func (s *State) newcomer(env *Env, leaf *mls.LeafNode) (actor, error) {
	id, err := env.identify(leaf, s.clock)
	if err != nil {
		return actor{}, err
	}
	return actor{user: id.User, client: id.Client}, nil
}

// proposer resolves the sender of a proposal in a commit of this epoch. by is
// the committer.
func (s *State) proposer(env *Env, p *proposed, by actor) (actor, error) {
	if p.ref == nil {
		return by, nil
	}
	return s.actor(env, &mls.FramedContent{Sender: p.sender, Proposal: p.Proposal})
}

// identify says whose a leaf is. Whatever is wrong with its credential is the
// sender's fault.
func (env *Env) identify(leaf *mls.LeafNode, c *clock) (mimi.Identity, error) {
	if t := leaf.Credential.Type; t != mls.CredentialTypeBasic && t != mls.CredentialTypeX509 {
		return mimi.Identity{}, refuse(NotAllowed, "credentials are basic or X.509: rooms of minimal metadata are not hosted")
	}
	id, err := env.Verifier.Identify(&leaf.Credential, leaf.SignatureKey, c.now())
	if err != nil {
		return id, refuse(NotAllowed, "a credential does not prove who its holder is")
	}
	return id, nil
}

// checkHandshake makes the checks every handshake has to pass before its MLS
// content is looked at, in the order of UPD-16. peer is "" on a replica: then
// the hub has made that check.
func (s *State) checkHandshake(env *Env, m *mls.Message, peer mimi.Domain) (actor, error) {
	c := &m.Public.Content
	switch {
	case string(c.GroupID) != string(s.group.GroupID()):
		return actor{}, refuse(NotAllowed, "the message belongs to another group")
	case c.Epoch > s.group.Epoch() && peer == "":
		return actor{}, refuse(Future, "the epoch has not begun")
	case c.Epoch != s.group.Epoch():
		r := refuse(WrongEpoch, "the room is in another epoch")
		r.Epoch = s.group.Epoch()
		return actor{}, r
	}
	a, err := s.actor(env, c)
	if err != nil {
		return a, err
	}
	if peer != "" && a.domain() != peer {
		return a, refuse(NotAllowed, "the sender belongs to another provider")
	}
	return a, nil
}
