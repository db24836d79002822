package policy

import (
	"fmt"

	"hubbub/mimi"
	"hubbub/mimi/content"
	"hubbub/mls"
	"hubbub/mls/wire"
)

// Roles of [DefaultRoles] that people hold.
const (
	Member uint32 = 2
	Admin  uint32 = 3
)

// DefaultRoles gives the roles of a room whose members trust each other: anybody may
// bring somebody in, admins may also show somebody out, hand out roles, make links by
// which others join, and describe the room. Nobody has to stay: the last admin may leave, and the room goes on without
// one.
func DefaultRoles() *RoleData {
	member := []Capability{
		CanAddParticipant, CanAddOwnClient, CanRemoveOwnClient, CanRemoveSelf,
		CanSendMessage, CanReceiveMessage, CanCopyMessage, CanReportAbuse, CanReplyToMessage, CanReactToMessage,
		CanEditReaction, CanDeleteOwnReaction, CanEditOwnMessage, CanDeleteOwnMessage,
		CanStartTopic, CanReplyInTopic, CanEditOwnTopic,
		CanUploadImage, CanUploadAudio, CanUploadVideo, CanUploadAttachment,
		CanDownloadImage, CanDownloadAudio, CanDownloadVideo, CanDownloadAttachment,
		CanSendLink, CanSendLinkPreview, CanFollowLink, CanCopyLink,
	}
	admin := append([]Capability{
		CanRemoveParticipant, CanBan, CanUnban, CanKick, CanChangeUserRole, CanCreateJoinCode, CanDeleteJoinCode,
		CanDeleteOtherReaction, CanDeleteOtherMessage, CanEditOtherTopic,
		CanChangeRoomName, CanChangeRoomDescription, CanChangeRoomAvatar, CanChangeRoomSubject, CanChangeRoomMood,
		CanDestroyRoom, CanChangeRoomMembershipStyle, CanChangeRoleDefinitions, CanChangePreauthorizedUserList,
		CanChangeOtherPolicyAttribute, CanChangeMLSOperationalPolicies, CanSendMLSReinitProposal,
	}, member...)
	none := uint32(0)
	return &RoleData{Roles: []Role{
		{Index: Outside, Name: "outside", Description: "not in the room", Capabilities: []Capability{CanUseJoinCode}, MaxParticipants: &none, MaxActive: &none,
			RoleChanges: []RoleChanges{{From: Outside, Targets: []uint32{Member}}}},
		{Index: Banned, Name: bannedName, Description: "kept out of the room", MaxActive: &none},
		{Index: Member, Name: "member", Description: "takes part", Capabilities: member, RoleChanges: []RoleChanges{
			{From: Outside, Targets: []uint32{Member}},
			{From: Member, Targets: []uint32{Outside}}, // for leaving; removing others takes a right of its own
		}},
		{Index: Admin, Name: "admin", Description: "runs the room", Capabilities: admin, RoleChanges: []RoleChanges{
			{From: Outside, Targets: []uint32{Member, Admin}},
			{From: Banned, Targets: []uint32{Outside, Member}},
			{From: Member, Targets: []uint32{Outside, Banned, Admin}},
			{From: Admin, Targets: []uint32{Outside, Banned, Member}},
		}},
	}}
}

// DefaultBase gives the base policy that goes with [DefaultRoles]: open membership,
// several clients for each user, no limits beyond those of the hub.
func DefaultBase() *BaseRoomPolicy {
	return &BaseRoomPolicy{
		MultiDevice: true,
		Components:  []mls.ComponentID{mimi.ComponentRolesList, mimi.ComponentPreauthList},
	}
}

// RequiredComponents lists the components that every client of a room made by
// [InitialDictionary] has to understand.
func RequiredComponents() []mls.ComponentID {
	return []mls.ComponentID{
		mimi.ComponentParticipantList, mimi.ComponentRoomMetadata, mimi.ComponentRolesList,
		mimi.ComponentPreauthList, mimi.ComponentBaseRoomPolicy,
	}
}

