package policy

import (
	"errors"
	"fmt"
	"slices"

	"hubbub/mimi"
	"hubbub/mls"
	"hubbub/mls/wire"
)

// ErrNoPreset is wrapped by errors of [Preset] about names and organisations it has no
// template for.
var ErrNoPreset = errors.New("mimi/policy: no such preset")

// A Template is the policy a room starts with.
type Template struct {
	Name    string // what a user calls it, such as "moderated"
	Summary string // in a line, for people
	Base    *BaseRoomPolicy
	Roles   *RoleData
	PreAuth *PreAuthData
	Creator uint32 // role of who makes the room

	// Links is the policy on join links of a room that may have them; nil for one that has
	// none. Who makes and uses them is for Roles to say.
	Links *JoinLinkPolicy

	// Franking is the hub's agent for a room whose messages can be reported with proof; nil
	// for one whose messages cannot. It cannot be added later: members need to put tags
	// where the hub finds them from the start (FRK-15, D-31).
	Franking *mimi.FrankingAgent
}

// Presets lists the names [Preset] knows, the default first.
func Presets() []string {
	return []string{"default", "cooperative", "strict", "moderated", "multi-org"}
}

// Preset gives a new copy of a template by its name: "default" (or ""), or one of the four
// example rooms of mimi-room-policy-03, mended as D-60 says (POL-56):
//
//   - default: members bring in, admins run the room and make join links.
//   - cooperative: friends and colleagues; everybody may bring in, show out and rename.
//   - strict: admins decide who takes part; others join preauthorised or by a link, which is
//     for one user.
//   - moderated: guests, who may come by a link, read, attendees reply in topics, speakers speak, moderators run it.
//   - multi-org: each organisation has its users and up to three admins, who see to their
//     own; the creator, of the first organisation, sees to all.
//
// Orgs are the providers' domains, needed for multi-org alone: one to eight, the host's
// first. The hub is preauthorised as policy enforcer where the example has one. The error
// wraps [ErrNoPreset].
func Preset(name string, hub mimi.Domain, orgs ...mimi.Domain) (*Template, error) {
	switch name {
	case "", "default":
		return defaultTemplate(), nil
	case "cooperative":
		return cooperative(hub), nil
	case "strict":
		return strict(hub), nil
	case "moderated":
		return moderated(hub), nil
	case "multi-org":
		return multiOrg(hub, orgs)
	}
	return nil, fmt.Errorf("%w: %q; there are %v", ErrNoPreset, name, Presets())
}

func defaultTemplate() *Template {
	return &Template{Name: "default", Summary: "anybody may bring somebody in, admins run the room",
		Base: DefaultBase(), Roles: DefaultRoles(), PreAuth: new(PreAuthData), Creator: Admin, Links: &JoinLinkPolicy{MultiUser: true, Expiration: 7 * day}}
}

// day is in seconds.
const day = 24 * 60 * 60

// Dictionary gives the application data of a new room (UPD-28, EXT-28): the components
// every member must understand, the creator as the only participant, the name, and the
// policies. Name may be empty. The error wraps [mimi.ErrMalformed].
func (t *Template) Dictionary(room mimi.RoomURI, name string, creator mimi.UserURI) (*mls.AppDataDictionary, error) {
	type component struct {
		id   mls.ComponentID
		data wire.Encoder
	}
	list, base := mls.ComponentsList(RequiredComponents()), *t.Base
	var links []component
	if t.Links != nil {
		links = []component{{mimi.ComponentJoinLinkPolicy, t.Links}, {mimi.ComponentJoinLinks, new(mimi.JoinLinks)}}
		for _, c := range links { // whoever takes part has to follow how they change (POL-19)
			list, base.Components = append(list, c.id), append(slices.Clip(base.Components), c.id)
		}
	}
	d := new(mls.AppDataDictionary)
	for _, c := range append([]component{
		{mls.ComponentAppComponents, list},
		{mimi.ComponentParticipantList, &mimi.ParticipantListData{Participants: []mimi.Participant{{User: creator, Role: t.Creator}}}},
		{mimi.ComponentRoomMetadata, &mimi.RoomMetaData{Room: room, Name: name}},
		{mimi.ComponentRolesList, t.Roles},
		{mimi.ComponentPreauthList, t.PreAuth},
		{mimi.ComponentBaseRoomPolicy, &base},
	}, links...) {
		b, err := wire.Marshal(c.data)
		if err != nil {
			return nil, fmt.Errorf("mimi/policy: initial dictionary: component %v: %w", c.id, err)
		}
		d.Set(c.id, b)
	}
	if t.Franking == nil {
		return d, nil
	}
	b, err := t.Franking.Marshal()
	if err != nil {
		return nil, fmt.Errorf("mimi/policy: initial dictionary: franking agent: %w", err)
	}
	d.Set(mimi.ComponentFrankingAgent, b)
	d.Set(mls.ComponentSafeAAD, frankedAAD)
	return d, nil
}

