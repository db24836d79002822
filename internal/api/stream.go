package api

import (
	"context"
	"math"
	"slices"
	"sync"

	"github.com/coder/websocket"

	"hubbub/client/clientpb"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// stream is one connected client.
type stream struct {
	s    *Server
	c    *store.Client
	conn *websocket.Conn
	text bool // JSON text frames
	many bool // several frames in one message
	bell *wakeup

	// Owned by the sender.
	rev      uint64          // submissions up to here have been shown
	open     map[string]bool // those of them that are not settled
	live     bool            // Live has been sent
	rooms    map[mimi.RoomURI]*roomCursor
	welcomed map[welcome]bool  // Welcomes sent on this connection
	waiting  []store.InWelcome // Welcomes still to be sent
	followed []mimi.RoomURI    // rooms that began to ring during this look

	mu      sync.Mutex
	ackable map[mimi.RoomURI]uint64 // what has been sent and may be acked
	acks    map[mimi.RoomURI]uint64 // not yet stored
	settled []string                // submissions to forget
	acked   chan struct{}           // has a value if acks or settled have
}

func newStream(s *Server, c *store.Client, conn *websocket.Conn) *stream {
	return &stream{
		s: s, c: c, conn: conn,
		text:     conn.Subprotocol() == clientpb.SyncJSON,
		many:     conn.Subprotocol() == clientpb.SyncBatch,
		open:     map[string]bool{},
		rooms:    map[mimi.RoomURI]*roomCursor{},
		welcomed: map[welcome]bool{},
		ackable:  map[mimi.RoomURI]uint64{},
		acks:     map[mimi.RoomURI]uint64{},
		acked:    make(chan struct{}, 1),
	}
}

type welcome struct {
	room mimi.RoomURI
	seq  uint64
}

// roomCursor is how far a stream is in a room.
type roomCursor struct {
	sent   uint64 // everything visible up to here has been sent
	ended  uint64 // Until of the newest span that was reported as ended
	shown  bool   // a RoomChanged has been sent, with:
	in     bool
	member bool
}

// page is what one look at the store finds to send.
type page struct {
	frames []*clientpb.ServerFrame
	reach  map[mimi.RoomURI]uint64   // acks up to here become possible
	more   map[mimi.RoomURI]struct{} // rooms with more than fits a page
}

// send pumps what the store holds to the client, then sleeps until the bell
// rings. It never polls.
func (st *stream) send(ctx context.Context) error {
	hello := &clientpb.Hello{Client: string(st.c.URI), Provider: string(st.s.Domain),
		PingIntervalMs: uint64(st.s.PingEvery.Milliseconds())}
	if err := st.write(ctx, &clientpb.ServerFrame{Frame: &clientpb.ServerFrame_Hello{Hello: hello}}); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-st.bell.ready:
		}
		for r := st.bell.take(); !r.empty(); {
			p, err := st.look(ctx, r)
			if err != nil {
				return err
			}
			if err := st.deliver(ctx, p); err != nil {
				return err
			}
			r = ring{dirty: p.more}
		}
		if !st.live {
			st.live = true
			if err := st.write(ctx, &clientpb.ServerFrame{Frame: &clientpb.ServerFrame_Live{Live: &clientpb.Live{}}}); err != nil {
				return err
			}
		}
	}
}

func (st *stream) deliver(ctx context.Context, p *page) error {
	st.mu.Lock()
	for room, seq := range p.reach { // before the write: an ack may be quicker
		st.ackable[room] = max(st.ackable[room], seq)
	}
	st.mu.Unlock()
	return st.write(ctx, p.frames...)
}

// look collects, on one snapshot, what is new: rooms, then Welcomes and entries
// in the order of each room, then where submissions stand.
func (st *stream) look(ctx context.Context, r ring) (*page, error) {
	p := &page{reach: map[mimi.RoomURI]uint64{}, more: map[mimi.RoomURI]struct{}{}}
	err := st.s.Store.View(ctx, func(tx store.ReadTx) error {
		var err error
		if r.all || r.mine {
			if st.waiting, err = tx.InWelcomes(st.c.URI); err != nil {
				return err
			}
			r.all = r.all || slices.ContainsFunc(st.waiting, func(w store.InWelcome) bool { return !st.welcomed[welcome{w.Room, w.Seq}] })
		}
		spans, err := st.spans(tx, r)
		if err != nil {
			return err
		}
		if r.all {
			if err := st.roomList(tx, spans, p); err != nil {
				return err
			}
		}
		if err := st.entries(tx, spans, r, p); err != nil {
			return err
		}
		if r.all || r.mine || len(st.open) > 0 { // an entry settles a submission
			return st.submissions(tx, p)
		}
		return nil
	})
	// What was stored after this look's snapshot and before the room began to
	// ring rang for nobody: such a room is looked at once more.
	for _, room := range st.followed {
		p.more[room] = struct{}{}
	}
	st.followed = st.followed[:0]
	return p, err
}

// spans are what the client may read of the rooms that rang: a client of many
// rooms does not look at all of them for an entry in one.
func (st *stream) spans(tx store.ReadTx, r ring) ([]store.Membership, error) {
	if r.all {
		return tx.Memberships(st.c.URI)
	}
	var spans []store.Membership
	for uri := range r.dirty {
		list, err := tx.MembershipsIn(st.c.URI, uri)
		if err != nil {
			return nil, err
		}
		spans = append(spans, list...)
	}
	return spans, nil
}

