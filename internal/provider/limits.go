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
	"hubbub/internal/peer"
	"hubbub/mimi"
)

// LimitsConfig bounds what single users, devices and peers may do. A limit is
// written "60 + 1/s": so many at once, and then so many per second, minute or hour
// (s, m, h, or a length such as 10m). "off" is no limit. What is refused has done
// nothing, and is told when to come again.
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
}

// limitOff is how no limit is written.
const limitOff = "off"

// NoLimits sets every limit off, as measurements and tests need it.
func NoLimits() LimitsConfig {
	var l LimitsConfig
	l.each(func(_ string, v *string) { *v = limitOff })
	return l
}

// each visits the limits with their names in the configuration.
func (l *LimitsConfig) each(visit func(name string, value *string)) {
	v := reflect.ValueOf(l).Elem()
	for i := range v.NumField() {
		visit(v.Type().Field(i).Tag.Get("toml"), v.Field(i).Addr().Interface().(*string))
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
	return l
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

// rates are the limits in force towards peers.
type rates struct {
	requests *peer.Limits[mimi.Domain]
	writes   *peer.Limits[mimi.Domain]
	claims   *peer.Limits[mimi.Domain]
}

// limitsOf makes what the configuration, which is valid, asks for.
func limitsOf(l LimitsConfig) (api.Limits, rates) {
	of := func(s string) peer.Limit {
		limit, _ := parseLimit(s)
		return limit
	}
	return api.Limits{
			Posts:          peer.NewLimits[mimi.ClientURI]("writes from this device", of(l.PostsPerDevice), time.Now),
			Rooms:          peer.NewLimits[mimi.UserURI]("new rooms", of(l.RoomsPerUser), time.Now),
			Claims:         peer.NewLimits[mimi.UserURI]("claims of KeyPackages", of(l.ClaimsPerUser), time.Now),
			ClaimsOfTarget: peer.NewLimits[api.Claim]("claims of this user's KeyPackages", of(l.ClaimsPerTarget), time.Now),
		}, rates{
			requests: peer.NewLimits[mimi.Domain]("requests", of(l.RequestsPerPeer), time.Now),
			writes:   peer.NewLimits[mimi.Domain]("writes", of(l.WritesPerPeer), time.Now),
			claims:   peer.NewLimits[mimi.Domain]("claims of KeyPackages", of(l.ClaimsPerPeer), time.Now),
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
