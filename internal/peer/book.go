// Package peer keeps what an operator wants to know of other providers: when a
// request last went well each way, what went wrong, when a certificate ends, and
// which peers are on hold.
//
// Holds are durable. The rest is in memory and begins anew with the process.
package peer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"hubbub/internal/store"
	"hubbub/mimi"
)

// maxPeers bounds how many peers are remembered, since users can name any domain.
const maxPeers = 1000

// maxErrorBytes bounds what is kept of an error: it may hold a peer's words.
const maxErrorBytes = 300

// metaHolds is where the holds are stored.
const metaHolds = "peer/holds"

// Traffic is one direction.
type Traffic struct {
	LastSuccess time.Time
	LastFailure time.Time
	LastError   string
	Successes   uint64
	Failures    uint64
}

// Hold is an operator's wish that nothing is sent to a peer.
type Hold struct {
	Since  time.Time `json:"since"`
	Reason string    `json:"reason"`
}

// Record is what is known of one peer.
type Record struct {
	Out, In            Traffic
	CertificateExpires time.Time // of the certificate last seen
}

// Book is safe for concurrent use.
type Book struct {
	store store.Store
	now   func() time.Time

	mu    sync.RWMutex
	peers map[mimi.Domain]*Record
	holds map[mimi.Domain]Hold // replaced, never changed in place
}

// Open reads the holds.
func Open(ctx context.Context, st store.Store, now func() time.Time) (*Book, error) {
	b := &Book{store: st, now: now, peers: map[mimi.Domain]*Record{}, holds: map[mimi.Domain]Hold{}}
	err := st.View(ctx, func(tx store.ReadTx) error {
		data, err := tx.Meta(metaHolds)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return json.Unmarshal(data, &b.holds)
	})
	if err != nil {
		return nil, fmt.Errorf("reading which peers are on hold: %w", err)
	}
	return b, nil
}

// Sent notes how a request of ours went; certificateExpires is zero if no
// certificate was seen.
func (b *Book) Sent(peer mimi.Domain, err error, certificateExpires time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.record(peer)
	r.Out.note(b.now(), err)
	if !certificateExpires.IsZero() {
		r.CertificateExpires = certificateExpires
	}
}

// Received notes how a request of the peer went.
func (b *Book) Received(peer mimi.Domain, err error, certificateExpires time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.record(peer)
	r.In.note(b.now(), err)
	if !certificateExpires.IsZero() {
		r.CertificateExpires = certificateExpires
	}
}

func (t *Traffic) note(now time.Time, err error) {
	if err == nil {
		t.LastSuccess = now
		t.Successes++
		return
	}
	t.LastFailure, t.LastError = now, err.Error()
	if len(t.LastError) > maxErrorBytes {
		t.LastError = t.LastError[:maxErrorBytes]
	}
	t.Failures++
}

// record finds or makes a record. mu is held.
func (b *Book) record(peer mimi.Domain) *Record {
	r := b.peers[peer]
	if r == nil {
		for old := range b.peers {
			if len(b.peers) < maxPeers {
				break
			}
			delete(b.peers, old)
		}
		r = &Record{}
		b.peers[peer] = r
	}
	return r
}

// Record says what is known of a peer.
func (b *Book) Record(peer mimi.Domain) Record {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if r := b.peers[peer]; r != nil {
		return *r
	}
	return Record{}
}

// Known lists the peers of whom there is a record or that are on hold.
func (b *Book) Known() []mimi.Domain {
	b.mu.RLock()
	defer b.mu.RUnlock()
	var out []mimi.Domain
	for d := range b.peers {
		out = append(out, d)
	}
	for d := range b.holds {
		if b.peers[d] == nil {
			out = append(out, d)
		}
	}
	return out
}

// Held says whether a peer is on hold.
func (b *Book) Held(peer mimi.Domain) (Hold, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	h, ok := b.holds[peer]
	return h, ok
}

// Hold puts a peer on hold; a second hold replaces the reason.
func (b *Book) Hold(ctx context.Context, peer mimi.Domain, reason string) error {
	_, err := b.change(ctx, "hold-peer", peer, func(holds map[mimi.Domain]Hold) {
		h, ok := holds[peer]
		if !ok {
			h.Since = b.now()
		}
		h.Reason = reason
		holds[peer] = h
	})
	return err
}

// Release ends a hold and says whether there was one.
func (b *Book) Release(ctx context.Context, peer mimi.Domain) (bool, error) {
	return b.change(ctx, "resume-peer", peer, func(holds map[mimi.Domain]Hold) { delete(holds, peer) })
}

// change makes a change durable and then takes it into force. was says whether
// the peer was on hold before.
func (b *Book) change(ctx context.Context, action string, peer mimi.Domain, edit func(map[mimi.Domain]Hold)) (was bool, err error) {
	var holds map[mimi.Domain]Hold
	err = b.store.Update(ctx, func(tx store.Tx) error {
		holds = map[mimi.Domain]Hold{}
		data, err := tx.Meta(metaHolds)
		if err == nil {
			err = json.Unmarshal(data, &holds)
		} else if errors.Is(err, store.ErrNotFound) {
			err = nil
		}
		if err != nil {
			return err
		}
		_, was = holds[peer]
		edit(holds)
		if data, err = json.Marshal(holds); err != nil {
			return err
		}
		if err := tx.PutMeta(metaHolds, data); err != nil {
			return err
		}
		return tx.Audit(b.now(), "operator", action, string(peer))
	})
	if err != nil {
		return was, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.holds = holds
	return was, nil
}
