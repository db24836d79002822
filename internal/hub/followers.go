package hub

import (
	"errors"
	"maps"
	"slices"

	"hubbub/internal/record"
	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// planFollowers finds out which providers enter or leave the room with this
// entry: a provider follows while it has a client in the group.
func (a *accepted) planFollowers(prev *room.State) {
	before, after := prev.Providers(), a.next.Providers()
	a.followers = maps.Clone(a.room.followers)
	for _, peer := range after {
		if peer != a.hub.cfg.Domain && !slices.Contains(before, peer) {
			a.fresh = append(a.fresh, peer)
			a.followers[peer] = true
		}
	}
	for _, peer := range before {
		if peer != a.hub.cfg.Domain && !slices.Contains(after, peer) {
			a.gone = append(a.gone, peer)
			a.followers[peer] = false
		}
	}
}

// writeFollowers stores where each follower's queue begins or ends, and routes
// the Welcome. It runs in the transaction that appends the entry.
func (a *accepted) writeFollowers(tx store.Tx) error {
	seq := a.next.Pos.Seq
	started := map[mimi.Domain]bool{} // its replica starts here
	for _, peer := range a.fresh {
		known, err := a.follow(tx, peer)
		if err != nil {
			return err
		}
		started[peer] = !known
		if !known && a.external() {
			if err := a.keepStart(tx, peer); err != nil {
				return err
			}
		}
	}
	for _, peer := range a.gone {
		f, err := tx.Fanout(a.next.Room, peer)
		if err != nil {
			return err
		}
		// The commit that removed its last client is the last entry it gets
		// (FAN-11).
		f.Until = seq
		if err := tx.PutFanout(*f); err != nil {
			return err
		}
	}
	if a.eff.Welcome == nil {
		return nil
	}
	return a.routeWelcome(tx, started)
}

// external says whether the entry is a commit by which a client let itself in.
func (a *accepted) external() bool {
	return slices.ContainsFunc(a.eff.Joined, func(j room.Joined) bool { return j.External })
}

// keepStart keeps the room as it stood before the commit of a provider's first
// client: its replica starts there, as its client has to read that commit and there
// is no Welcome that would stand in for it.
func (a *accepted) keepStart(tx store.Tx, peer mimi.Domain) error {
	snap, err := snapshot(tx, a.room.state)
	if err != nil {
		return err
	}
	return tx.PutMeta(record.JoinKey(a.next.Room, peer), record.Seal(snap))
}

// follow starts a follower's queue at this entry, or before it if the follower is
// not to have a Welcome in its place.
//
// Deviation: a provider that comes back continues its old replica and so gets
// the entries of the time between, which it holds no keys for. Starting anew
// would leave a hole in the middle of its log.
func (a *accepted) follow(tx store.Tx, peer mimi.Domain) (known bool, err error) {
	f, err := tx.Fanout(a.next.Room, peer)
	if errors.Is(err, store.ErrNotFound) {
		seq := a.next.Pos.Seq
		if a.external() {
			seq--
		}
		return false, tx.PutFanout(store.FanoutState{Room: a.next.Room, Peer: peer, Acked: seq, Sent: seq})
	}
	if err != nil {
		return false, err
	}
	f.Until = 0
	return true, tx.PutFanout(*f)
}

// routeWelcome stores the Welcome for each provider behind it: once per follower,
// and once per client of our own.
func (a *accepted) routeWelcome(tx store.Tx, started map[mimi.Domain]bool) error {
	w, seq, uri := a.eff.Welcome, a.next.Pos.Seq, a.next.Room
	done := map[mimi.Domain]bool{}
	for _, r := range w.Recipients {
		peer, err := recipientProvider(tx, r)
		if err != nil {
			return err
		}
		if peer == a.hub.cfg.Domain {
			in := store.InWelcome{Client: r.Client, Room: uri, Seq: seq, Body: w.Body}
			if err := tx.PutInWelcome(in); err != nil {
				return err
			}
			continue
		}
		if done[peer] {
			continue
		}
		done[peer] = true
		out := store.OutWelcome{Room: uri, Seq: seq, Peer: peer, Body: w.Body}
		if started[peer] {
			if out.Snapshot, err = snapshot(tx, &a.next); err != nil {
				return err
			}
			if err := tx.PutMeta(record.JoinKey(uri, peer), record.Seal(out.Snapshot)); err != nil {
				return err
			}
		}
		if err := tx.PutOutWelcome(out); err != nil {
			return err
		}
	}
	return nil
}

// recipientProvider is where a newcomer's Welcome goes: to the provider that
// handed out its KeyPackage, if that passed through us, and else to the one its
// credential names. The two must agree (D-51, D-74).
func recipientProvider(tx store.Tx, r room.Recipient) (mimi.Domain, error) {
	peer := r.Client.Domain()
	route, err := tx.Route(r.Ref)
	if errors.Is(err, store.ErrNotFound) {
		return peer, nil
	}
	if err == nil && route != peer {
		err = &room.Refusal{Code: room.NotAllowed, Description: "a key package came from another provider than its owner's"}
	}
	return peer, err
}

// snapshot is the room at the place of s, for a follower whose replica starts
// there. tx may hold what comes after it.
func snapshot(tx store.ReadTx, s *room.State) ([]byte, error) {
	history, err := tx.History(s.Room, 0)
	if err != nil {
		return nil, err
	}
	history = slices.DeleteFunc(history, func(c room.Change) bool { return c.Seq > s.Pos.Seq })
	snap, err := room.NewSnapshot(s, history)
	if err != nil {
		return nil, err
	}
	return snap.Encode()
}
