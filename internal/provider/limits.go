package provider

import (
	"context"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"hubbub/internal/api"
	"hubbub/internal/federation"
	"hubbub/internal/follower"
	"hubbub/internal/peer"
	"hubbub/internal/room"
	"hubbub/mimi"
)

// LimitsConfig bounds what single users, devices and peers may do. A rate is
// written "60 + 1/s": so many at once, and then so many per second, minute or hour
// (s, m, h, or a length such as 10m). "off" is no limit. A count is a number. What
// is refused has done nothing, and is told when to come again if that helps.
type LimitsConfig struct {
	// PostsPerDevice counts writes of one device to rooms. Default: 60 + 1/s
	PostsPerDevice string `toml:"posts_per_device"`
	// RoomsPerUser counts rooms that one user makes. Default: 100 + 100/h
	RoomsPerUser string `toml:"rooms_per_user"`
	// ClaimsPerTarget counts claims of KeyPackages of one user by one user of ours.
	// Default: 6 + 1/10m
	ClaimsPerTarget string `toml:"claims_per_target"`
	// ClaimsPerUser counts all claims of one user of ours. Default: 100 + 100/h
	ClaimsPerUser string `toml:"claims_per_user"`
	// ClaimsPerPeer counts claims by one other provider. Default: 3000 + 3000/m
	ClaimsPerPeer string `toml:"claims_per_peer"`
	// RequestsPerPeer counts all requests of one other provider.
	// Default: 400 + 200/s
	RequestsPerPeer string `toml:"requests_per_peer"`
	// WritesPerPeer counts new writes of one other provider's users to rooms we
	// host, also those that travel many in a request. Default: 10000 + 2000/s
	WritesPerPeer string `toml:"writes_per_peer"`
	// EnrolmentFailures counts attempts to enrol a device with a code that is not
	// good, of one user and from one address. Default: 5 + 0.17/s
	EnrolmentFailures string `toml:"enrolment_failures"`
	// ConsentsPerUser counts requests and decisions about consent of one user, ours or
	// another provider's. Default: 100 + 100/h
	ConsentsPerUser string `toml:"consents_per_user"`
	// ConsentsPerPeer counts those that one other provider passes on.
	// Default: 3000 + 3000/h
	ConsentsPerPeer string `toml:"consents_per_peer"`
	// SearchesPerUser counts searches for users by one user of ours.
	// Default: 60 + 60/h
	SearchesPerUser string `toml:"searches_per_user"`
	// SearchesPerPeer counts those of one other provider. Default: 600 + 600/h
	SearchesPerPeer string `toml:"searches_per_peer"`
	// ReportsPerUser counts reports of abuse by one user, ours or another provider's.
	// Default: 20 + 20/h
	ReportsPerUser string `toml:"reports_per_user"`
	// ReportsPerPeer counts those that one other provider passes on, anonymous ones
	// among them. Default: 600 + 600/h
	ReportsPerPeer string `toml:"reports_per_peer"`
	// JoinCodesPerUser counts joining codes that are not good, shown by one user, ours or
	// another provider's, for rooms that we host or do not. Default: 5 + 5/10m
	JoinCodesPerUser string `toml:"join_codes_per_user"`

	// ClientsPerRoom is how many devices a room that we host may have, 10000 at
	// most. Default: 2000
	ClientsPerRoom int `toml:"clients_per_room"`
	// UsersPerRoom is how many users it may have, 10000 at most. Default: 1000
	UsersPerRoom int `toml:"users_per_room"`
	// ProposalsPerRoom is how many proposals may wait for a commit in it, 1000 at
	// most. Default: 100
	ProposalsPerRoom int `toml:"proposals_per_room"`
	// ProposalsPerSender is how many of them may be of one device, besides those by
	// which its user leaves. Default: 10
	ProposalsPerSender int `toml:"proposals_per_sender"`
	// DevicesPerUser is how many devices a user may enrol. Default: 10
	DevicesPerUser int `toml:"devices_per_user"`
	// RunningPerPeer is how many requests of one peer are worked on at once.
	// Default: 16
	RunningPerPeer int `toml:"running_per_peer"`
	// QueuedPerPeer is how many more of them may wait for that. Default: 50
	QueuedPerPeer int `toml:"queued_per_peer"`
	// OutboxPerUser is how many writes of one user may wait for hubs.
	// Default: 10000
	OutboxPerUser int `toml:"outbox_per_user"`
	// OutboxPerPeer is how many writes may wait for one hub. Default: 1000000
	OutboxPerPeer int `toml:"outbox_per_peer"`
	// OutboxBytesPerPeer is how many octets they may have together.
	// Default: 1073741824, which is 1 GiB
	OutboxBytesPerPeer int `toml:"outbox_bytes_per_peer"`
	// UploadBytes is how many octets an attachment may have.
	// Default: 26214400, which is 25 MiB
	UploadBytes int `toml:"upload_bytes"`
	// AssetBytesPerUser is how many all attachments of a user may have together.
	// Default: 1073741824, which is 1 GiB
	AssetBytesPerUser int `toml:"asset_bytes_per_user"`
	// TransfersPerUser is how many pieces of attachments a user may send, or fetch by
	// way of a hub, at once. Default: 4
	TransfersPerUser int `toml:"transfers_per_user"`
}

