package client

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"hubbub/client/clientpb"
	"hubbub/mimi"
	"hubbub/mimi/content"
	"hubbub/mimi/policy"
	"hubbub/mls"
)

// entry takes in the next entry of a room's log. Entries that this device has
// are skipped. What an entry contains never makes the step fail: it is either
// taken in, counted as missed, or the room becomes suspicious.
func (b *batch) entry(uri mimi.RoomURI, e *clientpb.Entry) error {
	r := b.newRoom(uri)
	if r.suspicious != "" || r.positioned && e.GetSeq() <= r.pos.Seq {
		return nil
	}
	if err := r.advance(e); err != nil {
		return b.distrust(r, e.GetSeq(), err)
	}
	f := b.ahead[e].message
	if f == nil {
		var err error
		if f, err = mimi.ParseFanoutMessage(e.GetBody()); err != nil {
			return b.distrust(r, e.GetSeq(), err)
		}
	}
	b.c.judged.Store(int64(f.Timestamp))
	defer b.c.judged.Store(0)
	switch f.Kind() {
	case mimi.FanoutApplication:
		return b.application(r, f, b.ahead[e])
	case mimi.FanoutProposal:
		return b.proposals(r, f.Proposals(), policy.JudgeProposals)
	case mimi.FanoutCommit:
		return b.commit(r, f)
	}
	return nil
}

// advance moves the room's position over an entry, checking the hash chain.
// Where a new span of the log begins, the chain begins anew.
func (r *room) advance(e *clientpb.Entry) error {
	got := Pos{Seq: e.GetSeq()}
	if len(e.GetHash()) != len(got.Hash) {
		return errors.New("entry without a chain hash")
	}
	copy(got.Hash[:], e.GetHash())
	switch {
	case r.positioned && got.Seq == r.pos.Seq+1:
		if next := r.pos.next(e.GetBody()); next != got {
			return fmt.Errorf("chain hash of entry %d is not %x", got.Seq, got.Hash[:4])
		}
	case r.group != nil && got.Seq != r.pos.Seq+1:
		return fmt.Errorf("entry %d follows entry %d", got.Seq, r.pos.Seq)
	}
	r.pos, r.positioned = got, true
	return nil
}

// distrust stops processing a room. Its group stays, so that a repaired provider
// can be followed after Join.
func (b *batch) distrust(r *room, seq uint64, cause error) error {
	r.suspicious = cause.Error()
	b.emit(RoomSuspicious{Room: r.uri, Seq: seq, Err: cause})
	return b.dropPending(r, outcome{err: fmt.Errorf("%w: %w", ErrSuspicious, cause)})
}

// application takes in a message. Our own cannot be decrypted, for their keys are
// gone: they are known by their octets.
func (b *batch) application(r *room, f *mimi.FanoutMessage, ahead opened) error {
	var p mls.Processed
	switch {
	case r.group == nil:
	case r.group == ahead.base:
		p = ahead.result
	default:
		p, _ = r.group.Process(f.Message.Raw)
	}
	app, ok := p.(*mls.Application)
	if !ok {
		own, err := b.ownEcho(r, sha256.Sum256(f.Message.Raw), f.Timestamp)
		if !own && err == nil && r.group != nil {
			r.missed++
		}
		return err
	}
	from := r.group
	r.group = app.Next
	in, err := b.c.readContent(r.uri, from, app, f.Timestamp)
	if err != nil {
		r.missed++
		return nil
	}
	in.record.Seq = r.pos.Seq
	if in.message == nil {
		return b.reported(r, in)
	}
	if !in.vouched(from, app, f) {
		r.missed++
		return nil
	}
	if err := b.receive(r, in.record, in.message); err != nil {
		return err
	}
	return b.keepFrank(in.record, app, f.Frank)
}

// incoming is what a device reads of an application message: a message or a report.
type incoming struct {
	record  *record
	message *content.Message     // nil: a report
	report  content.StatusReport // of record.Sender
}

// readContent checks who a message is from and what it says. Its time is the hub's:
// that lies ahead of ours if one of the clocks is wrong, which is no reason to lose it.
func (c *Client) readContent(uri mimi.RoomURI, g *mls.Group, app *mls.Application, timestamp uint64) (*incoming, error) {
	id, err := c.identityOf(&app.Credential) // verified when the leaf entered the group
	if err != nil {
		return nil, err
	}
	kind, data, err := g.Context().UnframeContent(app.Data)
	if err != nil {
		return nil, err
	}
	base := Message{Room: uri, Sender: id.User, Device: id.Client, Timestamp: time.UnixMilli(int64(timestamp)), State: Posted}
	if isReport(kind, data) {
		report, err := content.DecodeStatus(data)
		return &incoming{record: &record{Message: base}, report: report}, err
	}
	msg, err := content.Decode(data)
	if err != nil {
		return nil, err
	}
	now := c.opts.Now()
	if base.Timestamp.After(now) {
		now = base.Timestamp
	}
	if err := msg.Check(content.Arrival{Sender: id.User, Room: uri, Accepted: base.Timestamp, Now: now}); err != nil {
		return nil, err
	}
	mid, err := content.MessageID(id.User, uri, data)
	if err != nil {
		return nil, err
	}
	base.ID = MessageID(mid)
	return &incoming{record: newRecord(base, msg, data), message: msg}, nil
}

