package client

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"hubbub/mimi"
	"hubbub/mimi/policy"
	"hubbub/mls"
	"hubbub/mls/wire"
)

// TestPolicyInWords: whoever is in a room can read what it wants, in parts and in words.
func TestPolicyInWords(t *testing.T) {
	f := newFake(t)
	alice := f.open(f.enrol("alice", "phone"), nil)
	uri := f.room(alice)
	if p, err := alice.Policy(uri); err != nil || p.Base == nil || p.Logging != nil ||
		!slices.Equal(p.Words(), []string{"links to join by are valid for 7 days, for several people"}) {
		t.Errorf("default room: %+v, %v, %q", p, err, p.Words())
	}
	hour, most := uint32(3600), uint32(7)
	f.policy(uri, map[mls.ComponentID]wire.Encoder{
		mimi.ComponentBaseRoomPolicy: &policy.BaseRoomPolicy{MaxUsers: &most, Components: []mls.ComponentID{mimi.ComponentRolesList}},
		mimi.ComponentLoggingPolicy: &policy.LoggingPolicy{Logging: policy.Required, Clients: []string{"mimi://a.localhost/d/log/1"},
			MachineReadable: "https://a.localhost/m", HumanReadable: "https://a.localhost/h"},
		mimi.ComponentStatusNotification: &policy.StatusNotificationPolicy{ReadReceipts: policy.Required},
		mimi.ComponentMessageExpiration:  &policy.MessageExpiration{Expiring: policy.Required, Min: 60, Max: hour, Default: &hour},
		mimi.ComponentChatHistoryPolicy:  &policy.HistoryPolicy{Sharing: policy.Forbidden},
		mimi.ComponentBotPolicy:          &policy.BotPolicy{Allowed: []policy.Bot{{Name: "weather", Description: "says if it rains", Homepage: "https://a.localhost/bot", Local: true}}},
	}, alice)
	p, err := alice.Policy(uri)
	f.ok(err)
	words := strings.Join(p.Words(), "\n")
	for _, want := range []string{"at most 7 people", "one device for each", "LOGGED by mimi://a.localhost/d/log/1", "read is required",
		"have to expire, after 1m0s to 1h0m0s", "not shown to newcomers", `the bot "weather"`} {
		if !strings.Contains(words, want) {
			t.Errorf("no %q in\n%s", want, words)
		}
	}
	if _, err := alice.Policy("mimi://a.localhost/r/other"); !errors.Is(err, ErrUnknownRoom) {
		t.Error(err)
	}
}
