package fsck

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"

	"hubbub/internal/record"
	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
	"hubbub/mimi/checkpoint"
	"hubbub/mls/wire"
)

// How much of a log is read at once.
const (
	pageEntries = 512
	pageBytes   = 4 << 20
)

// walk is one room on its way through the checks.
type walk struct {
	*check
	uri mimi.RoomURI
	tx  store.ReadTx
	rec *store.RoomRecord
	// name is what the log itself calls the room: of a copy that was set aside,
	// the name it had.
	name mimi.RoomURI

	stored *room.State // as stored; nil if it does not decode or there is no Env
	marks  map[uint64][]mark

	pos     room.Pos // of the last entry that is right
	last    uint64   // its timestamp
	broken  bool     // the log is not right after pos
	replay  *replay  // nil: the log cannot be gone through
	entries int
}

// mark is something stored elsewhere that says what the log's hash is somewhere.
type mark struct {
	what string
	hash [32]byte
}

func (w *walk) wrong(what string, seq uint64, format string, args ...any) {
	w.found(Finding{Room: w.uri, Seq: seq, What: what, Wrong: fmt.Sprintf(format, args...)})
}

func (w *walk) run(ctx context.Context) error {
	var err error
	if w.rec, err = w.tx.Room(w.uri); err != nil {
		return err
	}
	if w.name = w.rec.Former; w.name == "" {
		w.name = w.uri
	}
	w.record()
	w.state()
	if err := w.checkpoint(); err != nil {
		return err
	}
	if pos, ok := w.cfg.Heads[w.uri]; ok {
		w.mark("head outside the database", pos)
	}
	if err := w.begin(); err != nil {
		return err
	}
	if err := w.log(ctx); err != nil {
		return err
	}
	w.report.Entries += w.entries
	w.end()
	if err := w.queues(); err != nil {
		return err
	}
	return w.projections()
}

// record checks the room's own row.
func (w *walk) record() {
	r := w.rec
	if _, err := mimi.ParseRoom(string(r.URI)); err != nil {
		w.wrong("room", 0, "its URI is not one: %v", err)
	}
	if r.Hub != r.URI.Domain() {
		w.wrong("room", 0, "its hub is %s, the URI says %s", r.Hub, r.URI.Domain())
	}
	if r.Start.Seq == 0 && r.Start != room.StartPos(w.name) && !w.own() {
		w.wrong("room", 0, "the log begins at %s, not at %s", r.Start, room.StartPos(w.name))
	}
	if r.Start.Seq > r.Head.Seq {
		w.wrong("room", 0, "the log begins at %s and ends at %s", r.Start, r.Head)
	}
}

// own says whether the log is one in order of arrival, which its hub gives no places.
func (w *walk) own() bool {
	return w.rec.Hub != w.cfg.Domain && w.rec.Start == room.OwnStart(w.name)
}

// unjudged checks a room that has no state because nobody has brought what it takes.
func (w *walk) unjudged() {
	since, err := w.tx.UnjudgedSince(w.uri)
	switch {
	case err != nil || !w.own():
		w.wrong("state", 0, "there is none: %v", err)
	case since > w.rec.Head.Seq:
		w.wrong("state", 0, "is missing from entry %d on, the log ends at %d", since, w.rec.Head.Seq)
	default:
		w.skip(fmt.Sprintf("%s: its hub offers no snapshot and no device has said what the room is: the entries after %d cannot be judged", w.uri, since))
	}
}

// state decodes the stored state.
func (w *walk) state() {
	if len(w.rec.State) == 0 && w.rec.Hub != w.cfg.Domain {
		w.unjudged()
		return
	}
	if w.cfg.Env == nil {
		return
	}
	s, err := room.Decode(w.cfg.Env, w.rec.State)
	if err != nil {
		w.wrong("state", 0, "%v", err)
		return
	}
	if s.Room != w.name || s.Hub != w.rec.Hub {
		w.wrong("state", 0, "is of another room")
	}
	w.mark("state", s.Pos)
	w.stored = &s
	if len(s.GroupInfo()) == 0 {
		if w.rec.Hub == w.cfg.Domain {
			// It came with a commit that was fetched back from a follower, who never has it.
			w.skip(fmt.Sprintf("%s: the hub holds no GroupInfo of this epoch: until the next commit no device can join by itself", w.uri))
		}
		return // after a commit only the hub has it
	}
	// A hub hands the GroupInfo on to those who join: it must hold.
	whole, err := room.NewSnapshot(&s, nil)
	if err == nil {
		whole.LastTimestamp = w.rec.LastTimestamp
		if w.rec.Head.Seq == 0 {
			whole.LastTimestamp = w.created()
		}
		_, err = room.StartFrom(w.cfg.Env, whole)
	}
	if err != nil {
		w.wrong("state", 0, "%v", err)
	}
}