// frankedAAD is the safe_aad component of a room with franking, and of every leaf: the list
// of frank_aad alone.
var frankedAAD = []byte{2, 0, byte(mimi.ComponentFrankAAD)}

// Extensions gives all GroupContext extensions of a new room: the dictionary, the
// required capabilities, and the hub as external sender (RS-6). The error is that of
// [Template.Dictionary].
func (t *Template) Extensions(room mimi.RoomURI, name string, creator mimi.UserURI, hub mls.ExternalSender) (mls.Extensions, error) {
	d, err := t.Dictionary(room, name, creator)
	if err != nil {
		return nil, err
	}
	required := RequiredCapabilities()
	var x mls.Extensions
	for _, e := range []struct {
		t    mls.ExtensionType
		data wire.Encoder
	}{
		{mls.ExtensionTypeRequiredCapabilities, &required},
		{mls.ExtensionTypeExternalSenders, mls.ExternalSenders{hub}},
		{mls.ExtensionTypeAppDataDictionary, d},
	} {
		b, err := wire.Marshal(e.data)
		if err != nil {
			return nil, fmt.Errorf("mimi/policy: group extension %v: %w", e.t, err)
		}
		x = x.Set(e.t, b)
	}
	return x, nil
}

// Sets of capabilities the examples share.
var (
	reading = []Capability{CanReceiveMessage, CanCopyMessage, CanReactToMessage, CanDeleteOwnReaction, CanFollowLink, CanCopyLink,
		CanDownloadImage, CanDownloadVideo, CanDownloadAudio}
	uploading   = []Capability{CanUploadImage, CanUploadVideo, CanUploadAudio, CanUploadAttachment}
	linking     = []Capability{CanSendLink, CanSendLinkPreview}
	ownClients  = []Capability{CanAddOwnClient, CanRemoveOwnClient}
	moderating  = []Capability{CanBan, CanUnban, CanKick, CanChangeUserRole}
	deciding    = []Capability{CanAddParticipant, CanRemoveParticipant, CanCreateJoinCode, CanDeleteJoinCode, CanDeleteOtherReaction, CanDeleteOtherMessage, CanEditOwnTopic, CanEditOtherTopic}
	decorating  = []Capability{CanChangeRoomName, CanChangeRoomAvatar, CanChangeRoomSubject, CanChangeRoomMood}
	rebuilding  = []Capability{CanChangeRoomMembershipStyle, CanChangePreauthorizedUserList, CanDestroyRoom}
	enforcement = []Capability{CanRemoveParticipant, CanChangeUserRole, CanBan, CanUnban, CanChangeRoleDefinitions,
		CanChangePreauthorizedUserList, CanChangeMLSOperationalPolicies, CanDestroyRoom, CanSendMLSReinitProposal}
)

func caps(sets ...[]Capability) []Capability { return slices.Concat(sets...) }

func noOne() *uint32 { return new(uint32) }

func outsider(can ...Capability) Role {
	return Role{Index: Outside, Name: "no_role", Description: "not in the room", Capabilities: can, MaxActive: noOne()}
}

func bannedRole() Role {
	return Role{Index: Banned, Name: bannedName, Description: "kept out of the room", MaxActive: noOne()}
}

// among lets a role move others from each role to every other of the list; from 0 and 1
// too, which need not be in it.
func among(roles ...uint32) []RoleChanges {
	all := append([]uint32{Outside, Banned}, roles...)
	var out []RoleChanges
	for _, from := range all {
		c := RoleChanges{From: from}
		for _, to := range all {
			if to != from {
				c.Targets = append(c.Targets, to)
			}
		}
		out = append(out, c)
	}
	return out
}

// comingAndGoing lets a role bring in others of the same role, and leave.
func comingAndGoing(role uint32) []RoleChanges {
	return []RoleChanges{{From: Outside, Targets: []uint32{role}}, {From: role, Targets: []uint32{Outside}}}
}

