package policy

import (
	"bytes"
	"fmt"
	"slices"

	"hubbub/mimi"
	"hubbub/mls"
	"hubbub/mls/wire"
)

// Claims a credential makes here, by their id. The draft leaves the syntax of claims open;
// ours are about identifiers, which every credential of MIMI carries.
const (
	ClaimUser     = "user"     // value: the user's identifier
	ClaimDomain   = "domain"   // value: the domain of the user's provider
	ClaimProvider = "provider" // value: the domain of a server; users never have it
)

// claims gives what an actor's credential claims, by id.
func (a Actor) claims() map[string]string {
	if a.Provider != "" {
		return map[string]string{ClaimProvider: string(a.Provider)}
	}
	return map[string]string{ClaimUser: string(a.User), ClaimDomain: string(a.User.Domain())}
}

// Match gives the first entry all of whose claims the actor's credential makes, nil for
// none (POL-7). An entry without claims matches nobody, and so does every entry where the
// type of the actor's credential is not known.
func (d *PreAuthData) Match(a Actor) *PreAuthEntry {
	if d == nil || a.Credential == 0 {
		return nil
	}
	have := a.claims()
	for i := range d.Entries {
		e := &d.Entries[i]
		fits := func(c Claim) bool {
			value, ok := have[string(c.ID)]
			return ok && c.CredentialType == a.Credential && value == string(c.Value)
		}
		if len(e.Claims) > 0 && !slices.ContainsFunc(e.Claims, func(c Claim) bool { return !fits(c) }) {
			return e
		}
	}
	return nil
}

// Check demands that the role of every entry is, octet for octet, one that the room
// defines (D-57). The error wraps [ErrMalformed].
func (d *PreAuthData) Check(roles *RoleData) error {
	if len(d.Entries) > maxListed {
		return fmt.Errorf("%w: too many preauthorised users", ErrMalformed)
	}
	for i := range d.Entries {
		role := &d.Entries[i].Role
		defined := roles.Role(role.Index)
		if defined == nil {
			return fmt.Errorf("%w: preauthorised for role %d, which the room does not define", ErrMalformed, role.Index)
		}
		a, err1 := wire.Marshal(role)
		b, err2 := wire.Marshal(defined)
		if err1 != nil || err2 != nil || !bytes.Equal(a, b) {
			return fmt.Errorf("%w: preauthorised for another role %d than the room's", ErrMalformed, role.Index)
		}
	}
	return nil
}

// preauthorised gives the role an actor is preauthorised for, nil for none. Only those who
// are not listed, and listed users about their own role, are asked about (POL-6): a banned
// user is listed.
func (s *State) preauthorised(a Actor) *Role {
	e := s.PreAuth.Match(a)
	if e == nil || e.Role.Index == Outside {
		return nil
	}
	return s.Roles.Role(e.Role.Index)
}

// ClaimEntries makes entries for one claim, one for each type of credential that rooms of
// [RequiredCapabilities] accept.
func ClaimEntries(id, value string, role Role) []PreAuthEntry {
	var out []PreAuthEntry
	for _, t := range []mls.CredentialType{mls.CredentialTypeBasic, mls.CredentialTypeX509} {
		out = append(out, PreAuthEntry{Claims: []Claim{{CredentialType: t, ID: []byte(id), Value: []byte(value)}}, Role: role})
	}
	return out
}

// RoleFor picks the role in which an actor may put a user on the list: the one the user is
// preauthorised for if the actor may give that, else the lowest it may give. It says false
// if there is none. With it a client adds people without knowing the room's roles.
func (s *State) RoleFor(by Actor, user mimi.UserURI) (uint32, bool) {
	holder := s.roleOfActor(by)
	for _, t := range []mls.CredentialType{mls.CredentialTypeX509, mls.CredentialTypeBasic} {
		if r := s.preauthorised(Actor{User: user, Credential: t}); r != nil && holder.MayMove(Outside, r.Index) {
			return r.Index, true
		}
	}
	best, found := uint32(0), false
	for i := range s.Roles.Roles {
		r := &s.Roles.Roles[i]
		if r.Index == Outside || r.isBanned() || !holder.MayMove(Outside, r.Index) {
			continue
		}
		if !found || r.Index < best {
			best, found = r.Index, true
		}
	}
	return best, found
}

// roleOfActor is the role by which an actor is judged: a user's, or the one a server is
// preauthorised for (RS-11). Nil if it has none.
func (s *State) roleOfActor(a Actor) *Role {
	if a.Provider != "" {
		return s.preauthorised(a)
	}
	return s.Role(a.User)
}
