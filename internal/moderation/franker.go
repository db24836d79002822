// Package moderation is what a provider does about abuse in the rooms it hosts: it gives
// each message of a room with franking a proof that it was accepted, takes reports,
// checks the proofs in them, and keeps the reports for its operator.
//
// It says what the hub can know: that a sender committed to a text and that the hub took
// the message. Whether anybody was able to read it only clients know.
package moderation

import (
	"bytes"
	"sync/atomic"
	"time"

	"hubbub/mimi"
	"hubbub/mls"
)

const (
	// Keep is for how long after its last message a key is kept, and so for how long
	// messages can be reported with proof (D-32).
	Keep = 366 * 24 * time.Hour
	// notice is how far ahead a new key is made: a message that is being decided on
	// just then is proved with the old one.
	notice = time.Minute
)

// A Franker holds the hub's keys. Safe for concurrent use.
type Franker struct {
	signer *mls.SignatureKey
	keys   atomic.Pointer[mimi.FrankKeys]
}

// NewFranker makes one. Signer is the key of the franking agent of all rooms.
func NewFranker(keys mimi.FrankKeys, signer *mls.SignatureKey) *Franker {
	f := &Franker{signer: signer}
	f.keys.Store(&keys)
	return f
}

// FirstKeys are the keys of a hub that has none. They hold for any time, so that a clock
// that is put back does not leave messages without a key.
func FirstKeys() mimi.FrankKeys { return mimi.FrankKeys(nil).Rotate(time.UnixMilli(0), Keep) }

// Frank is a room.Franker.
func (f *Franker) Frank(suite mls.CipherSuite, agent *mimi.FrankingAgent, tag mimi.FrankTag, c *mimi.FrankingContext) (*mimi.Frank, error) {
	if suite != f.signer.Suite || !bytes.Equal(agent.SignatureKey, f.signer.Public) {
		return nil, nil
	}
	return f.keys.Load().Frank(tag, c, f.signer)
}

// Keys are the keys in use, the oldest first. They must not be changed.
func (f *Franker) Keys() mimi.FrankKeys { return *f.keys.Load() }

// Rotate adds a key and has store keep the keys there are then, before any is used. It
// must not be called at the same time as itself.
func (f *Franker) Rotate(now time.Time, store func(mimi.FrankKeys) error) error {
	next := f.Keys().Rotate(now.Add(notice), Keep)
	if err := store(next); err != nil {
		return err
	}
	f.keys.Store(&next)
	return nil
}
