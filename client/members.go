package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"hubbub/client/clientpb"
	"hubbub/mimi"
	"hubbub/mimi/policy"
	"hubbub/mls"
	"hubbub/mls/wire"
)

// maxRebuilds is how often a change is built again because others changed the
// room first.
const maxRebuilds = 10

// lockRoom lets one operation at a time change a room from this device.
func (c *Client) lockRoom(ctx context.Context, room mimi.RoomURI) (unlock func(), err error) {
	c.mu.Lock()
	l := c.opLocks[room]
	if l == nil {
		l = make(chan struct{}, 1)
		c.opLocks[room] = l
	}
	c.mu.Unlock()
	select {
	case l <- struct{}{}:
		return func() { <-l }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-c.ctx.Done():
		return nil, ErrClosed
	}
}

// submitStep is step for an operation that will wait for the outcome of txn.
func (c *Client) submitStep(txn string, fn func(b *batch) error) (chan outcome, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	done := make(chan outcome, 1)
	if err := c.stepLocked(fn); err != nil {
		return nil, err
	}
	c.waiters[txn] = done
	return done, nil
}

// await waits for an outcome. When ctx ends the submission stays on its way.
func (c *Client) await(ctx context.Context, txn string, done chan outcome) (outcome, error) {
	defer func() {
		c.mu.Lock()
		delete(c.waiters, txn)
		c.mu.Unlock()
	}()
	for {
		c.mu.Lock()
		changed, fatal := c.changed, c.fatal
		c.mu.Unlock()
		select {
		case o := <-done:
			return o, nil
		default:
		}
		if fatal != nil {
			return outcome{}, fatal
		}
		select {
		case o := <-done:
			return o, nil
		case <-changed:
		case <-ctx.Done():
			return outcome{}, fmt.Errorf("the change is on its way, its outcome is not known yet: %w", ctx.Err())
		case <-c.ctx.Done():
			return outcome{}, ErrClosed
		}
	}
}

// sendCommit makes a commit pending and puts it into the outbox, before it goes
// anywhere.
func (b *batch) sendCommit(r *room, txn string, commit *mls.PendingCommit) error {
	m, err := mls.ParseMessage(commit.Message())
	if err != nil {
		return err
	}
	bundle := &mimi.HandshakeBundle{Message: *m, Welcome: commit.Welcome(),
		GroupInfo:   mimi.GroupInfoOption{Full: commit.GroupInfo()},
		RatchetTree: mimi.RatchetTreeOption{Representation: mimi.TreeDistributionService}}
	body, err := bundle.Marshal()
	if err != nil {
		return err
	}
	r.pending = &pending{txn: txn, commit: commit}
	return b.enqueue(r, clientpb.SubmissionKind_SUBMISSION_KIND_UPDATE, txn, body, nil)
}

// change commits what build says, and builds it again for the new epoch as often
// as others were quicker. A build that gives nothing ends it. The room is locked
// by the caller.
func (c *Client) change(ctx context.Context, uri mimi.RoomURI, build func(r *room) (*mls.PendingCommit, error)) error {
	for range maxRebuilds {
		if err := c.settledRoom(ctx, uri); err != nil {
			return err
		}
		txn := newTxn()
		var made *room
		nothing := false
		done, err := c.submitStep(txn, func(b *batch) error {
			r := b.room(uri)
			if err := r.member(); err != nil {
				return err
			}
			if r.pending != nil {
				return errLater // somebody was quicker than we were at looking
			}
			commit, err := build(r)
			if err != nil {
				return err
			}
			if nothing = commit == nil; nothing {
				return nil
			}
			made = r
			return b.sendCommit(r, txn, commit)
		})
		if errors.Is(err, errLater) {
			continue
		}
		if err != nil || nothing {
			c.mu.Lock()
			delete(c.waiters, txn)
			c.mu.Unlock()
			return err
		}
		o, err := c.await(ctx, txn, done)
		if err != nil {
			return err
		}
		if o.err != nil && !c.moved(uri, made) {
			return o.err
		}
		if !o.lost && o.err == nil {
			return nil
		}
	}
	return ErrBusy
}

