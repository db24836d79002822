package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// lane is a room with a sender at s2 and a receiver at s3. Posts are numbered
// from 0 and must arrive in order, each once.
type lane struct {
	room    string
	from    *client
	to      *client
	sent    []time.Time // by number
	arrived side        // at the receiver
	back    side        // at the sender
	err     chan error  // the first post out of place
}

// side is what has come to one end of a lane. The reader of that end writes it;
// count says how much others may read.
type side struct {
	at    []time.Time
	count atomic.Int64
	more  chan struct{} // holds a value when count has grown
}

func (st *stage) lane(ctx context.Context, name string) (*lane, error) {
	room, err := st.room(ctx, name)
	if err != nil {
		return nil, err
	}
	l := &lane{room: room, err: make(chan error, 1)}
	if l.from, err = st.login(ctx, 1, "bob-"+name); err != nil {
		return nil, err
	}
	if err := l.from.join(ctx, room, "bob"); err != nil {
		return nil, err
	}
	if l.to, err = st.login(ctx, 2, "cathy-"+name); err != nil {
		return nil, err
	}
	return l, l.to.join(ctx, room, "cathy")
}

// begin makes room for n posts.
func (l *lane) begin(n int) {
	l.sent = make([]time.Time, 0, n)
	l.watch(l.to, &l.arrived, n)
	l.watch(l.from, &l.back, n)
}

func (l *lane) watch(c *client, s *side, n int) {
	s.at, s.more = make([]time.Time, n), make(chan struct{}, 1)
	s.count.Store(0)
	c.onPost(func(got int, at time.Time) {
		want := int(s.count.Load())
		if got != want || want == n {
			select {
			case l.err <- fmt.Errorf("post %d came where %d was due", got, want):
			default:
			}
			return
		}
		s.at[got] = at
		s.count.Add(1)
		select {
		case s.more <- struct{}{}:
		default:
		}
	})
}

// wait waits until n posts have come to one end.
func (l *lane) wait(ctx context.Context, s *side, n int) error {
	for int(s.count.Load()) < n {
		select {
		case <-s.more:
		case err := <-l.err:
			return err
		case <-l.from.ended:
			return l.from.err
		case <-l.to.ended:
			return l.to.err
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(patience):
			return fmt.Errorf("%d of %d posts came, and then none for %v", s.count.Load(), n, patience)
		}
	}
	return nil
}

// single sends posts one at a time: the next when both ends have the last.
func (l *lane) single(ctx context.Context, n int) error {
	l.begin(n)
	for i := range n {
		l.sent = append(l.sent, time.Now())
		if err := l.from.send(message(l.room, i)); err != nil {
			return err
		}
		if err := l.settle(ctx); err != nil {
			return err
		}
	}
	return nil
}

// settle waits until all that was sent is at both ends.
func (l *lane) settle(ctx context.Context) error {
	if err := l.wait(ctx, &l.arrived, len(l.sent)); err != nil {
		return err
	}
	return l.wait(ctx, &l.back, len(l.sent))
}

// pipeline sends n posts with a window of unanswered ones, and stops sending
// when the time is up. Posts that may go at once go in one write.
func (l *lane) pipeline(ctx context.Context, n, window int, until time.Time) error {
	for len(l.sent) < n && time.Now().Before(until) {
		if err := l.wait(ctx, &l.back, len(l.sent)-window+1); err != nil {
			return err
		}
		var batch strings.Builder
		room := window - (len(l.sent) - int(l.back.count.Load()))
		for range min(room, n-len(l.sent), 64) {
			batch.WriteString(message(l.room, len(l.sent)))
			l.sent = append(l.sent, time.Now())
		}
		if err := l.from.send(batch.String()); err != nil {
			return err
		}
	}
	return l.settle(ctx)
}

// work does one of allWorks.
func (st *stage) work(ctx context.Context, name string, o options) (*work, error) {
	progress("%s with %s: %s", st.server, st.store, name)
	switch name {
	case "single":
		return st.single(ctx, o)
	case "one":
		return st.pipelined(ctx, o, name, 1)
	case "many":
		return st.pipelined(ctx, o, name, o.rooms)
	default:
		return st.fan(ctx, o)
	}
}

func (st *stage) single(ctx context.Context, o options) (*work, error) {
	l, err := st.lane(ctx, "single")
	if err != nil {
		return nil, err
	}
	w := &work{Name: "single", Rooms: 1, Messages: o.singles, Asked: o.singles}
	if err := st.measured(ctx, o, w, func() error { return l.single(ctx, o.singles) }); err != nil {
		return nil, err
	}
	w.take([]*lane{l})
	return w, nil
}