// limitOff is how no limit is written.
const limitOff = "off"

// NoLimits sets every rate off and every count to what there can be at most, as
// measurements and tests need it.
func NoLimits() LimitsConfig {
	var l LimitsConfig
	l.eachRate(func(_ string, v *string) { *v = limitOff })
	for _, c := range l.counts() {
		*c.value = c.most
	}
	return l
}

// eachRate visits the rates with their names in the configuration.
func (l *LimitsConfig) eachRate(visit func(name string, value *string)) {
	v := reflect.ValueOf(l).Elem()
	for i := range v.NumField() {
		if rate, ok := v.Field(i).Addr().Interface().(*string); ok {
			visit(v.Type().Field(i).Tag.Get("toml"), rate)
		}
	}
}

// count is a limit that is a number.
type count struct {
	name      string
	value     *int
	def, most int
}

// counts are all of them.
func (l *LimitsConfig) counts() []count {
	const plenty = 1 << 40
	return []count{
		{"clients_per_room", &l.ClientsPerRoom, 2000, room.MaxClients},
		{"users_per_room", &l.UsersPerRoom, 1000, room.MaxClients},
		{"proposals_per_room", &l.ProposalsPerRoom, 100, room.MaxPending},
		{"proposals_per_sender", &l.ProposalsPerSender, 10, room.MaxPending},
		{"devices_per_user", &l.DevicesPerUser, 10, plenty},
		{"running_per_peer", &l.RunningPerPeer, 16, 10_000},
		{"queued_per_peer", &l.QueuedPerPeer, 50, 10_000},
		{"outbox_per_user", &l.OutboxPerUser, 10_000, plenty},
		{"outbox_per_peer", &l.OutboxPerPeer, 1_000_000, plenty},
		{"outbox_bytes_per_peer", &l.OutboxBytesPerPeer, 1 << 30, plenty},
		{"upload_bytes", &l.UploadBytes, 25 << 20, plenty},
		{"asset_bytes_per_user", &l.AssetBytesPerUser, 1 << 30, plenty},
		{"transfers_per_user", &l.TransfersPerUser, 4, 10_000},
	}
}

func (l LimitsConfig) withDefaults() LimitsConfig {
	setDefault(&l.PostsPerDevice, "60 + 1/s")
	setDefault(&l.RoomsPerUser, "100 + 100/h")
	setDefault(&l.ClaimsPerTarget, "6 + 1/10m")
	setDefault(&l.ClaimsPerUser, "100 + 100/h")
	setDefault(&l.ClaimsPerPeer, "3000 + 3000/m")
	setDefault(&l.RequestsPerPeer, "400 + 200/s")
	setDefault(&l.WritesPerPeer, "10000 + 2000/s")
	setDefault(&l.EnrolmentFailures, "5 + 0.17/s")
	setDefault(&l.ConsentsPerUser, "100 + 100/h")
	setDefault(&l.ConsentsPerPeer, "3000 + 3000/h")
	setDefault(&l.SearchesPerUser, "60 + 60/h")
	setDefault(&l.SearchesPerPeer, "600 + 600/h")
	setDefault(&l.ReportsPerUser, "20 + 20/h")
	setDefault(&l.ReportsPerPeer, "600 + 600/h")
	setDefault(&l.JoinCodesPerUser, "5 + 5/10m")
	for _, c := range l.counts() {
		if *c.value == 0 {
			*c.value = c.def
		}
	}
	return l
}

// validate says what is wrong with the limits.
func (l LimitsConfig) validate(bad func(key, format string, args ...any)) {
	l.eachRate(func(name string, value *string) {
		if _, err := parseLimit(*value); err != nil {
			bad("limits."+name, "%v", err)
		}
	})
	for _, c := range l.counts() {
		if *c.value < 0 || *c.value > c.most {
			bad("limits."+c.name, "must be between 1 and %d", c.most)
		}
	}
}

