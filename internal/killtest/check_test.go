package killtest

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"hubbub/client"
	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/internal/store/sqlstore"
	"hubbub/mimi"
)

// replica is what one provider's database holds of a room, read while no process
// has it open.
type replica struct {
	domain  mimi.Domain
	rec     store.RoomRecord
	entries []store.Entry
	waiting []store.Submission
	fanouts []store.FanoutState
}

// read opens a stopped provider's database.
func (p *process) read(uri mimi.RoomURI) *replica {
	p.t.Helper()
	s, err := sqlstore.Open(p.cfg.DataDir)
	ok(p.t, err)
	defer s.Close()
	r := &replica{domain: p.domain}
	ok(p.t, s.View(context.Background(), func(tx store.ReadTx) error {
		rec, err := tx.Room(uri)
		if err != nil {
			return err
		}
		r.rec = *rec
		if r.entries, err = tx.Entries(uri, 0, 1<<20, 1<<30); err != nil {
			return err
		}
		if r.waiting, err = tx.QueuedSubmissions(0, 1<<20); err != nil {
			return err
		}
		r.fanouts, err = tx.Fanouts()
		return err
	}))
	return r
}

// sound checks a log by itself: no gap, the chain from its start to its head,
// time only forwards, no message twice, nothing left in the outbox.
func (r *replica) sound(t *testing.T) {
	t.Helper()
	pos, last := r.rec.Start, uint64(0)
	seen := map[[32]byte]uint64{}
	for _, e := range r.entries {
		pos = pos.Next(e.Body)
		if e.Seq != pos.Seq || e.Hash != pos.Hash {
			t.Fatalf("%s: entry %d has hash %x, the chain says %s", r.domain, e.Seq, e.Hash[:4], pos)
		}
		if e.Timestamp <= last {
			t.Errorf("%s: entry %d was accepted at %d, the one before at %d", r.domain, e.Seq, e.Timestamp, last)
		}
		if at, twice := seen[e.MessageHash]; twice {
			t.Errorf("%s: entries %d and %d are the same message", r.domain, at, e.Seq)
		}
		seen[e.MessageHash], last = e.Seq, e.Timestamp
	}
	if pos != r.rec.Head {
		t.Errorf("%s: the head is %s, the log ends at %s", r.domain, r.rec.Head, pos)
	}
	if r.rec.Frozen != "" {
		t.Errorf("%s: frozen: %s", r.domain, r.rec.Frozen)
	}
	for _, s := range r.waiting {
		t.Errorf("%s: %s %s is still in the outbox: %s", r.domain, s.Client, s.Txn, s.LastError)
	}
	for _, f := range r.fanouts {
		if f.Parked != "" || f.Until == 0 && f.Acked != r.rec.Head.Seq {
			t.Errorf("%s: queue at rest with %+v, head %s", r.domain, f, r.rec.Head)
		}
	}
}

// sameAs checks that a replica is the hub's log from its start on, byte for byte.
func (r *replica) sameAs(t *testing.T, hub *replica) {
	t.Helper()
	if r.rec.Head != hub.rec.Head {
		t.Errorf("%s ends at %s, the hub at %s", r.domain, r.rec.Head, hub.rec.Head)
	}
	for _, e := range r.entries {
		if e.Seq > uint64(len(hub.entries)) {
			t.Fatalf("%s has entry %d, the hub only %d", r.domain, e.Seq, len(hub.entries))
		}
		if h := hub.entries[e.Seq-1]; !bytes.Equal(h.Body, e.Body) || h.Hash != e.Hash || h.Timestamp != e.Timestamp {
			t.Fatalf("%s: entry %d is not the hub's", r.domain, e.Seq)
		}
	}
}

// count is the number of application messages in a log.
func (r *replica) count() (n int) {
	for _, e := range r.entries {
		if e.Kind == room.KindApplication {
			n++
		}
	}
	return n
}

// shows checks that a device shows every acknowledged post once, at the place
// that its sender was told, and nothing else.
func shows(t *testing.T, c *client.Client, uri mimi.RoomURI, told map[client.MessageID]*ack) {
	t.Helper()
	until(t, "messages of "+string(c.URI()), func(ctx context.Context) error {
		list, err := c.Messages(ctx, uri, 0, 1<<20)
		if err == nil && len(list) < len(told) {
			err = fmt.Errorf("%d of %d", len(list), len(told))
		}
		return err
	})
	list, err := c.Messages(t.Context(), uri, 0, 1<<20)
	ok(t, err)
	seen := map[client.MessageID]bool{}
	for _, m := range list {
		a := told[m.ID]
		switch {
		case a == nil:
			t.Errorf("%s shows %q, which nobody sent", c.URI(), m.Text)
		case seen[m.ID]:
			t.Errorf("%s shows %q twice", c.URI(), m.Text)
		case m.Seq != a.seq || m.Text != a.text:
			t.Errorf("%s shows %q at %d; its sender was told %d", c.URI(), m.Text, m.Seq, a.seq)
		}
		seen[m.ID] = true
	}
	for id, a := range told {
		if !seen[id] {
			t.Errorf("%s misses %q, acknowledged at %d", c.URI(), a.text, a.seq)
		}
	}
	info, err := c.Room(t.Context(), uri)
	ok(t, err)
	if info.Missed != 0 || info.Suspicious != "" {
		t.Errorf("%s: missed %d, suspicious %q", c.URI(), info.Missed, info.Suspicious)
	}
}
