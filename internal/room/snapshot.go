package room

import (
	"fmt"

	"hubbub/mimi"
	"hubbub/mls"
	"hubbub/mls/wire"
)

// Snapshot is a room at one place of its log, as a hub gives it to a follower
// whose replica starts there. What the follower can check, it checks: the
// group's signatures and hashes, whose the leaves are, and that the participant
// list is the one in the GroupContext. History it takes on the hub's word.
type Snapshot struct {
	Room          mimi.RoomURI
	Pos           Pos
	LastTimestamp uint64
	GroupInfo     []byte // without tree
	Tree          []byte // ratchet_tree extension data
	Pending       []Pending
	Participants  []Participant
	History       []Change
	Signed        []byte // the hub's checkpoint of Pos; nil in a copy that is kept
}

// Versions of an encoded Snapshot: as it is kept, and with the hub's checkpoint.
const (
	snapshotVersion = 1
	signedVersion   = 2
)

// NewSnapshot takes a snapshot of a State. history is the membership history
// up to its position.
func NewSnapshot(s *State, history []Change) (*Snapshot, error) {
	tree, err := encodeTree(s.group.Tree())
	if err != nil {
		return nil, err
	}
	return &Snapshot{
		Room: s.Room, Pos: s.Pos, LastTimestamp: s.LastTimestamp,
		GroupInfo: s.groupInfo, Tree: tree, Pending: s.pending,
		Participants: s.view.committed, History: history,
	}, nil
}

// Encode returns the octets of the x-snapshot answer.
func (s *Snapshot) Encode() ([]byte, error) {
	var w wire.Writer
	version := uint8(snapshotVersion)
	if s.Signed != nil {
		version = signedVersion
	}
	w.Uint8(version)
	w.Opaque([]byte(s.Room))
	encodePos(&w, s.Pos)
	w.Uint64(s.LastTimestamp)
	w.Opaque(s.GroupInfo)
	w.Opaque(s.Tree)
	encodePending(&w, s.Pending)
	w.Vector(func(w *wire.Writer) {
		for _, p := range s.Participants {
			w.Opaque([]byte(p.User))
			w.Uint32(p.Role)
		}
	})
	w.Vector(func(w *wire.Writer) {
		for _, c := range s.History {
			encodeChange(w, c)
		}
	})
	if s.Signed != nil {
		w.Opaque(s.Signed)
	}
	return w.Bytes()
}

// ParseSnapshot reads the octets of an x-snapshot answer.
func ParseSnapshot(b []byte) (*Snapshot, error) {
	r := wire.NewReader(b)
	version := r.Uint8()
	if version != snapshotVersion && version != signedVersion {
		return nil, fmt.Errorf("room: snapshot of unknown version %d", version)
	}
	s := &Snapshot{Room: mimi.RoomURI(r.Opaque()), Pos: decodePos(r), LastTimestamp: r.Uint64()}
	s.GroupInfo, s.Tree = r.Opaque(), r.Opaque()
	s.Pending = decodePending(r)
	for v := r.Vector(); !v.Empty(); {
		s.Participants = append(s.Participants, Participant{User: mimi.UserURI(v.Opaque()), Role: v.Uint32()})
	}
	for v := r.Vector(); !v.Empty(); {
		s.History = append(s.History, decodeChange(v))
	}
	if version == signedVersion {
		s.Signed = r.Opaque()
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("room: snapshot: %w", err)
	}
	return s, s.checkNames()
}

// checkNames refuses identifiers that are not well formed: they end up in rows.
func (s *Snapshot) checkNames() error {
	if _, err := mimi.ParseRoom(string(s.Room)); err != nil {
		return fmt.Errorf("room: snapshot: %w", err)
	}
	for _, p := range s.Participants {
		if _, err := mimi.ParseUser(string(p.User)); err != nil {
			return fmt.Errorf("room: snapshot: %w", err)
		}
	}
	for _, c := range s.History {
		if err := c.check(); err != nil {
			return fmt.Errorf("room: snapshot: %w", err)
		}
	}
	return nil
}

func (c *Change) check() error {
	for _, u := range []mimi.UserURI{c.Actor, c.User} {
		if _, err := mimi.ParseUser(string(u)); err != nil {
			return err
		}
	}
	if c.Client != "" {
		if _, err := mimi.ParseClient(string(c.Client)); err != nil {
			return err
		}
	}
	switch c.Action {
	case Created, Added, Removed, Left, RoleChanged, ClientJoined, ClientLeft:
		return nil
	}
	return fmt.Errorf("unknown action in the history")
}

func encodeChange(w *wire.Writer, c Change) {
	w.Uint64(c.Seq)
	w.Uint64(c.Timestamp)
	for _, s := range []string{string(c.Actor), string(c.Action), string(c.User), string(c.Client)} {
		w.Opaque([]byte(s))
	}
	w.Uint32(c.Role)
}

func decodeChange(r *wire.Reader) Change {
	return Change{
		Seq: r.Uint64(), Timestamp: r.Uint64(),
		Actor: mimi.UserURI(r.Opaque()), Action: Action(r.Opaque()),
		User: mimi.UserURI(r.Opaque()), Client: mimi.ClientURI(r.Opaque()),
		Role: r.Uint32(),
	}
}

func encodeTree(t mls.RatchetTree) ([]byte, error) { return wire.Marshal(t) }

func decodeTree(b []byte) (t mls.RatchetTree, err error) {
	return t, wire.Unmarshal(b, &t)
}
