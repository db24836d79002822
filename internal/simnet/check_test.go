package simnet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"hubbub/internal/room"
	"hubbub/internal/room/roomtest"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// roomView is what the simulator knows of a room: the log as it saw it grow at
// the hub, and what a replay of its own makes of it.
type roomView struct {
	sim     *sim
	uri     mimi.RoomURI
	cast    []*device
	state   room.State // after the last of log
	log     []logged
	start   projection
	has     map[mimi.Domain]*replica
	out     map[mimi.Domain]uint64 // providers without a member: the last entry they may have
	writes  map[[32]byte]*write    // by MLSMessage
	invited map[mimi.UserURI]int
}

type logged struct {
	store.Entry
	after projection
}

// projection is what follows from a log up to some place.
type projection struct {
	participants, history string
	epoch, timestamp      uint64
}

// replica is how much of a provider's copy has been checked.
type replica struct {
	start, head room.Pos
	changed     bool // since the projections were last compared
}

func (s *sim) view(p *provider, fn func(store.ReadTx) error, allowed ...error) {
	if err := p.engine.View(context.Background(), fn); !expected(err, allowed) {
		s.must(err)
	}
}

// check holds everything stored against everything promised. It runs after
// every event, when nothing moves.
func (s *sim) check() {
	s.mu.Lock()
	trouble, answers := s.trouble, s.answers
	s.answers = nil
	s.mu.Unlock()
	if trouble != "" {
		s.fail("%s", trouble)
	}
	for _, r := range s.rooms {
		r.checkHub()
		for _, d := range s.order {
			r.checkReplica(s.providers[d])
		}
	}
	for _, a := range answers {
		s.checkAnswer(a)
	}
	for _, d := range s.devices {
		d.checkWrites()
	}
}

// checkHub takes in what the hub's log has grown by, and replays it.
func (r *roomView) checkHub() {
	s, hub := r.sim, r.sim.providers[r.uri.Domain()]
	var rec *store.RoomRecord
	var entries []store.Entry
	s.view(hub, func(tx store.ReadTx) (err error) {
		if rec, err = tx.Room(r.uri); err != nil {
			return err
		}
		entries, err = tx.Entries(r.uri, uint64(len(r.log)), 100_000, 1<<30)
		return err
	})
	if rec.Frozen != "" {
		s.fail("%s: the hub froze: %s", r.uri, rec.Frozen)
	}
	for _, e := range entries {
		r.grow(e)
	}
	if rec.Head != r.state.Pos {
		s.fail("%s: the hub's head is %v, its log ends at %v", r.uri, rec.Head, r.state.Pos)
	}
}

// grow replays one more entry of the hub's log.
func (r *roomView) grow(e store.Entry) {
	s := r.sim
	next := r.state.Pos.Next(e.Body)
	switch {
	case e.Seq != next.Seq:
		s.fail("%s: entry %d follows entry %d", r.uri, e.Seq, r.state.Pos.Seq)
	case e.Hash != next.Hash:
		s.fail("%s: the chain breaks at entry %d", r.uri, e.Seq)
	case e.Timestamp <= r.state.LastTimestamp:
		s.fail("%s: entry %d was accepted at %d, the one before at %d", r.uri, e.Seq, e.Timestamp, r.state.LastTimestamp)
	}
	list, err := room.ParseAnnouncements(bytes.Clone(e.Body))
	s.must(err)
	state, eff, err := room.Step(roomtest.Env(), r.state, list[0], e.Timestamp)
	s.must(err)
	if eff.Refusal != nil {
		s.fail("%s: entry %d breaks the rules: %v", r.uri, e.Seq, eff.Refusal)
	}
	for _, o := range r.log {
		if o.MessageHash == e.MessageHash {
			s.fail("%s: entry %d is the message of entry %d again", r.uri, e.Seq, o.Seq)
		}
	}
	after := r.at(uint64(len(r.log)))
	if eff.Participants != nil {
		after.participants = fmt.Sprint(eff.Participants)
	}
	for _, c := range eff.Changes {
		after.history += fmt.Sprintf("%v\n", c)
	}
	after.epoch, after.timestamp = state.Epoch(), e.Timestamp
	r.log = append(r.log, logged{e, after})
	before := r.state.Providers()
	r.state = state
	for _, d := range before {
		r.out[d] = e.Seq
	}
	for _, d := range state.Providers() {
		delete(r.out, d)
	}
	what := "a handshake"
	if w := r.writes[e.MessageHash]; w != nil {
		if w.no {
			s.fail("%v was refused by the hub and is entry %d", w, e.Seq)
		}
		w.seq, what = e.Seq, w.String()
		if w.n <= w.device.last && !w.lost {
			s.fail("%v comes after #%d of the same client", w, w.device.last)
		}
		w.device.last = w.n
	}
	s.say("   %s: entry %d is %s", r.uri, e.Seq, what)
}

