package client

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"hubbub/mimi"
	"hubbub/mimi/policy"
	"hubbub/mls"
	"hubbub/mls/wire"
)

func TestWishesInWords(t *testing.T) {
	all := RoomWishes{NoLogging: true, NoBots: true, NoHistory: true}
	logged := &policy.LoggingPolicy{Logging: policy.Optional, Clients: []string{"mimi://a.localhost/d/log/1"}}
	bots := &policy.BotPolicy{Allowed: []policy.Bot{{Name: "weather"}}}
	for _, tc := range []struct {
		name string
		p    RoomPolicy
		w    RoomWishes
		want int
	}{
		{"nothing said", RoomPolicy{}, all, 0},
		{"no wishes", RoomPolicy{Logging: logged, Bots: bots}, RoomWishes{}, 0},
		{"everything at once", RoomPolicy{Logging: logged, Bots: bots, History: &policy.HistoryPolicy{MaxAge: 60}}, all, 3},
		{"nobody logs", RoomPolicy{Logging: &policy.LoggingPolicy{Logging: policy.Optional}, Bots: &policy.BotPolicy{}, History: &policy.HistoryPolicy{}}, all, 0},
		{"forbidden", RoomPolicy{Logging: &policy.LoggingPolicy{Logging: policy.Forbidden}, History: &policy.HistoryPolicy{Sharing: policy.Forbidden, MaxAge: 60}}, all, 0},
		{"bots alone", RoomPolicy{Logging: logged, Bots: bots}, RoomWishes{NoBots: true}, 1},
	} {
		if got := tc.p.Against(tc.w); len(got) != tc.want {
			t.Errorf("%s: %q, want %d", tc.name, got, tc.want)
		}
	}
}

// logging makes a room one whose messages are logged.
func (w *world) logging(c *Client, uri mimi.RoomURI) {
	w.t.Helper()
	set := func(id mls.ComponentID, e wire.Encoder) mls.Proposal {
		data, err := wire.Marshal(e)
		w.ok(err)
		return mls.Proposal{Type: mls.ProposalTypeAppDataUpdate, AppDataUpdate: &mls.AppDataUpdate{Component: id, Op: mls.AppDataUpdateOpUpdate, Data: data}}
	}
	w.ok(c.alter(w.ctx(), uri, func(_ *room, s *policy.State) ([]policy.Change, []mls.Proposal, error) {
		base := *s.Base
		base.Components = append(slices.Clip(base.Components), mimi.ComponentLoggingPolicy)
		logs := &policy.LoggingPolicy{Logging: policy.Required, Clients: []string{"mimi://a.localhost/d/log/1"},
			MachineReadable: "https://a.localhost/m", HumanReadable: "https://a.localhost/h"}
		return []policy.Change{policy.ChangeComponent{Component: mimi.ComponentBaseRoomPolicy}, policy.ChangeComponent{Component: mimi.ComponentLoggingPolicy}},
			[]mls.Proposal{set(mimi.ComponentBaseRoomPolicy, &base), set(mimi.ComponentLoggingPolicy, logs)}, nil
	}))
}

// TestDeclines has a user keep out of rooms whose messages are logged: it does not join,
// and it leaves when it is brought in (POL-58).
func TestDeclines(t *testing.T) {
	w := newWorld(t, "a.localhost", "b.localhost")
	alice, bob, dir := w.device("alice@a.localhost", "phone"), w.device("bob@b.localhost", "phone"), w.enrol("cathy@b.localhost", "phone")
	cathy := w.open(dir, nil)
	w.ok(cathy.SetRoomWishes(RoomWishes{NoLogging: true}))
	w.ok(cathy.Close())
	cathy = w.open(dir, nil)
	if got := cathy.RoomWishes(); got != (RoomWishes{NoLogging: true}) {
		t.Fatalf("wishes after a restart: %+v", got)
	}
	w.ok(cathy.WaitConnected(w.ctx()))
	w.stocked(cathy)
	events := cathy.events.listen()

	plain, logged := w.room(alice, bob), w.room(alice, bob)
	w.ok(w.add(alice, plain, cathy))
	link, err := alice.CreateLink(w.ctx(), logged, LinkOptions{})
	w.ok(err)
	w.logging(alice, logged)
	if err := cathy.JoinByLink(w.ctx(), link); !errors.Is(err, ErrDeclined) || !strings.Contains(err.Error(), "logged by mimi://a.localhost/d/log/1") {
		t.Errorf("joins a room that is logged: %v", err)
	}
	w.roleOf(alice, logged, cathy, "")

	results, err := alice.AddUsers(w.ctx(), logged, cathy.user)
	w.ok(err)
	w.ok(results[0].Err)
	w.until(alice, "cathy to be gone again", func() bool {
		s, err := alice.rooms[logged].policyOf()
		w.ok(err)
		return !s.IsParticipant(cathy.user) && len(s.Clients(cathy.user)) == 0
	})
	w.out(cathy, logged)
	told := false
	queue, _ := cathy.events.take(events)
	for _, e := range queue {
		d, ok := e.(RoomDeclined)
		told = told || ok && d.Room == logged && len(d.Why) == 1
	}
	if !told {
		t.Errorf("nobody is told: %v", queue)
	}
	w.member(cathy, plain)
}