// enforcer is the role of a hub that cleans up: it takes users out and bans them, and
// takes the banned off the list but does not restore them.
func enforcer(index uint32) Role {
	two := uint32(2)
	r := Role{Index: index, Name: "policy_enforcer", Description: "the hub, cleaning up", Capabilities: enforcement,
		MinParticipants: 1, MaxParticipants: &two, MaxActive: noOne(),
		RoleChanges: []RoleChanges{{From: Outside, Targets: []uint32{Banned}}, {From: Banned, Targets: []uint32{Outside}}}}
	for from := Member; from < index; from++ {
		r.RoleChanges = append(r.RoleChanges, RoleChanges{From: from, Targets: []uint32{Outside, Banned}})
	}
	return r
}

// template completes an example: its last role is the policy enforcer.
func template(name, summary string, hub mimi.Domain, creator uint32, roles ...Role) *Template {
	base := DefaultBase()
	base.PersistentRoom = true
	return &Template{Name: name, Summary: summary, Base: base, Roles: &RoleData{Roles: roles}, Creator: creator,
		PreAuth: &PreAuthData{Entries: ClaimEntries(ClaimProvider, string(hub), roles[len(roles)-1])}}
}

// linked has a room of an example have join links. The examples give rights to use, make and
// take back codes and no policy on them; without one no code would be good.
func linked(links JoinLinkPolicy, t *Template) *Template {
	t.Links = &links
	return t
}

func cooperative(hub mimi.Domain) *Template {
	ordinary := caps(reading, ownClients, uploading, linking, decorating, []Capability{CanAddParticipant, CanRemoveParticipant, CanRemoveSelf,
		CanSendMessage, CanReportAbuse, CanReplyToMessage, CanEditOwnMessage, CanDeleteOwnMessage, CanStartTopic, CanReplyInTopic,
		CanEditOwnTopic, CanDownloadAttachment})
	admin := caps(ordinary, moderating, []Capability{CanDeleteOtherMessage, CanEditOtherTopic, CanChangeRoomDescription})
	return template("cooperative", "friends and colleagues: everybody may bring in, show out and rename", hub, 4,
		outsider(), bannedRole(),
		Role{Index: 2, Name: "ordinary_user", Capabilities: ordinary, RoleChanges: comingAndGoing(2)},
		Role{Index: 3, Name: "group_admin", Capabilities: admin, MinParticipants: 1, RoleChanges: among(2, 3)},
		Role{Index: 4, Name: "super_admin", Capabilities: caps(admin, rebuilding), RoleChanges: among(2, 3, 4)},
		enforcer(5))
}

func strict(hub mimi.Domain) *Template {
	ordinary := caps(reading, ownClients, uploading, linking, []Capability{CanJoinIfPreauthorized, CanRemoveSelf, CanChangeOwnRole,
		CanSendMessage, CanReportAbuse, CanEditOwnMessage, CanDeleteOwnMessage, CanStartTopic, CanReplyInTopic, CanDownloadAttachment})
	admin := caps(ordinary, moderating, deciding, decorating, []Capability{CanChangeRoomDescription})
	code := outsider(CanUseJoinCode)
	code.RoleChanges = []RoleChanges{{From: Outside, Targets: []uint32{2}}}
	return linked(JoinLinkPolicy{Expiration: 7 * day}, template("strict", "admins decide who takes part", hub, 4,
		code, bannedRole(),
		Role{Index: 2, Name: "ordinary_user", Capabilities: ordinary, RoleChanges: comingAndGoing(2)},
		Role{Index: 3, Name: "group_admin", Capabilities: admin, MinParticipants: 1, RoleChanges: among(2, 3)},
		Role{Index: 4, Name: "super_admin", RoleChanges: among(2, 3, 4),
			Capabilities: caps(admin, rebuilding, []Capability{CanChangeRoleDefinitions, CanSendMLSReinitProposal})},
		enforcer(5)))
}

