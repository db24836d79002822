package client

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"connectrpc.com/connect"

	"hubbub/client/clientpb"
	"hubbub/mimi"
	"hubbub/mimi/policy"
	"hubbub/mls"
)

// welcome enters the group of a room somebody added this device to. A Welcome
// this device cannot use is dropped; the user can still Join.
func (b *batch) welcome(f *clientpb.Welcome) error {
	uri, err := mimi.ParseRoom(f.GetRoom())
	if err != nil {
		return fmt.Errorf("sync stream: welcome: %w", err)
	}
	r := b.newRoom(uri)
	if r.phase == phaseMember && r.pos.Seq >= f.GetSeq() {
		return nil
	}
	b.c.stockDue.Store(true)
	m, err := mimi.ParseFanoutMessage(f.GetBody())
	if err == nil && m.Kind() != mimi.FanoutWelcome {
		err = mimi.ErrMalformed
	}
	if err == nil {
		b.c.judged.Store(int64(m.Timestamp))
		defer b.c.judged.Store(0)
		err = b.enter(r, m)
	}
	if errors.Is(err, errDisk) {
		return err
	}
	if err != nil {
		if !r.announced {
			r.announced = true
			b.emit(RoomAdded{Room: uri, Hub: uri.Domain()})
		}
		return nil
	}
	r.pos, r.positioned = Pos{Seq: f.GetSeq()}, len(f.GetHash()) == len(r.pos.Hash)
	copy(r.pos.Hash[:], f.GetHash())
	b.emit(RoomAdded{Room: uri, Hub: uri.Domain(), Member: true})
	why, err := b.c.unwanted(uri, r.group.Public())
	if err == nil && len(why) > 0 {
		b.decline(uri, why)
	}
	return err
}

// errDisk marks errors of the own database among those of the input.
var errDisk = errors.New("device state")

// enter joins by a Welcome; the KeyPackage's secret goes with the same step.
func (b *batch) enter(r *room, m *mimi.FanoutMessage) error {
	for _, s := range m.Message.Welcome.Secrets {
		var secret []byte
		err := b.tx.QueryRow("SELECT secret FROM key_package WHERE ref = ?", []byte(s.NewMember)).Scan(&secret)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errDisk, err)
		}
		var kp mls.KeyPackageSecret
		if err := kp.UnmarshalBinary(secret); err != nil {
			return err
		}
		g, err := mls.JoinWelcome(m.Message.Welcome, &kp, mls.JoinOptions{Tree: m.RatchetTree.Tree}, b.c.config)
		if err != nil {
			return err
		}
		if err := checkRoom(g.Public(), r.uri, b.c.user); err != nil {
			return err
		}
		if _, err := b.tx.Exec("DELETE FROM key_package WHERE ref = ?", []byte(s.NewMember)); err != nil {
			return fmt.Errorf("%w: %w", errDisk, err)
		}
		if err := b.dropPending(r, outcome{lost: true}); err != nil {
			return fmt.Errorf("%w: %w", errDisk, err)
		}
		r.group, r.phase, r.announced, r.leaving, r.suspicious, r.wantEpoch = g, phaseMember, true, false, "", 0
		return nil
	}
	return mls.ErrNoMatchingKeyPackage
}

// checkRoom makes sure that a group is the one of the room it is offered for,
// that the user belongs there, and that nobody else is inside.
func checkRoom(g *mls.PublicGroup, uri mimi.RoomURI, self mimi.UserURI) error {
	data, ok := g.Dictionary().Get(mimi.ComponentRoomMetadata)
	if !ok {
		return fmt.Errorf("%w: the group names no room", ErrSuspicious)
	}
	meta, err := mimi.ParseRoomMetaData(data)
	if err != nil {
		return err
	}
	if meta.Room != uri {
		return fmt.Errorf("%w: the group belongs to another room", ErrSuspicious)
	}
	list, err := participantsOf(g)
	if err != nil {
		return err
	}
	if list.Role(self) == 0 {
		return fmt.Errorf("%w: the user is not in the participant list", ErrNotMember)
	}
	return checkMembership(g)
}

// Join enters the group of a room by an external commit: of one whose participant the
// user is, for a further device and for one that lost its state, and of one that lets
// this user in by itself, as rooms do with those they have preauthorised; with a link, see
// [Client.JoinByLink]. Messages of before are not readable for it. It waits until the hub
// has accepted.
//
// Errors: [ErrBadArgument], [ErrNotMember] (the hub does not let this user in), [ErrDenied],
// [ErrDeclined] (the user does not want rooms like this one), [ErrRejected], [ErrBusy], an *[Error], ctx's.
func (c *Client) Join(ctx context.Context, room mimi.RoomURI) error { return c.join(ctx, room, nil) }

// join enters a room, with the code of a link if there is one.
func (c *Client) join(ctx context.Context, room mimi.RoomURI, code []byte) error {
	if _, err := mimi.ParseRoom(string(room)); err != nil {
		return fmt.Errorf("%w: %w", ErrBadArgument, err)
	}
	unlock, err := c.lockRoom(ctx, room)
	if err != nil {
		return err
	}
	defer unlock()
	for range maxRebuilds {
		if in, err := c.alreadyIn(ctx, room); in || err != nil {
			return err
		}
		info, err := c.groupInfo(ctx, room, code)
		if err != nil {
			return err
		}
		if err := c.bringJoin(ctx, room, info); err != nil {
			return err
		}
		o, err := c.joinOnce(ctx, room, info, len(code) > 0)
		if err != nil || o.err != nil {
			return errors.Join(err, o.err)
		}
		if !o.lost {
			return nil
		}
	}
	return ErrBusy
}

