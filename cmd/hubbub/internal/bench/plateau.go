package bench

import "fmt"

// Gauge is how one figure of one provider went over a long run.
type Gauge struct {
	Name    string    `json:"name"` // provider and figure
	Unit    string    `json:"unit"`
	Thirds  []float64 `json:"thirds"` // medians of the thirds of the run, its first tenth left out
	Max     float64   `json:"max"`
	Plateau bool      `json:"plateau"`
	Allowed float64   `json:"allowed"` // what the last third may be at most
}

const (
	// warmUp is the part of a run in which everything may still grow.
	warmUp = 0.1
	// growth is by how much the last third may exceed the middle one.
	growth = 1.10
)

// judge says whether a series has reached a plateau: the median of its last third
// is at most a tenth above that of the middle third, plus a slack for figures so
// small that one buffer more is more than a tenth.
func judge(name, unit string, series []float64, slack float64) Gauge {
	series = series[int(float64(len(series))*warmUp):]
	g := Gauge{Name: name, Unit: unit}
	n := len(series) / 3
	if n == 0 {
		return g
	}
	for i := range 3 {
		end := (i + 1) * n
		if i == 2 {
			end = len(series)
		}
		g.Thirds = append(g.Thirds, median(series[i*n:end]))
	}
	for _, v := range series {
		g.Max = max(g.Max, v)
	}
	g.Allowed = g.Thirds[1]*growth + slack
	g.Plateau = g.Thirds[2] <= g.Allowed
	return g
}

func (g Gauge) row() []string {
	row := []string{g.Name, g.Unit}
	for i := range 3 {
		v := "–"
		if i < len(g.Thirds) {
			v = fmt.Sprintf("%.1f", g.Thirds[i])
		}
		row = append(row, v)
	}
	verdict := "yes"
	if !g.Plateau {
		verdict = "NO"
	}
	return append(row, fmt.Sprintf("%.1f", g.Max), fmt.Sprintf("%.1f", g.Allowed), verdict)
}
