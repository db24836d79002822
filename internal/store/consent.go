package store

import (
	"time"

	"hubbub/mimi"
)

// ConsentScope is what a request for consent, or a decision, is about.
type ConsentScope struct {
	Requester mimi.UserURI
	Target    mimi.UserURI
	Room      mimi.RoomURI // "" = any room
}

// ConsentState is what is known of a request or of a decision.
type ConsentState uint8

// A scope has at most one request, in one of the first three states, and at most
// one decision, in one of the last two.
const (
	ConsentAsked     ConsentState = 1 // no answer is known
	ConsentAnswered  ConsentState = 2 // a grant has come, or the target has decided
	ConsentCancelled ConsentState = 3 // the target's provider has still to hear of it
	ConsentGranted   ConsentState = 4
	ConsentRevoked   ConsentState = 5
)

// Decision says whether the state is that of a decision.
func (s ConsentState) Decision() bool { return s == ConsentGranted || s == ConsentRevoked }

// Consent is a request or a decision, of one of our users or about one.
type Consent struct {
	ConsentScope
	State ConsentState
	// Serial orders what is known of a requester and a target: larger is later.
	Serial uint64
	At     uint64 // Unix ms
	// Out is the ConsentEntry that the other provider has still to get; nil = none.
	Out []byte
	// Error is why it has not got it yet, or will not; "" = nothing to tell.
	Error string
}

// GrantedPackage is a KeyPackage of another provider's user that came with a grant.
type GrantedPackage struct {
	Ref []byte
	ConsentScope
	Client   mimi.ClientURI
	NotAfter time.Time
	Body     []byte // bare KeyPackage octets
}

// ConsentReader reads requests and decisions.
type ConsentReader interface {
	// Consents lists what is known of a requester and a target, by Serial.
	Consents(requester, target mimi.UserURI) ([]Consent, error)
	// ConsentsOf lists what concerns a user at either end, by At.
	ConsentsOf(user mimi.UserURI) ([]Consent, error)
	// ConsentsUnsent lists what other providers have still to get, by At.
	ConsentsUnsent() ([]Consent, error)
	// GrantedPackages lists what came with grants of a target to a requester.
	GrantedPackages(requester, target mimi.UserURI) ([]GrantedPackage, error)
}

// ConsentWriter writes them.
type ConsentWriter interface {
	// PutConsent creates or rewrites the request or the decision of a scope.
	PutConsent(c Consent) error
	// DeleteConsent drops the request, or the decision, of a scope, if there is one.
	DeleteConsent(scope ConsentScope, decision bool) error
	// PutGrantedPackage keeps a KeyPackage. Repeats are ignored.
	PutGrantedPackage(p GrantedPackage) error
	// SpendGrantedPackage takes one out of the list for good: a repeat of the grant
	// does not bring it back. One that is not there is ignored.
	SpendGrantedPackage(ref []byte) error
}
