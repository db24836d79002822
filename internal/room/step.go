// Package room is the pure core of a room: what a hub and its followers agree
// on, as a function from a State and an input to the next State and what has to
// become true through it.
//
// It does no I/O and knows no clock, no randomness and no goroutine. The caller
// stores the Effects in one transaction and only then keeps the new State,
// answers and tells others. The hub steps through what is submitted to it; a
// follower steps through the log the hub announces, and judges every entry by
// the same code at the time at which the hub accepted it. So a hub that breaks
// its own rules is seen at once.
//
// A refusal is a result, in Effects; an error is a failure of our own. Input
// that does not decode never gets here: see ParseUpdate, ParseSubmit and
// ParseAnnouncement.
package room

import (
	"errors"
	"fmt"
	"time"

	"hubbub/mimi"
	"hubbub/mimi/policy"
	"hubbub/mls"
)

// Env is what the rules need to know besides the State. It is the same for all
// rooms of a provider and must not change while a State that was made with it
// is in use.
type Env struct {
	Verifier *mimi.Verifier
	Limits   Limits           // of the rooms we host
	Envelope *policy.Envelope // of their policies (POL-32); nil = they may say what they like
	Frank    Franker          // nil: no message is franked
	// Signer signs the proposals of the rooms we host; nil: none are made. Signatures
	// follow from what is signed, so a step that is taken again makes the same.
	Signer *mls.SignatureKey
}

// Input is something a room is asked to accept: a *Submission, a *Handshake or
// an *Announcement.
type Input interface{ input() }

// Code is the class of a refusal, as peers and clients see it.
type Code string

// The classes of refusal. The first four are answers of the draft's own
// (mimi-protocol-06 §5.3 and §5.4).
const (
	WrongEpoch      Code = "wrongEpoch"
	NotAllowed      Code = "notAllowed"
	InvalidProposal Code = "invalidProposal"
	EpochTooOld     Code = "epochTooOld"
	// Future: the entry belongs to an epoch this replica has not reached;
	// entries before it are missing.
	Future Code = "futureEpoch"
	// BadTimestamp: an announcement says it was accepted at no credible time.
	BadTimestamp Code = "badTimestamp"
	// FrozenRoom: the room accepts nothing until an operator has looked at it.
	FrozenRoom Code = "frozen"
)

// Refusal says why an input was not accepted.
type Refusal struct {
	Code        Code
	Description string   // for people; never repeats the input
	Epoch       uint64   // current epoch, for WrongEpoch and EpochTooOld
	Refs        [][]byte // offending ProposalRefs, for InvalidProposal
}

// Error lets a Refusal travel inside the package as an error; Step returns it
// in Effects.
func (r *Refusal) Error() string { return string(r.Code) + ": " + r.Description }

func refuse(code Code, format string, args ...any) *Refusal {
	return &Refusal{Code: code, Description: fmt.Sprintf(format, args...)}
}

// Entry is a new entry of the log.
type Entry struct {
	Timestamp   uint64 // AcceptedTimestamp, Unix ms
	Kind        Kind
	Body        []byte      // exact octets of the FanoutMessage
	MessageHash [32]byte    // SHA-256 of the (first) MLSMessage
	Frank       *mimi.Frank // in Body; set by the hub's own step alone
}

// Welcome is what newcomers need, to be routed to their providers.
type Welcome struct {
	Body       []byte // exact octets of the FanoutMessage
	Recipients []Recipient
}

// Recipient is a newcomer named in a Welcome.
type Recipient struct {
	Ref    []byte // KeyPackageRef
	User   mimi.UserURI
	Client mimi.ClientURI
}

// Joined is a client that entered the group.
type Joined struct {
	User   mimi.UserURI
	Client mimi.ClientURI
	// External: it joined by its own commit, which it must be able to read.
	External bool
}

// Effects are what an accepted input makes true, or why it was refused.
type Effects struct {
	Refusal *Refusal // nil = accepted; everything else is empty otherwise

	// Repeat is set instead of Entry when the input was already accepted as
	// part of another one: it is answered with that entry's timestamp.
	Repeat uint64

	Entry        *Entry
	Changes      []Change
	Participants []Participant // nil = unchanged
	Joined       []Joined
	Left         []mimi.ClientURI
	Welcome      *Welcome
	// StateChanged: the encoded State differs by more than its position.
	StateChanged bool
}

// Step applies one input to a State at a time given in Unix ms. For an
// Announcement now only bounds how far in the future its timestamp may lie.
func Step(env *Env, s State, in Input, nowMS uint64) (State, Effects, error) {
	if s.Frozen != "" {
		return s, Effects{Refusal: refuse(FrozenRoom, "the room is frozen")}, nil
	}
	var next State
	var eff Effects
	var err error
	switch in := in.(type) {
	case *Submission:
		next, eff, err = s.submit(env, in, s.accept(nowMS))
	case *Handshake:
		next, eff, err = s.handshake(env, in, s.accept(nowMS))
	case *Announcement:
		next, eff, err = s.announce(env, in, nowMS)
	default:
		return s, Effects{}, fmt.Errorf("room: unknown input %T", in)
	}
	if r, ok := asRefusal(err); ok {
		return s, Effects{Refusal: r}, nil
	}
	if err != nil {
		return s, Effects{}, err
	}
	return next, eff, nil
}

func asRefusal(err error) (*Refusal, bool) {
	var r *Refusal
	ok := errors.As(err, &r)
	return r, ok
}

// accept is the timestamp of an entry accepted now: timestamps of a room
// strictly increase, whatever the clock does.
func (s *State) accept(nowMS uint64) uint64 { return max(nowMS, s.LastTimestamp+1) }

// append moves the State past an entry and fills in the effect.
func (s State) append(eff *Effects, e Entry) State {
	s.Pos = s.Pos.Next(e.Body)
	s.LastTimestamp = max(s.LastTimestamp, e.Timestamp)
	eff.Entry = &e
	for i := range eff.Changes {
		eff.Changes[i].Seq, eff.Changes[i].Timestamp = s.Pos.Seq, e.Timestamp
	}
	return s
}

// maxLifetime caps KeyPackages: 90 days, and an hour at either end for clocks
// that disagree.
const maxLifetime = 90*24*time.Hour + 2*time.Hour

// config is the MLS rules under our credentials, component logic and clock.
func (env *Env) config(c *clock) *mls.Config {
	return &mls.Config{
		Validate:    env.Verifier.Validate(c.now),
		Components:  policy.Components(),
		Now:         c.now,
		MaxLifetime: maxLifetime,
	}
}
