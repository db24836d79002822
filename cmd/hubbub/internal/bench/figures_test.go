package bench

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestCompare(t *testing.T) {
	parse := func(text string) (out map[string]any) {
		if err := json.Unmarshal([]byte(text), &out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	a := parse(`{"scenario":"s","clients":"load","cpus":2,"seconds":4,"parts":[{"name":"x","rate":9,"p50":2},{"name":"y","p50":0}],"list":[7]}`)
	b := parse(`{"scenario":"s","clients":"load","cpus":4,"seconds":2,"parts":[{"name":"y","p50":3},{"name":"x","p50":5},{"name":"z","p50":1}]}`)
	c, err := compare(a, b)
	if err != nil {
		t.Fatal(err)
	}
	want := []Comparable{{"parts / x / p50", 2, 5, 2.5}, {"parts / y / p50", 0, 3, 0}, {"seconds", 4, 2, 0.5}}
	if !slices.Equal(c.Figures, want) || !slices.Equal(c.OnlyA, []string{"list / 0"}) || !slices.Equal(c.OnlyB, []string{"parts / z / p50"}) {
		t.Errorf("%+v", c)
	}
	if err := c.Print(io.Discard); err != nil {
		t.Error(err)
	}
	for _, other := range []string{`{"scenario":"t","clients":"load","seconds":2}`, `{"scenario":"s","clients":"sdk","seconds":2}`, `{"scenario":"s","clients":"load"}`} {
		if _, err := compare(a, parse(other)); !errors.Is(err, ErrCompare) {
			t.Errorf("%s: %v", other, err)
		}
	}
}

func TestJudge(t *testing.T) {
	series := func(f func(i int) float64) (out []float64) {
		for i := range 100 {
			out = append(out, f(i))
		}
		return out
	}
	for name, c := range map[string]struct {
		series []float64
		slack  float64
		want   bool
	}{
		"flat":            {series(func(int) float64 { return 50 }), 0, true},
		"growing":         {series(func(i int) float64 { return float64(i) }), 0, false},
		"warming up":      {series(func(i int) float64 { return float64(min(i, 40)) }), 0, true},
		"sawtooth":        {series(func(i int) float64 { return float64(50 + i%10*5) }), 0, true},
		"small":           {series(func(i int) float64 { return float64(i / 50) }), 4, true},
		"small, no slack": {series(func(i int) float64 { return float64(i / 60) }), 0, false},
		"one peak":        {series(func(i int) float64 { return map[bool]float64{true: 900, false: 10}[i == 95] }), 0, true},
		"too short":       {[]float64{1, 1}, 0, false},
	} {
		if g := judge(name, "", c.series, c.slack); g.Plateau != c.want {
			t.Errorf("%s: %+v", name, g)
		}
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		list []float64
		want float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 2, 9}, 3}} {
		if got := median(c.list); got != c.want {
			t.Errorf("%v: %v", c.list, got)
		}
	}
}

// A stall does not move what comes after it: the posts that were due meanwhile
// go out at once, and each is told when it was due.
func TestScheduleAfterAStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var due, at []time.Duration
		schedule(t.Context(), began, 10, 6, func(i int, d time.Time) {
			due, at = append(due, d.Sub(began)), append(at, time.Since(began))
			if i == 1 {
				<-time.After(250 * time.Millisecond)
			}
		})
		ms := func(list ...int) (out []time.Duration) {
			for _, n := range list {
				out = append(out, time.Duration(n)*time.Millisecond)
			}
			return out
		}
		if want := ms(0, 100, 200, 300, 400, 500); !slices.Equal(due, want) {
			t.Errorf("due %v, want %v", due, want)
		}
		if want := ms(0, 100, 350, 350, 400, 500); !slices.Equal(at, want) {
			t.Errorf("done %v, want %v", at, want)
		}
	})
}

func TestScheduleEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
		defer cancel()
		n := 0
		schedule(ctx, time.Now(), 10, 100, func(int, time.Time) { n++ })
		if n != 3 {
			t.Errorf("%d calls, want 3", n)
		}
	})
}

func TestEach(t *testing.T) {
	var done atomic.Int64
	if err := each(100, func(int) error { done.Add(1); return nil }); err != nil || done.Load() != 100 {
		t.Errorf("%d done, %v", done.Load(), err)
	}
	bad := errors.New("bad")
	if err := each(100, func(i int) error {
		if i == 3 {
			return bad
		}
		return nil
	}); !errors.Is(err, bad) {
		t.Errorf("%v", err)
	}
}

func TestUsedSince(t *testing.T) {
	got := usedSince([]Usage{{Name: "a", CPU: 1, Writes: 10}, {Name: "gone"}}, []Usage{{Name: "a", CPU: 3, Writes: 15, RSS: 7}, {Name: "new"}}, 1000)
	want := []Usage{{Name: "a", CPU: 2, Writes: 5, RSS: 7, PerMessage: 2000}}
	if !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
}

// A wire counts exactly what passes, each way.
func TestWire(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		io.CopyN(io.Discard, c, 1000)
		c.Write(make([]byte, 77))
	}()
	w, err := newWire(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	c, err := net.Dial("tcp", w.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write(make([]byte, 1000))
	if n, _ := io.Copy(io.Discard, c); n != 77 || w.sent.Load() != 1000 || w.back.Load() != 77 {
		t.Errorf("%d came back; %d and %d counted", n, w.sent.Load(), w.back.Load())
	}
}