// alreadyIn says whether there is nothing to join. A join of before, still on
// its way, is waited for.
func (c *Client) alreadyIn(ctx context.Context, uri mimi.RoomURI) (bool, error) {
	for {
		c.mu.Lock()
		r, changed, fatal := c.rooms[uri], c.changed, c.fatal
		c.mu.Unlock()
		switch {
		case fatal != nil:
			return false, fatal
		case r.member() == nil:
			return true, nil
		case r == nil || r.pending == nil || r.phase == phaseMember:
			return false, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

// groupInfo asks the hub for what a joiner needs. The answer is for a key made
// for this one request, so the own provider cannot read it.
func (c *Client) groupInfo(ctx context.Context, room mimi.RoomURI, code []byte) (*mimi.GroupInfoRatchetTree, error) {
	private, public, err := suite.GenerateHPKEKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	req := &mimi.GroupInfoRequest{Credential: c.credential(), PublicKey: public, JoiningCode: code}
	if err := req.Sign(c.key); err != nil {
		return nil, err
	}
	body, err := req.Marshal()
	if err != nil {
		return nil, err
	}
	res, err := c.t.api.GetGroupInfo(ctx, connect.NewRequest(&clientpb.GetGroupInfoRequest{Room: string(room), Body: body}))
	if err != nil {
		return nil, err
	}
	answer, err := mimi.ParseGroupInfoResponse(res.Msg.Body)
	if err != nil {
		return nil, &Error{Reason: "malformed", Provider: room.Domain(), Message: "the hub's answer cannot be read", cause: err}
	}
	if answer.Status != mimi.GroupInfoSuccess && len(code) > 0 {
		return nil, fmt.Errorf("%w: %s does not take this link: it may have expired, been used or been revoked", ErrNotMember, room.Domain())
	}
	if answer.Status != mimi.GroupInfoSuccess || answer.Room != room {
		return nil, fmt.Errorf("%w: %s does not let this device in", ErrNotMember, room.Domain())
	}
	info, err := answer.Open(private)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSuspicious, err)
	}
	return info, nil
}

// joinOnce makes and sends one external commit and waits for what becomes of it.
func (c *Client) joinOnce(ctx context.Context, uri mimi.RoomURI, info *mimi.GroupInfoRatchetTree, code bool) (outcome, error) {
	txn := newTxn()
	done, err := c.submitStep(txn, func(b *batch) error {
		o, err := c.joinOptions(uri, info, code)
		if err != nil {
			return err
		}
		commit, err := mls.JoinExternal(&info.GroupInfo, o, c.config)
		if err != nil {
			return fmt.Errorf("joining: %w", err)
		}
		if err := checkRoom(commit.Merge().Public(), uri, c.user); err != nil {
			return err
		}
		r := b.newRoom(uri)
		// What was held of the room belongs to a state that is given up.
		r.group, r.positioned, r.suspicious, r.leaving, r.wantEpoch = nil, false, "", false, 0
		if r.phase == phaseMember {
			r.phase = phaseOut
		}
		if err := b.dropPending(r, outcome{lost: true}); err != nil {
			return err
		}
		return b.sendCommit(r, txn, commit)
	})
	if err != nil {
		return outcome{}, err
	}
	return c.await(ctx, txn, done)
}

func (c *Client) joinOptions(uri mimi.RoomURI, info *mimi.GroupInfoRatchetTree, code bool) (mls.ExternalJoinOptions, error) {
	o := mls.ExternalJoinOptions{Signer: c.key, Credential: c.credential(), Tree: info.RatchetTree.Tree,
		LeafExtensions: mls.Extensions{policy.LeafExtension()}}
	base, err := mls.NewPublicGroup(&info.GroupInfo, info.RatchetTree.Tree, c.config)
	if err != nil {
		return o, fmt.Errorf("joining: %w", err)
	}
	for _, m := range base.Members() { // an own leaf of before goes with the same commit
		if id, err := mimi.ClaimedIdentity(&m.Leaf.Credential); err == nil && id.Client == c.uri {
			o.ByValue = append(o.ByValue, mls.Proposal{Type: mls.ProposalTypeRemove, Remove: &mls.Remove{Removed: m.Index}})
		}
	}
	if why, err := c.unwanted(uri, base); err != nil || len(why) > 0 {
		return o, errors.Join(err, fmt.Errorf("%w: %s", ErrDeclined, strings.Join(why, "; ")))
	}
	list, err := c.listed(uri, base, code)
	if err != nil {
		return o, err
	}
	o.ByValue = append(o.ByValue, list...)
	for _, p := range info.PendingProposals {
		if m := p.Proposal.Public; m != nil && m.Content.Proposal != nil && m.Content.Proposal.Type == mls.ProposalTypeSelfRemove {
			o.Proposals = append(o.Proposals, m)
		}
	}
	o.Proposals = slices.Clip(o.Proposals)
	return o, nil
}

// listed is the change by which a user who is not in the room's list puts itself there;
// nothing for one who is.
func (c *Client) listed(uri mimi.RoomURI, base *mls.PublicGroup, code bool) ([]mls.Proposal, error) {
	s, err := policy.StateOf(uri, base)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSuspicious, err)
	}
	if s.Participants.Role(c.user) != policy.Outside {
		return nil, nil
	}
	self := asUser(c.user)
	self.Code = code
	role, ok := s.JoinRole(self)
	if !ok {
		return nil, fmt.Errorf("%w: the room does not let %s in uninvited", ErrDenied, c.user.Handle())
	}
	p, err := listUpdate(&mimi.ParticipantListUpdate{Added: []mimi.Participant{{User: c.user, Role: role}}})
	return []mls.Proposal{p}, err
}
