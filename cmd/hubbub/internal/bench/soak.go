package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hubbub/cmd/hubbub/internal/devenv"
	"hubbub/cmd/hubbub/internal/term"
)

// SoakOptions say how long and how much.
type SoakOptions struct {
	Options
	Minutes float64 // default 10
	Rate    float64 // posts/s over all rooms, open loop; default 200
	Rooms   int     // default 4
	Memory  string  // GOMEMLIMIT of every provider; default 96MiB
}

// SoakReport is how the providers held up.
type SoakReport struct {
	Head
	Minutes    float64 `json:"minutes"`
	Rate       float64 `json:"rate"`
	Memory     string  `json:"memory_limit"`
	Posted     int     `json:"posted"`
	Received   int     `json:"received"`   // by the other resident of the room, each once
	Again      int     `json:"sent_again"` // encrypted anew, their epoch being over
	Lost       int     `json:"lost"`
	Changes    int     `json:"membership_changes"`
	Reconnects int     `json:"reconnects"`
	Gauges     []Gauge `json:"gauges"`
}

const (
	sampleEvery = 2 * time.Second
	changeEvery = time.Second
	// visitors come to a room and are taken out again.
	visitors = 4
)

func (o *SoakOptions) setDefaults() {
	if o.Minutes == 0 {
		o.Minutes = 10
		if o.Quick {
			o.Minutes = 1
		}
	}
	if o.Rate == 0 {
		// In ten minutes enough for the database to outgrow its page cache.
		o.Rate = 200
	}
	if o.Rooms == 0 {
		// Providers keep the last few thousand entries of each busy room in
		// memory: that must be full well before the last third of the run.
		o.Rooms = 4
	}
	if o.Memory == "" {
		o.Memory = "96MiB"
	}
	o.Environ = append(o.Environ, "GOMEMLIMIT="+o.Memory)
	dir := o.Dir
	o.serve = func(p devenv.Provider) []string { return []string{"--statsfile", statsFile(dir, p.Name)} }
}

// statsFile is where a provider tells of its heap and goroutines.
func statsFile(dir, name string) string { return filepath.Join(dir, name+".stats") }

// Soak runs a mixed load and watches the providers.
func Soak(ctx context.Context, o SoakOptions) (*SoakReport, error) {
	o.setDefaults()
	began := time.Now()
	st, err := newStage(ctx, o.Options)
	if err != nil {
		return nil, err
	}
	defer st.close()
	s, err := newSoak(ctx, st, o)
	if err != nil {
		return nil, err
	}
	st.progress("%.3g posts/s for %.3g minutes, with members coming and going and connections lost", o.Rate, o.Minutes)
	if err := s.run(ctx, o); err != nil {
		return nil, err
	}
	r := s.report()
	r.Head, r.Minutes, r.Rate, r.Memory = newHead("soak", o.Options), o.Minutes, o.Rate, o.Memory
	r.Seconds = time.Since(began).Seconds()
	return r, nil
}

// run plays the load to its end and waits for what is under way.
func (s *soak) run(ctx context.Context, o SoakOptions) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	for _, r := range s.residents() {
		go func() {
			if err := r.sender.Run(ctx); err != nil {
				stop(err)
			}
		}()
	}
	length := time.Duration(o.Minutes * float64(time.Minute))
	posting, end := context.WithTimeout(ctx, length)
	defer end()
	go func() {
		if err := s.disturb(posting); err != nil && posting.Err() == nil {
			stop(fmt.Errorf("changing rooms: %w", err))
		}
	}()
	go s.watch(posting)
	n := int(o.Rate * length.Seconds())
	schedule(posting, time.Now(), o.Rate, n, func(i int, _ time.Time) {
		if err := s.rooms[i%len(s.rooms)].post(i); err != nil {
			stop(err)
		}
	})
	<-posting.Done()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return s.drain(ctx)
}

