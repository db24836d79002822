package room

import "testing"

// TestDefaultLimits are those that docs/operate.md promises. No configuration
// lifts them above what replicas take.
func TestDefaultLimits(t *testing.T) {
	want := Limits{MessageBytes: 64 << 10, Clients: 2000, Users: 1000, Pending: 100, PendingPerSender: 10}
	if got := (&Env{}).limits(false); got != want {
		t.Errorf("by default %+v, want %+v", got, want)
	}
	many := 1 << 30
	env := &Env{Limits: Limits{MessageBytes: 1, Clients: many, Users: many, Pending: many, PendingPerSender: many}}
	hub, replica := env.limits(false), env.limits(true)
	if hub.Clients != 10_000 || hub.Users != 10_000 || hub.Pending != MaxPending || hub.PendingPerSender != MaxPending {
		t.Errorf("a hub exceeds the hard limits: %+v", hub)
	}
	if replica.Clients < hub.Clients || replica.Users < hub.Users || replica.Pending < hub.Pending || replica.PendingPerSender < hub.PendingPerSender {
		t.Errorf("a replica refuses what a hub may take: %+v", replica)
	}
}
