package api

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/coder/websocket"

	"hubbub/client/clientpb"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// stream is one connected client. It costs one goroutine while nothing happens,
// the reader; a sender begins when the bell rings and ends when nothing is left.
type stream struct {
	s    *Server
	c    *store.Client
	conn *websocket.Conn
	text bool // JSON text frames
	many bool // several frames in one message
	bell *wakeup
	ping *time.Timer

	ctx    context.Context // ends with the stream
	cancel context.CancelFunc
	ending sync.Once

	// Owned by the sender.
	rev      uint64          // submissions up to here have been shown
	open     map[string]bool // those of them that are not settled, and of whose end no entry will tell
	told     map[string]bool // what has been shown beyond rev, from memory
	greeted  bool            // Hello has been sent
	live     bool            // Live has been sent
	rooms    map[mimi.RoomURI]*roomCursor
	welcomed map[welcome]bool  // Welcomes sent on this connection
	waiting  []store.InWelcome // Welcomes still to be sent
	followed []mimi.RoomURI    // rooms that began to ring during this look

	mu      sync.Mutex
	ackable map[mimi.RoomURI]uint64 // what has been sent and may be acked
}

func newStream(s *Server, c *store.Client, conn *websocket.Conn, protocol string) *stream {
	st := &stream{
		s: s, conn: conn,
		c:        &store.Client{URI: c.URI, User: c.User}, // its certificates would stay in memory
		text:     protocol == clientpb.SyncJSON,
		many:     protocol == clientpb.SyncBatch,
		open:     map[string]bool{},
		told:     map[string]bool{},
		rooms:    map[mimi.RoomURI]*roomCursor{},
		welcomed: map[welcome]bool{},
		ackable:  map[mimi.RoomURI]uint64{},
	}
	st.ctx, st.cancel = context.WithCancel(context.Background())
	return st
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
	// atHead: when the store was last looked at the client was a member and had
	// been sent all there was, an entry of this membership at least. What follows
	// is for it as long as no entry changes who is a member.
	atHead bool
}

func (st *stream) newPage() *page {
	return &page{many: st.many, text: st.text, reach: map[mimi.RoomURI]uint64{}, more: map[mimi.RoomURI]struct{}{}}
}

// pump sends what is new to the client until the bell has nothing more to say. The
// bell starts it, one at a time. It never polls.
func (st *stream) pump() {
	if err := st.greet(); err != nil {
		st.end(err)
		return
	}
	for {
		r, rang := st.bell.take()
		if !rang {
			return
		}
		for !r.empty() {
			p, err := st.next(r)
			if err == nil {
				err = st.deliver(p)
			}
			if err != nil {
				st.end(err)
				return // the bell stays with a sender that is no more: it is over
			}
			r = ring{dirty: p.more}
		}
		if !st.live {
			st.live = true
			if err := st.say(&clientpb.ServerFrame{Frame: &clientpb.ServerFrame_Live{Live: &clientpb.Live{}}}); err != nil {
				st.end(err)
				return
			}
		}
	}
}

// greet says the first word.
func (st *stream) greet() error {
	if st.greeted {
		return nil
	}
	st.greeted = true
	hello := &clientpb.Hello{Client: string(st.c.URI), Provider: string(st.s.Domain),
		PingIntervalMs: uint64(st.s.PingEvery.Milliseconds())}
	return st.say(&clientpb.ServerFrame{Frame: &clientpb.ServerFrame_Hello{Hello: hello}})
}

// say sends one frame.
func (st *stream) say(f *clientpb.ServerFrame) error {
	p := st.newPage()
	p.add(f)
	return st.deliver(p)
}

func (st *stream) deliver(p *page) error {
	if p.err != nil {
		return p.err
	}
	st.mu.Lock()
	for room, seq := range p.reach { // before the write: an ack may be quicker
		st.ackable[room] = max(st.ackable[room], seq)
	}
	st.mu.Unlock()
	return st.write(p.messages)
}

// next collects what is new: from memory where that tells all, from the store for
// the rest.
func (st *stream) next(r ring) (*page, error) {
	p := st.newPage()
	if !r.all && !r.mine {
		for uri := range r.dirty {
			if st.quick(uri, p) {
				delete(r.dirty, uri)
			}
		}
		if r.empty() && len(st.open) == 0 { // an entry settles a submission
			return p, nil
		}
	}
	return p, st.look(r, p)
}

// quick adds what follows in a room if that can be told without the store: the
// stream was at the head, and from there on nothing but the log has grown.
func (st *stream) quick(uri mimi.RoomURI, p *page) bool {
	c := st.rooms[uri]
	if c == nil || !c.atHead || st.s.Tails == nil {
		return false
	}
	list, known := st.s.Tails.After(uri, c.sent, pageEntries, fullPageBytes)
	if !known {
		return false
	}
	for _, e := range list {
		if !e.Plain {
			return false
		}
	}
	if len(list) == 0 {
		return true
	}
	p.shared(uri, list)
	for _, e := range list {
		for _, sub := range e.Settles {
			st.settled(sub, p)
		}
	}
	c.sent = list[len(list)-1].Seq
	p.reach[uri] = c.sent
	if len(list) == pageEntries {
		p.more[uri] = struct{}{}
	}
	return true
}

