package room

import (
	"hubbub/mimi/policy"
	"hubbub/mls"
)

// Limits bound what a hub accepts into a room; zero means the default in
// brackets. A hub chooses its own, and it may have chosen others before or by
// the time of a repeat: a replica does not judge by them but by what no hub may
// exceed, MaxClients and MaxPending.
type Limits struct {
	MessageBytes     int // one application message [64 KiB]
	Clients          int // leaves [2000]
	Users            int // participants [1000]
	Pending          int // proposals waiting for a commit [100]
	PendingPerSender int // of one sender, besides what takes its user's clients out [10]
}

const (
	// MaxClients is how many clients and how many users a room may have at all.
	MaxClients = 10_000
	// MaxPending is how many proposals may wait for a commit at all.
	MaxPending = 1_000

	defaultMessageBytes     = 64 << 10
	defaultClients          = 2000
	defaultUsers            = 1000
	defaultPending          = 100
	defaultPendingPerSender = 10
)

// limits are those in force for an input: of a hub, or of a replica.
func (env *Env) limits(replica bool) Limits {
	if replica {
		return Limits{Clients: MaxClients, Users: MaxClients, Pending: MaxPending, PendingPerSender: MaxPending}
	}
	l := env.Limits
	return Limits{
		MessageBytes:     limit(l.MessageBytes, defaultMessageBytes),
		Clients:          min(limit(l.Clients, defaultClients), MaxClients),
		Users:            min(limit(l.Users, defaultUsers), MaxClients),
		Pending:          min(limit(l.Pending, defaultPending), MaxPending),
		PendingPerSender: min(limit(l.PendingPerSender, defaultPendingPerSender), MaxPending),
	}
}

// checkEnvelope holds the policy of a room we host to what we allow at all. Followers do not
// know that.
func (env *Env) checkEnvelope(before, after *policy.State) error {
	if env.Envelope == nil {
		return nil
	}
	return classify(env.Envelope.Check(before, after))
}

func limit(v, def int) int {
	if v > 0 {
		return v
	}
	return def
}

// checkSize bounds a room. It holds back only what makes the room larger, so
// that one that is over a limit since that was lowered can still get smaller.
func (s *State) checkSize(l Limits, before *State) error {
	grew := before == nil || len(s.members) > len(before.members)
	more := before == nil || len(s.view.committed) > len(before.view.committed)
	switch {
	case grew && len(s.members) > l.Clients:
		return refuse(NotAllowed, "the room is full: it may have %d clients", l.Clients)
	case more && len(s.view.committed) > l.Users:
		return refuse(NotAllowed, "the room is full: it may have %d users", l.Users)
	}
	return nil
}

// checkPending bounds what may wait for a commit (H51, H52). Who leaves proposes
// to take each of its clients out, which comes on top of what a sender may have.
func (s *State) checkPending(l Limits, list []*mls.Message, by actor) error {
	own, out := 0, 0
	count := func(p *mls.Proposal) {
		if p != nil && s.leavesOwn(p, by) {
			out++
		} else {
			own++
		}
	}
	for _, m := range list {
		count(m.Public.Content.Proposal)
	}
	for _, c := range s.group.Cached() {
		if c.Sender == list[0].Public.Content.Sender {
			count(c.Proposal)
		}
	}
	clients := 0
	for _, m := range s.members {
		if m.User == by.user {
			clients++
		}
	}
	own += max(0, out-clients) // each goes once
	switch {
	case len(s.pending)+len(list) > l.Pending:
		return refuse(NotAllowed, "too many proposals are pending: a room may have %d", l.Pending)
	case own > l.PendingPerSender:
		return refuse(NotAllowed, "too many proposals of this sender are pending: it may have %d", l.PendingPerSender)
	}
	return nil
}