// at is what follows from the first entries.
func (r *roomView) at(seq uint64) projection {
	if seq == 0 {
		return r.start
	}
	return r.log[seq-1].after
}

// pos is the place after the first entries.
func (r *roomView) pos(seq uint64) room.Pos {
	if seq == 0 {
		return room.StartPos(r.uri)
	}
	return room.Pos{Seq: seq, Hash: r.log[seq-1].Hash}
}

// checkReplica compares a provider's copy with the hub's log, as far as it has
// changed, and its projections with the replay's.
func (r *roomView) checkReplica(p *provider) {
	s := r.sim
	was := r.has[p.domain]
	var rec *store.RoomRecord
	var entries []store.Entry
	s.view(p, func(tx store.ReadTx) (err error) {
		if rec, err = tx.Room(r.uri); err != nil || was != nil && rec.Head == was.head {
			return err
		}
		after := uint64(0)
		if was != nil {
			after = was.head.Seq
		}
		entries, err = tx.Entries(r.uri, after, 100_000, 1<<30)
		return err
	}, store.ErrNotFound)
	if rec == nil {
		if was != nil {
			s.fail("%s lost %s", p.domain, r.uri)
		}
		return
	}
	if rec.Frozen != "" {
		s.fail("%s froze %s: %s", p.domain, r.uri, rec.Frozen)
	}
	if was == nil {
		was = &replica{start: rec.Start, head: rec.Start, changed: true}
		r.has[p.domain] = was
		if rec.Start.Seq > uint64(len(r.log)) || r.pos(rec.Start.Seq) != rec.Start {
			s.fail("%s starts %s at %v, where the hub has never been", p.domain, r.uri, rec.Start)
		}
	}
	if last, out := r.out[p.domain]; out && rec.Head.Seq > last && p.domain != r.uri.Domain() {
		s.fail("%s has entry %d of %s, and its last member left with %d", p.domain, rec.Head.Seq, r.uri, last)
	}
	if rec.Start != was.start {
		s.fail("%s moved the start of %s from %v to %v", p.domain, r.uri, was.start, rec.Start)
	}
	if rec.Head == was.head && !was.changed {
		return
	}
	r.compare(p, was.head.Seq, rec.Head, entries)
	was.head, was.changed = rec.Head, false
	r.checkProjection(p, rec)
}

// compare checks entries after some Seq against the hub's.
func (r *roomView) compare(p *provider, after uint64, head room.Pos, entries []store.Entry) {
	s := r.sim
	if head.Seq != after+uint64(len(entries)) || head.Seq > uint64(len(r.log)) {
		s.fail("%s is at %v of %s with %d entries after %d; the hub is at %d", p.domain, head, r.uri, len(entries), after, len(r.log))
	}
	for i, e := range entries {
		own := r.log[after+uint64(i)]
		if e.Seq != own.Seq || e.Hash != own.Hash || e.Timestamp != own.Timestamp || e.Kind != own.Kind || !bytes.Equal(e.Body, own.Body) {
			s.fail("%s: entry %d of %s is not the hub's", p.domain, e.Seq, r.uri)
		}
	}
	if head != r.pos(head.Seq) {
		s.fail("%s is at %v of %s, the hub's is %v", p.domain, head, r.uri, r.pos(head.Seq))
	}
}

func (r *roomView) checkProjection(p *provider, rec *store.RoomRecord) {
	s := r.sim
	got := s.project(p, rec)
	if want := r.at(rec.Head.Seq); got != want {
		s.fail("%s: what %s says of %s at %d is not what its log says:\n%+v\nreplay:\n%+v", p.domain, p.domain, r.uri, rec.Head.Seq, got, want)
	}
}

func (s *sim) project(p *provider, rec *store.RoomRecord) (got projection) {
	s.view(p, func(tx store.ReadTx) error {
		list, err := tx.Participants(rec.URI)
		if err != nil {
			return err
		}
		history, err := tx.History(rec.URI, 0)
		got = projection{participants: fmt.Sprint(list), epoch: rec.Epoch, timestamp: rec.LastTimestamp}
		for _, c := range history {
			got.history += fmt.Sprintf("%v\n", c)
		}
		return err
	})
	return got
}

