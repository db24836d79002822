package policy

import (
	"crypto/subtle"
	"time"

	"hubbub/mimi"
	"hubbub/mls/wire"
)

// JoinLinkPolicy is the content of component 0x0029 and equally an update of it (POL-21).
type JoinLinkPolicy struct {
	OnRequest  bool   // there is at most one link, JoinLink, and it stays
	JoinLink   string // may be empty
	MultiUser  bool   // several users may use a link
	Expiration uint32 // seconds from its creation; 0: never valid (D-83)
}

// ParseJoinLinkPolicy reads the component. The error wraps [ErrMalformed].
func ParseJoinLinkPolicy(b []byte) (*JoinLinkPolicy, error) {
	return checked(new(JoinLinkPolicy), b, nil)
}

// Encode writes the policy to w.
func (p *JoinLinkPolicy) Encode(w *wire.Writer) {
	encodeBool(w, p.OnRequest)
	w.Opaque([]byte(p.JoinLink))
	encodeBool(w, p.MultiUser)
	w.Uint32(p.Expiration)
}

// Decode reads the policy from r.
func (p *JoinLinkPolicy) Decode(r *wire.Reader) {
	*p = JoinLinkPolicy{OnRequest: decodeBool(r), JoinLink: decodeAddress(r), MultiUser: decodeBool(r), Expiration: r.Uint32()}
}

// A CodeUse is what a hub remembers about a join link.
type CodeUse struct {
	Created time.Time      // when the link came into the room
	By      []mimi.UserURI // who used it
}

// Admits says whether a user may join by a code, given the room's links and what the hub
// remembers about this one: it is a link of the room, has not expired, and was not used by
// somebody else unless several may (POL-21, POL-44). Codes are compared in constant time.
// The error is a *[Denied].
func (p *JoinLinkPolicy) Admits(links *mimi.JoinLinks, code []byte, user mimi.UserURI, use CodeUse, now time.Time) error {
	refuse := func(why string) error {
		return &Denied{Actor: user.Handle(), Action: "join by a code", Cause: why, Reason: user.Handle() + " may not join by a code: " + why}
	}
	known := len(code) > 0 && subtle.ConstantTimeCompare(code, []byte(p.JoinLink)) == 1
	if links != nil && len(code) > 0 {
		for _, l := range links.Links {
			known = subtle.ConstantTimeCompare(code, l) == 1 || known
		}
	}
	switch {
	case !known:
		return refuse("the room has no such code")
	case !now.Before(use.Created.Add(time.Duration(p.Expiration) * time.Second)):
		return refuse("it has expired")
	case p.MultiUser:
		return nil
	}
	for _, u := range use.By {
		if u != user {
			return refuse("somebody else has used it")
		}
	}
	return nil
}
