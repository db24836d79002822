package provider

import (
	"maps"
	"slices"
	"strings"

	"hubbub/mimi"
	"hubbub/mimi/policy"
	"hubbub/mls"
)

// RoomsConfig bounds what the policies of rooms that we host may say, whatever their
// members decide. Rooms that say something else since before are left as they are until
// their base policy changes.
type RoomsConfig struct {
	// Persistent is "yes", "no" or "any": whether rooms outlive their last device.
	// Default: any
	Persistent string `toml:"persistent"`
	// Discoverable is "yes", "no" or "any": whether rooms may be found. Default: any
	Discoverable string `toml:"discoverable"`
	// Pseudonyms is "yes", "no" or "any": whether rooms allow pseudonyms. Default: any
	Pseudonyms string `toml:"pseudonyms"`
	// Frozen lists policies that stay as they are when a room is made: assets, base,
	// bots, expiration, history, links, logging, operational, preauthorised, previews,
	// roles, status. Default: none
	Frozen []string `toml:"frozen,omitempty"`
}

const roomsAny = "any"

// frozenPolicies are what RoomsConfig.Frozen may name.
var frozenPolicies = map[string]mls.ComponentID{
	"assets": mimi.ComponentAssetPolicy, "base": mimi.ComponentBaseRoomPolicy, "bots": mimi.ComponentBotPolicy,
	"expiration": mimi.ComponentMessageExpiration, "history": mimi.ComponentChatHistoryPolicy, "links": mimi.ComponentJoinLinkPolicy,
	"logging": mimi.ComponentLoggingPolicy, "operational": mimi.ComponentOperationalPolicy, "preauthorised": mimi.ComponentPreauthList,
	"previews": mimi.ComponentLinkPreviewPolicy, "roles": mimi.ComponentRolesList, "status": mimi.ComponentStatusNotification,
}

func (r RoomsConfig) withDefaults() RoomsConfig {
	for _, v := range []*string{&r.Persistent, &r.Discoverable, &r.Pseudonyms} {
		setDefault(v, roomsAny)
	}
	return r
}

// validate says what is wrong with the bounds.
func (r RoomsConfig) validate(bad func(key, format string, args ...any)) {
	for _, v := range [][2]string{{"persistent", r.Persistent}, {"discoverable", r.Discoverable}, {"pseudonyms", r.Pseudonyms}} {
		if _, ok := decided[v[1]]; !ok {
			bad("rooms."+v[0], `must be "yes", "no" or "any"`)
		}
	}
	for _, name := range r.Frozen {
		if _, ok := frozenPolicies[name]; !ok {
			bad("rooms.frozen", "%q is none of %s", name, strings.Join(slices.Sorted(maps.Keys(frozenPolicies)), ", "))
		}
	}
}

// decided is what the values of a bound mean; nil: anything goes.
var decided = map[string]*bool{"yes": new(true), "no": new(false), roomsAny: nil, "": nil}

// envelope makes what the configuration, which is valid, asks for; nil if it asks for
// nothing.
func (r RoomsConfig) envelope() *policy.Envelope {
	e := &policy.Envelope{Persistent: decided[r.Persistent], Discoverable: decided[r.Discoverable], Pseudonyms: decided[r.Pseudonyms]}
	for _, name := range r.Frozen {
		e.Frozen = append(e.Frozen, frozenPolicies[name])
	}
	if e.Persistent == nil && e.Discoverable == nil && e.Pseudonyms == nil && len(e.Frozen) == 0 {
		return nil
	}
	return e
}
