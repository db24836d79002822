package provider

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"hubbub/internal/store"
)

const (
	// restoreGrace is how long after a restore a room we host waits for a follower
	// that does not answer.
	restoreGrace = 10 * time.Minute
	// askAgain is how often it is asked meanwhile.
	askAgain = 2 * time.Second
)

// testingOnlyGrace is restoreGrace, outside tests.
var testingOnlyGrace = restoreGrace

// wasRestored says whether the data came from a backup and not all followers have
// said since what they hold.
func (p *Provider) wasRestored() bool {
	_, err := os.Stat(p.restoredPath())
	return err == nil
}

func (p *Provider) restoredPath() string { return filepath.Join(p.cfg.DataDir, restoredFile) }

// patience is until when rooms wait for their followers.
func (p *Provider) patience() time.Time {
	if !p.wasRestored() {
		return time.Time{}
	}
	p.log.Warn("started from a backup: chats hosted here take no writes until their other providers have said what they hold",
		"at most for", p.grace)
	return time.Now().Add(p.grace)
}

// awaitFollowers asks the followers of rooms that wait for them until all have
// answered, or the time is over. A start before that begins anew.
func (p *Provider) awaitFollowers(ctx context.Context) error {
	over := time.Now().Add(p.grace)
	why := "all followers have said what they hold"
	for p.hub.Awaited() > 0 {
		if time.Now().After(over) {
			why = "the time is over in which followers could say what they hold; those that hold more will contradict"
			break
		}
		if err := wait(ctx, askAgain); err != nil {
			return err
		}
		p.hub.AskAgain()
		if err := p.hub.Reconcile(ctx); err != nil {
			return err
		}
	}
	err := p.store.Update(ctx, func(tx store.Tx) error { return tx.Audit(time.Now(), "start", "restored", why) })
	if err != nil {
		return err
	}
	p.log.Info("the restore is complete", "because", why)
	return os.Remove(p.restoredPath())
}
