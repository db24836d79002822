package provider

import (
	"context"
	"time"

	"hubbub/internal/fsck"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// How all logs are read again and again in the background.
const (
	scrubEvery = 24 * time.Hour
	scrubPause = 100 * time.Millisecond // after each page of some hundred entries
)

// scrub looks for damage in what is long written. A start checks the end of each
// log only; disks forget elsewhere too.
func (p *Provider) scrub(ctx context.Context) error {
	t := time.NewTicker(scrubEvery)
	defer t.Stop()
	for {
		err := p.scrubOnce(ctx, func(ctx context.Context) error { return wait(ctx, scrubPause) })
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			p.log.Warn("the logs could not be read through", "err", err)
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// scrubOnce reads every log once. A room whose log is damaged is served no more.
func (p *Provider) scrubOnce(ctx context.Context, pause func(context.Context) error) error {
	var uris []mimi.RoomURI
	err := p.store.View(ctx, func(tx store.ReadTx) error {
		rooms, err := tx.Rooms()
		for _, r := range rooms {
			if r.Frozen == "" && r.Former == "" {
				uris = append(uris, r.URI)
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, uri := range uris {
		f, err := fsck.Chain(ctx, p.store, uri, pause)
		if err != nil {
			return err
		}
		if f == nil {
			continue
		}
		p.log.Error("a log is damaged; the room is frozen", "finding", f.String(), "remedy",
			"stop the provider; hubbub fsck says more; restore a backup, or resync the room if another provider hosts it")
		if uri.Domain() == p.cfg.domain() {
			err = p.hub.Freeze(ctx, uri, frozenDamaged)
		} else {
			err = p.follower.Freeze(ctx, uri, frozenDamaged)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