// pipelined sends to all lanes at once, as fast as the window lets.
func (st *stage) pipelined(ctx context.Context, o options, name string, rooms int) (*work, error) {
	lanes := make([]*lane, rooms)
	per := o.messages / rooms
	for i := range lanes {
		l, err := st.lane(ctx, fmt.Sprintf("%s%d", name, i))
		if err != nil {
			return nil, err
		}
		l.begin(per)
		lanes[i] = l
	}
	w := &work{Name: name, Rooms: rooms, Asked: per * rooms}
	err := st.measured(ctx, o, w, func() error {
		began := time.Now()
		errs := make(chan error, rooms)
		for _, l := range lanes {
			go func() { errs <- l.pipeline(ctx, per, o.window, began.Add(o.limit)) }()
		}
		for range lanes {
			if err := <-errs; err != nil {
				return err
			}
		}
		last := began
		for _, l := range lanes {
			w.Messages += len(l.sent)
			if n := len(l.sent); n > 0 && l.arrived.at[n-1].After(last) {
				last = l.arrived.at[n-1]
			}
		}
		w.Seconds = last.Sub(began).Seconds()
		return nil
	})
	w.take(lanes)
	return w, err
}

// take adds up how long the posts of lanes took.
func (w *work) take(lanes []*lane) {
	var there, back []time.Duration
	for _, l := range lanes {
		for i, sent := range l.sent {
			there = append(there, l.arrived.at[i].Sub(sent))
			back = append(back, l.back.at[i].Sub(sent))
		}
	}
	w.Receiver, w.Reflected = spreadOf(there, time.Millisecond), spreadOf(back, time.Millisecond)
}

// joiners is how many users come into a room at once.
const joiners = 16

// fan sends posts one at a time to a room with many users of s3. The clock of
// each stops when the last of them has it.
func (st *stage) fan(ctx context.Context, o options) (*work, error) {
	l, err := st.lane(ctx, "fan")
	if err != nil {
		return nil, err
	}
	if err := st.alice.hush(ctx, l.room); err != nil {
		return nil, err
	}
	users, err := st.crowd(ctx, l.room, o.users)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, c := range users {
			c.close()
		}
	}()
	n := o.posts
	left := make([]atomic.Int64, n)
	last := make([]time.Time, n)
	all := make(chan int, n)
	for i := range left {
		left[i].Store(int64(len(users)))
	}
	for _, c := range users {
		c.onPost(func(i int, at time.Time) {
			if i < n && left[i].Add(-1) == 0 {
				last[i] = at
				all <- i
			}
		})
	}
	l.begin(n)
	w := &work{Name: "fan", Rooms: 1, Messages: n, Asked: n, Users: len(users)}
	if err := st.measured(ctx, o, w, func() error { return l.fan(ctx, n, all) }); err != nil {
		return nil, err
	}
	w.take([]*lane{l})
	took := make([]time.Duration, n)
	for i := range took {
		took[i] = last[i].Sub(l.sent[i])
	}
	w.Receiver = spreadOf(took, time.Millisecond)
	return w, nil
}

// fan sends posts one at a time: the next when the lane and all others have the
// last, of which the channel tells.
func (l *lane) fan(ctx context.Context, n int, all <-chan int) error {
	for i := range n {
		l.sent = append(l.sent, time.Now())
		if err := l.from.send(message(l.room, i)); err != nil {
			return err
		}
		if err := l.settle(ctx); err != nil {
			return err
		}
		select {
		case <-all:
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(patience):
			return fmt.Errorf("post %d did not come to all users in %v", i, patience)
		}
	}
	return nil
}

// crowd is n users of s3 in a room.
func (st *stage) crowd(ctx context.Context, room string, n int) ([]*client, error) {
	users := make([]*client, n)
	errs := make([]error, joiners)
	var wg sync.WaitGroup
	for j := range joiners {
		wg.Go(func() {
			for i := j; i < n && errs[j] == nil; i += joiners {
				user := fmt.Sprintf("user%d", i)
				if users[i], errs[j] = login(ctx, 2, user, st.ca); errs[j] == nil {
					errs[j] = users[i].join(ctx, room, user)
				}
			}
		})
	}
	wg.Wait()
	var in []*client
	for _, c := range users {
		if c != nil {
			in = append(in, c)
		}
	}
	for _, err := range errs {
		if err != nil {
			for _, c := range in {
				c.close()
			}
			return nil, err
		}
	}
	return in, nil
}
