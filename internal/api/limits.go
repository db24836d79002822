package api

import (
	"time"

	"hubbub/internal/peer"
	"hubbub/mimi"
)

// Limits are rates of what users and their clients may do; nil ones are none. A
// refused call has done nothing.
type Limits struct {
	Posts  *peer.Limits[mimi.ClientURI] // writes to rooms
	Rooms  *peer.Limits[mimi.UserURI]   // rooms made
	Claims *peer.Limits[mimi.UserURI]   // claims of KeyPackages
	// ClaimsOfTarget are those of one user for one other.
	ClaimsOfTarget *peer.Limits[Claim]
	// EnrolmentsOfUser and EnrolmentsFrom count enrolments that fail, by user and
	// by the address they come from.
	EnrolmentsOfUser *peer.Limits[mimi.UserURI]
	EnrolmentsFrom   *peer.Limits[string]
	Devices          int // of one user; 0 = no limit
}

// Claim is who asks for whose KeyPackages.
type Claim struct{ By, Target mimi.UserURI }

// claim counts a claim.
func (l *Limits) claim(by, target mimi.UserURI) error {
	if p := l.ClaimsOfTarget.Take(Claim{by, target}, 1); p != nil {
		return p
	}
	if p := l.Claims.Take(by, 1); p != nil {
		return p
	}
	return nil
}

// enrol counts an attempt to enrol. It costs nothing if failed is false in the
// end, so that only failures count; taken beforehand, many attempts at once are as
// many.
func (l *Limits) enrol(user mimi.UserURI, from string) (done func(failed bool), err error) {
	if p := l.EnrolmentsFrom.Take(from, 1); p != nil {
		return nil, p
	}
	if p := l.EnrolmentsOfUser.Take(user, 1); p != nil {
		l.EnrolmentsFrom.Return(from, 1)
		return nil, p
	}
	return func(failed bool) {
		if !failed {
			l.EnrolmentsFrom.Return(from, 1)
			l.EnrolmentsOfUser.Return(user, 1)
		}
	}, nil
}

// Limits of the API, told to clients by GetProvider.
const (
	minCompressed   = 64 << 10       // below, an answer is sent as it is: compressing a short one costs more than the call
	maxBodyBytes    = 1 << 20        // one MIMI body
	maxCallBytes    = 8 << 20        // one call
	maxMessageBytes = 64<<10 + 4<<10 // a SubmitMessageRequest: 64 KiB and its envelope
	maxSubmissions  = 64             // per Submit
	maxKeyPackages  = 100            // per PublishKeyPackages
	maxLogEntries   = 500            // per GetLog
	maxLogBytes     = 4 << 20        // per GetLog, bodies
	maxTxnBytes     = 128            // a client's own id
	maxTokenBytes   = 512            // a bearer token; ours have 43
	maxDeviceBytes  = 64             // a device name
	maxForget       = 1000           // per Forget
	maxAckBacklog   = 4096           // rooms with acks not yet stored, per stream
	maxFrameBytes   = 64 << 10       // one frame from a client
	maxRoomURIBytes = 1 << 10        // identifiers
	pageEntries     = 512            // entries read at once for a stream
	// A page of a stream is full at fullPageBytes. The store is asked for up to
	// maxPageBytes, which leaves room for the largest body, so that a page
	// below fullPageBytes is known to be the last one.
	fullPageBytes = 4 << 20
	maxPageBytes  = 16 << 20

	credentialLifetime = 365 * 24 * time.Hour
	keyPackageLifetime = 90 * 24 * time.Hour
	defaultCodeLife    = 24 * time.Hour
	maxCodeLife        = 30 * 24 * time.Hour
)
