package room

import (
	"hubbub/mimi"
	"hubbub/mls"
)

// changes compares the room before and after a commit and says who did what:
// first to the participant list, in its order, then to the group, by leaf.
// Seq and Timestamp are filled in by append.
func (c *commit) changes(env *Env, after *State, eff *Effects) ([]Change, error) {
	who, err := c.listActors(env)
	if err != nil {
		return nil, err
	}
	changes := listChanges(c.before.view.now.Participants, after.view.now.Participants, func(u mimi.UserURI) mimi.UserURI {
		if a, ok := who[u]; ok {
			return a
		}
		return c.by.user
	})
	for _, r := range c.Removed {
		m, ok := c.before.member(r.Index)
		if !ok {
			continue
		}
		by, err := c.remover(env, r.Index)
		if err != nil {
			return nil, err
		}
		changes = append(changes, Change{Actor: by, Action: ClientLeft, User: m.User, Client: m.Client})
		eff.Left = append(eff.Left, m.Client)
	}
	for _, m := range after.members {
		if was, ok := c.before.member(m.Leaf); ok && was == m && !c.removed(m.Leaf) {
			continue
		}
		by, err := c.adder(env, m.Leaf)
		if err != nil {
			return nil, err
		}
		changes = append(changes, Change{Actor: by, Action: ClientJoined, User: m.User, Client: m.Client})
		eff.Joined = append(eff.Joined, Joined{User: m.User, Client: m.Client, External: c.External && m.Leaf == c.CommitterLeaf})
	}
	return changes, nil
}

func (c *commit) removed(leaf mls.LeafIndex) bool {
	for _, r := range c.Removed {
		if r.Index == leaf {
			return true
		}
	}
	return false
}

// listChanges compares two participant lists.
func listChanges(before, after *mimi.ParticipantListData, actor func(mimi.UserURI) mimi.UserURI) (changes []Change) {
	for _, p := range before.Participants {
		by := actor(p.User)
		switch role := after.Role(p.User); {
		case role == 0 && by == p.User:
			changes = append(changes, Change{Actor: by, Action: Left, User: p.User})
		case role == 0:
			changes = append(changes, Change{Actor: by, Action: Removed, User: p.User})
		case role != p.Role:
			changes = append(changes, Change{Actor: by, Action: RoleChanged, User: p.User, Role: role})
		}
	}
	for _, p := range after.Participants {
		if before.Index(p.User) < 0 {
			changes = append(changes, Change{Actor: actor(p.User), Action: Added, User: p.User, Role: p.Role})
		}
	}
	return changes
}

// listActors says who asked for the change of each user's entry in the list.
// A user is changed by at most one proposal (PL-5).
func (c *commit) listActors(env *Env) (map[mimi.UserURI]mimi.UserURI, error) {
	who := map[mimi.UserURI]mimi.UserURI{}
	list := c.before.view.now.Participants.Participants
	for i := range c.list {
		p := &c.list[i]
		u, err := p.listUpdate()
		if err != nil {
			return nil, err
		}
		if u == nil {
			continue
		}
		by, err := c.user(env, p)
		if err != nil {
			return nil, err
		}
		for _, r := range u.ChangedRoles {
			who[list[r.UserIndex].User] = by
		}
		for _, index := range u.Removed {
			if who[list[index].User] = by; c.renewedLeave(p, list[index].User) {
				who[list[index].User] = list[index].User
			}
		}
		for _, a := range u.Added {
			who[a.User] = by
		}
	}
	return who, nil
}

// user is the user behind a proposal of the commit. A provider's server acts
// in nobody's name; the one who commits what it proposed stands for it.
func (c *commit) user(env *Env, p *proposed) (mimi.UserURI, error) {
	a, err := c.before.proposer(env, p, c.by)
	if err != nil {
		return "", err
	}
	if a.user == "" {
		return c.by.user, nil
	}
	return a.user, nil
}

func (c *commit) remover(env *Env, leaf mls.LeafIndex) (mimi.UserURI, error) {
	for i := range c.list {
		p := &c.list[i]
		if p.Type == mls.ProposalTypeSelfRemove && p.sender.LeafIndex == leaf ||
			p.Type == mls.ProposalTypeRemove && p.Remove.Removed == leaf {
			if m, ok := c.before.member(leaf); ok && c.renewedLeave(p, m.User) {
				return m.User, nil
			}
			return c.user(env, p)
		}
	}
	return c.by.user, nil
}

func (c *commit) adder(env *Env, leaf mls.LeafIndex) (mimi.UserURI, error) {
	for _, a := range c.Adds {
		if a.Index != leaf {
			continue
		}
		for i := range c.list {
			p := &c.list[i]
			if p.Type == mls.ProposalTypeAdd && string(p.Add.KeyPackage.LeafNode.SignatureKey) == string(a.KeyPackage.LeafNode.SignatureKey) {
				return c.user(env, p)
			}
		}
	}
	return c.by.user, nil
}
