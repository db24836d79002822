package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"hubbub/client/clientpb"
	"hubbub/cmd/hubbub/internal/term"
)

// CrashOptions say what happens.
type CrashOptions struct {
	Options
	Posts int           // default 5,000, quick 1,000
	Rate  float64       // posts/s, open loop; default 500
	Down  time.Duration // how long the hub is away; default 3 s
}

// CrashReport is what became of posts while the hub was killed.
type CrashReport struct {
	Head
	Posts     int     `json:"posts"`
	Before    int     `json:"received_before_kill"`
	Bounced   int     `json:"bounced"` // the sender was told no
	Lost      int     `json:"lost"`    // neither bounced nor received
	Doubled   int     `json:"doubled"` // received more than once
	Disorder  int     `json:"disorder"`
	Recovered float64 `json:"recovered_seconds"` // from the hub's new start until everything was received
	Max       float64 `json:"max_ms"`            // longest time from when a post was due
	// With the hub killed once more and left down, of the follower's own copy:
	Readable int     `json:"readable_without_hub"`
	Reading  float64 `json:"reading_seconds"`
}

// Crash measures.
func Crash(ctx context.Context, o CrashOptions) (*CrashReport, error) {
	if o.Posts == 0 {
		o.Posts = 5000
		if o.Quick {
			o.Posts = 1000
		}
	}
	if o.Rate == 0 {
		o.Rate = 500
	}
	if o.Down == 0 {
		o.Down = 3 * time.Second
	}
	began := time.Now()
	st, err := newStage(ctx, o.Options)
	if err != nil {
		return nil, err
	}
	defer st.close()
	r := &CrashReport{Head: newHead("crash", o.Options), Posts: o.Posts}
	l, err := st.lane(ctx, nil)
	if err != nil {
		return nil, err
	}
	if err := r.post(ctx, st, l, o); err != nil {
		return nil, err
	}
	if err := r.tally(l); err != nil {
		return nil, err
	}
	if err := r.readAlone(ctx, st, l); err != nil {
		return nil, err
	}
	r.Seconds = time.Since(began).Seconds()
	return r, nil
}

// post makes the posts, kills the hub when half of them are due, and starts it
// again.
func (r *CrashReport) post(ctx context.Context, st *stage, l *lane, o CrashOptions) error {
	if err := l.begin(o.Posts, false); err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() {
		if err := l.sender.Run(ctx); err != nil {
			stop(err)
		}
	}()
	half := make(chan struct{})
	go schedule(ctx, time.Now(), o.Rate, o.Posts, func(i int, due time.Time) {
		if i == o.Posts/2 {
			close(half)
		}
		l.put(due, 1)
	})
	select {
	case <-half:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	st.progress("killing the hub")
	if err := st.env.Kill("a"); err != nil {
		return err
	}
	r.Before = l.count()
	if err := pause(ctx, o.Down); err != nil {
		return err
	}
	st.progress("starting the hub again")
	again := time.Now()
	if err := st.env.Start(ctx, "a"); err != nil {
		return err
	}
	if err := l.wait(ctx); err != nil {
		return err
	}
	r.Recovered = time.Since(again).Seconds()
	return pause(ctx, time.Second) // for what might come twice
}

// count is how much has arrived.
func (l *lane) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.arrived)
}

// tally looks at everything that was received.
func (r *CrashReport) tally(l *lane) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := map[int]int{}
	next := l.first
	for i, a := range l.arrived {
		got, err := l.open(i)
		if err != nil {
			return err
		}
		var n int
		if _, err := fmt.Sscanf(got, "message %d ", &n); err != nil {
			return fmt.Errorf("a message says %.20q", got)
		}
		if n != next {
			r.Disorder++
		}
		next = n + 1
		if seen[n]++; seen[n] > 1 {
			r.Doubled++
			continue
		}
		r.Max = max(r.Max, float64(a.at.Sub(l.begun[n-l.first]).Microseconds())/1000)
	}
	r.Bounced = l.refused
	r.Lost = r.Posts - len(seen) - r.Bounced
	return nil
}

// readAlone kills the hub for good and reads the room at c.
func (r *CrashReport) readAlone(ctx context.Context, st *stage, l *lane) error {
	st.progress("killing the hub for good, reading at c")
	if err := st.env.Kill("a"); err != nil {
		return err
	}
	began := time.Now()
	entries, err := l.to.Log(ctx, l.room, 0)
	if err != nil {
		return fmt.Errorf("reading without the hub: %w", err)
	}
	r.Reading = time.Since(began).Seconds()
	for _, e := range entries {
		if e.GetKind() == clientpb.EntryKind_ENTRY_KIND_APPLICATION {
			r.Readable++
		}
	}
	return nil
}

// Verdict is an error unless nothing bounced, was lost, doubled or out of order,
// and everything could be read without the hub.
func (r *CrashReport) Verdict() error {
	if r.Bounced+r.Lost+r.Doubled+r.Disorder == 0 && r.Readable == r.Posts {
		return nil
	}
	return errors.New("not every post was received exactly once, in order, and readable without the hub")
}

// Print writes the report as a table.
func (r *CrashReport) Print(w io.Writer) error {
	r.print(w, "the hub is killed and started again while b posts")
	return term.Table(w, "", []string{"", "RESULT"}, [][]string{
		{"posts", fmt.Sprint(r.Posts)},
		{"received when the hub was killed", fmt.Sprint(r.Before)},
		{"bounced / lost / doubled / out of order", fmt.Sprintf("%d / %d / %d / %d", r.Bounced, r.Lost, r.Doubled, r.Disorder)},
		{"all received after the hub's new start, s", fmt.Sprintf("%.2f", r.Recovered)},
		{"longest way of a post, ms", ms(r.Max)},
		{"readable at c without the hub", fmt.Sprint(r.Readable)},
		{"reading them, ms", ms(r.Reading * 1000)},
	})
}