// created is when the room was, by its history.
func (w *walk) created() uint64 {
	history, err := w.tx.History(w.uri, 0)
	if err != nil || len(history) == 0 {
		return 0
	}
	return history[0].Timestamp
}

// mark remembers a position to compare the log with.
func (w *walk) mark(what string, pos room.Pos) {
	if pos.Seq > w.rec.Head.Seq {
		w.wrong("head", w.rec.Head.Seq, "the log ends at %s, but the %s says %s", w.rec.Head, what, pos)
		return
	}
	if pos.Seq >= w.rec.Start.Seq { // what lies before was never here
		w.marks[pos.Seq] = append(w.marks[pos.Seq], mark{what, pos.Hash})
	}
}

// checkpoint verifies the newest signed head that is kept.
func (w *walk) checkpoint() error {
	signed, err := w.tx.Meta(record.CheckpointKey(w.uri))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	var c checkpoint.Checkpoint
	if w.stored != nil {
		c, err = checkpoint.Open(signed, w.name, w.stored.Group().ExternalSenders())
	} else {
		c, err = checkpoint.Claimed(signed)
	}
	if err != nil {
		w.wrong("checkpoint", 0, "%v", err)
		return nil
	}
	w.mark("hub's signed checkpoint", room.Pos{Seq: c.Seq, Hash: c.Hash})
	return nil
}

// log goes through the entries.
func (w *walk) log(ctx context.Context) error {
	w.pos = w.rec.Start
	w.compare()
	for !w.broken {
		if err := ctx.Err(); err != nil {
			return err
		}
		page, err := w.tx.Entries(w.uri, w.pos.Seq, pageEntries, pageBytes)
		if err != nil {
			w.wrong("entry", w.pos.Seq+1, "cannot be read: %v", err)
			w.broken = true
			return nil
		}
		if len(page) == 0 {
			return nil
		}
		for i := range page {
			w.entry(&page[i])
			if w.broken {
				return nil
			}
			w.entries++
		}
	}
	return nil
}

// entry checks one entry and moves past it.
func (w *walk) entry(e *store.Entry) {
	bad := func(format string, args ...any) {
		w.wrong("entry", w.pos.Seq+1, format, args...)
		w.broken = true
	}
	if e.Seq != w.pos.Seq+1 {
		bad("is missing; the next is %d", e.Seq)
		return
	}
	if next := w.pos.Next(e.Body); next.Hash != e.Hash {
		bad("%s", w.blame(e, next))
		return
	}
	f, err := mimi.ParseFanoutMessage(e.Body)
	if err != nil {
		bad("the body does not decode: %v", err)
		return
	}
	switch {
	case kinds[f.Kind()] != e.Kind:
		bad("its kind is stored as %d, the body says %d", e.Kind, kinds[f.Kind()])
	case f.Timestamp != e.Timestamp:
		bad("its time is stored as %d, the body says %d", e.Timestamp, f.Timestamp)
	case e.Timestamp <= w.last && !w.own(): // other hubs may
		bad("its time %d is not after %d", e.Timestamp, w.last)
	case sha256.Sum256(f.Message.Raw) != e.MessageHash:
		bad("the stored hash of its message is %x, the message's is %x", e.MessageHash[:4], sha256.Sum256(f.Message.Raw))
	}
	if w.broken {
		return
	}
	w.pos, w.last = room.Pos{Seq: e.Seq, Hash: e.Hash}, e.Timestamp
	w.compare()
	if w.replay != nil && e.Seq > w.replay.from {
		if err := w.replay.step(e); err != nil {
			bad("%v", err)
		}
	}
}

var kinds = map[mimi.FanoutKind]room.Kind{
	mimi.FanoutApplication: room.KindApplication,
	mimi.FanoutProposal:    room.KindProposal,
	mimi.FanoutCommit:      room.KindCommit,
}

// blame says whether it is the body or the stored hash that is damaged: what
// comes after was chained to the right one.
func (w *walk) blame(e *store.Entry, computed room.Pos) string {
	text := fmt.Sprintf("the chain gives hash %x, stored is %x", computed.Hash[:4], e.Hash[:4])
	stored := room.Pos{Seq: e.Seq, Hash: e.Hash}
	after, err := w.tx.Entries(w.uri, e.Seq, 1, 0)
	switch {
	case err == nil && len(after) == 1 && stored.Next(after[0].Body).Hash == after[0].Hash, stored == w.rec.Head:
		return text + ": the body is not what was accepted"
	case err == nil && len(after) == 1 && computed.Next(after[0].Body).Hash == after[0].Hash, computed == w.rec.Head:
		return text + ": the stored hash is not what was computed"
	}
	return text
}

