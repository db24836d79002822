package mls

import (
	"errors"
	"fmt"
)

// Errors a caller acts on. They arrive wrapped; compare with errors.Is.
var (
	// ErrUnsupportedSuite: this package does not implement the cipher suite.
	ErrUnsupportedSuite = errors.New("mls: unsupported cipher suite")
	// ErrBadSignature: a signature does not verify.
	ErrBadSignature = errors.New("mls: bad signature")
	// ErrBadKey: a key is malformed for its suite.
	ErrBadKey = errors.New("mls: malformed key")
	// ErrDecrypt: a ciphertext does not belong to the key it is opened with.
	ErrDecrypt = errors.New("mls: decryption failed")
	// ErrBadMAC: a membership or confirmation tag does not match.
	ErrBadMAC = errors.New("mls: tag does not match")
	// ErrWrongGroup: a message belongs to another group.
	ErrWrongGroup = errors.New("mls: message of another group")
	// ErrWrongEpoch: a handshake message belongs to an epoch that is past.
	ErrWrongEpoch = errors.New("mls: wrong epoch")
	// ErrFutureEpoch: a message belongs to an epoch not reached yet. Commits
	// are missing: fetch them, or join again by external commit.
	ErrFutureEpoch = errors.New("mls: message of a future epoch")
	// ErrReplay: the key of this message was used already.
	ErrReplay = errors.New("mls: message key already used")
	// ErrTooOld: the key or the epoch of this message is no longer kept.
	ErrTooOld = errors.New("mls: message too old")
	// ErrTooFarAhead: the message's generation exceeds Config.MaxForward.
	ErrTooFarAhead = errors.New("mls: generation too far ahead")
	// ErrRemoved: this client is no longer a member. Process reports the event
	// itself with CommitReceived.Removed, whose Merge is nil. Every method of
	// a nil Group that returns an error returns this one.
	ErrRemoved = errors.New("mls: removed from the group")
	// ErrReInitialized: the group has been closed by a ReInit proposal.
	ErrReInitialized = errors.New("mls: group was reinitialized")
	// ErrPendingProposals: proposals wait, so a commit is due before
	// application data may be sent (RFC 9420 §12.4).
	ErrPendingProposals = errors.New("mls: pending proposals must be committed first")
	// ErrExported: the component's secret was exported in this epoch already.
	ErrExported = errors.New("mls: secret already exported")
	// ErrNotMember: a leaf index does not name a member.
	ErrNotMember = errors.New("mls: not a member")
	// ErrNoMatchingKeyPackage: a Welcome is not for the KeyPackage given.
	ErrNoMatchingKeyPackage = errors.New("mls: welcome is not for this key package")
	// ErrMissingPSK: a pre-shared key is needed that the caller did not give.
	ErrMissingPSK = errors.New("mls: missing pre-shared key")
	// ErrMissingTree: neither the message nor the caller provided the tree.
	ErrMissingTree = errors.New("mls: missing ratchet tree")
	// ErrUnknownProposal: a commit refers to a proposal this client has not
	// seen. The error is an *UnknownProposalError.
	ErrUnknownProposal = errors.New("mls: commit refers to unknown proposals")
	// ErrBadState: stored state is damaged or of an unknown version.
	ErrBadState = errors.New("mls: unusable stored state")
)

// UnknownProposalError lists the references a commit needs and the receiver
// lacks. It is ErrUnknownProposal to errors.Is.
type UnknownProposalError struct{ Refs [][]byte }

// Error says how many references are unknown.
func (e *UnknownProposalError) Error() string {
	return fmt.Sprintf("%v (%d)", ErrUnknownProposal, len(e.Refs))
}

// Is makes the error match ErrUnknownProposal.
func (e *UnknownProposalError) Is(target error) bool { return target == ErrUnknownProposal }

// ValidationError says which rule an object breaks. It never contains keys or
// identities.
type ValidationError struct {
	Clause       string   // the rule's place, such as "RFC 9420 §12.2"
	Reason       string   // what is wrong
	ProposalRefs [][]byte // the proposals at fault, if known
	Err          error    // cause, or nil
}

// Error names the clause and the reason.
func (e *ValidationError) Error() string {
	s := "mls: " + e.Reason + " (" + e.Clause + ")"
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *ValidationError) Unwrap() error { return e.Err }

// invalid makes a ValidationError.
func invalid(clause, reason string, args ...any) *ValidationError {
	return &ValidationError{Clause: clause, Reason: fmt.Sprintf(reason, args...)}
}