// disturb brings visitors in and takes them out, and cuts connections, each
// about once a second.
func (s *soak) disturb(ctx context.Context) error {
	t := time.NewTicker(changeEvery)
	defer t.Stop()
	for turn := 0; ; turn++ {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
		room := s.rooms[rand.N(len(s.rooms))]
		if err := room.change(ctx, s, turn); err != nil {
			return err
		}
		all := s.residents()
		if err := all[rand.N(len(all))].reconnect(ctx); err != nil {
			return err
		}
		s.reconnects++
	}
}

// sample is what is read of each provider.
var sampled = []struct {
	name, unit string
	slack      float64
	read       func(p devenv.Provider, pid int, dir string) float64
}{
	{"RSS", "MB", 4, func(_ devenv.Provider, pid int, _ string) float64 { return float64(usageOf("", pid).RSS) / 1e6 }},
	{"heap", "MB", 4, func(p devenv.Provider, _ int, dir string) float64 {
		return float64(fields(statsFile(dir, p.Name))["heap"]) / 1e6
	}},
	{"goroutines", "", 16, func(p devenv.Provider, _ int, dir string) float64 {
		return float64(fields(statsFile(dir, p.Name))["goroutines"])
	}},
	{"WAL", "MB", 16, func(p devenv.Provider, _ int, _ string) float64 { return walSize(p.Data) / 1e6 }},
	{"file descriptors", "", 8, func(_ devenv.Provider, pid int, _ string) float64 {
		list, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		return float64(len(list))
	}},
}

// walSize adds up the write-ahead logs of a data directory.
func walSize(dir string) (size float64) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if info, err := e.Info(); err == nil && strings.HasSuffix(e.Name(), "-wal") {
			size += float64(info.Size())
		}
	}
	return size
}

// watch reads the gauges until ctx ends.
func (s *soak) watch(ctx context.Context) {
	t := time.NewTicker(sampleEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		s.mu.Lock()
		for _, p := range s.st.env.Providers {
			for i, g := range sampled {
				key := [2]string{p.Name, sampled[i].name}
				s.series[key] = append(s.series[key], g.read(p, s.st.pid(p.Name), s.st.env.Dir))
			}
		}
		s.mu.Unlock()
	}
}

func (s *soak) report() *SoakReport {
	r := &SoakReport{Changes: s.changes, Reconnects: s.reconnects}
	for _, m := range s.residents() {
		posted, received, again := m.counts()
		r.Posted, r.Received, r.Again = r.Posted+posted, r.Received+received, r.Again+again
	}
	r.Lost = r.Posted - r.Received
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.st.env.Providers {
		for _, g := range sampled {
			r.Gauges = append(r.Gauges, judge(p.Name+": "+g.name, g.unit, s.series[[2]string{p.Name, g.name}], g.slack))
		}
	}
	return r
}

// Verdict is an error unless every gauge reached a plateau and nothing was lost.
func (r *SoakReport) Verdict() error {
	for _, g := range r.Gauges {
		if !g.Plateau {
			return fmt.Errorf("%s was still growing", g.Name)
		}
	}
	if r.Lost != 0 {
		return fmt.Errorf("%d posts were lost", r.Lost)
	}
	if len(r.Gauges) == 0 {
		return errors.New("nothing was measured")
	}
	return nil
}

// Print writes the report as tables.
func (r *SoakReport) Print(w io.Writer) error {
	r.print(w, fmt.Sprintf("%.3g posts/s for %.3g minutes, GOMEMLIMIT=%s", r.Rate, r.Minutes, r.Memory))
	fmt.Fprintf(w, "%d posts, %d received, %d lost, %d sent again in a new epoch; %d membership changes, %d reconnects\n\n",
		r.Posted, r.Received, r.Lost, r.Again, r.Changes, r.Reconnects)
	var rows [][]string
	for _, g := range r.Gauges {
		rows = append(rows, g.row())
	}
	return term.Table(w, "", []string{"", "", "1ST THIRD", "2ND", "3RD", "MAX", "ALLOWED", "PLATEAU"}, rows)
}
