package follower

import (
	"context"
	"errors"
	"time"

	"hubbub/internal/store"
	"hubbub/mimi"
)

// acceptedGrace is how long the entry of an accepted write may take to come
// before the acceptance is stored by itself. A crash in between costs a repeat,
// which the hub answers as the first time.
const acceptedGrace = time.Second

// awaited is a write that the hub has accepted and whose entry is to come.
type awaited struct {
	client   mimi.ClientURI
	txn      string
	accepted uint64
	since    time.Time
}

// await keeps an acceptance in memory: nearly always the entry is here before it
// would be worth storing, and settles the write for good. o.mu is held.
func (o *outbox) await(s *store.Submission, accepted uint64) {
	o.awaited[s.MessageHash] = awaited{s.Client, s.Txn, accepted, time.Now()}
	if o.sweeper || o.ctx == nil {
		return
	}
	o.sweeper = true
	ctx := o.ctx
	o.workers.Go(func() { o.sweep(ctx) })
}

// arrived hears what is in the log now: it is not awaited any more, or need not
// be once the hub's answer is here.
func (o *outbox) arrived(entries []store.Append) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.awaited)+len(o.under) == 0 {
		return
	}
	for i := range entries {
		hash := entries[i].Entry.MessageHash
		delete(o.awaited, hash)
		if _, underway := o.under[hash]; underway {
			o.under[hash] = true
		}
	}
}

// sweep stores acceptances whose entries take long, until none is left.
func (o *outbox) sweep(ctx context.Context) {
	for {
		pause(ctx, acceptedGrace)
		o.mu.Lock()
		var due []awaited
		for hash, a := range o.awaited {
			if time.Since(a.since) >= acceptedGrace {
				due = append(due, a)
				delete(o.awaited, hash)
			}
		}
		if len(o.awaited)+len(due) == 0 || ctx.Err() != nil {
			o.sweeper = false
			o.mu.Unlock()
			return
		}
		o.mu.Unlock()
		o.recordAccepted(ctx, due)
	}
}

func (o *outbox) recordAccepted(ctx context.Context, due []awaited) {
	for len(due) > 0 {
		part := due[:min(len(due), batchItems)]
		due = due[len(part):]
		woken := map[mimi.ClientURI]bool{}
		unknown := map[mimi.RoomURI]bool{}
		err := o.f.cfg.Store.Update(ctx, func(tx store.Tx) error {
			for _, a := range part {
				s, err := tx.Submission(a.client, a.txn)
				if errors.Is(err, store.ErrNotFound) || err == nil && s.State != store.Queued {
					continue
				}
				if err != nil {
					return err
				}
				s.Accepted, s.LastError = a.accepted, ""
				if err := postedBefore(tx, s); err != nil {
					return err
				}
				if err := tx.PutSubmission(*s); err != nil {
					return err
				}
				woken[s.Client] = true
				known, err := tx.HasRoom(s.Room)
				if err != nil {
					return err
				}
				if !known && s.Hub != o.f.cfg.Domain {
					unknown[s.Room] = true
				}
			}
			return nil
		})
		if err != nil {
			o.f.cfg.Log.Error("outbox: cannot store an answer", "cause", err)
			return // the writes stay queued and are sent again after a restart
		}
		for uri := range unknown { // a client of ours has let itself in
			o.f.behind(uri)
		}
		for c := range woken {
			o.f.cfg.WakeClient(c)
		}
	}
}

// postedBefore settles an accepted submission whose entry is in the log already:
// no further entry will come to do it. That happens to a write that the hub had
// from an earlier life of the client.
func postedBefore(tx store.Tx, s *store.Submission) error {
	if s.State != store.Queued || s.Accepted == 0 {
		return nil
	}
	e, err := tx.EntryByMessage(s.Room, s.MessageHash)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	s.State, s.Seq, s.Accepted = store.Posted, e.Seq, e.Timestamp
	return nil
}
