package policy

import (
	"testing"

	"hubbub/mimi"
	"hubbub/mls"
)

func TestJoinRole(t *testing.T) {
	at := func(u mimi.UserURI, code bool) Actor {
		return Actor{User: u, Credential: mls.CredentialTypeX509, Code: code}
	}
	closed := roomOf(t, "strict", nil)
	closed.Operational = &OperationalParameters{}
	for _, c := range []struct {
		name string
		s    *State
		by   Actor
		want uint32 // 0: not by itself
	}{
		{"preauthorised, with the right to join", roomOf(t, "multi-org", nil), at("mimi://a.example/u/zoe", false), 2},
		{"preauthorised, without it", roomOf(t, "multi-org", nil), at("mimi://b.example/u/zoe", false), 0},
		{"unknown credential", roomOf(t, "multi-org", nil), Actor{User: "mimi://a.example/u/zoe"}, 0},
		{"nobody is let in", roomOf(t, "cooperative", nil), at(frank, true), 0},
		{"a code is needed", roomOf(t, "strict", nil), at(frank, false), 0},
		{"a code is shown", roomOf(t, "strict", nil), at(frank, true), 2},
		{"in already", roomOf(t, "strict", nil), at(alice, true), 0},
		{"banned", roomOf(t, "strict", map[mimi.UserURI]string{bob: "banned"}), at(bob, true), 0},
		{"no external commits", closed, at(frank, true), 0},
	} {
		if role, ok := c.s.JoinRole(c.by); role != c.want || ok != (c.want != 0) {
			t.Errorf("%s: role %d, %t, want %d", c.name, role, ok, c.want)
		}
	}
}
