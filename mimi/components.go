package mimi

import (
	"fmt"

	"hubbub/mls"
)

// Components of a room in its GroupContext. Those from 0x0024 on are suggestions of
// mimi-room-policy-03 (D-43).
const (
	ComponentFrankAAD           mls.ComponentID = 0x0020
	ComponentFrankingAgent      mls.ComponentID = 0x0021
	ComponentParticipantList    mls.ComponentID = 0x0022
	ComponentRoomMetadata       mls.ComponentID = 0x0023
	ComponentOperationalPolicy  mls.ComponentID = 0x0024
	ComponentRolesList          mls.ComponentID = 0x0025
	ComponentPreauthList        mls.ComponentID = 0x0026
	ComponentBaseRoomPolicy     mls.ComponentID = 0x0027
	ComponentStatusNotification mls.ComponentID = 0x0028
	ComponentJoinLinkPolicy     mls.ComponentID = 0x0029
	ComponentJoinLinks          mls.ComponentID = 0x002A
	ComponentLinkPreviewPolicy  mls.ComponentID = 0x002B
	ComponentAssetPolicy        mls.ComponentID = 0x002C
	ComponentLoggingPolicy      mls.ComponentID = 0x002D
	ComponentChatHistoryPolicy  mls.ComponentID = 0x002E
	ComponentBotPolicy          mls.ComponentID = 0x002F
	ComponentMessageExpiration  mls.ComponentID = 0x0030
)

// Components is the logic of a room's components as package mls asks for it: what an
// AppDataUpdate does to the data (EXT-5 to EXT-7). It judges form and arithmetic, not
// rights; those are for package policy, which also offers a Components that checks the
// form of the policy components it knows. The zero value is ready and safe for
// concurrent use.
type Components struct {
	// Policy checks a new value of a policy component and reports whether it knows
	// the component. Nil: the components listed in mimi-room-policy-03 are replaced
	// unseen.
	Policy func(id mls.ComponentID, data []byte) (known bool, err error)
}

var _ mls.ComponentLogic = Components{}

// Update gives the data of a component after the updates of one commit, in their
// order. The error wraps [ErrBadUpdate] or [ErrMalformed].
func (c Components) Update(id mls.ComponentID, old []byte, exists bool, updates [][]byte) ([]byte, error) {
	if len(updates) == 0 {
		return nil, fmt.Errorf("%w: no update of component %v", ErrBadUpdate, id)
	}
	if id == ComponentParticipantList {
		return updateParticipants(old, exists, updates)
	}
	// META-3, and likewise for policies: each replaces the whole, so a second one
	// would silently undo the first.
	if len(updates) > 1 {
		return nil, fmt.Errorf("%w: component %v is updated twice in one commit", ErrBadUpdate, id)
	}
	if id == ComponentRoomMetadata {
		return updateMetadata(old, exists, updates[0])
	}
	if id == ComponentFrankingAgent {
		if exists { // FRK-14
			return nil, fmt.Errorf("%w: another franking agent takes a new group", ErrBadUpdate)
		}
		if _, err := ParseFrankingAgent(updates[0]); err != nil {
			return nil, err
		}
		return updates[0], nil
	}
	if id == ComponentJoinLinks {
		return updateJoinLinks(old, exists, updates[0])
	}
	known := id >= ComponentOperationalPolicy && id <= ComponentMessageExpiration
	if c.Policy != nil {
		var err error
		if known, err = c.Policy(id, updates[0]); err != nil {
			return nil, fmt.Errorf("%w: component %v: %w", ErrBadUpdate, id, err)
		}
	}
	if !known {
		return nil, fmt.Errorf("%w: unknown component %v", ErrBadUpdate, id)
	}
	return updates[0], nil
}

// Remove refuses to remove what a room cannot be without. The error wraps
// [ErrBadUpdate].
func (c Components) Remove(id mls.ComponentID, _ []byte) error {
	switch {
	case id == ComponentRoomMetadata:
		return nil
	case id == ComponentRolesList || id == ComponentBaseRoomPolicy:
	case id >= ComponentOperationalPolicy && id <= ComponentMessageExpiration:
		return nil
	}
	return fmt.Errorf("%w: component %v cannot be removed", ErrBadUpdate, id)
}

func updateParticipants(old []byte, exists bool, updates [][]byte) ([]byte, error) {
	list := new(ParticipantListData)
	if exists {
		var err error
		if list, err = ParseParticipantList(old); err != nil {
			return nil, err
		}
	}
	parsed := make([]*ParticipantListUpdate, 0, len(updates))
	for _, b := range updates {
		u, err := ParseParticipantListUpdate(b)
		if err != nil {
			return nil, err
		}
		parsed = append(parsed, u)
	}
	next, err := list.Apply(parsed...)
	if err != nil {
		return nil, err
	}
	return next.Marshal()
}

func updateMetadata(old []byte, exists bool, update []byte) ([]byte, error) {
	next, err := ParseRoomMetaData(update)
	if err != nil {
		return nil, err
	}
	if !exists {
		return update, nil
	}
	was, err := ParseRoomMetaData(old)
	if err != nil {
		return nil, err
	}
	if was.Room != next.Room {
		return nil, fmt.Errorf("%w: the room's identifier cannot change", ErrBadUpdate)
	}
	return update, nil
}
