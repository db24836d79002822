package room

import (
	"hubbub/mimi"
	"hubbub/mls"
)

// rules are the room's policy components.
type rules struct{}

func loadRules(dict *mls.AppDataDictionary) (*rules, error) { return &rules{}, nil }

func (r *rules) maySend(role uint32) bool { return role != 0 && role != bannedRole }

func (r *rules) mayAddOwnClient(role uint32) bool { return true }

func (s *State) authorise(env *Env, p *proposed, by actor) error { return nil }

func (c *commit) authoriseWhole(env *Env) error { return nil }

func (s *State) checkPolicy(before *State) error { return nil }

var _ = mimi.ComponentRolesList
