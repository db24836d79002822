package policy

import (
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"hubbub/mimi"
	"hubbub/mls"
	"hubbub/mls/wire"
)

// ErrMalformed is wrapped by errors about octets that are not the component they
// should be, or a component that contradicts itself.
var ErrMalformed = errors.New("mimi/policy: malformed")

// Role indexes with a meaning of their own (POL-1).
const (
	Outside uint32 = 0 // everybody who is not in the participant list
	Banned  uint32 = 1 // if the role is named "banned"
)

const bannedName = "banned"

// maxListed bounds roles, changes and capabilities: a policy is read at every event.
const maxListed = 1024

// A Role is what its holders may do (mimi-room-policy-03, Role-Based Access Control).
type Role struct {
	Index        uint32
	Name         string
	Description  string
	Capabilities []Capability

	// How many participants may, or must, have the role, and how many of them with a
	// client in the group. A minimum of 0 and a nil maximum mean no limit (POL-2).

	MinParticipants uint32
	MaxParticipants *uint32
	MinActive       uint32
	MaxActive       *uint32

	// RoleChanges says from which roles to which the holder may move others; role 0
	// stands for joining and leaving.
	RoleChanges []RoleChanges
}

// RoleChanges lists where holders of From may be moved to.
type RoleChanges struct {
	From    uint32
	Targets []uint32
}

// Can says whether the role holds a capability. A nil role holds none.
func (r *Role) Can(c Capability) bool { return r != nil && slices.Contains(r.Capabilities, c) }

// MayMove says whether holders may move a participant from one role to another.
func (r *Role) MayMove(from, to uint32) bool {
	return r != nil && slices.ContainsFunc(r.RoleChanges, func(c RoleChanges) bool {
		return c.From == from && slices.Contains(c.Targets, to)
	})
}

// isBanned says whether the role is the one for banned users (POL-1).
func (r *Role) isBanned() bool { return r != nil && r.Index == Banned && r.Name == bannedName }

// Encode writes the role to w.
func (r *Role) Encode(w *wire.Writer) {
	w.Uint32(r.Index)
	w.Opaque([]byte(r.Name))
	w.Opaque([]byte(r.Description))
	w.Vector(func(w *wire.Writer) {
		for _, c := range r.Capabilities {
			w.Uint16(uint16(c))
		}
	})
	w.Uint32(r.MinParticipants)
	encodeOptional32(w, r.MaxParticipants)
	w.Uint32(r.MinActive)
	encodeOptional32(w, r.MaxActive)
	w.Vector(func(w *wire.Writer) {
		for _, c := range r.RoleChanges {
			w.Uint32(c.From)
			w.Vector(func(w *wire.Writer) {
				for _, to := range c.Targets {
					w.Uint32(to)
				}
			})
		}
	})
}

// Decode reads the role from rd.
func (r *Role) Decode(rd *wire.Reader) {
	*r = Role{Index: rd.Uint32(), Name: text(rd), Description: text(rd)}
	for v := rd.Vector(); !v.Empty(); {
		r.Capabilities = append(r.Capabilities, Capability(v.Uint16()))
	}
	r.MinParticipants, r.MaxParticipants = rd.Uint32(), decodeOptional32(rd)
	r.MinActive, r.MaxActive = rd.Uint32(), decodeOptional32(rd)
	for v := rd.Vector(); !v.Empty(); {
		c := RoleChanges{From: v.Uint32()}
		for t := v.Vector(); !t.Empty(); {
			c.Targets = append(c.Targets, t.Uint32())
		}
		r.RoleChanges = append(r.RoleChanges, c)
	}
	if max(len(r.Capabilities), len(r.RoleChanges)) > maxListed {
		rd.FailValue()
	}
}

// RoleData is the content of component 0x0025 and equally an update of it, which
// replaces everything (POL-3).
type RoleData struct{ Roles []Role }

// ParseRoleData reads the component and checks it as [RoleData.Check] does. The error
// wraps [ErrMalformed].
func ParseRoleData(b []byte) (*RoleData, error) {
	d := new(RoleData)
	return checked(d, b, d.Check)
}

// Marshal gives the component's octets.
func (d *RoleData) Marshal() ([]byte, error) { return wire.Marshal(d) }

// Encode writes the roles to w.
func (d *RoleData) Encode(w *wire.Writer) {
	w.Vector(func(w *wire.Writer) {
		for i := range d.Roles {
			d.Roles[i].Encode(w)
		}
	})
}

