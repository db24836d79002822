package mls

import (
	"crypto/rand"
	"io"
	"slices"
	"time"
)

// Config holds the rules and sources shared by Group and PublicGroup. The zero
// value and a nil *Config are usable. A Config must not be changed once a
// group holds it; its functions must be safe for concurrent use if the groups
// are used concurrently.
type Config struct {
	// Validate checks that a credential is authentic and belongs to the
	// signature key (RFC 9420 §5.3.1). It is asked about every leaf and
	// external sender that enters a group. Nil accepts all.
	Validate func(c *Credential, signatureKey []byte) error
	// Successor checks that a member may replace credential old by new: in an
	// Update, in a commit's path, and in an external commit that removes the
	// joiner's old leaf (RFC 9420 §5.3.1 and §12.2). Nil accepts all.
	Successor func(old, new *Credential) error
	// MultiCredentials turns on the verification of credentials of types multi
	// and weak-multi (draft-ietf-mls-extensions §6.5): every binding must be
	// signed for the leaf and accepted by Validate, and understood by the
	// members. Without it such credentials are left to Validate, like any type
	// this package does not know. All parties to a group must agree on it.
	MultiCredentials bool
	// Components interprets AppDataUpdate proposals. Nil lets an update
	// replace the whole value and knows every component.
	Components ComponentLogic

	// Proposals are proposal types of the application that this package does
	// not know: their content is one vector, handed over in Proposal.Raw. They
	// change nothing in the group, need no path and come from members only. As
	// RFC 9420 §12.2 wants, all members must list a type in their capabilities
	// before it is used; all parties to a group must agree on this field.
	Proposals []ProposalType

	// MaxLeaves is how wide a tree may be that comes from outside, blank
	// leaves included: hashing blanks costs time although they take an octet
	// each. 0 means DefaultMaxLeaves, negative means no limit.
	MaxLeaves int

	// Now is the clock for KeyPackage lifetimes; nil means time.Now. A replica
	// that replays a log must give the time at which the entry was accepted.
	Now func() time.Time
	// MaxLifetime caps the total lifetime of KeyPackages that are added
	// (RFC 9420 §7.2). 0 means DefaultMaxLifetime, negative means no cap.
	MaxLifetime time.Duration
	// Rand is the source of randomness; nil means crypto/rand.
	Rand io.Reader

	// MaxPastEpochs is how many past epochs stay decryptable; 0 means 5,
	// negative means none.
	MaxPastEpochs int
	// MaxPastAge is how long a past epoch stays decryptable after the next one
	// began for this client; 0 means DefaultMaxPastAge, negative means without
	// limit. Keys beyond it are deleted at the next change of epoch, or by
	// Group.Prune.
	MaxPastAge time.Duration
	// MaxForward is how many generations a sender may be ahead of what was
	// seen; 0 means 1000.
	MaxForward int
	// MaxSkippedKeys is how many unused message keys are kept per sender and
	// ratchet; 0 means 200.
	MaxSkippedKeys int
}

// DefaultMaxLifetime is the cap on a KeyPackage's total lifetime: 84 days and
// an hour at either end for clocks that disagree.
const DefaultMaxLifetime = 84*24*time.Hour + 2*time.Hour

// DefaultMaxLeaves is the widest tree that is taken from outside.
const DefaultMaxLeaves = 1 << 17

// DefaultMaxPastAge is how long messages of a past epoch are waited for.
const DefaultMaxPastAge = 7 * 24 * time.Hour

// ComponentLogic is the application's part in AppDataUpdate proposals
// (draft-ietf-mls-extensions §4.7). Each method is called at most once per
// component and commit, and must not keep or change its arguments. An error
// makes the proposal list invalid.
//
// A logic that also has a method
//
//	Ephemeral(id ComponentID, data []byte) error
//
// is given the AppEphemeral proposals of a commit, in order, before any Update
// or Remove (draft-ietf-mls-extensions §4.8).
type ComponentLogic interface {
	// Update applies updates, in commit order, to the data of a component and
	// returns the new data. exists tells empty data from none.
	Update(id ComponentID, old []byte, exists bool, updates [][]byte) (data []byte, err error)
	// Remove agrees to the removal of a component's data.
	Remove(id ComponentID, old []byte) error
}

// ephemeralLogic is the optional part of a ComponentLogic.
type ephemeralLogic interface {
	Ephemeral(id ComponentID, data []byte) error
}

func (c *Config) now() time.Time {
	if c == nil || c.Now == nil {
		return time.Now()
	}
	return c.Now()
}

func (c *Config) rand() io.Reader {
	if c == nil || c.Rand == nil {
		return rand.Reader
	}
	return c.Rand
}

// maxLifetime returns the cap; ok is false if there is none.
func (c *Config) maxLifetime() (limit time.Duration, ok bool) {
	if c == nil || c.MaxLifetime == 0 {
		return DefaultMaxLifetime, true
	}
	return c.MaxLifetime, c.MaxLifetime > 0
}

// expired reports whether an epoch that ended at a time, in Unix seconds, has
// outlived MaxPastAge.
func (c *Config) expired(ended uint64) bool {
	limit := DefaultMaxPastAge
	if c != nil && c.MaxPastAge != 0 {
		limit = c.MaxPastAge
	}
	now := uint64(max(c.now().Unix(), 0))
	return limit > 0 && now > ended && now-ended > uint64(limit/time.Second)
}

// tooWide reports whether a tree of so many nodes has more leaves than allowed.
func (c *Config) tooWide(nodes int) bool {
	limit := DefaultMaxLeaves
	if c != nil && c.MaxLeaves != 0 {
		limit = c.MaxLeaves
	}
	return limit > 0 && nodes/2+1 > limit
}

// handles reports whether the application takes proposals of a type that this
// package does not know.
func (c *Config) handles(t ProposalType) bool {
	return c != nil && slices.Contains(c.Proposals, t)
}

func (c *Config) validate(cred *Credential, key []byte) error {
	if c == nil || c.Validate == nil {
		return nil
	}
	return c.Validate(cred, key)
}

func (c *Config) successor(old, new *Credential) error {
	if c == nil || c.Successor == nil {
		return nil
	}
	return c.Successor(old, new)
}

func (c *Config) components() ComponentLogic {
	if c == nil || c.Components == nil {
		return replaceComponents{}
	}
	return c.Components
}

// replaceComponents is the logic of a Config without one.
type replaceComponents struct{}

func (replaceComponents) Update(_ ComponentID, _ []byte, _ bool, updates [][]byte) ([]byte, error) {
	return updates[len(updates)-1], nil
}

func (replaceComponents) Remove(ComponentID, []byte) error { return nil }
