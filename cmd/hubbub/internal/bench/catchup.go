package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"hubbub/client/clientpb"
	"hubbub/cmd/hubbub/internal/bench/load"
	"hubbub/cmd/hubbub/internal/term"
	"hubbub/mimi"
)

// CatchUpOptions say how much a follower missed.
type CatchUpOptions struct {
	Options
	Entries int // default 100,000, quick 10,000
}

// CatchUpReport is how long a follower takes that was down.
type CatchUpReport struct {
	Head
	MessageBytes int     `json:"message_bytes"`
	Entries      int     `json:"entries"`
	Accepting    float64 `json:"accepting_per_second"` // by the hub, of one sender, while the follower was down
	Starting     float64 `json:"starting_seconds"`     // until the follower answered
	Reached      float64 `json:"reached_seconds"`      // until its head was the hub's, from its start
	// PerSecond is entries by the time from when the follower answered; what it
	// took in before that counts too.
	PerSecond float64 `json:"entries_per_second"`
	HubPeak   uint64  `json:"hub_peak_bytes"` // largest RSS while the follower caught up
	Peak      uint64  `json:"follower_peak_bytes"`
	Processes []Usage `json:"processes"`
}

// CatchUp measures.
func CatchUp(ctx context.Context, o CatchUpOptions) (*CatchUpReport, error) {
	if o.Entries == 0 {
		o.Entries = 100000
		if o.Quick {
			o.Entries = 10000
		}
	}
	began := time.Now()
	st, err := newStage(ctx, o.Options)
	if err != nil {
		return nil, err
	}
	defer st.close()
	r := &CatchUpReport{Head: newHead("catchup", o.Options), MessageBytes: messageBytes, Entries: o.Entries}
	if err := r.run(ctx, st); err != nil {
		return nil, err
	}
	r.Seconds = time.Since(began).Seconds()
	return r, nil
}

func (r *CatchUpReport) run(ctx context.Context, st *stage) error {
	alice, err := st.user(ctx, 0, "alice")
	if err != nil {
		return err
	}
	if _, err := st.connect(ctx, alice, load.Handler{}); err != nil {
		return err
	}
	cathy, err := st.user(ctx, 2, "cathy")
	if err != nil {
		return err
	}
	room, err := st.room(ctx, alice, cathy)
	if err != nil {
		return err
	}
	err = wait(ctx, "c to have the room", func(ctx context.Context) (bool, error) {
		_, err := cathy.Room(ctx, room)
		return err == nil, err
	})
	if err != nil {
		return err
	}
	if err := st.env.Stop("c"); err != nil {
		return err
	}
	st.progress("c is down, the hub takes %d posts", r.Entries)
	if r.Accepting, err = accept(ctx, alice, room, r.Entries); err != nil {
		return err
	}
	goal, err := alice.Room(ctx, room)
	if err != nil {
		return err
	}
	return r.follow(ctx, st, cathy, goal)
}

// accept posts n messages to a room of the sender's own provider.
func accept(ctx context.Context, by *load.Device, room mimi.RoomURI, n int) (perSecond float64, err error) {
	began := time.Now()
	for i := 0; i < n; {
		var posts []load.Post
		for ; i < n && len(posts) < load.MaxTogether; i++ {
			p, err := by.Encrypt(room, text(i))
			if err != nil {
				return 0, err
			}
			posts = append(posts, p)
		}
		results, err := by.Submit(ctx, posts)
		if err != nil {
			return 0, err
		}
		for _, r := range results {
			if e := r.GetError(); e != nil {
				return 0, fmt.Errorf("a post was refused: %s", e.GetMessage())
			}
		}
	}
	return float64(n) / time.Since(began).Seconds(), nil
}

// follow starts c and waits until its head is the hub's.
func (r *CatchUpReport) follow(ctx context.Context, st *stage, cathy *load.Device, goal *clientpb.Room) error {
	st.progress("c starts")
	hub := st.pid("a")
	resetPeak(hub)
	before := usages(st.env)
	before = append(before, Usage{Name: "c"}) // a new process
	began := time.Now()
	if err := st.env.Start(ctx, "c"); err != nil {
		return err
	}
	ready := time.Now()
	ctx, cancel := context.WithTimeout(ctx, 20*patience)
	defer cancel()
	for {
		have, err := cathy.Room(ctx, mimi.RoomURI(goal.GetRoom()))
		if err == nil && have.GetHead().GetSeq() >= goal.GetHead().GetSeq() {
			if !bytes.Equal(have.GetHead().GetHash(), goal.GetHead().GetHash()) {
				return fmt.Errorf("c has another history than the hub at %d", goal.GetHead().GetSeq())
			}
			break
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("c is at %d of %d: %w", have.GetHead().GetSeq(), goal.GetHead().GetSeq(), ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
	r.Starting, r.Reached = ready.Sub(began).Seconds(), time.Since(began).Seconds()
	r.PerSecond = float64(r.Entries) / time.Since(ready).Seconds()
	r.Processes = usedSince(before, usages(st.env), r.Entries)
	r.HubPeak, r.Peak = peak(hub), peak(st.pid("c"))
	return nil
}

// pid is the process of a provider.
func (st *stage) pid(name string) int {
	for _, s := range st.env.States() {
		if s.Name == name {
			return s.PID
		}
	}
	return 0
}

// resetPeak begins a new high-water mark of a process's memory, where the system
// can.
func resetPeak(pid int) { os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0) }

// peak is the high-water mark of a process's memory, in octets.
func peak(pid int) uint64 { return fields(fmt.Sprintf("/proc/%d/status", pid))["VmHWM"] << 10 }

// Print writes the report as a table.
func (r *CatchUpReport) Print(w io.Writer) error {
	r.print(w, fmt.Sprintf("c was down while the hub took %d posts", r.Entries))
	rows := [][]string{
		{"hub accepting, posts/s", fmt.Sprintf("%.0f", r.Accepting)},
		{"c answers after, s", fmt.Sprintf("%.2f", r.Starting)},
		{"c has all, the same head as the hub, after, s", fmt.Sprintf("%.2f", r.Reached)},
		{"entries/s from when c answers", fmt.Sprintf("%.0f", r.PerSecond)},
		{"largest RSS of the hub, MB", fmt.Sprintf("%.0f", float64(r.HubPeak)/1e6)},
		{"largest RSS of c, MB", fmt.Sprintf("%.0f", float64(r.Peak)/1e6)},
	}
	for _, u := range r.Processes {
		if u.Name == "a" || u.Name == "c" {
			rows = append(rows, []string{"CPU of " + u.Name + ", µs per entry", fmt.Sprintf("%.1f", u.PerMessage)})
		}
	}
	return term.Table(w, "", []string{"", "RESULT"}, rows)
}
