package client

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"connectrpc.com/connect"

	"hubbub/client/clientpb"
	"hubbub/mimi"
	"hubbub/mls"
	"hubbub/mls/wire"
)

// A provider that follows a room has to know its group to judge what the hub announces.
// Hubs of our make give it a snapshot; of others it has only what devices know: the
// GroupInfo by which they entered, which a member has signed. It holds no secrets of the
// group. What a Welcome brought is kept until the provider needs it no more.

// bringKey is where the GroupInfo of a Welcome is kept.
const bringKey = "bring/"

// enterKnowing is welcome for rooms of other hubs: what the own provider may want to
// know of the room is kept with the same step.
func (b *batch) enterKnowing(f *clientpb.Welcome) error {
	uri, err := mimi.ParseRoom(f.GetRoom())
	if err != nil || uri.Domain() == b.c.domain {
		return b.welcome(f)
	}
	info, err := b.welcomeInfo(f.GetBody())
	if err != nil {
		return err
	}
	if err := b.welcome(f); err != nil || len(info) == 0 {
		return err
	}
	if r := b.room(uri); r == nil || r.phase != phaseMember {
		return nil
	}
	b.c.bringDue.Store(true)
	return putKey(b.tx, bringKey+string(uri), info)
}

// welcomeInfo is the GroupInfo of a Welcome for this device; nil if it is for none of
// its key packages, or otherwise not to be used.
func (b *batch) welcomeInfo(body []byte) ([]byte, error) {
	m, err := mimi.ParseFanoutMessage(body)
	if err != nil || m.Kind() != mimi.FanoutWelcome {
		return nil, nil
	}
	for _, s := range m.Message.Welcome.Secrets {
		var secret []byte
		err := b.tx.QueryRow("SELECT secret FROM key_package WHERE ref = ?", []byte(s.NewMember)).Scan(&secret)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return nil, err
		}
		var kp mls.KeyPackageSecret
		if kp.UnmarshalBinary(secret) != nil {
			return nil, nil
		}
		gi, err := mls.WelcomeGroupInfo(m.Message.Welcome, &kp, mls.JoinOptions{})
		if err != nil {
			return nil, nil
		}
		return wire.Marshal(gi)
	}
	return nil, nil
}

// bringAll tells the provider of the rooms that Welcomes brought this device into. What
// it refuses is not told again: the device takes part, as far as its provider lets it.
func (c *Client) bringAll(ctx context.Context) error {
	c.mu.Lock()
	kept, err := keysBelow(c.db, bringKey)
	c.mu.Unlock()
	if err != nil {
		return err
	}
	for uri, info := range kept {
		_, err := c.bring(ctx, &clientpb.BringStateRequest{Room: uri, GroupInfo: info})
		if err := ifPassing(err); err != nil {
			return err
		}
		err = c.step(func(b *batch) error {
			_, err := b.tx.Exec("DELETE FROM device WHERE key = ?", bringKey+uri)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *Client) bring(ctx context.Context, req *clientpb.BringStateRequest) (clientpb.BroughtState, error) {
	res, err := clientpb.NewReplicaServiceClient(c.t.calls, c.t.base.String(),
		connect.WithInterceptors(connect.UnaryInterceptorFunc(c.t.authorise))).BringState(ctx, connect.NewRequest(req))
	if err != nil {
		return 0, err
	}
	return res.Msg.State, nil
}

// bringJoin tells the provider of the room that this device is about to enter by itself.
// The provider may know it already; without it, it could not follow a room of a hub that
// gives it nothing.
func (c *Client) bringJoin(ctx context.Context, uri mimi.RoomURI, info *mimi.GroupInfoRatchetTree) error {
	if uri.Domain() == c.domain {
		return nil
	}
	gi, err := wire.Marshal(&info.GroupInfo)
	if err != nil {
		return err
	}
	req := &clientpb.BringStateRequest{Room: string(uri), GroupInfo: gi}
	state, err := c.bring(ctx, req)
	if err != nil || state != clientpb.BroughtState_BROUGHT_STATE_TREE_WANTED {
		return ifPassing(err)
	}
	if req.RatchetTree, err = wire.Marshal(info.RatchetTree.Tree); err != nil {
		return err
	}
	for i := range info.PendingProposals {
		p := &info.PendingProposals[i]
		req.Waiting = append(req.Waiting, &clientpb.WaitingProposal{Message: p.Proposal.Raw, Timestamp: p.Timestamp})
	}
	_, err = c.bring(ctx, req)
	return ifPassing(err)
}

// ifPassing is an error after which the same may succeed: a provider that does not take
// what is brought may follow the room all the same.
func ifPassing(err error) error {
	var refused *Error
	if errors.As(err, &refused) {
		if r := refused.Reason; !passingReasons[r] && r != "deadline_exceeded" && r != "canceled" {
			return nil
		}
	}
	return err
}

// keysBelow gives the values whose keys begin with a prefix, by the rest of the key. mu
// is held.
func keysBelow(q *database, prefix string) (map[string][]byte, error) {
	rows, err := q.Query("SELECT key, value FROM device WHERE key >= ? AND key < ?", prefix, prefix+"\xff")
	if err != nil {
		return nil, fmt.Errorf("reading device state: %w", err)
	}
	defer rows.Close()
	out := map[string][]byte{}
	for rows.Next() {
		var key string
		var value []byte
		if err := rows.Scan(&key, &value); err != nil {
			return nil, err
		}
		out[key[len(prefix):]] = value
	}
	return out, rows.Err()
}