// shipped holds every batch against the ones before it: what begins at the same
// entry has the same octets.
func (s *sim) shipped(from, to mimi.Domain, uri mimi.RoomURI, pos room.Pos, body []byte) {
	if s.net.out != nil {
		s.net.out(from, to, fmt.Sprint(uri, pos), body)
	}
	list, err := room.ParseAnnouncements(bytes.Clone(body))
	if err != nil {
		s.broken("%s ships octets that do not decode: %v", from, err)
		return
	}
	if list[0].IsWelcome() {
		return
	}
	first := pos.Seq - uint64(len(list)) + 1
	key, sum := fmt.Sprint(uri, to, first), sha256.Sum256(body)
	s.mu.Lock()
	was, known := s.batches[key]
	s.batches[key] = sum
	s.mu.Unlock()
	if known && was != sum {
		s.broken("%s repeats its batch to %s from entry %d of %s with other octets", from, to, first, uri)
	}
}

// hubAnswer is what a hub said about a write.
type hubAnswer struct {
	write   *write
	body    []byte
	problem bool // it would not even look at it
}

// checkAnswer: what was accepted is in the log by now, at the time that was
// said; a second answer has the octets of the first.
func (s *sim) checkAnswer(a hubAnswer) {
	w := a.write
	accepted := false
	if !a.problem {
		var err error
		accepted, err = isAccepted(w.kind, a.body)
		s.must(err)
	}
	if !accepted {
		if w.no = true; w.seq != 0 || w.answer != nil {
			s.fail("%v is entry %d and was refused when it came again", w, w.seq)
		}
		return
	}
	if w.seq == 0 {
		s.fail("%v was accepted and is not in the log", w)
	}
	if w.answer != nil && !bytes.Equal(w.answer, a.body) {
		s.fail("%v was accepted twice, with different answers", w)
	}
	w.answer = a.body
	if t := acceptedAt(w.kind, a.body); t != w.device.room.log[w.seq-1].Timestamp {
		s.fail("%v was accepted at %d, the log says %d", w, t, w.device.room.log[w.seq-1].Timestamp)
	}
}

func acceptedAt(kind store.SubmissionKind, answer []byte) uint64 {
	if kind == store.SubmitUpdate {
		a, _ := mimi.ParseUpdateRoomResponse(answer)
		return a.Timestamp
	}
	a, _ := mimi.ParseSubmitMessageResponse(answer)
	return a.Timestamp
}

// checkWrites: what a provider promised to keep it keeps, and a final state is
// true and stays.
func (d *device) checkWrites() {
	for _, w := range d.writes {
		if !w.told || w.last > store.Queued {
			continue
		}
		var row *store.Submission
		d.sim.view(d.home, func(tx store.ReadTx) (err error) {
			row, err = tx.Submission(d.URI, w.txn)
			return err
		}, store.ErrNotFound)
		if row == nil {
			d.sim.fail("%s promised to keep %v and lost it", d.home.domain, w)
		}
		d.sim.saw(w, row)
	}
}

// saw takes in how a write stands at its provider.
func (s *sim) saw(w *write, row *store.Submission) {
	if row.MessageHash != w.hash {
		s.fail("%v is kept as another message", w)
	}
	if w.last == row.State {
		return
	}
	if w.last > store.Queued {
		s.fail("%v went from state %d to %d", w, w.last, row.State)
	}
	w.last, w.row = row.State, row
	r := w.device.room
	switch row.State {
	case store.Posted:
		if row.Seq == 0 || row.Seq > uint64(len(r.log)) || r.log[row.Seq-1].MessageHash != w.hash || r.log[row.Seq-1].Timestamp != row.Accepted {
			s.fail("%v counts as entry %d accepted at %d, which it is not", w, row.Seq, row.Accepted)
		}
		s.say("   %v is posted", w)
	case store.Rejected, store.Expired:
		s.say("   %v is rejected: %s", w, row.Reason)
		if !w.no && !w.dependent() {
			s.fail("%v counts as rejected for %q, and the hub never refused it", w, row.Reason)
		}
		w.device.dropIf(w)
	}
}

// dependent: a commit of the same client before it was refused. Its provider has
// to take it for built on that one: the epoch it names tells no more.
func (w *write) dependent() bool {
	for _, o := range w.device.writes[:w.n-1] {
		if o.kind == store.SubmitUpdate && o.no {
			return true
		}
	}
	return false
}

// checkAll reads every log from the start once more.
func (s *sim) checkAll() {
	for _, r := range s.rooms {
		for d := range r.has {
			p := s.providers[d]
			var rec *store.RoomRecord
			var entries []store.Entry
			s.view(p, func(tx store.ReadTx) (err error) {
				if rec, err = tx.Room(r.uri); err != nil {
					return err
				}
				entries, err = tx.Entries(r.uri, rec.Start.Seq, 100_000, 1<<30)
				return err
			})
			r.compare(p, rec.Start.Seq, rec.Head, entries)
			r.checkProjection(p, rec)
		}
	}
}