// maxIdentities bounds how many credentials are kept as read.
const maxIdentities = 10_000

// identityOf is mimi.ClaimedIdentity, which parses certificates, with a memory. mu
// is held.
func (c *Client) identityOf(cred *mls.Credential) (mimi.Identity, error) {
	if cred.Type != mls.CredentialTypeX509 || len(cred.Certificates) == 0 {
		return mimi.ClaimedIdentity(cred)
	}
	leaf := cred.Certificates[0]
	if id, ok := c.identities[string(leaf)]; ok {
		return id, nil
	}
	id, err := mimi.ClaimedIdentity(cred)
	if err == nil {
		if len(c.identities) >= maxIdentities {
			clear(c.identities)
		}
		c.identities[string(leaf)] = id
	}
	return id, err
}

// renewed takes in the proposals a hub made anew because a joiner's commit dropped them.
// Before is the group that commit was made in. The joiner itself does not have it and
// takes the hub's word; all the others would distrust the room.
func (b *batch) renewed(r *room, external bool, before *mls.PublicGroup, list []*mls.Message) error {
	if !external && len(list) > 0 {
		return b.distrust(r, r.pos.Seq, errors.New("proposals are attached to a commit that drops none"))
	}
	return b.proposals(r, list, func(uri mimi.RoomURI, next *mls.PublicGroup, bundle ...*mls.CachedProposal) error {
		if before == nil {
			return nil
		}
		return policy.JudgeRenewed(uri, before, next, bundle...)
	})
}

// proposals takes in one bundle of proposals that wait for a commit. They are
// judged as the hub had to judge them.
func (b *batch) proposals(r *room, list []*mls.Message, judge func(mimi.RoomURI, *mls.PublicGroup, ...*mls.CachedProposal) error) error {
	if r.group == nil || len(list) == 0 {
		return nil
	}
	before := r.group.Public()
	var bundle []*mls.CachedProposal
	for _, m := range list {
		p, err := r.group.Process(m.Raw)
		if err != nil {
			return b.distrust(r, r.pos.Seq, fmt.Errorf("proposal: %w", err))
		}
		received, ok := p.(*mls.ProposalReceived)
		if !ok {
			continue // ours, and pending already
		}
		own := received.Sender.Type == mls.SenderTypeMember && received.Sender.LeafIndex == r.group.OwnLeaf()
		r.leaving = r.leaving || own && received.Proposal.Type == mls.ProposalTypeSelfRemove
		r.group = received.Next
		if cached := r.group.PendingProposals(); len(cached) > 0 {
			bundle = append(bundle, cached[len(cached)-1])
		}
	}
	if err := judge(r.uri, before, bundle...); err != nil {
		return b.distrust(r, r.pos.Seq, fmt.Errorf("proposal: %w", err))
	}
	return nil
}

// commit takes the group to its next epoch.
func (b *batch) commit(r *room, f *mimi.FanoutMessage) error {
	if r.pending.isOwn(f.Message.Raw) {
		return b.mergeOwn(r, f)
	}
	if r.group == nil {
		return nil
	}
	p, err := r.group.Process(f.Message.Raw)
	if err != nil {
		return b.distrust(r, r.pos.Seq, fmt.Errorf("commit: %w", err))
	}
	received, ok := p.(*mls.CommitReceived)
	if !ok {
		return b.distrust(r, r.pos.Seq, errors.New("commit: of this device, but not its pending one"))
	}
	before := r.group.Public()
	// A hub that breaks the room's own policy is found out here (RS-12).
	err = policy.JudgeCommit(r.uri, before, received.Public)
	if received.Public.External && errors.Is(err, policy.ErrDenied) { // of join codes the hub alone knows
		err = policy.JudgeCommit(r.uri, before, received.Public, policy.WithCode())
	}
	if err != nil {
		return b.distrust(r, r.pos.Seq, fmt.Errorf("commit: %w", err))
	}
	change := describe(r, before, received.Public, f.Timestamp)
	b.emit(change)
	if received.Removed {
		return b.removed(r, change.Actor)
	}
	r.group = received.Merge()
	if err := b.dropPending(r, outcome{lost: true, epoch: r.group.Epoch()}); err != nil {
		return err
	}
	if err := b.renewed(r, received.Public.External, before, f.Proposals()); err != nil {
		return err
	}
	b.encryptLater(r)
	return nil
}

