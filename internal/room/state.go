package room

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"hubbub/mimi"
	"hubbub/mls"
	"hubbub/mls/wire"
)

// State is a room at one place of its log. It is a value: Step returns a new
// one and leaves the old one as it was. A State is used by one goroutine at a
// time, together with all those it was derived from.
type State struct {
	Room          mimi.RoomURI
	Hub           mimi.Domain
	Pos           Pos
	LastTimestamp uint64 // AcceptedTimestamp of the newest entry, Unix ms
	Frozen        string // why nothing more is accepted; "" = not frozen

	group     *mls.PublicGroup // with the pending proposals
	groupInfo []byte           // newest GroupInfo without tree, as received
	pending   []Pending        // same order as group.Cached()
	members   []Member         // ascending by leaf
	clock     *clock
	view      *view
}

// Pending is an accepted proposal that no commit has covered yet.
type Pending struct {
	Ref       []byte // ProposalRef
	Message   []byte // MLSMessage octets as received
	Timestamp uint64 // AcceptedTimestamp of its entry, Unix ms
}

// Member is one leaf of the group and whose it is.
type Member struct {
	Leaf   mls.LeafIndex
	User   mimi.UserURI
	Client mimi.ClientURI
}

// clock is what the MLS rules take for the time: that of the entry being
// judged, so that a replica comes to the same verdict as the hub did.
type clock struct{ ms atomic.Int64 }

func (c *clock) set(ms uint64)  { c.ms.Store(int64(ms)) }
func (c *clock) now() time.Time { return time.UnixMilli(c.ms.Load()) }

// Epoch is the current epoch of the room's group.
func (s *State) Epoch() uint64 { return s.group.Epoch() }

// Group is the public state of the room's group. It must not be changed.
func (s *State) Group() *mls.PublicGroup { return s.group }

// GroupInfo is the newest GroupInfo without tree, in the octets the committer
// sent. It must not be changed.
func (s *State) GroupInfo() []byte { return s.groupInfo }

// Pending lists the pending proposals in log order.
func (s *State) Pending() []Pending { return s.pending }

// Members lists the clients in the group by leaf. It must not be changed.
func (s *State) Members() []Member { return s.members }

// Participants is the committed participant list.
func (s *State) Participants() []Participant { return s.view.committed }

// member finds the client at a leaf.
func (s *State) member(leaf mls.LeafIndex) (Member, bool) {
	for _, m := range s.members {
		if m.Leaf == leaf {
			return m, true
		}
	}
	return Member{}, false
}

// Providers lists the providers that have a client in the group, in the order
// of their first leaf.
func (s *State) Providers() []mimi.Domain {
	var list []mimi.Domain
	seen := map[mimi.Domain]bool{}
	for _, m := range s.members {
		if d := m.User.Domain(); !seen[d] {
			seen[d] = true
			list = append(list, d)
		}
	}
	return list
}

// Participates says whether a provider has a user in the participant list.
func (s *State) Participates(peer mimi.Domain) bool {
	for _, p := range s.view.committed {
		if p.User.Domain() == peer {
			return true
		}
	}
	return false
}

// stateVersion is the first octet of an encoded State. Version 1 is the only one.
const stateVersion = 1

// ErrBadState: an encoded State is damaged or of an unknown version.
var ErrBadState = errors.New("room: bad state")

// Encode returns the State in a form that Decode reads. Pos, LastTimestamp and
// Frozen are part of it but belong to the room's record, which changes with
// every entry; see At.
func (s *State) Encode() ([]byte, error) {
	group, err := s.group.MarshalBinary()
	if err != nil {
		return nil, err
	}
	var w wire.Writer
	w.Uint8(stateVersion)
	w.Opaque([]byte(s.Room))
	w.Opaque([]byte(s.Hub))
	encodePos(&w, s.Pos)
	w.Uint64(s.LastTimestamp)
	w.Opaque([]byte(s.Frozen))
	w.Opaque(group)
	w.Opaque(s.groupInfo)
	encodePending(&w, s.pending)
	w.Vector(func(w *wire.Writer) {
		for _, m := range s.members {
			w.Uint32(uint32(m.Leaf))
			w.Opaque([]byte(m.User))
			w.Opaque([]byte(m.Client))
		}
	})
	return w.Bytes()
}

// Decode reads what Encode wrote. The octets come from our own store: they are
// checked for shape, not for truth.
func Decode(env *Env, b []byte) (State, error) {
	r := wire.NewReader(b)
	if v := r.Uint8(); v != stateVersion {
		return State{}, fmt.Errorf("%w: version %d", ErrBadState, v)
	}
	s := State{clock: &clock{}}
	s.Room = mimi.RoomURI(r.Opaque())
	s.Hub = mimi.Domain(r.Opaque())
	s.Pos = decodePos(r)
	s.LastTimestamp = r.Uint64()
	s.Frozen = string(r.Opaque())
	group := r.Opaque()
	s.groupInfo = r.Opaque()
	s.pending = decodePending(r)
	for v := r.Vector(); !v.Empty(); {
		s.members = append(s.members, Member{
			Leaf: mls.LeafIndex(v.Uint32()), User: mimi.UserURI(v.Opaque()), Client: mimi.ClientURI(v.Opaque()),
		})
	}
	if err := r.Done(); err != nil {
		return State{}, fmt.Errorf("%w: %w", ErrBadState, err)
	}
	var err error
	if s.group, err = mls.UnmarshalPublicGroup(group, env.config(s.clock)); err != nil {
		return State{}, fmt.Errorf("%w: %w", ErrBadState, err)
	}
	return s.derive()
}

// At returns the State with what the room's record knows better: entries that
// are not handshakes move the head without rewriting the State.
func (s State) At(pos Pos, lastTimestamp uint64, frozen string) State {
	s.Pos, s.LastTimestamp, s.Frozen = pos, lastTimestamp, frozen
	return s
}

func encodePos(w *wire.Writer, p Pos) {
	w.Uint64(p.Seq)
	w.Raw(p.Hash[:])
}

func decodePos(r *wire.Reader) (p Pos) {
	p.Seq = r.Uint64()
	copy(p.Hash[:], r.Raw(len(p.Hash)))
	return p
}

func encodePending(w *wire.Writer, list []Pending) {
	w.Vector(func(w *wire.Writer) {
		for _, p := range list {
			w.Opaque(p.Ref)
			w.Opaque(p.Message)
			w.Uint64(p.Timestamp)
		}
	})
}

func decodePending(r *wire.Reader) (list []Pending) {
	for v := r.Vector(); !v.Empty(); {
		list = append(list, Pending{Ref: v.Opaque(), Message: v.Opaque(), Timestamp: v.Uint64()})
	}
	return list
}
