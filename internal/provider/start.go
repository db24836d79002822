package provider

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"hubbub/internal/fsck"
	"hubbub/internal/heads"
	"hubbub/internal/store"
	"hubbub/internal/tail"
	"hubbub/mimi"
)

// frozenDamaged is why a room is frozen whose log does not lead to its head.
const frozenDamaged = "damaged-log"

// ErrLost says that the database lacks rooms that we host and once had.
var ErrLost = errors.New("the database is not the one this provider ran with")

// checkStart finds out, before anything is served, whether the database still
// holds what it once held. A room of ours that lost part of its log accepts no
// write, or its history would fork; a replica that did gets it from its hub.
func (p *Provider) checkStart() (err error) {
	if p.heads, err = heads.Open(p.cfg.HeadsFile); err != nil {
		return err
	}
	if n := p.heads.Damaged(); n > 0 {
		p.log.Warn("part of the file of heads could not be read", "file", p.cfg.HeadsFile, "lines", n)
	}
	st := p.store
	p.store = tail.Watch(heads.Guard(st, p.heads), p.tails)
	ctx := context.Background()
	var losses []heads.Loss
	var rooms []store.RoomRecord
	err = st.View(ctx, func(tx store.ReadTx) error {
		if losses, err = heads.Compare(tx, p.heads.Known()); err != nil {
			return err
		}
		rooms, err = tx.Rooms()
		return err
	})
	if err != nil {
		return fmt.Errorf("comparing the database with %s: %w", p.cfg.HeadsFile, err)
	}
	freeze, err := p.judge(losses)
	if err != nil {
		return err
	}
	tails, err := fsck.Tail(ctx, st)
	if err != nil {
		return fmt.Errorf("checking the logs: %w", err)
	}
	for _, f := range tails {
		p.log.Error("a log is damaged; the room is frozen", "finding", f.String(),
			"remedy", "stop the provider; hubbub fsck says more; restore a backup, or resync the room if another provider hosts it")
		freeze[f.Room] = frozenDamaged
	}
	return p.settle(ctx, rooms, losses, freeze)
}

// judge says which rooms have to be frozen, and refuses to start over an old copy
// of the database.
func (p *Provider) judge(losses []heads.Loss) (freeze map[mimi.RoomURI]string, err error) {
	freeze = map[mimi.RoomURI]string{}
	var gone []string
	for _, l := range losses {
		ours := l.Hub == p.cfg.domain()
		switch {
		case l.Missing && ours:
			gone = append(gone, l.String())
		case ours || l.Differs():
			p.log.Error("the database lost part of a room; it takes no more writes", "loss", l.String(), "file", p.cfg.HeadsFile,
				"remedy", remedy(l.Room))
			freeze[l.Room] = heads.Frozen
		default:
			p.log.Warn("the database lost part of a replica; its hub will be asked for it", "loss", l.String())
		}
	}
	if len(gone) == 0 {
		return freeze, nil
	}
	return nil, fmt.Errorf("%w: it lacks %d rooms that stand in %s:\n%s\nput the newest copy of the database back; "+
		"or accept for each that it is lost: hubbub fsck --accept-loss ROOM",
		ErrLost, len(gone), p.cfg.HeadsFile, strings.Join(gone[:min(len(gone), 10)], "\n"))
}

func remedy(uri mimi.RoomURI) string {
	return "put the newest copy of the database back and start again; or, if what is missing is gone for good and no follower has it, " +
		"stop the provider and run: hubbub fsck --accept-loss " + string(uri)
}

// settle stores the verdict and notes all heads that are as they should be.
func (p *Provider) settle(ctx context.Context, rooms []store.RoomRecord, losses []heads.Loss, freeze map[mimi.RoomURI]string) error {
	lost := map[mimi.RoomURI]bool{}
	for _, l := range losses {
		lost[l.Room] = true
	}
	change := map[mimi.RoomURI]string{}
	for i := range rooms {
		r := &rooms[i]
		if r.Former != "" {
			continue // a copy that was set aside stays as it is
		}
		reason, bad := freeze[r.URI]
		switch {
		case bad && r.Frozen == "":
			change[r.URI] = reason
		case !bad && r.Frozen == heads.Frozen:
			p.log.Info("a room has back what it lost; it takes writes again", "room", r.URI)
			change[r.URI] = ""
		}
		if !lost[r.URI] {
			p.heads.Note(r.URI, r.Head)
		}
	}
	if len(change) == 0 {
		return nil
	}
	return p.store.Update(ctx, func(tx store.Tx) error {
		for uri, reason := range change {
			err := tx.Freeze(uri, reason)
			if err == nil {
				err = tx.Audit(time.Now(), "start", "freeze", string(uri)+" "+reason)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}
