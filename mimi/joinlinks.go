package mimi

import (
	"fmt"
	"slices"

	"hubbub/mls/wire"
)

// maxJoinLinks bounds the join links of a room.
const maxJoinLinks = 1024

// JoinLinks is the content of component 0x002A: the links by which users join the room
// (POL-22).
type JoinLinks struct{ Links [][]byte }

// ParseJoinLinks reads the component, at most 1,024 links. The error wraps
// [ErrMalformed].
func ParseJoinLinks(b []byte) (*JoinLinks, error) {
	l := new(JoinLinks)
	if err := parseBody(b, l); err != nil {
		return nil, err
	}
	return l, nil
}

// Marshal gives the component's octets.
func (l *JoinLinks) Marshal() ([]byte, error) { return wire.Marshal(l) }

// Encode writes the links to w.
func (l *JoinLinks) Encode(w *wire.Writer) { encodeLinks(w, l.Links) }

// Decode reads the links from r.
func (l *JoinLinks) Decode(r *wire.Reader) { l.Links = decodeLinks(r) }

func encodeLinks(w *wire.Writer, list [][]byte) {
	encodeList(w, list, func(w *wire.Writer, b *[]byte) { w.Opaque(*b) })
}

func decodeLinks(r *wire.Reader) [][]byte {
	list := decodeList(r, func(r *wire.Reader, b *[]byte) { *b = r.Opaque() })
	if len(list) > maxJoinLinks {
		r.FailValue()
	}
	return list
}

// JoinLinksUpdate is an update of component 0x002A.
type JoinLinksUpdate struct {
	Removed []uint32 // indices into the links before the update
	Added   [][]byte
}

// ParseJoinLinksUpdate reads an update. The error wraps [ErrMalformed].
func ParseJoinLinksUpdate(b []byte) (*JoinLinksUpdate, error) {
	u := new(JoinLinksUpdate)
	if err := parseBody(b, u); err != nil {
		return nil, err
	}
	return u, nil
}

// Marshal gives the update's octets.
func (u *JoinLinksUpdate) Marshal() ([]byte, error) { return wire.Marshal(u) }

// Encode writes the update to w.
func (u *JoinLinksUpdate) Encode(w *wire.Writer) {
	encodeList(w, u.Removed, func(w *wire.Writer, v *uint32) { w.Uint32(*v) })
	encodeLinks(w, u.Added)
}

// Decode reads the update from r.
func (u *JoinLinksUpdate) Decode(r *wire.Reader) {
	u.Removed = decodeList(r, func(r *wire.Reader, v *uint32) { *v = r.Uint32() })
	if len(u.Removed) > maxJoinLinks {
		r.FailValue()
	}
	u.Added = decodeLinks(r)
}

// Apply gives the links after an update: the removed are taken out, then the added are
// appended (D-61). An index out of range or given twice, a link that is there already and
// an empty one are refused; the error wraps [ErrBadUpdate].
func (l *JoinLinks) Apply(u *JoinLinksUpdate) (*JoinLinks, error) {
	gone := make(map[uint32]bool)
	for _, i := range u.Removed {
		if uint64(i) >= uint64(len(l.Links)) || gone[i] {
			return nil, fmt.Errorf("%w: no such join link", ErrBadUpdate)
		}
		gone[i] = true
	}
	next, seen := new(JoinLinks), make(map[string]bool)
	for i, link := range l.Links {
		if !gone[uint32(i)] {
			next.Links = append(next.Links, slices.Clone(link))
			seen[string(link)] = true
		}
	}
	for _, link := range u.Added {
		if len(link) == 0 || seen[string(link)] {
			return nil, fmt.Errorf("%w: a join link is empty or there already", ErrBadUpdate)
		}
		seen[string(link)] = true
		next.Links = append(next.Links, slices.Clone(link))
	}
	if len(next.Links) > maxJoinLinks {
		return nil, fmt.Errorf("%w: too many join links", ErrBadUpdate)
	}
	return next, nil
}

func updateJoinLinks(old []byte, exists bool, update []byte) ([]byte, error) {
	links := new(JoinLinks)
	if exists {
		var err error
		if links, err = ParseJoinLinks(old); err != nil {
			return nil, err
		}
	}
	u, err := ParseJoinLinksUpdate(update)
	if err != nil {
		return nil, err
	}
	next, err := links.Apply(u)
	if err != nil {
		return nil, err
	}
	return next.Marshal()
}
