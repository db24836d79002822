package policy

import (
	"errors"
	"fmt"

	"hubbub/mimi"
	"hubbub/mls"
)

// ErrDenied is what every [Denied] is to errors.Is.
var ErrDenied = errors.New("mimi/policy: not allowed")

// Denied is a refusal by the room's policy.
type Denied struct {
	// Reason is for people: "bob@b.example may not remove cathy@c.example: role member
	// lacks canRemoveParticipant".
	Reason string

	// The parts of Reason; all empty where it is about the room as a whole.

	Actor  string      // who
	Action string      // wanted to do what
	Cause  string      // why not
	Lacks  *Capability // the right that is missing, if that is the cause
}

func (d *Denied) Error() string { return ErrDenied.Error() + ": " + d.Reason }

// Unwrap gives [ErrDenied].
func (d *Denied) Unwrap() error { return ErrDenied }

func deny(format string, args ...any) error { return &Denied{Reason: fmt.Sprintf(format, args...)} }

// An Actor is who asks for a change: a user by one of its clients, or the server of a
// provider by an external proposal.
type Actor struct {
	User     mimi.UserURI
	Provider mimi.Domain // set, with User empty, for a server

	// Credential is the type of the credential it showed; 0, not known, means that
	// preauthorisation does not apply to it.
	Credential mls.CredentialType
	// Code says that a user joins by a code the hub has found good, see
	// [JoinLinkPolicy.Admits].
	Code bool
}

// String names the actor for people.
func (a Actor) String() string {
	if a.Provider != "" {
		return string(a.Provider)
	}
	return a.User.Handle()
}

// A Change is one thing somebody asks for: an [AddParticipant], [RemoveParticipant],
// [ChangeRole], [AddClient], [RemoveClient], [ChangeMetadata], [ChangeComponent],
// [ChangeExtensions], [UsePSK], [ReInit] or [Unsupported].
type Change interface {
	verb() string // what the actor may not do, for people
}

type (
	// AddParticipant puts a user on the participant list.
	AddParticipant struct {
		User mimi.UserURI
		Role uint32
	}
	// RemoveParticipant takes a user off the list.
	RemoveParticipant struct{ User mimi.UserURI }
	// ChangeRole gives a listed user another role; to the banned role it is a ban.
	ChangeRole struct {
		User mimi.UserURI
		Role uint32
	}
	// AddClient brings a client into the group. External says that it brings itself,
	// by an external commit.
	AddClient struct {
		mimi.Identity
		External bool
	}
	// RemoveClient takes a client out of the group.
	RemoveClient struct{ mimi.Identity }
	// ChangeMetadata replaces the room's metadata; nil removes it.
	ChangeMetadata struct{ To *mimi.RoomMetaData }
	// ChangeComponent updates or removes a policy component. Of join links, Adds and
	// Removes say what of the two; neither means that the component goes.
	ChangeComponent struct {
		Component     mls.ComponentID
		Adds, Removes bool
	}
	// ChangeExtensions replaces the GroupContext's extensions.
	ChangeExtensions struct{}
	// UsePSK mixes a pre-shared key into the group.
	UsePSK struct{}
	// ReInit closes the group in favour of another.
	ReInit struct{}
	// Unsupported is a proposal no rule here covers; it is always denied.
	Unsupported struct{ Type mls.ProposalType }
)

func (c AddParticipant) verb() string    { return "add " + c.User.Handle() }
func (c RemoveParticipant) verb() string { return "remove " + c.User.Handle() }
func (c ChangeRole) verb() string        { return "change the role of " + c.User.Handle() }
func (c AddClient) verb() string         { return "add a client of " + c.User.Handle() }
func (c RemoveClient) verb() string      { return "remove a client of " + c.User.Handle() }
func (c ChangeMetadata) verb() string    { return "change the room's name or description" }
func (c ChangeComponent) verb() string   { return "change " + componentName(c.Component) }
func (c ChangeExtensions) verb() string  { return "change the group's extensions" }
func (c UsePSK) verb() string            { return "use a pre-shared key" }
func (c ReInit) verb() string            { return "close the group" }
func (c Unsupported) verb() string       { return fmt.Sprintf("send a proposal of type %v", c.Type) }

