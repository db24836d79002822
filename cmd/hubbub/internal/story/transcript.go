package story

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"hubbub/client"
	"hubbub/cmd/hubbub/internal/term"
	"hubbub/mimi"
)

// tellHistory notes the membership history of a room as a table.
func (s *stage) tellHistory(ctx context.Context, d *device, room mimi.RoomURI) error {
	history, err := d.History(ctx, room)
	if err != nil {
		return err
	}
	var b strings.Builder
	if err := term.Table(&b, "", HistoryHeading, HistoryRows(history)); err != nil {
		return err
	}
	s.note("history of %s, as %s tells it:\n%s", s.name(room), d.User().Domain(), strings.TrimRight(b.String(), "\n"))
	return nil
}

// HistoryHeading stands over HistoryRows.
var HistoryHeading = []string{"SEQ", "TIME", "WHO", "DID", "TO"}

// HistoryRows gives a membership history as the rows of a table.
func HistoryRows(history []client.Change) [][]string {
	var rows [][]string
	for _, c := range history {
		to := c.User.Handle()
		if c.Client != "" {
			to += " (" + c.Client.Device() + ")"
		}
		rows = append(rows, []string{fmt.Sprint(c.Seq), c.Timestamp.Local().Format("15:04:05.000"),
			c.Actor.Handle(), c.Action, term.Printable(to)})
	}
	return rows
}

func names(devices []*device) string {
	var out []string
	for _, d := range devices {
		out = append(out, d.name)
	}
	return strings.Join(out, ", ")
}

// Transcript prints the story as it plays, for people.
type Transcript struct {
	w     io.Writer
	style term.Style
}

// NewTranscript prints to w, in colour if w is a terminal that wants it.
func NewTranscript(w io.Writer) *Transcript {
	return &Transcript{w, term.StyleFor(w)}
}

// Step prints what came of one step.
func (t *Transcript) Step(r Result) {
	head := fmt.Sprintf("%2d  %s", r.Number, r.Name)
	fmt.Fprintf(t.w, "\n%s%s %9s\n", t.style.Bold(head), strings.Repeat(" ", max(0, 66-len([]rune(head)))),
		term.Duration(r.Duration))
	for _, n := range r.Notes {
		fmt.Fprintln(t.w, "      "+strings.ReplaceAll(n, "\n", "\n        "))
	}
	for _, c := range r.Comparisons {
		t.comparison(c)
	}
	t.positions(r.Positions)
	if r.Error != "" {
		fmt.Fprintln(t.w, "    "+t.style.Bad("✗ "+strings.ReplaceAll(r.Error, "\n", "\n      ")))
	}
}

// comparison prints one line if the values are equal, and all values if not.
func (t *Transcript) comparison(c Comparison) {
	if !c.Equal {
		fmt.Fprintln(t.w, "    "+t.style.Bad("✗ "+c.What+": NOT equal"))
		for _, v := range c.Values {
			fmt.Fprintf(t.w, "        %s: %s\n", v.Who, strings.ReplaceAll(v.Value, "\n", "\n          "))
		}
		return
	}
	detail := ""
	if v := c.Values[0]; v.Who == "expected" {
		detail = ": " + v.Value
	} else {
		var who []string
		for _, v := range c.Values {
			who = append(who, v.Who)
		}
		detail = t.style.Dim(": equal (" + strings.Join(who, ", ") + ")")
	}
	fmt.Fprintln(t.w, "    "+t.style.Good("✓")+" "+c.What+detail)
}

// positions prints where each provider stands: a row per room, a column per
// provider. A provider without the room, or one that was not asked, has a dash.
func (t *Transcript) positions(all []Position) {
	if len(all) == 0 {
		return
	}
	heading, rooms := []string{"POSITION"}, []string{}
	at := map[string]string{}
	for _, p := range all {
		if !slices.Contains(heading, string(p.Provider)) {
			heading = append(heading, string(p.Provider))
		}
		if !slices.Contains(rooms, p.Name) {
			rooms = append(rooms, p.Name)
		}
		at[p.Name+string(p.Provider)] = p.short()
	}
	slices.Sort(heading[1:])
	var rows [][]string
	for _, room := range rooms {
		row := []string{room}
		for _, provider := range heading[1:] {
			place, ok := at[room+provider]
			if !ok {
				place = "-"
			}
			row = append(row, place)
		}
		rows = append(rows, row)
	}
	term.Table(t.w, "      ", heading, rows)
}

// End prints the sum of the story.
func (t *Transcript) End(r *Report) {
	fmt.Fprintln(t.w)
	for _, name := range r.NotRun {
		fmt.Fprintln(t.w, "    "+t.style.Warn("– not played: "+name))
	}
	held := r.Comparisons - r.Failed
	line := fmt.Sprintf("%d of %d comparisons held, %d of %d steps played, %s",
		held, r.Comparisons, len(r.Steps), len(r.Steps)+len(r.NotRun), term.Duration(r.Duration.Round(time.Millisecond)))
	if r.OK {
		fmt.Fprintln(t.w, t.style.Good("✓ "+line))
	} else {
		fmt.Fprintln(t.w, t.style.Bad("✗ "+line))
	}
}