// compare holds what others say about this place against the log.
func (w *walk) compare() {
	for _, m := range w.marks[w.pos.Seq] {
		if m.hash != w.pos.Hash {
			w.wrong("head", w.pos.Seq, "the %s gives another hash: %x, the log has %x", m.what, m.hash[:4], w.pos.Hash[:4])
		}
	}
}

// end compares the room's row with where the log ended.
func (w *walk) end() {
	if w.broken {
		return
	}
	r := w.rec
	if w.pos != r.Head {
		w.wrong("head", r.Head.Seq, "the room's head is stored as %s, the log ends at %s", r.Head, w.pos)
	}
	if w.entries > 0 && w.last != r.LastTimestamp {
		w.wrong("head", r.Head.Seq, "the newest time is stored as %d, the log says %d", r.LastTimestamp, w.last)
	}
}

// queues checks how far followers are, and the Welcomes for them.
func (w *walk) queues() error {
	all, err := w.tx.Fanouts()
	if err != nil {
		return err
	}
	until := map[mimi.Domain]uint64{}
	for _, f := range all {
		if f.Room != w.uri {
			continue
		}
		until[f.Peer] = f.Until
		end := w.rec.Head.Seq
		if f.Until != 0 {
			end = min(end, f.Until)
		}
		if f.Acked > f.Sent || f.Sent > end || f.Until > w.rec.Head.Seq {
			w.wrong("follower "+string(f.Peer), 0, "acknowledged %d, sent %d, until %d, head %d", f.Acked, f.Sent, f.Until, w.rec.Head.Seq)
		}
		list, err := w.tx.OutWelcomes(w.uri, f.Peer, 0)
		if err != nil {
			return err
		}
		for _, o := range list {
			w.outWelcome(o)
		}
		if err := w.joined(f.Peer); err != nil {
			return err
		}
	}
	if w.replay == nil || w.broken || w.rec.Hub != w.cfg.Domain {
		return nil
	}
	for peer, want := range w.replay.followers {
		if have, ok := until[peer]; !ok || have != want {
			w.wrong("follower "+string(peer), want, "gets entries until %d, the log says %d (0 = no end)", have, want)
		}
		delete(until, peer)
	}
	for peer := range until {
		w.wrong("follower "+string(peer), 0, "never had a client in the room")
	}
	return nil
}

// joined checks the snapshot kept for a follower that loses its replica.
func (w *walk) joined(peer mimi.Domain) error {
	sealed, err := w.tx.Meta(record.JoinKey(w.uri, peer))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if b, ok := record.Unseal(sealed); !ok {
		w.wrong("snapshot", 0, "kept for %s is damaged", peer)
	} else if s, err := room.ParseSnapshot(b); err != nil || s.Room != w.uri || s.Pos.Seq > w.rec.Head.Seq {
		w.wrong("snapshot", 0, "kept for %s is not of this log: %v", peer, err)
	}
	return nil
}

func (w *walk) outWelcome(o store.OutWelcome) {
	if f, err := mimi.ParseFanoutMessage(o.Body); err != nil || f.Kind() != mimi.FanoutWelcome || o.Seq > w.rec.Head.Seq {
		w.wrong("welcome", o.Seq, "for %s does not decode or belongs to no entry", o.Peer)
	}
	if w.replay != nil && !w.broken && !w.replay.holdsTree(o) {
		w.wrong("welcome", o.Seq, "for %s holds another tree than the log gives", o.Peer)
	}
	if o.Snapshot == nil {
		return
	}
	s, err := room.ParseSnapshot(o.Snapshot)
	if err == nil && w.cfg.Env != nil {
		_, err = room.StartFrom(w.cfg.Env, s)
	}
	if err != nil || s.Pos.Seq != o.Seq || s.Room != w.uri {
		w.wrong("snapshot", o.Seq, "for %s does not hold: %v", o.Peer, err)
	}
}

// farFuture is the time at which logs are judged again: never too early.
const farFuture = math.MaxUint64 / 2

// replay goes through a log by the room's rules and collects what follows.
type replay struct {
	env       *room.Env
	self      mimi.Domain
	from      uint64 // Seq after which it begins
	state     room.State
	history   []room.Change
	spans     []store.Membership
	followers map[mimi.Domain]uint64 // Until of each
	trees     map[uint64][32]byte    // hash of the tree after each commit that adds somebody
}

