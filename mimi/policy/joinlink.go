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

// LinksOf reads what a room says of join links: its policy, nil if it has none, and its
// links, none rather than nil. The error wraps [ErrMalformed].
func LinksOf(s *State) (*JoinLinkPolicy, *mimi.JoinLinks, error) {
	p, err := Policy(s, mimi.ComponentJoinLinkPolicy, ParseJoinLinkPolicy)
	if err != nil {
		return nil, nil, err
	}
	links, err := Policy(s, mimi.ComponentJoinLinks, mimi.ParseJoinLinks)
	if err != nil {
		return nil, nil, err
	}
	if links == nil {
		links = new(mimi.JoinLinks)
	}
	return p, links, nil
}

// Links lists what a hub keeps record of: the elements of the room's links and, if there
// is one, the link of the policy itself.
func (p *JoinLinkPolicy) Links(links *mimi.JoinLinks) [][]byte {
	if p == nil {
		return nil
	}
	list := links.Links
	if p.JoinLink != "" {
		list = append([][]byte{[]byte(p.JoinLink)}, list...)
	}
	return list
}

// Find gives the link of a room that a code is for: an element that is the hash of the
// code ([mimi.JoinLinkEntry]), or one of another form that is the code itself. It is nil
// if there is none. Codes are compared in constant time.
func (p *JoinLinkPolicy) Find(room mimi.RoomURI, links *mimi.JoinLinks, code []byte) (link []byte) {
	if len(code) == 0 {
		return nil
	}
	hash := mimi.JoinCodeHash(room, code)
	for _, l := range p.Links(links) {
		want, shown := l, code
		if e, ok := mimi.ParseJoinLinkEntry(l); ok {
			want, shown = e.Hash[:], hash[:]
		}
		if subtle.ConstantTimeCompare(want, shown) == 1 {
			link = l
		}
	}
	return link
}

// A CodeUse is what a hub remembers about a join link.
type CodeUse struct {
	Created time.Time    // when the link came into the room
	By      mimi.UserURI // who showed its code first; "" = nobody
	Joined  bool         // somebody has joined by it
}

// Admits says whether a user may join by a link that [JoinLinkPolicy.Find] has found,
// given what the hub remembers about it: it has not expired, and if it is for one user,
// nobody else has shown its code and nobody has joined by it: one who was taken out again
// does not come back by it (POL-21, POL-44, GI-4). The error is a *[Denied]; it does not
// say the code.
func (p *JoinLinkPolicy) Admits(link []byte, user mimi.UserURI, use CodeUse, now time.Time) error {
	why := ""
	switch e, ours := mimi.ParseJoinLinkEntry(link); {
	case len(link) == 0 || p == nil:
		why = "the room has no such code"
	case !now.Before(use.Created.Add(time.Duration(p.Expiration) * time.Second)),
		ours && e.NotAfter != 0 && uint64(max(now.Unix(), 0)) >= e.NotAfter:
		why = "it has expired"
	case p.MultiUser && !(ours && e.Single):
	case use.Joined:
		why = "it has been used"
	case use.By != "" && use.By != user:
		why = "somebody else has used it"
	}
	if why == "" {
		return nil
	}
	return denyAction(user.Handle(), "join by a code", why)
}

// check is POL-21: at most one link where there is to be one that stays.
func (p *JoinLinkPolicy) check(links *mimi.JoinLinks) error {
	if p == nil && len(links.Links) > 0 {
		return deny("the room has no policy on join links, so it can have none")
	}
	if p != nil && p.OnRequest && len(p.Links(links)) > 1 {
		return deny("the room keeps one join link at most: revoke the one it has first")
	}
	return nil
}