// moved says whether the room's group is another than the one a refused commit
// was made from: then the refusal may be about what we did not know.
func (c *Client) moved(uri mimi.RoomURI, made *room) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.rooms[uri]
	return r != nil && r.member() == nil && r.group != made.group
}

// settledRoom waits until no commit of ours is on its way and the device has
// reached the epoch the hub asks for.
func (c *Client) settledRoom(ctx context.Context, uri mimi.RoomURI) error {
	for {
		c.mu.Lock()
		r, changed, fatal := c.rooms[uri], c.changed, c.fatal
		c.mu.Unlock()
		if fatal != nil {
			return fatal
		}
		if r != nil && r.phase == phaseCreating {
			if err := c.announceRoom(ctx, uri); err != nil {
				return err
			}
			continue
		}
		if err := r.member(); err != nil {
			return err
		}
		if r.pending == nil && r.group.Epoch() >= r.wantEpoch {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// commitLater commits the proposals that wait in a room. A random pause lets one
// of the members be first; all do it, so it is done when any one is there.
func (c *Client) commitLater(r *room) {
	select {
	case c.lockFor(r.uri) <- struct{}{}:
	default:
		return // an operation is going on; it commits them
	}
	c.wg.Go(func() {
		defer func() { <-c.lockFor(r.uri) }()
		select {
		case <-time.After(rand.N(300 * time.Millisecond)):
		case <-c.ctx.Done():
			return
		}
		ctx, cancel := context.WithTimeout(c.ctx, 10*time.Minute)
		defer cancel()
		c.change(ctx, r.uri, func(r *room) (*mls.PendingCommit, error) {
			if !r.mayCommit() {
				return nil, nil
			}
			return r.group.Commit(mls.CommitOptions{})
		})
	})
}

// mayCommit says whether proposals wait that this device may commit: there are some, and
// none of them takes it out, as when its user leaves by another device.
func (r *room) mayCommit() bool {
	pending := r.group.PendingProposals()
	for _, p := range pending {
		if p.Proposal.Type == mls.ProposalTypeRemove && p.Proposal.Remove.Removed == r.group.OwnLeaf() {
			return false
		}
	}
	return len(pending) > 0
}

func (c *Client) lockFor(room mimi.RoomURI) chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.opLocks[room]
	if l == nil {
		l = make(chan struct{}, 1)
		c.opLocks[room] = l
	}
	return l
}

// listUpdate is a proposal to change the participant list.
func listUpdate(u *mimi.ParticipantListUpdate) (mls.Proposal, error) {
	data, err := wire.Marshal(u)
	if err != nil {
		return mls.Proposal{}, err
	}
	return mls.Proposal{Type: mls.ProposalTypeAppDataUpdate, AppDataUpdate: &mls.AppDataUpdate{
		Component: mimi.ComponentParticipantList, Op: mls.AppDataUpdateOpUpdate, Data: data}}, nil
}

// leavesOf finds the leaves of a user's clients.
func leavesOf(g *mls.PublicGroup, user mimi.UserURI) (out []mls.LeafIndex) {
	for _, m := range g.Members() {
		if id, err := mimi.ClaimedIdentity(&m.Leaf.Credential); err == nil && id.User == user {
			out = append(out, m.Index)
		}
	}
	return out
}

// RemoveUsers takes users and all their devices out of a room with one commit,
// and waits until the hub has accepted it. From then on they can neither read
// nor post. Each user has its own result, in the order given; one who is not in
// the room does not keep the others in it.
//
// Errors: [ErrUnknownRoom], [ErrNotMember], [ErrDenied], [ErrRejected],
// [ErrBusy], ctx's; after ctx ended the removal may still happen.
func (c *Client) RemoveUsers(ctx context.Context, uri mimi.RoomURI, users ...mimi.UserURI) ([]RemoveResult, error) {
	for _, u := range users {
		if u == c.user {
			return nil, fmt.Errorf("%w: use Leave to leave", ErrBadArgument)
		}
	}
	unlock, err := c.lockRoom(ctx, uri)
	if err != nil {
		return nil, err
	}
	defer unlock()
	var results []RemoveResult
	err = c.change(ctx, uri, func(r *room) (commit *mls.PendingCommit, err error) {
		commit, results, err = removal(r, c.user, users)
		return commit, err
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

// removal builds the commit; nil if none of the users is there.
func removal(r *room, self mimi.UserURI, users []mimi.UserURI) (*mls.PendingCommit, []RemoveResult, error) {
	list, err := r.participants()
	if err != nil {
		return nil, nil, err
	}
	s, err := r.policyOf()
	if err != nil {
		return nil, nil, err
	}
	update := &mimi.ParticipantListUpdate{}
	var changes []policy.Change
	var removes []mls.Proposal
	var results []RemoveResult
	for n, u := range users {
		i := list.Index(u)
		if slices.Contains(users[:n], u) {
			continue
		}
		if i < 0 {
			results = append(results, RemoveResult{User: u, Err: ErrNotParticipant})
			continue
		}
		results = append(results, RemoveResult{User: u, Removed: true})
		update.Removed = append(update.Removed, uint32(i))
		out, leaves := r.outOfGroup(u)
		changes = append(append(changes, policy.RemoveParticipant{User: u}), out...)
		removes = append(removes, leaves...)
	}
	if len(update.Removed) == 0 {
		return nil, results, nil
	}
	if err := denied(s, self, changes...); err != nil {
		return nil, nil, err
	}
	p, err := listUpdate(update)
	if err != nil {
		return nil, nil, err
	}
	commit, err := r.group.Commit(mls.CommitOptions{Proposals: append([]mls.Proposal{p}, removes...)})
	return commit, results, err
}

// Leave asks for the removal of this user with all its devices and waits until
// the hub has accepted that. From then on the device can post no more; it is out
// once another member has committed the removal, which the members' devices do
// by themselves (RoomRemoved).
//
// Errors: as for [Client.RemoveUsers].
func (c *Client) Leave(ctx context.Context, uri mimi.RoomURI) error {
	unlock, err := c.lockRoom(ctx, uri)
	if err != nil {
		return err
	}
	defer unlock()
	for range maxRebuilds {
		if err := c.settledRoom(ctx, uri); err != nil {
			return err
		}
		txn := newTxn()
		done, err := c.submitStep(txn, func(b *batch) error {
			r := b.room(uri)
			if err := r.member(); err != nil {
				return err
			}
			body, err := leaving(r, c.user)
			if err != nil {
				return err
			}
			return b.enqueue(r, clientpb.SubmissionKind_SUBMISSION_KIND_UPDATE, txn, body, nil)
		})
		if err != nil {
			return err
		}
		o, err := c.await(ctx, txn, done)
		if err != nil || o.err != nil {
			return errors.Join(err, o.err)
		}
		if !o.lost {
			return c.step(func(b *batch) error {
				if r := b.room(uri); r != nil && r.phase == phaseMember {
					r.leaving = true
					return b.rejectWaiting(uri, "left")
				}
				return nil
			})
		}
	}
	return ErrBusy
}

// leaving makes the bundle of proposals by which a user leaves (UPD-18): the
// list loses the user, the group its devices, this one by SelfRemove.
func leaving(r *room, self mimi.UserURI) ([]byte, error) {
	list, err := r.participants()
	if err != nil {
		return nil, err
	}
	i := list.Index(self)
	if i < 0 {
		return nil, ErrNotMember
	}
	p, err := listUpdate(&mimi.ParticipantListUpdate{Removed: []uint32{uint32(i)}})
	if err != nil {
		return nil, err
	}
	proposals := []mls.Proposal{p}
	for _, leaf := range leavesOf(r.group.Public(), self) {
		if leaf != r.group.OwnLeaf() {
			proposals = append(proposals, mls.Proposal{Type: mls.ProposalTypeRemove, Remove: &mls.Remove{Removed: leaf}})
		}
	}
	proposals = append(proposals, mls.Proposal{Type: mls.ProposalTypeSelfRemove, SelfRemove: &mls.SelfRemove{}})
	bundle := &mimi.HandshakeBundle{}
	for i, p := range proposals {
		_, octets, err := r.group.Propose(p, mls.ProposeOptions{}) // ours come back as entries like all others
		if err != nil {
			return nil, err
		}
		m, err := mls.ParseMessage(octets)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			bundle.Message = *m
		} else {
			bundle.MoreProposals = append(bundle.MoreProposals, *m)
		}
	}
	return bundle.Marshal()
}