// Decode reads the roles from r.
func (d *RoleData) Decode(r *wire.Reader) {
	d.Roles = nil
	for v := r.Vector(); !v.Empty(); {
		var role Role
		role.Decode(v)
		d.Roles = append(d.Roles, role)
	}
}

// Role finds a role by its index, nil if there is none.
func (d *RoleData) Role(index uint32) *Role {
	for i := range d.Roles {
		if d.Roles[i].Index == index {
			return &d.Roles[i]
		}
	}
	return nil
}

// Check refuses roles that contradict themselves: an index given twice, a minimum
// above its maximum, open joining granted to anybody but the outsiders (POL-1,
// POL-42). The error wraps [ErrMalformed].
func (d *RoleData) Check() error {
	if len(d.Roles) == 0 || len(d.Roles) > maxListed {
		return fmt.Errorf("%w: no roles, or too many", ErrMalformed)
	}
	seen := make(map[uint32]bool)
	for i := range d.Roles {
		r := &d.Roles[i]
		switch {
		case seen[r.Index]:
			return fmt.Errorf("%w: role %d is defined twice", ErrMalformed, r.Index)
		case r.Index != Outside && r.Can(CanOpenJoin):
			return fmt.Errorf("%w: role %d may not hold %v", ErrMalformed, r.Index, CanOpenJoin)
		case r.MaxParticipants != nil && r.MinParticipants > *r.MaxParticipants,
			r.MaxActive != nil && r.MinActive > *r.MaxActive:
			return fmt.Errorf("%w: role %d has a minimum above its maximum", ErrMalformed, r.Index)
		}
		seen[r.Index] = true
	}
	return nil
}

// PreAuthData is the content of component 0x0026 and equally an update of it. This
// package carries it and does not act on it yet.
type PreAuthData struct{ Entries []PreAuthEntry }

// A PreAuthEntry gives a role to whoever has all the claims.
type PreAuthEntry struct {
	Claims []Claim
	Role   Role // the whole role, octet for octet that of the roles list (D-57)
}

// A Claim is a property of a credential.
type Claim struct {
	CredentialType mls.CredentialType
	ID             []byte
	Value          []byte
}

// ParsePreAuthData reads the component. The error wraps [ErrMalformed].
func ParsePreAuthData(b []byte) (*PreAuthData, error) {
	d := new(PreAuthData)
	return checked(d, b, nil)
}

// Marshal gives the component's octets.
func (d *PreAuthData) Marshal() ([]byte, error) { return wire.Marshal(d) }

// Encode writes the entries to w.
func (d *PreAuthData) Encode(w *wire.Writer) {
	w.Vector(func(w *wire.Writer) {
		for i := range d.Entries {
			w.Vector(func(w *wire.Writer) {
				for _, c := range d.Entries[i].Claims {
					w.Uint16(uint16(c.CredentialType))
					w.Opaque(c.ID)
					w.Opaque(c.Value)
				}
			})
			d.Entries[i].Role.Encode(w)
		}
	})
}

// Decode reads the entries from r.
func (d *PreAuthData) Decode(r *wire.Reader) {
	d.Entries = nil
	for v := r.Vector(); !v.Empty(); {
		var e PreAuthEntry
		for c := v.Vector(); !c.Empty(); {
			e.Claims = append(e.Claims, Claim{mls.CredentialType(c.Uint16()), c.Opaque(), c.Opaque()})
		}
		e.Role.Decode(v)
		d.Entries = append(d.Entries, e)
	}
}

// checked parses b into d and then runs check, if any.
func checked[T wire.Decoder](d T, b []byte, check func() error) (T, error) {
	var none T
	if err := wire.Unmarshal(b, d); err != nil {
		return none, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if check != nil {
		if err := check(); err != nil {
			return none, err
		}
	}
	return d, nil
}

func text(r *wire.Reader) string {
	b := r.Opaque()
	if !utf8.Valid(b) {
		r.FailValue()
	}
	return string(b)
}

func encodeOptional32(w *wire.Writer, v *uint32) {
	w.Optional(v != nil)
	if v != nil {
		w.Uint32(*v)
	}
}

func decodeOptional32(r *wire.Reader) *uint32 {
	if !r.Optional() {
		return nil
	}
	v := r.Uint32()
	return &v
}

func encodeBool(w *wire.Writer, b bool) { w.Optional(b) } // the same octets (WIRE-7)
func decodeBool(r *wire.Reader) bool    { return r.Optional() }

// decodeRoom reads an identifier of a room.
func decodeRoom(r *wire.Reader) mimi.RoomURI {
	b := r.Opaque()
	room, err := mimi.ParseRoom(string(b))
	if err != nil {
		r.Fail(err)
	}
	return room
}
