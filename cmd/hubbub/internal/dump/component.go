package dump

import (
	"fmt"
	"reflect"

	"hubbub/mimi"
	"hubbub/mimi/policy"
	"hubbub/mls"
)

// component is what the data of a component is, in a dictionary and in an update.
type component struct {
	id           mls.ComponentID
	name         string
	data, update func([]byte) (any, error) // update nil: as data
}

// components are those of a room and of leaves. Their data can be taken for nearly
// anything: as kinds they have to be named.
var components = []component{
	{mls.ComponentAppComponents, "app-components", bare[mls.ComponentsList], nil},
	{mls.ComponentSafeAAD, "safe-aad-components", bare[mls.ComponentsList], nil},
	{mls.ComponentContentMediaTypes, "content-media-types", bare[mls.MediaTypeList], nil},
	{mimi.ComponentFrankingAgent, "franking-agent", of(mimi.ParseFrankingAgent), nil},
	{mimi.ComponentParticipantList, "participant-list", of(mimi.ParseParticipantList), of(mimi.ParseParticipantListUpdate)},
	{mimi.ComponentRoomMetadata, "metadata", of(mimi.ParseRoomMetaData), nil},
	{mimi.ComponentOperationalPolicy, "operational-parameters", of(policy.ParseOperationalParameters), nil},
	{mimi.ComponentRolesList, "roles", of(policy.ParseRoleData), nil},
	{mimi.ComponentPreauthList, "preauthorisation", of(policy.ParsePreAuthData), nil},
	{mimi.ComponentBaseRoomPolicy, "base-policy", of(policy.ParseBaseRoomPolicy), nil},
	{mimi.ComponentStatusNotification, "status-notification-policy", of(policy.ParseStatusNotificationPolicy), nil},
	{mimi.ComponentJoinLinkPolicy, "join-link-policy", of(policy.ParseJoinLinkPolicy), nil},
	{mimi.ComponentJoinLinks, "join-links", of(mimi.ParseJoinLinks), of(mimi.ParseJoinLinksUpdate)},
	{mimi.ComponentLinkPreviewPolicy, "link-preview-policy", of(policy.ParseLinkPreviewPolicy), nil},
	{mimi.ComponentAssetPolicy, "asset-policy", of(policy.ParseAssetPolicy), nil},
	{mimi.ComponentLoggingPolicy, "logging-policy", of(policy.ParseLoggingPolicy), nil},
	{mimi.ComponentChatHistoryPolicy, "history-policy", of(policy.ParseHistoryPolicy), nil},
	{mimi.ComponentBotPolicy, "bot-policy", of(policy.ParseBotPolicy), nil},
	{mimi.ComponentMessageExpiration, "message-expiration", of(policy.ParseMessageExpiration), nil},
}

// componentKinds are the kinds that have to be named: the components, their updates, and
// what holds them.
func componentKinds() []kind {
	out := []kind{{"app-data-dictionary", bare[mls.AppDataDictionary]}, {"safe-aad", bare[mls.SafeAAD]}, {"application-framing", bare[mls.ApplicationFraming]}}
	for _, c := range components {
		out = append(out, kind{c.name, c.data})
		if c.update != nil {
			out = append(out, kind{c.name + "-update", c.update})
		}
	}
	return out
}

// inside decodes what a structure carries as octets: the data of components, and the
// dictionary in an extension. It gives false for everything else, and for what does not
// decode, which is printed as it is.
func inside(v reflect.Value) (name string, value any, ok bool) {
	if !v.CanInterface() {
		return "", nil, false
	}
	switch s := v.Interface().(type) {
	case mls.ComponentData:
		return decodedComponent(s.Component, s.Data, false)
	case mls.AppDataUpdate:
		if s.Op == mls.AppDataUpdateOpUpdate {
			return decodedComponent(s.Component, s.Data, true)
		}
	case mls.Extension:
		if s.Type == mls.ExtensionTypeAppDataDictionary {
			d, err := bare[mls.AppDataDictionary](s.Data)
			return "app-data-dictionary", d, err == nil
		}
	}
	return "", nil, false
}

func decodedComponent(id mls.ComponentID, data []byte, update bool) (name string, value any, ok bool) {
	for _, c := range components {
		if c.id != id {
			continue
		}
		parse := c.data
		if name = c.name; update && c.update != nil {
			parse, name = c.update, name+"-update"
		}
		v, err := parse(data)
		return fmt.Sprintf("%s (0x%04x)", name, uint16(id)), v, err == nil
	}
	return "", nil, false
}
