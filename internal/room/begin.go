package room

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"

	"hubbub/mimi"
	"hubbub/mls"
	"hubbub/mls/wire"
)

// ownLabel starts the hash of a place that a follower counts by itself.
const ownLabel = "hubbub log in order of arrival v1"

// OwnStart is the place before the first entry of a log whose hub gives it no
// places: the follower counts what arrives. No place counted from here is equal to
// one that a hub gives.
func OwnStart(uri mimi.RoomURI) Pos {
	return Pos{Hash: sha256.Sum256([]byte(ownLabel + string(uri)))}
}

// Brought is a room as one of its members, or one about to become one, knows it: what
// a follower begins with where the hub offers no snapshot.
type Brought struct {
	Room      mimi.RoomURI
	GroupInfo []byte // without tree, signed by a member
	Tree      []byte // ratchet_tree extension data
	Pending   []Pending
}

// ErrBrought is wrapped by the errors of BeginFrom.
var ErrBrought = errors.New("room: what was brought does not hold")

// broughtVersion is the first octet of an encoded Brought.
const broughtVersion = 1

// Encode returns a form that ParseBrought reads.
func (b *Brought) Encode() ([]byte, error) {
	var w wire.Writer
	w.Uint8(broughtVersion)
	w.Opaque([]byte(b.Room))
	w.Opaque(b.GroupInfo)
	w.Opaque(b.Tree)
	encodePending(&w, b.Pending)
	return w.Bytes()
}

// ParseBrought reads what Encode wrote.
func ParseBrought(b []byte) (*Brought, error) {
	r := wire.NewReader(b)
	if v := r.Uint8(); v != broughtVersion {
		return nil, fmt.Errorf("room: brought state of unknown version %d", v)
	}
	out := &Brought{Room: mimi.RoomURI(r.Opaque()), GroupInfo: r.Opaque(), Tree: r.Opaque(), Pending: decodePending(r)}
	return out, r.Done()
}

// BeginFrom begins to judge a room by what a client of it brought. What can be checked
// is: the group's signatures and hashes, whose the leaves are, that the group is the
// room's, and that another client than the one who brings it vouches for it, so that
// nobody makes up a room alone. nowMS is the time at which that holds.
func BeginFrom(env *Env, in *Brought, by mimi.ClientURI, nowMS uint64) (State, error) {
	s := State{Room: in.Room, Hub: in.Room.Domain(), Pos: OwnStart(in.Room), clock: &clock{}}
	s.clock.set(nowMS)
	gi, err := s.load(env, in.GroupInfo, in.Tree)
	if err != nil {
		return s, fmt.Errorf("%w: %w", ErrBrought, err)
	}
	signer, ok := s.member(gi.Signer)
	if !ok || signer.Client == by {
		return s, fmt.Errorf("%w: only the client that brings it vouches for it", ErrBrought)
	}
	data, _ := s.group.Dictionary().Get(mimi.ComponentRoomMetadata)
	if meta, err := mimi.ParseRoomMetaData(data); err != nil || meta.Room != in.Room {
		return s, fmt.Errorf("%w: the group is another room's", ErrBrought)
	}
	for _, p := range in.Pending {
		if s, err = s.withPending(p); err != nil {
			return s, fmt.Errorf("%w: %w", ErrBrought, err)
		}
	}
	if s, err = s.derive(); err == nil {
		err = s.checkWhole(env.limits(true))
	}
	if err != nil {
		return s, fmt.Errorf("%w: %w", ErrBrought, err)
	}
	return s, nil
}

// withPending is the State with one more proposal that waits; derive follows.
func (s State) withPending(p Pending) (State, error) {
	m, err := mls.ParseMessage(p.Message)
	if err != nil || m.Public == nil {
		return s, errors.New("a pending proposal does not decode")
	}
	cached, err := s.group.Proposal(m.Public)
	if err != nil {
		return s, fmt.Errorf("pending proposal: %w", err)
	}
	s.group = s.group.WithProposal(cached)
	s.pending = append(s.pending, Pending{Ref: cached.Ref, Message: m.Raw, Timestamp: p.Timestamp})
	return s, nil
}

// Holds says whether a client is in the group with that signature key.
func (s *State) Holds(client mimi.ClientURI, key []byte) bool {
	for _, m := range s.members {
		if leaf := s.group.Leaf(m.Leaf); m.Client == client && leaf != nil && bytes.Equal(leaf.SignatureKey, key) {
			return true
		}
	}
	return false
}

// Waits says whether all the proposals of an announcement are pending already, as they
// are if they had been accepted before the state that was brought.
func (s *State) Waits(a *Announcement) bool {
	if a.message.Kind() != mimi.FanoutProposal {
		return false
	}
	_, ok := s.allPending(a.message.Proposals())
	return ok
}

// Follow is the State moved past an entry that changes nothing of it.
func (s State) Follow(e *Entry) State {
	s.Pos = s.Pos.Next(e.Body)
	s.LastTimestamp = max(s.LastTimestamp, e.Timestamp)
	return s
}

// Epoch is the epoch that a message, proposal or commit was made in; 0 for a Welcome.
func (a *Announcement) Epoch() uint64 {
	switch m := &a.message.Message; {
	case m.Private != nil:
		return m.Private.Epoch
	case m.Public != nil:
		return m.Public.Content.Epoch
	}
	return 0
}

// Unjudged is an announcement as an entry of a log that nobody here can judge yet. It
// is refused for a time that cannot be.
func (a *Announcement) Unjudged(nowMS uint64) (Entry, error) {
	if a.message.Timestamp == 0 || a.message.Timestamp > nowMS+dayMS {
		return Entry{}, refuse(BadTimestamp, "the timestamp is out of range")
	}
	switch a.message.Kind() {
	case mimi.FanoutApplication:
		return a.entry(KindApplication), nil
	case mimi.FanoutProposal:
		return a.entry(KindProposal), nil
	case mimi.FanoutCommit:
		return a.entry(KindCommit), nil
	}
	return Entry{}, refuse(NotAllowed, "a Welcome is not an entry")
}

// IsCommit says whether it is a commit.
func (a *Announcement) IsCommit() bool { return a.message.Kind() == mimi.FanoutCommit }

// Joiner is the client that the announcement says has let itself into the group; "" if
// it says no such thing. Nothing of it has been checked.
func (a *Announcement) Joiner() mimi.ClientURI {
	m := a.message.Message.Public
	if a.message.Kind() != mimi.FanoutCommit || m == nil || m.Content.Sender.Type != mls.SenderTypeNewMemberCommit ||
		m.Content.Commit == nil || m.Content.Commit.Path == nil {
		return ""
	}
	id, err := mimi.ClaimedIdentity(&m.Content.Commit.Path.LeafNode.Credential)
	if err != nil {
		return ""
	}
	return id.Client
}

// Tree is the ratchet tree that travels with a Welcome, as ratchet_tree extension
// data; nil if it does not.
func (a *Announcement) Tree() []byte {
	if !a.IsWelcome() || a.message.RatchetTree.Representation != mimi.TreeFull {
		return nil
	}
	b, err := encodeTree(a.message.RatchetTree.Tree)
	if err != nil {
		return nil
	}
	return b
}
