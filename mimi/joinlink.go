package mimi

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"

	"hubbub/mls/wire"
)

// JoinCodeBytes is how long the codes of join links are that [NewJoinLink] takes.
const JoinCodeBytes = 16

// maxJoinCode bounds the codes of links made by others, in octets.
const maxJoinCode = 1024

// joinQuery stands between the room and the code in the text of a link.
const joinQuery = "?join="

// A JoinLink is what people pass on so that others can join a room: who shows the code to
// the room's hub, by [GroupInfoRequest.JoiningCode], may join as the room's policy says
// (POL-44). It is a secret: [JoinLink.Text] gives it to people; String, and what encoders
// and logs see of it, leaves the code out.
type JoinLink struct {
	Room RoomURI
	code []byte // 1 to 1,024 octets
}

// NewJoinLink makes a link from a code of [JoinCodeBytes] random octets.
func NewJoinLink(room RoomURI, code [JoinCodeBytes]byte) JoinLink {
	return JoinLink{Room: room, code: code[:]}
}

// ParseJoinLink reads what [JoinLink.Text] gave. The error wraps [ErrBadURI] and does not
// repeat the text.
func ParseJoinLink(s string) (JoinLink, error) {
	uri, code, ok := strings.Cut(s, joinQuery)
	if !ok {
		return JoinLink{}, fmt.Errorf("%w: a join link ends in %sCODE", ErrBadURI, joinQuery)
	}
	room, err := ParseRoom(uri)
	if err != nil {
		return JoinLink{}, err
	}
	octets, err := base64.RawURLEncoding.Strict().DecodeString(code)
	if err != nil || len(octets) == 0 || len(octets) > maxJoinCode || strings.ContainsAny(code, "\r\n") {
		return JoinLink{}, fmt.Errorf("%w: the code of a join link cannot be read", ErrBadURI)
	}
	return JoinLink{Room: room, code: octets}, nil
}

// Text gives the link as people pass it on: mimi://a.example/r/lunch?join=…
func (l JoinLink) Text() string {
	return string(l.Room) + joinQuery + base64.RawURLEncoding.EncodeToString(l.code)
}

// String names the room and leaves the code out.
func (l JoinLink) String() string { return string(l.Room) + joinQuery + "(secret)" }

// Code is what a joiner shows, 1 to 1,024 octets. It must not be changed.
func (l JoinLink) Code() []byte { return l.code }

// Hash is what a room keeps of the link, in a [JoinLinkEntry].
func (l JoinLink) Hash() [sha256.Size]byte { return JoinCodeHash(l.Room, l.code) }

// JoinCodeHash is SHA-256 over a label, the room and a code. A code of another room has
// another hash.
func JoinCodeHash(room RoomURI, code []byte) [sha256.Size]byte {
	var w wire.Writer
	w.Opaque([]byte("hubbub join code 1"))
	w.Opaque([]byte(room))
	w.Opaque(code)
	b, _ := w.Bytes()
	return sha256.Sum256(b)
}

// A JoinLinkEntry is how Hubbub writes a link into [JoinLinks].
//
// Deviation: mimi-room-policy-03 says that an element of JoinLinks is a link, and not what
// a hub compares with the code a joiner shows. An element that is the link or the code
// itself would let every member, every provider and everybody who joined by one code pass
// on all the others, also in rooms where they may bring in nobody. So Hubbub writes down
// what the code hashes to, with what its author allows beyond the room's policy. Elements
// of any other form are taken for the code itself: see policy.JoinLinkPolicy.
type JoinLinkEntry struct {
	Hash     [sha256.Size]byte // [JoinCodeHash]
	Single   bool              // for one user, even if the room's policy lets several use a link
	NotAfter uint64            // Unix time in seconds; 0: as long as the room's policy says
}

// The first octets of an entry. No link that is text begins so.
var entryHead = [2]byte{0, 1}

const (
	entryBytes  = len(entryHead) + sha256.Size + 1 + 8
	entrySingle = 1 // flag
)

// Marshal gives the element of [JoinLinks].
func (e *JoinLinkEntry) Marshal() []byte {
	var w wire.Writer
	w.Raw(entryHead[:])
	w.Raw(e.Hash[:])
	if e.Single {
		w.Uint8(entrySingle)
	} else {
		w.Uint8(0)
	}
	w.Uint64(e.NotAfter)
	b, _ := w.Bytes()
	return b
}

// ParseJoinLinkEntry reads an element of [JoinLinks]; false if it is of another form.
func ParseJoinLinkEntry(b []byte) (*JoinLinkEntry, bool) {
	if len(b) != entryBytes || [2]byte(b) != entryHead || b[len(entryHead)+sha256.Size] > entrySingle {
		return nil, false
	}
	r := wire.NewReader(b[len(entryHead):])
	e := new(JoinLinkEntry)
	copy(e.Hash[:], r.Raw(sha256.Size))
	e.Single = r.Uint8() == entrySingle
	e.NotAfter = r.Uint64()
	return e, r.Done() == nil
}
