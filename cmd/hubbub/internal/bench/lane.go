package bench

import (
	"context"
	"fmt"
	"sync"
	"time"

	"hubbub/client/clientpb"
	"hubbub/cmd/hubbub/internal/bench/load"
	"hubbub/internal/room"
	"hubbub/mimi"
)

// lane is a room with one sender and one receiver. It measures one part after
// the other.
type lane struct {
	from, to *load.Device
	room     mimi.RoomURI
	sender   *load.Sender
	joined   chan struct{} // one value for each of the two
	news     chan struct{} // has a value after something arrived or was refused
	number   int           // texts used so far

	mu      sync.Mutex
	pos     room.Pos // of the receiver, checked
	first   int      // number of the first post of this part
	posts   []load.Post
	begun   []time.Time // when each was handed over, or was due
	arrived []arrival
	refused int
	bounded bool // each arrival lets the next post go out
	reading bool // entries are read as they come
	err     error
}

// arrival is an entry as it reached the receiver.
type arrival struct {
	at    time.Time
	entry *clientpb.Entry
}

func newLane() *lane {
	return &lane{joined: make(chan struct{}, 2), news: make(chan struct{}, 1)}
}

// ready waits until both are members.
func (l *lane) ready(ctx context.Context) error {
	for range 2 {
		select {
		case <-l.joined:
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(patience):
			return fmt.Errorf("waited in vain for the members of %s", l.room)
		}
	}
	l.sender = l.from.Sender(func(load.Post, error) { l.refuse() })
	return nil
}

func (l *lane) fromJoined(mimi.RoomURI, uint64, []byte) { l.joined <- struct{}{} }

func (l *lane) toJoined(_ mimi.RoomURI, seq uint64, hash []byte) {
	l.mu.Lock()
	l.pos.Seq = seq
	copy(l.pos.Hash[:], hash)
	l.mu.Unlock()
	l.joined <- struct{}{}
}

// submission notes posts that the hub refused: they never arrive.
func (l *lane) submission(s *clientpb.Submission) {
	switch s.GetState() {
	case clientpb.SubmissionState_SUBMISSION_STATE_REJECTED, clientpb.SubmissionState_SUBMISSION_STATE_EXPIRED:
		l.refuse()
	}
}

func (l *lane) refuse() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refused++
	l.next()
}

// entry takes what reaches the receiver.
func (l *lane) entry(_ mimi.RoomURI, e *clientpb.Entry, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.arrived = append(l.arrived, arrival{at, e})
	if l.reading {
		l.err = l.read(len(l.arrived) - 1)
		l.arrived[len(l.arrived)-1].at = time.Now()
	}
	l.next()
}

// next lets one more post go out. The caller holds mu.
func (l *lane) next() {
	if l.bounded && len(l.begun) < len(l.posts) {
		l.begun = append(l.begun, time.Now())
		l.sender.Put(l.posts[len(l.begun)-1])
	}
	select {
	case l.news <- struct{}{}:
	default:
	}
}

// open decrypts the i-th arrival, which must be the next entry of the log and of
// the sender. The caller holds mu.
func (l *lane) open(i int) (string, error) {
	e := l.arrived[i].entry
	if l.pos = l.pos.Next(e.GetBody()); l.pos.Seq != e.GetSeq() || string(l.pos.Hash[:]) != string(e.GetHash()) {
		return "", fmt.Errorf("%s: entry %d does not follow %d", l.room, e.GetSeq(), l.pos.Seq-1)
	}
	from, got, err := l.to.Read(l.room, e)
	if err == nil && from != l.from.User() {
		err = fmt.Errorf("it is of %q", from)
	}
	if err != nil {
		return "", fmt.Errorf("%s: entry %d: %w", l.room, e.GetSeq(), err)
	}
	return got, nil
}

// read checks that the i-th arrival says what the i-th post said. The caller
// holds mu.
func (l *lane) read(i int) error {
	got, err := l.open(i)
	if err != nil {
		return err
	}
	if want := text(l.first + i); l.refused == 0 && got != want {
		return fmt.Errorf("%s: post %d says %.20q instead of %.20q", l.room, i, got, want)
	}
	return nil
}

// begin starts a part with n posts, which it encrypts.
func (l *lane) begin(n int, bounded bool) error {
	posts := make([]load.Post, n)
	for i := range posts {
		var err error
		if posts[i], err = l.from.Encrypt(l.room, text(l.number+i)); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.first, l.number = l.number, l.number+n
	l.posts, l.begun, l.arrived, l.refused, l.bounded = posts, nil, nil, 0, bounded
	return nil
}

// put hands over the next n posts, which count from began.
func (l *lane) put(began time.Time, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for range n {
		l.begun = append(l.begun, began)
	}
	l.sender.Put(l.posts[len(l.begun)-n : len(l.begun)]...)
}

// wait waits until every post has arrived or was refused, or until nothing has
// come for a while.
func (l *lane) wait(ctx context.Context) error {
	patient := time.NewTimer(patience)
	defer patient.Stop()
	for {
		l.mu.Lock()
		done := len(l.arrived)+l.refused >= len(l.posts)
		l.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-l.news:
			patient.Reset(patience)
		case <-patient.C:
			return nil // the report says how many are missing
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// check reads everything that has arrived.
func (l *lane) check() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.arrived {
		if err := l.read(i); err != nil {
			return err
		}
	}
	return nil
}

// single makes n posts, each when the one before has been read. Encrypting and
// decrypting count.
func (l *lane) single(ctx context.Context, n int) (Part, error) {
	l.mu.Lock()
	l.reading = true
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.reading = false
		l.mu.Unlock()
	}()
	p := Part{Name: partSingle, Rooms: 1, Senders: 1, Window: 1}
	h := newHistogram()
	began, last := time.Now(), time.Now()
	for ; p.Posted < n; p.Posted++ {
		start := time.Now()
		if err := l.begin(1, false); err != nil {
			return p, err
		}
		results, err := l.from.Submit(ctx, l.posts)
		if err != nil {
			return p, err
		}
		if e := results[0].GetError(); e != nil {
			return p, fmt.Errorf("post %d was refused: %s", p.Posted, e.GetMessage())
		}
		if err := l.wait(ctx); err != nil {
			return p, err
		}
		l.mu.Lock()
		err, arrived := l.err, l.arrived
		l.mu.Unlock()
		if err != nil || len(arrived) == 0 {
			return p, fmt.Errorf("post %d did not arrive: %w", p.Posted, err)
		}
		last = arrived[0].at
		record(h, last.Sub(start))
	}
	p.done(p.Posted, began, last, h)
	return p, nil
}
