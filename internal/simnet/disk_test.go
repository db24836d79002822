package simnet

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"

	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// disk is the store of one life of a provider. Whether a write fails is decided
// by the seed and by what is written, not by when: goroutines of a provider that
// write at the same moment would otherwise make two runs of a seed differ.
type disk struct {
	store.Store
	life *life
}

// fault is what happens to one write.
type fault int

const (
	noFault     fault = iota
	refuse            // no space: nothing is written
	lose              // unknown outcome, nothing was written
	keep              // unknown outcome, all was written
	stickyLose        // the same, and nothing more is written until a restart
	stickyKeep        //
	crashBefore       // the provider ends, nothing was written
	crashAfter        // the provider ends, all was written, nobody hears of it
)

var faultNames = [...]string{"", "no space", "commit lost", "commit kept, outcome unknown", "commit lost, store failed",
	"commit kept, store failed", "crash before the commit", "crash after the commit"}

var errInjected = errors.New("injected")

// View implements store.Store.
func (d *disk) View(ctx context.Context, fn func(store.ReadTx) error) error {
	if d.life.dead.Load() {
		return store.ErrClosed
	}
	return d.Store.View(ctx, fn)
}

// Update implements store.Store.
func (d *disk) Update(ctx context.Context, fn func(store.Tx) error) error {
	if d.life.dead.Load() {
		return store.ErrClosed
	}
	if d.life.failed.Load() {
		return store.ErrFailed
	}
	f, what := noFault, ""
	err := d.Store.Update(ctx, func(tx store.Tx) error {
		w := &recorder{Tx: tx}
		if err := fn(w); err != nil {
			return err
		}
		if what = w.what; what != "" {
			f = d.life.p.fault(what)
		}
		if f == noFault && d.life.p.full.Load() {
			return errors.Join(store.ErrFull, errInjected)
		}
		if f == refuse || f == lose || f == stickyLose || f == crashBefore {
			return errInjected
		}
		return nil
	})
	if err != nil && !errors.Is(err, errInjected) || f == noFault {
		return err
	}
	d.life.p.sim.note("   %s: %s: %s", d.life.p.domain, what, faultNames[f])
	switch f {
	case refuse:
		return errors.Join(store.ErrFull, errInjected)
	case stickyLose, stickyKeep:
		d.life.failed.Store(true)
	case crashBefore, crashAfter:
		d.life.doomed.Store(true)
	}
	return errors.Join(store.ErrUnknownOutcome, errInjected)
}

// Close is the simulator's to do.
func (d *disk) Close() error { return nil }

// fault decides about the next write of that kind.
func (p *provider) fault(what string) fault {
	x, faulty := p.draw(what)
	if !faulty || x%1000 >= p.sim.storeFaults {
		return noFault
	}
	return []fault{refuse, lose, keep, stickyLose, stickyKeep, crashBefore, crashBefore, crashAfter, crashAfter, crashAfter}[x/1000%10]
}

// draw gives a number that depends on the seed, on what is about to happen and
// on how often it did before.
func (p *provider) draw(what string) (x uint64, faulty bool) {
	p.sim.mu.Lock()
	defer p.sim.mu.Unlock()
	p.writes[what]++
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %s %s %d", p.sim.seed, p.domain, what, p.writes[what])
	return h.Sum64() * 0x9e3779b97f4a7c15 >> 20, p.sim.faulty
}

// chance is true in so many of a thousand cases, while faults happen.
func (p *provider) chance(what string, perThousand uint64) bool {
	x, faulty := p.draw(what)
	return faulty && x%1000 < perThousand
}

// recorder finds out what a transaction is about: its first write.
type recorder struct {
	store.Tx
	what string
}

func (r *recorder) note(format string, args ...any) {
	if r.what == "" {
		r.what = fmt.Sprintf(format, args...)
	}
}

func (r *recorder) Append(a store.Append) error {
	r.note("append %s", a.Room)
	return r.Tx.Append(a)
}

func (r *recorder) AppendAll(list []store.Append) error {
	if len(list) > 0 {
		r.note("append %s", list[0].Room)
	}
	return r.Tx.AppendAll(list)
}

func (r *recorder) CreateRoom(rec store.RoomRecord, c []room.Change, p []room.Participant, j []store.Membership) error {
	r.note("create room %s", rec.URI)
	return r.Tx.CreateRoom(rec, c, p, j)
}

func (r *recorder) PutFanout(f store.FanoutState) error {
	r.note("fanout %s %s", f.Room, f.Peer)
	return r.Tx.PutFanout(f)
}

func (r *recorder) DeleteOutWelcomes(uri mimi.RoomURI, peer mimi.Domain, upTo uint64) error {
	r.note("drop welcome %s %s", uri, peer)
	return r.Tx.DeleteOutWelcomes(uri, peer, upTo)
}

func (r *recorder) PutInWelcome(w store.InWelcome) error {
	r.note("welcome %s", w.Client)
	return r.Tx.PutInWelcome(w)
}

func (r *recorder) Enqueue(s store.Submission) (store.Submission, error) {
	r.note("enqueue %s", s.Client)
	return r.Tx.Enqueue(s)
}

func (r *recorder) EnqueueAll(list []store.Submission) ([]store.Submission, error) {
	if len(list) > 0 {
		r.note("enqueue %s", list[0].Client)
	}
	return r.Tx.EnqueueAll(list)
}

func (r *recorder) PutSubmission(s store.Submission) error {
	r.note("settle %s", s.Client)
	return r.Tx.PutSubmission(s)
}

func (r *recorder) Ack(c mimi.ClientURI, uri mimi.RoomURI, seq uint64) error {
	r.note("ack %s", c)
	return r.Tx.Ack(c, uri, seq)
}

func (r *recorder) Freeze(uri mimi.RoomURI, reason string) error {
	r.note("freeze %s", uri)
	return r.Tx.Freeze(uri, reason)
}
