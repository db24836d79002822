package bench

import (
	"context"
	"fmt"
	"strings"
	"time"

	"hubbub/cmd/hubbub/internal/bench/load"
)

// PostOptions say how to measure posts; zero values stand for the defaults.
type PostOptions struct {
	Options
	Rooms  int     // of the part with many rooms; default 50
	Posts  int     // of each pipelined part; default 20,000, quick 5,000
	Window int     // posts of one sender under way at once; default 1,024
	Rate   float64 // posts/s, open loop; 0 = as fast as the window lets
	Only   string  // OnlySingle, OnlyOne, OnlyMany; "" = all parts
}

// Parts that PostOptions.Only names.
const (
	OnlySingle = "single"
	OnlyOne    = "one"
	OnlyMany   = "many"
)

func (o *PostOptions) setDefaults() {
	if o.Rooms == 0 {
		o.Rooms = manyRooms
	}
	if o.Posts == 0 {
		o.Posts = 20000
		if o.Quick {
			o.Posts = 5000
		}
	}
	if o.Window == 0 {
		o.Window = 1024
	}
}

// singles is how many posts are made one at a time.
func (o *PostOptions) singles() int { return min(o.Posts/5, 1000) }

// Post runs the whole measurement.
func Post(ctx context.Context, o PostOptions) (*PostReport, error) {
	o.setDefaults()
	began := time.Now()
	st, err := newStage(ctx, o.Options)
	if err != nil {
		return nil, err
	}
	defer st.close()
	r := &PostReport{Head: newHead("post", o.Options), MessageBytes: messageBytes}
	if o.Clients == ClientsSDK {
		r.Parts, err = postSDK(ctx, st, o.Quick)
	} else {
		r.Parts, err = postLoad(ctx, st, o)
	}
	r.Seconds = time.Since(began).Seconds()
	return r, err
}

// postLoad runs the parts with load clients: one pair of sender and receiver
// for the one room, others for the many.
func postLoad(ctx context.Context, st *stage, o PostOptions) ([]Part, error) {
	n := 1
	if o.Only == "" || o.Only == OnlyMany {
		n += o.Rooms
	}
	st.progress("making %d rooms with a sender and a receiver each", n)
	lanes, err := st.lanes(ctx, n)
	if err != nil {
		return nil, err
	}
	var parts []Part
	add := func(only string, run func() (Part, error)) error {
		if o.Only != "" && o.Only != only {
			return nil
		}
		p, err := run()
		if err == nil {
			parts = append(parts, p)
		}
		return err
	}
	err = add(OnlySingle, func() (Part, error) {
		st.progress("%d posts, one at a time", o.singles())
		return measured(st, func() (Part, error) { return lanes[0].single(ctx, o.singles()) })
	})
	if err != nil {
		return nil, err
	}
	if err := add(OnlyOne, func() (Part, error) { return st.pipelined(ctx, lanes[:1], o) }); err != nil {
		return nil, err
	}
	return parts, add(OnlyMany, func() (Part, error) { return st.pipelined(ctx, lanes[1:], o) })
}

// lanes makes n rooms of one owner at the hub, each with a sender at b and a
// receiver at c of its own. All are connected.
func (st *stage) lanes(ctx context.Context, n int) ([]*lane, error) {
	alice, err := st.user(ctx, 0, "alice")
	if err != nil {
		return nil, err
	}
	if _, err := st.connect(ctx, alice, load.Handler{}); err != nil {
		return nil, err
	}
	lanes := make([]*lane, n)
	err = each(n, func(i int) (err error) {
		l := newLane()
		lanes[i] = l
		if l.from, err = st.user(ctx, 1, fmt.Sprintf("bob%d", i)); err != nil {
			return err
		}
		if l.to, err = st.user(ctx, 2, fmt.Sprintf("cathy%d", i)); err != nil {
			return err
		}
		if _, err := st.connect(ctx, l.from, load.Handler{Joined: l.fromJoined, Submission: l.submission}); err != nil {
			return err
		}
		if _, err := st.connect(ctx, l.to, load.Handler{Joined: l.toJoined, Entry: l.entry}); err != nil {
			return err
		}
		if l.room, err = st.room(ctx, alice, l.from, l.to); err != nil {
			return err
		}
		return l.ready(ctx)
	})
	return lanes, err
}

// connect opens a device's stream until the stage is closed.
func (st *stage) connect(ctx context.Context, d *load.Device, h load.Handler) (*load.Stream, error) {
	s, err := d.Connect(ctx, h)
	if err != nil {
		return nil, err
	}
	st.later(func() { s.Close(); d.Close() })
	return s, s.Live(ctx)
}

// pipelined posts to all lanes at once. Everything is encrypted before the clock
// starts, and decrypted and compared after it has stopped.
func (st *stage) pipelined(ctx context.Context, lanes []*lane, o PostOptions) (Part, error) {
	p := Part{Name: partName(len(lanes)), Rooms: len(lanes), Senders: len(lanes), Window: o.Window, Rate: o.Rate}
	per := o.Posts / len(lanes)
	st.progress("%d posts to %s", per*len(lanes), p.Name)
	if err := each(len(lanes), func(i int) error { return lanes[i].begin(per, o.Rate == 0) }); err != nil {
		return p, err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	before := usages(st.env)
	began := time.Now()
	for _, l := range lanes {
		go func() {
			if err := l.sender.Run(ctx); err != nil {
				stop(err)
			}
		}()
	}
	if o.Rate > 0 {
		p.Window = 0
		go schedule(ctx, began, o.Rate, per*len(lanes), func(i int, due time.Time) { lanes[i%len(lanes)].put(due, 1) })
	} else {
		for _, l := range lanes {
			l.put(began, min(o.Window, per))
		}
	}
	for _, l := range lanes {
		if err := l.wait(ctx); err != nil {
			return p, err
		}
	}
	p.Processes = usages(st.env)
	return p, finish(&p, lanes, began, before)
}

// finish checks what has arrived and adds it up.
func finish(p *Part, lanes []*lane, began time.Time, before []Usage) error {
	h := newHistogram()
	last := began
	delivered := 0
	for _, l := range lanes {
		if err := l.check(); err != nil {
			return err
		}
		for i, e := range l.arrived {
			record(h, e.at.Sub(l.begun[i]))
		}
		if n := len(l.arrived); n > 0 && l.arrived[n-1].at.After(last) {
			last = l.arrived[n-1].at
		}
		delivered += len(l.arrived)
		p.Posted += len(l.begun)
		p.Rejected += l.refused
	}
	p.done(delivered, began, last, h)
	p.Processes = usedSince(before, p.Processes, delivered)
	return nil
}

// text is a message of messageBytes octets that differs from all others.
func text(n int) string {
	s := fmt.Sprintf("message %d ", n)
	return s + strings.Repeat("x", messageBytes-len(s))
}
