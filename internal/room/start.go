package room

import (
	"bytes"
	"fmt"

	"hubbub/mimi"
	"hubbub/mls"
	"hubbub/mls/wire"
)

// Creation is the first state of a room, as its creator's client made it.
type Creation struct {
	Room      mimi.RoomURI
	Creator   mimi.ClientURI // authenticated
	GroupInfo []byte         // of epoch 0 or later, without tree, with external_pub
	Tree      []byte         // content of a ratchet_tree extension
}

// Create is the first step of a room at its hub. The group must have one
// member, the creator, who is also the only participant (UPD-28). The state it
// returns is at the position before entry 1.
func Create(env *Env, in Creation, nowMS uint64) (State, Effects, error) {
	s, eff, err := create(env, in, nowMS)
	if r, ok := asRefusal(err); ok {
		return State{}, Effects{Refusal: r}, nil
	}
	return s, eff, err
}

func create(env *Env, in Creation, nowMS uint64) (State, Effects, error) {
	s := State{Room: in.Room, Hub: in.Room.Domain(), Pos: StartPos(in.Room), clock: &clock{}}
	s.clock.set(nowMS)
	if in.Creator.Domain() != s.Hub {
		return s, Effects{}, refuse(NotAllowed, "a room is created by a client of its hub")
	}
	gi, err := s.load(env, in.GroupInfo, in.Tree)
	if err != nil {
		return s, Effects{}, err
	}
	if _, ok := gi.Extensions.Find(mls.ExtensionTypeExternalPub); !ok {
		return s, Effects{}, refuse(NotAllowed, "the GroupInfo lacks external_pub")
	}
	if err := requireComponents(s.group); err != nil {
		return s, Effects{}, err
	}
	if s, err = s.derive(); err != nil {
		return s, Effects{}, refuse(NotAllowed, "the room's components do not decode")
	}
	if len(s.members) != 1 || s.members[0].Client != in.Creator {
		return s, Effects{}, refuse(NotAllowed, "the group must hold its creator and nobody else")
	}
	creator := s.members[0].User
	list := s.view.committed
	if len(list) != 1 || list[0].User != creator {
		return s, Effects{}, refuse(NotAllowed, "the participant list must hold the creator and nobody else")
	}
	if err := s.checkWhole(env.limits(false)); err != nil {
		return s, Effects{}, err
	}
	if err := env.checkEnvelope(nil, s.view.now); err != nil {
		return s, Effects{}, err
	}
	eff := Effects{
		StateChanged: true, Participants: list,
		Joined: []Joined{{User: creator, Client: in.Creator}},
		Changes: []Change{
			{Timestamp: nowMS, Actor: creator, Action: Created, User: creator, Role: list[0].Role},
			{Timestamp: nowMS, Actor: creator, Action: ClientJoined, User: creator, Client: in.Creator},
		},
	}
	return s, eff, nil
}

// StartFrom begins a replica at a snapshot, verifying what can be verified. Its
// errors say that the snapshot does not hold.
func StartFrom(env *Env, snap *Snapshot) (State, error) {
	s := State{
		Room: snap.Room, Hub: snap.Room.Domain(), Pos: snap.Pos, LastTimestamp: snap.LastTimestamp, clock: &clock{},
	}
	s.clock.set(snap.LastTimestamp)
	if _, err := s.load(env, snap.GroupInfo, snap.Tree); err != nil {
		return s, fmt.Errorf("room: snapshot: %w", err)
	}
	for _, p := range snap.Pending {
		var err error
		if s, err = s.withPending(p); err != nil {
			return s, fmt.Errorf("room: snapshot: %w", err)
		}
	}
	s, err := s.derive()
	if err != nil {
		return s, err
	}
	if err := s.checkWhole(env.limits(true)); err != nil {
		return s, fmt.Errorf("room: snapshot: %w", err)
	}
	have, want := s.view.committed, snap.Participants
	if len(have) != len(want) {
		return s, fmt.Errorf("room: snapshot: another participant list than the group's")
	}
	for i := range have {
		if have[i] != want[i] {
			return s, fmt.Errorf("room: snapshot: another participant list than the group's")
		}
	}
	return s, nil
}

// load builds the group from a GroupInfo and a tree nobody has checked yet.
func (s *State) load(env *Env, groupInfo, tree []byte) (*mls.GroupInfo, error) {
	gi := new(mls.GroupInfo)
	if err := wire.Unmarshal(bytes.Clone(groupInfo), gi); err != nil {
		return nil, refuse(NotAllowed, "the GroupInfo does not decode")
	}
	nodes, err := decodeTree(bytes.Clone(tree))
	if err != nil {
		return nil, refuse(NotAllowed, "the ratchet tree does not decode")
	}
	if _, ok := gi.Extensions.Find(mls.ExtensionTypeRatchetTree); ok {
		return nil, refuse(NotAllowed, "the tree travels beside the GroupInfo, not in it")
	}
	if s.group, err = mls.NewPublicGroup(gi, nodes, env.config(s.clock)); err != nil {
		return nil, classify(err)
	}
	s.groupInfo = bytes.Clone(groupInfo)
	for _, m := range s.group.Members() { // their credentials were verified just now
		id, err := mimi.ClaimedIdentity(&m.Leaf.Credential)
		if err != nil {
			return nil, refuse(NotAllowed, "a leaf does not name a client")
		}
		s.members = append(s.members, Member{Leaf: m.Index, User: id.User, Client: id.Client})
	}
	return gi, nil
}

// requireComponents is the baseline our hub demands of a room (EXT-28).
func requireComponents(g *mls.PublicGroup) error {
	dict := g.Dictionary()
	for _, id := range []mls.ComponentID{mimi.ComponentParticipantList, mimi.ComponentRolesList, mimi.ComponentBaseRoomPolicy} {
		if _, ok := dict.Get(id); !ok {
			return refuse(NotAllowed, "component %v is missing", id)
		}
	}
	return nil
}
