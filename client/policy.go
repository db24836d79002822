package client

import (
	"fmt"
	"strings"
	"time"

	"hubbub/mimi"
	"hubbub/mimi/policy"
)

// RoomPolicy is what a room wants of those who take part, beside its roles (see
// [Client.Roles]), for a user to decide whether to stay (POL-58). What the room does
// not set is nil. It must not be changed.
type RoomPolicy struct {
	Base       *policy.BaseRoomPolicy
	Status     *policy.StatusNotificationPolicy
	JoinLinks  *policy.JoinLinkPolicy
	Previews   *policy.LinkPreviewPolicy
	Assets     *policy.AssetPolicy
	Logging    *policy.LoggingPolicy
	History    *policy.HistoryPolicy
	Bots       *policy.BotPolicy
	Expiration *policy.MessageExpiration
}

// Policy gives the policy of a room as this device's copy of its group has it. Errors:
// [ErrUnknownRoom], [ErrNotMember], [ErrSuspicious] (it cannot be read), [ErrClosed].
func (c *Client) Policy(room mimi.RoomURI) (*RoomPolicy, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fatal != nil {
		return nil, c.fatal
	}
	r := c.rooms[room]
	if err := r.held(); err != nil {
		return nil, err
	}
	s, err := c.policyState(room, r.group)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSuspicious, err)
	}
	return readPolicy(s)
}

func readPolicy(s *policy.State) (*RoomPolicy, error) {
	p := &RoomPolicy{Base: s.Base}
	for _, read := range []func() error{
		func() (err error) {
			p.Status, err = policy.Policy(s, mimi.ComponentStatusNotification, policy.ParseStatusNotificationPolicy)
			return err
		},
		func() (err error) {
			p.JoinLinks, err = policy.Policy(s, mimi.ComponentJoinLinkPolicy, policy.ParseJoinLinkPolicy)
			return err
		},
		func() (err error) {
			p.Previews, err = policy.Policy(s, mimi.ComponentLinkPreviewPolicy, policy.ParseLinkPreviewPolicy)
			return err
		},
		func() (err error) {
			p.Assets, err = policy.Policy(s, mimi.ComponentAssetPolicy, policy.ParseAssetPolicy)
			return err
		},
		func() (err error) {
			p.Logging, err = policy.Policy(s, mimi.ComponentLoggingPolicy, policy.ParseLoggingPolicy)
			return err
		},
		func() (err error) {
			p.History, err = policy.Policy(s, mimi.ComponentChatHistoryPolicy, policy.ParseHistoryPolicy)
			return err
		},
		func() (err error) {
			p.Bots, err = policy.Policy(s, mimi.ComponentBotPolicy, policy.ParseBotPolicy)
			return err
		},
		func() (err error) {
			p.Expiration, err = policy.Policy(s, mimi.ComponentMessageExpiration, policy.ParseMessageExpiration)
			return err
		},
	} {
		if err := read(); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrSuspicious, err)
		}
	}
	return p, nil
}

// Words says what the policy means for people, a line for each matter. Names in it are
// as their authors wrote them.
func (p *RoomPolicy) Words() []string {
	var out []string
	say := func(holds bool, format string, args ...any) {
		if holds {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	if b := p.Base; b != nil {
		say(b.FixedMembership, "who takes part was settled when the chat was made")
		say(b.ParentDependant, "it belongs to the chat %s", b.ParentRoom)
		say(!b.MultiDevice, "one device for each person")
		say(b.MaxUsers != nil, "at most %d people", value(b.MaxUsers))
		say(b.MaxClients != nil, "at most %d devices", value(b.MaxClients))
		say(b.PseudonymsAllowed, "pseudonyms are allowed")
		say(b.Discoverable, "the chat can be found by a search")
	}
	if s := p.Status; s != nil {
		say(true, "telling others that a message arrived is %s, that it was read is %s", optionality(s.DeliveryNotifications), optionality(s.ReadReceipts))
	}
	if j := p.JoinLinks; j != nil {
		say(true, "links to join by are valid for %s%s", seconds(j.Expiration), map[bool]string{true: ", for several people"}[j.MultiUser])
	}
	if l := p.Previews; l != nil {
		say(true, "previews of links are %s", optionality(l.SendPreviews))
	}
	if a := p.Assets; a != nil {
		say(true, "attachments: images up to %d bytes, audio %d, video %d, others %d", a.MaxImage, a.MaxAudio, a.MaxVideo, a.MaxAttachment)
	}
	if l := p.Logging; l != nil {
		say(l.Active(), "MESSAGES ARE LOGGED by %s; why: %s", strings.Join(l.Clients, ", "), l.HumanReadable)
		say(!l.Active(), "logging of messages is %s", optionality(l.Logging))
	}
	if h := p.History; h != nil {
		say(h.Sharing != policy.Forbidden, "what was written in the last %s may be shown to newcomers", seconds(h.MaxAge))
		say(h.Sharing == policy.Forbidden, "what was written before is not shown to newcomers")
	}
	if p.Bots != nil {
		for _, b := range p.Bots.Allowed {
			say(true, "the bot %q may take part: %s", b.Name, b.Description)
		}
	}
	if e := p.Expiration; e != nil {
		say(e.Expiring == policy.Forbidden, "messages must not expire")
		say(e.Expiring == policy.Required, "messages have to expire, after %s to %s", seconds(e.Min), seconds(e.Max))
		say(e.Expiring == policy.Optional, "messages may expire, after %s to %s", seconds(e.Min), seconds(e.Max))
		say(e.Default != nil && e.Expiring != policy.Forbidden, "unless their author says otherwise they expire %s after they were read", seconds(value(e.Default)))
	}
	return out
}

func value(n *uint32) uint32 {
	if n == nil {
		return 0
	}
	return *n
}

func seconds(n uint32) string {
	const day = 24 * 60 * 60
	if n >= 2*day && n%day == 0 {
		return fmt.Sprintf("%d days", n/day)
	}
	return (time.Duration(n) * time.Second).String()
}

func optionality(o policy.Optionality) string {
	switch o {
	case policy.Required:
		return "required"
	case policy.Forbidden:
		return "forbidden"
	}
	return "up to each user"
}
