package mls

import (
	"io"
	"slices"
)

// Reinitialize makes the successor of a group that a ReInit has closed: a new
// group as the proposal describes it, and its first commit, which adds members
// and binds it to the old group by a resumption key (RFC 9420 §11.2). o gives
// the caller's signer, credential and leaf; GroupID, Suite and Extensions are
// taken from the ReInit. members must be KeyPackages of everybody who is a
// member of g but the caller. The joiners give their old group as
// JoinOptions.Previous.
//
// The successor is the pending commit's Merge. Errors are those of NewGroup and
// Commit, and a *ValidationError if g was not closed or members are missing.
func (g *Group) Reinitialize(o GroupOptions, members []*KeyPackage, commit CommitOptions) (*PendingCommit, error) {
	if g == nil {
		return nil, ErrRemoved
	}
	r := g.public.ReInit()
	if r == nil {
		return nil, invalid("RFC 9420 §11.2", "group was not reinitialized")
	}
	o.GroupID, o.Suite, o.Extensions = r.GroupID, r.CipherSuite, r.Extensions
	return g.succeed(ResumptionPSKUsageReInit, o, members, commit)
}

// Branch makes a group of some members of g: a new group and its first commit,
// which adds them and binds it to g by a resumption key (RFC 9420 §11.3). o
// describes the group; Suite is that of g. The joiners give their group as
// JoinOptions.Previous, in the epoch from which the branch was made.
//
// The branch is the pending commit's Merge. Errors are those of NewGroup and
// Commit, and a *ValidationError if one of members is not a member of g.
func (g *Group) Branch(o GroupOptions, members []*KeyPackage, commit CommitOptions) (*PendingCommit, error) {
	if g == nil {
		return nil, ErrRemoved
	}
	o.Suite = g.Suite()
	return g.succeed(ResumptionPSKUsageBranch, o, members, commit)
}

// succeed makes a group that follows g, with its first commit.
func (g *Group) succeed(usage ResumptionPSKUsage, o GroupOptions, members []*KeyPackage, commit CommitOptions) (*PendingCommit, error) {
	next, err := NewGroup(o, g.config())
	if err != nil {
		return nil, err
	}
	psk := g.ResumptionPSK(usage)
	psk.ID.Nonce = make([]byte, o.Suite.HashSize())
	if _, err := io.ReadFull(g.rand(), psk.ID.Nonce); err != nil {
		return nil, err
	}
	commit.Proposals = slices.Clone(commit.Proposals)
	for _, kp := range members {
		commit.Proposals = append(commit.Proposals, Proposal{Type: ProposalTypeAdd, Add: &Add{KeyPackage: *kp}})
	}
	commit.Proposals = append(commit.Proposals, Proposal{Type: ProposalTypePSK, PSK: &psk.ID})
	pending, err := next.WithPSKs(psk).Commit(commit)
	if err != nil {
		return nil, err
	}
	join := JoinOptions{Previous: g}
	return pending, join.checkPrevious(pending.next.public, []PreSharedKeyID{psk.ID})
}
