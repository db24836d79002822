package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"hubbub/cmd/hubbub/internal/term"
)

// ErrCompare: two reports have nothing to be compared.
var ErrCompare = errors.New("the reports cannot be compared")

// Comparison is the figures that two reports of one scenario share.
type Comparison struct {
	Scenario string       `json:"scenario"`
	Figures  []Comparable `json:"figures"`
	// OnlyA and OnlyB are figures that one report alone has.
	OnlyA []string `json:"only_a,omitempty"`
	OnlyB []string `json:"only_b,omitempty"`
}

// Comparable is one figure of both.
type Comparable struct {
	Name  string  `json:"name"`
	A     float64 `json:"a"`
	B     float64 `json:"b"`
	Ratio float64 `json:"ratio"` // B / A; 0 if A is 0
}

// settings are numbers that say how a run was made, not what came of it.
var settings = []string{"cpus", "providers", "message_bytes", "rooms", "senders", "window", "rate", "count"}

// Compare reads two reports in JSON.
func Compare(fileA, fileB string) (*Comparison, error) {
	a, err := readReport(fileA)
	if err != nil {
		return nil, err
	}
	b, err := readReport(fileB)
	if err != nil {
		return nil, err
	}
	return compare(a, b)
}

func readReport(file string) (map[string]any, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var r map[string]any
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return r, nil
}

func compare(a, b map[string]any) (*Comparison, error) {
	scenario, _ := a["scenario"].(string)
	for _, key := range []string{"scenario", "clients"} {
		if a[key] != b[key] || scenario == "" {
			return nil, fmt.Errorf("%w: %s is %v in one and %v in the other", ErrCompare, key, a[key], b[key])
		}
	}
	figuresA, figuresB := map[string]float64{}, map[string]float64{}
	flatten(figuresA, "", a)
	flatten(figuresB, "", b)
	c := &Comparison{Scenario: scenario}
	for _, name := range slices.Sorted(maps.Keys(figuresA)) {
		va := figuresA[name]
		vb, both := figuresB[name]
		if !both {
			c.OnlyA = append(c.OnlyA, name)
			continue
		}
		f := Comparable{Name: name, A: va, B: vb}
		if va != 0 {
			f.Ratio = vb / va
		}
		c.Figures = append(c.Figures, f)
	}
	for _, name := range slices.Sorted(maps.Keys(figuresB)) {
		if _, both := figuresA[name]; !both {
			c.OnlyB = append(c.OnlyB, name)
		}
	}
	if len(c.Figures) == 0 {
		return nil, fmt.Errorf("%w: they share no figure", ErrCompare)
	}
	return c, nil
}

// flatten collects the numbers of a document under the names that lead to them.
// What stands in a list is known by its name, if it has one.
func flatten(out map[string]float64, prefix string, v any) {
	under := func(name string) string { return strings.TrimPrefix(prefix+" / "+name, " / ") }
	switch v := v.(type) {
	case float64:
		out[prefix] = v
	case map[string]any:
		for key, value := range v {
			if !slices.Contains(settings, key) {
				flatten(out, under(key), value)
			}
		}
	case []any:
		for i, value := range v {
			name := fmt.Sprint(i)
			if m, ok := value.(map[string]any); ok {
				if s, ok := m["name"].(string); ok {
					name = s
				}
			}
			flatten(out, under(name), value)
		}
	}
}

// Print writes the comparison as a table.
func (c *Comparison) Print(w io.Writer) error {
	var rows [][]string
	for _, f := range c.Figures {
		ratio := "–"
		if f.A != 0 {
			ratio = fmt.Sprintf("%.2f", f.Ratio)
		}
		rows = append(rows, []string{f.Name, number(f.A), number(f.B), ratio})
	}
	if err := term.Table(w, "", []string{strings.ToUpper(c.Scenario), "A", "B", "B/A"}, rows); err != nil {
		return err
	}
	for _, only := range []struct {
		report string
		names  []string
	}{{"A", c.OnlyA}, {"B", c.OnlyB}} {
		if len(only.names) > 0 {
			fmt.Fprintf(w, "only in %s: %s\n", only.report, strings.Join(only.names, ", "))
		}
	}
	return nil
}

func number(v float64) string {
	switch {
	case v == float64(int64(v)):
		return fmt.Sprintf("%.0f", v)
	case v >= 1000:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.3g", v)
}
