package client

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// maxExpiryPause bounds how long the device relies on its clock to go on evenly.
const maxExpiryPause = time.Minute

// runExpiry lets messages vanish when their time has come (CNT-49).
func (c *Client) runExpiry(ctx context.Context) {
	for {
		next, err := c.expireDue()
		wait := maxExpiryPause
		if err == nil && !next.IsZero() {
			wait = min(max(next.Sub(c.opts.Now()), 0), maxExpiryPause)
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-c.kickExpiry:
			t.Stop()
		case <-t.C:
		}
	}
}

// expireDue takes the text of messages whose time is over off the disk, and says when
// the next one is due; zero if none is known.
func (c *Client) expireDue() (next time.Time, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if c.fatal != nil {
			return time.Time{}, c.fatal
		}
		var first sql.NullInt64
		if err := c.db.QueryRow("SELECT MIN(expires) FROM message WHERE expires > 0").Scan(&first); err != nil {
			return time.Time{}, fmt.Errorf("reading messages: %w", err)
		}
		if !first.Valid {
			return time.Time{}, nil
		}
		now := c.opts.Now().UnixMilli()
		if first.Int64 > now {
			return time.UnixMilli(first.Int64), nil
		}
		if err := c.stepLocked(func(b *batch) error { return b.expire(now) }); err != nil {
			return time.Time{}, err
		}
	}
}

// expire lets some messages vanish. What is still on its way from this device is given
// up if it was not encrypted yet; otherwise the others let it vanish when it comes.
func (b *batch) expire(now int64) error {
	list, err := b.c.records("expires > 0 AND expires <= ? ORDER BY expires LIMIT 500", now)
	if err != nil {
		return err
	}
	for _, rec := range list {
		if err := b.wipe(rec, goneExpired, "", true); err != nil {
			return err
		}
		if r := b.room(rec.Room); r.member() == nil {
			b.encryptLater(r) // which gives up what waited
		}
		if err := b.tellExpired(rec); err != nil {
			return err
		}
	}
	return nil
}

// tellExpired tells of a message that vanished, or of the one that lost a reaction.
func (b *batch) tellExpired(rec *record) error {
	if rec.kind == kindReaction {
		shown, err := b.c.record(rec.Room, rec.root)
		if shown == nil || shown.gone != there || err != nil {
			return err
		}
		return b.updated(shown, Reacted, "")
	}
	if rec.kind == kindWrite || rec.flags&flagOrphan != 0 {
		return b.updated(rec, Expired, "")
	}
	return nil
}

// emptyLog takes what was deleted out of the database's write-ahead log as well, where
// it would stay until overwritten. What cannot be taken out now goes with the next time.
func (c *Client) emptyLog() {
	var busy, pages, moved int
	c.db.QueryRow("PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &pages, &moved)
}
