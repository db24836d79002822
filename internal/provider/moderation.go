package provider

import (
	"context"
	"path/filepath"
	"time"

	"hubbub/internal/api"
	"hubbub/internal/hub"
	"hubbub/internal/identity"
	"hubbub/internal/moderation"
	"hubbub/mimi"
)

// moderator is what the operator does about abuse.
type moderator struct {
	*moderation.Service
	franker *moderation.Franker
	file    string // of the keys
	turn    chan struct{}
}

var _ api.Moderation = (*moderator)(nil)

// RotateFrankingKey makes a new key, durable before it is used.
func (m *moderator) RotateFrankingKey(ctx context.Context) (mimi.FrankKeys, error) {
	select {
	case m.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-m.turn }()
	err := m.franker.Rotate(time.Now(), func(keys mimi.FrankKeys) error { return identity.WriteFrankKeys(m.file, keys) })
	return m.franker.Keys(), err
}

func (p *Provider) wireModeration(h *hub.Hub) {
	l := p.cfg.Limits
	p.moderator = &moderator{
		Service: moderation.New(moderation.Config{
			Domain: p.cfg.domain(), Store: p.store, Rooms: h, Remote: reportees{p.remote}, Franker: p.franker,
			Limit:     takes[mimi.UserURI](l.ReportsPerUser, "reports of this user"),
			LimitPeer: takes[mimi.Domain](l.ReportsPerPeer, "reports"),
			Log:       p.log.With("part", "moderation"),
		}),
		franker: p.franker, file: filepath.Join(p.cfg.DataDir, frankFile), turn: make(chan struct{}, 1),
	}
}

// reportees are the hubs of other rooms. Nobody repeats a report, so silence has to be
// told.
type reportees struct{ remote moderation.Remote }

func (r reportees) ReportAbuse(ctx context.Context, to mimi.Domain, uri mimi.RoomURI, body []byte) error {
	return unreachable(to, r.remote.ReportAbuse(ctx, to, uri, body))
}