func moderated(hub mimi.Domain) *Template {
	guest := caps(reading, []Capability{CanRemoveSelf})
	attendee := caps(guest, ownClients, []Capability{CanJoinIfPreauthorized, CanChangeOwnRole, CanReportAbuse, CanReplyInTopic, CanDownloadAttachment})
	speaker := caps(attendee, uploading, linking, []Capability{CanSendMessage, CanEditOwnMessage, CanDeleteOwnMessage, CanStartTopic})
	moderator := caps(speaker, moderating, deciding, decorating)
	code := outsider(CanUseJoinCode)
	code.RoleChanges = []RoleChanges{{From: Outside, Targets: []uint32{2, 3}}}
	return linked(JoinLinkPolicy{MultiUser: true, Expiration: 30 * day}, template("moderated", "guests read, attendees react, speakers speak, moderators run it", hub, 6,
		code, bannedRole(),
		Role{Index: 2, Name: "guest", Capabilities: guest, RoleChanges: comingAndGoing(2)},
		Role{Index: 3, Name: "attendee", Capabilities: attendee, RoleChanges: comingAndGoing(3)},
		Role{Index: 4, Name: "speaker", Capabilities: speaker, RoleChanges: comingAndGoing(4)},
		Role{Index: 5, Name: "moderator", Capabilities: moderator, MinParticipants: 1, RoleChanges: among(2, 3, 4, 5)},
		Role{Index: 6, Name: "super_admin", RoleChanges: among(2, 3, 4, 5, 6), Capabilities: caps(moderator, rebuilding,
			[]Capability{CanChangeRoomDescription, CanChangeRoleDefinitions, CanSendMLSReinitProposal})},
		enforcer(7)))
}

const (
	maxOrgs      = 8
	adminsPerOrg = 3 // of every organisation but the host
)

// multiOrg has, for n organisations, users at 2 to n+1, admins at n+2 to 2n+1, then the
// super admin and the enforcer.
func multiOrg(hub mimi.Domain, orgs []mimi.Domain) (*Template, error) {
	n := uint32(len(orgs))
	if n < 1 || n > maxOrgs {
		return nil, fmt.Errorf("%w: multi-org takes one to %d organisations, not %d", ErrNoPreset, maxOrgs, n)
	}
	user := caps(ownClients, linking, []Capability{CanRemoveSelf, CanSendMessage, CanReceiveMessage, CanCopyMessage, CanReportAbuse,
		CanReplyInTopic, CanReactToMessage, CanDeleteOwnReaction, CanEditOwnMessage, CanFollowLink, CanCopyLink,
		CanDownloadImage, CanDownloadVideo, CanDownloadAudio, CanDownloadAttachment})
	admin := caps(user, uploading, []Capability{CanDeleteOwnMessage, CanStartTopic, CanEditOwnTopic, CanAddParticipant, CanRemoveParticipant,
		CanBan, CanKick, CanChangeUserRole, CanReplyToMessage})
	host := []Capability{CanChangeOwnRole, CanJoinIfPreauthorized}
	roles := []Role{outsider(), bannedRole()}
	for i, d := range orgs {
		index := Member + uint32(i)
		r := Role{Index: index, Name: string(d) + "_user", Capabilities: user, RoleChanges: comingAndGoing(index)}
		if i == 0 {
			r.Capabilities = caps(user, host)
		}
		roles = append(roles, r)
	}
	for i, d := range orgs {
		u, a, most := Member+uint32(i), Member+n+uint32(i), uint32(adminsPerOrg)
		r := Role{Index: a, Name: string(d) + "_admin", Capabilities: admin, MaxParticipants: &most, RoleChanges: []RoleChanges{
			{From: Outside, Targets: []uint32{u, a}}, {From: u, Targets: []uint32{Outside, Banned, a}}, {From: a, Targets: []uint32{Outside, Banned, u}}}}
		if i == 0 {
			r.Capabilities, r.MaxParticipants = caps(admin, host), nil
		}
		roles = append(roles, r)
	}
	var all []uint32
	for i := Member; i <= Member+2*n; i++ {
		all = append(all, i)
	}
	super := Member + 2*n
	roles = append(roles, Role{Index: super, Name: "super_admin", RoleChanges: among(all...), Capabilities: caps(admin, decorating, rebuilding, host,
		[]Capability{CanUnban, CanChangeRoomDescription, CanChangeRoleDefinitions, CanDeleteOtherReaction, CanDeleteOtherMessage,
			CanEditOtherTopic, CanSendMLSReinitProposal})}, enforcer(super+1))
	t := template("multi-org", "each organisation has its users and admins, who see to their own", hub, super, roles...)
	for i, d := range orgs {
		t.PreAuth.Entries = append(t.PreAuth.Entries, ClaimEntries(ClaimDomain, string(d), roles[2+i])...)
	}
	return t, nil
}