// mergeOwn follows our own commit now that it is in the log.
func (b *batch) mergeOwn(r *room, f *mimi.FanoutMessage) error {
	p := r.pending
	joining := r.group == nil || r.phase != phaseMember
	var before *mls.PublicGroup
	if r.group != nil {
		before = r.group.Public()
	}
	next, err := r.follow(p.commit)
	if err != nil {
		return b.distrust(r, r.pos.Seq, fmt.Errorf("own commit: %w", err))
	}
	r.group, r.pending, r.phase, r.leaving = next, nil, phaseMember, false
	b.settled[p.txn] = outcome{}
	if err := b.deleteTxn(p.txn); err != nil {
		return err
	}
	if joining {
		r.announced = true
		b.emit(RoomAdded{Room: r.uri, Hub: r.uri.Domain(), Member: true})
	}
	if before != nil {
		b.emit(describeOwn(r, before, f.Timestamp, b.c.user))
	}
	if err := b.renewed(r, p.commit.Base() == nil, before, f.Proposals()); err != nil {
		return err
	}
	b.encryptLater(r)
	return nil
}

// follow is the group in the epoch that our own commit began. What this device
// has read while the commit was under way stays read: a message of the old epoch
// that comes once more is a replay.
func (r *room) follow(own *mls.PendingCommit) (*mls.Group, error) {
	if own.Base() == nil { // an external join: there is no old epoch of ours
		return own.Merge(), nil
	}
	return own.MergeFrom(r.group)
}

// removed forgets a group this device is no longer in: its secrets go with the
// row that held them (RFC 9420 §12.4.2).
func (b *batch) removed(r *room, by mimi.UserURI) error {
	r.group, r.phase, r.leaving = nil, phaseOut, false
	b.emit(RoomRemoved{Room: r.uri, Seq: r.pos.Seq, By: by, Self: b.c.uri})
	if err := b.dropPending(r, outcome{err: ErrNotMember}); err != nil {
		return err
	}
	for _, row := range slices.Clone(b.c.outbox.rows) {
		if row.room == r.uri && !row.sent && !row.answered {
			if err := b.deleteRow(row); err != nil {
				return err
			}
		}
	}
	return b.rejectWaiting(r.uri, "removed")
}

// checkMembership is the rule that nobody is in the group whose user is not in
// the participant list (PL-11).
func checkMembership(g *mls.PublicGroup) error {
	list, err := participantsOf(g)
	if err != nil {
		return err
	}
	for _, m := range g.Members() {
		id, err := mimi.ClaimedIdentity(&m.Leaf.Credential)
		if err != nil {
			return err
		}
		if list.Role(id.User) == 0 {
			return fmt.Errorf("%s is in the group but no participant", id.Client)
		}
	}
	return nil
}

// describe says what a commit of somebody else changed.
func describe(r *room, before *mls.PublicGroup, c *mls.PublicCommit, timestamp uint64) MembershipChanged {
	change := diff(r, before, c.Next, timestamp)
	committer := c.CommitterLeafNode
	if !c.External && c.Sender.Type == mls.SenderTypeMember {
		committer = before.Leaf(c.Sender.LeafIndex)
	}
	if committer != nil {
		if id, err := mimi.ClaimedIdentity(&committer.Credential); err == nil {
			change.Actor = id.User
		}
	}
	return change
}

// describeOwn says what our own commit changed.
func describeOwn(r *room, before *mls.PublicGroup, timestamp uint64, self mimi.UserURI) MembershipChanged {
	change := diff(r, before, r.group.Public(), timestamp)
	change.Actor = self
	return change
}

// diff compares two epochs of a group.
func diff(r *room, before, after *mls.PublicGroup, timestamp uint64) MembershipChanged {
	change := MembershipChanged{Room: r.uri, Seq: r.pos.Seq, Timestamp: time.UnixMilli(int64(timestamp)), Epoch: after.Epoch()}
	oldUsers, newUsers := users(before), users(after)
	change.Added, change.Removed = without(newUsers, oldUsers), without(oldUsers, newUsers)
	oldClients, newClients := clients(before), clients(after)
	change.Joined, change.Left = without(newClients, oldClients), without(oldClients, newClients)
	return change
}

func users(g *mls.PublicGroup) (out []mimi.UserURI) {
	if list, err := participantsOf(g); err == nil {
		for _, p := range list.Participants {
			out = append(out, p.User)
		}
	}
	return out
}

func clients(g *mls.PublicGroup) (out []mimi.ClientURI) {
	for _, m := range g.Members() {
		if id, err := mimi.ClaimedIdentity(&m.Leaf.Credential); err == nil {
			out = append(out, id.Client)
		}
	}
	return out
}

// without gives what is in a but not in b.
func without[T comparable](a, b []T) (out []T) {
	for _, v := range a {
		if !slices.Contains(b, v) {
			out = append(out, v)
		}
	}
	return out
}
