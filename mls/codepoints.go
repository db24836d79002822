package mls

import "fmt"

// ProtocolVersion is the MLS version (RFC 9420 §6).
type ProtocolVersion uint16

// MLS10 is the only version defined, mls10.
const MLS10 ProtocolVersion = 1

// String returns the registered name, or the number in hexadecimal.
func (v ProtocolVersion) String() string { return name(uint16(v), map[uint16]string{1: "mls10"}) }

// WireFormat says what an MLSMessage carries (RFC 9420 §17.2).
type WireFormat uint16

// Registered wire formats.
const (
	WireFormatPublicMessage  WireFormat = 1
	WireFormatPrivateMessage WireFormat = 2
	WireFormatWelcome        WireFormat = 3
	WireFormatGroupInfo      WireFormat = 4
	WireFormatKeyPackage     WireFormat = 5
)

// String returns the registered name, or the number in hexadecimal.
func (f WireFormat) String() string { return name(uint16(f), wireFormatNames) }

var wireFormatNames = map[uint16]string{
	1: "mls_public_message", 2: "mls_private_message", 3: "mls_welcome", 4: "mls_group_info", 5: "mls_key_package",
	0xf001: "mls_semiprivate_message",
}

// ContentType says what a FramedContent carries (RFC 9420 §6).
type ContentType uint8

// Content types.
const (
	ContentTypeApplication ContentType = 1
	ContentTypeProposal    ContentType = 2
	ContentTypeCommit      ContentType = 3
)

// String returns the name in RFC 9420, or the number in hexadecimal.
func (t ContentType) String() string {
	return name(uint16(t), map[uint16]string{1: "application", 2: "proposal", 3: "commit"})
}

// SenderType says who sent a FramedContent (RFC 9420 §6).
type SenderType uint8

// Sender types.
const (
	SenderTypeMember            SenderType = 1
	SenderTypeExternal          SenderType = 2
	SenderTypeNewMemberProposal SenderType = 3
	SenderTypeNewMemberCommit   SenderType = 4
)

// String returns the name in RFC 9420, or the number in hexadecimal.
func (t SenderType) String() string {
	return name(uint16(t), map[uint16]string{1: "member", 2: "external", 3: "new_member_proposal", 4: "new_member_commit"})
}

// CredentialType names a kind of credential (RFC 9420 §17.5).
type CredentialType uint16

// Registered credential types; multi and weak-multi are from
// draft-ietf-mls-extensions.
const (
	CredentialTypeBasic     CredentialType = 1
	CredentialTypeX509      CredentialType = 2
	CredentialTypeMulti     CredentialType = 3
	CredentialTypeWeakMulti CredentialType = 4
)

// String returns the registered name, or the number in hexadecimal.
func (t CredentialType) String() string {
	return name(uint16(t), map[uint16]string{1: "basic", 2: "x509", 3: "multi", 4: "weak-multi"})
}

// ProposalType names a kind of proposal (RFC 9420 §17.4).
type ProposalType uint16

// Registered proposal types; the last three are from
// draft-ietf-mls-extensions.
const (
	ProposalTypeAdd                    ProposalType = 1
	ProposalTypeUpdate                 ProposalType = 2
	ProposalTypeRemove                 ProposalType = 3
	ProposalTypePSK                    ProposalType = 4
	ProposalTypeReInit                 ProposalType = 5
	ProposalTypeExternalInit           ProposalType = 6
	ProposalTypeGroupContextExtensions ProposalType = 7
	ProposalTypeAppDataUpdate          ProposalType = 8
	ProposalTypeAppEphemeral           ProposalType = 9
	ProposalTypeSelfRemove             ProposalType = 0x000a
)

// String returns the registered name, or the number in hexadecimal.
func (t ProposalType) String() string { return name(uint16(t), proposalNames) }

var proposalNames = map[uint16]string{
	1: "add", 2: "update", 3: "remove", 4: "psk", 5: "reinit", 6: "external_init", 7: "group_context_extensions",
	8: "app_data_update", 9: "app_ephemeral", 10: "self_remove",
}

// IsDefault reports whether every RFC 9420 client supports the type without
// listing it in its capabilities (RFC 9420 §7.2).
func (t ProposalType) IsDefault() bool {
	return t >= ProposalTypeAdd && t <= ProposalTypeGroupContextExtensions
}

// ExtensionType names an extension (RFC 9420 §17.3).
type ExtensionType uint16

// Registered extension types; the last three are from
// draft-ietf-mls-extensions.
const (
	ExtensionTypeApplicationID        ExtensionType = 1
	ExtensionTypeRatchetTree          ExtensionType = 2
	ExtensionTypeRequiredCapabilities ExtensionType = 3
	ExtensionTypeExternalPub          ExtensionType = 4
	ExtensionTypeExternalSenders      ExtensionType = 5
	ExtensionTypeAppDataDictionary    ExtensionType = 6
	ExtensionTypeSupportedWireFormats ExtensionType = 7
	ExtensionTypeRequiredWireFormats  ExtensionType = 8
)

// String returns the registered name, or the number in hexadecimal.
func (t ExtensionType) String() string { return name(uint16(t), extensionNames) }

var extensionNames = map[uint16]string{
	1: "application_id", 2: "ratchet_tree", 3: "required_capabilities", 4: "external_pub", 5: "external_senders",
	6: "app_data_dictionary", 7: "supported_wire_formats", 8: "required_wire_formats",
	0xf008: "external_receivers", 0xf009: "ratchet_tree_source_domains",
}

// IsDefault reports whether every RFC 9420 client supports the type without
// listing it in its capabilities (RFC 9420 §7.2).
func (t ExtensionType) IsDefault() bool {
	return t >= ExtensionTypeApplicationID && t <= ExtensionTypeExternalSenders
}

// ComponentID names an application component (draft-ietf-mls-extensions §4.1).
type ComponentID uint16

// Components of draft-ietf-mls-extensions. Package mimi names those of MIMI.
const (
	ComponentAppComponents     ComponentID = 1
	ComponentSafeAAD           ComponentID = 2
	ComponentContentMediaTypes ComponentID = 3
	ComponentLastResort        ComponentID = 4
	ComponentAppAck            ComponentID = 5
)

// String returns the number in hexadecimal.
func (c ComponentID) String() string { return name(uint16(c), nil) }

// name looks v up in names and falls back to hexadecimal.
func name(v uint16, names map[uint16]string) string {
	if s, ok := names[v]; ok {
		return s
	}
	return fmt.Sprintf("0x%04x", v)
}