// ChangesOf says what one proposal asks for. List is the participant list as committed,
// which indices refer to (D-25); leafOf names the client at a leaf of the current
// epoch. Updates and external inits ask for nothing. The error is about octets that
// make no sense and wraps [mimi.ErrMalformed], [mimi.ErrBadUpdate] or
// [mimi.ErrBadCredential].
func ChangesOf(p *mls.Proposal, sender mls.Sender, list *mimi.ParticipantListData, leafOf func(mls.LeafIndex) (mimi.Identity, error)) ([]Change, error) {
	switch p.Type {
	case mls.ProposalTypeUpdate, mls.ProposalTypeExternalInit:
		return nil, nil
	case mls.ProposalTypeAdd:
		id, err := mimi.ClaimedIdentity(&p.Add.KeyPackage.LeafNode.Credential)
		return []Change{AddClient{Identity: id}}, err
	case mls.ProposalTypeRemove:
		id, err := leafOf(p.Remove.Removed)
		return []Change{RemoveClient{id}}, err
	case mls.ProposalTypeSelfRemove:
		id, err := leafOf(sender.LeafIndex)
		return []Change{RemoveClient{id}}, err
	case mls.ProposalTypeAppDataUpdate:
		return componentChanges(p.AppDataUpdate, list)
	case mls.ProposalTypeGroupContextExtensions:
		return []Change{ChangeExtensions{}}, nil
	case mls.ProposalTypePSK:
		return []Change{UsePSK{}}, nil
	case mls.ProposalTypeReInit:
		return []Change{ReInit{}}, nil
	}
	return []Change{Unsupported{p.Type}}, nil
}

func componentChanges(u *mls.AppDataUpdate, list *mimi.ParticipantListData) ([]Change, error) {
	remove := u.Op == mls.AppDataUpdateOpRemove
	switch {
	case u.Component == mimi.ComponentParticipantList && !remove:
		return listChanges(u.Data, list)
	case u.Component == mimi.ComponentRoomMetadata && remove:
		return []Change{ChangeMetadata{}}, nil
	case u.Component == mimi.ComponentRoomMetadata:
		m, err := mimi.ParseRoomMetaData(u.Data)
		return []Change{ChangeMetadata{m}}, err
	}
	change := ChangeComponent{Component: u.Component}
	if u.Component == mimi.ComponentJoinLinks && !remove {
		links, err := mimi.ParseJoinLinksUpdate(u.Data)
		if err != nil {
			return nil, err
		}
		change.Adds, change.Removes = len(links.Added) > 0, len(links.Removed) > 0
	}
	return []Change{change}, nil
}

func listChanges(data []byte, list *mimi.ParticipantListData) ([]Change, error) {
	u, err := mimi.ParseParticipantListUpdate(data)
	if err != nil {
		return nil, err
	}
	if _, err := list.Apply(u); err != nil { // also checks the indices used below
		return nil, err
	}
	var changes []Change
	for _, c := range u.ChangedRoles {
		changes = append(changes, ChangeRole{list.Participants[c.UserIndex].User, c.Role})
	}
	for _, i := range u.Removed {
		changes = append(changes, RemoveParticipant{list.Participants[i].User})
	}
	for _, p := range u.Added {
		changes = append(changes, AddParticipant{p.User, p.Role})
	}
	return changes, nil
}

var componentNames = map[mls.ComponentID]string{
	mimi.ComponentFrankingAgent:      "the room's franking agent",
	mimi.ComponentOperationalPolicy:  "the room's operational policy",
	mimi.ComponentRolesList:          "the room's roles",
	mimi.ComponentPreauthList:        "who is preauthorised",
	mimi.ComponentBaseRoomPolicy:     "the room's base policy",
	mimi.ComponentStatusNotification: "the policy on status notifications",
	mimi.ComponentJoinLinkPolicy:     "the policy on join links",
	mimi.ComponentJoinLinks:          "the room's join links",
	mimi.ComponentLinkPreviewPolicy:  "the policy on link previews",
	mimi.ComponentAssetPolicy:        "the policy on assets",
	mimi.ComponentLoggingPolicy:      "the policy on logging",
	mimi.ComponentChatHistoryPolicy:  "the policy on shared history",
	mimi.ComponentBotPolicy:          "the policy on bots",
	mimi.ComponentMessageExpiration:  "the policy on expiring messages",
}

func componentName(id mls.ComponentID) string {
	if s, ok := componentNames[id]; ok {
		return s
	}
	return fmt.Sprintf("component %v", id)
}
