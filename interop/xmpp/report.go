package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// report is everything a run has measured.
type report struct {
	Began     string   `json:"began"`
	Seconds   float64  `json:"seconds"`
	Versions  []string `json:"versions"`
	BodyBytes int      `json:"body_bytes"`
	Window    int      `json:"window"`
	Machine   machine  `json:"machine"`
	Works     []work   `json:"works"`
}

// work is one work done by one server software with one store.
type work struct {
	Server   string  `json:"server"`
	Store    string  `json:"store"`
	Name     string  `json:"name"`
	Rooms    int     `json:"rooms"`
	Messages int     `json:"messages"`
	Asked    int     `json:"asked"` // more than Messages if the time limit was reached
	Users    int     `json:"users,omitempty"`
	Idle     float64 `json:"idle_share_before"`

	// Until the receiver has it, or the last of many; until the sender has his
	// own message back. Of "one" and "many" mostly waiting in line.
	Receiver  spread  `json:"receiver_ms"`
	Reflected spread  `json:"reflected_ms"`
	Seconds   float64 `json:"seconds"`
	PerSecond float64 `json:"per_second"` // messages, until receivers have all

	CPU       [3]float64 `json:"cpu_seconds"` // of each server
	Generator float64    `json:"generator_cpu_seconds"`
}

// spread is a distribution in the unit its place says.
type spread struct {
	N   int     `json:"n"`
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// spreadOf sorts took.
func spreadOf(took []time.Duration, unit time.Duration) spread {
	slices.SortFunc(took, cmp.Compare[time.Duration])
	if len(took) == 0 {
		return spread{}
	}
	// The p-quantile is the least value that a share p of all does not exceed.
	at := func(percent int) float64 {
		i := (len(took)*percent + 99) / 100
		return float64(took[max(0, i-1)]) / float64(unit)
	}
	return spread{len(took), at(50), at(95), at(99), at(100)}
}

func (r *report) print(out io.Writer) {
	m := r.Machine
	fmt.Fprintf(out, "\n%s, %s\n", r.Began, strings.Join(r.Versions, ", "))
	fmt.Fprintf(out, "this machine: %d processors, load %s, idle %.0f %%\n", m.CPUs, m.Load, 100*m.IdleShare)
	fmt.Fprintf(out, "write and fdatasync of %d octets, ms p50 / p99: file grows %.2f / %.2f, in place %.2f / %.2f\n",
		syncBytes, m.SyncGrows.P50, m.SyncGrows.P99, m.SyncSame.P50, m.SyncSame.P99)
	fmt.Fprintf(out, "one hop to a waiting process, µs p50 / p99: without pause %.0f / %.0f, after a pause of %v %.0f / %.0f\n\n",
		m.WakeWarm.P50, m.WakeWarm.P99, coldPause, m.WakeCold.P50, m.WakeCold.P99)

	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "work\tserver\tstore\tmessages\treceiver p50\tp95\tp99 ms\treflected p50\tp95\tp99 ms\t/s\tCPU ms/message s1\ts2\ts3\tgenerator\tidle before")
	for _, k := range r.Works {
		per := 1000 / float64(max(1, k.Messages))
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.0f\t%.2f\t%.2f\t%.2f\t%.2f\t%.0f %%\n",
			k.Name, k.Server, k.Store, k.Messages, k.Receiver.P50, k.Receiver.P95, k.Receiver.P99,
			k.Reflected.P50, k.Reflected.P95, k.Reflected.P99, k.PerSecond,
			per*k.CPU[0], per*k.CPU[1], per*k.CPU[2], per*k.Generator, 100*k.Idle)
	}
	w.Flush()
	for _, k := range r.Works {
		if k.Messages < k.Asked {
			fmt.Fprintf(out, "%s of %s with %s: stopped at %d of %d messages by -limit\n", k.Name, k.Server, k.Store, k.Messages, k.Asked)
		}
	}
	fmt.Fprintf(out, "%.0f s in all\n", r.Seconds)
}