// cursor finds or makes the cursor of a room.
func (st *stream) cursor(room mimi.RoomURI) *roomCursor {
	c := st.rooms[room]
	if c == nil {
		c = &roomCursor{}
		st.rooms[room] = c
		st.s.Notifier.follow(st.bell, room)
		st.followed = append(st.followed, room)
	}
	return c
}

// roomList reports the user's rooms, new ones and those where the user's or the
// client's place changed. Rooms the user has left are of no interest here.
func (st *stream) roomList(tx store.ReadTx, spans []store.Membership, p *page) error {
	recs, err := tx.RoomsOfUser(st.c.User)
	if err != nil {
		return err
	}
	for _, r := range recs {
		participants, err := tx.Participants(r.URI)
		if err != nil {
			return err
		}
		in, member := isIn(participants, st.c.User), inGroup(spans, r.URI)
		c := st.cursor(r.URI)
		if c.in == in && c.member == member && (c.shown || !in) {
			continue
		}
		c.shown, c.in, c.member = true, in, member
		f := &clientpb.RoomChanged{Room: string(r.URI), Hub: string(r.Hub), Participant: in, Member: member}
		if in {
			f.Epoch, f.HeadSeq = r.Epoch, r.Head.Seq
		}
		p.frames = append(p.frames, &clientpb.ServerFrame{Frame: &clientpb.ServerFrame_RoomChanged{RoomChanged: f}})
	}
	return nil
}

// welcomes sends those waiting in a room for a commit up to seq.
func (st *stream) welcomes(tx store.ReadTx, p *page, upTo uint64, wanted func(mimi.RoomURI) bool) {
	rest := st.waiting[:0]
	for _, w := range st.waiting {
		key := welcome{w.Room, w.Seq}
		if st.welcomed[key] {
			continue
		}
		if w.Seq > upTo || !wanted(w.Room) {
			rest = append(rest, w)
			continue
		}
		st.welcomed[key] = true
		st.cursor(w.Room)
		f := &clientpb.Welcome{Room: string(w.Room), Seq: w.Seq, Body: w.Body, Hash: hashAt(tx, w.Room, w.Seq)}
		p.frames = append(p.frames, &clientpb.ServerFrame{Frame: &clientpb.ServerFrame_Welcome{Welcome: f}})
		p.reach[w.Room] = max(p.reach[w.Room], w.Seq)
	}
	st.waiting = rest
}

// hashAt gives the chain hash after an entry, nil if it is not held here.
func hashAt(tx store.ReadTx, room mimi.RoomURI, seq uint64) []byte {
	rec, err := tx.Room(room)
	if err != nil {
		return nil
	}
	if rec.Start.Seq == seq {
		return rec.Start.Hash[:]
	}
	if seq == 0 {
		return nil
	}
	entries, err := tx.Entries(room, seq-1, 1, 1)
	if err != nil || len(entries) == 0 || entries[0].Seq != seq {
		return nil
	}
	return entries[0].Hash[:]
}

// entries adds what the client has not got of the rooms that rang. A Welcome
// stands before the span it opens and after everything of an earlier one.
func (st *stream) entries(tx store.ReadTx, spans []store.Membership, r ring, p *page) error {
	for _, span := range spans {
		if _, rang := r.dirty[span.Room]; !r.all && !rang {
			continue
		}
		if _, full := p.more[span.Room]; full {
			continue
		}
		st.welcomes(tx, p, span.After, func(room mimi.RoomURI) bool { return room == span.Room })
		if err := st.entriesOf(tx, span, p); err != nil {
			return err
		}
	}
	st.welcomes(tx, p, math.MaxUint64, func(room mimi.RoomURI) bool { _, full := p.more[room]; return !full })
	return nil
}

func (st *stream) entriesOf(tx store.ReadTx, span store.Membership, p *page) error {
	c := st.cursor(span.Room)
	c.sent = max(c.sent, span.After, span.Acked)
	if span.Until == 0 || c.sent < span.Until {
		entries, err := tx.Entries(span.Room, c.sent, pageEntries, maxPageBytes)
		if err != nil {
			return err
		}
		size := 0
		for _, e := range entries {
			if span.Until != 0 && e.Seq > span.Until {
				break
			}
			p.frames = append(p.frames, &clientpb.ServerFrame{Frame: &clientpb.ServerFrame_Entry{
				Entry: &clientpb.RoomEntry{Room: string(span.Room), Entry: entryPB(e)}}})
			c.sent = e.Seq
			size += len(e.Body)
		}
		p.reach[span.Room] = max(p.reach[span.Room], c.sent)
		if len(entries) == pageEntries || size >= fullPageBytes {
			p.more[span.Room] = struct{}{}
			return nil
		}
	}
	if span.Until != 0 && span.Acked < span.Until && c.ended < span.Until && c.sent >= span.Until {
		c.ended = span.Until
		p.frames = append(p.frames, &clientpb.ServerFrame{Frame: &clientpb.ServerFrame_Removed{
			Removed: &clientpb.Removed{Room: string(span.Room), Seq: span.Until}}})
	}
	p.reach[span.Room] = max(p.reach[span.Room], c.sent)
	return nil
}

func (st *stream) submissions(tx store.ReadTx, p *page) error {
	list, err := tx.Submissions(st.c.URI, st.rev)
	if err != nil {
		return err
	}
	for _, sub := range list {
		st.rev = max(st.rev, sub.Rev)
		if sub.State == store.Queued {
			st.open[sub.Txn] = true
		} else {
			delete(st.open, sub.Txn)
		}
		p.frames = append(p.frames, &clientpb.ServerFrame{Frame: &clientpb.ServerFrame_Submission{
			Submission: st.s.submissionPB(sub)}})
	}
	return nil
}
