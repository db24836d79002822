package bench

import (
	"strings"
	"testing"
	"time"

	"hubbub/client"
)

func TestLatency(t *testing.T) {
	h := newHistogram()
	for i := 1; i <= 100; i++ {
		h.RecordValue((time.Duration(i) * time.Millisecond).Microseconds())
	}
	l := latency(h)
	near := func(got, want float64) bool { return got > want*0.99 && got < want*1.01 }
	if l.Count != 100 || !near(l.P50, 50) || !near(l.P95, 95) || !near(l.P99, 99) || !near(l.Max, 100) {
		t.Errorf("%+v", l)
	}
}

func TestPrintTellsWhatDidNotArrive(t *testing.T) {
	r := &PostReport{Head: newHead("post", Options{}), Parts: []Part{{Name: "one room", Posted: 10, Delivered: 10},
		{Name: "50 rooms", Posted: 10, Delivered: 7, Rejected: 1}}}
	var b strings.Builder
	if err := r.Print(&b); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "50 rooms: 3 of 10 posts had not arrived") || strings.Contains(b.String(), "\none room:") {
		t.Errorf("printed:\n%s", b.String())
	}
}

// A message that arrives before Send has returned its id counts like any other,
// and one that is refused lets the next post go out.
func TestCounting(t *testing.T) {
	b := &sdkRun{}
	b.reset(4)
	now := time.Now()
	id := func(n byte) client.MessageID { return client.MessageID{n} }
	b.begun[id(1)] = now.Add(-10 * time.Millisecond)
	b.receive(func(yield func(client.Event) bool) {
		for _, n := range []byte{1, 2, 1} { // known, early, known once more
			if !yield(client.MessageReceived{Message: client.Message{ID: id(n)}}) {
				return
			}
		}
	})
	if b.delivered != 1 || len(b.early) != 2 || len(b.arrived) != 1 {
		t.Errorf("%d delivered, %d early, %d let go, want 1, 2, 1", b.delivered, len(b.early), len(b.arrived))
	}
	b.begun[id(3)] = now
	b.watchRefusals(func(yield func(client.Event) bool) {
		yield(client.MessageChanged{Message: client.Message{ID: id(3), State: client.Rejected}})
		yield(client.MessageChanged{Message: client.Message{ID: id(4), State: client.Posted}})
	})
	if b.refused != 1 || len(b.begun) != 0 || len(b.arrived) != 2 {
		t.Errorf("%d refused, %d under way, %d let go, want 1, 0, 2", b.refused, len(b.begun), len(b.arrived))
	}
}

func TestText(t *testing.T) {
	if a, b := text(1), text(123456); len(a) != messageBytes || len(b) != messageBytes || a == b {
		t.Errorf("texts of %d and %d bytes", len(a), len(b))
	}
}
