package bench

import (
	"context"
	"fmt"
	"io"
	"time"

	"hubbub/cmd/hubbub/internal/bench/load"
	"hubbub/cmd/hubbub/internal/term"
)

// IdleOptions say how many clients do nothing.
type IdleOptions struct {
	Options
	Connected int           // default 5,000, quick 500
	Settle    time.Duration // before memory is read; default 20 s
}

// IdleReport is what connected clients that do nothing cost their provider.
type IdleReport struct {
	Head
	Connected  int     `json:"connected"`
	Before     uint64  `json:"rss_before_bytes"` // with the users, none connected
	After      uint64  `json:"rss_after_bytes"`
	PerClient  float64 `json:"kib_per_client"`
	CPU        float64 `json:"cpu_ms_per_second"`        // while all are idle
	Connecting float64 `json:"cpu_ms_per_connection"`    // of the provider
	Took       float64 `json:"connecting_seconds"`       // all of them
	Lost       int     `json:"lost"`                     // streams that ended meanwhile
	Settled    float64 `json:"settle_seconds,omitempty"` // waited before each reading
}

// Idle measures. The provider is started anew after the users were made, so that
// making them is in neither reading.
func Idle(ctx context.Context, o IdleOptions) (*IdleReport, error) {
	if o.Connected == 0 {
		o.Connected = 5000
		if o.Quick {
			o.Connected = 500
		}
	}
	if o.Settle == 0 {
		o.Settle = 20 * time.Second
	}
	began := time.Now()
	st, err := newStage(ctx, o.Options)
	if err != nil {
		return nil, err
	}
	defer st.close()
	r := &IdleReport{Head: newHead("idle", o.Options), Connected: o.Connected, Settled: o.Settle.Seconds()}
	st.progress("making %d users of c", o.Connected)
	users := make([]*load.Device, o.Connected)
	err = each(len(users), func(i int) (err error) {
		users[i], err = st.user(ctx, 2, fmt.Sprintf("u%d", i))
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := st.env.Stop("c"); err != nil {
		return nil, err
	}
	if err := st.env.Start(ctx, "c"); err != nil {
		return nil, err
	}
	if err := r.measure(ctx, st, users, o.Settle); err != nil {
		return nil, err
	}
	r.Seconds = time.Since(began).Seconds()
	return r, nil
}

func (r *IdleReport) measure(ctx context.Context, st *stage, users []*load.Device, settle time.Duration) error {
	pid := st.pid("c")
	if err := pause(ctx, settle); err != nil {
		return err
	}
	before := usageOf("c", pid)
	st.progress("connecting %d clients", len(users))
	streams := make([]*load.Stream, len(users))
	began := time.Now()
	err := each(len(users), func(i int) (err error) {
		streams[i], err = st.connect(ctx, users[i], load.Handler{NoGroups: true})
		return err
	})
	if err != nil {
		return err
	}
	r.Took = time.Since(began).Seconds()
	r.Connecting = (usageOf("c", pid).CPU - before.CPU) * 1000 / float64(len(users))
	if err := pause(ctx, settle); err != nil {
		return err
	}
	settled := usageOf("c", pid)
	if err := pause(ctx, settle); err != nil {
		return err
	}
	after := usageOf("c", pid)
	for _, s := range streams {
		select {
		case <-s.Done():
			r.Lost++
		default:
		}
	}
	r.Before, r.After = before.RSS, after.RSS
	r.PerClient = (float64(after.RSS) - float64(before.RSS)) / 1024 / float64(len(users))
	r.CPU = (after.CPU - settled.CPU) * 1000 / settle.Seconds()
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Print writes the report as a table.
func (r *IdleReport) Print(w io.Writer) error {
	r.print(w, fmt.Sprintf("%d clients connected to c, idle", r.Connected))
	return term.Table(w, "", []string{"", "RESULT"}, [][]string{
		{"RSS before, MB", fmt.Sprintf("%.1f", float64(r.Before)/1e6)},
		{"RSS after, MB", fmt.Sprintf("%.1f", float64(r.After)/1e6)},
		{"KiB per client", fmt.Sprintf("%.1f", r.PerClient)},
		{"CPU while idle, ms/s", fmt.Sprintf("%.1f", r.CPU)},
		{"CPU per connection, ms", fmt.Sprintf("%.2f", r.Connecting)},
		{"connecting all, s", fmt.Sprintf("%.1f", r.Took)},
		{"streams lost", fmt.Sprint(r.Lost)},
	})
}
