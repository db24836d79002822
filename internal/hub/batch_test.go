package hub_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"

	"hubbub/mimi"
)

// batch submits writes of b in one request.
func (x *bench) batch(items ...mimi.BatchItem) []mimi.BatchAnswer {
	x.Helper()
	body, err := (&mimi.BatchRequest{Items: items}).Marshal()
	x.must(err)
	answer, err := x.hub.SubmitBatch(x.Context(), "b.localhost", body)
	x.must(err)
	res, err := mimi.ParseBatchResponse(answer)
	x.must(err)
	if len(res.Answers) != len(items) {
		x.Fatalf("%d answers to %d writes", len(res.Answers), len(items))
	}
	return res.Answers
}

func (x *bench) posts(n int) (items []mimi.BatchItem) {
	for i := range n {
		items = append(items, mimi.BatchItem{Kind: mimi.BatchMessage, Room: chat, Body: x.bob.Post(fmt.Sprint(i))})
	}
	return items
}

// statuses are the answers as their endpoints would give them, in short.
func (x *bench) statuses(items []mimi.BatchItem, answers []mimi.BatchAnswer) (out []string) {
	x.Helper()
	for i, a := range answers {
		switch {
		case a.Status != 200:
			out = append(out, fmt.Sprint(a.Status))
		case items[i].Kind == mimi.BatchUpdate:
			out = append(out, fmt.Sprint("update ", x.parseUpdate(a.Body).Code))
		default:
			r, err := mimi.ParseSubmitMessageResponse(a.Body)
			x.must(err)
			out = append(out, fmt.Sprint("message ", r.Code))
		}
	}
	return out
}

func (x *bench) calls(what func()) int {
	before := x.store.calls
	what()
	return x.store.calls - before
}

func TestBatchIsOneTransaction(t *testing.T) {
	x := newBench(t).ready()
	items := x.posts(40)
	seq := x.head().Seq
	var first []mimi.BatchAnswer
	if n := x.calls(func() { first = x.batch(items...) }); n != 1 {
		t.Errorf("%d transactions", n)
	}
	if got := x.head().Seq; got != seq+40 {
		t.Fatalf("%d entries", got-seq)
	}
	// In order, and a repeat of some with new ones between gets the same octets.
	more := x.posts(3)
	mixed := append(append(append([]mimi.BatchItem{}, more[0], items[0], more[1]), items[1:]...), more[2])
	again := x.batch(mixed...)
	if !bytes.Equal(again[1].Body, first[0].Body) || !bytes.Equal(again[41].Body, first[39].Body) {
		t.Error("a repeat in a batch got another answer")
	}
	if got := x.head().Seq; got != seq+43 {
		t.Errorf("%d entries after the repeat", got-seq)
	}
	x.follow(x.alice)
	for i := range 40 {
		if x.alice.Texts[i] != fmt.Sprint(i) {
			t.Fatalf("message %d is %q", i, x.alice.Texts[i])
		}
	}
	// The same message twice in one batch is one entry.
	twice := x.posts(1)
	if a := x.batch(twice[0], twice[0]); !bytes.Equal(a[0].Body, a[1].Body) || x.head().Seq != seq+44 {
		t.Errorf("twice in one batch: %+v, %d entries", a, x.head().Seq-seq)
	}
}

func TestBatchStopsBehindFailure(t *testing.T) {
	x := newBench(t).ready()
	stale := mimi.BatchItem{Kind: mimi.BatchUpdate, Room: chat, Body: x.bob.Commit()}
	x.update(x.alice, x.alice.Commit())
	x.follow(x.bob)
	posts := x.posts(4)
	items := append(append([]mimi.BatchItem{}, posts[:2]...), stale, posts[2], posts[3])
	want := []string{"message 0", "message 0", "update 1", "503", "503"}
	if got := x.statuses(items, x.batch(items...)); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("behind a refused update: %v, want %v", got, want)
	}
	garbage := mimi.BatchItem{Kind: mimi.BatchMessage, Room: chat, Body: []byte{1}}
	hidden := mimi.BatchItem{Kind: mimi.BatchMessage, Room: "mimi://a.localhost/r/none", Body: posts[2].Body}
	items = []mimi.BatchItem{posts[2], garbage, hidden, posts[3]}
	want = []string{"message 0", "400", "404", "503"}
	if got := x.statuses(items, x.batch(items...)); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("behind garbage: %v, want %v", got, want)
	}
	// A transaction that fails decides on nothing of the batch.
	items = append(x.posts(3), posts[3])
	before := x.dump()
	x.store.lose = true
	for _, s := range x.statuses(items, x.batch(items...)) {
		if s != "503" {
			t.Errorf("after a lost transaction: %s", s)
		}
	}
	if x.dump() != before {
		t.Error("a lost transaction left something behind")
	}
	x.limit = mimi.NewProblem(429, mimi.CodeTooMany, "slow down")
	if got := x.statuses(items, x.batch(items...)); fmt.Sprint(got) != "[429 503 503 503]" {
		t.Errorf("over the limit: %v", got)
	}
	x.limit = nil
	x.store.keep = true
	x.batch(items...)
	if got := x.statuses(items, x.batch(items...)); fmt.Sprint(got) != "[message 0 message 0 message 0 message 0]" {
		t.Errorf("after an unknown outcome: %v", got)
	}
}

// Writers that come while a transaction runs share the next one.
func TestWritersShareTransactions(t *testing.T) {
	x := newBench(t).ready()
	items := x.posts(60)
	seq := x.head().Seq
	hold, held := make(chan struct{}), make(chan struct{})
	x.store.before = func() {
		x.store.before = nil
		close(held)
		<-hold
	}
	var writers sync.WaitGroup
	post := func(it mimi.BatchItem) {
		writers.Go(func() {
			if _, err := x.hub.Submit(context.Background(), "b.localhost", chat, it.Body); err != nil {
				t.Error(err)
			}
		})
	}
	n := x.calls(func() {
		post(items[0])
		<-held
		for _, it := range items[1:] {
			post(it)
		}
		close(hold)
		writers.Wait()
	})
	if got := x.head().Seq; got != seq+60 || n >= 60 {
		t.Errorf("%d entries in %d transactions", got-seq, n)
	}
}
