package room_test

import (
	"testing"

	"hubbub/internal/room"
	"hubbub/mimi"
	"hubbub/mimi/policy"
	"hubbub/mls"
	"hubbub/mls/wire"
)

// componentUpdate is a proposal to change a component.
func componentUpdate(t *testing.T, id mls.ComponentID, e wire.Encoder) mls.Proposal {
	t.Helper()
	data, err := wire.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return mls.Proposal{Type: mls.ProposalTypeAppDataUpdate, AppDataUpdate: &mls.AppDataUpdate{Component: id, Op: mls.AppDataUpdateOpUpdate, Data: data}}
}

// TestEnvelope holds the policies of a hub's rooms to what the hub allows (POL-32), when
// they are made, by commit and by proposal.
func TestEnvelope(t *testing.T) {
	yes, no := true, false
	r := newRules(t, func(*policy.Template) {}, nil)
	r.env.Envelope = &policy.Envelope{Persistent: &yes, Frozen: []mls.ComponentID{mimi.ComponentPreauthList}}
	template, err := policy.Preset("strict", "a.localhost")
	if err != nil {
		t.Fatal(err)
	}
	base := *template.Base
	base.Components = append(base.Components, mimi.ComponentJoinLinkPolicy, mimi.ComponentJoinLinks)
	base.PersistentRoom = false
	named := base
	named.PersistentRoom, named.Discoverable = true, true
	for _, tc := range []struct {
		name  string
		p     mls.Proposal
		words string
	}{
		{"persistence", componentUpdate(t, mimi.ComponentBaseRoomPolicy, &base), "the hub decides whether rooms outlive their last client"},
		{"what is frozen", componentUpdate(t, mimi.ComponentPreauthList, new(policy.PreAuthData)), "the hub does not let anybody change who is preauthorised"},
		{"what is not", componentUpdate(t, mimi.ComponentBaseRoomPolicy, &named), ""},
	} {
		r.want(r.try("a.localhost", false, r.alice.Commit(tc.p)), tc.words)
		if tc.words != "" {
			r.alice.Drop()
			r.want(r.try("a.localhost", false, r.alice.Propose(tc.p)), tc.words)
		}
	}

	for want, hub := range map[string]*policy.Envelope{"": {Persistent: &yes}, "outlive": {Persistent: &no}} {
		r.env.Envelope = hub
		key := r.world.NewKey()
		in := r.world.Client("alice@a.localhost", "phone").CreateAs("mimi://a.localhost/r/second", key, template, nil)
		_, eff, err := room.Create(r.env, in, r.nowMS())
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if eff.Refusal != nil {
			got = eff.Refusal.Description
		}
		r.want(got, want)
	}
}