// nameOf names a body on the network.
func (s *sim) nameOf(body []byte) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.byBody[sha256.Sum256(body)]; w != nil {
		return w.String()
	}
	return "?"
}

// gone: a provider lost its copy of a room in which it has no member any more.
// It denies the room then, and its queue stands still for good.
func (s *sim) gone(uri mimi.RoomURI, peer mimi.Domain) bool {
	for _, r := range s.rooms {
		if _, out := r.out[peer]; r.uri == uri && out && s.providers[peer].restored && r.has[peer] == nil {
			return true
		}
	}
	return false
}

// restless says what has not come to rest; "" = everything has.
func (s *sim) restless() string {
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for _, d := range s.order {
		p := s.providers[d]
		s.view(p, func(tx store.ReadTx) error {
			rows, err := tx.QueuedSubmissions(0, 1000)
			if err != nil {
				return err
			}
			for _, q := range rows {
				add("%s still has #%s of %s: %s", d, q.Txn, q.Client, q.LastError)
			}
			states, err := tx.Fanouts()
			if err != nil {
				return err
			}
			for _, f := range states {
				rec, err := tx.Room(f.Room)
				if err != nil {
					return err
				}
				if s.gone(f.Room, f.Peer) {
					continue
				}
				end := rec.Head.Seq
				if f.Until != 0 {
					end = f.Until
				}
				if f.Acked != end || f.Sent != end || f.Parked != "" {
					add("%s has shipped %s to %s up to %d (%d) of %d %s", d, f.Room, f.Peer, f.Acked, f.Sent, end, f.Parked)
				}
				list, err := tx.OutWelcomes(f.Room, f.Peer, 0)
				if err != nil {
					return err
				}
				if len(list) > 0 {
					add("%s has %d Welcomes left for %s", d, len(list), f.Peer)
				}
			}
			return nil
		})
		for _, t := range p.life.fanout.Troubled() {
			if !s.gone(t.Room, t.Peer) {
				add("%s: %+v", d, t)
			}
		}
	}
	for _, d := range s.devices {
		if d.ask != nil || d.retry != nil {
			add("%s waits for an answer", d.name)
		}
		for _, w := range d.writes {
			if w.told && w.last == store.Queued {
				add("%v is still queued", w)
			}
		}
	}
	return strings.Join(out, "\n")
}

// checkEnd: all followers hold what the hub holds, and every device reads all it
// may read.
func (s *sim) checkEnd() {
	s.checkAll()
	for _, r := range s.rooms {
		for _, d := range r.state.Providers() {
			if has := r.has[d]; has == nil && (s.providers[d].restored || s.providers[r.uri.Domain()].restored) {
				continue // it learns of the room by its next entry
			} else if has == nil || has.head != r.state.Pos {
				s.fail("%s is at %+v of %s, the hub at %v", d, has, r.uri, r.state.Pos)
			}
		}
		for _, m := range r.state.Members() {
			for _, d := range s.devices {
				if d.URI == m.Client {
					d.checkInside()
				}
			}
		}
	}
	for _, d := range s.devices {
		d.checkTexts()
		for _, w := range d.writes {
			if w.refused == "" && !w.lost && (w.last == store.Posted) != (w.seq != 0) {
				s.fail("%v is in state %d and in the log at %d", w, w.last, w.seq)
			}
		}
	}
}

// checkInside: a member of the group knows it, and is where the room is.
func (d *device) checkInside() {
	if d.Group == nil && d.excused || d.room.has[d.home.domain] == nil {
		return
	}
	if d.Group == nil {
		d.sim.fail("%s is in the group and cannot join", d.name)
	}
	if got, want := d.Group.Epoch(), d.room.state.Epoch(); got != want {
		d.sim.fail("%s is in epoch %d, the room in %d", d.name, got, want)
	}
}

// checkTexts: what a device decrypted is in the order of the log, each once.
func (d *device) checkTexts() {
	next := 0
	for _, e := range d.room.log {
		if w := d.room.writes[e.MessageHash]; w != nil && next < len(d.Texts) && w.text == d.Texts[next] {
			next++
		}
	}
	if next != len(d.Texts) {
		d.sim.fail("%s reads %q out of order", d.name, d.Texts[next])
	}
}

// expected says whether err is none or one that the caller reckons with.
func expected(err error, allowed []error) bool {
	for _, a := range allowed {
		if errors.Is(err, a) {
			return true
		}
	}
	return err == nil
}