// LeafExtension is the leaf extension by which a client says which components it
// understands: [RequiredComponents], without which package mls keeps the client out of
// such a room, all the others of this package, and franking tags (EXT-13). It also lists
// the media types that package content reads (EXT-19).
func LeafExtension() mls.Extension {
	x := mls.SupportedComponents(append(RequiredComponents(), mimi.ComponentFrankingAgent,
		mimi.ComponentOperationalPolicy, mimi.ComponentStatusNotification, mimi.ComponentJoinLinkPolicy, mimi.ComponentJoinLinks,
		mimi.ComponentLinkPreviewPolicy, mimi.ComponentAssetPolicy, mimi.ComponentLoggingPolicy, mimi.ComponentChatHistoryPolicy,
		mimi.ComponentBotPolicy, mimi.ComponentMessageExpiration)...)
	d, err := mls.Extensions{x}.Dictionary()
	if err != nil {
		return x
	}
	d.Set(mls.ComponentSafeAAD, frankedAAD)
	if types, err := wire.Marshal(content.Receivable()); err == nil {
		d.Set(mls.ComponentContentMediaTypes, types)
	}
	if b, err := wire.Marshal(d); err == nil {
		x.Data = b
	}
	return x
}

// RequiredCapabilities gives the required_capabilities extension of a room (EXT-28):
// the dictionary, app_data_update and self_remove, and both kinds of credential.
func RequiredCapabilities() mls.RequiredCapabilities {
	return mls.RequiredCapabilities{
		Extensions:  []mls.ExtensionType{mls.ExtensionTypeAppDataDictionary},
		Proposals:   []mls.ProposalType{mls.ProposalTypeAppDataUpdate, mls.ProposalTypeSelfRemove},
		Credentials: []mls.CredentialType{mls.CredentialTypeBasic, mls.CredentialTypeX509},
	}
}

// InitialDictionary gives the application data of a new room of the default template, see
// [Template.Dictionary].
func InitialDictionary(room mimi.RoomURI, name string, creator mimi.UserURI) (*mls.AppDataDictionary, error) {
	return defaultTemplate().Dictionary(room, name, creator)
}

// GroupExtensions gives the GroupContext extensions of a new room of the default template,
// see [Template.Extensions].
func GroupExtensions(room mimi.RoomURI, name string, creator mimi.UserURI, hub mls.ExternalSender) (mls.Extensions, error) {
	return defaultTemplate().Extensions(room, name, creator, hub)
}

// Components is the logic of a room's components for package mls: that of
// [mimi.Components] with the form of each policy component checked. A policy component
// this package cannot read is refused, not carried unseen.
func Components() mimi.Components { return mimi.Components{Policy: CheckComponent} }

// CheckComponent reports whether this package knows a policy component, and if so
// whether data is one. The error wraps [ErrMalformed].
func CheckComponent(id mls.ComponentID, data []byte) (known bool, err error) {
	switch id {
	case mimi.ComponentRolesList:
		_, err = ParseRoleData(data)
	case mimi.ComponentPreauthList:
		_, err = ParsePreAuthData(data)
	case mimi.ComponentBaseRoomPolicy:
		_, err = ParseBaseRoomPolicy(data)
	case mimi.ComponentStatusNotification:
		_, err = ParseStatusNotificationPolicy(data)
	case mimi.ComponentMessageExpiration:
		_, err = ParseMessageExpiration(data)
	case mimi.ComponentOperationalPolicy:
		_, err = ParseOperationalParameters(data)
	case mimi.ComponentJoinLinkPolicy:
		_, err = ParseJoinLinkPolicy(data)
	case mimi.ComponentJoinLinks:
		if _, err = mimi.ParseJoinLinks(data); err != nil {
			err = fmt.Errorf("%w: %w", ErrMalformed, err)
		}
	case mimi.ComponentLinkPreviewPolicy:
		_, err = ParseLinkPreviewPolicy(data)
	case mimi.ComponentAssetPolicy:
		_, err = ParseAssetPolicy(data)
	case mimi.ComponentLoggingPolicy:
		_, err = ParseLoggingPolicy(data)
	case mimi.ComponentChatHistoryPolicy:
		_, err = ParseHistoryPolicy(data)
	case mimi.ComponentBotPolicy:
		_, err = ParseBotPolicy(data)
	default:
		return false, nil
	}
	return true, err
}
