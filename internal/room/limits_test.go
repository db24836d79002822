package room_test

import (
	"fmt"
	"strings"
	"testing"

	"hubbub/internal/room"
	"hubbub/mimi/policy"
	"hubbub/mls"
)

// limited plays a script under limits; each line that wants an answer has it
// behind an arrow. The stage's replica has the same Env: it must take all that
// the hub takes.
func limited(t *testing.T, l room.Limits, script string) *stage {
	t.Helper()
	p := newStage(t)
	p.env.Limits = l
	for line := range strings.Lines(script) {
		do, want, asked := strings.Cut(strings.TrimSpace(line), " -> ")
		if do == "" {
			continue
		}
		p.out.Reset()
		p.run(strings.Fields(do))
		got := p.out.String()
		switch {
		case asked && !strings.HasPrefix(got, want):
			t.Errorf("%s: got %q, want %q", do, got, want)
		case !asked && strings.HasPrefix(got, "refused"):
			t.Errorf("%s: %s", do, got)
		}
	}
	return p
}

const cast = `
	client alice alice@a.localhost phone
	client bob bob@b.localhost phone
	client laptop bob@b.localhost laptop
	client cathy cathy@c.localhost phone
	create alice
`

// TestClientsOfARoom: the room takes as many clients as its hub allows and not
// one more, by whatever way it comes; one over a limit can still shrink.
func TestClientsOfARoom(t *testing.T) {
	p := limited(t, room.Limits{Clients: 3}, cast+`
		add alice bob laptop
		add alice cathy -> refused notAllowed: the room is full: it may have 3 clients
		post bob hello
	`)
	p.env.Limits.Clients = 2
	alice := p.who("alice")
	alice.Drop()
	p.out.Reset()
	p.commit([]string{"alice"}) // as large as before
	p.remove([]string{"alice", "bob"})
	if strings.Contains(p.out.String(), "refused") {
		t.Error(p.out.String())
	}
	limited(t, room.Limits{Clients: 2}, cast+`
		add alice bob
		join laptop -> refused notAllowed: the room is full: it may have 2 clients
	`)
}

func TestUsersOfARoom(t *testing.T) {
	limited(t, room.Limits{Users: 2}, cast+`
		add alice bob laptop
		add alice cathy -> refused notAllowed: the room is full: it may have 2 users
	`)
}

// proposals are changes by alice that do not contradict each other.
func proposals(p *stage, users ...string) (list []mls.Proposal) {
	for _, name := range users {
		list = append(list, p.roleChange(p.who("alice"), p.who(name), policy.Admin))
	}
	return list
}

// TestPendingProposals: at the limit of the room and of one sender, one more is
// refused and nothing of its bundle stays.
func TestPendingProposals(t *testing.T) {
	for _, tc := range []struct {
		limits room.Limits
		want   string
	}{
		{room.Limits{PendingPerSender: 2}, "refused notAllowed: too many proposals of this sender are pending: it may have 2\n"},
		{room.Limits{Pending: 2}, "refused notAllowed: too many proposals are pending: a room may have 2\n"},
	} {
		p := limited(t, tc.limits, cast+`
			client dora dora@c.localhost phone
			add alice bob cathy dora
		`)
		alice := p.who("alice")
		send := func(users ...string) string {
			p.out.Reset()
			p.handshake("alice", alice.Propose(proposals(p, users...)...))
			return p.out.String()
		}
		if got := send("bob", "cathy", "dora"); got != tc.want {
			t.Errorf("three at once: %q", got)
		}
		if n := len(p.hub.Pending()); n != 0 {
			t.Errorf("%d of a refused bundle are pending", n)
		}
		if got := send("bob", "cathy"); strings.HasPrefix(got, "refused") {
			t.Errorf("at the limit: %s", got)
		}
		if got := send("dora"); got != tc.want {
			t.Errorf("one beyond: %q", got)
		}
		if n := len(p.hub.Pending()); n != 2 {
			t.Errorf("%d pending, want 2", n)
		}
	}
}

// TestLeavingWithEveryDevice: a user with as many devices as it may have leaves
// in one bundle, which is longer than what a sender may have pending otherwise.
func TestLeavingWithEveryDevice(t *testing.T) {
	script := cast
	names := ""
	for i := range 9 {
		script += fmt.Sprintf("client b%d bob@b.localhost d%d\n", i, i)
		names += fmt.Sprintf(" b%d", i)
	}
	p := limited(t, room.Limits{}, script+"add alice bob"+names+"\nleave bob\n")
	if n := len(p.hub.Pending()); n != 11 {
		t.Errorf("%d pending, want 11", n)
	}
	p.out.Reset()
	p.handshake("alice", p.who("alice").Commit())
	if n := len(p.hub.Members()); n != 1 {
		t.Errorf("%d members left: %s", n, p.out.String())
	}
}
