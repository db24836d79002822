package conformance

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"
)

// Counts are how many requirements had each outcome.
func Counts(results []Result) map[Outcome]int {
	n := map[Outcome]int{}
	for _, r := range results {
		n[r.Outcome]++
	}
	return n
}

// WriteText writes one line for each requirement, below it what went otherwise, and
// a line that counts.
func WriteText(w io.Writer, results []Result) error {
	var b strings.Builder
	for _, r := range results {
		note := r.Reason
		if note == "" && r.Probes > 1 {
			note = fmt.Sprintf("%d tried", r.Probes)
		}
		if note != "" {
			note = " (" + note + ")"
		}
		fmt.Fprintf(&b, "%-14s  %-7s  %s%s\n", r.Outcome, r.ID, r.What, note)
		for _, f := range r.Failures {
			fmt.Fprintf(&b, "%25s %s: expected %s, got %s\n", "", f.What, printable(f.Expected), printable(f.Got))
		}
	}
	n := Counts(results)
	fmt.Fprintf(&b, "%d requirements: %d pass, %d fail, %d skipped, %d not applicable\n",
		len(results), n[Pass], n[Fail], n[Skipped], n[NotApplicable])
	_, err := io.WriteString(w, b.String())
	return err
}

// printable keeps what a target answered from doing anything to a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '.'
		}
		return r
	}, s)
}

// WriteJSON writes an object with the target, the counts and the results.
func WriteJSON(w io.Writer, target string, results []Result) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(struct {
		Target  string          `json:"target"`
		Counts  map[Outcome]int `json:"counts"`
		Results []Result        `json:"results"`
	}{target, Counts(results), results})
}

type suite struct {
	XMLName  xml.Name `xml:"testsuite"`
	Name     string   `xml:"name,attr"`
	Tests    int      `xml:"tests,attr"`
	Failures int      `xml:"failures,attr"`
	Skipped  int      `xml:"skipped,attr"`
	Time     string   `xml:"time,attr"`
	Cases    []item   `xml:"testcase"`
}

type item struct {
	Class   string  `xml:"classname,attr"`
	Name    string  `xml:"name,attr"`
	Time    string  `xml:"time,attr"`
	Failure *remark `xml:"failure"`
	Skipped *remark `xml:"skipped"`
}

type remark struct {
	Text string `xml:"message,attr"`
	Body string `xml:",chardata"`
}

// WriteJUnit writes what build servers read: one test for each requirement. What
// is not applicable counts as skipped there.
func WriteJUnit(w io.Writer, target string, results []Result) error {
	n := Counts(results)
	s := suite{Name: "MIMI conformance of " + target, Tests: len(results), Failures: n[Fail], Skipped: n[Skipped] + n[NotApplicable]}
	var took time.Duration
	for _, r := range results {
		took += r.Took
		section, _, _ := strings.Cut(r.ID, "-")
		c := item{Class: section, Name: r.ID + " " + r.What, Time: seconds(r.Took)}
		switch r.Outcome {
		case Fail:
			var lines []string
			for _, f := range r.Failures {
				lines = append(lines, printable(f.What+": expected "+f.Expected+", got "+f.Got))
			}
			c.Failure = &remark{lines[0], strings.Join(lines, "\n")}
		case Skipped, NotApplicable:
			c.Skipped = &remark{Text: string(r.Outcome) + ": " + printable(r.Reason)}
		}
		s.Cases = append(s.Cases, c)
	}
	s.Time = seconds(took)
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(s); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }
