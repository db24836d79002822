package story

import (
	"fmt"
	"time"

	"hubbub/mimi"
)

// Value is what one side gave.
type Value struct {
	Who   string `json:"who"`
	Value string `json:"value"`
}

// Comparison is something that must be equal, with the values that were
// compared. Equal is computed from them and from nothing else.
type Comparison struct {
	What   string  `json:"what"`
	Values []Value `json:"values"`
	Equal  bool    `json:"equal"`
}

// compare makes a comparison. Fewer than two values compare nothing and never
// hold.
func compare(what string, values ...Value) Comparison {
	c := Comparison{What: what, Values: values, Equal: len(values) > 1}
	for _, v := range values {
		c.Equal = c.Equal && v.Value == values[0].Value
	}
	return c
}

// Position is where one provider stands in one room.
type Position struct {
	Room     mimi.RoomURI `json:"room"`
	Name     string       `json:"name"`
	Provider mimi.Domain  `json:"provider"`
	Seq      uint64       `json:"seq"`
	Hash     string       `json:"hash"` // 64 hexadecimal digits
}

// short is the form people compare: Seq and the first eight digits.
func (p Position) short() string { return fmt.Sprintf("%d:%.8s", p.Seq, p.Hash) }

// Result is what came of one step.
type Result struct {
	Number      int           `json:"number"`
	Name        string        `json:"name"`
	Actor       string        `json:"actor"`
	Duration    time.Duration `json:"-"`
	DurationMS  float64       `json:"duration_ms"`
	Notes       []string      `json:"notes"`
	Positions   []Position    `json:"positions"`
	Comparisons []Comparison  `json:"comparisons"`
	Error       string        `json:"error,omitempty"`
}

// Report is the whole story.
type Report struct {
	OK          bool          `json:"ok"` // every step ran and every comparison held
	Providers   []mimi.Domain `json:"providers"`
	Steps       []Result      `json:"steps"`
	NotRun      []string      `json:"not_run"` // steps after one that failed
	Comparisons int           `json:"comparisons"`
	Failed      int           `json:"comparisons_failed"`
	Duration    time.Duration `json:"-"`
	DurationMS  float64       `json:"duration_ms"`
}

// sum counts the comparisons and decides whether the story held.
func (r *Report) sum() {
	r.OK = len(r.Steps) > 0 && len(r.NotRun) == 0
	r.Comparisons, r.Failed = 0, 0
	for _, s := range r.Steps {
		r.OK = r.OK && s.Error == ""
		for _, c := range s.Comparisons {
			r.Comparisons++
			if !c.Equal {
				r.Failed++
			}
		}
	}
	r.OK = r.OK && r.Failed == 0 && r.Comparisons > 0
	r.DurationMS = ms(r.Duration)
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