// begin sets a replay up, if it is known from where.
func (w *walk) begin() error {
	if len(w.rec.State) == 0 {
		return nil
	}
	raw, err := w.tx.Meta(record.StartKey(w.uri))
	if errors.Is(err, store.ErrNotFound) {
		w.skip(fmt.Sprintf("%s: the state at the start of the log was not kept, so it was not gone through by the room's rules", w.uri))
		return nil
	}
	if err != nil {
		return err
	}
	snap, err := room.ParseSnapshot(raw)
	if err != nil {
		w.wrong("start", w.rec.Start.Seq, "%v", err)
		return nil
	}
	if w.rec.Start.Seq == w.rec.Head.Seq && w.rec.LastTimestamp != snap.LastTimestamp && !w.own() {
		w.wrong("start", w.rec.Start.Seq, "the newest time is stored as %d, the state says %d", w.rec.LastTimestamp, snap.LastTimestamp)
	}
	if snap.Room != w.name || snap.Pos != w.rec.Start && !w.own() {
		w.wrong("start", w.rec.Start.Seq, "the log begins at %s, the state kept from there is of %s at %s", w.rec.Start, snap.Room, snap.Pos)
		return nil
	}
	if !w.own() {
		w.last = snap.LastTimestamp
	}
	if w.cfg.Env == nil {
		return nil
	}
	last := snap.LastTimestamp
	if snap.Pos.Seq == 0 && len(snap.History) > 0 {
		snap.LastTimestamp = snap.History[0].Timestamp // credentials were judged then
	}
	s, err := room.StartFrom(w.cfg.Env, snap)
	if err != nil {
		w.wrong("start", w.rec.Start.Seq, "%v", err)
		return nil
	}
	s = s.At(snap.Pos, last, "")
	r := &replay{env: w.cfg.Env, self: w.cfg.Domain, from: snap.Pos.Seq, state: s, history: snap.History, followers: map[mimi.Domain]uint64{}, trees: map[uint64][32]byte{}}
	var members []room.Joined
	for _, m := range s.Members() {
		members = append(members, room.Joined{User: m.User, Client: m.Client})
	}
	r.spans = record.Joined(r.self, &s, members)
	w.replay = r
	return nil
}

// step judges one entry as the hub and the followers did.
func (r *replay) step(e *store.Entry) error {
	list, err := room.ParseAnnouncements(bytes.Clone(e.Body))
	if err != nil || len(list) != 1 {
		return fmt.Errorf("the body is not one message: %w", err)
	}
	if r.state.Waits(list[0]) { // it came with the state that a device brought
		r.state = r.state.Follow(&room.Entry{Timestamp: e.Timestamp, Body: e.Body})
		return nil
	}
	next, eff, err := room.Step(r.env, r.state, list[0], farFuture)
	if err != nil {
		return err
	}
	if eff.Refusal != nil {
		return fmt.Errorf("the room's rules do not allow it: %w", eff.Refusal)
	}
	r.history = append(r.history, eff.Changes...)
	for _, c := range eff.Left {
		for i := range r.spans {
			if r.spans[i].Client == c && r.spans[i].Until == 0 {
				r.spans[i].Until = e.Seq
			}
		}
	}
	for _, m := range record.Joined(r.self, &next, eff.Joined) {
		open := false
		for _, s := range r.spans {
			open = open || s.Client == m.Client && s.Until == 0
		}
		if !open {
			r.spans = append(r.spans, m)
		}
	}
	r.follow(r.state.Providers(), next.Providers(), e.Seq)
	if len(eff.Joined) > 0 {
		tree, err := wire.Marshal(next.Group().Tree())
		if err != nil {
			return err
		}
		r.trees[e.Seq] = sha256.Sum256(tree)
	}
	r.state = next
	return nil
}

// holdsTree says whether the tree that travels with a Welcome is that of its
// commit. What else is in it is encrypted to the newcomers.
func (r *replay) holdsTree(o store.OutWelcome) bool {
	f, err := mimi.ParseFanoutMessage(o.Body)
	if err != nil || f.RatchetTree.Representation != mimi.TreeFull {
		return true // said elsewhere, or nothing to compare
	}
	tree, err := wire.Marshal(f.RatchetTree.Tree)
	return err == nil && r.trees[o.Seq] == sha256.Sum256(tree)
}

// follow keeps who follows the room until when.
func (r *replay) follow(before, after []mimi.Domain, seq uint64) {
	in := map[mimi.Domain]bool{}
	for _, d := range after {
		if in[d] = true; d != r.self {
			r.followers[d] = 0
		}
	}
	for _, d := range before {
		if !in[d] && d != r.self {
			r.followers[d] = seq
		}
	}
}
