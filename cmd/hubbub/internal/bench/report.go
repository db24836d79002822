// Package bench measures what a person at one provider waits for: the time from
// a post by a client at b, through the hub a, until a client at c has it, and
// how many such posts go through at once.
//
// The providers are child processes as in package devenv, every write is
// durable wherever it passes, and both clients are real ones that keep their
// state on disk. Everything shares the machine it runs on: the figures are for
// comparing versions on one machine, not machines or products.
package bench

import (
	"fmt"
	"io"
	"runtime"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"hubbub/cmd/hubbub/internal/term"
)

// Latency is a distribution of times in milliseconds.
type Latency struct {
	Count int64   `json:"count"`
	P50   float64 `json:"p50_ms"`
	P95   float64 `json:"p95_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
}

// Throughput is what went through while posts were pipelined.
type Throughput struct {
	Rooms     int     `json:"rooms"`
	Senders   int     `json:"senders"`   // clients that posted
	Posted    int     `json:"posted"`    // messages handed to the sender's client
	Delivered int     `json:"delivered"` // of them, seen by the receiver's client
	Rejected  int     `json:"rejected"`  // of them, refused by the hub
	Seconds   float64 `json:"seconds"`   // first post to last delivery
	PerSecond float64 `json:"per_second"`
	Latency   Latency `json:"latency"`
}

// Report is the outcome of a run.
type Report struct {
	Quick        bool         `json:"quick"`
	MessageBytes int          `json:"message_bytes"`
	Providers    int          `json:"providers"`
	Durable      bool         `json:"durable"`
	Single       Latency      `json:"one_at_a_time"`
	Pipelined    []Throughput `json:"pipelined"`
	Seconds      float64      `json:"seconds"`
	CPUs         int          `json:"cpus"`
	Go           string       `json:"go"`
	Platform     string       `json:"platform"`
}

func newReport(quick bool) *Report {
	return &Report{Quick: quick, MessageBytes: messageBytes, Providers: providers, Durable: true,
		CPUs: runtime.NumCPU(), Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
}

// newHistogram counts microseconds up to five minutes with three digits.
func newHistogram() *hdr.Histogram {
	return hdr.New(1, (5 * time.Minute).Microseconds(), 3)
}

func latency(h *hdr.Histogram) Latency {
	at := func(q float64) float64 { return float64(h.ValueAtQuantile(q)) / 1000 }
	return Latency{Count: h.TotalCount(), P50: at(50), P95: at(95), P99: at(99), Max: float64(h.Max()) / 1000}
}

// Print writes the report as tables.
func (r *Report) Print(w io.Writer) error {
	fmt.Fprintf(w, "post from b through hub a until c has it; %d-byte messages, all durable; %d CPUs, %s, %s\n\n",
		r.MessageBytes, r.CPUs, r.Platform, r.Go)
	rows := [][]string{row("one at a time", "1", "1", r.Single, "")}
	for _, t := range r.Pipelined {
		rows = append(rows, row("pipelined", fmt.Sprint(t.Rooms), fmt.Sprint(t.Senders), t.Latency, fmt.Sprintf("%.0f", t.PerSecond)))
	}
	if err := term.Table(w, "", []string{"", "ROOMS", "SENDERS", "POSTS", "P50 ms", "P95 ms", "P99 ms", "MAX ms", "POSTS/s"}, rows); err != nil {
		return err
	}
	for _, t := range r.Pipelined {
		if t.Delivered != t.Posted {
			fmt.Fprintf(w, "%d rooms: %d of %d posts had not arrived when the time was up, %d were rejected\n",
				t.Rooms, t.Posted-t.Delivered, t.Posted, t.Rejected)
		}
	}
	return nil
}

func row(name, rooms, senders string, l Latency, rate string) []string {
	ms := func(v float64) string { return fmt.Sprintf("%.1f", v) }
	return []string{name, rooms, senders, fmt.Sprint(l.Count), ms(l.P50), ms(l.P95), ms(l.P99), ms(l.Max), rate}
}