// parseLimit reads a limit; "off" is the zero one, and so is nothing, which
// withDefaults leaves nowhere.
func parseLimit(s string) (peer.Limit, error) {
	bad := fmt.Errorf("must be like \"60 + 1/s\", or %q", limitOff)
	if s == limitOff || s == "" {
		return peer.Limit{}, nil
	}
	burst, rate, ok := strings.Cut(s, "+")
	count, per, ok2 := strings.Cut(rate, "/")
	b, err := strconv.Atoi(strings.TrimSpace(burst))
	n, err2 := strconv.ParseFloat(strings.TrimSpace(count), 64)
	if !ok || !ok2 || err != nil || err2 != nil || b < 1 || !(n > 0 && n <= 1e9) {
		return peer.Limit{}, bad
	}
	unit := strings.TrimSpace(per)
	if len(unit) == 1 {
		unit = "1" + unit
	}
	d, err := time.ParseDuration(unit)
	if err != nil || d <= 0 {
		return peer.Limit{}, bad
	}
	return peer.Limit{Rate: n / d.Seconds(), Burst: b}, nil
}

// rates are the limits in force towards peers and their users.
type rates struct {
	codes    *peer.Limits[mimi.UserURI] // joining codes of users
	requests *peer.Limits[mimi.Domain]
	writes   *peer.Limits[mimi.Domain]
	claims   *peer.Limits[mimi.Domain]
	places   *peer.Places[mimi.Domain]
}

// ofRooms are the limits of rooms that we host.
func (l LimitsConfig) ofRooms() room.Limits {
	return room.Limits{Clients: l.ClientsPerRoom, Users: l.UsersPerRoom, Pending: l.ProposalsPerRoom, PendingPerSender: l.ProposalsPerSender}
}

// ofOutbox is how much may wait for other providers.
func (l LimitsConfig) ofOutbox() follower.Quota {
	return follower.Quota{RowsPerUser: l.OutboxPerUser, RowsPerHub: l.OutboxPerPeer, BytesPerHub: l.OutboxBytesPerPeer}
}

// limitsOf makes what the configuration, which is valid, asks for.
func limitsOf(l LimitsConfig) (api.Limits, rates) {
	of := func(s string) peer.Limit {
		limit, _ := parseLimit(s)
		return limit
	}
	return api.Limits{
			Posts:            peer.NewLimits[mimi.ClientURI]("writes from this device", of(l.PostsPerDevice), time.Now),
			Rooms:            peer.NewLimits[mimi.UserURI]("new rooms", of(l.RoomsPerUser), time.Now),
			Claims:           peer.NewLimits[mimi.UserURI]("claims of KeyPackages", of(l.ClaimsPerUser), time.Now),
			ClaimsOfTarget:   peer.NewLimits[api.Claim]("claims of this user's KeyPackages", of(l.ClaimsPerTarget), time.Now),
			EnrolmentsOfUser: peer.NewLimits[mimi.UserURI]("attempts to enrol a device of this user", of(l.EnrolmentFailures), time.Now),
			EnrolmentsFrom:   peer.NewLimits[string]("attempts to enrol a device", of(l.EnrolmentFailures), time.Now),
			Devices:          l.DevicesPerUser,
		}, rates{
			codes:    peer.NewLimits[mimi.UserURI]("joining codes that are not good", of(l.JoinCodesPerUser), time.Now),
			requests: peer.NewLimits[mimi.Domain]("requests", of(l.RequestsPerPeer), time.Now),
			writes:   peer.NewLimits[mimi.Domain]("writes", of(l.WritesPerPeer), time.Now),
			claims:   peer.NewLimits[mimi.Domain]("claims of KeyPackages", of(l.ClaimsPerPeer), time.Now),
			places:   peer.NewPlaces[mimi.Domain](l.RunningPerPeer, l.QueuedPerPeer),
		}
}

// request counts a request of a peer.
func (r rates) request(from mimi.Domain) error { return take(r.requests, from) }

// claimsCounted lets a peer claim KeyPackages at its rate.
type claimsCounted struct {
	federation.Roles
	rates rates
}

func (c claimsCounted) KeyMaterial(ctx context.Context, from mimi.Domain, target mimi.UserURI, body []byte) ([]byte, error) {
	if err := take(c.rates.claims, from); err != nil {
		return nil, err
	}
	return c.Roles.KeyMaterial(ctx, from, target, body)
}

// writesOf counts the new writes of other providers' users.
func (r rates) writesOf(own mimi.Domain) func(mimi.Domain) error {
	return func(from mimi.Domain) error {
		if from == own {
			return nil // each device has its own limit
		}
		return take(r.writes, from)
	}
}

func take(l *peer.Limits[mimi.Domain], from mimi.Domain) error {
	if p := l.Take(from, 1); p != nil {
		return p
	}
	return nil
}
