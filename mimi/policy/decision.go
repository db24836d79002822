package policy

import "errors"

// A Decision is a verdict in parts, for programs that show it their own way.
type Decision struct {
	Allowed bool
	Actor   string      // "bob@b.example", or the domain of a server
	Action  string      // what was asked for: "remove cathy@c.example"; empty if the room as a whole forbids it
	Cause   string      // why not: "role member lacks canRemoveParticipant"
	Lacks   *Capability // the right that is missing, if that is the cause
}

// Explain says the decision in words: "bob@b.example may not remove cathy@c.example: role
// member lacks canRemoveParticipant".
func (d Decision) Explain() string {
	switch {
	case d.Allowed && d.Action == "":
		return d.Actor + " may"
	case d.Allowed:
		return d.Actor + " may " + d.Action
	case d.Action == "":
		return d.Cause
	}
	return d.Actor + " may not " + d.Action + ": " + d.Cause
}

// Ask judges changes an actor would make at once, as [AuthorizeProposals] does, and gives
// the verdict in parts. It does not look at the room that would result: see [Transition].
func Ask(s *State, by Actor, changes ...Change) Decision {
	d := DecisionOf(AuthorizeProposals(s, by, changes))
	if d.Allowed {
		d.Actor = by.String()
		if len(changes) > 0 {
			d.Action = changes[0].verb()
		}
	}
	return d
}

// DecisionOf takes an error of this package apart: nil allows, a *[Denied] does not, and
// any other error, which is about broken input, is the cause.
func DecisionOf(err error) Decision {
	if err == nil {
		return Decision{Allowed: true}
	}
	var denied *Denied
	if !errors.As(err, &denied) {
		return Decision{Cause: err.Error()}
	}
	if denied.Action == "" {
		return Decision{Cause: denied.Reason}
	}
	return Decision{Actor: denied.Actor, Action: denied.Action, Cause: denied.Cause, Lacks: denied.Lacks}
}