// maxTold bounds what is remembered of submissions that were shown from memory. Once
// it is forgotten a look at the store may show one again that is not acked yet.
const maxTold = 4096

// settled shows a submission that an entry has settled, if it is the client's.
func (st *stream) settled(sub *store.Submission, p *page) {
	if sub.Client != st.c.URI {
		return
	}
	delete(st.open, sub.Txn)
	if len(st.told) >= maxTold {
		clear(st.told)
	}
	st.told[sub.Txn] = true
	shown := st.s.submissionPB(*sub)
	shown.Revision = 0
	p.add(&clientpb.ServerFrame{Frame: &clientpb.ServerFrame_Submission{Submission: shown}})
}

// look collects, on one snapshot, what is new: rooms, then Welcomes and entries
// in the order of each room, then where submissions stand.
func (st *stream) look(r ring, p *page) error {
	err := st.s.Store.View(st.ctx, func(tx store.ReadTx) error {
		var err error
		if r.all || r.mine {
			if r.all, err = st.unsent(tx, r.all); err != nil {
				return err
			}
		}
		spans, err := st.spans(tx, r)
		if err != nil {
			return err
		}
		if !r.all && !r.mine && st.begins(spans) {
			if _, err = st.unsent(tx, false); err != nil {
				return err
			}
		}
		if r.all {
			if err := st.roomList(tx, spans, p); err != nil {
				return err
			}
		}
		if err := st.entries(tx, spans, r, p); err != nil {
			return err
		}
		return st.submissions(tx, p) // an entry settles a submission
	})
	// What was stored after this look's snapshot and before the room began to
	// ring rang for nobody: such a room is looked at once more.
	for _, room := range st.followed {
		p.more[room] = struct{}{}
	}
	st.followed = st.followed[:0]
	return err
}

// unsent reads the Welcomes that wait, and says whether one of them, or all, is
// new to this stream.
func (st *stream) unsent(tx store.ReadTx, all bool) (bool, error) {
	var err error
	st.waiting, err = tx.InWelcomes(st.c.URI)
	return all || slices.ContainsFunc(st.waiting, func(w store.InWelcome) bool { return !st.welcomed[welcome{w.Room, w.Seq}] }), err
}

// begins says whether nothing of one of the open spans has been sent yet, so that
// its Welcome may have to come before what is.
func (st *stream) begins(spans []store.Membership) bool {
	return slices.ContainsFunc(spans, func(m store.Membership) bool {
		c := st.rooms[m.Room]
		return m.Until == 0 && m.Acked <= m.After && (c == nil || c.sent <= m.After)
	})
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
		in, err := tx.IsParticipant(r.URI, st.c.User)
		if err != nil {
			return err
		}
		member := inGroup(spans, r.URI)
		c := st.cursor(r.URI)
		if c.in == in && c.member == member && (c.shown || !in) {
			continue
		}
		c.shown, c.in, c.member = true, in, member
		f := &clientpb.RoomChanged{Room: string(r.URI), Hub: string(r.Hub), Participant: in, Member: member}
		if in {
			f.Epoch, f.HeadSeq = r.Epoch, r.Head.Seq
		}
		p.add(&clientpb.ServerFrame{Frame: &clientpb.ServerFrame_RoomChanged{RoomChanged: f}})
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
		p.add(&clientpb.ServerFrame{Frame: &clientpb.ServerFrame_Welcome{Welcome: f}})
		p.reach[w.Room] = max(p.reach[w.Room], w.Seq)
	}
	st.waiting = rest
}

// hashAt gives the chain hash after an entry, nil if it is not held here.
func hashAt(tx store.ReadTx, room mimi.RoomURI, seq uint64) []byte {
	rec, err := tx.RoomHead(room)
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
	c.sent, c.atHead = max(c.sent, span.After, span.Acked), false
	if span.Until == 0 || c.sent < span.Until {
		entries, err := tx.Entries(span.Room, c.sent, pageEntries, maxPageBytes)
		if err != nil {
			return err
		}
		size := 0
		for i := range entries {
			e := &entries[i]
			if span.Until != 0 && e.Seq > span.Until {
				break
			}
			p.entry(span.Room, e)
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
		p.add(&clientpb.ServerFrame{Frame: &clientpb.ServerFrame_Removed{
			Removed: &clientpb.Removed{Room: string(span.Room), Seq: span.Until}}})
	}
	c.atHead = span.Until == 0 && c.sent > span.After
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
		switch {
		case sub.State != store.Queued:
			delete(st.open, sub.Txn)
			if st.told[sub.Txn] {
				continue
			}
		case st.s.Tails == nil || !st.s.Tails.Awaits(&sub):
			st.open[sub.Txn] = true
		}
		p.add(&clientpb.ServerFrame{Frame: &clientpb.ServerFrame_Submission{Submission: st.s.submissionPB(sub)}})
	}
	clear(st.told) // told of entries that were durable: this snapshot has them
	return nil
}
