package policy

import "fmt"

// A Capability is a right that a role may hold. Values without a name here are kept in
// a role's octets and never asked for, so never granted (POL-10).
type Capability uint16

// Rights over membership (POL-40 to POL-51).
const (
	CanAddParticipant      Capability = 0x0000
	CanRemoveParticipant   Capability = 0x0001
	CanAddOwnClient        Capability = 0x0002
	CanRemoveOwnClient     Capability = 0x0003
	CanOpenJoin            Capability = 0x0004
	CanJoinIfPreauthorized Capability = 0x0005
	CanRemoveSelf          Capability = 0x0006
	CanCreateJoinCode      Capability = 0x0007
	CanDeleteJoinCode      Capability = 0x0008
	CanUseJoinCode         Capability = 0x0009
	CanBan                 Capability = 0x000a
	CanUnban               Capability = 0x000b
	CanKick                Capability = 0x000c
	CanKnock               Capability = 0x000d
	CanAcceptKnock         Capability = 0x000e
	CanChangeUserRole      Capability = 0x000f
	CanChangeOwnRole       Capability = 0x0010
	CanCreateSubgroup      Capability = 0x0011
)

// Rights over messages. The hub enforces the first, clients the rest (POL-54).
const (
	CanSendMessage         Capability = 0x0100
	CanReceiveMessage      Capability = 0x0101
	CanCopyMessage         Capability = 0x0102
	CanReportAbuse         Capability = 0x0103
	CanReplyToMessage      Capability = 0x0104
	CanReactToMessage      Capability = 0x0105
	CanEditReaction        Capability = 0x0106
	CanDeleteOwnReaction   Capability = 0x0107
	CanDeleteOtherReaction Capability = 0x0108
	CanEditOwnMessage      Capability = 0x0109
	CanDeleteOwnMessage    Capability = 0x010a
	CanDeleteOtherMessage  Capability = 0x010b
	CanStartTopic          Capability = 0x010c
	CanReplyInTopic        Capability = 0x010d
	CanEditOwnTopic        Capability = 0x010e
	CanEditOtherTopic      Capability = 0x010f
	CanSendDirectMessage   Capability = 0x0110
	CanTargetMessage       Capability = 0x0111
)

// Rights over assets and links.
const (
	CanUploadImage        Capability = 0x0200
	CanUploadAudio        Capability = 0x0201
	CanUploadVideo        Capability = 0x0202
	CanUploadAttachment   Capability = 0x0203
	CanDownloadImage      Capability = 0x0204
	CanDownloadAudio      Capability = 0x0205
	CanDownloadVideo      Capability = 0x0206
	CanDownloadAttachment Capability = 0x0207
	CanSendLink           Capability = 0x0208
	CanSendLinkPreview    Capability = 0x0209
	CanFollowLink         Capability = 0x020a
	CanCopyLink           Capability = 0x020b
)

// Rights over the room's metadata, one for each field (META-4).
const (
	CanChangeRoomName        Capability = 0x0300
	CanChangeRoomDescription Capability = 0x0301
	CanChangeRoomAvatar      Capability = 0x0302
	CanChangeRoomSubject     Capability = 0x0303
	CanChangeRoomMood        Capability = 0x0304
)

// Rights over the room itself (POL-52, POL-53).
const (
	CanCreateRoom                  Capability = 0x0500
	CanDestroyRoom                 Capability = 0x0501
	CanChangeRoomMembershipStyle   Capability = 0x0502
	CanChangeRoleDefinitions       Capability = 0x0503
	CanChangePreauthorizedUserList Capability = 0x0504
	CanChangeOtherPolicyAttribute  Capability = 0x0505
)

// Rights over the MLS group (POL-52, POL-53).
const (
	CanChangeMLSOperationalPolicies Capability = 0x0600
	CanSendMLSReinitProposal        Capability = 0x0601
)

