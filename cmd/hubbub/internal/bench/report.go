// Package bench measures what Hubbub does: how long a post by a client at b takes
// through the hub a until a client at c has it, how many go through at once, and
// what a large room, an absence, idle clients and a crash cost.
//
// The providers are child processes as in package devenv, and every write is
// durable wherever it passes. The clients are those of package load, which are
// real members of real groups but keep nothing on disk, or those of the SDK.
// Everything shares the machine it runs on: the figures are for comparing
// versions on one machine, not machines or products.
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

// Head is what every report begins with.
type Head struct {
	Scenario  string  `json:"scenario"`
	Clients   string  `json:"clients"` // load or sdk
	Quick     bool    `json:"quick"`
	Providers int     `json:"providers"`
	Durable   bool    `json:"durable"`
	Seconds   float64 `json:"seconds"` // the whole run, set-up included
	CPUs      int     `json:"cpus"`
	Go        string  `json:"go"`
	Platform  string  `json:"platform"`
}

func newHead(scenario string, o Options) Head {
	return Head{Scenario: scenario, Clients: o.clients(), Quick: o.Quick, Providers: providers, Durable: true,
		CPUs: runtime.NumCPU(), Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
}

func (h Head) print(w io.Writer, what string) {
	fmt.Fprintf(w, "%s\n%s clients, %d-byte messages, all durable; %d CPUs, %s, %s\n\n", what, h.Clients, messageBytes, h.CPUs, h.Platform, h.Go)
}

// Part is one measurement of posts.
type Part struct {
	Name      string  `json:"name"`
	Rooms     int     `json:"rooms"`
	Senders   int     `json:"senders"`          // clients that posted
	Window    int     `json:"window,omitempty"` // posts under way at once; with load clients, of each sender
	Rate      float64 `json:"rate,omitempty"`   // open loop: posts/s that were asked for
	Posted    int     `json:"posted"`           // messages handed to the sender's provider
	Delivered int     `json:"delivered"`        // of them, received by the receiver
	Rejected  int     `json:"rejected"`         // of them, refused by the hub
	Seconds   float64 `json:"seconds"`          // first post to last delivery
	PerSecond float64 `json:"per_second"`
	// Latency runs from the post, or with a rate from when it was due.
	Latency   Latency `json:"latency"`
	Processes []Usage `json:"processes"`
}

// Names of parts; compare finds them by name.
const partSingle = "one at a time"

func partName(rooms int) string {
	if rooms == 1 {
		return "one room"
	}
	return fmt.Sprintf("%d rooms", rooms)
}

// done fills in what is known at the end.
func (p *Part) done(delivered int, began, last time.Time, h *hdr.Histogram) {
	p.Delivered, p.Latency = delivered, latency(h)
	if delivered > 0 {
		p.Seconds = last.Sub(began).Seconds()
		p.PerSecond = float64(delivered) / p.Seconds
	}
}

// PostReport is the outcome of Post.
type PostReport struct {
	Head
	MessageBytes int    `json:"message_bytes"`
	Parts        []Part `json:"parts"`
}

// newHistogram counts microseconds up to five minutes with three digits.
func newHistogram() *hdr.Histogram {
	return hdr.New(1, (5 * time.Minute).Microseconds(), 3)
}

// record counts a duration; what lies outside the scale counts as its end.
func record(h *hdr.Histogram, d time.Duration) {
	h.RecordValue(min(max(1, d.Microseconds()), h.HighestTrackableValue()))
}

func latency(h *hdr.Histogram) Latency {
	at := func(q float64) float64 { return float64(h.ValueAtQuantile(q)) / 1000 }
	return Latency{Count: h.TotalCount(), P50: at(50), P95: at(95), P99: at(99), Max: float64(h.Max()) / 1000}
}

// Print writes the report as tables.
func (r *PostReport) Print(w io.Writer) error {
	r.print(w, "post from b through hub a until c has it")
	var rows [][]string
	for _, p := range r.Parts {
		asked := ""
		if p.Rate > 0 {
			asked = fmt.Sprintf("%.0f", p.Rate)
		}
		rows = append(rows, []string{p.Name, fmt.Sprint(p.Senders), fmt.Sprint(p.Delivered), ms(p.Latency.P50), ms(p.Latency.P95),
			ms(p.Latency.P99), ms(p.Latency.Max), asked, fmt.Sprintf("%.0f", p.PerSecond)})
	}
	heading := []string{"", "SENDERS", "POSTS", "P50 ms", "P95 ms", "P99 ms", "MAX ms", "ASKED/s", "POSTS/s"}
	if err := term.Table(w, "", heading, rows); err != nil {
		return err
	}
	for _, p := range r.Parts {
		if p.Delivered != p.Posted {
			fmt.Fprintf(w, "%s: %d of %d posts had not arrived when the time was up, %d were rejected\n",
				p.Name, p.Posted-p.Delivered, p.Posted, p.Rejected)
		}
	}
	fmt.Fprintln(w)
	return r.printUsage(w)
}

func (r *PostReport) printUsage(w io.Writer) error {
	var rows [][]string
	for _, p := range r.Parts {
		for _, u := range p.Processes {
			rows = append(rows, append([]string{p.Name}, u.row(p.Delivered)...))
		}
	}
	return term.Table(w, "", append([]string{""}, usageHeading...), rows)
}

func ms(v float64) string {
	if v < 10 {
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.1f", v)
}