// String gives the name mimi-room-policy-03 uses, such as "canAddParticipant".
func (c Capability) String() string {
	if s, ok := capabilityNames[c]; ok {
		return s
	}
	return fmt.Sprintf("0x%04x", uint16(c))
}

var capabilityNames = map[Capability]string{
	CanAddParticipant:               "canAddParticipant",
	CanRemoveParticipant:            "canRemoveParticipant",
	CanAddOwnClient:                 "canAddOwnClient",
	CanRemoveOwnClient:              "canRemoveOwnClient",
	CanOpenJoin:                     "canOpenJoin",
	CanJoinIfPreauthorized:          "canJoinIfPreauthorized",
	CanRemoveSelf:                   "canRemoveSelf",
	CanCreateJoinCode:               "canCreateJoinCode",
	CanDeleteJoinCode:               "canDeleteJoinCode",
	CanUseJoinCode:                  "canUseJoinCode",
	CanBan:                          "canBan",
	CanUnban:                        "canUnban",
	CanKick:                         "canKick",
	CanKnock:                        "canKnock",
	CanAcceptKnock:                  "canAcceptKnock",
	CanChangeUserRole:               "canChangeUserRole",
	CanChangeOwnRole:                "canChangeOwnRole",
	CanCreateSubgroup:               "canCreateSubgroup",
	CanSendMessage:                  "canSendMessage",
	CanReceiveMessage:               "canReceiveMessage",
	CanCopyMessage:                  "canCopyMessage",
	CanReportAbuse:                  "canReportAbuse",
	CanReplyToMessage:               "canReplyToMessage",
	CanReactToMessage:               "canReactToMessage",
	CanEditReaction:                 "canEditReaction",
	CanDeleteOwnReaction:            "canDeleteOwnReaction",
	CanDeleteOtherReaction:          "canDeleteOtherReaction",
	CanEditOwnMessage:               "canEditOwnMessage",
	CanDeleteOwnMessage:             "canDeleteOwnMessage",
	CanDeleteOtherMessage:           "canDeleteOtherMessage",
	CanStartTopic:                   "canStartTopic",
	CanReplyInTopic:                 "canReplyInTopic",
	CanEditOwnTopic:                 "canEditOwnTopic",
	CanEditOtherTopic:               "canEditOtherTopic",
	CanSendDirectMessage:            "canSendDirectMessage",
	CanTargetMessage:                "canTargetMessage",
	CanUploadImage:                  "canUploadImage",
	CanUploadAudio:                  "canUploadAudio",
	CanUploadVideo:                  "canUploadVideo",
	CanUploadAttachment:             "canUploadAttachment",
	CanDownloadImage:                "canDownloadImage",
	CanDownloadAudio:                "canDownloadAudio",
	CanDownloadVideo:                "canDownloadVideo",
	CanDownloadAttachment:           "canDownloadAttachment",
	CanSendLink:                     "canSendLink",
	CanSendLinkPreview:              "canSendLinkPreview",
	CanFollowLink:                   "canFollowLink",
	CanCopyLink:                     "canCopyLink",
	CanChangeRoomName:               "canChangeRoomName",
	CanChangeRoomDescription:        "canChangeRoomDescription",
	CanChangeRoomAvatar:             "canChangeRoomAvatar",
	CanChangeRoomSubject:            "canChangeRoomSubject",
	CanChangeRoomMood:               "canChangeRoomMood",
	CanCreateRoom:                   "canCreateRoom",
	CanDestroyRoom:                  "canDestroyRoom",
	CanChangeRoomMembershipStyle:    "canChangeRoomMembershipStyle",
	CanChangeRoleDefinitions:        "canChangeRoleDefinitions",
	CanChangePreauthorizedUserList:  "canChangePreauthorizedUserList",
	CanChangeOtherPolicyAttribute:   "canChangeOtherPolicyAttribute",
	CanChangeMLSOperationalPolicies: "canChangeMlsOperationalPolicies",
	CanSendMLSReinitProposal:        "canSendMLSReinitProposal",
}
